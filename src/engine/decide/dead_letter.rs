//! Dead letters: a pointer and a reason, never a value.

use std::io::Write as _;

use crate::json::write;

/// The format version that every dead letter carries.
pub const FORMAT_VERSION: u32 = 1;

/// The position of a record that was refused, and why.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    pub lane: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Of the closed list of its lane: a [`Reason`](crate::policy::reason::Reason), or an intake's
    /// refusal.
    pub reason: &'a str,
    /// The kind of record that an intake did not write; `None` for other lanes, and a message
    /// that is refused whole.
    pub kind: Option<&'a str>,
    /// The recipient that does not get it; `None` if it is refused whole.
    pub recipient: Option<&'a str>,
    /// The field that was left out of the recipient's output; `None` if the output was. Of an
    /// intake: the field of `kind` that could not be filled.
    pub field: Option<&'a str>,
    pub policy_version: &'a str,
    /// The batch's time, RFC 3339 in UTC.
    pub time: &'a str,
}

impl DeadLetter<'_> {
    /// Appends the dead letter as one JSON object.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let member = |out: &mut Vec<u8>, name: &str, value: &str| {
            out.push(b',');
            write::string(out, name);
            out.push(b':');
            write::string(out, value);
        };
        let number = |out: &mut Vec<u8>, name: &str, value: i64| {
            // Writing to memory does not fail.
            let _ = write!(out, "\"{name}\":{value}");
        };
        out.push(b'{');
        number(out, "format", FORMAT_VERSION.into());
        member(out, "lane", self.lane);
        member(out, "topic", self.topic);
        out.push(b',');
        number(out, "partition", self.partition.into());
        out.push(b',');
        number(out, "offset", self.offset);
        member(out, "reason", self.reason);
        if let Some(kind) = self.kind {
            member(out, "kind", kind);
        }
        if let Some(recipient) = self.recipient {
            member(out, "recipient", recipient);
        }
        if let Some(field) = self.field {
            member(out, "field", field);
        }
        member(out, "policy_version", self.policy_version);
        member(out, "time", self.time);
        out.push(b'}');
    }
}
