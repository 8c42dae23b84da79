//! The work as one does it with the Vector Remap Language: programs over an event.
//!
//! Written with care, as a fair peer: the programs are made of the same profiles
//! and expressions as the way of serde_json, nothing is looked up twice, and
//! constants stand in the source. What Vector itself adds (channels, metadata of
//! its own, acknowledgements) is in no figure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vrl::compiler::runtime::Runtime;
use vrl::compiler::{Function, Program, TargetValue, TimeZone};
use vrl::value::{Secrets, Value};

use crate::common::serde_value::{PROFILES, ProfileField, SCRUB_PATTERNS};
use crate::common::workload::SourceRecord;
use crate::common::zeef_peer::key_bytes;

/// Which records are sent on, as the policy's `when` has it.
const CONDITION: &str = r#".kind == "person" && is_string(.patron_id) && is_string(.library)"#;

/// Outputs, one after another in a buffer that is used again.
#[derive(Default)]
pub(crate) struct Outputs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// One way of running programs over records.
pub(crate) trait Remap {
    /// Appends what each partner may see of the record.
    fn transform(&mut self, record: &SourceRecord, out: &mut Outputs);

    /// Does all records; says how many bytes came of them.
    fn run(&mut self, records: &[SourceRecord], out: &mut Outputs) -> usize {
        let mut bytes = 0;
        for record in records {
            out.clear();
            self.transform(record, out);
            // zeef writes the output's key, too.
            bytes += out.bytes.len() + 22 * out.ends.len();
        }
        bytes
    }
}

/// As Vector runs it: the event is cloned for each partner (the last one takes
/// it), whose program puts the new object in its place.
pub(crate) struct AsVector {
    parse: Step,
    condition: Step,
    partners: Vec<Step>,
}

/// As little as VRL can do: one event, parsed without a program, that all
/// programs read; what a program says is the output.
pub(crate) struct Lean {
    condition: Step,
    partners: Vec<Step>,
}

/// A program and what it runs in.
struct Step {
    program: Program,
    runtime: Runtime,
    zone: TimeZone,
}

impl AsVector {
    pub(crate) fn new() -> Self {
        let functions = vrl::stdlib::all();
        let partners =
            PROFILES.iter().map(|(partner, fields)| format!(". = {}", object(partner, fields)));
        AsVector {
            parse: Step::new(". = parse_json!(.message)", &functions),
            condition: Step::new(CONDITION, &functions),
            partners: partners.map(|source| Step::new(&source, &functions)).collect(),
        }
    }
}

impl Remap for AsVector {
    fn transform(&mut self, record: &SourceRecord, out: &mut Outputs) {
        let message = Value::from(record.value.as_slice());
        let mut event = Some(target(BTreeMap::from([("message".into(), message)]).into()));
        let Some(parsed) = event.as_mut() else { return };
        if self.parse.says(parsed).is_none()
            || self.condition.says(parsed) != Some(Value::Boolean(true))
        {
            return;
        }
        let last = self.partners.len() - 1;
        for (at, partner) in self.partners.iter_mut().enumerate() {
            let copy = if at == last { event.take() } else { event.as_ref().map(copy) };
            let Some(mut copy) = copy else { return };
            if partner.says(&mut copy).is_some() {
                out.push(&copy.value);
            }
        }
    }
}

impl Lean {
    pub(crate) fn new() -> Self {
        let functions = vrl::stdlib::all();
        let partners = PROFILES
            .iter()
            .map(|(partner, fields)| Step::new(&object(partner, fields), &functions));
        Lean { condition: Step::new(CONDITION, &functions), partners: partners.collect() }
    }
}

impl Remap for Lean {
    fn transform(&mut self, record: &SourceRecord, out: &mut Outputs) {
        let Ok(event) = serde_json::from_slice::<Value>(&record.value) else {
            return;
        };
        let mut event = target(event);
        if self.condition.says(&mut event) != Some(Value::Boolean(true)) {
            return;
        }
        for partner in &mut self.partners {
            if let Some(output) = partner.says(&mut event) {
                out.push(&output);
            }
        }
    }
}

impl Step {
    fn new(source: &str, functions: &[Box<dyn Function>]) -> Self {
        let compiled = vrl::compiler::compile(source, functions);
        let program = match compiled {
            Ok(compiled) => compiled.program,
            Err(diagnostics) => panic!("{source}\n{diagnostics:?}"),
        };
        Step { program, runtime: Runtime::default(), zone: TimeZone::default() }
    }

    /// What the program ends with; nothing if it stopped.
    fn says(&mut self, event: &mut TargetValue) -> Option<Value> {
        let said = self.runtime.resolve(event, &self.program, &self.zone);
        self.runtime.clear();
        said.ok()
    }
}

impl Outputs {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    fn push(&mut self, value: &Value) {
        serde_json::to_writer(&mut self.bytes, value).expect("a value can be written");
        self.ends.push(self.bytes.len());
    }
}

fn target(value: Value) -> TargetValue {
    TargetValue { value, metadata: Value::Object(BTreeMap::new()), secrets: Secrets::default() }
}

fn copy(event: &TargetValue) -> TargetValue {
    TargetValue {
        value: event.value.clone(),
        metadata: event.metadata.clone(),
        secrets: event.secrets.clone(),
    }
}

/// The object of a partner as an expression; what a record lacks is left out.
fn object(partner: &str, fields: &[(&str, Field)]) -> String {
    let members = fields.iter().map(|(name, field)| {
        let value = match field {
            ProfileField::PatronRef => pseudonym(partner),
            ProfileField::Path(first, rest) => path(first, rest),
            ProfileField::Object(first, parts) => {
                let parts = parts.iter().map(|part| (*part, path(first, &[part])));
                without_nulls(parts)
            }
            ProfileField::ScrubbedNote => note(),
        };
        (*name, value)
    });
    without_nulls(members)
}

fn without_nulls<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut source = "compact({".to_owned();
    for (name, value) in members {
        let _ = write!(source, "\n{name:?}: {value},");
    }
    source + "\n}, recursive: false, string: false, object: false, array: false)"
}

fn path(first: &str, rest: &[&str]) -> String {
    rest.iter().fold(format!(".{first}"), |path, part| path + "." + part)
}

fn pseudonym(partner: &str) -> String {
    let key = String::from_utf8(key_bytes(partner)).expect("the benches' keys are text");
    format!(
        r#"encode_base64(slice!(hmac("patron\0patron_id\0" + string!(.library) + "\0" + string!(.patron_id), {key:?}), 0, 16), padding: false, charset: "url_safe")"#
    )
}

fn note() -> String {
    let note = r#"(string(.note) ?? "")"#.to_owned();
    SCRUB_PATTERNS.iter().fold(note, |note, (name, expression)| {
        format!("replace({note}, r'{expression}', {name:?})")
    })
}
