//! A broker that wants TLS and a password.

use std::fs;

use crate::harness::{Broker, Options as BrokerOptions, Zeef};

use super::site::WAIT;
use super::{Options, Site, loan, patron};

pub(super) const PASSWORD: &str = "ZEEF_TEST_SASL_PASSWORD";

/// The lines of `[kafka.properties]` that lead to `broker`.
pub(super) fn properties(broker: &Broker, password: &str) -> String {
    let mut text = "[kafka.properties]\n".to_owned();
    for (name, value) in broker.properties() {
        match name {
            "bootstrap.servers" => {}
            "sasl.password" => text.push_str(&format!("sasl.password = {password}\n")),
            _ => text.push_str(&format!("\"{name}\" = \"{value}\"\n")),
        }
    }
    text
}

pub(super) fn secret(broker: &Broker) -> String {
    let all = broker.properties();
    let found = all.iter().find(|(name, _)| *name == "sasl.password");
    found.unwrap().1.to_owned()
}

/// Everything that a process said.
fn said(zeef: &Zeef) -> String {
    zeef.stdout() + &zeef.stderr()
}

#[test]
fn tls_and_a_password_from_the_environment_or_a_file() {
    let wanted = BrokerOptions {
        sasl_ssl: true,
        ..BrokerOptions::default()
    };
    let Some(broker) = Broker::own(wanted) else {
        return;
    };
    let by_environment = properties(&broker, &format!("{{ env = \"{PASSWORD}\" }}"));
    let by_file = properties(&broker, "{ file = \"broker.password\" }");
    let options = |tables| Options {
        tables,
        ..Options::default()
    };
    let site = Site::on(&broker, "login", options(&by_environment));
    let good = secret(&broker);
    let env = [(PASSWORD, good.as_str())];

    let place = ["--config", site.config(), "--brokers", broker.bootstrap()];
    let mut topics = Zeef::start(&[&["topics", "--apply"][..], &place].concat(), &env);
    assert_eq!(topics.wait_exit(WAIT), 0, "{}", said(&topics));
    site.topics.write("patron", &[patron("P1", "Berg")]);
    site.topics.write("loan", &[loan("by-environment", "P1")]);
    let night = ["--until-end", "--log-level", "debug"];
    let mut zeef = site.run_with(&night, &env);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", said(&zeef));
    assert!(!said(&zeef).contains(&good), "{}", said(&zeef));

    site.write_config(options(&by_file));
    fs::write(
        std::path::Path::new(site.config()).join("broker.password"),
        format!("{good}\n"),
    )
    .unwrap();
    site.topics.write("loan", &[loan("by-file", "P1")]);
    let mut zeef = site.run(&night);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", said(&zeef));
    site.check_loans(["by-environment".to_owned(), "by-file".to_owned()]);

    site.write_config(options(&by_environment));
    let wrong = "wrong-d41d8cd98f";
    for args in [vec!["topics"], vec!["run", "--admin", "none"]] {
        let all = [&args[..], &place, &["--log-level", "trace"]].concat();
        let mut refused = Zeef::start(&all, &[(PASSWORD, wrong)]);
        let code = refused.wait_exit(WAIT);
        let text = said(&refused);
        assert!([1, 70, 78].contains(&code), "{code}: {text}");
        assert!(text.contains("refuses the login"), "{text}");
        assert!(!text.contains(wrong) && !text.contains(&good), "{text}");
    }

    let mut unset = Zeef::start(&[&["run", "--admin", "none"][..], &place].concat(), &[]);
    assert_eq!(unset.wait_exit(WAIT), 78, "{}", said(&unset));
    assert!(said(&unset).contains(PASSWORD), "{}", said(&unset));
}
