//! What was decided of one record, for people: its gates, its fields, its output.

use std::io::Write as _;

use crate::cli::flat;
use crate::cli::phrase;
use crate::cli::screen::{BAD, FAINT, GOOD, HEADING, NAME, Screen, styled};
use crate::cli::table::{Cell, Table, wrap};
use crate::engine::explain::{Change, Explanation, Gate, Gates, Outcome};
use crate::engine::gates::month_end_of;
use crate::policy::Policy;
use crate::policy::canonical::type_word;
use crate::policy::catalogue::{Kind, Type};
use crate::policy::mask::Mask;
use crate::policy::reason::Reason;
use crate::policy::recipient::{FieldRef, OutputField, OutputValue, Period, Recipient};
use crate::policy::term::month_of;

use super::records::Record;

/// The record that is explained, and what decides over it.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Policy,
    pub(super) recipient: &'a Recipient,
    pub(super) source: &'a Kind,
    pub(super) record: &'a Record,
    /// A later version of it.
    pub(super) replaced_by: Option<&'a Record>,
    /// The last record of its patron, where the source is another kind.
    pub(super) patron: Option<&'a Record>,
}

impl<'a> Case<'a> {
    /// Writes the verdict, and what led to it; the recipient's title where it is the
    /// first of several.
    pub(super) fn show(
        &self,
        explanation: &Explanation,
        is_first: bool,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let (recipient, source) = (self.recipient, &self.source.name);
        if is_first {
            let name = styled(NAME.bold(), &recipient.name);
            writeln!(screen, "{name}  {}\n", recipient.title)?;
        }
        writeln!(screen, "{}, a {source}", self.record.place())?;
        if let Some(later) = self.replaced_by {
            let text = format!(
                "a later version of it counts: {}; this one does so no longer",
                later.place()
            );
            writeln!(screen, "{}", styled(BAD, text))?;
        }
        match explanation.verdict {
            None => writeln!(screen, "\n{}", styled(GOOD.bold(), verdict(None)))?,
            Some(reason) => {
                let word = styled(BAD.bold(), verdict(Some(reason)));
                writeln!(screen, "\n{word}  {reason}: {}", reason.meaning())?;
            }
        }
        if explanation.gates.is_some() {
            for line in wrap(&self.until(explanation), screen.text_width()) {
                writeln!(screen, "{line}")?;
            }
        }
        match &explanation.gates {
            Some(gates) => self.show_gates(gates, explanation, screen)?,
            None => writeln!(screen, "{}", undecided(explanation.verdict))?,
        }
        if explanation.gates.is_some() {
            self.show_fields(explanation, screen)?;
        }
        self.show_influences(screen)
    }

    /// What else of the record and its patron decides.
    fn show_influences(&self, screen: &mut Screen) -> anyhow::Result<()> {
        writeln!(screen, "\n{}", styled(HEADING, "LOOKED AT BESIDE THEM"))?;
        let mut table = Table::new(&["FIELD", "CLASS", "SEEN", "HOW"]).indented(2);
        let all = phrase::influences(self.recipient, self.policy);
        for one in all.into_iter().filter(|one| !one.is_output) {
            table.row([
                one.path.into(),
                one.class.into(),
                one.seen.into(),
                one.how.into(),
            ]);
        }
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    /// Until when it stays so, where nothing but time passes.
    fn until(&self, explanation: &Explanation) -> String {
        let Some(Change {
            at_ms,
            verdict: then,
        }) = explanation.change
        else {
            return "time alone changes nothing of this".to_owned();
        };
        let next = match then {
            None => "then it is released".to_owned(),
            Some(reason) => format!("then it is withheld: {reason}, {}", reason.meaning()),
        };
        let from_first = explanation.term_from_first && then == Some(Reason::Lapsed);
        let counted = match from_first {
            true => format!(
                " ({} is missing, so the term runs from when the record was first decided; here \
                 from now)",
                phrase::path(&self.recipient.retention.from)
            ),
            false => String::new(),
        };
        format!("until {}, {next}{counted}", moment(at_ms))
    }

    fn show_gates(
        &self,
        gates: &Gates,
        explanation: &Explanation,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        writeln!(screen, "\n{}", styled(HEADING, "GATES"))?;
        let mut table = Table::new(&[]).indented(2);
        let mut open = true;
        let mut row = |text: String, outcome: Result<(), Reason>, detail: String| {
            let word = match outcome {
                Ok(()) => Cell::styled(GOOD, "yes"),
                Err(_) => Cell::styled(BAD, "no"),
            };
            // What comes after the gate that decided was not asked for.
            let style = if open { anstyle::Style::new() } else { FAINT };
            open &= outcome.is_ok();
            table.row([word, Cell::styled(style, text), Cell::styled(FAINT, detail)]);
        };
        let libraries = gates.libraries;
        row(
            "the library is served, and is the patron's".to_owned(),
            libraries,
            meaning(libraries),
        );
        let conditions = self.recipient.when.iter().zip(&gates.conditions);
        for (condition, outcome) in conditions {
            let found = self.found(&condition.field);
            row(phrase::condition(condition), *outcome, found);
        }
        let malformed: Vec<_> = gates.malformed.iter().map(phrase::path).collect();
        row(
            "every field that it needs is well formed".to_owned(),
            gates.needs,
            malformed.join(", "),
        );
        for &(gate, outcome) in &gates.others {
            if let Some((text, detail)) = self.gate(gate) {
                let detail = if detail.is_empty() {
                    meaning(outcome)
                } else {
                    detail
                };
                row(text, outcome, detail);
            }
        }
        let key = match &explanation.key {
            Some(_) => Ok(()),
            None => Err(Reason::KeyMissing),
        };
        let of = format!(
            "the output key can be made of {}",
            phrase::path(&self.recipient.key)
        );
        row(of, key, explanation.key.clone().unwrap_or_default());
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    /// What a gate asks, and what it found; none where the recipient has no
    /// such gate.
    fn gate(&self, gate: Gate) -> Option<(String, String)> {
        let recipient = self.recipient;
        let text = match gate {
            Gate::Period => {
                let period = recipient.period.as_ref()?;
                let text = format!("the month of {} is over", phrase::path(&period.of));
                return Some((text, self.published_in(period)));
            }
            Gate::Agreement => {
                let paper = recipient.agreement.as_ref()?;
                format!(
                    "the agreement is in force, {} to {}",
                    paper.from, paper.until
                )
            }
            Gate::Authorisation => {
                let paper = recipient.authorisation.as_ref()?;
                let national = recipient.releases_national(&self.policy.kinds);
                national.then(|| {
                    format!(
                        "the authorisation is in force, {} to {}",
                        paper.first_day(),
                        paper.until
                    )
                })?
            }
            Gate::Objection => "the patron does not object".to_owned(),
            Gate::Consent => {
                let gate = recipient.consent.as_ref()?;
                let event = gate.implied_by.as_ref().map(|event| self.found(event));
                return Some((phrase::consent(gate), event.unwrap_or_default()));
            }
            Gate::Stages if recipient.stages.is_empty() => return None,
            Gate::Stages => {
                let stages: Vec<_> = recipient.stages.iter().map(phrase::path).collect();
                format!("{} come in that order", stages.join(", "))
            }
            Gate::LoanHistory if !recipient.loan_history => return None,
            Gate::LoanHistory => "returned loans only with loan history".to_owned(),
            Gate::PatronTerm => "the patron's data may still be used".to_owned(),
            Gate::Term => {
                let from = self.found(&recipient.retention.from);
                return Some((phrase::retention(&recipient.retention), from));
            }
        };
        Some((text, String::new()))
    }

    /// When a record goes out at the earliest, by the month that it is of.
    fn published_in(&self, period: &Period) -> String {
        let found = self.found(&period.of);
        let raw = self.raw(&period.of);
        let text = raw.and_then(|raw| serde_json::from_str::<String>(raw).ok());
        match text.as_deref().and_then(month_end_of) {
            Some(end_ms) => {
                let month = month_of(end_ms);
                format!("{found}: published in the first run of {month}, or of a later month")
            }
            None => found,
        }
    }

    /// The record's own value of a field, as people read it.
    fn found(&self, field: &FieldRef) -> String {
        match self.raw(field) {
            None => "it is not in the record".to_owned(),
            Some(raw) => format!("it is {raw}"),
        }
    }

    /// What stands in the record, or the patron's, at a field; as JSON.
    fn raw(&self, field: &FieldRef) -> Option<&'a str> {
        let record = match field.joined {
            true => self.patron?,
            false => self.record,
        };
        let value = record.value.as_deref()?;
        flat::find(std::str::from_utf8(value).ok()?, &field.path)
    }

    fn show_fields(&self, explanation: &Explanation, screen: &mut Screen) -> anyhow::Result<()> {
        let heading = match explanation.verdict {
            None => "FIELDS",
            Some(_) => "FIELDS, IF IT WERE RELEASED",
        };
        writeln!(screen, "\n{}", styled(HEADING, heading))?;
        let mut table = Table::new(&["FIELD", "FROM", "MASK", "OUTCOME"]).indented(2);
        let fields = self.recipient.fields.iter();
        for (field, outcome) in fields.zip(&explanation.fields) {
            let (from, mask) = phrase::field(field, &self.recipient.fields);
            table.row([
                field.name.clone().into(),
                format!("{from}{}", beside(field)).into(),
                mask.into(),
                self.outcome(field, outcome, explanation),
            ]);
        }
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    fn outcome(&self, field: &OutputField, outcome: &Outcome, all: &Explanation) -> Cell {
        match &outcome.value {
            Some(value) => {
                let value = String::from_utf8_lossy(value).into_owned();
                Cell::from(format!("{value}{}", noticed(outcome)))
            }
            None => {
                let malformed = all.gates.iter().flat_map(|gates| &gates.malformed);
                let why = if malformed.into_iter().any(|one| reads(field, one)) {
                    "malformed".to_owned()
                } else {
                    self.why_left_out(field, outcome)
                };
                Cell::styled(BAD, format!("left out: {why}"))
            }
        }
    }

    fn why_left_out(&self, field: &OutputField, outcome: &Outcome) -> String {
        let counted = &outcome.counted;
        if outcome.national_number {
            return "it has a national number of the patron among its digits".to_owned();
        }
        if counted.national_cards > 0 {
            return "the card number is a national number".to_owned();
        }
        if counted.noticed.short_card > 0 {
            return "too few digits would stay hidden".to_owned();
        }
        match &field.value {
            OutputValue::Scalar(projection) => match &projection.from {
                Some(from) => self.why_missing(from, projection.mask.as_ref()),
                None => "there is nothing to show".to_owned(),
            },
            OutputValue::Object { .. } => "none of its fields is there".to_owned(),
            OutputValue::List { .. } | OutputValue::Scalars { .. } => {
                "the list has nothing to show".to_owned()
            }
            OutputValue::Slip { .. } => "there is nothing to print".to_owned(),
        }
    }

    fn why_missing(&self, from: &FieldRef, mask: Option<&Mask>) -> String {
        let whose = if from.joined {
            "patron's record"
        } else {
            "record"
        };
        let raw = self.raw(from);
        if raw.is_none_or(|raw| raw == "null") {
            return format!("not in the {whose}");
        }
        let text = raw.and_then(|raw| serde_json::from_str::<String>(raw).ok());
        if text.as_deref() == Some("") {
            return format!("empty in the {whose}");
        }
        if let (Some(Type::Text(Some(form))), Some(text)) = (self.type_of(from), &text)
            && !form.fits(text)
        {
            let word = type_word(Type::Text(Some(form)));
            return format!("not of the form of a field of type {word}");
        }
        match mask {
            Some(mask) => format!("{} makes nothing of it", phrase::mask_name(mask)),
            None => "there is nothing to show".to_owned(),
        }
    }

    fn type_of(&self, field: &FieldRef) -> Option<Type> {
        let kind = if field.joined {
            self.policy.patron()?
        } else {
            self.source
        };
        kind.field(&field.path).map(|field| field.kind)
    }

    /// The output as it would be published.
    pub(super) fn show_output(
        &self,
        explanation: &Explanation,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        if explanation.verdict.is_some() {
            return Ok(());
        }
        let mut value = String::from("{");
        let names = self.recipient.fields.iter().map(|field| &field.name);
        let shown = names.zip(&explanation.fields);
        for (name, bytes) in
            shown.filter_map(|(name, outcome)| Some((name, outcome.value.as_ref()?)))
        {
            let comma = if value.len() > 1 { "," } else { "" };
            value.push_str(&format!(
                "{comma}\"{name}\":{}",
                String::from_utf8_lossy(bytes)
            ));
        }
        value.push('}');
        writeln!(screen, "\n{}", styled(HEADING, "OUTPUT"))?;
        Ok(writeln!(screen, "{value}")?)
    }
}

fn verdict(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "RELEASED",
        Some(Reason::PatronUnknown) => "HELD",
        Some(_) => "WITHHELD",
    }
}

/// To the minute where it is a whole one, in UTC.
fn moment(ms: i64) -> String {
    let format = match ms % 60_000 {
        0 => "%Y-%m-%d %H:%M UTC",
        _ => "%Y-%m-%d %H:%M:%S%.3f UTC",
    };
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime(format).to_string(),
        Err(_) => "a time that no calendar has".to_owned(),
    }
}

/// Whether an output field shows something of `field`.
fn reads(output: &OutputField, field: &FieldRef) -> bool {
    match &output.value {
        OutputValue::Scalar(projection) => projection.from.as_ref() == Some(field),
        OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
            from.joined == field.joined && fields.iter().any(|sub| sub.path == field.path)
        }
        OutputValue::Scalars { from } => from == field,
        OutputValue::Slip { .. } => false,
    }
}

/// What a mask looks at beside the field itself.
fn beside(field: &OutputField) -> String {
    let OutputValue::Scalar(projection) = &field.value else {
        return String::new();
    };
    match phrase::needs(projection).as_slice() {
        [] => String::new(),
        needs => format!(" (+ {})", needs.join(", ")),
    }
}

/// What was counted on the way to a value.
fn noticed(outcome: &Outcome) -> String {
    let mut notes = Vec::new();
    if outcome.counted.noticed.short_name > 0 {
        notes.push("a short name: its first letter only".to_owned());
    }
    if outcome.national_number {
        notes.push("a part is left out: it has a national number of the patron".to_owned());
    }
    let hits: u32 = outcome.counted.detected.iter().sum();
    if hits > 0 {
        notes.push(crate::cli::exit::counted(hits as usize, "detector hit"));
    }
    match notes.as_slice() {
        [] => String::new(),
        notes => format!("  ({})", notes.join("; ")),
    }
}

/// What is said where the gates were not all asked.
fn undecided(verdict: Option<Reason>) -> &'static str {
    match verdict {
        Some(Reason::PatronUnknown) => {
            "The record waits, and is decided when its patron comes: give the patron's line too."
        }
        Some(Reason::Condition | Reason::Library) => {
            "The record itself says so, whoever the patron is: no line tells."
        }
        _ => "No gate was asked: the record is not decided for anybody.",
    }
}

fn meaning(outcome: Result<(), Reason>) -> String {
    outcome
        .err()
        .map_or_else(String::new, |reason| reason.meaning().to_owned())
}
