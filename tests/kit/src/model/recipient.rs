//! One record for one recipient: whether it may have it, and what it gets.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use zeef::policy::Policy;
use zeef::policy::catalogue::{CatalogueField, DataClass, FieldType, RecordKind, Role};
use zeef::policy::detect::{DETECTOR_ROWS, DetectorSet, contains_national_number};
use zeef::policy::form::TextFormat;
use zeef::policy::mask::{Mask, SurnameKey};
use zeef::policy::recipient::{
    ConditionLiteral, ConditionTest, DemandedPart, FieldCondition, FieldProjection, FieldRef,
    Medium, OutputTopics, OutputValue, Recipient, RecordSummary, ServedLibraries, SubField,
    SummaryFunction, SummaryTest,
};

use super::form::{self, Moment, parse_moment, parse_written_day};
use super::gate::{ConsentQuery, ImpliedGrant, NamedPair, PatronStatements};
use super::json::{JsonNode, quote};
use super::lookup::{self, FieldLookup};
use super::mask::{self, unicode_digits};

/// What one recipient's rules say of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its patron is not known yet.
    Held,
    Withheld(&'static str),
    /// The record is as the recipient asks, but these gates are closed, in the order in
    /// which reasons are given.
    GatesClosed(Vec<&'static str>),
    Released(ModelOutput),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOutput {
    pub topic: String,
    pub key: String,
    pub value: String,
    /// The fields and parts of fields that were left out for a national number.
    pub removed_fields: BTreeSet<String>,
    /// It goes without the fields that its recipient drops.
    pub is_thinned: bool,
}

const ISIL: FieldType = FieldType::Text(Some(TextFormat::Isil));

/// A field that withholds the record if it is malformed.
#[derive(Clone, Debug)]
pub struct NeededField {
    field: FieldRef,
    field_type: FieldType,
}

/// The fields of the patron and of the record that a note may hold: all that point
/// at a person, but for national numbers.
fn personal_fields(policy: &Policy, source: &RecordKind) -> Vec<FieldRef> {
    let own =
        source.role == Role::Patron || policy.patron_kind().is_none() || !source.is_keyed_by_patron;
    let sides: &[bool] = if own { &[false] } else { &[true, false] };
    let mut all = Vec::new();
    for joined in sides {
        let kind = kind_of_side(policy, source, *joined);
        for field in kind.iter().flat_map(|kind| &kind.fields) {
            let points = matches!(
                field.class,
                DataClass::Personal
                    | DataClass::Contact
                    | DataClass::Identifier
                    | DataClass::Financial
            );
            if points && field.field_type != FieldType::Boolean && is_bsn_field(field).is_none() {
                all.push(field_ref(*joined, &field.path));
            }
        }
    }
    all
}

/// The parts of the address that a street begins, as far as the kind has them.
fn address_parts(policy: &Policy, source: &RecordKind, street: &FieldRef) -> Vec<FieldRef> {
    let Some(start) = street.path.strip_suffix("street") else {
        return Vec::new();
    };
    let names = ["street", "house_number", "house_number_suffix"];
    let parts = names.map(|name| field_ref(street.is_joined, &format!("{start}{name}")));
    let kind = kind_of_side(policy, source, street.is_joined);
    let known = |part: &FieldRef| kind.is_some_and(|kind| kind.field(&part.path).is_some());
    parts.into_iter().filter(known).collect()
}

/// Whether a field has a national number: a BSN, or another one.
fn is_bsn_field(field: &CatalogueField) -> Option<bool> {
    let name = field.path.trim_end_matches("[]").rsplit('.').next().unwrap();
    let name = name.to_lowercase();
    if ["bsn", "burgerservicenummer"].contains(&name.as_str())
        || field.field_type == FieldType::Text(Some(TextFormat::Bsn))
    {
        return Some(true);
    }
    let register = ["rijksregisternummer", "rrn", "insz", "niss"].contains(&name.as_str());
    let formed = field.field_type == FieldType::Text(Some(TextFormat::Rijksregisternummer));
    (register || formed || field.class == DataClass::NationalId).then_some(false)
}

/// A national number of a record's patron.
#[derive(Clone, Debug)]
pub struct PatronNumber {
    /// As it stands, in ASCII; none where it cannot be read.
    digits: Option<String>,
    is_bsn: bool,
}

impl PatronNumber {
    /// What is looked for in outputs: fewer zeros at the start, if eight digits are
    /// left, and no more than fourteen.
    fn search_digits(&self) -> Option<&str> {
        let digits = self.digits.as_deref()?;
        let significant = digits.trim_start_matches('0').len();
        Some(&digits[digits.len() - significant.clamp(8, 14)..])
    }

    fn occurs_in(&self, text: &str) -> bool {
        let digits = unicode_digits(text);
        match self.search_digits() {
            Some(needle) => digits.contains(needle),
            None if self.is_bsn => form::is_bsn(&digits),
            None => form::is_register_number(&digits),
        }
    }
}

fn field_ref(joined: bool, path: &str) -> FieldRef {
    FieldRef { is_joined: joined, path: path.to_owned() }
}

/// Everything that the recipient's file names, used or not.
pub fn needed_fields(policy: &Policy, recipient: &Recipient) -> Vec<NeededField> {
    let source = &policy.record_kinds[recipient.source_kind_index];
    let own = source.role == Role::Patron;
    let mut all: Vec<FieldRef> = Vec::new();
    all.extend(recipient.conditions.iter().map(|one| one.field.clone()));
    all.extend([
        recipient.output_key_field.clone(),
        library_field(source, &recipient.output_key_field),
    ]);
    if let OutputTopics::PerParty { party_field: by, .. } = &recipient.topics {
        all.push(by.clone());
    }
    all.extend(recipient.stages.iter().cloned());
    let implied = recipient.consent.iter().flat_map(|gate| &gate.implied_by);
    for event in implied {
        all.push(event.at.clone());
        if let Some(giver) = &event.giver {
            all.extend([giver.given_by.clone(), giver.adult.clone()]);
        }
    }
    if recipient.consent.as_ref().is_some_and(|gate| gate.needs_guardian_for_minors) {
        all.push(field_ref(!own, "birth_date"));
    }
    if recipient.is_loan_history {
        all.extend([field_ref(false, "status"), field_ref(!own, "loan_history")]);
        let dates = [field_ref(false, "returned_at"), field_ref(!own, "loan_history_since")];
        let known = |at: &FieldRef| {
            let kind = kind_of_side(policy, source, at.is_joined);
            kind.is_some_and(|kind| kind.field(&at.path).is_some())
        };
        all.extend(dates.iter().all(known).then_some(dates).into_iter().flatten());
    }
    let thinned = recipient.thinned.iter().filter_map(|rule| rule.after.as_ref());
    all.extend(thinned.map(|(_, from)| from.clone()));
    all.extend(recipient.special_words.iter().map(|rule| rule.field.clone()));
    all.push(recipient.retention.start_field.clone());
    all.extend(recipient.period.iter().map(|period| period.month_field.clone()));
    for output in &recipient.output_fields {
        match &output.value {
            OutputValue::Scalar(projection) => {
                add_scalar_needs(policy, source, projection, &mut all);
            }
            OutputValue::First(all_of_it) => {
                for projection in all_of_it {
                    add_scalar_needs(policy, source, projection, &mut all);
                }
            }
            OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
                all.extend(fields.iter().map(|sub| field_ref(from.is_joined, &sub.path)));
            }
            OutputValue::ScalarList { from } => all.push(from.clone()),
            OutputValue::Demanded { list, .. } => all.push(list.clone()),
            OutputValue::ShelfSlip { .. } | OutputValue::ChannelWord | OutputValue::NamedPatron => {
            }
            OutputValue::Summary(summary) => {
                let conditions = summary.conditions.iter();
                all.extend(conditions.filter_map(|condition| match &condition.test {
                    SummaryTest::SameAs { patron_path, .. } => Some(field_ref(false, patron_path)),
                    SummaryTest::Value(_) => None,
                }));
            }
        }
    }
    let channels = recipient.channel.iter().flat_map(|rule| &rule.channels);
    all.extend(channels.flat_map(|channel| channel.present_by.iter().cloned()));
    let typed = all.into_iter().filter_map(|at| {
        let kind = kind_of_side(policy, source, at.is_joined)?.field(&at.path)?.field_type;
        Some(NeededField { field: at, field_type: kind })
    });
    typed.collect()
}

fn add_scalar_needs(
    policy: &Policy,
    source: &RecordKind,
    projection: &FieldProjection,
    all: &mut Vec<FieldRef>,
) {
    all.extend(projection.from.clone());
    let joined = projection.from.as_ref().is_some_and(|from| from.is_joined);
    if let (Some(Mask::Pseudonym(mask)), Some(from)) = (&projection.mask, &projection.from) {
        all.push(library_field(source, from));
        all.extend(mask.month_of.iter().map(|path| field_ref(false, path)));
        return;
    }
    all.extend(projection.mask.iter().flat_map(|mask| mask_needs(mask, joined)));
    if projection.detect.as_ref().is_some_and(DetectorSet::needs_own_values) {
        for field in personal_fields(policy, source) {
            all.extend(address_parts(policy, source, &field));
            all.push(field);
        }
    }
}

/// What a mask looks at beside its input.
fn mask_needs(mask: &Mask, joined: bool) -> Vec<FieldRef> {
    let beside = |paths: &[&str]| paths.iter().map(|path| field_ref(joined, path)).collect();
    match mask {
        Mask::FirstLetters(mask) => match mask.surname_key {
            SurnameKey::ByCountry => beside(&["surname_prefix", "country", "library"]),
            SurnameKey::Full => beside(&["surname_prefix"]),
            SurnameKey::Kernwoord => Vec::new(),
        },
        Mask::Initial(_) => beside(&["given_name"]),
        Mask::ShelfName(mask) => match mask.letters.surname_key {
            SurnameKey::ByCountry => {
                beside(&["initials", "given_name", "surname_prefix", "country", "library"])
            }
            SurnameKey::Full => beside(&["initials", "given_name", "surname_prefix"]),
            SurnameKey::Kernwoord => beside(&["initials", "given_name"]),
        },
        Mask::FullName(_) => beside(&["initials", "surname_prefix"]),
        Mask::AgeBand(mask) => vec![field_ref(false, &mask.day_path)],
        Mask::PostcodeArea(_) | Mask::Postcode(_) => {
            beside(&["address.country", "country", "library"])
        }
        _ => Vec::new(),
    }
}

/// A pseudonym with two digits for each byte.
fn in_hexadecimal(pseudonym: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(pseudonym).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The library that goes into a pseudonym: the patron's for what is the patron's.
fn library_field(source: &RecordKind, field: &FieldRef) -> FieldRef {
    let patrons = field.is_joined || field.path == "patron_id";
    field_ref(patrons && source.role != Role::Patron, "library")
}

fn kind_of_side<'p>(
    policy: &'p Policy,
    source: &'p RecordKind,
    joined: bool,
) -> Option<&'p RecordKind> {
    if joined { policy.patron_kind() } else { Some(source) }
}

/// A record and its patron, as one recipient sees them.
pub struct RecipientView<'a> {
    pub policy: &'a Policy,
    pub recipient: &'a Recipient,
    pub hmac_key: Vec<u8>,
    pub source: &'a RecordKind,
    pub record: &'a JsonNode,
    /// Its source no longer has it.
    pub is_gone: bool,
    pub patron: Option<&'a JsonNode>,
    pub statements: Cow<'a, PatronStatements>,
    /// The patron's records of other kinds: kind, id and record.
    pub own_records: Vec<(&'a str, &'a str, &'a JsonNode)>,
    pub now: Moment,
    /// When the record was first decided.
    pub first_decided: Moment,
    /// The patron that a grant names, for whom the record is decided.
    pub named_patron: Option<String>,
    pub national_numbers: OnceCell<Vec<PatronNumber>>,
    pub removed_fields: RefCell<BTreeSet<String>>,
}

impl RecipientView<'_> {
    pub fn decide(&self, needs: &[NeededField], max_output_bytes: usize) -> Decision {
        let record_check = self.check_record(needs);
        if let Err(reason) = record_check {
            return Decision::Withheld(reason);
        }
        let closed_gates = self.closed_gates();
        if !closed_gates.is_empty() {
            return Decision::GatesClosed(closed_gates);
        }
        match self.output() {
            Err(reason) => Decision::Withheld(reason),
            Ok(output) if output.value.len() > max_output_bytes => Decision::Withheld("too_large"),
            Ok(output) => Decision::Released(output),
        }
    }

    fn check_record(&self, needs: &[NeededField]) -> Result<(), &'static str> {
        self.check_libraries()?;
        for condition in &self.recipient.conditions {
            self.check_condition(condition)?;
        }
        if needs.iter().any(|need| self.is_malformed(need)) || self.has_malformed_demanded() {
            return Err("malformed");
        }
        self.check_period()
    }

    /// Withholds a record whose patron is not known, as far as the record alone tells.
    pub fn decide_without_patron(&self) -> Decision {
        let own = |condition: &&FieldCondition| !condition.field.is_joined;
        let mut conditions = self.recipient.conditions.iter().filter(own);
        let check = self
            .check_libraries()
            .and_then(|()| conditions.try_for_each(|condition| self.check_condition(condition)));
        check.map_or_else(Decision::Withheld, |()| Decision::Held)
    }

    /// Checks a condition; where it does not hold, the reason that its file gives.
    fn check_condition(&self, condition: &FieldCondition) -> Result<(), &'static str> {
        if condition.or_no_patron && self.patron.is_none() {
            return Ok(());
        }
        let found = match condition.field.path.strip_suffix("[]") {
            None => self.look_up(&condition.field),
            Some(list) => self.look_up_list(&condition.field, list),
        };
        check_condition(found, &condition.test, self.now).map_err(|reason| match reason {
            "condition" => condition.refusal_reason.as_str(),
            other => other,
        })
    }

    /// Whether a list of single values has one; as a text that no condition compares.
    fn look_up_list(&self, field: &FieldRef, list: &str) -> FieldLookup {
        let tree = self.tree_of(field.is_joined).zip(self.field_type(field));
        let Some((tree, field_type)) = tree else {
            return FieldLookup::Missing;
        };
        match lookup::list_values(tree, list, field_type) {
            None => FieldLookup::Malformed,
            Some(values) if values.contains(&FieldLookup::Malformed) => FieldLookup::Malformed,
            Some(values) if values.is_empty() => FieldLookup::Missing,
            Some(_) => FieldLookup::Bool(true),
        }
    }

    fn output(&self) -> Result<ModelOutput, &'static str> {
        let topic = self.output_topic()?.to_owned();
        let key = self.output_key().ok_or("key_missing")?;
        let value = self.project();
        let removed_fields = self.removed_fields.take();
        Ok(ModelOutput { topic, key, value, removed_fields, is_thinned: self.is_thinned() })
    }

    fn tree_of(&self, joined: bool) -> Option<&JsonNode> {
        if joined { self.patron } else { Some(self.record) }
    }

    fn field_type(&self, field: &FieldRef) -> Option<FieldType> {
        let kind = kind_of_side(self.policy, self.source, field.is_joined)?;
        Some(kind.field(&field.path)?.field_type)
    }

    /// The value of a field that is in no list.
    fn look_up(&self, field: &FieldRef) -> FieldLookup {
        match (self.tree_of(field.is_joined), self.field_type(field)) {
            (Some(_), _) if self.is_dropped_card_number(field) => FieldLookup::Missing,
            (Some(tree), Some(_)) if self.is_library_country(field) => {
                // It is the library's, whatever the record says.
                let isil = lookup::look_up(tree, "library", ISIL).into_text();
                let isil = isil.unwrap_or_default();
                isil.get(..2).map_or(FieldLookup::Missing, |two| FieldLookup::Text(two.to_owned()))
            }
            (Some(tree), Some(kind)) => match lookup::look_up(tree, &field.path, kind) {
                FieldLookup::Text(text) if !self.is_allowed_value(field, &text) => {
                    FieldLookup::Missing
                }
                found => found,
            },
            _ => FieldLookup::Missing,
        }
    }

    /// Whether a field is the country of a kind whose records have a library.
    fn is_library_country(&self, field: &FieldRef) -> bool {
        let kind = kind_of_side(self.policy, self.source, field.is_joined);
        let kind = kind.filter(|kind| kind.role != Role::Gate);
        field.path == "country" && kind.is_some_and(|kind| kind.field("library").is_some())
    }

    /// Whether a text is one of those that a field may have.
    fn is_allowed_value(&self, field: &FieldRef, text: &str) -> bool {
        let kind = kind_of_side(self.policy, self.source, field.is_joined);
        let kind = kind.filter(|kind| kind.role != Role::Gate);
        let known = kind.and_then(|kind| kind.field(&field.path));
        known.is_none_or(|known| {
            known.allowed_values.is_empty()
                || known.allowed_values.iter().any(|value| value == text)
        })
    }

    fn text_of(&self, field: &FieldRef) -> Option<String> {
        self.look_up(field).into_text()
    }

    /// A national number on a patron's card does not rest in the table: for a
    /// recipient without an authorisation it is not there at all.
    fn is_dropped_card_number(&self, field: &FieldRef) -> bool {
        field.is_joined
            && field.path == "card_number"
            && self.is_card_national(true) == Some(true)
            && self.recipient.authorisation.is_none()
    }

    /// Whether the card is a national number; `None` if that is malformed.
    fn is_card_national(&self, joined: bool) -> Option<bool> {
        let tree = self.tree_of(joined)?;
        let library = lookup::look_up(tree, "library", ISIL).into_text();
        let belgian = library.is_some_and(|isil| isil.starts_with("BE"));
        let text = |path: &str| match lookup::look_up(tree, path, FieldType::Text(None)) {
            FieldLookup::Malformed => Err(()),
            other => Ok(other.into_text().unwrap_or_default()),
        };
        let (number, kind) = (text("card_number").ok()?, text("card_kind").ok()?);
        let digits = |text: &str| unicode_digits(text);
        let (card, national) = (digits(&number), digits(&text("rijksregisternummer").ok()?));
        let by_digits = belgian && mask::is_zero_padded_register_number(&card);
        Some(kind == "eid" || by_digits || (!card.is_empty() && card == national))
    }

    /// The national numbers of the record's patron, from all that is known.
    fn national_numbers(&self) -> &[PatronNumber] {
        self.national_numbers.get_or_init(|| self.find_national_numbers())
    }

    fn find_national_numbers(&self) -> Vec<PatronNumber> {
        let mut all = Vec::new();
        for joined in [false, true] {
            let kind = kind_of_side(self.policy, self.source, joined);
            let kind = kind.filter(|_| self.source.is_keyed_by_patron);
            let Some((kind, tree)) = kind.zip(self.tree_of(joined)) else {
                continue;
            };
            for field in &kind.fields {
                let Some(is_bsn) = is_bsn_field(field).filter(|_| !field.path.contains("[]"))
                else {
                    continue;
                };
                let digits = match lookup::look_up(tree, &field.path, FieldType::TextOrNumber) {
                    FieldLookup::Missing => continue,
                    FieldLookup::Malformed | FieldLookup::Bool(_) => None,
                    FieldLookup::Text(text) | FieldLookup::Number(text) => {
                        let digits = unicode_digits(&text);
                        if digits.len() < 8 || digits.trim_matches('0').is_empty() {
                            continue;
                        }
                        Some(digits)
                    }
                };
                all.push(PatronNumber { digits, is_bsn });
            }
            all.extend(self.national_card(joined));
        }
        all
    }

    /// The card number of one side, unless it is known to be no national number.
    fn national_card(&self, joined: bool) -> Option<PatronNumber> {
        let kind = kind_of_side(self.policy, self.source, joined)?;
        let paths = ["card_number", "card_kind", "rijksregisternummer"];
        if !paths.iter().all(|path| kind.field(path).is_some())
            || self.is_card_national(joined) == Some(false)
        {
            return None;
        }
        let digits =
            match lookup::look_up(self.tree_of(joined)?, "card_number", FieldType::CardNumber) {
                FieldLookup::Malformed => None,
                found => {
                    let digits = unicode_digits(&found.into_text()?);
                    if digits.len() < 8 || digits.trim_matches('0').is_empty() {
                        return None;
                    }
                    Some(digits)
                }
            };
        Some(PatronNumber { digits, is_bsn: false })
    }

    /// The value, unless it has a national number of the patron in it that the
    /// recipient may not have; notes what it is called.
    fn without_national_number(&self, found: FieldLookup, name: &str) -> FieldLookup {
        let Some(text) = found.clone().into_text() else {
            return found;
        };
        let mut numbers = self.national_numbers().iter();
        let is_of_patron = numbers
            .any(|number| (number.is_bsn || !self.is_authorised()) && number.occurs_in(&text));
        // Whose a number is cannot be told without the patron.
        let may_be_of_patron =
            self.recipient.without_patron.is_some() && contains_national_number(&text);
        if !is_of_patron && !may_be_of_patron {
            return found;
        }
        self.removed_fields.borrow_mut().insert(name.to_owned());
        FieldLookup::Missing
    }

    /// Whether the value of a part of a field is a card number that is a Belgian
    /// national number by its digits.
    fn is_belgian_national_card(&self, field: &FieldRef, found: &FieldLookup) -> bool {
        let library = self.text_of(&self.patron_field("library"));
        self.field_type(field) == Some(FieldType::CardNumber)
            && library.is_some_and(|isil| isil.starts_with("BE"))
            && !self.may_have_national_cards()
            && found.clone().into_text().is_some_and(|text| {
                let digits = unicode_digits(&text);
                mask::is_zero_padded_register_number(&digits)
            })
    }

    fn is_malformed(&self, need: &NeededField) -> bool {
        let Some(tree) = self.tree_of(need.field.is_joined) else {
            return false;
        };
        if self.is_library_country(&need.field) {
            return false;
        }
        // A number that is compared as it stands is malformed in any form.
        let fact = need.field_type == FieldType::CardNumber
            && self.is_card_national(need.field.is_joined).is_none();
        fact || lookup::is_malformed(tree, &need.field.path, need.field_type)
    }

    fn check_libraries(&self) -> Result<(), &'static str> {
        let own = self.text_of(&field_ref(false, "library"));
        let patrons = self.text_of(&field_ref(true, "library"));
        if let ServedLibraries::Only(served) = &self.recipient.libraries {
            let known: Vec<&String> = own.iter().chain(&patrons).collect();
            if known.is_empty() || known.iter().any(|library| !served.contains(library)) {
                return Err("library");
            }
        }
        let differ = own.is_some() && patrons.is_some() && own != patrons;
        if differ && (!self.source.allows_other_library || self.recipient.is_for_own_borrowers) {
            return Err("library_conflict");
        }
        Ok(())
    }

    /// The month of the record is over, in UTC.
    fn check_period(&self) -> Result<(), &'static str> {
        let Some(period) = &self.recipient.period else {
            return Ok(());
        };
        let at = self.moment_of(&period.month_field).ok_or("condition")?;
        if at.month() < self.now.month() { Ok(()) } else { Err("period_open") }
    }

    fn moment_of(&self, field: &FieldRef) -> Option<Moment> {
        parse_moment(&self.text_of(field)?)
    }

    /// The gates that are closed, in the order in which reasons are given.
    fn closed_gates(&self) -> Vec<&'static str> {
        let recipient = self.recipient;
        let mut closed = Vec::new();
        let mut close_if = |is_closed: bool, reason: &'static str| {
            closed.extend(is_closed.then_some(reason));
        };
        let agreement = recipient.agreement.as_ref();
        let in_force =
            agreement.is_none_or(|paper| form::is_in_force(&paper.from, &paper.until, self.now));
        close_if(!in_force, "agreement_lapsed");
        let is_asked = recipient.authorisation.is_some() && self.uses_national_number();
        close_if(is_asked && !self.is_authorised(), "authorisation_lapsed");
        close_if(!self.are_papers_dated(), "paper_pending");
        closed.extend(self.closed_by_patron());
        closed.extend(self.is_settled().then_some("settled"));
        let mut summaries = recipient.summaries();
        let is_unreadable = summaries.any(|summary| self.summarise(summary, "").is_err());
        closed.extend(is_unreadable.then_some("records_unreadable"));
        // Nothing was shown yet.
        self.removed_fields.borrow_mut().remove("");
        let stages = recipient.stages.iter().filter_map(|stage| self.moment_of(stage));
        let mut close_if = |is_closed: bool, reason: &'static str| {
            closed.extend(is_closed.then_some(reason));
        };
        let latest = stages.clone().max().filter(|_| recipient.stages_end_now);
        close_if(!stages.is_sorted(), "stages");
        close_if(latest.is_some_and(|latest| latest > self.now), "stage_in_future");
        let thins = recipient.thinned.as_ref().is_some_and(|rule| rule.when_history_off);
        close_if(self.is_switched_off_loan() && !thins, "loan_history_off");
        let needs_channel = recipient.channel.as_ref().is_some_and(|rule| rule.is_required);
        close_if(needs_channel && self.chosen_channel().is_none(), "no_channel");
        close_if(self.has_unsigned_special_words(), "special_words");
        close_if(self.is_patron_term_over(), "patron_lapsed");
        close_if(self.is_retention_over(), "lapsed");
        closed
    }

    /// What is asked about a patron of a library.
    fn consent_query<'b>(&'b self, library: Option<&'b str>) -> ConsentQuery<'b> {
        ConsentQuery {
            policy: self.policy,
            recipient: self.recipient,
            library,
            birth_date: self
                .text_of(&self.patron_field("birth_date"))
                .and_then(|text| form::parse_date(&text)),
            now: self.now,
            needs_signature: false,
        }
    }

    /// The other patrons that grants name.
    pub fn named_patrons(&self) -> BTreeSet<String> {
        let patron_id = self.text_of(&field_ref(false, "patron_id")).unwrap_or_default();
        self.consent_query(None).named_patrons(&self.statements, &patron_id)
    }

    fn closed_by_patron(&self) -> Vec<&'static str> {
        let library = self.text_of(&self.patron_field("library"));
        let query = self.consent_query(library.as_deref());
        let mut reasons = query.objection_reasons(&self.statements);
        if self.recipient.is_for_named_patrons() {
            let patron_id = self.text_of(&field_ref(false, "patron_id")).unwrap_or_default();
            let pair = NamedPair { patron_id: &patron_id, named_id: self.named_patron.as_deref() };
            reasons.extend(query.named_patron_reasons(&self.statements, pair));
        } else if let Some(rule) = &self.recipient.consent {
            let implied = rule.implied_by.as_ref();
            let at = implied.and_then(|event| self.moment_of(&event.at)).map(Moment::clamped);
            let giver = implied.and_then(|event| event.giver.as_ref());
            let is_by_guardian = giver
                .is_some_and(|giver| self.text_of(&giver.given_by).as_deref() == Some("guardian"));
            let grant = at.map(|at| ImpliedGrant { at, is_by_guardian });
            match giver {
                // Who is no patron is of age, or somebody else took part for it.
                Some(giver) if self.patron.is_none() => {
                    let is_adult = self.look_up(&giver.adult) == FieldLookup::Bool(true);
                    let counts = at.is_some_and(|at| at <= self.now);
                    if !(counts && (is_by_guardian || is_adult)) {
                        reasons.push("no_consent");
                    }
                }
                _ => reasons.extend(query.consent_reasons(&self.statements, grant)),
            }
        }
        reasons
    }

    /// What is made of the patron's records, as JSON; an error if one that counts, or may
    /// count, cannot be read.
    fn summarise(&self, summary: &RecordSummary, name: &str) -> Result<Option<String>, ()> {
        let kind = &self.policy.record_kinds[summary.kind_index];
        let mut counted: Vec<(&str, &JsonNode)> = Vec::new();
        for (id, record) in self
            .own_records
            .iter()
            .filter(|(of, ..)| *of == kind.name)
            .map(|(_, id, record)| (*id, *record))
        {
            if self.counts(summary, kind, (id, record))? {
                counted.push((id, record));
            }
        }
        let value = |record, path: &str| own_record_value(kind, record, path);
        match &summary.function {
            SummaryFunction::Count => Ok(Some(counted.len().to_string())),
            SummaryFunction::Any(word) => Ok((!counted.is_empty()).then(|| quote(word))),
            SummaryFunction::Sum(path) => {
                let mut sum = 0_i128;
                for (_, record) in counted {
                    let FieldLookup::Number(written) = value(record, path) else {
                        return Err(());
                    };
                    sum += i128::from(written.parse::<i64>().map_err(|_| ())?);
                }
                let sum = i64::try_from(sum).map_err(|_| ())?;
                let shown = FieldLookup::Number(sum.to_string());
                Ok(to_json(self.without_national_number(shown, name)))
            }
            SummaryFunction::List { fields, order } => {
                let shown = fields.iter().map(|field| &field.path);
                let mut needed = shown.chain(order);
                if needed.any(|path| {
                    counted.iter().any(|(_, record)| value(record, path) == FieldLookup::Malformed)
                }) {
                    return Err(());
                }
                counted.sort_by_key(|(id, record)| {
                    let days = order.iter().map(|path| {
                        let day = value(record, path).into_text();
                        (day.is_none(), day)
                    });
                    (days.collect::<Vec<_>>(), (*id).to_owned())
                });
                let objects = counted.iter().filter_map(|(_, record)| {
                    let members = fields.iter().filter_map(|field| {
                        let found = value(record, &field.path);
                        let json = to_json(self.without_national_number(found, name))?;
                        Some(format!("{}:{json}", quote(&field.name)))
                    });
                    let members: Vec<String> = members.collect();
                    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
                });
                Ok(to_json_list(objects.collect()))
            }
        }
    }

    /// Whether a record of the patron counts: it is not settled, its library is served, and
    /// every condition holds.
    fn counts(
        &self,
        summary: &RecordSummary,
        kind: &RecordKind,
        (id, record): (&str, &JsonNode),
    ) -> Result<bool, ()> {
        let library = own_record_value(kind, record, "library").into_text();
        let is_served = match &self.recipient.libraries {
            ServedLibraries::All => true,
            ServedLibraries::Only(served) => library.is_some_and(|one| served.contains(&one)),
        };
        if self.statements.is_settled(id) || !is_served {
            return Ok(false);
        }
        let checks = summary.conditions.iter().map(|condition| {
            let found = own_record_value(kind, record, &condition.path);
            match &condition.test {
                SummaryTest::Value(test) => check_condition(found, test, self.now),
                SummaryTest::SameAs { .. } if found == FieldLookup::Malformed => Err("malformed"),
                SummaryTest::SameAs { patron_path, or_else } => {
                    let wanted = self.text_of(&field_ref(false, patron_path)).or(or_else.clone());
                    let is_same = wanted.is_some() && found.into_text() == wanted;
                    if is_same { Ok(()) } else { Err("condition") }
                }
            }
        });
        let gone = kind.gone_path.as_ref().map(|path| own_record_value(kind, record, path));
        let presence = if gone == Some(FieldLookup::Malformed) { Err("malformed") } else { Ok(()) };
        let checks: Vec<_> = checks.chain([presence]).collect();
        if checks.contains(&Err("condition")) {
            return Ok(false);
        }
        if checks.contains(&Err("malformed")) { Err(()) } else { Ok(true) }
    }

    /// Whether a settlement names the record, where some kind settles its kind.
    fn is_settled(&self) -> bool {
        let mut kinds = self.policy.record_kinds.iter();
        kinds.any(|kind| kind.settles.as_ref() == Some(&self.source.name))
            && self
                .text_of(&field_ref(false, &self.source.id_path))
                .is_some_and(|id| self.statements.is_settled(&id))
    }

    /// Whether a text has a word of special categories, and nobody signed for that.
    fn has_unsigned_special_words(&self) -> bool {
        let Some(rule) = &self.recipient.special_words else {
            return false;
        };
        let text = self.text_of(&rule.field).unwrap_or_default();
        let is_letter = |c: char| !is_mark(c) && !is_format(c);
        let plain: String = text.nfkd().filter(|c| is_letter(*c)).collect();
        let plain = plain.to_lowercase();
        let mut words = plain.split(|c: char| !c.is_alphanumeric());
        if !words.any(|word| rule.words.words().any(|listed| listed == word)) {
            return false;
        }
        let library = self.text_of(&self.patron_field("library"));
        let query = ConsentQuery {
            policy: self.policy,
            recipient: self.recipient,
            library: library.as_deref(),
            now: self.now,
            birth_date: None,
            needs_signature: true,
        };
        !query.is_signed(&self.statements)
    }

    /// Whether a national number decides anything, masked or not.
    fn uses_national_number(&self) -> bool {
        let outputs = self.recipient.output_fields.iter();
        let mut shown: Vec<FieldRef> = vec![self.recipient.output_key_field.clone()];
        shown.extend(self.recipient.conditions.iter().map(|one| one.field.clone()));
        for output in outputs {
            match &output.value {
                OutputValue::Scalar(projection) => shown.extend(projection.from.clone()),
                OutputValue::First(all) => {
                    shown.extend(all.iter().filter_map(|one| one.from.clone()))
                }
                OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
                    shown.extend(fields.iter().map(|sub| field_ref(from.is_joined, &sub.path)));
                }
                OutputValue::ScalarList { from } => shown.push(from.clone()),
                // National numbers are never demanded.
                OutputValue::Demanded { .. } => {}
                OutputValue::ShelfSlip { .. }
                | OutputValue::ChannelWord
                | OutputValue::NamedPatron
                | OutputValue::Summary(_) => {}
            }
        }
        let number = FieldType::Text(Some(TextFormat::Rijksregisternummer));
        shown.iter().any(|field| {
            let kind = kind_of_side(self.policy, self.source, field.is_joined);
            let field = kind.and_then(|kind| kind.field(&field.path));
            field.is_some_and(|field| {
                field.class == DataClass::NationalId || field.field_type == number
            })
        })
    }

    fn patron_field(&self, path: &str) -> FieldRef {
        field_ref(self.source.role != Role::Patron, path)
    }

    fn is_active_member(&self) -> bool {
        let status = self.text_of(&self.patron_field("membership.status"));
        status.as_deref() == Some("active")
    }

    fn is_patron_term_over(&self) -> bool {
        let end = self.moment_of(&self.patron_field("membership.ends_on"));
        let term = self.policy.patron_retention.into();
        self.recipient.outlives_membership.is_none()
            && !self.is_active_member()
            && end.is_some_and(|end| end.add_term(term) <= self.now)
    }

    /// Whether the recipient's own term is over; without a start it runs from the first
    /// decision.
    fn is_retention_over(&self) -> bool {
        let retention = &self.recipient.retention;
        let runs = retention.start_field != self.patron_field("membership.ends_on")
            || !self.is_active_member();
        let start = self.moment_of(&retention.start_field).unwrap_or(self.first_decided);
        runs && start.add_term(retention.term.into()) <= self.now
    }

    fn is_switched_off_loan(&self) -> bool {
        let switch = self.look_up(&self.patron_field("loan_history"));
        let status = self.text_of(&field_ref(false, "status"));
        let returned = self.moment_of(&field_ref(false, "returned_at"));
        let since = self.moment_of(&self.patron_field("loan_history_since"));
        let was_off = returned.zip(since).is_some_and(|(returned, since)| returned < since);
        self.recipient.is_loan_history
            && (switch == FieldLookup::Bool(false) || was_off)
            && status.as_deref() == Some("returned")
    }

    /// Whether the output goes without the fields that the recipient drops.
    fn is_thinned(&self) -> bool {
        let Some(rule) = &self.recipient.thinned else {
            return false;
        };
        let ends = rule
            .after
            .iter()
            .filter_map(|(term, from)| Some(self.moment_of(from)?.add_term((*term).into())));
        (rule.when_gone && self.is_gone)
            || (rule.when_history_off && self.is_switched_off_loan())
            || ends.into_iter().any(|end| end <= self.now)
    }

    fn output_topic(&self) -> Result<&str, &'static str> {
        match &self.recipient.topics {
            OutputTopics::Single(topic) => Ok(topic),
            OutputTopics::PerParty { party_field: by, topic_by_party: of } => {
                let party = self.text_of(by);
                let mut listed = of.iter();
                let found = listed.find(|(listed, _)| Some(listed) == party.as_ref());
                found.map(|(_, topic)| topic.as_str()).ok_or("party_unlisted")
            }
        }
    }

    fn may_have_national_cards(&self) -> bool {
        self.is_authorised() && !self.recipient.omits_national_cards
    }

    /// No paper of the recipient is dated later than today.
    fn are_papers_dated(&self) -> bool {
        let papers = &self.recipient.papers;
        let days = [
            papers.notice.as_ref().map(|one| &one.on),
            papers.dpo_advice.as_ref().map(|one| &one.on),
            papers.approval.as_ref().map(|one| &one.on),
            papers.terms.as_ref().map(|one| &one.on),
        ];
        let mut days = days.into_iter().flatten();
        days.all(|day| parse_moment(day).is_some_and(|day| day <= self.now))
    }

    fn is_authorised(&self) -> bool {
        let Some(paper) = &self.recipient.authorisation else {
            return false;
        };
        // Nothing is in force before it is approved.
        let from = (&paper.from).max(&paper.approved_on);
        form::is_in_force(from, &paper.until, self.now)
    }

    /// Whether the field is a card number that the recipient must not see.
    fn is_hidden_card_number(&self, field: &FieldRef) -> bool {
        self.field_type(field) == Some(FieldType::CardNumber)
            && self.is_card_national(field.is_joined) == Some(true)
            && !self.may_have_national_cards()
    }

    /// Whose record it is follows the value in a key, but for the patron's id itself.
    fn output_key(&self) -> Option<String> {
        let field = &self.recipient.output_key_field;
        if self.recipient.is_for_named_patrons() {
            return self.keyed_hash(field, Some(self.named_patron.as_deref()?));
        }
        let own = self.source.is_keyed_by_patron && field.path != "patron_id";
        let patron_id = own.then(|| self.text_of(&field_ref(false, "patron_id")));
        match patron_id {
            Some(None) if self.source.may_lack_patron => self.keyed_hash(field, None),
            Some(patron_id) => self.keyed_hash(field, Some(&patron_id?)),
            None => self.keyed_hash(field, None),
        }
    }

    /// Another pseudonym each month, by the month as it is written.
    fn monthly_pseudonym(&self, field: &FieldRef, of: &FieldRef) -> Option<String> {
        let text = self.text_of(of)?;
        parse_moment(&text)?;
        self.keyed_hash(field, text.get(..7))
    }

    fn keyed_hash(&self, field: &FieldRef, behind: Option<&str>) -> Option<String> {
        if self.is_hidden_card_number(field) {
            return None;
        }
        let value = self.text_of(field)?;
        self.keyed_hash_of(field, &value, behind)
    }

    /// The keyed hash of a value in place of the field's own.
    fn keyed_hash_of(&self, field: &FieldRef, value: &str, behind: Option<&str>) -> Option<String> {
        let library = self.text_of(&library_field(self.source, field));
        let of_patron =
            field.is_joined || field.path == "patron_id" || self.source.role == Role::Patron;
        let kind = if of_patron { "patron" } else { &self.source.name };
        let library = library.unwrap_or_default();
        let mut parts = vec![kind, &field.path, &library, value];
        parts.extend(behind);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.hmac_key).unwrap();
        mac.update(parts.join("\0").as_bytes());
        Some(URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16]))
    }

    /// The path of the channel by which the patron is reached, and its word.
    fn chosen_channel(&self) -> Option<(&FieldRef, &'static str)> {
        let rule = self.recipient.channel.as_ref()?;
        let mut channels = rule.channels.iter();
        let is_there = |field: &FieldRef| self.look_up(field) != FieldLookup::Missing;
        let channel = channels.find(|channel| channel.present_by.iter().any(is_there))?;
        let word = match channel.medium {
            Medium::Email => "email",
            Medium::Phone => "phone",
            Medium::Post => "post",
        };
        Some((&channel.from, word))
    }

    /// Whether an output field is of a channel by which the patron is not reached.
    fn is_of_other_channel(&self, value: &OutputValue) -> bool {
        let from = match value {
            OutputValue::Scalar(projection) => projection.from.as_ref(),
            OutputValue::Object { from, .. }
            | OutputValue::ObjectList { from, .. }
            | OutputValue::ScalarList { from } => Some(from),
            OutputValue::First(_)
            | OutputValue::Demanded { .. }
            | OutputValue::ShelfSlip { .. }
            | OutputValue::ChannelWord
            | OutputValue::NamedPatron
            | OutputValue::Summary(_) => None,
        };
        let is_part = |channel: &FieldRef, field: &FieldRef| {
            let whole = format!("{channel}.");
            field == channel || field.to_string().starts_with(&whole)
        };
        let rule = self.recipient.channel.iter().flat_map(|rule| &rule.channels);
        let own = from.and_then(|from| rule.map(|one| &one.from).find(|one| is_part(one, from)));
        own.is_some_and(|own| self.chosen_channel().is_none_or(|(chosen, _)| chosen != own))
    }

    fn project(&self) -> String {
        let mut shown: Vec<Option<String>> = Vec::new();
        let thinned = self.recipient.thinned.as_ref().filter(|_| self.is_thinned());
        let dropped = thinned.map_or(&[][..], |rule| &rule.dropped_fields);
        let mut members = Vec::new();
        for (index, output) in self.recipient.output_fields.iter().enumerate() {
            let mut text = None;
            if dropped.contains(&index) {
                shown.push(text);
                continue;
            }
            let json = match &output.value {
                value if self.is_of_other_channel(value) => None,
                OutputValue::ChannelWord => self.chosen_channel().map(|(_, word)| quote(word)),
                OutputValue::Scalar(projection) => {
                    let found = self.project_scalar(projection);
                    let found = match projection.mask {
                        Some(Mask::Pseudonym { .. }) => found,
                        _ => self.without_national_number(found, &output.name),
                    };
                    text = found.clone().into_shown_text();
                    to_json(found)
                }
                OutputValue::First(all) => self.project_first(all, &output.name),
                OutputValue::Object { from, fields } => self
                    .tree_of(from.is_joined)
                    .and_then(|tree| self.project_object(tree, from, fields, ("", &output.name))),
                OutputValue::ObjectList { from, fields } => {
                    self.project_list(from, fields, &output.name)
                }
                OutputValue::ScalarList { from } => self.project_values(from, &output.name),
                OutputValue::NamedPatron => {
                    let id = field_ref(false, "patron_id");
                    let named = self.named_patron.as_deref();
                    let hash = named.and_then(|named| self.keyed_hash_of(&id, named, None));
                    hash.map(|hash| quote(&hash))
                }
                OutputValue::Demanded { list, shows: DemandedPart::Values } => {
                    let fields = self.released_on_demand(list);
                    let fields: Vec<_> = fields.iter().map(|one| (*one, &*one.path)).collect();
                    self.patron.and_then(|tree| self.project_demanded(tree, &fields, &output.name))
                }
                OutputValue::Demanded { list, shows: DemandedPart::Number } => {
                    Some(self.demanded_fields(list).len().to_string())
                }
                OutputValue::Summary(summary) => {
                    self.summarise(summary, &output.name).unwrap_or_default()
                }
                OutputValue::ShelfSlip {
                    shelf_mark_index: mark,
                    initial_index: initial,
                    line_indices: rest,
                } => {
                    let line = |place: &usize| shown[*place].as_deref();
                    let lines = mask::slip_lines(line(mark), line(initial), rest.iter().map(line));
                    let name = format!("{}[]", output.name);
                    let lines = lines.into_iter().filter_map(|line| {
                        to_json(self.without_national_number(FieldLookup::Text(line), &name))
                    });
                    Some(format!("[{}]", lines.collect::<Vec<_>>().join(",")))
                }
            };
            shown.push(text);
            members.extend(json.map(|json| format!("{}:{json}", quote(&output.name))));
        }
        format!("{{{}}}", members.join(","))
    }

    /// The first value that is there, also if it may not be shown.
    fn project_first(&self, all: &[FieldProjection], name: &str) -> Option<String> {
        let own = |one: &&FieldProjection| {
            !self.is_of_other_channel(&OutputValue::Scalar((*one).clone()))
        };
        let mut values = all.iter().filter(own).map(|one| self.project_scalar(one));
        let found = values.find(|value| to_json(value.clone()).is_some())?;
        to_json(self.without_national_number(found, name))
    }

    /// The fields of the patron kind that a list of the record names, in the catalogue's order.
    fn demanded_fields(&self, list: &FieldRef) -> Vec<&CatalogueField> {
        let name = list.path.strip_suffix("[]").unwrap();
        let named = lookup::list_values(self.record, name, FieldType::Text(None));
        let named = named.unwrap_or_default();
        let is_named =
            |field: &&CatalogueField| named.contains(&FieldLookup::Text(field.path.clone()));
        let fields = self.policy.patron_kind().map_or(&[][..], |kind| &kind.fields);
        fields.iter().filter(is_named).collect()
    }

    /// The demanded fields that any authority may get.
    fn released_on_demand(&self, list: &FieldRef) -> Vec<&CatalogueField> {
        let mut fields = self.demanded_fields(list);
        fields.retain(|field| {
            let never = [DataClass::Secret, DataClass::NationalId, DataClass::FreeText];
            !never.contains(&field.class) && is_bsn_field(field).is_none()
        });
        fields
    }

    /// Of the patron's fields, those alone are needed that are demanded.
    fn has_malformed_demanded(&self) -> bool {
        self.recipient.output_fields.iter().any(|output| {
            let OutputValue::Demanded { list, shows: DemandedPart::Values } = &output.value else {
                return false;
            };
            self.released_on_demand(list).iter().any(|field| {
                let need = NeededField {
                    field: field_ref(true, &field.path),
                    field_type: field.field_type,
                };
                self.is_malformed(&need)
            })
        })
    }

    /// An object of these fields of the patron's record, with what is left of their paths below
    /// `tree`.
    fn project_demanded(
        &self,
        tree: &JsonNode,
        fields: &[(&CatalogueField, &str)],
        name: &str,
    ) -> Option<String> {
        let mut members = Vec::new();
        let mut objects: Vec<&str> = Vec::new();
        for (field, below) in fields {
            let Some((first, _)) = below.split_once('.') else {
                let plain = below.trim_end_matches("[]");
                let value = self.demanded_value(tree, (field, below), name);
                members.extend(value.map(|value| format!("{}:{value}", quote(plain))));
                continue;
            };
            if objects.contains(&first) {
                continue;
            }
            objects.push(first);
            let start = format!("{first}.");
            let inner = fields
                .iter()
                .filter_map(|(field, below)| Some((*field, below.strip_prefix(&start)?)));
            let inner: Vec<_> = inner.collect();
            let value = match first.strip_suffix("[]") {
                None => self.project_demanded(tree, &inner, name),
                Some(list) => {
                    // A list stands in the record, or in an object of it.
                    let (whole, _) = field.path.split_once("[]").unwrap();
                    assert!(whole.ends_with(list));
                    let objects = lookup::list_objects(self.patron.unwrap(), whole)?;
                    let written = objects.iter();
                    let written =
                        written.filter_map(|object| self.project_demanded(object, &inner, name));
                    to_json_list(written.collect())
                }
            };
            let plain = first.trim_end_matches("[]");
            members.extend(value.map(|value| format!("{}:{value}", quote(plain))));
        }
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    /// One demanded value, as JSON; `tree` is the patron's record, or the object of a list.
    fn demanded_value(
        &self,
        tree: &JsonNode,
        (field, below): (&CatalogueField, &str),
        name: &str,
    ) -> Option<String> {
        let at = field_ref(true, &field.path);
        let full_name = format!("{name}.{}", field.path);
        if below.ends_with("[]") {
            return self.project_values(&at, full_name.trim_end_matches("[]"));
        }
        let found = match field.path.split_once("[].") {
            None => self.look_up(&at),
            Some((_, inside)) => lookup::look_up(tree, inside, field.field_type),
        };
        if self.is_hidden_card_number(&at) || self.is_belgian_national_card(&at, &found) {
            return None;
        }
        to_json(self.without_national_number(found, &full_name))
    }

    fn project_scalar(&self, projection: &FieldProjection) -> FieldLookup {
        let from = projection.from.as_ref();
        if let (Some(Mask::Pseudonym(mask)), Some(from)) = (&projection.mask, from) {
            let made = match &mask.month_of {
                None => self.keyed_hash(from, None),
                Some(path) => self.monthly_pseudonym(from, &field_ref(false, path)),
            };
            let made = made.map(|text| match mask.is_hexadecimal {
                true => in_hexadecimal(&text),
                false => text,
            });
            return made.map_or(FieldLookup::Missing, FieldLookup::Text);
        }
        let value = match from {
            Some(from) if !self.is_hidden_card_number(from) => self.look_up(from),
            _ => FieldLookup::Missing,
        };
        if projection.mask.is_none() && projection.detect.is_none() {
            return value;
        }
        let value = value.into_shown_text();
        let joined = from.is_some_and(|from| from.is_joined);
        let masked = match &projection.mask {
            None => value,
            Some(mask) => self.apply_mask(mask, value.as_deref(), joined),
        };
        let Some(text) = masked else {
            return FieldLookup::Missing;
        };
        FieldLookup::Text(match &projection.detect {
            None => text,
            Some(detectors) => self.apply_detectors(detectors, text),
        })
    }

    fn apply_mask(&self, mask: &Mask, value: Option<&str>, joined: bool) -> Option<String> {
        let not_blank = |text: &String| !mask::clean_text(text).is_empty();
        let value = value.map(str::to_owned).filter(not_blank);
        let beside = |path: &str| self.text_of(&field_ref(joined, path)).filter(not_blank);
        let country =
            || beside("country").or_else(|| Some(beside("library")?.get(..2)?.to_owned()));
        match mask {
            Mask::FirstLetters(letters) => {
                let is_full = match letters.surname_key {
                    SurnameKey::ByCountry => country().as_deref() != Some("NL"),
                    SurnameKey::Kernwoord => false,
                    SurnameKey::Full => true,
                };
                let prefix = beside("surname_prefix");
                let prefix = is_full.then_some(prefix.as_deref());
                mask::first_letters(value.as_deref(), prefix, letters.count)
            }
            Mask::Initial(initial) => {
                mask::initial(value.as_deref(), beside("given_name").as_deref(), initial.ij_is_one)
            }
            Mask::LastDigits(shown) => mask::last_digits(&value?, shown.count, shown.min_hidden)
                .filter(|digits| !digits.is_empty()),
            Mask::FullName(_) => {
                mask::full_name(&[beside("initials"), beside("surname_prefix"), value])
            }
            Mask::Year(_) | Mask::Month(_) => {
                let length = if matches!(mask, Mask::Year(_)) { 4 } else { 7 };
                let value = value?;
                parse_written_day(&value).map(|_| value[..length].to_owned())
            }
            Mask::AgeBand(band) => {
                let day = parse_written_day(&self.text_of(&field_ref(false, &band.day_path))?)?;
                let age = form::age_in_years(parse_written_day(&value?)?, day)?;
                let band = band.bands.iter().rev().find(|band| i64::from(band.min_age) <= age)?;
                Some(band.label.clone())
            }
            Mask::PostcodeArea(_) => {
                let country = beside("address.country").or_else(country);
                form::postcode_area(&value?, &country?)
            }
            Mask::Postcode(_) => {
                let country = beside("address.country").or_else(country);
                let value = value.filter(|_| country.as_deref() == Some("NL"))?;
                form::postcode_area(&value, "NL")?;
                let spelled = value.trim().replace(' ', "");
                Some(spelled.to_uppercase())
            }
            Mask::Present(_) => value.map(|_| "true".to_owned()),
            Mask::Constant(constant) => {
                Some(constant.value.clone()).filter(|value| !value.is_empty())
            }
            Mask::OrElse(other) => {
                Some(value.unwrap_or_else(|| other.value.clone())).filter(|shown| !shown.is_empty())
            }
            Mask::ShelfName(both) => {
                let is_full = match both.letters.surname_key {
                    SurnameKey::ByCountry => country().as_deref() != Some("NL"),
                    SurnameKey::Kernwoord => false,
                    SurnameKey::Full => true,
                };
                let prefix = beside("surname_prefix");
                let prefix = is_full.then_some(prefix.as_deref());
                let letters = mask::first_letters(value.as_deref(), prefix, both.letters.count);
                let (initials, given) = (beside("initials"), beside("given_name"));
                let ij = both.initial.ij_is_one;
                let initial = mask::initial(initials.as_deref(), given.as_deref(), ij);
                let words: Vec<String> = letters.into_iter().chain(initial).collect();
                Some(words.join(" ")).filter(|shown| !shown.is_empty())
            }
            Mask::Lowercase(_) => Some(mask::clean_text(&value?).to_lowercase()),
            Mask::Pseudonym(_) | Mask::ShelfSlip(_) => None,
        }
    }

    fn apply_detectors(&self, detectors: &DetectorSet, text: String) -> String {
        let own: Vec<String> = match detectors.needs_own_values() {
            true => self.personal_values(),
            false => Vec::new(),
        };
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let mut out = String::new();
        if detectors.redact(&text, own.iter().copied(), &mut out, &mut [0; DETECTOR_ROWS]) {
            out
        } else {
            text
        }
    }

    fn personal_values(&self) -> Vec<String> {
        let mut all = Vec::new();
        for field in personal_fields(self.policy, self.source) {
            match field.path.split_once("[]") {
                None => all.extend(self.text_of(&field)),
                Some((list, below)) => {
                    let tree = self.tree_of(field.is_joined);
                    let kind = self.field_type(&field).unwrap();
                    let found = tree.and_then(|tree| match below.strip_prefix('.') {
                        None => lookup::list_values(tree, list, kind),
                        Some(below) => {
                            let objects = lookup::list_objects(tree, list)?;
                            let found = objects.iter().map(|one| lookup::look_up(one, below, kind));
                            Some(found.collect())
                        }
                    });
                    all.extend(found.into_iter().flatten().filter_map(FieldLookup::into_text));
                }
            }
            let address = address_parts(self.policy, self.source, &field);
            let parts: Vec<String> = address.iter().filter_map(|part| self.text_of(part)).collect();
            all.push(parts.join(" "));
        }
        for number in self.national_numbers() {
            let whole = if number.is_bsn { 9 } else { 11 };
            if let Some(needle) = number.search_digits() {
                all.extend([needle.to_owned(), format!("{needle:0>whole$}")]);
            }
        }
        all
    }

    /// The listed fields of an object; `start` is what their paths have before
    /// them that the tree has not.
    fn project_object(
        &self,
        tree: &JsonNode,
        from: &FieldRef,
        fields: &[SubField],
        (start, name): (&str, &str),
    ) -> Option<String> {
        let mut members = Vec::new();
        for sub in fields {
            let field = field_ref(from.is_joined, &sub.path);
            let path = sub.path.strip_prefix(start).unwrap();
            let found = match start {
                "" => self.look_up(&field),
                _ => lookup::look_up(tree, path, self.field_type(&field).unwrap()),
            };
            if self.is_hidden_card_number(&field) || self.is_belgian_national_card(&field, &found) {
                continue;
            }
            let found = self.without_national_number(found, &format!("{name}.{}", sub.name));
            members.extend(to_json(found).map(|json| format!("{}:{json}", quote(&sub.name))));
        }
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    fn project_list(&self, from: &FieldRef, fields: &[SubField], name: &str) -> Option<String> {
        let list = from.path.strip_suffix("[]").unwrap();
        let objects = lookup::list_objects(self.tree_of(from.is_joined)?, list)?;
        let start = format!("{}.", from.path);
        let written = objects.iter().filter_map(|tree| {
            self.project_object(tree, from, fields, (&start, &format!("{name}[]")))
        });
        to_json_list(written.collect())
    }

    fn project_values(&self, from: &FieldRef, name: &str) -> Option<String> {
        if self.is_hidden_card_number(from) {
            return None;
        }
        let list = from.path.strip_suffix("[]").unwrap();
        let values =
            lookup::list_values(self.tree_of(from.is_joined)?, list, self.field_type(from)?)?;
        let shown = values
            .into_iter()
            .filter(|found| !self.is_belgian_national_card(from, found))
            .map(|found| self.without_national_number(found, &format!("{name}[]")));
        to_json_list(shown.filter_map(to_json).collect())
    }
}

/// A value of another record of the patron; one that its list does not have is missing.
fn own_record_value(kind: &RecordKind, record: &JsonNode, path: &str) -> FieldLookup {
    let field = kind.field(path).unwrap();
    match lookup::look_up(record, path, field.field_type) {
        FieldLookup::Text(text)
            if !field.allowed_values.is_empty() && !field.allowed_values.contains(&text) =>
        {
            FieldLookup::Missing
        }
        found => found,
    }
}

fn check_condition(
    value: FieldLookup,
    test: &ConditionTest,
    now: Moment,
) -> Result<(), &'static str> {
    let equals = |literal: &ConditionLiteral| match (literal, &value) {
        (ConditionLiteral::Text(wanted), FieldLookup::Text(text)) => wanted == text,
        (ConditionLiteral::Boolean(wanted), FieldLookup::Bool(truth)) => wanted == truth,
        (ConditionLiteral::Integer(wanted), FieldLookup::Number(written)) => {
            written.parse() == Ok(*wanted)
        }
        _ => false,
    };
    let holds = match (test, &value) {
        (_, FieldLookup::Malformed) => return Err("malformed"),
        (ConditionTest::Present, found) => *found != FieldLookup::Missing,
        (ConditionTest::Absent, found) => *found == FieldLookup::Missing,
        (ConditionTest::OneOf(literals), _) => literals.iter().any(equals),
        (ConditionTest::TimeRange(range), FieldLookup::Text(text)) => {
            form::is_in_time_range(text, range, now)
        }
        (ConditionTest::IntegerRange(range), FieldLookup::Number(written)) => {
            // Exact far beyond every bound.
            let number = written.parse::<f64>().unwrap_or(f64::NAN);
            let exact = written.parse::<i64>().map(i128::from);
            let compare = |bound: i64| match exact {
                Ok(exact) => exact.cmp(&i128::from(bound)),
                Err(_) if number < 0.0 => Ordering::Less,
                Err(_) => Ordering::Greater,
            };
            range.above.is_none_or(|bound| compare(bound).is_gt())
                && range.below.is_none_or(|bound| compare(bound).is_lt())
        }
        (ConditionTest::TimeRange(_) | ConditionTest::IntegerRange(_), _) => false,
    };
    if holds { Ok(()) } else { Err("condition") }
}

fn to_json(found: FieldLookup) -> Option<String> {
    match found {
        FieldLookup::Missing | FieldLookup::Malformed => None,
        FieldLookup::Text(text) => Some(quote(&text)),
        FieldLookup::Number(written) => Some(written),
        FieldLookup::Bool(truth) => Some(truth.to_string()),
    }
}

fn to_json_list(written: Vec<String>) -> Option<String> {
    (!written.is_empty()).then(|| format!("[{}]", written.join(",")))
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

fn is_format(c: char) -> bool {
    c.general_category() == GeneralCategory::Format
}
