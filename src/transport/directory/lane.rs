//! The transport of one lane: the order of its records, and its batch.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::length_of;
use super::output::Outputs;
use super::source::bytes_read;
use super::source::{Again, Source};
use super::{Directory, DirectorySettings, PARTITION, each_row, stop};
use crate::transport::continuity::{Finding, Mark, Position, Trail};
use crate::transport::{
    Assigned, Coordinates, Fault, Flow, Input, Lag, LanePlan, Misplaced, Outbox, Output, OutputId,
    Polled, Rebuilt, SourceId, Stop, Transport,
};

/// How long a wait goes on before it looks again.
const NAP: Duration = Duration::from_millis(20);

/// One lane's records and outputs in a [`Directory`].
///
/// Without `follow` the run ends at the ends the sources have at the first
/// [`poll`](Transport::poll) that hands out records; a gate source that grows
/// is followed as long as other sources are not at their ends. Once nothing is
/// left to be read `poll` does not wait: it says [`Polled::Idle`] at once while
/// something is to be committed, then [`Polled::End`].
pub struct DirectoryTransport {
    directory: Directory,
    lane: String,
    sources: Vec<Source>,
    outputs: Outputs,
    stop: Stop,
    stage: Stage,
    ends_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Assigned,
    Running,
}

impl DirectoryTransport {
    /// Takes a directory for one lane alone; see [`Directory::open`] and
    /// [`Directory::transport`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn open(settings: DirectorySettings, plan: &LanePlan, stop: Stop) -> Result<Self, Fault> {
        Directory::open(settings)?.transport(plan, stop)
    }

    /// Makes a lane that goes on at `positions`, by topic.
    pub(super) fn new(
        directory: Directory,
        plan: &LanePlan,
        positions: &BTreeMap<String, Trail>,
        stop: Stop,
    ) -> Result<Self, Fault> {
        let sources = (0_u16..)
            .map(SourceId)
            .zip(&plan.sources)
            .map(|(id, source)| {
                let committed = positions.get(&source.topic).cloned();
                let offset = committed.as_ref().map_or(0, bytes_read);
                let reader = directory.reader(&source.topic, offset);
                let prints = directory.0.settings.prints;
                Source::new(id, source, (reader, prints), committed)
            });
        let mut lane = Self {
            lane: plan.name.clone(),
            sources: sources.collect(),
            outputs: Outputs::new(plan),
            directory,
            stop,
            stage: Stage::New,
            ends_known: false,
        };
        lane.look(|_| true)?;
        lane.write_first_mark(positions)?;
        Ok(lane)
    }

    /// Commits that the lane begins with its sources, and with its keys, before
    /// anything is decided: what a run has read is known from then on, also where
    /// that is nothing.
    fn write_first_mark(&mut self, positions: &BTreeMap<String, Trail>) -> Result<(), Fault> {
        let sources = self.sources.iter();
        let new: BTreeMap<String, Trail> = sources
            .filter(|source| !positions.contains_key(&source.topic))
            .map(|source| (source.topic.clone(), source.position()))
            .collect();
        let mut store = self.directory.store();
        if new.is_empty() && !store.has_new_keys() {
            return Ok(());
        }
        store.commit(&self.lane, new, std::iter::empty())
    }

    /// Refuses a last line without its end, in a run that ends.
    fn check_last_lines(&self) -> Result<(), Fault> {
        if self.follows() {
            return Ok(());
        }
        self.sources.iter().try_for_each(Source::check_last_line)
    }

    fn follows(&self) -> bool {
        self.directory.follows()
    }

    /// Notes how far the sources go that `which` names.
    fn look(&mut self, which: impl Fn(&Source) -> bool) -> Result<(), Fault> {
        let sources = self.sources.iter_mut().filter(|source| which(source));
        for source in sources {
            source.look()?;
            source.times = self.directory.note_end(&source.topic, source.end)?;
        }
        Ok(())
    }

    /// Notes ends where it is time to: of the gates when a batch starts, of
    /// all when everything up to the ends known is handed out.
    ///
    /// Gates come last: whatever lay in a gate before a line of another source
    /// was written is then read before that line.
    fn note_ends(&mut self) -> Result<(), Fault> {
        let left = self.sources.iter().any(|source| !source.done);
        let left_others = self
            .sources
            .iter()
            .any(|source| !source.done && !source.gate);
        if !self.ends_known || (self.follows() && !left) {
            self.look(|source| !source.gate)?;
            self.look(|source| source.gate)?;
            if !self.ends_known {
                self.check_last_lines()?;
            }
            self.ends_known = true;
        } else if !self.uncommitted() && (self.follows() || left_others) {
            self.look(|source| source.gate)?;
        }
        Ok(())
    }

    fn source(&self, source: SourceId, partition: i32) -> Result<&Source, Fault> {
        let known = self.sources.get(usize::from(source.0));
        known.filter(|_| partition == PARTITION).ok_or_else(|| {
            let number = source.0;
            Fault::Stop(format!(
                "source {number} has no partition {partition} in a directory"
            ))
        })
    }

    /// Reads a source from its beginning to the byte `end`.
    fn read_to(
        &self,
        source: &Source,
        end: u64,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let mut reader = self.directory.reader(&source.topic, 0);
        reader.open().map_err(stop)?;
        let times = self.directory.times(&source.topic);
        loop {
            if self.stop.asked() {
                return Ok(Rebuilt::Interrupted);
            }
            let found = reader.next(end).map_err(stop)?;
            let mut more = |input: Input<'_>| {
                take(input);
                Flow::More
            };
            let handed = source
                .handing()
                .hand_over((&reader, &times), &found, &mut more);
            if handed.is_none() {
                return Ok(Rebuilt::Done);
            }
        }
    }

    /// Opens the source that all of `wanted` lie in, to be read again.
    fn again(&self, wanted: &[Coordinates]) -> Result<Again, Fault> {
        let source = wanted.first().map(|at| at.source);
        let known = source.and_then(|source| self.sources.get(usize::from(source.0)));
        let Some(known) = known.filter(|_| wanted.iter().all(|at| at.partition == PARTITION))
        else {
            let text = "records are read again of sources, in the one partition of a directory";
            return Err(Fault::Stop(text.to_owned()));
        };
        let times = self.directory.times(&known.topic);
        known.again(self.directory.reader(&known.topic, 0), times)
    }

    /// Hands out what is known to be there, gates first.
    fn hand_out(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> Result<usize, Fault> {
        let mut count = 0;
        for gate in [true, false] {
            let sources = self.sources.iter_mut();
            for source in sources.filter(|source| source.gate == gate && !source.done) {
                while source.read_one(&mut |input| {
                    count += 1;
                    match take(input) {
                        Flow::More if !self.stop.asked() => Flow::More,
                        _ => Flow::Full,
                    }
                })? == Flow::More
                {}
                if !source.done {
                    return Ok(count);
                }
            }
        }
        Ok(count)
    }
}

impl Transport for DirectoryTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        match self.stage {
            Stage::New => {
                self.stage = Stage::Assigned;
                return Ok(Polled::Assigned(vec![Assigned {
                    partition: PARTITION,
                    returned: false,
                }]));
            }
            Stage::Assigned => {
                self.pause(wait)?;
                return Ok(Polled::Idle);
            }
            Stage::Running => {}
        }
        let since = Instant::now();
        loop {
            if self.stop.asked() {
                return Ok(Polled::Idle);
            }
            self.note_ends()?;
            match self.hand_out(take)? {
                0 if self.follows() => {}
                0 if self.uncommitted() => return Ok(Polled::Idle),
                0 => {
                    self.check_last_lines()?;
                    return Ok(Polled::End);
                }
                count => return Ok(Polled::Records(count)),
            }
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(Polled::Idle);
            }
            thread::sleep(left.min(NAP));
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let known = self.source(source, partition)?;
        let end = length_of(known.path()).map_err(stop)?;
        self.read_to(known, end, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let known = self.source(source, partition)?;
        self.read_to(known, known.bytes_committed(), take)
    }

    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        let mut place = 0;
        for of_source in wanted.chunk_by(|one, next| one.source == next.source) {
            let mut lines = self.again(of_source)?;
            for at in of_source {
                if self.stop.asked() {
                    return Ok(Rebuilt::Interrupted);
                }
                lines.read(*at, &mut |input| take(place, input))?;
                place += 1;
            }
        }
        Ok(Rebuilt::Done)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault> {
        let topic = self.outputs.state(output);
        let Some(topic) = topic.filter(|_| partition == PARTITION) else {
            let number = output.0;
            return Err(Fault::Stop(format!(
                "output {number} has no state in a partition {partition} of a directory"
            )));
        };
        let (mut reader, end) = self.directory.store().open_state(topic)?;
        each_row(&mut reader, end, output, &|| !self.stop.asked(), take)
    }

    /// There is one partition of each source, or keys were not spread.
    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault> {
        Ok(Vec::new())
    }

    fn lies_elsewhere(&self, _at: Coordinates, _key: &[u8]) -> bool {
        false
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.stage = Stage::Running;
        Ok(())
    }

    /// Stops handing out; a directory is never taken away, so this only
    /// happens when the worker itself ends.
    fn release(&mut self) -> Result<(), Fault> {
        self.stage = Stage::Assigned;
        Ok(())
    }

    /// Adds lines to the batch; the time and the partition have no place here.
    fn publish(&mut self, outbox: &Outbox, _now_ms: i64) -> Result<(), Fault> {
        self.outputs.publish(outbox)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let mut positions = BTreeMap::new();
        for source in &self.sources {
            if source.moved() {
                positions.insert(source.topic.clone(), source.position());
            }
        }
        let mut written = self.outputs.written().peekable();
        if positions.is_empty() && written.peek().is_none() {
            return Ok(());
        }
        self.directory
            .store()
            .commit(&self.lane, positions.clone(), written)?;
        for source in &mut self.sources {
            if let Some(position) = positions.remove(&source.topic) {
                source.commit(position);
            }
        }
        self.outputs.clear();
        Ok(())
    }

    /// The directory compares itself, when it is opened.
    fn recall(&mut self, _partition: i32, _mark: Option<&Mark>) -> Result<(), Fault> {
        Ok(())
    }

    fn verify(&mut self, _partition: i32, _before: bool) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    fn accept(&mut self, _findings: &[Finding]) -> Result<(), Fault> {
        Ok(())
    }

    fn check(&mut self) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    fn position(&mut self, _partition: i32, _number: u64) -> Position {
        Position::default()
    }

    fn clock_ahead_ms(
        &mut self,
        _output: OutputId,
        _partition: i32,
        _written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    fn begins_with_mark(&self) -> bool {
        false
    }

    fn acting(&self) -> BTreeSet<i32> {
        let moved = self.uncommitted().then_some(PARTITION);
        moved.into_iter().collect()
    }

    fn uncommitted(&self) -> bool {
        self.sources.iter().any(Source::moved)
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.outputs.clear();
        self.sources.iter_mut().try_for_each(Source::rewind)
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        let since = Instant::now();
        while !self.stop.asked() {
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(NAP));
        }
        Ok(())
    }

    /// Says how many bytes of each source are not committed.
    fn lag(&mut self) -> Vec<Lag> {
        let sources = self.sources.iter().map(|source| Lag {
            source: source.id,
            partition: PARTITION,
            behind: i64::try_from(source.behind()).unwrap_or(i64::MAX),
        });
        sources.collect()
    }

    /// Drops what is not committed. The directory is free for another process
    /// when its last transport is dropped.
    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        self.stage = Stage::Assigned;
        self.rewind()
    }
}
