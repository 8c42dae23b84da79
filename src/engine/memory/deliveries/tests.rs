//! The state is a map that can go back, and its names are keyed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::message::continuity::RowChecksum;
use crate::policy::reason::Reason;

fn test_row(patron: u8, offset: i64, outcome: DeliveryOutcome) -> DeliveryRow {
    let recipient = u16::from(offset % 2 != 0);
    let mut entry = DeliveryEntry::without_output(recipient, outcome, Some(Reason::NoConsent));
    entry.fingerprint = 7;
    DeliveryRow {
        patron: PatronHash(u128::from(patron)),
        source: 1,
        offset,
        first_decided_ms: 5,
        recheck_due_ms: i64::MAX,
        entries: Box::new([entry]),
        extras: None,
    }
}

/// Any number that tells rows apart.
fn test_mac(key: RowKey, row: &DeliveryRow) -> u64 {
    let offset = row.offset.unsigned_abs();
    offset.wrapping_mul(31).wrapping_add(u64::try_from(key.0).unwrap())
}

#[derive(Clone, Copy, Debug)]
enum StateStep {
    Put(u8, u8, i64, bool),
    Remove(u8),
    Commit,
    Rollback,
}

fn any_steps() -> impl Strategy<Value = Vec<StateStep>> {
    let step = prop_oneof![
        6 => (0_u8..12, 0_u8..4, any::<i64>(), any::<bool>())
            .prop_map(|(key, patron, offset, held)| StateStep::Put(key, patron, offset, held)),
        3 => (0_u8..12).prop_map(StateStep::Remove),
        1 => Just(StateStep::Commit),
        1 => Just(StateStep::Rollback),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn delivery_state_equals_a_plain_map_with_rollback(steps in any_steps()) {
        let mut state = DeliveryState::default();
        let mut now: BTreeMap<RowKey, DeliveryRow> = BTreeMap::new();
        let mut settled = now.clone();
        for step in steps {
            match step {
                StateStep::Put(key, patron, offset, held) => {
                    let outcome = if held { DeliveryOutcome::Held } else { DeliveryOutcome::Released };
                    let (key, row) = (RowKey(key.into()), test_row(patron, offset, outcome));
                    state.put(0, key, (row.clone(), test_mac(key, &row)));
                    state.set_patron_id(0, row.patron, &format!("p{patron}"));
                    now.insert(key, row);
                }
                StateStep::Remove(key) => {
                    state.remove(0, RowKey(key.into()));
                    now.remove(&RowKey(key.into()));
                }
                StateStep::Commit => {
                    state.commit();
                    settled = now.clone();
                }
                StateStep::Rollback => {
                    state.rollback();
                    now = settled.clone();
                }
            }
            let found: BTreeMap<RowKey, DeliveryRow> =
                state.rows(0).map(|(key, row)| (key, row.clone())).collect();
            prop_assert_eq!(&found, &now);
            let mut sum = RowChecksum::default();
            let mut has = 0;
            for (key, row) in &now {
                sum.add(test_mac(*key, row));
                has += row.entries.iter().filter(|entry| entry.is_sent()).count() as u64;
            }
            prop_assert_eq!(state.row_sum(0), sum);
            prop_assert_eq!(state.output_counts(0).map(|(_, count)| count).sum::<u64>(), has);
            prop_assert_eq!(state.held_count(0), now.values().filter(|row| row.is_held()).count());
            let mut sent = [0; 2];
            state.add_sent_per_recipient(&mut sent);
            let entries = now.values().flat_map(|row| &row.entries);
            let mut want = [0; 2];
            for entry in entries.filter(|entry| entry.is_sent()) {
                want[usize::from(entry.recipient)] += 1;
            }
            prop_assert_eq!(sent, want);
            for patron in 0..4_u8 {
                let reference = PatronHash(patron.into());
                let mut keys = Vec::new();
                state.collect_rows_of_patron(0, reference, &mut keys);
                keys.sort_unstable();
                let want: Vec<RowKey> = now
                    .iter()
                    .filter(|(_, row)| row.patron == reference)
                    .map(|(key, _)| *key)
                    .collect();
                let name = (!want.is_empty()).then(|| format!("p{patron}"));
                prop_assert_eq!(&keys, &want);
                prop_assert_eq!(state.patron_id(0, reference), name.as_deref());
            }
        }
    }
}

#[test]
fn state_keys_depend_on_the_secret_and_survive_restarts() {
    let key = |secret: u8| {
        use base64::Engine as _;
        let bytes: Vec<u8> = (secret..secret + 32).collect();
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        HmacKey::parse(&format!("k1:{secret}")).unwrap()
    };
    let (one, other) = (StateKeys::new(&key(1)), StateKeys::new(&key(2)));
    let again = StateKeys::new(&key(1));
    assert_eq!(one.patron_hash("p1"), again.patron_hash("p1"));
    assert_ne!(one.patron_hash("p1"), other.patron_hash("p1"));
    assert_eq!(one.hash_bytes(b"x"), again.hash_bytes(b"x"));
    assert_ne!(one.hash_bytes(b"x"), other.hash_bytes(b"x"));
    let loan = PseudonymDomain::new("loan", "loan_id");
    assert_ne!(one.row_key(&loan, "A", "1"), one.row_key(&loan, "B", "1"));
    // Where one value ends matters.
    let hash = |parts: &[&[u8]]| {
        let mut hasher = one.hasher();
        parts.iter().for_each(|part| hasher.add(b't', part));
        hasher.finish()
    };
    assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
}
