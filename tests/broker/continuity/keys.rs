//! Other keys than those that the marks name.

use std::fs;
use std::path::{Path, PathBuf};

use super::Town;
use super::town::{MESSAGES, PATRONS};
use crate::harness::Zeef;
use crate::operations::site::WAIT;

impl Town {
    fn key_file(&self, name: &str) -> PathBuf {
        Path::new(self.0.config()).join(format!("keys/{name}.key"))
    }

    /// Puts a new key in the place of another one, as if by mistake.
    #[track_caller]
    fn mistake(&self, name: &str) -> Vec<u8> {
        let path = self.key_file(name);
        let old = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut made = Zeef::start(&["keys", "new", name, "--config", self.0.config()], &[]);
        assert_eq!(made.wait_exit(WAIT), 0, "{}", made.stderr());
        old
    }
}

#[test]
fn another_state_key_is_named() {
    let Some(town) = Town::new("state-key") else {
        return;
    };
    let old = town.mistake("zeef.state");
    town.stops(&["state key", "fingerprint"]);
    fs::write(town.key_file("zeef.state"), old).unwrap();
    town.run();
}

#[test]
fn another_key_of_a_recipient_waits_until_it_is_asked_for() {
    let Some(town) = Town::new("rotate") else {
        return;
    };
    let before = town.0.outputs(MESSAGES);
    let old = town.mistake(MESSAGES);
    town.stops(&["keys rotate service-message", "fingerprint"]);
    fs::write(town.key_file(MESSAGES), old).unwrap();
    town.run();

    let said = town.command(&["keys", "rotate", MESSAGES, "--reason", "a test"], 0);
    assert!(said.contains("the old one is kept in"), "{said}");
    town.run();
    let rows = town.0.outputs(MESSAGES);
    let has = |key: &Option<Vec<u8>>| {
        let of_key = rows.iter().rfind(|row| row.key == *key);
        of_key.is_some_and(|row| row.value.is_some())
    };
    assert!(
        before.iter().all(|row| !has(&row.key)),
        "tombstones under the old key"
    );
    let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| row.key.clone()).collect();
    let living = keys.iter().filter(|key| has(key)).count();
    assert_eq!(living, 2 * PATRONS, "each loan under the new key");
    let sent = town.sent();
    town.run();
    assert_eq!(town.sent(), sent);
}
