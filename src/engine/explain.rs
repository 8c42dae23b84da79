//! Explain: why a recipient has what it has of one record, step by step.
//!
//! Asks the same gates and writes with the same projector as the hot path; it
//! decides nothing itself.

use super::admit::{admit, condition, implied_ns, libraries, needs, route};
use super::decide::in_term;
use super::gates::Refusal;
use super::lane::{Facts, Program, Source};
use super::project::Projector;
use super::tally::Seen;
use crate::policy::reason::Reason;
use crate::policy::recipient::FieldRef;

/// How one record was decided for one recipient.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Why it is not released; none where it is.
    pub verdict: Option<Reason>,
    /// When time alone changes that next; none where it never does.
    pub change: Option<Change>,
    /// Its term runs from when it was first decided, as the field that it runs from is
    /// missing: here, from now.
    pub term_from_first: bool,
    /// What the gates say; none where the record was refused before them.
    pub gates: Option<Gates>,
    /// The output key, where it can be made.
    pub key: Option<String>,
    /// What each output field came to, in profile order.
    pub fields: Vec<Outcome>,
}

/// What time alone makes of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// In milliseconds since 1970: the first at which the verdict is another one.
    pub at_ms: i64,
    /// Why it is not released then; none where it is.
    pub verdict: Option<Reason>,
}

/// What each gate says, whether or not an earlier one decided already.
#[derive(Clone, Debug)]
pub struct Gates {
    pub libraries: Result<(), Reason>,
    /// In the order of the recipient's file.
    pub conditions: Vec<Result<(), Reason>>,
    pub needs: Result<(), Reason>,
    /// The fields that are malformed.
    pub malformed: Vec<FieldRef>,
    /// The others, in the order in which they are asked.
    pub others: Vec<(Gate, Result<(), Reason>)>,
}

/// A gate beside library, conditions and form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Period,
    Agreement,
    Authorisation,
    Objection,
    Consent,
    Stages,
    LoanHistory,
    PatronTerm,
    Term,
}

/// What one output field came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// As JSON; none where the field is left out.
    pub value: Option<Vec<u8>>,
    /// What a mask or a detector counted on the way.
    pub counted: Seen,
    /// It, or a part of it, is left out, as it has a national number of the patron.
    pub national_number: bool,
}

impl Explanation {
    /// A record that no gate saw.
    pub(super) fn refused(reason: Reason) -> Explanation {
        Explanation {
            verdict: Some(reason),
            change: None,
            term_from_first: false,
            gates: None,
            key: None,
            fields: Vec::new(),
        }
    }
}

/// Goes through all gates and all fields.
pub(super) fn explain(
    facts: &Facts<'_>,
    source: &Source,
    program: &Program,
    projector: &mut Projector,
) -> Explanation {
    projector.next_record();
    let key = projector.begin_key(facts, program);
    let key = key.map(|key| program.pseudonymiser.end(key));
    let fields = projector.each(facts, program, key.as_ref()).into_iter();
    let fields: Vec<Outcome> = fields
        .map(|(value, remarks)| Outcome {
            value,
            counted: remarks.seen,
            national_number: !remarks.left_out.is_empty(),
        })
        .collect();
    let too_large = output_bytes(program, &fields) > facts.lane.output_bytes_max;
    let unfit = key.is_none().then_some(Reason::KeyMissing);
    let unfit = unfit.or_else(|| too_large.then_some(Reason::TooLarge));
    let (verdict, change) = verdicts(facts.now_ms, |now_ms| {
        let (verdict, due_ms) = judge(facts, (source, program), now_ms);
        (verdict.or(unfit), due_ms)
    });
    let until_ms = |first_ms| program.gates.until_ms(facts, first_ms);
    Explanation {
        verdict,
        change,
        term_from_first: until_ms(facts.now_ms) != until_ms(0),
        gates: Some(gates(facts, source, program)),
        key: key.map(|key| String::from_utf8_lossy(&key.text()).into_owned()),
        fields,
    }
}

/// Why the record is not released at a time, and when time alone may change that.
fn judge(
    facts: &Facts<'_>,
    (source, program): (&Source, &Program),
    now_ms: i64,
) -> (Option<Reason>, i64) {
    let mut due_ms = i64::MAX;
    let first_ms = facts.now_ms;
    let facts = &Facts { now_ms, ..*facts };
    let verdict = admit(facts, source, program, &mut due_ms)
        .and_then(|()| in_term(facts, program, first_ms, &mut due_ms))
        .and_then(|_| route(facts, &program.route))
        .err()
        .map(|refusal| refusal.reason);
    (verdict, due_ms)
}

/// The verdict at a time, and the next one that differs. `judge` says of a time what
/// the verdict is, and when it has to be asked again.
fn verdicts(
    now_ms: i64,
    judge: impl Fn(i64) -> (Option<Reason>, i64),
) -> (Option<Reason>, Option<Change>) {
    /// More than there are papers, terms and dates that one verdict depends on,
    /// but for patrons who consented very often.
    const LOOKS: usize = 10_000;
    let (verdict, mut due_ms) = judge(now_ms);
    let mut looked_ms = now_ms;
    for _ in 0..LOOKS {
        if due_ms == i64::MAX || due_ms <= looked_ms {
            break;
        }
        looked_ms = due_ms;
        let (then, next_ms) = judge(looked_ms);
        if then != verdict {
            let change = Change {
                at_ms: looked_ms,
                verdict: then,
            };
            return (verdict, Some(change));
        }
        due_ms = next_ms;
    }
    (verdict, None)
}

/// How long the output is that these fields make.
fn output_bytes(program: &Program, fields: &[Outcome]) -> usize {
    let named = program.steps.iter().zip(fields);
    // A name has two quotes and a colon, and a comma or the closing brace behind
    // its value.
    let members = named.filter_map(|(step, field)| {
        let value = field.value.as_ref()?;
        Some(step.name.len() + value.len() + 4)
    });
    let bytes = 1 + members.sum::<usize>();
    bytes.max("{}".len())
}

fn reason(verdict: Result<(), Refusal>) -> Result<(), Reason> {
    verdict.map_err(|refusal| refusal.reason)
}

fn others(facts: &Facts<'_>, program: &Program) -> Vec<(Gate, Result<(), Reason>)> {
    let gates = &program.gates;
    let (person, now_ms) = (facts.person(program), facts.now_ms);
    let mut due_ms = i64::MAX;
    let implied = implied_ns(facts, program);
    let term = in_term(facts, program, now_ms, &mut due_ms).map(|_| ());
    let period = gates.period_over(facts, &mut due_ms);
    vec![
        (Gate::Period, reason(period)),
        (Gate::Agreement, reason(gates.agreed(now_ms, &mut due_ms))),
        (
            Gate::Authorisation,
            reason(gates.authorised(now_ms, &mut due_ms)),
        ),
        (
            Gate::Objection,
            reason(gates.unopposed(person, now_ms, &mut due_ms)),
        ),
        (
            Gate::Consent,
            reason(gates.consented(person, implied, now_ms, &mut due_ms)),
        ),
        (Gate::Stages, gates.in_order(facts)),
        (Gate::LoanHistory, gates.loan_history(facts)),
        (
            Gate::PatronTerm,
            gates.patron_term(|at| facts.value(at), facts.active, now_ms, &mut due_ms),
        ),
        (Gate::Term, reason(term)),
    ]
}

fn gates(facts: &Facts<'_>, source: &Source, program: &Program) -> Gates {
    let conditions = program.conditions.iter();
    let malformed = program.names.iter();
    let mut malformed: Vec<FieldRef> = malformed
        .filter(|(at, _)| facts.malformed(*at, source.shape.strides()))
        .map(|(_, field)| field.clone())
        .collect();
    malformed.sort();
    malformed.dedup();
    Gates {
        libraries: reason(libraries(facts, source, &program.libraries)),
        conditions: conditions
            .map(|one| condition(facts.value(one.field), &one.test))
            .collect(),
        needs: reason(needs(facts, source, program)),
        malformed,
        others: others(facts, program),
    }
}
