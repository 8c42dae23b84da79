//! Dead letters: a pointer and a reason, never a value.

use std::io::Write as _;

use crate::json::write;
use crate::policy::reason::Reason;

/// The format version that every dead letter carries.
pub const FORMAT: u32 = 1;

/// Where a record lies that could not be decided, and why.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    pub lane: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub reason: Reason,
    /// The recipient it was refused for; `None` where it was refused whole.
    pub recipient: Option<&'a str>,
    /// The field of the recipient's output that it is about; `None` where it is
    /// about all of it.
    pub field: Option<&'a str>,
    pub policy_version: &'a str,
    /// The batch's time, RFC 3339 in UTC.
    pub time: &'a str,
}

impl DeadLetter<'_> {
    /// Appends the dead letter as one JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
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
        number(out, "format", FORMAT.into());
        member(out, "lane", self.lane);
        member(out, "topic", self.topic);
        out.push(b',');
        number(out, "partition", self.partition.into());
        out.push(b',');
        number(out, "offset", self.offset);
        member(out, "reason", self.reason.as_str());
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
