//! A second, independent implementation of the rules, for tests only.
//!
//! It is plain and slow: every record becomes a tree, every recipient is
//! written out by hand, nothing is configured. It never uses code of the
//! product, so that the two can be compared.
//!
//! [`Model::offer`] decides each record once, on arrival, by the patrons, the
//! consents and the objections as they then are. What a recipient has, and what
//! is taken back from it, `tests/convergence` adds to this.
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
//! | countries | the first two characters of the ISIL, whatever the record says; an address's country is compared as written: `nl` or `Nederland` is another country |
//! | a value that is none of its list | as if it were not there: no condition fits, outputs leave it out |
//! | a surname without a letter, with a prefix, outside NL | the whole name counts, so the prefix's letters show |
//! | one or two letters | of the name that counts: after the particle (NL), prefix included (others) |
//! | IJ with accents on it (`Í` + `J́`) | the first letter alone |
//! | digits | characters of category Nd |
//! | a patron's national numbers, which no value of an output may have | the digits of the field as they stand, in any script, whatever its form, also of a JSON number, if there are eight or more; zeros at the start do not count as far as eight digits are left. They are looked for one behind the other among all digits of a string or a number, and that is left out: a field, a part of an object, an element, a line. A field that cannot be read forbids what is, with all its digits, any such number. Pseudonyms are keyed hashes, in which no number can be |
//! | a Belgian library | its ISIL begins with `BE` |
//! | card and rijksregisternummer | the digits of both, in any script, as they stand; no digits at all are never equal |
//! | title and branch on the slip | as written, but that a run of line breaks or tabs is a space, and none at the ends, and that other control characters go, and those that turn the direction of writing; left out where white space and format characters are all there is then. The fields beside it are copied even then |
//! | a slip of nothing | its one empty line is still sent |
//! | an output without any field | is released as `{}` |
//! | reasons of one recipient | the library, its conditions in the order of the rules (a malformed one is `malformed`, the rest is not looked at), any malformed need, then the gates as in `Case::gates` |
//! | a record of an unknown patron | held, unless the library it names or a condition on the record alone withholds it; the others of its needs are not looked at |
//! | the retention of patrons | nobody needs `membership.status` and `membership.ends_on` for it: malformed, they count as missing; no status is not active |
//! | a term from `membership.ends_on` while the status is active | does not run at all, also where the date is missing |
//! | a consent's or objection's field of the wrong type | only those that decide: purpose, recipient, decision, manner, `at`; kind, purpose, status |
//! | an objection to marketing | needs nothing but its kind; what else is wrong in it is not looked at |
//! | a consent or an objection that is not understood | those before it are kept; it stops until a version of it can be read, and for ever where its id could not be |
//! | what it may be about | a consent: the purpose and recipient that it names, each where it is known and any where it is not understood; a purpose that nobody has is nothing. An objection: all that objections can stop |
//! | a refusal of a purpose for which nobody asks consent | stops as an objection does, and a recipient of marketing too; no later grant lifts it, only a version of itself |
//! | consents and objections of an erased patron | stay, should the patron return |
//! | the stages of a debt | two at the same moment are in order; `referred_at` may be missing |
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
pub mod gate;
pub mod golden;
pub mod inspect;
pub mod json;
pub mod mask;
pub mod nasty;
pub mod recipient;

use std::collections::{BTreeMap, HashMap};

use field::{Found, look};
use form::Moment;
use gate::{MALFORMED, Names, Retention, Said, UNCLEAR};
use json::{Fault, Node};
use recipient::{Output, RECIPIENTS, Recipient, View};

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
    Released {
        key: String,
        value: Vec<u8>,
    },
    Withheld(&'static str),
    /// Its patron is not known yet.
    Held,
    Refused(&'static str),
    Applied,
}

/// A patron that was heard of. One that was not, or whose record was refused,
/// is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patron {
    Known(Node),
    Erased,
}

/// A message that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Erasure { patron_id: String },
    Record(Record),
}

/// A record that is not refused whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub source: &'static str,
    pub id: String,
    pub patron_id: String,
    pub library: String,
    pub node: Node,
    /// When it came to its source, in milliseconds.
    pub came_ms: i64,
}

/// The last state of the gate sources.
#[derive(Clone, Debug)]
pub struct Facts {
    pub patrons: HashMap<String, Patron>,
    pub said: HashMap<String, Said>,
    /// When each patron was erased last, in milliseconds.
    pub erased_ms: HashMap<String, i64>,
    /// When the last message came.
    pub came_ms: i64,
    /// How many came one after the other, without a time.
    pub count: i64,
    /// What consents and objections may name.
    pub names: Names,
    /// How many partitions there are: a record that is not understood says
    /// something of patrons in its own alone.
    pub partitions: i32,
}

impl Default for Facts {
    fn default() -> Self {
        let all = || RECIPIENTS.iter();
        Facts {
            patrons: HashMap::new(),
            said: HashMap::new(),
            names: Names {
                purposes: all().map(|one| one.purpose).collect(),
                recipients: all().map(|one| one.name).collect(),
                asked: all().filter_map(|one| Some(one.consent?.purpose)).collect(),
            },
            partitions: 1,
            erased_ms: HashMap::new(),
            came_ms: 0,
            count: 0,
        }
    }
}

/// Before any time that a record can name: where messages have none of their own,
/// only their order counts.
const EARLY_MS: i64 = -63_000_000_000_000;

impl Facts {
    /// Reads one message, and keeps what it says of its patron.
    ///
    /// # Errors
    ///
    /// Why it is refused whole. The patron that its key names is then unknown,
    /// or what that patron says unreadable.
    pub fn take(
        &mut self,
        source: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Message, &'static str> {
        self.count += 1;
        self.take_at(source, key, value, EARLY_MS + self.count)
    }

    /// The same of a message that came to its source at a given time: what lies on
    /// one source comes in its order, whatever lies on others.
    ///
    /// # Errors
    ///
    /// As [`Facts::take`].
    pub fn take_at(
        &mut self,
        source: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        came_ms: i64,
    ) -> Result<Message, &'static str> {
        self.came_ms = came_ms;
        let kept = read(source, key, value).and_then(|message| self.keep(message));
        if let Err(reason) = kept
            && !is_foreign(source, key)
        {
            match source {
                "patron" => {
                    if let Some(patron_id) = patron_of(key) {
                        self.patrons.remove(patron_id);
                    }
                }
                "consent" | "objection" => self.misunderstood(source, reason, (key, value)),
                _ => {}
            }
        }
        kept
    }

    /// A consent or an objection that is not understood stops what it may be
    /// about, for whom it names; a null ends grants.
    fn misunderstood(
        &mut self,
        source: &str,
        reason: &str,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
    ) {
        let node = node_of(reason, value);
        let id = identifier(&node, own_id(source)).ok();
        let names = self.names.clone();
        for patron in self.named(reason, key, value) {
            let said = self.said_by(&patron);
            match (reason, source) {
                ("null_value", "consent") => said.end_grants(),
                ("null_value", _) => {}
                _ => said.unreadable(source, id.clone(), &node, &names),
            }
        }
    }

    /// The patrons in this partition that a consent or an objection names which
    /// was refused.
    pub fn named(&self, reason: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<String> {
        let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let mut patrons = named_by_key(key);
        // Whatever stands around it, also in UTF-16.
        let plain = text.replace('\0', "");
        let members = plain.split("\"patron_id\"").skip(1);
        patrons.extend(members.filter_map(string_of_member));
        patrons.extend(identifier(&node_of(reason, value), "patron_id").ok());
        let lies_here = |patron: &String| {
            self.partition(patron.as_bytes()) == self.partition(key.unwrap_or_default())
        };
        patrons.retain(|patron| !patron.is_empty() && lies_here(patron));
        patrons
    }

    /// Where a patron of this id lies.
    fn partition(&self, id: &[u8]) -> i32 {
        let last = id.last().copied().unwrap_or_default();
        i32::from(last) % self.partitions.max(1)
    }

    fn keep(&mut self, mut message: Message) -> Result<Message, &'static str> {
        let came_ms = self.came_ms;
        if let Message::Record(record) = &mut message {
            record.came_ms = came_ms;
        }
        match &message {
            Message::Erasure { patron_id } => {
                let erased_ms = self.erased_ms.entry(patron_id.clone()).or_insert(came_ms);
                *erased_ms = came_ms.max(*erased_ms);
                self.patrons.insert(patron_id.clone(), Patron::Erased);
            }
            Message::Record(record) if record.source == "patron" => {
                let known = Patron::Known(record.node.clone());
                self.patrons.insert(record.patron_id.clone(), known);
            }
            Message::Record(record) if matches!(record.source, "consent" | "objection") => {
                let names = self.names.clone();
                let said = self.said_by(&record.patron_id);
                said.keep(
                    record.source,
                    (record.id.clone(), came_ms),
                    (&record.node, &names),
                )?;
            }
            Message::Record(_) => {}
        }
        Ok(message)
    }

    fn said_by(&mut self, patron_id: &str) -> &mut Said {
        self.said.entry(patron_id.to_owned()).or_default()
    }
}

/// What one recipient's rules say of one record.
pub enum Judgement {
    Held,
    Withheld(&'static str),
    /// The record is as the recipient asks, but these gates are shut, in the
    /// order of their reasons.
    Shut(Vec<&'static str>),
    Released(Output),
}

/// One record, one recipient, one moment.
pub struct Case<'a> {
    pub facts: &'a Facts,
    pub recipient: &'static Recipient,
    pub key: &'a [u8],
    pub record: &'a Record,
    pub now_ms: i64,
    /// When the record was decided for the first time.
    pub first_ms: i64,
}

impl Case<'_> {
    pub fn judge(&self) -> Judgement {
        if self.is_former() {
            return Judgement::Withheld("patron_erased");
        }
        match self.facts.patrons.get(&self.record.patron_id) {
            Some(Patron::Erased) => Judgement::Withheld("patron_erased"),
            Some(Patron::Known(patron)) => {
                self.of_known(patron).unwrap_or_else(Judgement::Withheld)
            }
            None => self
                .of_unknown()
                .map_or_else(Judgement::Withheld, |()| Judgement::Held),
        }
    }

    /// Whether the record is of whoever had the id before an erasure. A patron's own
    /// records replace each other in any case.
    fn is_former(&self) -> bool {
        let erased_ms = self.facts.erased_ms.get(&self.record.patron_id);
        let later = |erased_ms: &i64| self.record.came_ms > *erased_ms;
        self.record.source != "patron" && !erased_ms.is_none_or(later)
    }

    fn of_unknown(&self) -> Result<(), &'static str> {
        self.serves(&self.record.library)?;
        let view = self.view(&Node::Null);
        let own = |path: &str| !path.starts_with("patron.");
        let conditions = self.recipient.when.iter();
        conditions
            .filter(|condition| own(condition.path()))
            .try_for_each(|condition| view.meets(condition))
    }

    fn of_known(&self, patron: &Node) -> Result<Judgement, &'static str> {
        let Found::Text(library) = look(patron, "library") else {
            panic!("a known patron has a library");
        };
        self.serves(&self.record.library)?;
        self.serves(&library)?;
        if self.record.library != library && self.recipient.source != "ill_request" {
            return Err("library_conflict");
        }
        let view = self.view(patron);
        for condition in self.recipient.when {
            view.meets(condition)?;
        }
        for need in self.recipient.needs {
            if view.find(need) == Found::Malformed {
                return Err("malformed");
            }
        }
        self.is_month_over(&view)?;
        let shut = self.gates(&view, &library);
        Ok(match shut.is_empty() {
            true => {
                let output = (self.recipient.project)(&view);
                let authorised = self.is_authorised();
                Judgement::Released(output.without(&inspect::of_patron(patron, authorised)))
            }
            false => Judgement::Shut(shut),
        })
    }

    /// The month of the record is over, in UTC; a record of no month never goes out.
    fn is_month_over(&self, view: &View<'_>) -> Result<(), &'static str> {
        let Some(of) = self.recipient.period else {
            return Ok(());
        };
        let moment = view.text(of).as_deref().and_then(gate::moment);
        let moment = moment.ok_or("condition")?;
        let now = Moment::from_millis(self.now_ms);
        match moment.month() < now.month() {
            true => Ok(()),
            false => Err("period_open"),
        }
    }

    fn view<'a>(&'a self, patron: &'a Node) -> View<'a> {
        View {
            record: &self.record.node,
            patron,
            recipient: self.recipient,
            key: self.key,
        }
    }

    /// Whether the recipient may have the Belgian national number now.
    fn is_authorised(&self) -> bool {
        let now = Moment::from_millis(self.now_ms);
        let paper = self.recipient.authorisation;
        paper.is_some_and(|paper| paper.in_force(&now))
    }

    fn serves(&self, library: &str) -> Result<(), &'static str> {
        let served = self.recipient.libraries;
        let serves = served.is_empty() || served.contains(&library);
        serves.then_some(()).ok_or("library")
    }

    /// The gates that are shut, in the order in which they are given as reasons.
    fn gates(&self, view: &View<'_>, library: &str) -> Vec<&'static str> {
        let recipient = self.recipient;
        let now = Moment::from_millis(self.now_ms);
        let nothing = Said::default();
        let said = self.facts.said.get(&self.record.patron_id);
        let erased_ms = self.facts.erased_ms.get(&self.record.patron_id);
        let said = said.unwrap_or(&nothing).since(erased_ms.copied());
        let asks = gate::Question {
            recipient,
            names: &self.facts.names,
            library,
            now: &now,
        };
        let moment = |path: &str| view.text(path).as_deref().and_then(gate::moment);

        let mut shut = Vec::new();
        if recipient
            .agreement
            .is_some_and(|paper| !paper.in_force(&now))
        {
            shut.push("agreement_lapsed");
        }
        if recipient
            .authorisation
            .is_some_and(|paper| !paper.in_force(&now))
        {
            shut.push("authorisation_lapsed");
        }
        shut.extend(said.against(asks));
        if let Some(gate) = recipient.consent {
            let implied = gate.implied_by.and_then(moment);
            shut.extend(said.without_consent(asks, implied.as_ref()));
        }
        let stages: Vec<Moment> = recipient
            .stages
            .iter()
            .copied()
            .filter_map(moment)
            .collect();
        if !stages.is_sorted() {
            shut.push("stages");
        }
        if recipient.loan_history
            && view.find("patron.loan_history") == Found::Bool(false)
            && view.text("status").as_deref() == Some("returned")
        {
            shut.push("loan_history_off");
        }
        let active = view.text("patron.membership.status").as_deref() == Some("active");
        let ended = moment("patron.membership.ends_on").filter(|_| !active);
        if !recipient.outlives
            && ended
                .as_ref()
                .is_some_and(|at| at.after(PATRON_TERM) <= now)
        {
            shut.push("patron_lapsed");
        }
        let Retention { term, from, .. } = recipient.retention;
        let start = moment(from).unwrap_or(Moment::from_millis(self.first_ms));
        let runs = !(active && from == "patron.membership.ends_on");
        if runs && start.after(term) <= now {
            shut.push("lapsed");
        }
        shut
    }
}

/// How long patrons are kept after the end of their membership (R01).
pub const PATRON_TERM: form::Term = form::Term::years(2);

/// The rules, and what they were told of patrons.
pub struct Model {
    keys: BTreeMap<&'static str, Vec<u8>>,
    now_ms: i64,
    facts: Facts,
}

impl Model {
    /// Starts without patrons; `keys` must name each recipient.
    pub fn new(keys: BTreeMap<&'static str, Vec<u8>>, now_ms: i64) -> Self {
        Model {
            keys,
            now_ms,
            facts: Facts::default(),
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
        match self.facts.take(source, key, value) {
            Err(reason) => whole(Outcome::Refused(reason)),
            Ok(Message::Erasure { .. }) => each(source, |_| Outcome::Withheld("patron_erased")),
            Ok(Message::Record(_)) if matches!(source, "consent" | "objection") => {
                whole(Outcome::Applied)
            }
            Ok(Message::Record(record)) => each(source, |recipient| {
                let case = Case {
                    facts: &self.facts,
                    recipient,
                    key: self.keys.get(recipient.name).expect("a key for each"),
                    record: &record,
                    now_ms: self.now_ms,
                    first_ms: self.now_ms,
                };
                case.judge().outcome()
            }),
        }
    }
}

impl Judgement {
    fn outcome(self) -> Outcome {
        match self {
            Judgement::Held => Outcome::Held,
            Judgement::Withheld(reason) => Outcome::Withheld(reason),
            Judgement::Shut(shut) => Outcome::Withheld(shut[0]),
            Judgement::Released(output) => Outcome::Released {
                value: output.json().into_bytes(),
                key: output.key,
            },
        }
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

const SOURCES: &[&str] = &[
    "patron",
    "loan",
    "reservation",
    "ill_request",
    "debt",
    "consent",
    "objection",
];

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

/// Whether a patron's key is that of a connector which writes JSON, quotes or
/// binary: it names nobody.
fn is_foreign(source: &str, key: Option<&[u8]>) -> bool {
    let key = key.unwrap_or_default().trim_ascii_start();
    source == "patron"
        && [b"{", b"[", b"\"", b"\0"]
            .iter()
            .any(|sign| key.starts_with(*sign))
}

/// Reads a message up to what would refuse it whole.
fn read(source: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Message, &'static str> {
    if is_foreign(source, key) {
        return Err("foreign_key");
    }
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
    let key = patron_of(key);
    match node {
        Node::Null if source == "patron" => {
            let patron_id = key.ok_or("miskeyed")?.to_owned();
            Ok(Message::Erasure { patron_id })
        }
        Node::Null => Err("null_value"),
        Node::Object(_) => {
            let patron_id = identifier(&node, "patron_id")?;
            let library = identifier(&node, "library")?;
            let id = identifier(&node, own_id(source))?;
            if key != Some(patron_id.as_str()) {
                return Err("miskeyed");
            }
            let source = SOURCES.iter().find(|known| **known == source);
            Ok(Message::Record(Record {
                source: source.expect("a source"),
                id,
                patron_id,
                library,
                node,
                came_ms: 0,
            }))
        }
        _ => Err("not_an_object"),
    }
}

/// The patron that a key names.
fn patron_of(key: Option<&[u8]>) -> Option<&str> {
    key.and_then(|key| std::str::from_utf8(key).ok())
        .filter(|key| !key.is_empty())
}

/// A record that was refused, where it could be read.
fn node_of(reason: &str, value: Option<&[u8]>) -> Node {
    let text = String::from_utf8_lossy(value.unwrap_or_default());
    let was_read = matches!(reason, "identifier" | "miskeyed" | MALFORMED | UNCLEAR);
    let node = json::read(&text).ok().filter(|_| was_read);
    node.unwrap_or(Node::Null)
}

/// The patron that a key names as it stands, or within the quotes of JSON; no
/// object, list or null names one.
fn named_by_key(key: Option<&[u8]>) -> Vec<String> {
    let Some(key) = patron_of(key) else {
        return Vec::new();
    };
    match json::read(key) {
        Ok(Node::Text(inner)) => vec![key.to_owned(), inner.chars],
        Ok(Node::Null) => Vec::new(),
        _ if key.trim_start().starts_with(['{', '[', '\0']) => Vec::new(),
        _ => vec![key.to_owned()],
    }
}

/// The string that follows the name of a member.
fn string_of_member(rest: &str) -> Option<String> {
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let ends = value.char_indices().skip(1).filter(|(_, c)| *c == '"');
    let mut whole = ends.filter_map(|(at, _)| json::read(&value[..=at]).ok());
    match whole.next()? {
        Node::Text(text) if !text.lone => Some(text.chars),
        _ => None,
    }
}

fn identifier(node: &Node, name: &str) -> Result<String, &'static str> {
    match look(node, name) {
        Found::Text(text) => Ok(text),
        _ => Err("identifier"),
    }
}
