//! Explain: why a recipient has what it has of one record, step by step.
//!
//! Judges by the same gates and writes with the same projector as the hot path.

use super::admit::{
    admit, check_condition_at, check_libraries, check_needed_fields, select_output,
};
use super::check_term;
use super::project::Projector;
use crate::engine::lane::gates::{GATES, GateDef, Refusal};
use crate::engine::lane::{Action, Facts, LaneSource, Program, ProjectionStep};
use crate::engine::tally::ProjectionCounts;
use crate::policy::reason::Reason;
use crate::policy::recipient::FieldRef;

/// How one record was decided for one recipient.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Why the record is not released; `None` if it is.
    pub withheld_reason: Option<Reason>,
    /// The output goes without the fields that the recipient's `thinned` drops.
    pub is_thinned: bool,
    /// The next verdict that time alone brings; `None` if it brings none.
    pub next_change: Option<VerdictChange>,
    /// The field that the term runs from is missing, so it runs from when the record was
    /// first decided: here, from now.
    pub is_term_from_first_decision: bool,
    /// `None` if the record was refused before any gate.
    pub gate_results: Option<GateResults>,
    /// `None` if the key's field is missing.
    pub output_key: Option<String>,
    /// In the order of the recipient's file.
    pub fields: Vec<FieldExplanation>,
}

/// A verdict that time alone brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    /// The first millisecond since 1970 at which the verdict differs.
    pub at_ms: i64,
    /// Why the record is not released then; `None` if it is.
    pub withheld_reason: Option<Reason>,
    /// The output is thinned then.
    pub is_thinned: bool,
    /// The output goes on with other sums, counts or lists then.
    pub has_other_summaries: bool,
}

/// The answer of each gate, also of those behind the one that decided.
#[derive(Clone, Debug)]
pub struct GateResults {
    pub libraries: Result<(), Reason>,
    /// In the order of the recipient's file.
    pub conditions: Vec<Result<(), Reason>>,
    pub needed_fields: Result<(), Reason>,
    pub malformed_fields: Vec<FieldRef>,
    /// Every row of [`GATES`].
    pub other_gates: Vec<(&'static GateDef, Result<(), Reason>)>,
    pub retention_term: Result<(), Reason>,
}

/// One output field.
#[derive(Clone, Debug)]
pub struct FieldExplanation {
    /// As JSON; `None` if the field is left out.
    pub value: Option<Vec<u8>>,
    /// What its mask and its detectors counted.
    pub counts: ProjectionCounts,
    /// The field or a part of it is left out because of a national number of the patron.
    pub has_national_number: bool,
    /// The field is left out of a thinned output.
    pub is_dropped: bool,
}

/// What is explained, and for whom.
#[derive(Clone, Copy)]
pub(in crate::engine) struct ExplainedRecord<'a> {
    pub(in crate::engine) source: &'a LaneSource,
    pub(in crate::engine) program: &'a Program,
    /// A later version says that the record is gone.
    pub(in crate::engine) is_gone: bool,
}

impl Explanation {
    /// The explanation of a record that was refused before any gate.
    pub(in crate::engine) fn without_gates(reason: Reason) -> Explanation {
        Explanation {
            withheld_reason: Some(reason),
            is_thinned: false,
            next_change: None,
            is_term_from_first_decision: false,
            gate_results: None,
            output_key: None,
            fields: Vec::new(),
        }
    }
}

/// Explains the record for one recipient.
pub(in crate::engine) fn explain_record(
    facts: &Facts<'_>,
    explained: ExplainedRecord<'_>,
    projector: &mut Projector,
) -> Explanation {
    let ExplainedRecord { source, program, .. } = explained;
    projector.start_record();
    let key = projector.begin_output_key(facts, program);
    let key = key.map(|key| program.pseudonymiser.finish_hash(key));
    let is_thinned = verdict_at(facts, explained, facts.now_ms).0.is_thinned;
    let thinned_steps = program.thinned_steps.as_ref().filter(|_| is_thinned);
    let is_dropped = |index: usize| thinned_steps.is_some_and(|thinned| thinned.is_dropped[index]);
    let fields = projector.project_each_field(facts, program, key.as_ref()).into_iter();
    let fields: Vec<FieldExplanation> = (0..)
        .zip(fields)
        .map(|(index, (value, remarks))| FieldExplanation {
            value: value.filter(|_| !is_dropped(index)),
            counts: remarks.counts,
            has_national_number: !remarks.omitted.is_empty(),
            is_dropped: is_dropped(index),
        })
        .collect();
    let too_large = output_bytes(program, &fields) > facts.lane.output_bytes_max;
    let output_problem = key.is_none().then_some(Reason::KeyMissing);
    let output_problem = output_problem.or_else(|| too_large.then_some(Reason::TooLarge));
    let (verdict, change) = find_next_change(facts.now_ms, |now_ms| {
        let (mut verdict, recheck_due_ms) = verdict_at(facts, explained, now_ms);
        verdict.withheld_reason = verdict.withheld_reason.or(output_problem);
        if verdict.withheld_reason.is_none() {
            let facts = Facts { now_ms, ..*facts };
            verdict.summaries = project_summaries(&facts, program, projector);
        }
        (verdict, recheck_due_ms)
    });
    let retention = program.gates.retention;
    let start = facts.value(retention.from);
    let until_ms = |first_ms| retention.end_ms(start, facts.is_active_member, first_ms);
    Explanation {
        withheld_reason: verdict.withheld_reason,
        is_thinned: verdict.is_thinned,
        next_change: change,
        is_term_from_first_decision: until_ms(facts.now_ms) != until_ms(0),
        gate_results: Some(gate_results(facts, source, program)),
        output_key: key.map(|key| String::from_utf8_lossy(&key.to_ascii()).into_owned()),
        fields,
    }
}

/// A verdict, as far as time may change it.
#[derive(Clone, PartialEq, Eq)]
struct ExplainedVerdict {
    withheld_reason: Option<Reason>,
    /// Of an output that is released.
    is_thinned: bool,
    /// Its sums, counts and lists, whose conditions may be on time.
    summaries: Vec<Option<Vec<u8>>>,
}

/// Returns the sums, counts and lists of an output.
fn project_summaries(
    facts: &Facts<'_>,
    program: &Program,
    projector: &mut Projector,
) -> Vec<Option<Vec<u8>>> {
    let is_summary = |step: &ProjectionStep| matches!(step.action, Action::Summary(_));
    if !program.steps.iter().any(is_summary) {
        return Vec::new();
    }
    let fields = projector.project_each_field(facts, program, None).into_iter();
    let of_steps = program.steps.iter().zip(fields).filter(|(step, _)| is_summary(step));
    of_steps.map(|(_, (value, _))| value).collect()
}

/// Returns the verdict at `now_ms`, and when time alone may change it.
fn verdict_at(
    facts: &Facts<'_>,
    explained: ExplainedRecord<'_>,
    now_ms: i64,
) -> (ExplainedVerdict, i64) {
    let ExplainedRecord { source, program, is_gone } = explained;
    let mut recheck_due_ms = i64::MAX;
    let first_ms = facts.now_ms;
    let facts = &Facts { now_ms, ..*facts };
    let withheld_reason = admit(facts, source, program, &mut recheck_due_ms)
        .and_then(|()| check_term(facts, program, first_ms, &mut recheck_due_ms))
        .and_then(|_| select_output(facts, &program.route))
        .err()
        .map(|refusal| refusal.reason);
    let thinning = program.gates.thinning.as_ref().filter(|_| withheld_reason.is_none());
    let start_ms = thinning
        .map_or(i64::MAX, |thinning| thinning.start_ms(&facts.gate_input(program), is_gone));
    let is_thinned = start_ms <= now_ms;
    if !is_thinned {
        recheck_due_ms = recheck_due_ms.min(start_ms);
    }
    (ExplainedVerdict { withheld_reason, is_thinned, summaries: Vec::new() }, recheck_due_ms)
}

/// Returns the verdict at `now_ms` and the next one that differs. `verdict_at` returns the
/// verdict at a time, and when to ask again.
fn find_next_change(
    now_ms: i64,
    mut verdict_at: impl FnMut(i64) -> (ExplainedVerdict, i64),
) -> (ExplainedVerdict, Option<VerdictChange>) {
    /// More than the documents, terms and dates that one verdict depends on, but for patrons
    /// with very many consents.
    const TIMES_MAX: usize = 10_000;
    let (verdict, mut recheck_due_ms) = verdict_at(now_ms);
    let mut checked_ms = now_ms;
    for _ in 0..TIMES_MAX {
        if recheck_due_ms == i64::MAX || recheck_due_ms <= checked_ms {
            break;
        }
        checked_ms = recheck_due_ms;
        let (later, next_ms) = verdict_at(checked_ms);
        if later != verdict {
            let ExplainedVerdict { withheld_reason, is_thinned, .. } = later;
            let has_other_summaries =
                (withheld_reason, is_thinned) == (verdict.withheld_reason, verdict.is_thinned);
            let at_ms = checked_ms;
            let change = VerdictChange { at_ms, withheld_reason, is_thinned, has_other_summaries };
            return (verdict, Some(change));
        }
        recheck_due_ms = next_ms;
    }
    (verdict, None)
}

/// The length of the output that these fields make.
fn output_bytes(program: &Program, fields: &[FieldExplanation]) -> usize {
    let named = program.steps.iter().zip(fields);
    // Two quotes, a colon, and a comma or the closing brace.
    let members = named.filter_map(|(step, field)| {
        let value = field.value.as_ref()?;
        Some(step.name.len() + value.len() + 4)
    });
    let bytes = 1 + members.sum::<usize>();
    bytes.max("{}".len())
}

fn to_reason(verdict: Result<(), Refusal>) -> Result<(), Reason> {
    verdict.map_err(|refusal| refusal.reason)
}

fn gate_results(facts: &Facts<'_>, source: &LaneSource, program: &Program) -> GateResults {
    let conditions = program.conditions.iter();
    let malformed = program.field_paths.iter();
    let mut malformed: Vec<FieldRef> = malformed
        .filter(|(at, _)| facts.is_malformed(*at, source.shape.list_strides()))
        .map(|(_, field)| field.clone())
        .collect();
    malformed.sort();
    malformed.dedup();
    let gate_input = facts.gate_input(program);
    let term = check_term(facts, program, facts.now_ms, &mut { i64::MAX });
    GateResults {
        libraries: to_reason(check_libraries(facts, source, program)),
        conditions: conditions
            .map(|one| check_condition_at(facts, source, one, &mut { i64::MAX }))
            .collect(),
        needed_fields: to_reason(check_needed_fields(facts, source, program)),
        malformed_fields: malformed,
        other_gates: GATES
            .iter()
            .map(|def| (def, to_reason(program.gates.judge_one(def.id, &gate_input))))
            .collect(),
        retention_term: to_reason(term.map(|_| ())),
    }
}
