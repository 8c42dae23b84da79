//! Writes the explanation of one record: verdict, gates, fields, output.

use std::io::Write as _;

use crate::cli::describe;
use crate::cli::paths;
use crate::cli::screen::{BAD, FAINT, GOOD, HEADING, NAME, Screen, styled};
use crate::cli::table::{TableCell, TextTable, wrap_text};
use crate::engine::decide::explain::{Explanation, FieldExplanation, GateResults, VerdictChange};
use crate::engine::lane::gates::GateDef;
use crate::policy::Policy;
use crate::policy::catalogue::{FieldType, RecordKind};
use crate::policy::mask::Mask;
use crate::policy::reason::Reason;
use crate::policy::recipient::{FieldRef, OutputField, OutputValue, Recipient};

use super::records::ExplainedRecord;

/// The record that is explained, with its context.
pub(super) struct ExplanationWriter<'a> {
    pub(super) policy: &'a Policy,
    pub(super) recipient: &'a Recipient,
    pub(super) source: &'a RecordKind,
    /// The version whose fields count.
    pub(super) record: &'a ExplainedRecord,
    /// A later version that says that the record is gone.
    pub(super) gone_by: Option<&'a ExplainedRecord>,
    /// A later version of it.
    pub(super) replaced_by: Option<&'a ExplainedRecord>,
    /// The last record of its patron, if the source is another kind.
    pub(super) patron: Option<&'a ExplainedRecord>,
}

impl<'a> ExplanationWriter<'a> {
    /// Writes the verdict and what led to it; the recipient's title first if `is_first`.
    pub(super) fn write_explanation(
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
        writeln!(screen, "{}, a {source}", self.record.describe_place())?;
        if let Some(gone) = self.gone_by {
            let place = gone.describe_place();
            writeln!(screen, "it is gone: {place} says so; this is its last version before")?;
        }
        if let Some(later) = self.replaced_by {
            let text = format!(
                "a later version of it counts: {}; this one does so no longer",
                later.describe_place()
            );
            writeln!(screen, "{}", styled(BAD, text))?;
        }
        self.write_verdict(explanation, screen)?;
        match &explanation.gate_results {
            Some(gates) => self.write_gates(gates, explanation, screen)?,
            None => writeln!(screen, "{}", undecided_text(explanation.withheld_reason))?,
        }
        if explanation.gate_results.is_some() {
            self.write_fields(explanation, screen)?;
        }
        self.write_influences(screen)
    }

    /// Writes what there is for one of the patrons that grants name.
    pub(super) fn write_named_patron(
        &self,
        named_patron: &str,
        explanation: &Explanation,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        writeln!(screen, "\n{} {named_patron}", styled(HEADING, "FOR THE NAMED PATRON"))?;
        self.write_verdict(explanation, screen)?;
        match explanation.withheld_reason {
            None => self.write_fields(explanation, screen),
            Some(_) => Ok(()),
        }
    }

    fn write_verdict(&self, explanation: &Explanation, screen: &mut Screen) -> anyhow::Result<()> {
        match explanation.withheld_reason {
            None => {
                let word = styled(GOOD.bold(), verdict_word(None));
                let thinned = if explanation.is_thinned { "  without some fields" } else { "" };
                writeln!(screen, "\n{word}{thinned}")?;
            }
            Some(reason) => {
                let word = styled(BAD.bold(), verdict_word(Some(reason)));
                writeln!(screen, "\n{word}  {reason}: {}", reason.meaning())?;
            }
        }
        if explanation.gate_results.is_some() {
            for line in wrap_text(&self.describe_until(explanation), screen.text_width()) {
                writeln!(screen, "{line}")?;
            }
        }
        Ok(())
    }

    fn write_influences(&self, screen: &mut Screen) -> anyhow::Result<()> {
        writeln!(screen, "\n{}", styled(HEADING, "LOOKED AT BESIDE THEM"))?;
        let mut table = TextTable::new(&["FIELD", "CLASS", "SEEN", "HOW"]).indented(2);
        let all = describe::influences(self.recipient, self.policy);
        for one in all.into_iter().filter(|one| !one.is_output) {
            table.add_row([one.path.into(), one.class.into(), one.seen.into(), one.how.into()]);
        }
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    /// Until when the verdict holds, as far as time alone decides.
    fn describe_until(&self, explanation: &Explanation) -> String {
        let Some(change) = explanation.next_change else {
            return "time alone changes nothing of this".to_owned();
        };
        let VerdictChange { at_ms, withheld_reason: then, is_thinned, has_other_summaries } =
            change;
        let next = match then {
            None if has_other_summaries => {
                "then it is released with other sums, counts or lists".to_owned()
            }
            None if is_thinned => "then it is released without some fields".to_owned(),
            None => "then it is released".to_owned(),
            Some(reason) => format!("then it is withheld: {reason}, {}", reason.meaning()),
        };
        let from_first = explanation.is_term_from_first_decision && then == Some(Reason::Lapsed);
        let counted = match from_first {
            true => format!(
                " ({} is missing, so the term runs from when the record was first decided; here \
                 from now)",
                describe::field_path(&self.recipient.retention.start_field)
            ),
            false => String::new(),
        };
        format!("until {}, {next}{counted}", format_instant(at_ms))
    }

    fn write_gates(
        &self,
        gates: &GateResults,
        explanation: &Explanation,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        writeln!(screen, "\n{}", styled(HEADING, "GATES"))?;
        let mut table = TextTable::new(&[]).indented(2);
        let mut open = true;
        let mut row = |text: String, outcome: Result<(), Reason>, detail: String| {
            let word = match outcome {
                Ok(()) => TableCell::styled(GOOD, "yes"),
                Err(_) => TableCell::styled(BAD, "no"),
            };
            // Gates after the one that decided had no say.
            let style = if open { anstyle::Style::new() } else { FAINT };
            open &= outcome.is_ok();
            table.add_row([word, TableCell::styled(style, text), TableCell::styled(FAINT, detail)]);
        };
        let libraries = gates.libraries;
        row(
            "the library is served, and is the patron's".to_owned(),
            libraries,
            refusal_meaning(libraries),
        );
        let conditions = self.recipient.conditions.iter().zip(&gates.conditions);
        for (condition, outcome) in conditions {
            let found = self.describe_value(&condition.field);
            row(describe::condition(condition), *outcome, found);
        }
        let malformed: Vec<_> = gates.malformed_fields.iter().map(describe::field_path).collect();
        row(
            "every field that it needs is well formed".to_owned(),
            gates.needed_fields,
            malformed.join(", "),
        );
        for &(gate, outcome) in &gates.other_gates {
            if let Some(question) = (gate.texts.question)(self.recipient, self.policy) {
                let detail = self.describe_gate_value(gate);
                row(question, outcome, detail.unwrap_or_else(|| refusal_meaning(outcome)));
            }
        }
        let retention = &self.recipient.retention;
        let start = self.describe_value(&retention.start_field);
        row(describe::retention(retention), gates.retention_term, start);
        let key = match &explanation.output_key {
            Some(_) => Ok(()),
            None => Err(Reason::KeyMissing),
        };
        let of = format!(
            "the output key can be made of {}",
            describe::field_path(&self.recipient.output_key_field)
        );
        row(of, key, explanation.output_key.clone().unwrap_or_default());
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    /// The value that a gate shows, and what follows from it.
    fn describe_gate_value(&self, gate: &GateDef) -> Option<String> {
        let field = (gate.texts.shown_field)(self.recipient)?;
        let found = self.describe_value(field);
        let text = self.raw_value(field).and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let note = text.and_then(|text| (gate.texts.value_note)(&text));
        Some(note.map_or_else(|| found.clone(), |note| format!("{found}: {note}")))
    }

    fn describe_value(&self, field: &FieldRef) -> String {
        match self.raw_value(field) {
            None => "it is not in the record".to_owned(),
            Some(raw) => format!("it is {raw}"),
        }
    }

    /// The JSON value of a field, in the record or in the patron's.
    fn raw_value(&self, field: &FieldRef) -> Option<&'a str> {
        let record = match field.is_joined {
            true => self.patron?,
            false => self.record,
        };
        let value = record.value.as_deref()?;
        let path = field.path.strip_suffix("[]").unwrap_or(&field.path);
        paths::find_path(std::str::from_utf8(value).ok()?, path)
    }

    fn write_fields(&self, explanation: &Explanation, screen: &mut Screen) -> anyhow::Result<()> {
        let heading = match explanation.withheld_reason {
            None => "FIELDS",
            Some(_) => "FIELDS, IF IT WERE RELEASED",
        };
        writeln!(screen, "\n{}", styled(HEADING, heading))?;
        let mut table = TextTable::new(&["FIELD", "FROM", "MASK", "OUTCOME"]).indented(2);
        let fields = self.recipient.output_fields.iter();
        for (field, outcome) in fields.zip(&explanation.fields) {
            let (from, mask) =
                describe::field_origin_and_mask(field, &self.recipient.output_fields);
            table.add_row([
                field.name.clone().into(),
                format!("{from}{}", mask_needs_text(field)).into(),
                mask.into(),
                self.outcome_cell(field, outcome, explanation),
            ]);
        }
        let width = screen.width();
        Ok(table.write(screen, width)?)
    }

    fn outcome_cell(
        &self,
        field: &OutputField,
        outcome: &FieldExplanation,
        all: &Explanation,
    ) -> TableCell {
        match &outcome.value {
            Some(value) => {
                let value = String::from_utf8_lossy(value).into_owned();
                TableCell::from(format!("{value}{}", outcome_notes(outcome)))
            }
            None => {
                let malformed = all.gate_results.iter().flat_map(|gates| &gates.malformed_fields);
                let why = if malformed.into_iter().any(|one| shows_field(field, one)) {
                    "malformed".to_owned()
                } else {
                    self.why_left_out(field, outcome)
                };
                TableCell::styled(BAD, format!("left out: {why}"))
            }
        }
    }

    fn why_left_out(&self, field: &OutputField, outcome: &FieldExplanation) -> String {
        let counted = &outcome.counts;
        if outcome.is_dropped {
            return "it is in the recipient's `thinned`".to_owned();
        }
        if outcome.has_national_number {
            return "it has a national number of the patron among its digits".to_owned();
        }
        if counted.national_cards > 0 {
            return "the card number is a national number".to_owned();
        }
        if counted.short_values.short_card_numbers > 0 {
            return "too few digits would stay hidden".to_owned();
        }
        match &field.value {
            OutputValue::Scalar(projection) => match &projection.from {
                Some(from) => self.why_missing(from, projection.mask.as_ref()),
                None => "there is nothing to show".to_owned(),
            },
            OutputValue::First(_) => "none of its values is there".to_owned(),
            OutputValue::Object { .. } if self.recipient.channel.is_some() => {
                "another channel was chosen, or none of its fields is there".to_owned()
            }
            OutputValue::Object { .. } => "none of its fields is there".to_owned(),
            OutputValue::ObjectList { .. } | OutputValue::ScalarList { .. } => {
                "the list has nothing to show".to_owned()
            }
            OutputValue::Demanded { .. } => "nothing is demanded that the patron has".to_owned(),
            OutputValue::ShelfSlip { .. } => "there is nothing to print".to_owned(),
            OutputValue::ChannelWord => "there is no channel".to_owned(),
            OutputValue::NamedPatron => "no grant names a patron".to_owned(),
            OutputValue::Summary(_) => "the patron has no such record".to_owned(),
        }
    }

    fn why_missing(&self, from: &FieldRef, mask: Option<&Mask>) -> String {
        let whose = if from.is_joined { "patron's record" } else { "record" };
        let raw = self.raw_value(from);
        if raw.is_none_or(|raw| raw == "null") {
            return format!("not in the {whose}");
        }
        let text = raw.and_then(|raw| serde_json::from_str::<String>(raw).ok());
        if text.as_deref() == Some("") {
            return format!("empty in the {whose}");
        }
        if let (Some(FieldType::Text(Some(form))), Some(text)) = (self.field_type(from), &text)
            && !form.matches(text)
        {
            let word = form.into_str();
            return format!("not of the form of a field of type {word}");
        }
        match mask {
            Some(mask) => format!("{} makes nothing of it", mask.def().name),
            None if self.recipient.channel.is_some() => {
                "another channel was chosen, or there is nothing to show".to_owned()
            }
            None => "there is nothing to show".to_owned(),
        }
    }

    fn field_type(&self, field: &FieldRef) -> Option<FieldType> {
        let kind = if field.is_joined { self.policy.patron_kind()? } else { self.source };
        kind.field(&field.path).map(|field| field.field_type)
    }

    /// Writes the output as it would be published.
    pub(super) fn write_output(
        &self,
        explanation: &Explanation,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        if explanation.withheld_reason.is_some() {
            return Ok(());
        }
        let mut value = String::from("{");
        let names = self.recipient.output_fields.iter().map(|field| &field.name);
        let shown = names.zip(&explanation.fields);
        for (name, bytes) in
            shown.filter_map(|(name, outcome)| Some((name, outcome.value.as_ref()?)))
        {
            let comma = if value.len() > 1 { "," } else { "" };
            value.push_str(&format!("{comma}\"{name}\":{}", String::from_utf8_lossy(bytes)));
        }
        value.push('}');
        writeln!(screen, "\n{}", styled(HEADING, "OUTPUT"))?;
        Ok(writeln!(screen, "{value}")?)
    }
}

fn verdict_word(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "RELEASED",
        Some(Reason::PatronUnknown) => "HELD",
        Some(_) => "WITHHELD",
    }
}

/// In UTC, to the minute if it is a whole one.
fn format_instant(ms: i64) -> String {
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
fn shows_field(output: &OutputField, field: &FieldRef) -> bool {
    match &output.value {
        OutputValue::Scalar(_) | OutputValue::First(_) => {
            let mut projections = output.value.projections().iter();
            projections.any(|projection| projection.from.as_ref() == Some(field))
        }
        OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
            from.is_joined == field.is_joined && fields.iter().any(|sub| sub.path == field.path)
        }
        OutputValue::ScalarList { from } | OutputValue::Demanded { list: from, .. } => {
            from == field
        }
        OutputValue::ShelfSlip { .. }
        | OutputValue::ChannelWord
        | OutputValue::NamedPatron
        | OutputValue::Summary(_) => false,
    }
}

fn mask_needs_text(field: &OutputField) -> String {
    let projections = field.value.projections().iter();
    let needs: Vec<String> = projections.flat_map(describe::mask_needs).collect();
    match needs.as_slice() {
        [] => String::new(),
        needs => format!(" (+ {})", needs.join(", ")),
    }
}

fn outcome_notes(outcome: &FieldExplanation) -> String {
    let mut notes = Vec::new();
    if outcome.counts.short_values.short_names > 0 {
        notes.push("a short name: its first letter only".to_owned());
    }
    if outcome.has_national_number {
        notes.push("a part is left out: it has a national number of the patron".to_owned());
    }
    let hits: u32 = outcome.counts.detected.iter().sum();
    if hits > 0 {
        notes.push(crate::cli::exit::pluralise(hits as usize, "detector hit"));
    }
    match notes.as_slice() {
        [] => String::new(),
        notes => format!("  ({})", notes.join("; ")),
    }
}

/// The text where the gates were not judged.
fn undecided_text(verdict: Option<Reason>) -> &'static str {
    match verdict {
        Some(Reason::PatronUnknown) => {
            "The record waits, and is decided when its patron comes: give the patron's line too."
        }
        Some(reason) if reason == Reason::Library || reason.is_of_condition() => {
            "The record itself says so, whoever the patron is: no line tells."
        }
        _ => "No gate was asked: the record is not decided for anybody.",
    }
}

fn refusal_meaning(outcome: Result<(), Reason>) -> String {
    outcome.err().map_or_else(String::new, |reason| reason.meaning().to_owned())
}
