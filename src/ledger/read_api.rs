//! The read interface of Logboek Dataverwerkingen (extension 1.1.0): what is asked, and a line of
//! the ledger in its form.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::PatronScope;
use super::block::{Block, Line};
use super::keys::utc_year;
use super::register::Register;

/// The version of the interface.
pub const API_VERSION: &str = "1.1.0";
/// The attributes of an upstream's operation. The interface has no member for it, and the standard's
/// `foreign_operation` needs a link to the other party, which a `traceparent` does not name.
pub const FOREIGN_TRACE: &str = "zeef.foreign_operation.trace_id";
pub const FOREIGN_OPERATION: &str = "zeef.foreign_operation.operation_id";
/// A data subject by its reference, which another year makes another one.
pub const REFERENCE_TYPE: &str = "zeef-ledger-patron";
/// A data subject by the id that the library has.
pub const PATRON_TYPE: &str = "patron";

/// The body of a request. What is not known narrows an answer that zeef cannot narrow, so it is
/// refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestBody {
    #[serde(rename = "traceId")]
    trace_id: Option<String>,
    #[serde(rename = "startTime")]
    start_time: Option<i64>,
    #[serde(rename = "endTime")]
    end_time: Option<i64>,
    #[serde(rename = "dpl.core.processing_activity_id")]
    activity: Option<String>,
    #[serde(rename = "dpl.core.data_subject_id")]
    subject: Option<String>,
    #[serde(rename = "dpl.core.data_subject_id_type")]
    subject_type: Option<String>,
}

/// Whose lines are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSubject {
    /// As the library calls its patron.
    PatronId(String),
    /// As lines call a patron.
    Reference(String),
}

/// Which lines of one data subject are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadQuestion {
    pub subject: DataSubject,
    /// 32 hexadecimal digits.
    trace: Option<String>,
    /// In Unix milliseconds: neither begins before the first, nor ends after the second.
    start_ms: Option<i64>,
    end_ms: Option<i64>,
    /// An activity's URI.
    activity: Option<String>,
}

impl ReadQuestion {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a value of it.
    pub fn parse(body: &[u8]) -> Result<ReadQuestion, String> {
        let body: RequestBody = serde_json::from_slice(body).map_err(|_| {
            "the body must be a JSON object of traceId, startTime, endTime, \
             dpl.core.processing_activity_id, dpl.core.data_subject_id and \
             dpl.core.data_subject_id_type, and of nothing else"
                .to_owned()
        })?;
        let RequestBody { trace_id, start_time, end_time, activity, subject, subject_type } = body;
        let subject = subject.filter(|subject| !subject.is_empty()).ok_or_else(|| {
            "dpl.core.data_subject_id is missing: lines of one data subject are answered, and \
             never those of a time, an activity or a trace alone"
                .to_owned()
        })?;
        let subject = match subject_type.as_deref() {
            Some(PATRON_TYPE) => DataSubject::PatronId(subject),
            None | Some(REFERENCE_TYPE) => DataSubject::Reference(subject),
            Some(_) => {
                return Err(format!(
                    "dpl.core.data_subject_id_type must be `{PATRON_TYPE}`, for the library's id of \
                     a patron, or `{REFERENCE_TYPE}`, as in the answers"
                ));
            }
        };
        let trace = trace_id.map(|text| parse_uuid(&text).ok_or("traceId must be a UUID"));
        let trace = trace.transpose()?;
        Ok(ReadQuestion { subject, trace, start_ms: start_time, end_ms: end_time, activity })
    }

    /// Returns the lines of a block that are asked for, in the interface's form. The scope's patron
    /// is that of a question by the library's id.
    #[must_use]
    pub fn find_lines(&self, block: &Block<'_>, scope: &PatronScope<'_>) -> Vec<Value> {
        let time = milliseconds(block);
        let is_in_time = self.start_ms.is_none_or(|start| time >= start)
            && self.end_ms.is_none_or(|end| time <= end);
        if !is_in_time {
            return Vec::new();
        }
        let reference = match &self.subject {
            DataSubject::Reference(reference) => Some(reference.clone()),
            DataSubject::PatronId(_) => scope.reference_of(utc_year(block.time)),
        };
        let Some(reference) = reference else {
            return Vec::new();
        };
        let register = scope.register;
        let is_asked = |line: &&Line<'_>| {
            let id = block.activity_of(line);
            let uri = activity_uri(id, register);
            line.patron.as_deref() == Some(reference.as_str())
                && !scope.left_out.has_activity(id)
                && self.trace.as_deref().is_none_or(|trace| trace == line.trace)
                && self.activity.as_deref().is_none_or(|activity| activity == uri)
        };
        let asked = block.lines.iter().filter(is_asked);
        asked.map(|line| processing_activity(block, line, register)).collect()
    }
}

/// Returns the digits of a UUID, in lower case and without hyphens.
fn parse_uuid(text: &str) -> Option<String> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let is_right = |(at, byte): (usize, u8)| match HYPHENS.contains(&at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    let is_uuid = text.len() == 36 && text.bytes().enumerate().all(is_right);
    is_uuid.then(|| text.replace('-', "").to_ascii_lowercase())
}

/// Writes 32 hexadecimal digits as a UUID.
fn to_uuid(digits: &str) -> String {
    let part = |range| digits.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// The activity's URI, or its key where the register lacks it.
#[must_use]
pub fn activity_uri<'r>(id: &'r str, register: &'r Register) -> &'r str {
    let found = register.activities.get(id).map(|found| found.uri.as_str());
    found.filter(|uri| !uri.is_empty()).unwrap_or(id)
}

/// When a block's lines were decided, in Unix milliseconds.
#[must_use]
pub fn milliseconds(block: &Block<'_>) -> i64 {
    block.time.saturating_mul(1_000)
}

/// A processing of one data subject, or of none, as the interface has it. zeef knows the second in
/// which a batch was decided, so begin and end are one. A refusal is no error.
#[must_use]
pub fn processing_activity(block: &Block<'_>, line: &Line<'_>, register: &Register) -> Value {
    let mut attributes = json!({
        "dpl.core.processing_activity_id": activity_uri(block.activity_of(line), register),
        "zeef.chain": block.chain,
    });
    if let Some(patron) = &line.patron {
        attributes["dpl.core.data_subject_id"] = json!(patron);
        attributes["dpl.core.data_subject_id_type"] = json!(REFERENCE_TYPE);
    }
    if let Some(reason) = &line.reason {
        attributes["zeef.reason"] = json!(reason);
    }
    let fields: Vec<&str> = register.given_leaves(block.activity_of(line), line).collect();
    if !fields.is_empty() {
        attributes["zeef.fields"] = json!(fields);
    }
    if let Some(foreign) = &line.foreign_operation {
        attributes[FOREIGN_TRACE] = json!(foreign.trace);
        attributes[FOREIGN_OPERATION] = json!(foreign.operation);
    }
    let mut activity = json!({
        "traceId": to_uuid(&line.trace),
        "spanId": line.id,
        "status": "Unset",
        "name": <&str>::from(line.operation),
        "startTime": milliseconds(block),
        "endTime": milliseconds(block),
        "resource": { "attributes": { "service.name": "zeef" } },
        "attributes": attributes,
    });
    if let Some(parent) = &line.parent {
        activity["parentSpanId"] = json!(parent);
    }
    activity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_names_one_data_subject_and_nothing_unknown() {
        let by_id =
            r#"{"dpl.core.data_subject_id":"1042","dpl.core.data_subject_id_type":"patron"}"#;
        let question = ReadQuestion::parse(by_id.as_bytes()).unwrap();
        assert_eq!(question.subject, DataSubject::PatronId("1042".to_owned()));
        let by_reference = r#"{"dpl.core.data_subject_id":"AAAA","startTime":1,"endTime":2,"traceId":"EF4E77B9-b03b-585f-b613-5fcf8d8555fb"}"#;
        let question = ReadQuestion::parse(by_reference.as_bytes()).unwrap();
        assert_eq!(question.subject, DataSubject::Reference("AAAA".to_owned()));
        assert_eq!(question.trace.as_deref(), Some("ef4e77b9b03b585fb6135fcf8d8555fb"));
        for (body, want) in [
            ("{}", "data_subject_id is missing"),
            (r#"{"startTime":1,"endTime":2}"#, "data_subject_id is missing"),
            (r#"{"dpl.core.data_subject_id":""}"#, "data_subject_id is missing"),
            (
                r#"{"dpl.core.data_subject_id":"1","dpl.core.data_subject_id_type":"BSN"}"#,
                "`patron`",
            ),
            (r#"{"dpl.core.data_subject_id":"1","traceId":"12"}"#, "UUID"),
            (r#"{"dpl.core.data_subject_id":"1","library":"x"}"#, "nothing else"),
            (r#"{"dpl.core.data_subject_id":"1","startTime":"now"}"#, "nothing else"),
            ("[]", "JSON object"),
            ("", "JSON object"),
        ] {
            let error = ReadQuestion::parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(want), "{body}: {error}");
        }
    }

    #[test]
    fn uuid_is_written_as_it_is_read() {
        let text = "ef4e77b9-b03b-585f-b613-5fcf8d8555fb";
        assert_eq!(to_uuid(&parse_uuid(text).unwrap()), text);
        for other in ["", "ef4e77b9b03b585fb6135fcf8d8555fb", &text.replace('f', "g"), "é"] {
            assert_eq!(parse_uuid(other), None, "{other}");
        }
    }
}
