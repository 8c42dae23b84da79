//! Rows of one lane's state that become another's: what recipients have goes with
//! them when they move to another lane.
//!
//! Rows are moved as they are written: no lane has to be compiled for it, and what
//! nobody knows of any more moves too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::text::{self, TextError};
use crate::policy::former::{AT, name_at, recipient_of};
use crate::transport::continuity::{
    self, Fingerprinter, MARK_KEY, Mark, RowSum, append_mac, behind, split_mac,
};

/// One partition of a lane's state: what counts of it, by key.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    mark: Option<Mark>,
}

/// What is written to a shelf: keys and values in their order, the mark last.
pub type Written = Vec<(Vec<u8>, Vec<u8>)>;

impl Shelf {
    /// Takes a row or a mark, as it stands in the topic; a later one replaces it.
    ///
    /// # Errors
    ///
    /// [`TextError`], as for a row of a version without marks.
    pub fn take(
        &mut self,
        prints: &Fingerprinter,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), TextError> {
        if key == MARK_KEY {
            let read = |value| Mark::read(prints, value).map_err(|_| TextError::Damaged);
            self.mark = value.map(read).transpose()?;
            return Ok(());
        }
        if text::is_of_transport(key) {
            return Ok(());
        }
        match value.filter(|value| !text::is_over(value)) {
            Some(value) => {
                text::check_mac(prints, key, value)?;
                self.rows.insert(key.to_vec(), value.to_vec());
            }
            None => drop(self.rows.remove(key)),
        }
        Ok(())
    }

    #[must_use]
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// The names of all that are in rows, or that the mark knows.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let rows = self.rows.values().filter_map(|row| parse(row).ok());
        let of = |row: Map<String, Value>| match row.get("to") {
            Some(Value::Object(to)) => to.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let marked = self.mark.iter().flat_map(|mark| mark.recipients.clone());
        rows.flat_map(of).chain(marked).collect()
    }

    /// Makes the mark say what the rows are.
    fn recount(&mut self) {
        let Some(mark) = &mut self.mark else {
            return;
        };
        (mark.has, mark.kinds) = (BTreeMap::new(), BTreeMap::new());
        let mut sum = RowSum::default();
        for row in self.rows.values() {
            sum.add(split_mac(row).map_or(0, |(_, mac)| mac));
            let kind = parse(row)
                .ok()
                .and_then(|row| Some(row.get("source")?.as_str()?.to_owned()));
            for (name, topic) in text::sent_to(row) {
                if !name.contains(AT) {
                    let kinds = mark.kinds.entry(name.clone()).or_default();
                    *kinds.entry(kind.clone().unwrap_or_default()).or_default() += 1;
                }
                *mark.has.entry(name).or_default().entry(topic).or_default() += 1;
            }
        }
        mark.rows = sum;
    }
}

/// Moves what `goes` names from one shelf to another, and both marks with it.
/// Returns what is to be written to each; nothing where nobody moves.
///
/// # Errors
///
/// [`TextError`] for a row that cannot be read.
pub fn carry(
    prints: &Fingerprinter,
    (from, to): (&mut Shelf, &mut Shelf),
    goes: &BTreeSet<String>,
) -> Result<(Written, Written), TextError> {
    let (mut left, mut come) = (Vec::new(), Vec::new());
    let Some(from_mark) = from.mark.clone().filter(|_| !goes.is_empty()) else {
        return Ok((left, come));
    };
    for key in from.rows.keys().cloned().collect::<Vec<_>>() {
        let Some((rest, moved)) = split(&from.rows[&key], goes)? else {
            continue;
        };
        let known = to.rows.get(&key).map(|row| parse(row)).transpose()?;
        let merged = write(prints, &key, merge(known, moved));
        come.push((key.clone(), merged.clone()));
        to.rows.insert(key.clone(), merged);
        let is_over = rest.contains_key("over");
        let rest = write(prints, &key, rest);
        left.push((key.clone(), rest.clone()));
        match is_over {
            true => drop(from.rows.remove(&key)),
            false => drop(from.rows.insert(key, rest)),
        }
    }
    to.mark = Some(arrived(&from_mark, to.mark.take(), goes));
    from.mark = Some(departed(from_mark, goes));
    for (shelf, written) in [(from, &mut left), (to, &mut come)] {
        shelf.recount();
        let mark = shelf.mark.as_ref().map(|mark| mark.write(prints));
        written.extend(mark.map(|mark| (MARK_KEY.to_vec(), mark)));
    }
    Ok((left, come))
}

/// The mark of a lane that recipients left.
fn departed(mut mark: Mark, goes: &BTreeSet<String>) -> Mark {
    mark.number += 1;
    mark.recipients.retain(|name| !goes.contains(name));
    mark
}

/// The mark of a lane that recipients came to: it goes on where the one that is
/// further behind does.
fn arrived(from: &Mark, to: Option<Mark>, goes: &BTreeSet<String>) -> Mark {
    let is_new = to.is_none();
    let mut mark = to.unwrap_or_else(|| Mark {
        number: 0,
        recipients: Vec::new(),
        ..from.clone()
    });
    let moved = from.recipients.iter().filter(|name| goes.contains(*name));
    let names: BTreeSet<String> = mark.recipients.iter().chain(moved).cloned().collect();
    mark.recipients = names.into_iter().collect();
    mark.number += 1;
    if is_new {
        return mark;
    }
    if mark.policy != from.policy {
        // All is decided anew.
        mark.policy = String::new();
    }
    mark.generation = mark.generation.max(from.generation);
    mark.time_ms = mark.time_ms.max(from.time_ms);
    mark.commands = mark.commands.min(from.commands);
    // A period that was published is not published again.
    mark.published = mark.published.max(from.published.clone());
    mark.taken_back = mark.taken_back.max(from.taken_back.clone());
    for (name, print) in from.keys.iter().filter(|(name, _)| goes.contains(*name)) {
        mark.keys.insert(name.clone(), print.clone());
    }
    for (topic, ends) in &from.outputs {
        mark.outputs
            .entry(topic.clone())
            .or_insert_with(|| ends.clone());
    }
    mark.sources = behind(&mark.sources, &from.sources);
    mark
}

fn parse(row: &[u8]) -> Result<Map<String, Value>, TextError> {
    serde_json::from_slice(row).map_err(|_| TextError::Damaged)
}

/// Returns a row's text, with its MAC.
fn write(prints: &Fingerprinter, key: &[u8], mut row: Map<String, Value>) -> Vec<u8> {
    row.remove("mac");
    let mut text = serde_json::to_vec(&row).unwrap_or_default();
    text.pop();
    let mac = prints.record(Some(key), Some(&text));
    append_mac(&mut text, mac);
    text
}

/// What stays of a row and what goes of it; `None` where nothing of it goes.
type Split = Option<(Map<String, Value>, Map<String, Value>)>;

fn split(row: &[u8], goes: &BTreeSet<String>) -> Result<Split, TextError> {
    let mut rest = parse(row)?;
    let Some(Value::Object(to)) = rest.get("to") else {
        return Err(TextError::Damaged);
    };
    let (went, stays): (Map<_, _>, Map<_, _>) = to
        .clone()
        .into_iter()
        .partition(|(name, _)| goes.contains(name));
    if went.is_empty() {
        return Ok(None);
    }
    let mut moved = rest.clone();
    let mut entries = Map::new();
    for (name, entry) in went {
        let Value::Object(mut entry) = entry else {
            return Err(TextError::Damaged);
        };
        // What it has in common with its row, which may be another one there.
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

/// Returns a row with the entries of another one of the same record.
fn merge(known: Option<Map<String, Value>>, moved: Map<String, Value>) -> Map<String, Value> {
    let Some(known) = known else {
        return moved;
    };
    let number = |row: &Map<String, Value>, member: &str| row.get(member).and_then(Value::as_i64);
    let is_newer = number(&known, "offset") >= number(&moved, "offset");
    let due = [&known, &moved].into_iter();
    let due = due.filter_map(|row| number(row, "due_ms")).min();
    // The row's own words on what its entries have in common stay.
    let mut row = known;
    if !is_newer {
        for member in ["offset", "partition", "patron"] {
            let value = moved.get(member).cloned().unwrap_or_default();
            row.insert(member.to_owned(), value);
        }
    }
    if let Some(due) = due {
        row.insert("due_ms".to_owned(), due.into());
    }
    if let (Some(Value::Object(to)), Some(Value::Object(come))) =
        (row.get_mut("to"), moved.get("to"))
    {
        for (name, entry) in come {
            settle(to, name, entry);
        }
    }
    row
}

/// Adds an entry to those of a row. Where the recipient is in it, what it has stays
/// known: under its name with the topic, where that is another output.
fn settle(to: &mut Map<String, Value>, name: &str, entry: &Value) {
    let output = |entry: &Value| {
        let member = |name| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        member("topic").zip(member("key"))
    };
    let known = to.get(name).map(output);
    match (known, output(entry)) {
        (None | Some(None), _) => drop(to.insert(name.to_owned(), entry.clone())),
        (Some(Some(known)), Some(come)) if known != come => {
            let at = name_at(recipient_of(name), &come.0);
            to.entry(at).or_insert_with(|| entry.clone());
        }
        (Some(Some(_)), _) => {}
    }
}

/// The format that rows have that can be moved.
const _: () = assert!(text::FORMAT == 2 && continuity::FORMAT == 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::continuity::Trail;

    fn prints() -> Fingerprinter {
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
        write(&prints(), KEY, parse(text.as_bytes()).unwrap())
    }

    fn sent(name: &str, topic: &str, key: &str) -> String {
        format!(
            r#""{name}":{{"outcome":"released","topic":"{topic}","key":"{key}","hash":"0000000000000001"}}"#
        )
    }

    fn mark(number: u64, recipients: &[&str], next: i64) -> Mark {
        let trail = Trail {
            next,
            ..Trail::default()
        };
        Mark {
            format: continuity::FORMAT,
            number,
            policy: "v1".to_owned(),
            recipients: names(recipients).into_iter().collect(),
            sources: BTreeMap::from([("loan".to_owned(), trail)]),
            ..Mark::default()
        }
    }

    fn shelf(mark: Mark, rows: &[Vec<u8>]) -> Shelf {
        let mut shelf = Shelf::default();
        for row in rows {
            shelf.take(&prints(), KEY, Some(row)).unwrap();
        }
        shelf
            .take(&prints(), MARK_KEY, Some(&mark.write(&prints())))
            .unwrap();
        shelf.recount();
        shelf
    }

    fn to(shelf: &Shelf) -> Map<String, Value> {
        let row = parse(&shelf.rows[KEY]).unwrap();
        row["to"].as_object().unwrap().clone()
    }

    #[test]
    fn what_moves_comes_back_as_it_was() {
        let both = [sent("a", "out.a", "k1"), sent("b", "out.b", "k2")].join(",");
        let mut main = shelf(mark(7, &["a", "b"], 40), &[row(30, 5, &both)]);
        let before = main.clone();
        let mut finance = Shelf::default();
        let goes = names(&["b"]);
        let (left, come) = carry(&prints(), (&mut main, &mut finance), &goes).unwrap();
        assert_eq!((left.len(), come.len()), (2, 2));
        assert_eq!(to(&main).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(to(&finance).keys().collect::<Vec<_>>(), ["b"]);
        let (a, b) = (main.mark().unwrap(), finance.mark().unwrap());
        assert_eq!((a.number, &*a.recipients), (8, &["a".to_owned()][..]));
        assert_eq!((b.number, &*b.recipients), (1, &["b".to_owned()][..]));
        assert_eq!(b.sources, a.sources);
        assert_eq!(b.has["b"]["out.b"], 1);
        assert_eq!(b.kinds["b"]["loan"], 1);
        assert!(!a.has.contains_key("b"));
        // What is written is what is on the shelf.
        let mut again = Shelf::default();
        for (key, value) in &come {
            again.take(&prints(), key, Some(value)).unwrap();
        }
        assert_eq!(again.rows, finance.rows);
        let (left, _) = carry(&prints(), (&mut finance, &mut main), &goes).unwrap();
        let over = left.iter().find(|(key, _)| key == KEY).unwrap();
        assert!(text::is_over(&over.1));
        assert!(finance.rows.is_empty());
        assert_eq!(main.mark().unwrap().has, before.mark().unwrap().has);
        assert_eq!(
            main.mark().unwrap().recipients,
            before.mark().unwrap().recipients
        );
        assert_eq!(to(&main).keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(to(&main)["b"]["first_ms"], 5);
    }

    #[test]
    fn rows_of_one_record_merge() {
        let mut main = shelf(
            mark(7, &["a"], 40),
            &[row(30, 5, &sent("a", "out.a", "k1"))],
        );
        let own = row(35, 9, &sent("b", "out.b", "k2"));
        let mut finance = shelf(mark(3, &["b"], 50), &[own]);
        carry(&prints(), (&mut main, &mut finance), &names(&["a"])).unwrap();
        let merged = parse(&finance.rows[KEY]).unwrap();
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

    #[test]
    fn nobody_is_twice_in_a_row() {
        let goes = names(&["a"]);
        for (key, want) in [("k1", &["a"][..]), ("k2", &["a", "a@out.a"])] {
            let mut main = shelf(mark(7, &["a"], 40), &[row(30, 5, &sent("a", "out.a", key))]);
            let own = row(30, 5, &sent("a", "out.a", "k1"));
            let mut finance = shelf(mark(3, &["a"], 40), &[own]);
            carry(&prints(), (&mut main, &mut finance), &goes).unwrap();
            assert_eq!(to(&finance).keys().collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn where_nobody_moves_nothing_is_written() {
        let mut main = shelf(
            mark(7, &["a"], 40),
            &[row(30, 5, &sent("a", "out.a", "k1"))],
        );
        let mut finance = Shelf::default();
        let none = carry(&prints(), (&mut main, &mut finance), &BTreeSet::new()).unwrap();
        assert_eq!(none, (Vec::new(), Vec::new()));
        assert!(finance.mark().is_none());
    }

    #[test]
    fn a_row_that_was_changed_is_damaged() {
        let mut text = row(30, 5, &sent("a", "out.a", "k1"));
        let at = text.iter().position(|byte| *byte == b'3').unwrap();
        text[at] = b'4';
        let taken = Shelf::default().take(&prints(), KEY, Some(&text));
        assert_eq!(taken, Err(TextError::Damaged));
    }
}
