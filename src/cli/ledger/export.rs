//! `zeef ledger export`: the lines in the forms of others: Logboek Dataverwerkingen (LDV), OTLP, CSV.

use std::io::Write;

use serde_json::{Value, json};

use super::read::{LedgerReader, require_whole};
use super::recipient::day_start;
use crate::cli::arguments::{LedgerExportArguments, LedgerFormat};
use crate::cli::audit::AuditedAction;
use crate::cli::exit::Exit;
use crate::cli::screen::StdoutLines;
use crate::ledger::block::{Block, ForeignReference, Line};
use crate::ledger::read_api::{
    FOREIGN_OPERATION, FOREIGN_TRACE, activity_uri, milliseconds, processing_activity,
};
use crate::ledger::register::{Register, recipient_of_activity};

const CSV_COLUMNS: [&str; 13] = [
    "time",
    "trace_id",
    "operation_id",
    "recipient",
    "operation",
    "reason",
    "patron",
    "fields",
    "activity",
    "policy",
    "chain",
    "foreign_trace_id",
    "foreign_operation_id",
];

pub(super) fn run(arguments: &LedgerExportArguments) -> anyhow::Result<Exit> {
    let from = arguments.from.map(day_start).transpose()?.unwrap_or(i64::MIN);
    let until = arguments.until.map(day_start).transpose()?.unwrap_or(i64::MAX);
    LedgerReader::with_reader(&arguments.source, |reader| {
        reader
            .record_audit(AuditedAction { words: "ledger export", ..AuditedAction::default() })?;
        let register = reader.read_register()?.0;
        let mut writer = LineWriter::new(arguments.format)?;
        let mut failed = Ok(());
        let chains = reader.verify_each_block(&register, &mut |block, _| {
            if failed.is_ok() && (from..until).contains(&block.time) {
                failed = writer.write_block(&block, &register);
            }
        })?;
        failed?;
        writer.finish()?;
        require_whole(&chains, "the export")?;
        Ok(Exit::Success)
    })
}

enum LineWriter {
    Ldv(StdoutLines),
    Otlp(StdoutLines),
    Csv(Box<csv::Writer<StdoutLines>>),
}

impl LineWriter {
    fn new(format: LedgerFormat) -> anyhow::Result<LineWriter> {
        let out = StdoutLines::stdout();
        Ok(match format {
            LedgerFormat::Ldv => LineWriter::Ldv(out),
            LedgerFormat::Otlp => LineWriter::Otlp(out),
            LedgerFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(CSV_COLUMNS)?;
                LineWriter::Csv(Box::new(writer))
            }
        })
    }

    fn write_block(&mut self, block: &Block<'_>, register: &Register) -> anyhow::Result<()> {
        match self {
            LineWriter::Ldv(out) => {
                for line in &block.lines {
                    serde_json::to_writer(&mut *out, &processing_activity(block, line, register))?;
                    out.write_all(b"\n")?;
                }
            }
            LineWriter::Otlp(out) => {
                serde_json::to_writer(&mut *out, &otlp_request(block, register))?;
                out.write_all(b"\n")?;
            }
            LineWriter::Csv(writer) => {
                for line in &block.lines {
                    writer.write_record(csv_record(block, line, register))?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match self {
            LineWriter::Ldv(out) | LineWriter::Otlp(out) => out.flush()?,
            LineWriter::Csv(writer) => writer.flush()?,
        }
        Ok(())
    }
}

/// The lines of a block as one request of OTLP over HTTP with JSON.
fn otlp_request(block: &Block<'_>, register: &Register) -> Value {
    let nanoseconds = milliseconds(block).saturating_mul(1_000_000).to_string();
    let span = |line: &Line<'_>| {
        let ldv = processing_activity(block, line, register);
        let attributes = ldv["attributes"].as_object().into_iter().flatten();
        // A link of the span has these.
        let own = attributes
            .filter(|(key, _)| ![FOREIGN_TRACE, FOREIGN_OPERATION].contains(&key.as_str()));
        let attributes: Vec<Value> =
            own.map(|(key, value)| json!({ "key": key, "value": otlp_value(value) })).collect();
        let foreign = line.foreign_operation.iter();
        let link =
            |one: &ForeignReference<'_>| json!({ "traceId": one.trace, "spanId": one.operation });
        let links: Vec<Value> = foreign.map(link).collect();
        json!({
            "traceId": line.trace,
            "spanId": line.id,
            "parentSpanId": line.parent.as_deref().unwrap_or_default(),
            "name": <&str>::from(line.operation),
            "kind": 1,
            "startTimeUnixNano": nanoseconds,
            "endTimeUnixNano": nanoseconds,
            "status": {},
            "attributes": attributes,
            "links": links,
        })
    };
    let spans: Vec<Value> = block.lines.iter().map(span).collect();
    let service = json!({ "key": "service.name", "value": { "stringValue": "zeef" } });
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [service] },
            "scopeSpans": [{ "scope": { "name": "zeef.ledger" }, "spans": spans }],
        }],
    })
}

fn otlp_value(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().map(otlp_value).collect();
            json!({ "arrayValue": { "values": items } })
        }
        other => json!({ "stringValue": other.as_str().unwrap_or_default() }),
    }
}

fn csv_record(block: &Block<'_>, line: &Line<'_>, register: &Register) -> [String; 13] {
    let id = block.activity_of(line);
    let fields: Vec<&str> = register.given_leaves(id, line).collect();
    let time = jiff::Timestamp::from_second(block.time).unwrap_or_default();
    let foreign = line.foreign_operation.as_ref();
    [
        time.to_string(),
        line.trace.to_string(),
        line.id.to_string(),
        recipient_of_activity(id).to_owned(),
        <&str>::from(line.operation).to_owned(),
        line.reason.as_deref().unwrap_or_default().to_owned(),
        line.patron.as_deref().unwrap_or_default().to_owned(),
        fields.join(" "),
        activity_uri(id, register).to_owned(),
        block.policy.to_string(),
        block.chain.to_string(),
        foreign.map(|one| one.trace.to_string()).unwrap_or_default(),
        foreign.map(|one| one.operation.to_string()).unwrap_or_default(),
    ]
}
