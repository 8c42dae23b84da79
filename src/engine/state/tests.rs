//! The state is a map that can go back, and its names are keyed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::policy::reason::Reason;
use crate::transport::continuity::RowSum;

fn row(patron: u8, offset: i64, outcome: Outcome) -> Row {
    let recipient = u16::from(offset % 2 != 0);
    let mut entry = Entry::without(recipient, outcome, Some(Reason::NoConsent));
    entry.facts = 7;
    Row {
        patron: PatronRef(u128::from(patron)),
        source: 1,
        offset,
        first_ms: 5,
        due_ms: i64::MAX,
        entries: Box::new([entry]),
        more: None,
    }
}

/// Any number that tells rows apart.
fn mac(key: RowKey, row: &Row) -> u64 {
    let offset = row.offset.unsigned_abs();
    offset
        .wrapping_mul(31)
        .wrapping_add(u64::try_from(key.0).unwrap())
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u8, u8, i64, bool),
    Remove(u8),
    Merge,
    Abandon,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..12, 0_u8..4, any::<i64>(), any::<bool>())
            .prop_map(|(key, patron, offset, held)| Step::Put(key, patron, offset, held)),
        3 => (0_u8..12).prop_map(Step::Remove),
        1 => Just(Step::Merge),
        1 => Just(Step::Abandon),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn it_is_a_map_that_can_go_back(steps in steps()) {
        let mut state = State::default();
        let mut now: BTreeMap<RowKey, Row> = BTreeMap::new();
        let mut settled = now.clone();
        for step in steps {
            match step {
                Step::Put(key, patron, offset, held) => {
                    let outcome = if held { Outcome::Held } else { Outcome::Released };
                    let (key, row) = (RowKey(key.into()), row(patron, offset, outcome));
                    state.put(0, key, (row.clone(), mac(key, &row)), Some(&format!("p{patron}")));
                    now.insert(key, row);
                }
                Step::Remove(key) => {
                    state.remove(0, RowKey(key.into()));
                    now.remove(&RowKey(key.into()));
                }
                Step::Merge => {
                    state.merge();
                    settled = now.clone();
                }
                Step::Abandon => {
                    state.abandon();
                    now = settled.clone();
                }
            }
            let found: BTreeMap<RowKey, Row> =
                state.rows(0).map(|(key, row)| (key, row.clone())).collect();
            prop_assert_eq!(&found, &now);
            let mut sum = RowSum::default();
            let mut has = 0;
            for (key, row) in &now {
                sum.add(mac(*key, row));
                has += row.entries.iter().filter(|entry| entry.is_sent()).count() as u64;
            }
            prop_assert_eq!(state.sum(0), sum);
            prop_assert_eq!(state.has(0).map(|(_, count)| count).sum::<u64>(), has);
            prop_assert_eq!(state.held(0), now.values().filter(|row| row.is_held()).count());
            let mut sent = [0; 2];
            state.add_sent_in_all(&mut sent);
            let entries = now.values().flat_map(|row| &row.entries);
            let mut want = [0; 2];
            for entry in entries.filter(|entry| entry.is_sent()) {
                want[usize::from(entry.recipient)] += 1;
            }
            prop_assert_eq!(sent, want);
            for patron in 0..4_u8 {
                let reference = PatronRef(patron.into());
                let mut keys = Vec::new();
                state.of_patron(0, reference, &mut keys);
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
fn names_are_keyed_and_hashes_stay() {
    let key = |secret: u8| {
        use base64::Engine as _;
        let bytes: Vec<u8> = (secret..secret + 32).collect();
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        Key::parse(&format!("k1:{secret}")).unwrap()
    };
    let (one, other) = (Namer::new(&key(1)), Namer::new(&key(2)));
    let again = Namer::new(&key(1));
    assert_eq!(one.patron("p1"), again.patron("p1"));
    assert_ne!(one.patron("p1"), other.patron("p1"));
    assert_eq!(one.hash(b"x"), again.hash(b"x"));
    assert_ne!(one.hash(b"x"), other.hash(b"x"));
    let loan = Meaning::new("loan", "loan_id");
    assert_ne!(one.record(&loan, "A", "1"), one.record(&loan, "B", "1"));
    // Where one value ends matters.
    let hash = |parts: &[&[u8]]| {
        let mut hasher = one.hasher();
        parts.iter().for_each(|part| hasher.add(b't', part));
        hasher.end()
    };
    assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
}
