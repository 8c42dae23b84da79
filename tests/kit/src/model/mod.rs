//! A second implementation of the rules: one plain interpreter for any policy.
//!
//! It reads [`Policy`] as data. JSON, forms, masks, pseudonyms, terms and gates are its
//! own; only the detectors of free text are the product's, which has tests of their own
//! for them.
//!
//! [`PolicyModel::decide_message`] decides a record once, on arrival, by the patrons,
//! consents and objections as they then are. [`crate::convergence_model`] adds what a
//! recipient has in the end.
//!
//! Where the rules can be read in two ways, this is how they are read here:
//!
//! | question | reading |
//! |---|---|
//! | several reasons to refuse a whole record | size, UTF-8, then JSON, depth and keys as a reader meets them, null, object, closed kind, identifiers, key |
//! | limits | the record's own object is depth 1; the limit itself is allowed; repeated keys count each time; size is of the value alone |
//! | a byte order mark | is no JSON |
//! | null on the patron source | erases, also as the text `null`; each recipient of the source withholds it, `patron_erased` |
//! | null without a key, or with an empty key or one that is not UTF-8 | names no patron: `miskeyed` |
//! | a refused patron record | makes its key's patron unknown, also one that was erased, also if only the key is wrong |
//! | an empty string in place of a number, boolean, object or list | missing, not malformed |
//! | an object or list in place of a scalar (or of each other) | missing if nothing but null, `""`, `{}`, `[]` is in it, else malformed |
//! | a null or empty entry of a list of objects | left out; any other entry that is no object makes the list malformed |
//! | an object of a list with none of the released fields | left out |
//! | a field that stands twice | malformed for each recipient that needs anything in it, also if both are null |
//! | a lone surrogate in a field's name | an unknown field |
//! | 1e-999 | inside the double range (it is zero); -0 is an integer and copied so |
//! | instants | capital `T` and `Z` only, year 0001 or later, any digits of fraction, offsets up to 23:59, `-00:00` too |
//! | the first two letters of the ISIL | its first two characters, so `NLX-1` is NL |
//! | countries | the first two characters of the ISIL, whatever the record says; an address's country is compared as written: `nl` or `Nederland` is another country |
//! | a value outside its field's list | missing |
//! | a surname without a letter, with a prefix, outside NL | the whole name counts, so the prefix's letters show |
//! | one or two letters | of the name that counts: after the particle (NL), prefix included (others) |
//! | IJ with accents on it (`Í` + `J́`) | the first letter alone |
//! | digits | characters of category Nd |
//! | a patron's national numbers, which no value of an output may have | the digits of the field as they stand, in any script, whatever its form, also of a JSON number, if there are eight or more; leading zeros do not count as far as eight digits are left. They are looked for one behind the other among all digits of a string or a number, and that is left out: a field, a part of an object, an element, a line. A field that cannot be read forbids what is, with all its digits, any such number. Pseudonyms are keyed hashes, in which no number can be |
//! | a Belgian library | its ISIL begins with `BE` |
//! | card and rijksregisternummer | the digits of both, in any script, as they stand; no digits at all are never equal |
//! | lines of a slip | a run of line breaks or tabs is a space, none at the ends; other control characters and those that turn the direction of writing go; a line of white space and format characters is left out, its field is not |
//! | a slip of nothing | its one empty line is still sent |
//! | an output without any field | is released as `{}` |
//! | reasons of one recipient | the library, its conditions in the order of the file (a malformed one is `malformed`, the rest is not looked at), any malformed need, the period, then the gates as in `RecipientView::closed_gates` |
//! | a record of an unknown patron | held, unless the library it names or a condition on the record alone withholds it; the others of its needs are not looked at |
//! | the retention of patrons | nobody needs `membership.status` and `membership.ends_on` for it: malformed, they count as missing; no status is not active |
//! | a term from `membership.ends_on` while the status is active | does not run, also if the date is missing |
//! | a consent's or objection's field of the wrong type | only those that decide: purpose, recipient, decision, manner, `at`, `given_by`; kind, purpose, status |
//! | an objection to marketing | needs nothing but its kind |
//! | a consent or an objection that is not understood | those before it are kept; it stops until a version of it can be read, and for ever if its id could not be |
//! | what it may be about | a consent: the purpose and recipient that it names, each if it is known and any if it is not understood; a purpose that nobody has is nothing. An objection: all that objections can stop |
//! | a refusal of a purpose for which nobody asks consent | stops as an objection does, and a recipient of marketing too; no later grant lifts it, only a version of itself |
//! | consents and objections of an erased patron | grants end; refusals and objections stay, should the patron return |
//! | a settlement that is not understood | it names no readable debt, or `gone` is no boolean: a dead letter; the last version that could be read stays in force |
//! | a settlement whose debt is not there | counts for it whenever it comes |
//! | the stages of a debt | two at the same moment are in order; one may be missing |
//! | white space around a postcode | Unicode's; format characters stay and make it unfit |
//! | a returned loan | its status says so; `returned_at` alone does not |
//! | `loan_history` missing | is not off |
//! | the history was off when a loan was returned | both instants are there, and the return is the earlier one |
//! | a record that is gone, for a recipient that thins it | decided as its last version that was not gone, by that version's time of arrival too; a version whose `gone` is no boolean is such a version |
//! | a term after which an output is thinned | from a date or an instant, over when that plus the term is reached; missing or unfit: never |
//! | a consent for a purpose whose grants name a patron | names one by any text but a blank one, which is not understood; a recipient's name, or nearly one, names nobody, so that a refusal with it is one of all; a grant to nobody, or to oneself, gives nothing |
//! | an unreadable one | stops all named patrons, whomever it names |
//! | the record of a patron with grants to others | gives no output of itself, `named_patrons`, and one for each of them |
//! | reasons of a record that is gone | an erased patron comes first, then `record_gone` or the `gone` that is no boolean, for every recipient; nothing else is looked at |

pub mod form;
pub mod gate;
pub mod json;
mod lookup;
pub mod mask;
mod recipient;

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use zeef::policy::Policy;
use zeef::policy::catalogue::{FieldType, RecordKind, Role};
use zeef::policy::detect::{CustomDetectors, DetectorSet};
use zeef::policy::recipient::Recipient;

use form::Moment;
use gate::{
    PatronStatements, PolicyNames, Statement, StatementEvent, is_consent_or_objection,
    read_settled_id,
};
use json::{JsonError, JsonLimits, JsonNode};
use lookup::{FieldLookup, has_unlisted, look_up};
pub use recipient::{Decision, ModelOutput};
use recipient::{NeededField, RecipientView, needed_fields};

/// What a record and its outputs may be at most.
#[derive(Clone, Copy, Debug)]
pub struct ModelLimits {
    pub max_record_bytes: usize,
    pub json: JsonLimits,
    pub max_output_bytes: usize,
}

impl ModelLimits {
    pub const DEFAULT: ModelLimits = ModelLimits {
        max_record_bytes: 1 << 20,
        json: JsonLimits::DEFAULT,
        max_output_bytes: 1_000_000,
    };
}

/// A message on a source; `None` as a value is Kafka's null.
#[derive(Clone, Debug)]
pub struct SourceMessage {
    pub kind: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl SourceMessage {
    fn key_text(&self) -> Option<&str> {
        let key = std::str::from_utf8(self.key.as_deref()?).ok()?;
        (!key.is_empty()).then_some(key)
    }

    /// The patron that the key names.
    pub fn patron(&self) -> Option<PatronKey> {
        Some((self.partition, self.key_text()?.to_owned()))
    }
}

/// A partition and a patron id: the same id elsewhere is another patron.
pub type PatronKey = (i32, String);

#[derive(Clone, Debug)]
enum KnownPatron {
    Patron(Arc<JsonNode>),
    Erased,
    Unreadable,
}

/// One version of a record that was not refused whole.
#[derive(Clone, Debug)]
pub struct RecordVersion {
    pub kind: String,
    pub id: Option<String>,
    /// `None` if the record has no patron.
    patron: Option<PatronKey>,
    /// The patron, or nobody in the record's partition.
    owner: PatronKey,
    /// Why there must be no such record.
    forbidden: Option<&'static str>,
    record: Arc<JsonNode>,
    arrived_ms: i64,
    /// Of a record that is gone: the last version that was not, if it is known.
    pub before_gone: Option<Box<RecordVersion>>,
}

impl RecordVersion {
    /// What is known of the record once `later` says that it is gone.
    pub fn before(&self, policy: &Policy) -> Option<Box<RecordVersion>> {
        match self.is_gone(policy) {
            true => self.before_gone.clone(),
            false => Some(Box::new(self.clone())),
        }
    }

    pub fn is_gone(&self, policy: &Policy) -> bool {
        absence_reason(policy.record_kind(&self.kind).unwrap(), &self.record) == Some("record_gone")
    }

    fn identity(&self) -> RecordIdentity {
        (self.kind.clone(), self.patron.clone(), self.id.clone())
    }

    /// The record's patron; the empty id is nobody's.
    pub fn patron(&self) -> &PatronKey {
        &self.owner
    }
}

/// A message that is not refused whole.
#[derive(Clone, Debug)]
pub enum AcceptedMessage {
    Erasure(PatronKey),
    Record(RecordVersion),
}

/// When a record was first decided, and the patron that a grant names for whom it is.
pub type FirstAndNamed<'a> = (i64, Option<&'a str>);

/// A record, whatever its version: kind, patron and id.
type RecordIdentity = (String, Option<PatronKey>, Option<String>);

/// The secret of a recipient's pseudonyms.
pub type KeyOf = fn(&str) -> Vec<u8>;

/// A policy, and the last state of its sources.
#[derive(Clone, Debug)]
pub struct PolicyModel<'p> {
    policy: &'p Policy,
    key_of: KeyOf,
    limits: ModelLimits,
    pub now_ms: i64,
    needed_fields: Vec<Vec<NeededField>>,
    names: PolicyNames,
    /// A consent or an objection was refused that names nobody: the lane stops.
    pub must_stop: bool,
    n_messages: i64,
    patrons: HashMap<PatronKey, (i64, KnownPatron)>,
    statements: HashMap<PatronKey, PatronStatements>,
    /// When each patron was last erased.
    erased_ms: HashMap<PatronKey, i64>,
    last_versions: BTreeMap<RecordIdentity, RecordVersion>,
    /// Records that their sources no longer have: nothing is made of them.
    lost_records: BTreeSet<RecordIdentity>,
}

/// Before any time that a record can name: without times only the order counts.
const BEFORE_ALL_TIMES_MS: i64 = -63_000_000_000_000;

impl<'p> PolicyModel<'p> {
    pub fn new(policy: &'p Policy, key_of: KeyOf, limits: ModelLimits, now_ms: i64) -> Self {
        let mut model = PolicyModel {
            policy,
            key_of,
            limits,
            now_ms,
            needed_fields: Vec::new(),
            names: PolicyNames::from_policy(policy),
            must_stop: false,
            n_messages: 0,
            patrons: HashMap::new(),
            statements: HashMap::new(),
            erased_ms: HashMap::new(),
            last_versions: BTreeMap::new(),
            lost_records: BTreeSet::new(),
        };
        model.set_policy(policy);
        model
    }

    /// Goes on under another policy; what patrons said stays as it was read.
    pub fn set_policy(&mut self, policy: &'p Policy) {
        let recipients = policy.recipients.iter();
        self.policy = policy;
        self.needed_fields = recipients.map(|one| needed_fields(policy, one)).collect();
    }

    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// Decides one message; returns a line for each outcome, sorted.
    pub fn decide_message(&mut self, message: &SourceMessage) -> Vec<String> {
        self.n_messages += 1;
        let kind = self.kind(&message.kind);
        let mut outcomes = Vec::new();
        match self.apply(message, BEFORE_ALL_TIMES_MS + self.n_messages) {
            Err(reason) => {
                return vec![dead_letter_line(reason, None), format!("refused {reason}")];
            }
            Ok(AcceptedMessage::Erasure(_)) => {
                let all = self.recipients_of(kind).into_iter();
                outcomes.extend(all.map(|one| format!("{} withheld patron_erased", one.name)));
            }
            Ok(AcceptedMessage::Record(version)) => {
                let version = RecordVersion { before_gone: None, ..version };
                if let Some(reason) = version.forbidden {
                    outcomes.push(dead_letter_line(reason, None));
                    outcomes.push(format!("refused {reason}"));
                }
                for recipient in self.recipients_of(kind) {
                    let decision = self.decide(recipient, &version, (self.now_ms, None));
                    outcomes.extend(outcome_lines(&recipient.name, decision));
                    for named in self.patrons_of_grants(recipient, &version) {
                        let asked = (self.now_ms, Some(named.as_str()));
                        match self.decide(recipient, &version, asked) {
                            decision @ Decision::Released(_) => {
                                outcomes.extend(outcome_lines(&recipient.name, decision));
                            }
                            Decision::Withheld("too_large") => {
                                outcomes.push(dead_letter_line("too_large", Some(&recipient.name)));
                            }
                            // The record itself says why.
                            _ => {}
                        }
                    }
                }
            }
        }
        if self.recipients_of(kind).is_empty() {
            outcomes.push("applied".to_owned());
        }
        outcomes.sort();
        outcomes
    }

    /// Applies a message that arrived at a time; returns why, if it is refused whole.
    pub fn apply(
        &mut self,
        message: &SourceMessage,
        arrived_ms: i64,
    ) -> Result<AcceptedMessage, &'static str> {
        let kind = self.kind(&message.kind);
        let mut accepted = self.parse_message(kind, message, arrived_ms);
        if let Ok(AcceptedMessage::Record(version)) = &mut accepted
            && version.is_gone(self.policy)
        {
            let before = self.last_versions.get(&version.identity());
            version.before_gone = before.and_then(|before| before.before(self.policy));
        }
        let accepted = accepted.and_then(|accepted| self.apply_statement(kind, message, accepted));
        match &accepted {
            Err(reason) => self.apply_refused(kind, message, (arrived_ms, *reason)),
            Ok(AcceptedMessage::Erasure(patron)) => {
                self.update_patron(message, KnownPatron::Erased);
                let last = self.erased_ms.entry(patron.clone()).or_insert(arrived_ms);
                *last = arrived_ms.max(*last);
            }
            Ok(AcceptedMessage::Record(version)) => {
                if kind.role == Role::Patron {
                    self.update_patron(message, KnownPatron::Patron(Arc::clone(&version.record)));
                }
                self.last_versions.insert(version.identity(), version.clone());
            }
        }
        accepted
    }

    /// Decides a version by the last state of its patron; an earlier version of the
    /// patron itself is decided as it is.
    pub fn decide(
        &self,
        recipient: &Recipient,
        version: &RecordVersion,
        (first_ms, named): FirstAndNamed<'_>,
    ) -> Decision {
        let is_thinned = recipient.thinned.as_ref().is_some_and(|rule| rule.when_gone);
        match version.before_gone.as_ref().filter(|_| is_thinned) {
            Some(before) => self.decide_fields(recipient, before, (first_ms, named), true),
            None => self.decide_fields(recipient, version, (first_ms, named), false),
        }
    }

    /// The patrons for each of whom a recipient may get an output of a patron's record (F32):
    /// those that a grant of that patron names.
    pub fn patrons_of_grants(
        &self,
        recipient: &Recipient,
        version: &RecordVersion,
    ) -> BTreeSet<String> {
        match recipient.is_for_named_patrons() {
            true => self.view(recipient, version, self.now_ms).named_patrons(),
            false => BTreeSet::new(),
        }
    }

    /// Decides by the fields of one version, of a record that is gone or not.
    fn decide_fields(
        &self,
        recipient: &Recipient,
        version: &RecordVersion,
        (first_ms, named): FirstAndNamed<'_>,
        is_gone: bool,
    ) -> Decision {
        let kind = self.kind(&version.kind);
        if let Some(reason) = version.forbidden {
            return Decision::Withheld(reason);
        }
        let mut view = self.view(recipient, version, first_ms);
        view.is_gone = is_gone;
        view.named_patron = named.map(str::to_owned);
        let absence = absence_reason(kind, &version.record);
        if recipient.without_patron.is_some() {
            view.statements = Cow::default();
        } else if kind.role != Role::Patron
            && let Some(patron) = &version.patron
        {
            if self.predates_erasure(patron, version) {
                return Decision::Withheld("patron_erased");
            }
            match self.patrons.get(patron).map(|(_, known)| known) {
                Some(KnownPatron::Patron(record)) => view.patron = Some(record),
                Some(KnownPatron::Erased) => return Decision::Withheld("patron_erased"),
                Some(KnownPatron::Unreadable) | None => {
                    return absence
                        .map_or_else(|| view.decide_without_patron(), Decision::Withheld);
                }
            }
        }
        if let Some(reason) = absence {
            return Decision::Withheld(reason);
        }
        let mut recipients = self.policy.recipients.iter();
        let index = recipients.position(|one| one.name == recipient.name).unwrap();
        view.decide(&self.needed_fields[index], self.limits.max_output_bytes)
    }

    /// As [`PolicyModel::decide`]; a patron who is erased or unreadable has no record.
    pub fn decide_last(
        &self,
        recipient: &Recipient,
        version: &RecordVersion,
        (first_ms, named): FirstAndNamed<'_>,
    ) -> Decision {
        let is_patron = self.kind(&version.kind).role == Role::Patron;
        let patron = version.patron.as_ref().filter(|_| is_patron);
        match patron.map(|patron| self.patrons.get(patron).map(|(_, known)| known)) {
            Some(Some(KnownPatron::Erased)) => Decision::Withheld("patron_erased"),
            Some(Some(KnownPatron::Unreadable) | None) => {
                self.view(recipient, version, first_ms).decide_without_patron()
            }
            _ => self.decide(recipient, version, (first_ms, named)),
        }
    }

    fn view<'a>(
        &'a self,
        recipient: &'a Recipient,
        version: &'a RecordVersion,
        first_ms: i64,
    ) -> RecipientView<'a> {
        RecipientView {
            policy: self.policy,
            recipient,
            hmac_key: (self.key_of)(&recipient.name),
            source: self.kind(&version.kind),
            record: &version.record,
            is_gone: false,
            patron: None,
            statements: version
                .patron
                .as_ref()
                .map_or_else(Cow::default, |of| self.statements_of(of)),
            own_records: self.own_records(recipient, version),
            now: Moment::from_millis(self.now_ms),
            first_decided: Moment::from_millis(first_ms),
            named_patron: None,
            national_numbers: OnceCell::new(),
            removed_fields: RefCell::default(),
        }
    }

    /// Sets the records that their sources no longer have.
    pub fn set_lost_records<'r>(&mut self, lost: impl Iterator<Item = &'r RecordVersion>) {
        self.lost_records = lost.map(RecordVersion::identity).collect();
    }

    /// The records of a patron that a recipient's summaries may be made of.
    fn own_records<'a>(
        &'a self,
        recipient: &Recipient,
        version: &RecordVersion,
    ) -> Vec<(&'a str, &'a str, &'a JsonNode)> {
        let (Some(patron), Some(_)) = (&version.patron, recipient.summaries().next()) else {
            return Vec::new();
        };
        let versions = self.last_versions.values();
        let own = versions.filter(|one| {
            one.patron.as_ref() == Some(patron)
                && !self.predates_erasure(patron, one)
                && !one.is_gone(self.policy)
                && !self.lost_records.contains(&one.identity())
        });
        own.map(|one| (&*one.kind, one.id.as_deref().unwrap_or_default(), &*one.record)).collect()
    }

    /// The patrons that some consent names that was not taken back, nor given before an erasure.
    pub fn named_patron_ids(&self) -> BTreeSet<String> {
        let all = self.statements.keys().map(|patron| self.statements_of(patron));
        all.flat_map(|statements| statements.named_patron_ids()).collect()
    }

    /// What the patron's consents and objections say since the last erasure.
    pub fn statements_of(&self, patron: &PatronKey) -> Cow<'_, PatronStatements> {
        let statements = self.statements.get(patron).map(Cow::Borrowed).unwrap_or_default();
        match self.erased_ms.get(patron) {
            Some(erased_ms) => Cow::Owned(statements.since_erasure(*erased_ms)),
            None => statements,
        }
    }

    pub fn erased_ms(&self, patron: &PatronKey) -> Option<i64> {
        self.erased_ms.get(patron).copied()
    }

    pub fn is_erased(&self, patron: &PatronKey) -> bool {
        matches!(self.patrons.get(patron), Some((_, KnownPatron::Erased)))
    }

    /// Whether the patron has a record that can be read.
    pub fn is_known(&self, patron: &PatronKey) -> bool {
        matches!(self.patrons.get(patron), Some((_, KnownPatron::Patron(_))))
    }

    fn predates_erasure(&self, patron: &PatronKey, version: &RecordVersion) -> bool {
        self.erased_ms(patron).is_some_and(|erased_ms| version.arrived_ms <= erased_ms)
    }

    /// What `recipient` has by the last state of the sources: topic, key and value.
    pub fn outputs_of(&self, recipient: &str) -> Vec<String> {
        let recipient = self.policy.recipient(recipient).unwrap();
        let source = &self.policy.record_kinds[recipient.source_kind_index].name;
        let versions = self.last_versions.values().filter(|version| version.kind == *source);
        let outputs = versions.flat_map(|version| {
            let named = self.patrons_of_grants(recipient, version).into_iter().map(Some);
            named.chain([None]).filter_map(|named| {
                let asked = (self.now_ms, named.as_deref());
                match self.decide_last(recipient, version, asked) {
                    Decision::Released(ModelOutput { topic, key, value, .. }) => {
                        Some(format!("{topic} {key} {value}"))
                    }
                    _ => None,
                }
            })
        });
        let mut outputs: Vec<String> = outputs.collect();
        outputs.sort();
        outputs
    }

    fn kind(&self, name: &str) -> &'p RecordKind {
        self.policy.record_kind(name).unwrap()
    }

    fn recipients_of(&self, kind: &RecordKind) -> Vec<&'p Recipient> {
        let source = |one: &Recipient| &self.policy.record_kinds[one.source_kind_index].name;
        self.policy.recipients.iter().filter(|one| *source(one) == kind.name).collect()
    }

    /// Notes what is known of the key's patron, unless a later message told more.
    fn update_patron(&mut self, message: &SourceMessage, known: KnownPatron) {
        if let Some(patron) = message.patron() {
            let newest = self.patrons.get(&patron).map(|(offset, _)| *offset);
            if newest.is_none_or(|newest| newest <= message.offset) {
                self.patrons.insert(patron, (message.offset, known));
            }
        }
    }

    fn parse_message(
        &self,
        kind: &RecordKind,
        message: &SourceMessage,
        arrived_ms: i64,
    ) -> Result<AcceptedMessage, &'static str> {
        if kind.role == Role::Patron && is_foreign_key(message) {
            return Err("foreign_key");
        }
        let Some(bytes) = message.value.as_deref().filter(|bytes| !is_null_text(bytes)) else {
            return match kind.role {
                Role::Patron => message.patron().map(AcceptedMessage::Erasure).ok_or("miskeyed"),
                _ => Err("null_value"),
            };
        };
        if bytes.len() > self.limits.max_record_bytes {
            return Err("too_large");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "not_utf8")?;
        let record = json::parse(text, self.limits.json).map_err(|error| match error {
            JsonError::Syntax => "not_json",
            JsonError::TooDeep => "too_deep",
            JsonError::TooManyKeys => "too_many_keys",
        })?;
        if !matches!(record, JsonNode::Object(_)) {
            return Err("not_an_object");
        }
        let paths: Vec<&str> = kind.fields.iter().map(|field| &*field.path).collect();
        let is_unlisted = kind.is_closed && has_unlisted(&record, &paths);
        let found = self.patron_of(kind, message, &record);
        if is_unlisted && (kind.role != Role::Record || found.is_err()) {
            return Err("unlisted_field");
        }
        let patron = found?;
        let owner = patron.clone().unwrap_or((message.partition, String::new()));
        Ok(AcceptedMessage::Record(RecordVersion {
            kind: kind.name.clone(),
            id: look_up(&record, &kind.id_path, FieldType::Text(None)).into_text(),
            patron,
            owner,
            forbidden: match is_unlisted {
                true => Some("unlisted_field"),
                false => forbidden_reason(kind, &self.policy.custom_detectors, message, &record),
            },
            record: Arc::new(record),
            arrived_ms,
            before_gone: None,
        }))
    }

    /// The patron of a record, if it has one, by its identifiers and its message's key.
    fn patron_of(
        &self,
        kind: &RecordKind,
        message: &SourceMessage,
        record: &JsonNode,
    ) -> Result<Option<PatronKey>, &'static str> {
        let look = |path: &str, field_type| look_up(record, path, field_type);
        let text = |path: &str| look(path, FieldType::Text(None)).into_text();
        let is_missing = |path: &str| look(path, FieldType::Text(None)) == FieldLookup::Missing;
        let has_patron =
            kind.is_keyed_by_patron && !(kind.may_lack_patron && is_missing("patron_id"));
        let mut identifiers = vec!["library", &kind.id_path];
        identifiers.extend(has_patron.then_some("patron_id"));
        for path in identifiers {
            if let Some(field) = kind.field(path)
                && look(path, field.field_type).into_text().is_none()
            {
                return Err("identifier");
            }
        }
        let keyed_by = if has_patron { "patron_id" } else { &kind.id_path };
        if kind.is_keyed_by_patron && message.key != text(keyed_by).map(String::into_bytes) {
            return Err("miskeyed");
        }
        Ok(message.patron().filter(|_| has_patron))
    }

    /// Applies a consent or an objection; returns why, if it is not understood.
    fn apply_statement(
        &mut self,
        kind: &RecordKind,
        message: &SourceMessage,
        accepted: AcceptedMessage,
    ) -> Result<AcceptedMessage, &'static str> {
        if let AcceptedMessage::Record(RecordVersion { record, patron, arrived_ms, .. }) = &accepted
            && kind.role == Role::Gate
            && is_consent_or_objection(&kind.name)
        {
            let statement = Statement::read(kind, &self.names, record);
            if let Some(reason) = statement.refusal_reason() {
                return Err(reason);
            }
            let statements = self.statements.entry(patron.clone().unwrap()).or_default();
            let event = StatementEvent::Statement(Box::new(statement));
            statements.apply(&kind.name, message.offset, *arrived_ms, event);
        }
        if let AcceptedMessage::Record(RecordVersion { record, patron, arrived_ms, id, .. }) =
            &accepted
            && let Some(settled) = &kind.settles
        {
            let settled = read_settled_id(kind, &self.kind(settled).id_path, record)?;
            let statements = self.statements.entry(patron.clone().unwrap()).or_default();
            let settled = (settled, *arrived_ms);
            statements.apply_settlement(&kind.name, message.offset, id.clone(), settled);
        }
        Ok(accepted)
    }

    /// A refused patron record makes the patron unknown; a refused consent or objection
    /// stops what it may be about, for every patron that it names.
    fn apply_refused(
        &mut self,
        kind: &RecordKind,
        message: &SourceMessage,
        (arrived_ms, reason): (i64, &str),
    ) {
        if kind.role == Role::Patron && reason != "foreign_key" {
            self.update_patron(message, KnownPatron::Unreadable);
        }
        if kind.role != Role::Gate || !is_consent_or_objection(&kind.name) {
            return;
        }
        let event = match reason {
            "null_value" if kind.name == "consent" => StatementEvent::EndGrants,
            "null_value" => return,
            _ => {
                let read = self.parse_refused(message, reason);
                let read = read.map(|record| Statement::read(kind, &self.names, &record));
                let unread = Statement::unread(kind);
                StatementEvent::Statement(Box::new(read.unwrap_or(unread).into_unreadable()))
            }
        };
        if matches!(&event, StatementEvent::Statement(one) if one.concerns_nobody()) {
            return;
        }
        let patrons = self.named_patrons(message, reason);
        self.must_stop |= patrons.is_empty();
        for patron in patrons {
            let statements = self.statements.entry(patron).or_default();
            statements.apply(&kind.name, message.offset, arrived_ms, event.clone());
        }
    }

    /// A refused record, if its JSON could be read.
    fn parse_refused(&self, message: &SourceMessage, reason: &str) -> Option<JsonNode> {
        let read = ["identifier", "miskeyed", "unlisted_field", "malformed", "unclear"];
        let text = std::str::from_utf8(message.value.as_deref()?).ok()?;
        json::parse(text, self.limits.json).ok().filter(|_| read.contains(&reason))
    }

    /// The patrons that a refused consent or objection names, by its key or anywhere in
    /// its value.
    pub fn named_patrons(&self, message: &SourceMessage, reason: &str) -> BTreeSet<PatronKey> {
        let mut patrons: Vec<String> = message.key_text().map_or_else(Vec::new, patrons_in_key);
        if reason != "null_value" {
            let text = String::from_utf8_lossy(message.value.as_deref().unwrap_or_default());
            // Whatever stands around it, also in UTF-16.
            let plain = text.replace('\0', "");
            patrons.extend(plain.split("\"patron_id\"").skip(1).filter_map(leading_string_value));
            let read = self.parse_refused(message, reason);
            patrons.extend(read.and_then(|record| {
                look_up(&record, "patron_id", FieldType::Text(None)).into_text()
            }));
        }
        let named = patrons.into_iter().filter(|patron| !patron.is_empty());
        named.map(|patron| (message.partition, patron)).collect()
    }
}

/// Why nobody gets a record that its source no longer has, or may no longer have.
fn absence_reason(kind: &RecordKind, record: &JsonNode) -> Option<&'static str> {
    match look_up(record, kind.gone_path.as_deref()?, FieldType::Boolean) {
        FieldLookup::Bool(true) => Some("record_gone"),
        FieldLookup::Malformed => Some("malformed"),
        _ => None,
    }
}

/// Why there must be no such record: a key where no key may be, a word that is not one of
/// those with which it may exist, or personal data in a text that must have none.
fn forbidden_reason(
    kind: &RecordKind,
    custom_detectors: &CustomDetectors,
    message: &SourceMessage,
    record: &JsonNode,
) -> Option<&'static str> {
    if kind.role != Role::Record {
        return None;
    }
    if kind.is_closed && !kind.is_keyed_by_patron && message.key.is_some() {
        return Some("miskeyed");
    }
    let text = |path: &str| look_up(record, path, FieldType::Text(None)).into_text();
    for words in &kind.must_not_exist {
        if text(&words.path).is_some_and(|word| !words.except.contains(&word)) {
            return Some("must_not_exist");
        }
    }
    let has_personal_data = |path: &String| {
        let Some(found) = text(path) else {
            return false;
        };
        let form = kind.field(path).map(|field| field.field_type);
        let fits = !matches!(form, Some(FieldType::Text(None)))
            && form.is_some_and(|form| look_up(record, path, form).into_text().is_some());
        let all = DetectorSet::all(custom_detectors);
        !fits && all.redact(&found, std::iter::empty(), &mut String::new(), &mut [])
    };
    kind.anonymous_paths.iter().any(has_personal_data).then_some("personal_data")
}

fn outcome_lines(name: &str, decision: Decision) -> Vec<String> {
    let withheld = |reason: &str| {
        let mut lines = vec![format!("{name} withheld {reason}")];
        if matches!(reason, "malformed" | "too_large") {
            lines.push(dead_letter_line(reason, Some(name)));
        }
        lines
    };
    match decision {
        Decision::Held => vec![format!("{name} held")],
        Decision::Withheld(reason) => withheld(reason),
        Decision::GatesClosed(reasons) => withheld(reasons[0]),
        Decision::Released(ModelOutput { topic, key, value, removed_fields, .. }) => {
            let removed = removed_fields.iter();
            let mut lines: Vec<String> =
                removed.map(|_| dead_letter_line("national_number", Some(name))).collect();
            lines.push(format!("released {topic} {key} {value}"));
            lines
        }
    }
}

pub fn dead_letter_line(reason: &str, recipient: Option<&str>) -> String {
    format!("dead letter {reason} {}", recipient.unwrap_or("(whole)"))
}

/// Whether a key is JSON, quoted or binary: it names no patron.
fn is_foreign_key(message: &SourceMessage) -> bool {
    let key = message.key.as_deref().unwrap_or_default();
    let first = key.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|first| b"{[\"\0".contains(first))
}

/// The text `null` counts as Kafka's null.
fn is_null_text(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.trim_matches([' ', '\t', '\n', '\r']) == "null"
}

/// The patron that a key names, as it stands and without the quotes of JSON. An object,
/// a list and null name nobody.
fn patrons_in_key(key: &str) -> Vec<String> {
    match json::parse(key, JsonLimits::DEFAULT) {
        Ok(JsonNode::String(Some(inner))) => vec![key.to_owned(), inner],
        Ok(JsonNode::Null) => Vec::new(),
        _ if key.trim_start().starts_with(['{', '[', '\0']) => Vec::new(),
        _ => vec![key.to_owned()],
    }
}

/// The string value of a member whose name ends before `rest`.
fn leading_string_value(rest: &str) -> Option<String> {
    let value = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
    let ends = value.char_indices().skip(1).filter(|(_, c)| *c == '"');
    let mut whole = ends.filter_map(|(at, _)| json::parse(&value[..=at], JsonLimits::DEFAULT).ok());
    match whole.next()? {
        JsonNode::String(text) => text.filter(|text| !text.contains('\u{fffd}')),
        _ => None,
    }
}
