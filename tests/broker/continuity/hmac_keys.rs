//! Other keys than those that the marks name.

use std::fs;
use std::path::{Path, PathBuf};

use super::ContinuityFixture;
use super::fixture::{PATRON_COUNT, SERVICE_MESSAGE};
use crate::harness::ZeefProcess;
use crate::operations::test_site::WAIT_TIMEOUT;

impl ContinuityFixture {
    fn hmac_key_file(&self, name: &str) -> PathBuf {
        Path::new(self.0.config_path()).join(format!("keys/{name}.key"))
    }

    /// Puts a new key in the place of another one, as if by mistake.
    #[track_caller]
    fn replace_hmac_key(&self, name: &str) -> Vec<u8> {
        let path = self.hmac_key_file(name);
        let old = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut made =
            ZeefProcess::spawn(&["keys", "new", name, "--config", self.0.config_path()], &[]);
        assert_eq!(made.wait_exit(WAIT_TIMEOUT), 0, "{}", made.stderr());
        old
    }
}

#[test]
fn state_hmac_key_swap_stops_and_is_named() {
    let Some(fixture) = ContinuityFixture::with_records_read("state-key") else {
        return;
    };
    let old = fixture.replace_hmac_key("zeef.state");
    fixture.expect_next_start_stops(&["state key", "fingerprint"]);
    fs::write(fixture.hmac_key_file("zeef.state"), old).unwrap();
    fixture.run_until_end();
}

#[test]
fn recipient_hmac_key_swap_stops_until_keys_rotate() {
    let Some(fixture) = ContinuityFixture::with_records_read("rotate") else {
        return;
    };
    let before = fixture.0.read_outputs(SERVICE_MESSAGE);
    let old = fixture.replace_hmac_key(SERVICE_MESSAGE);
    fixture.expect_next_start_stops(&["keys rotate service-message", "fingerprint"]);
    fs::write(fixture.hmac_key_file(SERVICE_MESSAGE), old).unwrap();
    fixture.run_until_end();

    let said = fixture.run_command(&["keys", "rotate", SERVICE_MESSAGE, "--reason", "a test"], 0);
    assert!(said.contains("the old one is kept in"), "{said}");
    fixture.run_until_end();
    let rows = fixture.0.read_outputs(SERVICE_MESSAGE);
    let has = |key: &Option<Vec<u8>>| {
        let of_key = rows.iter().rfind(|row| row.key == *key);
        of_key.is_some_and(|row| row.value.is_some())
    };
    assert!(before.iter().all(|row| !has(&row.key)), "tombstones under the old key");
    let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| row.key.clone()).collect();
    let living = keys.iter().filter(|key| has(key)).count();
    assert_eq!(living, 2 * PATRON_COUNT, "each loan under the new key");
    let sent = fixture.read_all_outputs();
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), sent);
}
