//! The rules a third time: any policy, interpreted plainly over serde_json.
//!
//! Where `tests/reference` has the shipped recipients written out by hand, this
//! takes a policy as it was loaded and walks through it for every record: trees,
//! strings and loops, nothing compiled, nothing kept but what is known of
//! patrons and what they said. Forms, masks and detectors are the product's own (they have tests of
//! their own); reading, joining, conditions, needs, routes, keys, order and
//! writing are not.

mod field;
mod gate;
mod recipient;
mod tree;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use zeef::policy::Policy;
use zeef::policy::catalogue::{Kind, Role, Type};
use zeef::policy::recipient::Recipient;

pub use recipient::secret;

use field::{has_unlisted, look};
use gate::{About, Heard, Names, Said, decides, said};
use recipient::{View, needs};
use tree::{Fault, Tree};

/// What a record and its outputs may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub record_bytes: usize,
    pub depth: u32,
    pub keys: u32,
    pub output_bytes: usize,
}

/// A message on a source.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// None is Kafka's null.
    pub value: Option<Vec<u8>>,
}

impl Message {
    fn key_text(&self) -> Option<&str> {
        let key = std::str::from_utf8(self.key.as_deref()?).ok()?;
        (!key.is_empty()).then_some(key)
    }
}

#[derive(Clone, Debug)]
enum Known {
    Patron(Tree),
    Erased,
    Unreadable,
}

/// The policy as one lane, and the patrons that it was told of.
pub struct Model<'p> {
    policy: &'p Policy,
    bounds: Bounds,
    now_ms: i64,
    needs: Vec<Vec<recipient::Needed>>,
    names: Names,
    /// A consent or an objection was refused that names nobody: the lane stops.
    pub stopped: bool,
    patrons: HashMap<(i32, String), (i64, Known)>,
    /// By the patron and the kind of record.
    heard: HashMap<(i32, String, String), Heard>,
    /// The last version of each record.
    versions: HashMap<Identity, (Message, Tree)>,
}

/// A record, whatever its version: its kind, patron and id.
type Identity = (String, Option<String>, Option<String>);

/// What a message's value turned out to be.
enum Read {
    Erasure,
    Record(Tree),
}

impl<'p> Model<'p> {
    pub fn new(policy: &'p Policy, bounds: Bounds, now_ms: i64) -> Self {
        let recipients = policy.recipients.iter();
        Model {
            policy,
            bounds,
            now_ms,
            needs: recipients.map(|one| needs(policy, one)).collect(),
            names: Names::of(policy),
            stopped: false,
            patrons: HashMap::new(),
            heard: HashMap::new(),
            versions: HashMap::new(),
        }
    }

    /// Decides one message; a line for everything that comes of it, sorted.
    pub fn offer(&mut self, message: &Message) -> Vec<String> {
        let kind = self.policy.kind(&message.kind).unwrap();
        let mut said = match self.read(kind, message) {
            Err(reason) => self.refuse(kind, message, reason),
            Ok(Read::Erasure) => {
                self.learn(message, Known::Erased);
                self.end_epoch(message);
                self.withhold_all(kind, "patron_erased")
            }
            Ok(Read::Record(record)) => self.decide(kind, message, &record),
        };
        said.sort();
        said
    }

    /// What came before an erasure is of nobody: records and grants, but for the
    /// patron's own records, refusals and objections.
    fn end_epoch(&mut self, message: &Message) {
        let Some(id) = message.key_text() else {
            return;
        };
        let policy = self.policy;
        self.versions.retain(|(kind, ..), (version, _)| {
            let own = policy
                .kind(kind)
                .is_none_or(|kind| kind.role == Role::Patron || !kind.keyed);
            own || version.partition != message.partition || version.key_text() != Some(id)
        });
        let key = (message.partition, id.to_owned(), "consent".to_owned());
        if let Some(heard) = self.heard.get_mut(&key) {
            heard.end_epoch();
        }
    }

    fn read(&self, kind: &Kind, message: &Message) -> Result<Read, &'static str> {
        if kind.role == Role::Patron && is_foreign(message) {
            return Err("foreign_key");
        }
        let Some(bytes) = message.value.as_deref().filter(|bytes| !is_null(bytes)) else {
            return match (kind.role, message.key_text()) {
                (Role::Patron, Some(_)) => Ok(Read::Erasure),
                (Role::Patron, None) => Err("miskeyed"),
                _ => Err("null_value"),
            };
        };
        if bytes.len() > self.bounds.record_bytes {
            return Err("too_large");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "not_utf8")?;
        let record =
            tree::read(text, self.bounds.depth, self.bounds.keys).map_err(|fault| match fault {
                Fault::NotJson => "not_json",
                Fault::TooDeep => "too_deep",
                Fault::TooManyKeys => "too_many_keys",
            })?;
        if !matches!(record, Tree::Object(_)) {
            return Err("not_an_object");
        }
        let paths: Vec<&str> = kind.fields.iter().map(|field| &*field.path).collect();
        if kind.closed && has_unlisted(&record, &paths) {
            return Err("unlisted_field");
        }
        let mut identifiers = vec!["library", &kind.id];
        identifiers.extend(kind.keyed.then_some("patron_id"));
        for path in identifiers {
            if let Some(field) = kind.field(path)
                && look(&record, path, field.kind).text().is_none()
            {
                return Err("identifier");
            }
        }
        if kind.keyed {
            let patron_id = look(&record, "patron_id", Type::Text(None)).text();
            if message.key != patron_id.map(String::into_bytes) {
                return Err("miskeyed");
            }
        }
        Ok(Read::Record(record))
    }

    fn decide(&mut self, kind: &Kind, message: &Message, record: &Tree) -> Vec<String> {
        if kind.role == Role::Patron {
            self.learn(message, Known::Patron(record.clone()));
        }
        if kind.role == Role::Gate && decides(&kind.name) {
            match said(kind, &self.names, record) {
                Err((reason, _)) => return self.refuse(kind, message, reason),
                Ok(statement) => {
                    let patron = message.key_text().unwrap_or_default();
                    self.hear(kind, message, (patron, statement));
                }
            }
        }
        self.keep(kind, message, record);
        let mut said = Vec::new();
        for (index, recipient) in self.offered(kind) {
            let name = &recipient.name;
            match self.judge(kind, message, record, (index, recipient)) {
                Ok(Some((output, left_out))) => {
                    said.push(format!("released {output}"));
                    let letter = |_| dead_letter("national_number", Some(name));
                    said.extend(left_out.iter().map(letter));
                }
                Ok(None) => said.push(format!("{name} held")),
                Err(reason) => {
                    said.push(format!("{name} withheld {reason}"));
                    if reason == "malformed" || reason == "too_large" {
                        said.push(dead_letter(reason, Some(name)));
                    }
                }
            }
        }
        self.applied(kind, said)
    }

    /// The topic, key and value that a recipient gets of a record by what is
    /// known now, and the fields that were left out of it for a national number; none
    /// where the patron is not known.
    fn judge(
        &self,
        kind: &Kind,
        message: &Message,
        record: &Tree,
        (index, recipient): (usize, &Recipient),
    ) -> Result<Option<(String, BTreeSet<String>)>, &'static str> {
        let mut view = View {
            policy: self.policy,
            recipient,
            source: kind,
            record,
            patron: None,
            consents: self.heard(kind, message, "consent"),
            objections: self.heard(kind, message, "objection"),
            now_ms: self.now_ms,
            left_out: RefCell::default(),
        };
        if kind.role != Role::Patron && kind.keyed {
            match self.known(message) {
                Some(Known::Patron(tree)) => view.patron = Some(tree),
                Some(Known::Erased) => return Err("patron_erased"),
                Some(Known::Unreadable) | None => return view.judge_alone().map(|()| None),
            }
        }
        let output = view.judge(&self.needs[index], self.bounds.output_bytes)?;
        Ok(Some((output, view.left_out.take())))
    }

    /// Keeps the last version of a record.
    fn keep(&mut self, kind: &Kind, message: &Message, record: &Tree) {
        let text = |path: &str| look(record, path, Type::Text(None)).text();
        let patron_id = text("patron_id").filter(|_| kind.keyed);
        let key = (kind.name.clone(), patron_id, text(&kind.id));
        let version = (message.clone(), record.clone());
        self.versions.insert(key, version);
    }

    /// What `recipient` has by the last state of the sources, where all came in
    /// order: topic, key and value of each record.
    pub fn has(&self, recipient: &str) -> Vec<String> {
        let mut all = Vec::new();
        for ((name, ..), (message, record)) in &self.versions {
            let kind = self.policy.kind(name).unwrap();
            let is_known = matches!(self.known(message), Some(Known::Patron(_)));
            if kind.role == Role::Patron && !is_known {
                continue;
            }
            let offered = self.offered(kind).into_iter();
            for one in offered.filter(|(_, one)| one.name == recipient) {
                let output = self.judge(kind, message, record, one).ok().flatten();
                all.extend(output.map(|(output, _)| output));
            }
        }
        all.sort();
        all
    }

    /// What the patron of a record said by records of the kind `by`.
    fn heard(&self, kind: &Kind, message: &Message, by: &str) -> Option<&Heard> {
        let id = message.key_text().filter(|_| kind.keyed)?;
        let key = (message.partition, id.to_owned(), by.to_owned());
        self.heard.get(&key)
    }

    /// Hears what is said of a patron.
    fn hear(&mut self, kind: &Kind, message: &Message, (patron, said): (&str, Said)) {
        let key = (message.partition, patron.to_owned(), kind.name.clone());
        let heard = self.heard.entry(key).or_default();
        heard.hear(message.offset, said);
    }

    /// What is to be heard of a record that was refused, and of which patrons.
    fn misheard(
        &self,
        kind: &Kind,
        message: &Message,
        reason: &str,
    ) -> Option<(Vec<String>, Said)> {
        let bytes = message.value.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        let key = message
            .key_text()
            .filter(|key| !key.starts_with(['{', '[', '\0']));
        let mut patrons: Vec<String> = key
            .filter(|key| *key != "null")
            .map(str::to_owned)
            .into_iter()
            .collect();
        patrons.extend(key.and_then(|key| serde_json::from_str::<String>(key).ok()));
        if reason == "null_value" {
            return (kind.name == "consent").then_some((patrons, Said::EndGrants));
        }
        // Whatever stands around it, but no id of which a part is no text.
        let plain = text.replace('\0', "");
        for after in plain.split("\"patron_id\"").skip(1) {
            let value = after
                .trim_ascii_start()
                .strip_prefix(':')
                .unwrap_or_default();
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
            let named = values.next().and_then(Result::ok);
            patrons.extend(named.filter(|named| !named.contains('\u{fffd}')));
        }
        let parsed = [
            "identifier",
            "miskeyed",
            "unlisted_field",
            "malformed",
            "unclear",
        ];
        let tree = tree::read(&text, self.bounds.depth, self.bounds.keys);
        let said = match tree.ok().filter(|_| parsed.contains(&reason)) {
            Some(tree) => {
                patrons.extend(look(&tree, "patron_id", Type::Text(None)).text());
                match said(kind, &self.names, &tree) {
                    Ok(Said::Understood(spoken)) => (*spoken).misplaced(),
                    Ok(other) | Err((_, other)) => other,
                }
            }
            None => Said::Unreadable(None, About::anything()),
        };
        if let Said::Unreadable(_, about) = &said
            && about.is_nothing()
        {
            return None;
        }
        patrons.retain(|patron| !patron.is_empty());
        patrons.sort();
        patrons.dedup();
        Some((patrons, said))
    }

    /// The recipients of a kind, by their places in the policy.
    fn offered(&self, kind: &Kind) -> Vec<(usize, &'p Recipient)> {
        let all = self.policy.recipients.iter().enumerate();
        all.filter(|(_, one)| self.policy.kinds[one.source].name == kind.name)
            .collect()
    }

    fn known(&self, message: &Message) -> Option<&Known> {
        let key = (message.partition, message.key_text()?.to_owned());
        self.patrons.get(&key).map(|(_, known)| known)
    }

    /// Notes what is known of the patron of the key, unless newer is known.
    fn learn(&mut self, message: &Message, known: Known) {
        let Some(id) = message.key_text() else {
            return;
        };
        let key = (message.partition, id.to_owned());
        let newest = self.patrons.get(&key).map(|(offset, _)| *offset);
        if newest.is_none_or(|newest| newest <= message.offset) {
            self.patrons.insert(key, (message.offset, known));
        }
    }

    fn refuse(&mut self, kind: &Kind, message: &Message, reason: &str) -> Vec<String> {
        if kind.role == Role::Patron && reason != "foreign_key" {
            self.learn(message, Known::Unreadable);
        }
        if kind.role == Role::Gate
            && decides(&kind.name)
            && let Some((patrons, said)) = self.misheard(kind, message, reason)
        {
            self.stopped |= patrons.is_empty();
            for patron in patrons {
                self.hear(kind, message, (&patron, said.clone()));
            }
        }
        vec![format!("refused {reason}"), dead_letter(reason, None)]
    }

    fn withhold_all(&self, kind: &Kind, reason: &str) -> Vec<String> {
        let all = self.offered(kind).into_iter();
        let said = all.map(|(_, one)| format!("{} withheld {reason}", one.name));
        self.applied(kind, said.collect())
    }

    /// A record that is nobody's source is taken in all the same.
    fn applied(&self, kind: &Kind, mut said: Vec<String>) -> Vec<String> {
        if self.offered(kind).is_empty() {
            said.push("applied".to_owned());
        }
        said
    }
}

pub fn dead_letter(reason: &str, recipient: Option<&str>) -> String {
    format!("dead letter {reason} {}", recipient.unwrap_or("(whole)"))
}

/// Whether a key is JSON, quoted or binary: it names no patron.
fn is_foreign(message: &Message) -> bool {
    let key = message.key.as_deref().unwrap_or_default();
    let first = key.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|first| b"{[\"\0".contains(first))
}

/// The text `null` counts as Kafka's null.
fn is_null(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.trim_matches([' ', '\t', '\n', '\r']) == "null"
}
