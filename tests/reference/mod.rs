//! A second, independent implementation of the rules, for tests only.
//!
//! It is plain and slow: every record becomes a tree, every recipient is
//! written out by hand, nothing is configured. It never uses code of the
//! product, so that the two can be compared.
//!
//! It decides each record once, on arrival, by the patrons as they then are.
//! It does not know retraction, retention, consent records or objections; of
//! these last two it only checks identifiers and key.
//!
//! Where the rules can be read in two ways, this is how they are read here:
//!
//! | question | reading |
//! |---|---|
//! | several reasons to refuse a whole record | size, UTF-8, then JSON, depth and keys as a reader meets them, null, object, identifiers, key |
//! | depth 64, 4,096 keys, 1 MiB | the record's own object is depth 1; each of these is still allowed; twins are counted both; size is of the value alone |
//! | a byte order mark | is no JSON |
//! | null on the patron source | erases, also as the text `null`; each recipient of the source withholds it, `patron_erased` |
//! | null without a key, or with an empty key or one that is not UTF-8 | names no patron: `miskeyed` |
//! | a refused patron record | makes its key's patron unknown, also one that was erased, also where only the key is wrong |
//! | an empty string in place of a number, boolean, object or list | missing, not malformed |
//! | an object or list in place of a scalar (or of each other) | missing where nothing but null, `""`, `{}`, `[]` is in it, else the wrong type |
//! | a null or empty entry of a list of objects | left out; any other entry that is no object makes the list malformed |
//! | an entry of `items` with none of the three released fields | left out |
//! | an object that stands twice (`item`, `membership`) | malformed for each recipient that needs anything in it; so is a field that is null twice |
//! | a lone surrogate in a field's name | an unknown field |
//! | 1e-999 | inside the double range (it is zero); -0 is an integer and copied so |
//! | which fields are dates and instants | `*_on`, `birth_date`, `needed_by`; `*_at` |
//! | instants | capital `T` and `Z` only, year 0001 or later, any digits of fraction, offsets up to 23:59, `-00:00` too |
//! | `mobile` | has the form of a phone; a `postcode` has none, but for its area |
//! | the first two letters of the ISIL | its first two characters, so `NLX-1` is NL |
//! | countries | compared as written: `nl` or `Nederland` is another country |
//! | a surname without a letter, with a prefix, outside NL | the whole name counts, so the prefix's letters show |
//! | one or two letters | of the name that counts: after the particle (NL), prefix included (others) |
//! | IJ with accents on it (`Í` + `J́`) | the first letter alone |
//! | digits | characters of category Nd |
//! | card and rijksregisternummer | the digits of both, in any script, as they stand; no digits at all are never equal |
//! | title and branch on the slip | as written; left out where white space and format characters are all there is. The fields beside it are copied even then |
//! | a slip of nothing | its one empty line is still sent |
//! | an output without any field | is released as `{}` |
//! | reasons of one recipient | the library, its conditions in the order of the rules (a malformed one is `malformed`, the rest is not looked at), any malformed need, consent or loan history |
//! | white space around a postcode | Unicode's; format characters stay and make it unfit |
//! | an address's country of white space | names another country |
//! | a returned loan | its status says so; `returned_at` does not count |
//! | `loan_history` missing | is not off |
//! | a record of an institution | only the kb recipients and statistics ask for a person |
//! | kb-membership's order | the recognition set with `birth_date` in the seventh place, then the rest as listed |
//! | an output over a size limit | not judged here |
#![allow(dead_code, reason = "each test binary uses a part of the model")]
#![allow(clippy::expect_used, reason = "a test model may stop a test")]

pub mod field;
pub mod form;
pub mod golden;
pub mod json;
pub mod mask;
pub mod nasty;
pub mod recipient;

use std::collections::{BTreeMap, HashMap};

use field::{Found, look};
use form::Moment;
use json::{Fault, Node};
use recipient::{RECIPIENTS, Recipient, View};

/// A value may have this many bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// What was decided of one record, for one recipient or as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Nobody: it is about the whole record.
    pub recipient: Option<&'static str>,
    pub outcome: Outcome,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Released { key: String, value: Vec<u8> },
    Withheld(&'static str),
    Refused(&'static str),
    Applied,
}

enum Patron {
    Known(Node),
    Erased,
}

enum Message {
    Erasure { patron_id: String },
    Record { patron_id: String, node: Node },
}

/// The rules, and the patrons that they were told of.
pub struct Model {
    keys: BTreeMap<&'static str, Vec<u8>>,
    now_ms: i64,
    patrons: HashMap<String, Patron>,
}

impl Model {
    /// Starts without patrons; `keys` must name each recipient.
    pub fn new(keys: BTreeMap<&'static str, Vec<u8>>, now_ms: i64) -> Self {
        Model {
            keys,
            now_ms,
            patrons: HashMap::new(),
        }
    }

    /// Starts with the same key for each recipient.
    pub fn with_key(key: &[u8], now_ms: i64) -> Self {
        let keys = RECIPIENTS
            .iter()
            .map(|recipient| (recipient.name, key.to_vec()))
            .collect();
        Model::new(keys, now_ms)
    }

    /// Decides one message, in the order of [`RECIPIENTS`].
    pub fn offer(
        &mut self,
        source: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Vec<Verdict> {
        match read(source, key, value) {
            Err(reason) => {
                if source == "patron" {
                    self.forget(key);
                }
                whole(Outcome::Refused(reason))
            }
            Ok(Message::Erasure { patron_id }) => {
                self.patrons.insert(patron_id, Patron::Erased);
                each(source, |_| Outcome::Withheld("patron_erased"))
            }
            Ok(Message::Record { patron_id, node }) => self.decide(source, patron_id, node),
        }
    }

    fn forget(&mut self, key: Option<&[u8]>) {
        if let Some(patron_id) = key.and_then(|key| std::str::from_utf8(key).ok()) {
            self.patrons.remove(patron_id);
        }
    }

    fn decide(&mut self, source: &str, patron_id: String, record: Node) -> Vec<Verdict> {
        match source {
            "consent" | "objection" => return whole(Outcome::Applied),
            "patron" => {
                let known = Patron::Known(record.clone());
                self.patrons.insert(patron_id.clone(), known);
            }
            _ => {}
        }
        match self.patrons.get(&patron_id) {
            None => whole(Outcome::Refused("patron_unknown")),
            Some(Patron::Erased) => each(source, |_| Outcome::Withheld("patron_erased")),
            Some(Patron::Known(patron)) => each(source, |recipient| {
                self.judge(recipient, &record, patron)
                    .unwrap_or_else(Outcome::Withheld)
            }),
        }
    }

    fn judge(
        &self,
        recipient: &'static Recipient,
        record: &Node,
        patron: &Node,
    ) -> Result<Outcome, &'static str> {
        let same_library = look(record, "library") == look(patron, "library");
        if !same_library && recipient.source != "ill_request" {
            return Err("library_conflict");
        }
        let view = View {
            record,
            patron,
            needs: recipient.needs,
            key: self.keys.get(recipient.name).expect("a key for each"),
            now: Moment::from_millis(self.now_ms),
        };
        (recipient.conditions)(&view)?;
        for need in recipient.needs {
            if view.find(need) == Found::Malformed {
                return Err("malformed");
            }
        }
        (recipient.gate)(&view)?;
        let output = (recipient.project)(&view);
        Ok(Outcome::Released {
            value: output.json().into_bytes(),
            key: output.key,
        })
    }
}

fn whole(outcome: Outcome) -> Vec<Verdict> {
    vec![Verdict {
        recipient: None,
        outcome,
    }]
}

fn each(source: &str, outcome: impl Fn(&'static Recipient) -> Outcome) -> Vec<Verdict> {
    RECIPIENTS
        .iter()
        .filter(|recipient| recipient.source == source)
        .map(|recipient| Verdict {
            recipient: Some(recipient.name),
            outcome: outcome(recipient),
        })
        .collect()
}

/// Names the field that is a record's own id.
pub fn own_id(source: &str) -> &'static str {
    match source {
        "patron" => "patron_id",
        "loan" => "loan_id",
        "reservation" => "reservation_id",
        "ill_request" => "request_id",
        "debt" => "debt_id",
        "consent" => "consent_id",
        "objection" => "objection_id",
        _ => panic!("no such source"),
    }
}

/// Reads a message up to what would refuse it whole.
fn read(source: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Message, &'static str> {
    let node = match value {
        None => Node::Null,
        Some(bytes) if bytes.len() > RECORD_BYTES_MAX => return Err("too_large"),
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "not_utf8")?;
            json::read(text).map_err(|fault| match fault {
                Fault::Syntax => "not_json",
                Fault::Depth => "too_deep",
                Fault::Keys => "too_many_keys",
            })?
        }
    };
    let key = key
        .and_then(|key| std::str::from_utf8(key).ok())
        .filter(|key| !key.is_empty());
    match node {
        Node::Null if source == "patron" => {
            let patron_id = key.ok_or("miskeyed")?.to_owned();
            Ok(Message::Erasure { patron_id })
        }
        Node::Null => Err("null_value"),
        Node::Object(_) => {
            let patron_id = identifier(&node, "patron_id")?;
            identifier(&node, "library")?;
            identifier(&node, own_id(source))?;
            if key != Some(patron_id.as_str()) {
                return Err("miskeyed");
            }
            Ok(Message::Record { patron_id, node })
        }
        _ => Err("not_an_object"),
    }
}

fn identifier(node: &Node, name: &str) -> Result<String, &'static str> {
    match look(node, name) {
        Found::Text(text) => Ok(text),
        _ => Err("identifier"),
    }
}
