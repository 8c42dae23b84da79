//! `zeef project`: what each recipient would get, without Kafka.
//!
//! Writes only outputs to stdout; no value ever gets to stderr.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use crate::config::{LoadedConfig, nearest_spelling};
use crate::daemon::clock;
use crate::engine::delivery::PeriodRun;
use crate::engine::lane::Lane;
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::Tally;
use crate::json::write;
use crate::message::{AppendTime, Input, LanePlan, Outbox, Output, OutputRole, SourceId};
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::reason::Reason;

use super::arguments::ProjectArguments;
use super::config::{load, require_recipient};
use super::exit::{CliFailure, Exit, pluralise};
use super::intake;
use super::key_lookup::FoundKeys;
use super::message_lines::{LineMessage, MessageLines};
use super::screen::{self, NoteKind};
use super::{compile_lane, summary};

pub(super) fn run(arguments: &ProjectArguments) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    for name in &arguments.recipients {
        require_recipient(&loaded.policy, name)?;
    }
    let wanted = |name: &str| {
        arguments.recipients.is_empty() || arguments.recipients.iter().any(|one| one == name)
    };
    let names: Vec<&str> = recipient_names(&loaded.policy).filter(|name| wanted(name)).collect();
    let keys =
        FoundKeys::find_keys(&loaded.daemon.keys, &names).into_ring_with_throwaways(&names)?;
    let lane = Arc::new(compile_lane::compile_lane("project", &loaded, wanted, &keys)?);
    let lines = match &arguments.intake {
        Some(mapping) => intake::read_stdin(mapping, &loaded)?,
        None => MessageLines::read_stdin()?,
    };
    require_known_sources(&loaded.policy, &lines.messages)?;
    let mut out = screen::StdoutLines::stdout();
    let now = batch_time(arguments.time);
    let (mut run, order) = match keys.state_key().filter(|_| !arguments.in_order) {
        Some(state) => {
            let run = OfflineRun::with_state(&lane, &loaded, now, StateKeys::new(state));
            (run, DecisionOrder::GatesFirst)
        }
        None => (OfflineRun::new(&lane, &loaded, now), DecisionOrder::LineByLine),
    };
    run.decide_all(&lines.messages, order, |topic, output| write_output(&mut out, topic, output))?;
    out.flush()?;
    run.dead_letter_lines.entry(NO_SOURCE).or_default().extend(&lines.unreadable_lines);
    if !arguments.quiet {
        run.report_summary()?;
    }
    Ok(Exit::Success)
}

/// The dead-letter reason of a line without a readable source.
const NO_SOURCE: &str = "no_source";

pub(super) fn recipient_names(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.recipients.iter().map(|one| one.name.as_str())
}

/// Returns the one time at which everything is decided.
pub(super) fn batch_time(asked: Option<jiff::Timestamp>) -> BatchTime {
    let asked = asked.map(jiff::Timestamp::as_millisecond);
    BatchTime::from_ms(asked.unwrap_or_else(clock::now_ms))
}

/// Returns the kind that a line's source names: by its name or its topic.
pub(super) fn kind_of_source<'a>(policy: &'a Policy, source: &str) -> Option<&'a RecordKind> {
    let by_topic = || policy.record_kinds.iter().find(|kind| kind.topic == source);
    policy.record_kind(source).or_else(by_topic)
}

/// Refuses lines of a source that no kind of record has.
///
/// # Errors
///
/// [`CliFailure::Usage`] for the first of them.
pub(super) fn require_known_sources(
    policy: &Policy,
    messages: &[LineMessage],
) -> Result<(), CliFailure> {
    let known = |message: &&LineMessage| kind_of_source(policy, &message.source).is_none();
    let Some(wrong) = messages.iter().find(known) else {
        return Ok(());
    };
    let kinds = policy.record_kinds.iter();
    let names = kinds.flat_map(|kind| [kind.name.as_str(), kind.topic.as_str()]);
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    // The content of a line is never shown.
    let line = wrong.line;
    Err(CliFailure::Usage(match nearest_spelling(&wrong.source, names.iter().copied()) {
        Some(name) => format!("line {line}: unknown source: did you mean `{name}`?"),
        None => format!("line {line}: unknown source: expected one of {}", names.join(", ")),
    }))
}

/// The order in which lines are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecisionOrder {
    /// As in a run: first what fills the table and gates other records, then the rest, each
    /// in the order of lines.
    GatesFirst,
    /// In the order of lines.
    LineByLine,
}

/// Decides records without a transport, all in one batch. With a state, what a later line
/// changes is taken back or corrected, as in a run.
pub(super) struct OfflineRun<'a> {
    lane: &'a Arc<Lane>,
    policy: &'a Policy,
    plan: LanePlan,
    pipeline: Pipeline,
    /// Lines that became dead letters, by reason.
    dead_letter_lines: BTreeMap<&'static str, Vec<usize>>,
    /// Lines of a kind that no recipient reads.
    unread_lines: usize,
}

impl<'a> OfflineRun<'a> {
    pub(super) fn new(
        lane: &'a Arc<Lane>,
        loaded: &'a LoadedConfig,
        now: BatchTime,
    ) -> OfflineRun<'a> {
        OfflineRun::with_pipeline(Pipeline::new(Arc::clone(lane)), (lane, loaded), now)
    }

    pub(super) fn with_state(
        lane: &'a Arc<Lane>,
        loaded: &'a LoadedConfig,
        now: BatchTime,
        state_keys: StateKeys,
    ) -> OfflineRun<'a> {
        let holds = loaded.daemon.holds;
        let pipeline = Pipeline::with_state(Arc::clone(lane), state_keys, holds);
        let mut run = OfflineRun::with_pipeline(pipeline, (lane, loaded), now);
        // As in the first run of a month: nothing waits for a period.
        run.pipeline.begin_period_run(PeriodRun::Publish, &[]);
        run
    }

    fn with_pipeline(
        mut pipeline: Pipeline,
        (lane, loaded): (&'a Arc<Lane>, &'a LoadedConfig),
        now: BatchTime,
    ) -> OfflineRun<'a> {
        pipeline.begin_batch(now);
        OfflineRun {
            lane,
            policy: &loaded.policy,
            plan: lane.transport_plan(),
            pipeline,
            dead_letter_lines: BTreeMap::new(),
            unread_lines: 0,
        }
    }

    /// Decides `messages`, and hands each output with its topic to `emit`.
    ///
    /// # Errors
    ///
    /// Those of `emit`.
    pub(super) fn decide_all(
        &mut self,
        messages: &[LineMessage],
        order: DecisionOrder,
        mut emit: impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let placed: Vec<(&LineMessage, usize)> = messages
            .iter()
            .filter_map(|message| Some((message, self.source_index(message)?)))
            .collect();
        self.unread_lines += messages.len() - placed.len();
        let mut outbox = Outbox::default();
        if order == DecisionOrder::LineByLine {
            return placed.iter().try_for_each(|one| {
                self.decide_message(*one, &mut outbox, &mut emit)?;
                self.drain_rechecks(&placed, &mut outbox, &mut emit)
            });
        }
        let lane = Arc::clone(self.lane);
        let is_gate = |at: usize| lane.sources[at].kind.role != Role::Record;
        for (message, at) in placed.iter().filter(|(_, at)| is_gate(*at)) {
            self.pipeline.restore_gate_record(&message_input(message, *at));
        }
        // A run would stop here, and release nothing.
        if let Some(stop) = self.pipeline.take_stop_message() {
            return Err(io::Error::other(stop));
        }
        for gate in [true, false] {
            for placed in placed.iter().filter(|(_, at)| is_gate(*at) == gate) {
                self.decide_message(*placed, &mut outbox, &mut emit)?;
            }
            self.drain_rechecks(&placed, &mut outbox, &mut emit)?;
        }
        Ok(())
    }

    /// Decides again what something else than a new version changed.
    fn drain_rechecks(
        &mut self,
        placed: &[(&LineMessage, usize)],
        outbox: &mut Outbox,
        emit: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while self.pipeline.pending_rechecks() > 0 {
            for place in self.pipeline.next_rechecks(outbox) {
                let is_there = |one: &&(&LineMessage, usize)| {
                    let input = message_input(one.0, one.1);
                    (input.source, input.offset) == (place.source, place.offset)
                };
                let message = placed.iter().find(is_there);
                let input = message.map(|(message, at)| message_input(message, *at));
                self.pipeline.decide_recheck(place, input, outbox);
            }
            self.emit_outputs(outbox, emit)?;
        }
        Ok(())
    }

    /// Emits the outputs of recipients.
    fn emit_outputs(
        &self,
        outbox: &mut Outbox,
        emit: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for output in outbox.iter() {
            let plan = &self.plan.outputs[usize::from(output.output.0)];
            if plan.role == OutputRole::Recipient {
                emit(&plan.topic, &output)?;
            }
        }
        outbox.clear();
        Ok(())
    }

    fn decide_message(
        &mut self,
        (message, source): (&LineMessage, usize),
        outbox: &mut Outbox,
        emit: &mut impl FnMut(&str, &Output<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.pipeline.tally().dead_letters;
        self.pipeline.decide(&message_input(message, source), outbox);
        note_dead_letters(
            &mut self.dead_letter_lines,
            &before,
            self.pipeline.tally(),
            message.line,
        );
        self.emit_outputs(outbox, emit)
    }

    fn source_index(&self, message: &LineMessage) -> Option<usize> {
        let kind = kind_of_source(self.policy, &message.source)?;
        let mut sources = self.lane.sources.iter();
        sources.position(|source| source.kind.name == kind.name)
    }

    /// Returns the lines that became dead letters, each with its reason.
    pub(super) fn dead_letters(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let by_reason = self.dead_letter_lines.iter();
        by_reason.flat_map(|(reason, lines)| lines.iter().map(|line| (*line, *reason)))
    }

    /// Reports on stderr what became of the lines.
    fn report_summary(&self) -> io::Result<()> {
        let mut err = anstream::stderr();
        let width = terminal_size::terminal_size_of(io::stderr());
        let width = width.map(|(width, _)| usize::from(width.0));
        summary::write_recipient_counts(&mut err, &[(self.lane, self.pipeline.tally())], width)?;
        if self.unread_lines > 0 {
            let lines = pluralise(self.unread_lines, "line");
            writeln!(err, "{lines} of a kind that none of these recipients reads")?;
        }
        for (reason, lines) in self.dead_letter_lines.iter().filter(|(_, lines)| !lines.is_empty())
        {
            screen::print_note(NoteKind::Warning, &dead_letter_text(reason, lines));
        }
        Ok(())
    }
}

/// Returns a line as a message; its number is its offset.
pub(super) fn message_input(message: &LineMessage, source: usize) -> Input<'_> {
    Input {
        source: SourceId(u16::try_from(source).unwrap_or(u16::MAX)),
        partition: 0,
        offset: i64::try_from(message.line).unwrap_or(i64::MAX),
        timestamp_ms: None,
        // A later line arrived later.
        append_time: Some(AppendTime {
            ms: i64::try_from(message.line).unwrap_or(i64::MAX),
            is_exact: true,
        }),
        trace_parent: None,
        key: message.key.as_deref().map(str::as_bytes),
        payload: message.payload(),
    }
}

fn note_dead_letters(
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

/// How many lines to name.
const LINES_NAMED_MAX: usize = 10;

fn dead_letter_text(reason: &str, lines: &[usize]) -> String {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    let named = Reason::ALL.iter().find(|one| one.as_str() == reason);
    let meaning = named
        .map_or("the line is no {\"source\":...,\"key\":...,\"value\":...}", |one| one.meaning());
    let mut text =
        format!("{} refused as {reason} ({meaning}): line", pluralise(lines.len(), "record"));
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

/// Writes `{"topic":...,"key":...,"value":...}`, with the value as it would be published.
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
