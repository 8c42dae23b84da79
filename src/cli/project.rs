//! `zeef project`: what each recipient would get, without Kafka.
//!
//! Writes outputs and nothing else to stdout; no value ever gets to stderr.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use crate::daemon::clock;
use crate::daemon::run::holds;
use crate::engine::holding::Pace;
use crate::engine::lane::Lane;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::state::Namer;
use crate::engine::tally::Tally;
use crate::json::write;
use crate::policy::catalogue::{Kind, Role};
use crate::policy::reason::Reason;
use crate::policy::{Loaded, Policy};
use crate::transport::{Appended, Input, LanePlan, Outbox, Output, OutputRole, SourceId};

use super::arguments::ProjectArguments;
use super::config::{self, check_recipient, load};
use super::exit::{Exit, Failure, counted};
use super::key::Keys;
use super::message::{Lines, Message};
use super::screen::{self, Tone};
use super::{lane, summary};

pub(super) fn run(arguments: &ProjectArguments) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    for name in &arguments.recipients {
        check_recipient(&loaded.policy, name)?;
    }
    let wanted = |name: &str| {
        arguments.recipients.is_empty() || arguments.recipients.iter().any(|one| one == name)
    };
    let names: Vec<&str> = names(&loaded.policy).filter(|name| wanted(name)).collect();
    let keys = Keys::find(&loaded.daemon.keys, &names).or_throwaway(&names)?;
    let lane = Arc::new(lane::compile("project", &loaded, wanted, &keys)?);
    let lines = Lines::of_stdin()?;
    check_sources(&loaded.policy, &lines.messages)?;
    let mut out = screen::Lines::stdout();
    let now = batch_time(arguments.time);
    let (mut run, order) = match keys.state().filter(|_| !arguments.in_order) {
        Some(state) => {
            let run = Run::with_state(&lane, &loaded, now, Namer::new(state));
            (run, Order::GatesFirst)
        }
        None => (Run::new(&lane, &loaded, now), Order::AsTheyCome),
    };
    run.decide(&lines.messages, order, |topic, output| {
        write_output(&mut out, topic, output)
    })?;
    out.flush()?;
    run.dead
        .entry(NO_SOURCE)
        .or_default()
        .extend(&lines.unreadable);
    if !arguments.quiet {
        run.tell()?;
    }
    Ok(Exit::Fine)
}

/// What a line without a readable source is a dead letter for.
const NO_SOURCE: &str = "no_source";

pub(super) fn names(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.recipients.iter().map(|one| one.name.as_str())
}

/// The one time at which everything is decided.
pub(super) fn batch_time(asked: Option<jiff::Timestamp>) -> BatchTime {
    let asked = asked.map(jiff::Timestamp::as_millisecond);
    BatchTime::from_ms(asked.unwrap_or_else(clock::now_ms))
}

/// The kind that a line's source names: by its name or its topic.
pub(super) fn kind_of<'a>(policy: &'a Policy, source: &str) -> Option<&'a Kind> {
    let by_topic = || policy.kinds.iter().find(|kind| kind.topic == source);
    policy.kind(source).or_else(by_topic)
}

/// Refuses lines of a source that no kind of record has.
///
/// # Errors
///
/// [`Failure::Usage`] for the first of them.
pub(super) fn check_sources(policy: &Policy, messages: &[Message]) -> Result<(), Failure> {
    let known = |message: &&Message| kind_of(policy, &message.source).is_none();
    let Some(wrong) = messages.iter().find(known) else {
        return Ok(());
    };
    let kinds = policy.kinds.iter();
    let names = kinds.flat_map(|kind| [kind.name.as_str(), kind.topic.as_str()]);
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    // What stands in a line is never shown, wherever it stands.
    let line = wrong.line;
    Err(Failure::Usage(
        match config::near(&wrong.source, names.iter().copied()) {
            Some(name) => format!("line {line}: unknown source: did you mean `{name}`?"),
            None => format!(
                "line {line}: unknown source: expected one of {}",
                names.join(", ")
            ),
        },
    ))
}

/// In which order lines are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As in a run: first what fills the table and decides over other records,
    /// then the rest, each in the order of its lines.
    GatesFirst,
    /// Line by line, as if each came alone.
    AsTheyCome,
}

/// Records decided without a transport, all in one batch. With a state, what a
/// later line changes is taken back or corrected, as a run does.
pub(super) struct Run<'a> {
    lane: &'a Arc<Lane>,
    policy: &'a Policy,
    plan: LanePlan,
    pipeline: Pipeline,
    /// Lines that became dead letters, by reason.
    dead: BTreeMap<&'static str, Vec<usize>>,
    /// Lines of a kind that no recipient wants.
    spare: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(lane: &'a Arc<Lane>, loaded: &'a Loaded, now: BatchTime) -> Run<'a> {
        Run::of(Pipeline::new(Arc::clone(lane)), (lane, loaded), now)
    }

    pub(super) fn with_state(
        lane: &'a Arc<Lane>,
        loaded: &'a Loaded,
        now: BatchTime,
        namer: Namer,
    ) -> Run<'a> {
        let holds = holds(&loaded.daemon);
        let pipeline = Pipeline::with_state(Arc::clone(lane), namer, holds);
        let mut run = Run::of(pipeline, (lane, loaded), now);
        // As in the first run of a month: nothing waits for a period.
        run.pipeline.begin_run(Pace::Publish, &[]);
        run
    }

    fn of(
        mut pipeline: Pipeline,
        (lane, loaded): (&'a Arc<Lane>, &'a Loaded),
        now: BatchTime,
    ) -> Run<'a> {
        pipeline.begin(now);
        Run {
            lane,
            policy: &loaded.policy,
            plan: lane.plan(),
            pipeline,
            dead: BTreeMap::new(),
            spare: 0,
        }
    }

    /// Decides `messages`, and hands each output with its topic to `take`.
    ///
    /// # Errors
    ///
    /// Those of `take`.
    pub(super) fn decide(
        &mut self,
        messages: &[Message],
        order: Order,
        mut take: impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let placed: Vec<(&Message, usize)> = messages
            .iter()
            .filter_map(|message| Some((message, self.source_of(message)?)))
            .collect();
        self.spare += messages.len() - placed.len();
        let mut outbox = Outbox::default();
        if order == Order::AsTheyCome {
            return placed.iter().try_for_each(|(message, at)| {
                self.decide_one(message, *at, &mut outbox, &mut take)
            });
        }
        let lane = Arc::clone(self.lane);
        let is_gate = |at: usize| lane.sources[at].kind.role != Role::Record;
        for (message, at) in placed.iter().filter(|(_, at)| is_gate(*at)) {
            self.pipeline.restore(&input(message, *at));
        }
        // A run would stop there, and release nothing.
        if let Some(stop) = self.pipeline.take_stop() {
            return Err(io::Error::other(stop));
        }
        for gate in [true, false] {
            for (message, at) in placed.iter().filter(|(_, at)| is_gate(*at) == gate) {
                self.decide_one(message, *at, &mut outbox, &mut take)?;
            }
            self.decide_again(&placed, &mut outbox, &mut take)?;
        }
        Ok(())
    }

    /// Decides again what something else than a new version changed.
    fn decide_again(
        &mut self,
        placed: &[(&Message, usize)],
        outbox: &mut Outbox,
        take: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while self.pipeline.again_len() > 0 {
            for place in self.pipeline.again(outbox) {
                let is_there = |one: &&(&Message, usize)| {
                    let input = input(one.0, one.1);
                    (input.source, input.offset) == (place.source, place.offset)
                };
                let message = placed.iter().find(is_there);
                let input = message.map(|(message, at)| input(message, *at));
                self.pipeline.decide_again(place, input, outbox);
            }
            self.hand_out(outbox, take)?;
        }
        Ok(())
    }

    /// Hands out what is for recipients.
    fn hand_out(
        &self,
        outbox: &mut Outbox,
        take: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for output in outbox.iter() {
            let plan = &self.plan.outputs[usize::from(output.output.0)];
            if plan.role == OutputRole::Recipient {
                take(&plan.topic, &output)?;
            }
        }
        outbox.clear();
        Ok(())
    }

    fn decide_one(
        &mut self,
        message: &Message,
        at: usize,
        outbox: &mut Outbox,
        take: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.pipeline.tally().dead_letters;
        self.pipeline.decide(&input(message, at), outbox);
        note_dead(&mut self.dead, &before, self.pipeline.tally(), message.line);
        self.hand_out(outbox, take)
    }

    fn source_of(&self, message: &Message) -> Option<usize> {
        let kind = kind_of(self.policy, &message.source)?;
        let mut sources = self.lane.sources.iter();
        sources.position(|source| source.kind.name == kind.name)
    }

    /// Tells on stderr what became of the lines.
    fn tell(&self) -> io::Result<()> {
        let mut err = anstream::stderr();
        let width = terminal_size::terminal_size_of(io::stderr());
        let width = width.map(|(width, _)| usize::from(width.0));
        summary::recipients(&mut err, &[(self.lane, self.pipeline.tally())], width)?;
        if self.spare > 0 {
            let lines = counted(self.spare, "line");
            writeln!(err, "{lines} of a kind that none of these recipients reads")?;
        }
        for (reason, lines) in self.dead.iter().filter(|(_, lines)| !lines.is_empty()) {
            screen::note(Tone::Warning, &dead_text(reason, lines));
        }
        Ok(())
    }
}

/// A message of a lane's source; the number of its line is its offset.
pub(super) fn input(message: &Message, source: usize) -> Input<'_> {
    Input {
        source: SourceId(u16::try_from(source).unwrap_or(u16::MAX)),
        partition: 0,
        offset: i64::try_from(message.line).unwrap_or(i64::MAX),
        timestamp_ms: None,
        // A later line came later.
        appended: Some(Appended {
            ms: i64::try_from(message.line).unwrap_or(i64::MAX),
            exact: true,
        }),
        key: message.key.as_deref().map(str::as_bytes),
        payload: message.payload(),
    }
}

fn note_dead(
    dead: &mut BTreeMap<&'static str, Vec<usize>>,
    before: &[u64],
    after: &Tally,
    line: usize,
) {
    for (at, reason) in Reason::ALL.iter().enumerate() {
        if after.dead_letters[at] > before[at] {
            dead.entry(reason.as_str()).or_default().push(line);
        }
    }
}

/// How many lines are named at most.
const LINES_NAMED_MAX: usize = 10;

fn dead_text(reason: &str, lines: &[usize]) -> String {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    let named = Reason::ALL.iter().find(|one| one.as_str() == reason);
    let meaning = named.map_or(
        "the line is no {\"source\":...,\"key\":...,\"value\":...}",
        |one| one.meaning(),
    );
    let mut text = format!(
        "{} refused as {reason} ({meaning}): line",
        counted(lines.len(), "record")
    );
    for (at, line) in lines.iter().take(LINES_NAMED_MAX).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma} {line}");
    }
    if lines.len() > LINES_NAMED_MAX {
        let _ = write!(text, " and {} more", lines.len() - LINES_NAMED_MAX);
    }
    text
}

/// Writes `{"topic":...,"key":...,"value":...}`, the value as it would be published.
fn write_output(out: &mut impl Write, topic: &str, output: &Output<'_>) -> io::Result<()> {
    let mut line = b"{\"topic\":".to_vec();
    write::string(&mut line, topic);
    line.extend_from_slice(b",\"key\":");
    match output.key.and_then(|key| std::str::from_utf8(key).ok()) {
        Some(key) => write::string(&mut line, key),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(output.value.unwrap_or(b"null"));
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}
