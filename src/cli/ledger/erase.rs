//! `zeef rights erase`: what recipients will lose when a patron is erased, and afterwards the proof
//! that they lost it.
//!
//! zeef erases nobody itself: the library's system does, by a null on the patron source.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::json;

use super::patron::{self, AnswerQuestion, PatronAnswer, format_time};
use super::texts::Texts;
use crate::cli::arguments::RightsEraseArguments;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::table::{TableCell, TextTable};
use crate::ledger::Operation;
use crate::ledger::answer::PatronEvent;
use crate::ledger::register::recipient_of_activity;
use crate::policy::reason::Reason;

pub(super) fn run(arguments: &RightsEraseArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let question = &arguments.question;
    let texts = Texts(question.lang.into());
    let words = if arguments.proof { "rights erase --proof" } else { "rights erase --dry-run" };
    let mut exit = Exit::Success;
    let confidential = &arguments.confidential;
    let asked = AnswerQuestion { question, words, confidential, is_of_own_alone: true };
    patron::with_answer(&asked, |_, answer| {
        if !arguments.proof {
            return write_losses(answer, (question.source.json, texts), screen);
        }
        let proof = ErasureProof::of(answer);
        if !proof.is_complete() {
            exit = Exit::Failed;
        }
        proof.write((question.source.json, texts), screen)
    })?;
    Ok(exit)
}

/// Tells what each recipient has, which is what an erasure takes back.
fn write_losses(
    answer: &PatronAnswer<'_>,
    (is_json, texts): (bool, Texts),
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if is_json {
        let losses = answer.now.iter().map(|(recipient, one)| {
            json!({ "recipient": recipient, "records": one.records, "fields": one.fields })
        });
        let losses: Vec<_> = losses.collect();
        serde_json::to_writer_pretty(&mut *screen, &json!({ "loses": losses }))?;
        writeln!(screen)?;
        return Ok(());
    }
    if answer.now.is_empty() {
        writeln!(screen, "{}", texts.nothing_now())?;
        return Ok(());
    }
    writeln!(screen, "{}", texts.losses_heading())?;
    let [recipient, _, _, records, _, fields] = texts.now_columns();
    let mut table = TextTable::new(&[recipient, records, fields]);
    for (recipient, one) in answer.now {
        let mut fields: Vec<&str> = one.fields.iter().map(String::as_str).collect();
        fields.extend(one.is_before_ledger.then_some(texts.before_ledger()));
        table.add_row([
            recipient.as_str().into(),
            TableCell::number(one.records),
            fields.join(", ").into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}

/// What tells that a patron is erased everywhere.
struct ErasureProof<'a> {
    answer: &'a PatronAnswer<'a>,
    /// Recipients that still have something, and how many records.
    left: BTreeMap<String, u64>,
    /// What was taken back because the patron was erased: time, recipient, records.
    taken_back: Vec<(i64, String, u64)>,
}

impl<'a> ErasureProof<'a> {
    fn of(answer: &'a PatronAnswer<'a>) -> ErasureProof<'a> {
        let reason = Reason::PatronErased.as_str();
        let is_erasure = |event: &&PatronEvent| {
            event.operation == Operation::Retract && event.reason.as_deref() == Some(reason)
        };
        let erasures = answer.events.iter().filter(is_erasure).map(|event| {
            let recipient = recipient_of_activity(&event.activity).to_owned();
            (event.time, recipient, event.records)
        });
        let left = answer.now.iter().map(|(name, one)| (name.clone(), one.records));
        ErasureProof { answer, left: left.collect(), taken_back: erasures.collect() }
    }

    /// Whether an erasure took everything back.
    fn is_complete(&self) -> bool {
        self.left.is_empty() && !self.taken_back.is_empty()
    }

    fn write(&self, (is_json, texts): (bool, Texts), screen: &mut Screen) -> anyhow::Result<()> {
        if is_json {
            let taken_back = self.taken_back.iter().map(|(time, recipient, records)| {
                let time = format_time(*time, "%Y-%m-%dT%H:%M:%SZ");
                json!({ "time": time, "recipient": recipient, "records": records })
            });
            let taken_back: Vec<_> = taken_back.collect();
            let proof = json!({
                "erased": self.is_complete(),
                "taken_back": taken_back,
                "still_had": self.left,
                "unacknowledged": self.answer.unacknowledged_json(),
            });
            serde_json::to_writer_pretty(&mut *screen, &proof)?;
            writeln!(screen)?;
            return Ok(());
        }
        writeln!(screen, "{}", texts.erasure_verdict(self.is_complete(), self.left.is_empty()))?;
        let [when, recipient, _, records, ..] = texts.history_columns();
        if !self.taken_back.is_empty() {
            let mut table = TextTable::new(&[when, recipient, records]);
            for (time, recipient, records) in &self.taken_back {
                let time = format_time(*time, "%Y-%m-%d %H:%M:%S");
                table.add_row([
                    time.into(),
                    recipient.as_str().into(),
                    TableCell::number(*records),
                ]);
            }
            let width = screen.width();
            table.write(screen, width)?;
        }
        for (recipient, records) in &self.left {
            writeln!(screen, "{recipient}: {records} records")?;
        }
        for line in self.answer.unacknowledged_lines(texts) {
            writeln!(screen, "{line}")?;
        }
        Ok(())
    }
}
