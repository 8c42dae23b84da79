//! What is kept of patrons for ever: when each was erased, and what stops all
//! that a gate record could stop which nobody can read or place.
//!
//! Rows of a topic of their own that all lanes share (`zeef.patrons`), as a
//! source may lose the nulls that say it. No patron's id is in them, and no value:
//! whose they are is a keyed hash. Changes of a batch can be undone until its
//! commit has returned.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::lane::Lane;
use super::said::Topic;
use super::state::text::{self, TextError, bits};
use super::state::{Namer, PatronRef, RowKey};
use crate::json::write;
use crate::transport::{Appended, Outbox};

/// The format version that every row carries.
const FORMAT: u32 = 1;

/// A null on the patron source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub patron: PatronRef,
    pub partition: i32,
    pub offset: i64,
    pub at: Appended,
}

/// When a patron was erased last: what came before that is another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Of the last null on the patron source.
    pub offset: i64,
    /// When the latest of its nulls was appended.
    pub at: Appended,
}

impl Epoch {
    /// Nothing that is known so far came after it.
    pub const NEVER: Epoch = Epoch {
        offset: i64::MAX,
        at: Appended {
            ms: i64::MAX,
            exact: true,
        },
    };

    /// Takes in one more null of the same patron; the order does not matter.
    fn with(self, other: Epoch) -> Epoch {
        let latest = match other.at.ms > self.at.ms {
            true => other.at,
            false => self.at,
        };
        Epoch {
            offset: self.offset.max(other.offset),
            at: Appended {
                exact: self.at.exact && other.at.exact,
                ..latest
            },
        }
    }

    /// Whether what was appended then counts for the patron as it is now.
    #[must_use]
    pub fn counts(&self, appended: Option<Appended>) -> bool {
        appended.is_some_and(|appended| appended.is_after(self.at))
    }
}

/// A gate record that nobody can read, or that lies where its patron is not:
/// what it could stop is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub patron: PatronRef,
    /// Which gate it could shut.
    pub gate: Topic,
    /// Where it lies: the topic, without its prefix.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// A keyed hash of the record's own id, where that can be read.
    pub id: Option<u64>,
}

#[derive(Debug, Default)]
struct Part {
    epochs: HashMap<PatronRef, Epoch, foldhash::fast::RandomState>,
    stops: HashMap<RowKey, Stop, foldhash::fast::RandomState>,
    /// The erasures that were seen on the source while the partition was rebuilt.
    seen: Vec<(RowKey, Erasure)>,
    /// The erasures that have a row.
    written: HashSet<RowKey, foldhash::fast::RandomState>,
}

/// What a batch changed.
#[derive(Debug)]
enum Undo {
    Epoch(i32, PatronRef, Option<Epoch>),
    Written(i32, RowKey),
    Stop(i32, RowKey, Option<Stop>),
}

/// What is kept of the patrons of a worker's partitions.
#[derive(Debug, Default)]
pub struct Patrons {
    parts: HashMap<i32, Part, foldhash::fast::RandomState>,
    /// Oldest first.
    undo: Vec<Undo>,
}

impl Patrons {
    /// When a patron was erased last, if it ever was.
    #[inline]
    #[must_use]
    pub fn epoch(&self, partition: i32, patron: PatronRef) -> Option<Epoch> {
        let part = self.parts.get(&partition)?;
        part.epochs.get(&patron).copied()
    }

    /// Whether anybody of a partition was ever erased.
    #[inline]
    #[must_use]
    pub fn has_epochs(&self, partition: i32) -> bool {
        let part = self.parts.get(&partition);
        part.is_some_and(|part| !part.epochs.is_empty())
    }

    /// Whether all that `gate` could stop is stopped for a patron.
    #[must_use]
    pub fn is_stopped(&self, partition: i32, patron: PatronRef, gate: Topic) -> bool {
        self.stops(partition, patron).any(|stop| stop.gate == gate)
    }

    /// The stops of a patron.
    pub fn stops(&self, partition: i32, patron: PatronRef) -> impl Iterator<Item = &Stop> {
        let part = self.parts.get(&partition);
        let stops = part.into_iter().flat_map(|part| part.stops.values());
        stops.filter(move |stop| stop.patron == patron)
    }

    /// Notes a null that the source has, outside of any batch.
    pub fn note(&mut self, namer: &Namer, erasure: Erasure) {
        let part = self.parts.entry(erasure.partition).or_default();
        part.seen.push((namer.erasure(&erasure), erasure));
        part.put(erasure);
    }

    /// A null of the batch: writes its row where that is not there yet.
    pub fn erase(&mut self, (lane, namer): (&Lane, &Namer), erasure: Erasure, outbox: &mut Outbox) {
        let Erasure {
            patron, partition, ..
        } = erasure;
        let part = self.parts.entry(partition).or_default();
        let before = part.epochs.get(&patron).copied();
        self.undo.push(Undo::Epoch(partition, patron, before));
        part.put(erasure);
        self.write(lane, (namer.erasure(&erasure), erasure), outbox);
    }

    /// Writes the row of each null that was noted and has none.
    pub fn write_missing(&mut self, lane: &Lane, partition: i32, outbox: &mut Outbox) {
        let Some(part) = self.parts.get(&partition) else {
            return;
        };
        let missing = part.seen.iter();
        let missing: Vec<_> = missing
            .filter(|(key, _)| !part.written.contains(key))
            .copied()
            .collect();
        for row in missing {
            self.write(lane, row, outbox);
        }
    }

    fn write(&mut self, lane: &Lane, (key, erasure): (RowKey, Erasure), outbox: &mut Outbox) {
        let partition = erasure.partition;
        let part = self.parts.entry(partition).or_default();
        let Some(output) = lane.patrons.filter(|_| part.written.insert(key)) else {
            return;
        };
        self.undo.push(Undo::Written(partition, key));
        let name = text::name(key.0);
        outbox.push(output, Some(partition), Some(&name), |out| {
            write_erasure(out, &erasure);
        });
    }

    /// Stops all that a gate record could stop, until it is
    /// [`lift`](Self::lift)ed. `partition` is the patron's own.
    pub fn stop(
        &mut self,
        (lane, namer): (&Lane, &Namer),
        partition: i32,
        stop: Stop,
        outbox: &mut Outbox,
    ) {
        let key = namer.stop(&stop);
        if let Some(output) = lane.patrons {
            let name = text::name(key.0);
            outbox.push(output, Some(partition), Some(&name), |out| {
                write_stop(out, &stop);
            });
        }
        let part = self.parts.entry(partition).or_default();
        let before = part.stops.insert(key, stop);
        self.undo.push(Undo::Stop(partition, key, before));
    }

    /// Ends the stops of a patron that `ends` names.
    pub fn lift(
        &mut self,
        lane: &Lane,
        (partition, patron): (i32, PatronRef),
        ends: impl Fn(&Stop) -> bool,
        outbox: &mut Outbox,
    ) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        let ended = part.stops.iter();
        let ended = ended.filter(|(_, stop)| stop.patron == patron && ends(stop));
        let mut ended: Vec<RowKey> = ended.map(|(key, _)| *key).collect();
        ended.sort_unstable();
        for key in ended {
            let before = part.stops.remove(&key);
            self.undo.push(Undo::Stop(partition, key, before));
            if let Some(output) = lane.patrons {
                outbox.push_null(output, Some(partition), &text::name(key.0));
            }
        }
    }

    /// Takes back a row that was written, as its topic has it.
    ///
    /// # Errors
    ///
    /// [`TextError`]: a lane cannot go on without knowing who was erased.
    pub fn restore(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), TextError> {
        let key = text::read_key(key)?;
        let part = self.parts.entry(partition).or_default();
        let Some(value) = value else {
            part.stops.remove(&key);
            return Ok(());
        };
        match read(value)? {
            Kept::Erasure(erasure) => {
                part.put(erasure);
                part.written.insert(key);
            }
            Kept::Stop(stop) => drop(part.stops.insert(key, stop)),
        }
        Ok(())
    }

    pub fn merge(&mut self) {
        self.undo.clear();
    }

    pub fn abandon(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Epoch(partition, patron, before) => {
                    let epochs = &mut self.parts.entry(partition).or_default().epochs;
                    match before {
                        Some(epoch) => epochs.insert(patron, epoch),
                        None => epochs.remove(&patron),
                    };
                }
                Undo::Written(partition, key) => {
                    let part = self.parts.entry(partition).or_default();
                    part.written.remove(&key);
                }
                Undo::Stop(partition, key, before) => {
                    let stops = &mut self.parts.entry(partition).or_default().stops;
                    match before {
                        Some(stop) => stops.insert(key, stop),
                        None => stops.remove(&key),
                    };
                }
            }
        }
    }

    pub fn drop_partition(&mut self, partition: i32) {
        self.parts.remove(&partition);
    }

    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
    }
}

impl Part {
    fn put(&mut self, erasure: Erasure) {
        let epoch = Epoch {
            offset: erasure.offset,
            at: erasure.at,
        };
        let known = self.epochs.entry(erasure.patron).or_insert(epoch);
        *known = known.with(epoch);
    }
}

impl Namer {
    /// The name of an erasure's row: the same whoever writes it.
    #[must_use]
    pub fn erasure(&self, erasure: &Erasure) -> RowKey {
        let Erasure {
            partition, offset, ..
        } = erasure;
        let patron = text::name(erasure.patron.0);
        self.kept("erasure", &patron, &format!("{partition}:{offset}"))
    }

    /// The name of a stop's row.
    #[must_use]
    pub fn stop(&self, stop: &Stop) -> RowKey {
        let Stop {
            topic,
            partition,
            offset,
            ..
        } = stop;
        let patron = text::name(stop.patron.0);
        self.kept("stop", &patron, &format!("{topic}:{partition}:{offset}"))
    }
}

fn write_erasure(out: &mut Vec<u8>, erasure: &Erasure) {
    head(out, erasure.patron);
    place(out, erasure.partition, erasure.offset);
    if erasure.at.ms != i64::MAX {
        number(out, "appended_ms", erasure.at.ms);
    }
    if !erasure.at.exact {
        out.extend_from_slice(b",\"exact\":false");
    }
    out.push(b'}');
}

fn write_stop(out: &mut Vec<u8>, stop: &Stop) {
    head(out, stop.patron);
    out.extend_from_slice(b",\"stops\":");
    write::string(out, gate_word(stop.gate));
    out.extend_from_slice(b",\"topic\":");
    write::string(out, &stop.topic);
    place(out, stop.partition, stop.offset);
    if let Some(id) = stop.id {
        out.extend_from_slice(format!(",\"id\":\"{id:016x}\"").as_bytes());
    }
    out.push(b'}');
}

fn head(out: &mut Vec<u8>, patron: PatronRef) {
    out.extend_from_slice(format!("{{\"format\":{FORMAT},\"patron\":\"").as_bytes());
    out.extend_from_slice(&text::name(patron.0));
    out.push(b'"');
}

fn place(out: &mut Vec<u8>, partition: i32, offset: i64) {
    number(out, "partition", partition.into());
    number(out, "offset", offset);
}

fn number(out: &mut Vec<u8>, name: &str, value: i64) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

fn gate_word(gate: Topic) -> &'static str {
    match gate {
        Topic::Consent => "consent",
        Topic::Objection => "objection",
    }
}

#[derive(Deserialize)]
struct KeptText {
    format: u32,
    patron: String,
    partition: i32,
    offset: i64,
    appended_ms: Option<i64>,
    exact: Option<bool>,
    stops: Option<String>,
    topic: Option<String>,
    id: Option<String>,
}

enum Kept {
    Erasure(Erasure),
    Stop(Stop),
}

fn read(value: &[u8]) -> Result<Kept, TextError> {
    let kept: KeptText = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    if kept.format > FORMAT {
        return Err(TextError::Newer);
    }
    let patron = bits(kept.patron.as_bytes()).ok_or(TextError::Damaged)?;
    let (patron, partition, offset) = (PatronRef(patron), kept.partition, kept.offset);
    let Some(stops) = kept.stops else {
        return Ok(Kept::Erasure(Erasure {
            patron,
            partition,
            offset,
            at: Appended {
                ms: kept.appended_ms.unwrap_or(i64::MAX),
                exact: kept.exact.unwrap_or(true),
            },
        }));
    };
    let gates = [Topic::Consent, Topic::Objection];
    let mut gates = gates.into_iter();
    let id = kept.id.map(|id| u64::from_str_radix(&id, 16)).transpose();
    Ok(Kept::Stop(Stop {
        patron,
        gate: gates
            .find(|gate| gate_word(*gate) == stops)
            .ok_or(TextError::Damaged)?,
        topic: kept.topic.ok_or(TextError::Damaged)?,
        partition,
        offset,
        id: id.map_err(|_| TextError::Damaged)?,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::lane::Options;
    use crate::policy::Policy;
    use crate::policy::pseudonym::{Key, Pseudonymiser};

    fn setup() -> (Lane, Namer) {
        let policy = Policy::load(Path::new("config")).unwrap().policy;
        let key = Key::generate("k").unwrap();
        let pseudonymiser = |_: &str| Some(Pseudonymiser::new(&key));
        let options = Options::default();
        let lane = Lane::compile("main", &policy, |_| true, pseudonymiser, options).unwrap();
        (lane, Namer::new(&key))
    }

    fn at(ms: i64, exact: bool) -> Appended {
        Appended { ms, exact }
    }

    fn erasure(namer: &Namer, patron: &str, offset: i64, at: Appended) -> Erasure {
        Erasure {
            patron: namer.patron(patron),
            partition: 3,
            offset,
            at,
        }
    }

    /// What another lane knows that reads all rows.
    fn read_back(outbox: &Outbox) -> Patrons {
        let mut patrons = Patrons::default();
        for row in outbox.iter() {
            assert_eq!(row.partition, Some(3));
            patrons.restore(3, row.key, row.value).unwrap();
        }
        patrons
    }

    #[test]
    fn what_came_in_the_same_moment_is_from_before() {
        #[track_caller]
        fn check(record: Option<(i64, bool)>, null: (i64, bool), counts: bool) {
            let epoch = Epoch {
                offset: 1,
                at: at(null.0, null.1),
            };
            let record = record.map(|(ms, exact)| at(ms, exact));
            assert_eq!(epoch.counts(record), counts, "{record:?} {null:?}");
        }
        check(Some((1_000, true)), (1_000, true), false);
        check(Some((1_001, true)), (1_000, true), true);
        check(Some((3_601_000, false)), (1_000, true), false);
        check(Some((3_601_001, false)), (1_000, true), true);
        check(Some((3_601_000, true)), (1_000, false), false);
        check(Some((3_601_001, false)), (1_000, false), true);
        check(Some((i64::MAX, true)), (i64::MAX, false), false);
        check(None, (1_000, true), false);
    }

    #[test]
    fn the_order_of_nulls_does_not_matter() {
        let (_, namer) = setup();
        let nulls = [
            (5, at(1_000, true)),
            (7, at(900, false)),
            (9, at(950, true)),
        ];
        let all = nulls.map(|(offset, at)| erasure(&namer, "p1", offset, at));
        let epoch = |order: [usize; 3]| {
            let mut patrons = Patrons::default();
            for place in order {
                patrons.note(&namer, all[place]);
            }
            patrons.epoch(3, namer.patron("p1"))
        };
        let want = Some(Epoch {
            offset: 9,
            at: at(1_000, false),
        });
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            assert_eq!(epoch(order), want, "{order:?}");
        }
    }

    #[test]
    fn a_row_is_the_same_whoever_writes_it() {
        let (lane, namer) = setup();
        let null = erasure(&namer, "p1", 5, at(1_000, true));
        let written = |patrons: &mut Patrons, missing: bool| {
            let mut outbox = Outbox::default();
            match missing {
                true => patrons.write_missing(&lane, 3, &mut outbox),
                false => patrons.erase((&lane, &namer), null, &mut outbox),
            }
            outbox
        };
        let mut seen = Patrons::default();
        seen.note(&namer, null);
        let (one, two) = (
            written(&mut Patrons::default(), false),
            written(&mut seen, true),
        );
        let rows = |outbox: &Outbox| -> Vec<(Vec<u8>, Vec<u8>)> {
            let row = |bytes: Option<&[u8]>| bytes.unwrap().to_vec();
            outbox
                .iter()
                .map(|output| (row(output.key), row(output.value)))
                .collect()
        };
        assert_eq!(rows(&one), rows(&two));
        let text = String::from_utf8(rows(&one)[0].1.clone()).unwrap();
        assert!(!text.contains("p1\""), "{text}");
        let mut known = read_back(&one);
        assert_eq!(known.epoch(3, null.patron), seen.epoch(3, null.patron));
        // It is written once, and again where the batch was aborted.
        assert!(written(&mut seen, false).is_empty());
        assert!(written(&mut known, false).is_empty());
        let mut aborted = Patrons::default();
        assert_eq!(written(&mut aborted, false).len(), 1);
        aborted.abandon();
        assert_eq!(aborted.epoch(3, null.patron), None);
        assert_eq!(written(&mut aborted, false).len(), 1);
    }

    #[test]
    fn a_stop_holds_until_it_is_lifted() {
        let (lane, namer) = setup();
        let stop = |gate, offset, id| Stop {
            patron: namer.patron("p1"),
            gate,
            topic: "consent".to_owned(),
            partition: 1,
            offset,
            id,
        };
        let mut outbox = Outbox::default();
        let mut patrons = Patrons::default();
        let of = (&lane, &namer);
        patrons.stop(of, 3, stop(Topic::Consent, 5, None), &mut outbox);
        patrons.stop(of, 3, stop(Topic::Consent, 6, Some(7)), &mut outbox);
        patrons.merge();
        let (patron, other) = (namer.patron("p1"), namer.patron("p2"));
        let check = |patrons: &Patrons, count: usize| {
            assert_eq!(patrons.stops(3, patron).count(), count);
            assert_eq!(patrons.is_stopped(3, patron, Topic::Consent), count > 0);
            assert!(!patrons.is_stopped(3, patron, Topic::Objection));
            assert!(!patrons.is_stopped(3, other, Topic::Consent));
            assert!(!patrons.is_stopped(1, patron, Topic::Consent));
        };
        check(&patrons, 2);
        check(&read_back(&outbox), 2);
        patrons.lift(&lane, (3, patron), |stop| stop.id == Some(7), &mut outbox);
        check(&patrons, 1);
        check(&read_back(&outbox), 1);
        patrons.abandon();
        check(&patrons, 2);
        patrons.lift(&lane, (3, patron), |_| true, &mut outbox);
        check(&patrons, 0);
        check(&read_back(&outbox), 0);
    }

    #[test]
    fn a_row_that_cannot_be_read_stops() {
        let key = text::name(1);
        let restore = |value: &[u8]| Patrons::default().restore(3, Some(&key), Some(value)).err();
        assert_eq!(restore(b"{"), Some(TextError::Damaged));
        let newer = format!(
            r#"{{"format":2,"patron":"{}","partition":3,"offset":1}}"#,
            String::from_utf8_lossy(&text::name(2))
        );
        assert_eq!(restore(newer.as_bytes()), Some(TextError::Newer));
        assert_eq!(restore(newer.replace(":2,", ":1,").as_bytes()), None);
    }
}
