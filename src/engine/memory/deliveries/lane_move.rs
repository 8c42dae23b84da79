//! Moves rows from the state of one lane to another's, with their recipients.
//!
//! Rows are moved as JSON: no lane has to be compiled, and entries of unknown recipients
//! are moved, too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::row_json::{self, RowError};
use crate::message::continuity::{
    self, ContinuityMark, Fingerprinter, MARK_ROW_KEY, RowChecksum, append_mac_member,
    merge_earliest, split_mac,
};
use crate::policy::former_recipient::{
    TOPIC_SEPARATOR, recipient_of_state_name, state_name_at_topic,
};

/// The current rows and the mark of one partition of a lane's state.
#[derive(Clone, Debug, Default)]
pub struct StoredPartition {
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) mark: Option<ContinuityMark>,
}

/// Keys and values to be written to a partition, in order; the mark comes last.
pub type WrittenRows = Vec<(Vec<u8>, Vec<u8>)>;

impl StoredPartition {
    /// Adds a row or a mark from the topic; a later one replaces it.
    ///
    /// # Errors
    ///
    /// [`RowError`], as for a row of a version without marks.
    pub fn apply_row(
        &mut self,
        fingerprinter: &Fingerprinter,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RowError> {
        if key == MARK_ROW_KEY {
            let read =
                |value| ContinuityMark::decode(fingerprinter, value).map_err(|_| RowError::Damaged);
            self.mark = value.map(read).transpose()?;
            return Ok(());
        }
        if row_json::is_transport_row(key) {
            return Ok(());
        }
        match value.filter(|value| !row_json::is_ended(value)) {
            Some(value) => {
                row_json::check_mac(fingerprinter, key, value)?;
                self.rows.insert(key.to_vec(), value.to_vec());
            }
            None => drop(self.rows.remove(key)),
        }
        Ok(())
    }

    #[must_use]
    pub fn mark(&self) -> Option<&ContinuityMark> {
        self.mark.as_ref()
    }

    /// The names of all recipients in rows and in the mark.
    #[must_use]
    pub fn recipient_names(&self) -> BTreeSet<String> {
        let rows = self.rows.values().filter_map(|row| parse_row(row).ok());
        let of = |row: Map<String, Value>| match row.get("to") {
            Some(Value::Object(to)) => to.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let marked = self.mark.iter().flat_map(|mark| mark.recipients.clone());
        rows.flat_map(of).chain(marked).collect()
    }

    /// Updates the mark to the rows.
    pub(super) fn recount_mark(&mut self) {
        let Some(mark) = &mut self.mark else {
            return;
        };
        (mark.has, mark.kinds) = (BTreeMap::new(), BTreeMap::new());
        let mut sum = RowChecksum::default();
        for row in self.rows.values() {
            sum.add(split_mac(row).map_or(0, |(_, mac)| mac));
            let kind =
                parse_row(row).ok().and_then(|row| Some(row.get("source")?.as_str()?.to_owned()));
            for (name, topic) in row_json::outputs_in_row(row) {
                if !name.contains(TOPIC_SEPARATOR) {
                    let kinds = mark.kinds.entry(name.clone()).or_default();
                    *kinds.entry(kind.clone().unwrap_or_default()).or_default() += 1;
                }
                *mark.has.entry(name).or_default().entry(topic).or_default() += 1;
            }
        }
        mark.rows = sum;
    }
}

/// Moves the entries and marks of the recipients that move from one partition to another. Returns
/// what is to be written to each; nothing if nobody moves.
///
/// # Errors
///
/// [`RowError`] for a row that cannot be read.
pub fn move_entries(
    fingerprinter: &Fingerprinter,
    (from, to): (&mut StoredPartition, &mut StoredPartition),
    moving: &BTreeSet<String>,
) -> Result<(WrittenRows, WrittenRows), RowError> {
    let (mut written_from, mut written_to) = (Vec::new(), Vec::new());
    let Some(from_mark) = from.mark.clone().filter(|_| !moving.is_empty()) else {
        return Ok((written_from, written_to));
    };
    for key in from.rows.keys().cloned().collect::<Vec<_>>() {
        let Some((rest, moved)) = split_row(&from.rows[&key], moving)? else {
            continue;
        };
        let known = to.rows.get(&key).map(|row| parse_row(row)).transpose()?;
        let merged = write_row(fingerprinter, &key, merge_rows(known, moved));
        written_to.push((key.clone(), merged.clone()));
        to.rows.insert(key.clone(), merged);
        let is_over = rest.contains_key("over");
        let rest = write_row(fingerprinter, &key, rest);
        written_from.push((key.clone(), rest.clone()));
        match is_over {
            true => drop(from.rows.remove(&key)),
            false => drop(from.rows.insert(key, rest)),
        }
    }
    to.mark = Some(mark_after_arrival(&from_mark, to.mark.take(), moving));
    from.mark = Some(mark_after_leaving(from_mark, moving));
    let marks = from.mark.iter().chain(&to.mark);
    let lane_moves = marks.map(|mark| mark.lane_moves).max().unwrap_or(0) + 1;
    for (shelf, written) in [(from, &mut written_from), (to, &mut written_to)] {
        shelf.recount_mark();
        if let Some(mark) = &mut shelf.mark {
            mark.lane_moves = lane_moves;
        }
        let mark = shelf.mark.as_ref().map(|mark| mark.encode(fingerprinter));
        written.extend(mark.map(|mark| (MARK_ROW_KEY.to_vec(), mark)));
    }
    Ok((written_from, written_to))
}

/// Makes the mark of the lane that recipients leave.
fn mark_after_leaving(mut mark: ContinuityMark, moving: &BTreeSet<String>) -> ContinuityMark {
    mark.number += 1;
    mark.recipients.retain(|name| !moving.contains(name));
    mark
}

/// Makes the mark of the lane that recipients come to: it continues from the lower offsets of both.
fn mark_after_arrival(
    from: &ContinuityMark,
    to: Option<ContinuityMark>,
    moving: &BTreeSet<String>,
) -> ContinuityMark {
    let is_new = to.is_none();
    let mut mark = to.unwrap_or_else(|| ContinuityMark {
        number: 0,
        recipients: Vec::new(),
        // Its chain is another one.
        ledger: None,
        ..from.clone()
    });
    let moved = from.recipients.iter().filter(|name| moving.contains(*name));
    let names: BTreeSet<String> = mark.recipients.iter().chain(moved).cloned().collect();
    mark.recipients = names.into_iter().collect();
    mark.number += 1;
    if is_new {
        return mark;
    }
    if mark.policy != from.policy {
        // Re-evaluates all records.
        mark.policy = String::new();
    }
    mark.generation = mark.generation.max(from.generation);
    mark.time_ms = mark.time_ms.max(from.time_ms);
    mark.commands = mark.commands.min(from.commands);
    // A period that was published is not published again.
    mark.published = mark.published.max(from.published.clone());
    mark.taken_back = mark.taken_back.max(from.taken_back.clone());
    for (name, print) in from.keys.iter().filter(|(name, _)| moving.contains(*name)) {
        mark.keys.insert(name.clone(), print.clone());
    }
    for (name, spans) in from.retractions.iter().filter(|(name, _)| moving.contains(*name)) {
        mark.retractions.insert(name.clone(), spans.clone());
    }
    for (topic, ends) in &from.outputs {
        mark.outputs.entry(topic.clone()).or_insert_with(|| ends.clone());
    }
    mark.sources = merge_earliest(&mark.sources, &from.sources);
    mark.patrons = mark.patrons.or_else(|| from.patrons.clone());
    mark
}

pub(super) fn parse_row(row: &[u8]) -> Result<Map<String, Value>, RowError> {
    serde_json::from_slice(row).map_err(|_| RowError::Damaged)
}

/// Returns a row's text, with its MAC.
pub(super) fn write_row(
    fingerprinter: &Fingerprinter,
    key: &[u8],
    mut row: Map<String, Value>,
) -> Vec<u8> {
    row.remove("mac");
    let mut text = serde_json::to_vec(&row).unwrap_or_default();
    text.pop();
    let mac = fingerprinter.hash_record(Some(key), Some(&text));
    append_mac_member(&mut text, mac);
    text
}

/// Returns what stays of a row and what moves; `None` if nothing moves.
type SplitRow = Option<(Map<String, Value>, Map<String, Value>)>;

fn split_row(row: &[u8], moving: &BTreeSet<String>) -> Result<SplitRow, RowError> {
    let mut rest = parse_row(row)?;
    let Some(Value::Object(to)) = rest.get("to") else {
        return Err(RowError::Damaged);
    };
    let (went, stays): (Map<_, _>, Map<_, _>) =
        to.clone().into_iter().partition(|(name, _)| moving.contains(name));
    if went.is_empty() {
        return Ok(None);
    }
    let mut moved = rest.clone();
    let mut entries = Map::new();
    for (name, entry) in went {
        let Value::Object(mut entry) = entry else {
            return Err(RowError::Damaged);
        };
        // Defaults of its row, which may differ in the other one.
        for member in ["first_ms", "facts"] {
            let of_row = rest.get(member).cloned().unwrap_or_default();
            entry.entry(member).or_insert(of_row);
        }
        entries.insert(name, Value::Object(entry));
    }
    moved.insert("to".to_owned(), Value::Object(entries));
    if stays.is_empty() {
        rest.insert("over".to_owned(), Value::Bool(true));
    }
    rest.insert("to".to_owned(), Value::Object(stays));
    Ok(Some((rest, moved)))
}

/// Adds the entries of another row of the same record.
pub(super) fn merge_rows(
    known: Option<Map<String, Value>>,
    moved: Map<String, Value>,
) -> Map<String, Value> {
    let Some(known) = known else {
        return moved;
    };
    let number = |row: &Map<String, Value>, member: &str| row.get(member).and_then(Value::as_i64);
    // The last version of each, and whether the one before it is known where it is gone.
    let version = |row: &Map<String, Value>| {
        let (offset, gone) = (number(row, "offset"), number(row, "gone_offset"));
        (gone.or(offset), gone != offset)
    };
    let is_newer = version(&known) >= version(&moved);
    let due = [&known, &moved].into_iter();
    let due = due.filter_map(|row| number(row, "due_ms")).min();
    // The row keeps its own defaults.
    let mut row = known;
    if !is_newer {
        for member in ["offset", "partition", "patron"] {
            let value = moved.get(member).cloned().unwrap_or_default();
            row.insert(member.to_owned(), value);
        }
        for member in ["gone_offset", "told"] {
            match moved.get(member) {
                Some(value) => drop(row.insert(member.to_owned(), value.clone())),
                None => drop(row.remove(member)),
            }
        }
    }
    let format = number(&row, "format").max(number(&moved, "format"));
    row.extend(format.map(|format| ("format".to_owned(), format.into())));
    if let Some(due) = due {
        row.insert("due_ms".to_owned(), due.into());
    }
    if let (Some(Value::Object(to)), Some(Value::Object(come))) =
        (row.get_mut("to"), moved.get("to"))
    {
        for (name, entry) in come {
            add_entry(to, name, entry);
        }
    }
    row
}

/// Adds an entry to a row. If the row has an entry of the recipient with another output, that one
/// is kept under the recipient's name with its topic.
fn add_entry(to: &mut Map<String, Value>, name: &str, entry: &Value) {
    let output = |entry: &Value| {
        let member = |name| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        member("topic").zip(member("key"))
    };
    let known = to.get(name).map(output);
    match (known, output(entry)) {
        (None | Some(None), _) => drop(to.insert(name.to_owned(), entry.clone())),
        (Some(Some(known)), Some(come)) if known != come => {
            let at = state_name_at_topic(recipient_of_state_name(name), &come.0);
            to.entry(at).or_insert_with(|| entry.clone());
        }
        (Some(Some(_)), _) => {}
    }
}

/// The only row format that can be moved.
const _: () = assert!(row_json::FORMAT == 3 && continuity::FORMAT == 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::deliveries::held::parse_held_row;
    use crate::json::members::texts_with_a_repeated_member;
    use crate::message::continuity::SourceProgress;

    fn fingerprinter() -> Fingerprinter {
        Fingerprinter::new([1, 2, 3, 4])
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const KEY: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA";

    fn row(offset: i64, first_ms: i64, entries: &str) -> Vec<u8> {
        let text = format!(
            r#"{{"format":2,"patron":"P","source":"loan","partition":0,"offset":{offset},"first_ms":{first_ms},"facts":"000000000000000a","to":{{{entries}}}}}"#
        );
        write_row(&fingerprinter(), KEY, parse_row(text.as_bytes()).unwrap())
    }

    fn released_entry(name: &str, topic: &str, key: &str) -> String {
        format!(
            r#""{name}":{{"outcome":"released","topic":"{topic}","key":"{key}","hash":"0000000000000001"}}"#
        )
    }

    fn mark(number: u64, recipients: &[&str], next: i64) -> ContinuityMark {
        let trail = SourceProgress { next, ..SourceProgress::default() };
        ContinuityMark {
            format: continuity::FORMAT,
            number,
            policy: "v1".to_owned(),
            recipients: names(recipients).into_iter().collect(),
            sources: BTreeMap::from([("loan".to_owned(), trail)]),
            ..ContinuityMark::default()
        }
    }

    fn stored_partition(mark: ContinuityMark, rows: &[Vec<u8>]) -> StoredPartition {
        let mut shelf = StoredPartition::default();
        for row in rows {
            shelf.apply_row(&fingerprinter(), KEY, Some(row)).unwrap();
        }
        shelf
            .apply_row(&fingerprinter(), MARK_ROW_KEY, Some(&mark.encode(&fingerprinter())))
            .unwrap();
        shelf.recount_mark();
        shelf
    }

    fn entries_of(shelf: &StoredPartition) -> Map<String, Value> {
        let row = parse_row(&shelf.rows[KEY]).unwrap();
        row["to"].as_object().unwrap().clone()
    }

    #[test]
    fn lane_move_there_and_back_restores_the_rows() {
        let both =
            [released_entry("a", "out.a", "k1"), released_entry("b", "out.b", "k2")].join(",");
        let mut main = stored_partition(mark(7, &["a", "b"], 40), &[row(30, 5, &both)]);
        let before = main.clone();
        let mut finance = StoredPartition::default();
        let goes = names(&["b"]);
        let (left, come) =
            move_entries(&fingerprinter(), (&mut main, &mut finance), &goes).unwrap();
        assert_eq!((left.len(), come.len()), (2, 2));
        assert_eq!(entries_of(&main).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(entries_of(&finance).keys().collect::<Vec<_>>(), ["b"]);
        let (a, b) = (main.mark().unwrap(), finance.mark().unwrap());
        assert_eq!((a.number, &*a.recipients), (8, &["a".to_owned()][..]));
        assert_eq!((b.number, &*b.recipients), (1, &["b".to_owned()][..]));
        assert_eq!((a.lane_moves, b.lane_moves), (1, 1));
        assert_eq!(b.sources, a.sources);
        assert_eq!(b.has["b"]["out.b"], 1);
        assert_eq!(b.kinds["b"]["loan"], 1);
        assert!(!a.has.contains_key("b"));
        // What is written is what is on the shelf.
        let mut again = StoredPartition::default();
        for (key, value) in &come {
            again.apply_row(&fingerprinter(), key, Some(value)).unwrap();
        }
        assert_eq!(again.rows, finance.rows);
        let (left, _) = move_entries(&fingerprinter(), (&mut finance, &mut main), &goes).unwrap();
        let over = left.iter().find(|(key, _)| key == KEY).unwrap();
        assert!(row_json::is_ended(&over.1));
        assert!(finance.rows.is_empty());
        assert_eq!(main.mark().unwrap().lane_moves, 2);
        assert_eq!(main.mark().unwrap().has, before.mark().unwrap().has);
        assert_eq!(main.mark().unwrap().recipients, before.mark().unwrap().recipients);
        assert_eq!(entries_of(&main).keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(entries_of(&main)["b"]["first_ms"], 5);
    }

    /// No reader takes it: not a start, not a move.
    #[test]
    fn row_with_a_repeated_member_in_any_object_is_damaged() {
        let entries = [released_entry("a", "out.a", "k1"), released_entry("b", "out.b", "k2")];
        let plain = row(30, 5, &entries.join(","));
        let (body, _) = continuity::split_mac(&plain).unwrap();
        let value: Value = serde_json::from_str(&format!(
            "{},\"over\":true}}",
            std::str::from_utf8(body).unwrap()
        ))
        .unwrap();
        let seal = |text: &str| {
            let mut sealed = text.strip_suffix('}').unwrap().as_bytes().to_vec();
            let mac = fingerprinter().hash_record(Some(KEY), Some(&sealed));
            continuity::append_mac_member(&mut sealed, mac);
            sealed
        };
        let check = |row: &[u8]| row_json::check_mac(&fingerprinter(), KEY, row);
        assert_eq!(check(&seal(&value.to_string())), Ok(()));
        let mut repeated = texts_with_a_repeated_member(&value);
        assert_eq!(repeated.len(), 9 + 2 + 2 * 4);
        repeated.push(r#"{"format":2,"mac":"0000000000000000"}"#.to_owned());
        for text in repeated {
            let sealed = seal(&text);
            assert_eq!(check(&sealed), Err(RowError::Damaged), "{text}");
            assert_eq!(parse_held_row(&sealed), Err(RowError::Damaged), "{text}");
            let mut stored = StoredPartition::default();
            let taken = stored.apply_row(&fingerprinter(), KEY, Some(&sealed));
            assert_eq!(taken, Err(RowError::Damaged), "{text}");
        }
    }

    #[test]
    fn lane_move_merges_rows_of_one_record() {
        let mut main = stored_partition(
            mark(7, &["a"], 40),
            &[row(30, 5, &released_entry("a", "out.a", "k1"))],
        );
        let own = row(35, 9, &released_entry("b", "out.b", "k2"));
        let mut finance = stored_partition(mark(3, &["b"], 50), &[own]);
        move_entries(&fingerprinter(), (&mut main, &mut finance), &names(&["a"])).unwrap();
        let merged = parse_row(&finance.rows[KEY]).unwrap();
        assert_eq!(merged["offset"], 35);
        assert_eq!(merged["first_ms"], 9);
        assert_eq!(merged["to"]["a"]["first_ms"], 5);
        let mark = finance.mark().unwrap();
        // It reads on from where the one is that is further behind.
        assert_eq!(mark.sources["loan"].next, 40);
        assert_eq!((mark.number, mark.rows.count), (4, 1));
        assert_eq!(mark.policy, "v1");
        assert!(main.rows.is_empty());
    }

    /// Both lanes' marks hold for the same partition of `zeef.patrons`.
    #[test]
    fn merged_row_says_of_its_patron_what_the_newest_version_says() {
        let told = |offset: i64, is_told: bool| {
            let text = row(offset, 1, &released_entry("a", "out.a", "K"));
            let mut row = parse_row(&text).unwrap();
            row.extend(is_told.then(|| ("told".to_owned(), Value::Bool(true))));
            row
        };
        for (known, moved, want) in [
            ((5, true), (4, false), true),
            ((5, false), (4, true), false),
            ((4, true), (5, false), false),
            ((4, false), (5, true), true),
        ] {
            let merged = merge_rows(Some(told(known.0, known.1)), told(moved.0, moved.1));
            assert_eq!(merged.contains_key("told"), want, "{known:?} {moved:?}");
        }
    }

    #[test]
    fn lane_move_keeps_what_a_mark_says_of_patrons() {
        let with_patrons = |number, recipient, next: Option<i64>| {
            let patrons = next.map(|next| SourceProgress { next, ..SourceProgress::default() });
            ContinuityMark { patrons, ..mark(number, &[recipient], 40) }
        };
        for (from, to, want) in
            [(Some(4), Some(6), Some(6)), (Some(4), None, Some(4)), (None, Some(6), Some(6))]
        {
            let rows = [row(30, 5, &released_entry("a", "out.a", "k1"))];
            let mut main = stored_partition(with_patrons(7, "a", from), &rows);
            let mut finance = stored_partition(with_patrons(3, "b", to), &[]);
            move_entries(&fingerprinter(), (&mut main, &mut finance), &names(&["a"])).unwrap();
            let next = |part: &StoredPartition| Some(part.mark()?.patrons.as_ref()?.next);
            assert_eq!((next(&main), next(&finance)), (from, want));
        }
    }

    #[test]
    fn lane_move_never_lists_a_recipient_twice() {
        let goes = names(&["a"]);
        for (key, want) in [("k1", &["a"][..]), ("k2", &["a", "a@out.a"])] {
            let mut main = stored_partition(
                mark(7, &["a"], 40),
                &[row(30, 5, &released_entry("a", "out.a", key))],
            );
            let own = row(30, 5, &released_entry("a", "out.a", "k1"));
            let mut finance = stored_partition(mark(3, &["a"], 40), &[own]);
            move_entries(&fingerprinter(), (&mut main, &mut finance), &goes).unwrap();
            assert_eq!(entries_of(&finance).keys().collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn lane_move_of_nobody_writes_nothing() {
        let mut main = stored_partition(
            mark(7, &["a"], 40),
            &[row(30, 5, &released_entry("a", "out.a", "k1"))],
        );
        let mut finance = StoredPartition::default();
        let none =
            move_entries(&fingerprinter(), (&mut main, &mut finance), &BTreeSet::new()).unwrap();
        assert_eq!(none, (Vec::new(), Vec::new()));
        assert!(finance.mark().is_none());
    }

    #[test]
    fn lane_move_refuses_a_tampered_row() {
        let mut text = row(30, 5, &released_entry("a", "out.a", "k1"));
        let at = text.iter().position(|byte| *byte == b'3').unwrap();
        text[at] = b'4';
        let taken = StoredPartition::default().apply_row(&fingerprinter(), KEY, Some(&text));
        assert_eq!(taken, Err(RowError::Damaged));
    }
}
