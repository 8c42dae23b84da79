//! The marks of a worker's partitions on Kafka: what is compared with them, and
//! what they say of sources, outputs and the group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consumer::widened;
use super::partition::Place;
use super::reader::Wanted;
use super::start::{Committed, committed, edges};
use super::{Found, KafkaTransport, NO_SOURCE, STARTS, look_up};
use crate::transport::continuity::{
    AtAnchor, FIRST_START_MS, Finding, FindingKind, Fingerprinter, GroupOffset, MARK_KEY, Mark,
    Position, Seen, Trail, compare_source, moved_back,
};
use crate::transport::{Coordinates, Fault, Input, OutputId, Rebuilt};

/// How long a source that ends too early is asked again: a leader that has just
/// changed may not know its end yet.
const END_PATIENCE: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(5);
/// So many offsets before its end a partition of the state has its last mark.
const TAIL: i64 = 50;

/// What goes with the group's offsets: the number of the mark, when the first
/// mark of its partition was written, and how many partitions sources had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkNumber {
    pub number: u64,
    pub born_ms: i64,
    pub partitions: i32,
}

impl MarkNumber {
    /// Reads the metadata of an offset; `None` where somebody else set it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("zeef ")?.split(' ');
        let parsed = Self {
            number: words.next()?.parse().ok()?,
            born_ms: words.next()?.parse().ok()?,
            partitions: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(parsed)
    }
}

impl fmt::Display for MarkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            born_ms,
            partitions,
        } = self;
        write!(f, "zeef {number} {born_ms} {partitions}")
    }
}

/// What is known beside the partitions themselves.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Marks that were recalled and not compared yet.
    recalled: HashMap<i32, Option<Mark>>,
    /// The hash of each gate log, as far as its mark says it was read.
    logs: HashMap<Place, u64>,
    /// The group's offsets when the partitions were assigned.
    pub committed: HashMap<Place, Committed>,
    cluster: Option<String>,
    /// The ends of the outputs, as they were looked at last.
    outputs: BTreeMap<String, Vec<i64>>,
    /// Partitions go on from elsewhere than they are fetched from.
    pub moved: bool,
}

/// The edges of a partition: its first offset, its end, and its stable end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edges {
    start: i64,
    end: i64,
    stable: i64,
}

impl KafkaTransport {
    /// See [`Transport::recall`](crate::transport::Transport::recall).
    pub(super) fn recall_mark(&mut self, partition: i32, mark: Option<&Mark>) {
        self.marks.recalled.insert(partition, mark.cloned());
    }

    /// Returns what a rebuild of a gate log is to be hashed with, and up to which
    /// offset.
    pub(super) fn log_to_hash(&self, place: Place) -> Option<(Fingerprinter, i64)> {
        let source = self.intake.source(place.0)?;
        let mark = self.marks.recalled.get(&place.1)?.as_ref()?;
        let trail = mark.sources.get(&source.name)?;
        trail.log?;
        Some((self.prints?, trail.next))
    }

    pub(super) fn set_log(&mut self, place: Place, hash: u64) {
        self.marks.logs.insert(place, hash);
    }

    /// See [`Transport::verify`](crate::transport::Transport::verify).
    pub(super) fn verify_marks(
        &mut self,
        partition: i32,
        before: bool,
    ) -> Result<Vec<Finding>, Fault> {
        if self.prints.is_none() {
            return Ok(Vec::new());
        }
        self.check_added()?;
        match self.marks.recalled.remove(&partition).flatten() {
            Some(mark) => self.compare(partition, &mark),
            None if before => Ok(Vec::new()),
            None => self.verify_new(partition),
        }
    }

    /// Stops where sources had fewer partitions when the group's offsets were
    /// written: one patron's records may lie in two of them.
    fn check_added(&self) -> Result<(), Fault> {
        for (place, found) in &self.marks.committed {
            let (Some(mark), Some(source)) = (found.mark, self.intake.source(place.0)) else {
                continue;
            };
            if mark.partitions < self.intake.partitions() {
                return Err(Fault::Stop(widened(
                    &source.topic,
                    self.intake.partitions(),
                    mark.partitions,
                )));
            }
        }
        Ok(())
    }

    /// A partition without a mark must be one that nobody has ever read.
    fn verify_new(&mut self, partition: i32) -> Result<Vec<Finding>, Fault> {
        let Some(outputs) = self.output_ends()? else {
            return Err(self.unanswered("ends of outputs"));
        };
        // Behind the outputs: another worker that has written some has committed
        // offsets before.
        let (consumer, sources) = (&self.intake.consumer, &self.intake.sources);
        let Some(committed) = committed(consumer, sources)? else {
            return Err(self.unanswered("offsets of the group"));
        };
        let subject = self.group.clone();
        let finding = |detail: String| Finding {
            subject: subject.clone(),
            partition,
            kind: FindingKind::StateMissing,
            detail,
        };
        if committed.keys().any(|place| place.1 == partition) {
            let detail = "the group has offsets, and the state has no mark".to_owned();
            return Ok(vec![finding(detail)]);
        }
        let marks: Vec<MarkNumber> = committed.values().filter_map(|found| found.mark).collect();
        if let Some(oldest_ms) = marks.iter().map(|mark| mark.born_ms).min() {
            let is_first_start = now_ms().saturating_sub(oldest_ms) < FIRST_START_MS;
            let detail = "the group has offsets of other partitions, and none of this one";
            return Ok(match is_first_start {
                true => Vec::new(),
                false => vec![finding(detail.to_owned())],
            });
        }
        let written: i64 = outputs.values().flatten().sum();
        if written == 0 || self.forgotten.contains(&written) {
            return Ok(Vec::new());
        }
        let detail = format!("the outputs have {written} offsets, and neither group nor state");
        Ok(vec![finding(detail)])
    }

    /// Compares one partition number with its mark, and goes on from there.
    fn compare(&mut self, partition: i32, mark: &Mark) -> Result<Vec<Finding>, Fault> {
        let mut findings = self.compare_cluster(partition, mark);
        let trails = self.trails(partition, mark);
        let edges = self.edges_at_least(&trails)?;
        for (place, trail) in trails {
            let Some(edges) = edges.get(&place).copied() else {
                return Err(self.unanswered("ends of sources"));
            };
            let Some(trail) = trail else {
                self.begin_source(place, edges.start);
                continue;
            };
            let seen = self.seen(place, &trail, edges)?;
            let group = seen.group;
            findings.extend(self.compare_trail(place, &trail, mark.number, &seen));
            self.go_on_from(place, trail, group);
        }
        let number = MarkNumber {
            number: mark.number,
            // A first mark has no time.
            born_ms: match mark.born_ms {
                0 => now_ms(),
                born_ms => born_ms,
            },
            partitions: self.intake.partitions(),
        };
        self.intake.numbers.insert(partition, number);
        findings.extend(self.compare_outputs(partition, mark)?);
        Ok(findings)
    }

    fn compare_cluster(&mut self, partition: i32, mark: &Mark) -> Vec<Finding> {
        let cluster = self.cluster();
        if mark.cluster.is_empty() || cluster.is_empty() || mark.cluster == cluster {
            return Vec::new();
        }
        vec![Finding {
            subject: self.settings.brokers.clone(),
            partition,
            kind: FindingKind::OtherCluster,
            detail: format!("its id is `{cluster}`, and was `{}`", mark.cluster),
        }]
    }

    /// The trail of each source; `None` of one that the mark does not know.
    fn trails(&self, partition: i32, mark: &Mark) -> Vec<(Place, Option<Trail>)> {
        let parts = self.intake.parts(partition);
        let trail = |place: Place| {
            let source = self.intake.source(place.0)?;
            mark.sources.get(&source.name).cloned()
        };
        parts.map(|part| (part.place, trail(part.place))).collect()
    }

    /// A source that the lane has never read begins at its first offset.
    fn begin_source(&mut self, place: Place, start: i64) {
        if let Some(source) = self.intake.source(place.0) {
            let trail = source.begin(start);
            self.go_on_from(place, trail, None);
        }
    }

    fn go_on_from(&mut self, place: Place, trail: Trail, group: Option<GroupOffset>) {
        if moved_back(&trail, group) {
            let topic = self.intake.source(place.0).map(|source| &*source.topic);
            tracing::warn!(
                topic,
                partition = place.1,
                next = trail.next,
                "kafka: the group's offset was set back by hand: the state's own counts"
            );
        }
        let fetched = self.intake.parts(place.1).find(|part| part.place == place);
        self.marks.moved |= fetched.is_some_and(|part| part.committed != trail.next);
        self.intake.set_passed(place, trail);
    }

    /// Asks for the edges of partitions, for a while where one ends before what
    /// was read of it.
    fn edges_at_least(
        &mut self,
        trails: &[(Place, Option<Trail>)],
    ) -> Result<HashMap<Place, Edges>, Fault> {
        let until = Instant::now() + END_PATIENCE;
        loop {
            let places: Vec<Place> = trails.iter().map(|(place, _)| *place).collect();
            let found = self.edges(&places).unwrap_or_default();
            let reached = |(place, trail): &(Place, Option<Trail>)| {
                let next = trail.as_ref().map_or(0, |trail| trail.next);
                found.get(place).is_some_and(|edges| edges.end >= next)
            };
            if trails.iter().all(reached) || Instant::now() >= until {
                return Ok(found);
            }
            self.serve(STARTS)?;
            if self.stop.asked() || self.intake.has_event() {
                return Err(Fault::Interrupted);
            }
        }
    }

    /// The edges of partitions; `None` without an answer.
    fn edges(&self, places: &[Place]) -> Option<HashMap<Place, Edges>> {
        let topic = |place: &Place| self.intake.source(place.0).map(|source| &*source.topic);
        let partitions = || {
            places
                .iter()
                .filter_map(|place| Some((topic(place)?, place.1)))
        };
        let start = edges(&self.observer, partitions(), Offset::Beginning).ok()?;
        let end = edges(&self.observer, partitions(), Offset::End).ok()?;
        let stable = edges(&self.stable, partitions(), Offset::End).ok()?;
        let offset = |list: &TopicPartitionList, place: &Place| match list
            .find_partition(topic(place)?, place.1)?
            .offset()
        {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let edges = |place: &Place| {
            Some(Edges {
                start: offset(&start, place)?,
                end: offset(&end, place)?,
                stable: offset(&stable, place)?,
            })
        };
        places
            .iter()
            .map(|place| Some((*place, edges(place)?)))
            .collect()
    }

    /// What is there of one partition.
    fn seen(&mut self, place: Place, trail: &Trail, edges: Edges) -> Result<Seen, Fault> {
        let committed = &self.marks.committed;
        let group = committed.get(&place).map(|found| GroupOffset {
            offset: found.offset,
            number: found.mark.map(|mark| mark.number),
        });
        let others = committed.keys();
        let group_has_others = others
            .filter(|one| one.1 == place.1)
            .any(|one| *one != place);
        Ok(Seen {
            start: edges.start,
            end: edges.end,
            group,
            group_has_others,
            anchors: self.at_anchors(place, trail, edges)?,
            log: self.marks.logs.remove(&place),
        })
    }

    /// Reads what lies at the offsets of anchors now.
    fn at_anchors(
        &mut self,
        place: Place,
        trail: &Trail,
        edges: Edges,
    ) -> Result<BTreeMap<i64, AtAnchor>, Fault> {
        let (Some(prints), Some(source)) = (self.prints, self.intake.source(place.0)) else {
            return Ok(BTreeMap::new());
        };
        let within = edges.start..edges.end.min(edges.stable);
        let offsets = trail.anchors.iter().map(|anchor| anchor.offset);
        let mut at: Vec<Coordinates> = offsets
            .filter(|offset| within.contains(offset))
            .map(|offset| Coordinates {
                source: place.0,
                partition: place.1,
                offset,
            })
            .collect();
        at.sort_unstable();
        if at.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = [Wanted {
            topic: source.topic.clone(),
            place,
            at: &at,
        }];
        let mut found = Vec::new();
        let mut take = |input: Option<Input<'_>>| {
            found.push(input.map_or(AtAnchor::Nothing, |input| {
                AtAnchor::Record(prints.record(input.key, input.payload.bytes()))
            }));
        };
        let stable = std::sync::Arc::clone(&self.stable);
        let read = self
            .with_reader(|reader, go_on| reader.read_again(&stable, &wanted, go_on, &mut take))?;
        if read == Rebuilt::Interrupted {
            return Err(Fault::Interrupted);
        }
        let offsets = at.iter().map(|at| at.offset);
        Ok(offsets.zip(found).collect())
    }

    fn compare_trail(&self, place: Place, trail: &Trail, number: u64, seen: &Seen) -> Vec<Finding> {
        let Some(source) = self.intake.source(place.0) else {
            return Vec::new();
        };
        let of = (source.topic.as_str(), place.1);
        compare_source(of, (trail, source.kept), number, seen)
    }

    fn compare_outputs(&mut self, partition: i32, mark: &Mark) -> Result<Vec<Finding>, Fault> {
        let Some(now) = self.output_ends()? else {
            return Err(self.unanswered("ends of outputs"));
        };
        let mut findings = shorter(partition, &mark.outputs, &now);
        findings.extend(emptier(partition, mark, &now));
        let mut named = BTreeSet::new();
        findings.retain(|finding| named.insert(finding.subject.clone()));
        self.marks.outputs = now;
        Ok(findings)
    }

    /// The ends of all partitions of the recipients' outputs, by topic without
    /// prefix; `None` without an answer.
    fn output_ends(&mut self) -> Result<Option<BTreeMap<String, Vec<i64>>>, Fault> {
        self.serve(Duration::ZERO)?;
        Ok(self.ends_of_outputs())
    }

    fn ends_of_outputs(&self) -> Option<BTreeMap<String, Vec<i64>>> {
        let mut places = Vec::new();
        let topics: BTreeSet<&str> = self.outlet.outputs().map(|(_, topic)| topic).collect();
        for topic in topics {
            let Found::Partitions(partitions) = look_up(&self.observer, topic) else {
                return None;
            };
            places.extend((0..partitions).map(|partition| (topic, partition)));
        }
        let ends = edges(&self.observer, places.iter().copied(), Offset::End).ok()?;
        let mut of = BTreeMap::<String, Vec<i64>>::new();
        for (topic, partition) in places {
            let Offset::Offset(end) = ends.find_partition(topic, partition)?.offset() else {
                return None;
            };
            let name = topic
                .strip_prefix(&*self.settings.topic_prefix)
                .unwrap_or(topic);
            of.entry(name.to_owned()).or_default().push(end);
        }
        Some(of)
    }

    fn unanswered(&self, what: &str) -> Fault {
        Fault::Rebuild(format!("no answer from kafka: {what}"))
    }

    fn cluster(&mut self) -> String {
        if self.marks.cluster.is_none() {
            self.marks.cluster = self.observer.client().fetch_cluster_id(CALL);
        }
        self.marks.cluster.clone().unwrap_or_default()
    }

    /// See [`Transport::accept`](crate::transport::Transport::accept).
    pub(super) fn accept_findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            let place = self.intake.place(&finding.subject, finding.partition);
            let Some(place) = place else {
                continue;
            };
            let Some(edges) = self
                .edges(&[place])
                .and_then(|mut found| found.remove(&place))
            else {
                continue;
            };
            match finding.kind {
                FindingKind::Replaced | FindingKind::Shorter | FindingKind::LostUnread => {
                    self.begin_source(place, edges.start);
                    self.marks.moved = true;
                }
                FindingKind::GateCut => self.intake.set_start(place, edges.start),
                FindingKind::MovedAhead => {
                    let group = self.marks.committed.get(&place).map(|found| found.offset);
                    if let (Some(offset), Some(source)) = (group, self.intake.source(place.0)) {
                        let trail = source.begin(offset);
                        self.go_on_from(place, trail, None);
                        self.marks.moved = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// See [`Transport::check`](crate::transport::Transport::check).
    pub(super) fn check_continuity(&mut self) -> Result<Vec<Finding>, Fault> {
        if self.prints.is_none() {
            return Ok(Vec::new());
        }
        let trails: Vec<(Place, Option<Trail>)> = self
            .intake
            .all_parts()
            .map(|part| (part.place, Some(part.passed.committed.clone())))
            .collect();
        let edges = self.edges_at_least(&trails)?;
        let mut findings = Vec::new();
        for (place, trail) in trails {
            let (Some(edges), Some(mut trail)) = (edges.get(&place).copied(), trail) else {
                continue;
            };
            // The newest one is enough: it was there a minute ago.
            trail.anchors.truncate(1);
            let seen = Seen {
                start: edges.start,
                end: edges.end,
                anchors: self.at_anchors(place, &trail, edges)?,
                ..Seen::default()
            };
            findings.extend(self.compare_trail(place, &trail, 0, &seen));
            self.intake.set_start(place, edges.start);
        }
        if let Some(now) = self.output_ends()? {
            findings.extend(shorter(0, &self.marks.outputs, &now));
            self.marks.outputs = now;
        }
        Ok(findings)
    }

    /// See [`Transport::position`](crate::transport::Transport::position).
    pub(super) fn position_of(&mut self, partition: i32, number: u64) -> Position {
        let partitions = self.intake.partitions();
        let numbers = &mut self.intake.numbers;
        let known = numbers.get(&partition);
        let born_ms = known.map_or_else(now_ms, |known| known.born_ms);
        let next = MarkNumber {
            number,
            born_ms,
            partitions,
        };
        numbers.insert(partition, next);
        self.intake.marked.insert(partition);
        let parts = self.intake.parts(partition);
        let sources = parts.filter_map(|part| {
            let source = self.intake.source(part.place.0)?;
            Some((source.name.clone(), part.passed.open(part.position)))
        });
        Position {
            sources: sources.collect(),
            outputs: self.marks.outputs.clone(),
            cluster: self.cluster(),
        }
    }

    /// The broker's time of the mark that was committed last; `None` where the
    /// topic keeps the producers' times.
    pub(super) fn broker_ms(
        &mut self,
        output: OutputId,
        partition: i32,
    ) -> Result<Option<i64>, Fault> {
        let Some(topic) = self.outlet.state(output).map(str::to_owned) else {
            return Ok(None);
        };
        let mut found = None;
        let mut take = |input: Input<'_>| {
            if input.key == Some(MARK_KEY) {
                let by_broker = input.appended.filter(|appended| appended.exact);
                found = by_broker.map(|appended| appended.ms);
            }
        };
        let (observer, stable) = (
            std::sync::Arc::clone(&self.observer),
            std::sync::Arc::clone(&self.stable),
        );
        self.with_reader(|reader, go_on| {
            let place = (NO_SOURCE, partition);
            reader.read_tail(
                (&observer, &stable),
                &topic,
                (place, TAIL),
                go_on,
                &mut take,
            )
        })?;
        Ok(found)
    }
}

/// Outputs that are shorter than they were.
fn shorter(
    partition: i32,
    before: &BTreeMap<String, Vec<i64>>,
    now: &BTreeMap<String, Vec<i64>>,
) -> Vec<Finding> {
    let short = before.iter().filter_map(|(topic, before)| {
        let now = now.get(topic)?;
        let mut pairs = before.iter().zip(now.iter()).enumerate();
        let (of, (before, now)) = pairs.find(|(_, (before, now))| now < before)?;
        Some(Finding {
            subject: topic.clone(),
            partition,
            kind: FindingKind::OutputShorter,
            detail: format!("partition {of} ends at {now}, and ended at {before}"),
        })
    });
    short.collect()
}

/// Outputs that end before they can have what recipients have of a partition:
/// the ends of a run's last minute are in no mark.
fn emptier(partition: i32, mark: &Mark, now: &BTreeMap<String, Vec<i64>>) -> Vec<Finding> {
    let mut has = BTreeMap::<&str, i64>::new();
    for (topic, count) in mark.has.values().flatten() {
        *has.entry(topic).or_default() += i64::try_from(*count).unwrap_or(i64::MAX);
    }
    let emptier = has.into_iter().filter_map(|(topic, count)| {
        let end: i64 = now.get(topic)?.iter().sum();
        (end < count).then(|| Finding {
            subject: topic.to_owned(),
            partition,
            kind: FindingKind::OutputShorter,
            detail: format!("it ends at {end} in all, and {count} outputs are to be in it"),
        })
    });
    emptier.collect()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_an_offset_is_read_back() {
        let number = MarkNumber {
            number: 17,
            born_ms: 1_700_000_000_000,
            partitions: 4,
        };
        assert_eq!(MarkNumber::parse(&number.to_string()), Some(number));
        for other in [
            "",
            "17",
            "zeef 17",
            "zeef x 1 4",
            "zeef 17 1 4 5",
            "someone 17 1 4",
        ] {
            assert_eq!(MarkNumber::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_output_that_cannot_have_all_of_it_is_found() {
        let of_one = |count| BTreeMap::from([("out.a".to_owned(), count)]);
        let mark = Mark {
            has: BTreeMap::from([("a".to_owned(), of_one(3)), ("b".to_owned(), of_one(2))]),
            ..Mark::default()
        };
        let ends = |ends: &[i64]| BTreeMap::from([("out.a".to_owned(), ends.to_vec())]);
        assert_eq!(emptier(0, &mark, &ends(&[4, 1])), []);
        assert_eq!(emptier(0, &mark, &BTreeMap::new()), []);
        assert_eq!(emptier(0, &mark, &ends(&[4, 0])).len(), 1);
    }

    #[test]
    fn an_output_that_ends_earlier_is_found() {
        let ends = |ends: &[i64]| BTreeMap::from([("out.a".to_owned(), ends.to_vec())]);
        assert_eq!(shorter(3, &ends(&[5, 6]), &ends(&[5, 9])), []);
        assert_eq!(shorter(3, &ends(&[5, 6]), &BTreeMap::new()), []);
        let found = shorter(3, &ends(&[5, 6]), &ends(&[5, 0]));
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::OutputShorter]);
    }
}
