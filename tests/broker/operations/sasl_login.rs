//! A broker that wants TLS and a password.

use std::fs;

use crate::harness::{Broker, BrokerOptions, ZeefProcess};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

pub(super) const PASSWORD_VARIABLE: &str = "ZEEF_TEST_SASL_PASSWORD";

/// The lines of `[kafka.properties]` that lead to `broker`.
pub(super) fn kafka_properties_section(broker: &Broker, password: &str) -> String {
    let mut text = "[kafka.properties]\n".to_owned();
    for (name, value) in broker.client_properties() {
        match name {
            "bootstrap.servers" => {}
            "sasl.password" => text.push_str(&format!("sasl.password = {password}\n")),
            _ => text.push_str(&format!("\"{name}\" = \"{value}\"\n")),
        }
    }
    text
}

pub(super) fn broker_password(broker: &Broker) -> String {
    let all = broker.client_properties();
    let found = all.iter().find(|(name, _)| *name == "sasl.password");
    found.unwrap().1.to_owned()
}

/// Everything that a process said.
fn all_output(zeef: &ZeefProcess) -> String {
    zeef.stdout() + &zeef.stderr()
}

#[test]
fn sasl_password_is_read_from_environment_or_file_and_never_shown() {
    let wanted = BrokerOptions { sasl_ssl: true, ..BrokerOptions::default() };
    let Some(broker) = Broker::start_own(wanted) else {
        return;
    };
    let by_environment =
        kafka_properties_section(&broker, &format!("{{ env = \"{PASSWORD_VARIABLE}\" }}"));
    let by_file = kafka_properties_section(&broker, "{ file = \"broker.password\" }");
    let options = |tables| SiteOptions { extra_tables: tables, ..SiteOptions::default() };
    let site = TestSite::on_broker(&broker, "login", options(&by_environment));
    let good = broker_password(&broker);
    let env = [(PASSWORD_VARIABLE, good.as_str())];

    let place = ["--config", site.config_path(), "--brokers", broker.bootstrap_server()];
    let mut topics = ZeefProcess::spawn(&[&["topics", "--apply"][..], &place].concat(), &env);
    assert_eq!(topics.wait_exit(WAIT_TIMEOUT), 0, "{}", all_output(&topics));
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    site.topics.write_records("loan", &[open_loan("by-environment", "P1")]);
    let night = ["--until-end", "--log-level", "debug"];
    let mut zeef = site.spawn_run_with_env(&night, &env);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", all_output(&zeef));
    assert!(!all_output(&zeef).contains(&good), "{}", all_output(&zeef));

    site.write_config(options(&by_file));
    fs::write(
        std::path::Path::new(site.config_path()).join("broker.password"),
        format!("{good}\n"),
    )
    .unwrap();
    site.topics.write_records("loan", &[open_loan("by-file", "P1")]);
    let mut zeef = site.spawn_run(&night);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", all_output(&zeef));
    site.check_loans_delivered(["by-environment".to_owned(), "by-file".to_owned()]);

    site.write_config(options(&by_environment));
    let wrong = "wrong-d41d8cd98f";
    for args in [vec!["topics"], vec!["run", "--admin", "none"]] {
        let all = [&args[..], &place, &["--log-level", "trace"]].concat();
        let mut refused = ZeefProcess::spawn(&all, &[(PASSWORD_VARIABLE, wrong)]);
        let code = refused.wait_exit(WAIT_TIMEOUT);
        let text = all_output(&refused);
        assert!([1, 70, 78].contains(&code), "{code}: {text}");
        assert!(text.contains("refuses the login"), "{text}");
        assert!(!text.contains(wrong) && !text.contains(&good), "{text}");
    }

    let mut unset = ZeefProcess::spawn(&[&["run", "--admin", "none"][..], &place].concat(), &[]);
    assert_eq!(unset.wait_exit(WAIT_TIMEOUT), 78, "{}", all_output(&unset));
    assert!(all_output(&unset).contains(PASSWORD_VARIABLE), "{}", all_output(&unset));
}
