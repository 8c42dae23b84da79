//! One record for one recipient: whether it may have it, and what it gets.

use std::cell::RefCell;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeef::policy::Policy;
use zeef::policy::catalogue::{Class, Field, Kind, Role, Type};
use zeef::policy::detect::{DETECTORS, Detectors};
use zeef::policy::form::Form;
use zeef::policy::mask::{Mask, Need, Noticed, slip_lines};
use zeef::policy::recipient::{
    Condition, FieldRef, Libraries, Literal, OutputValue, Projection, Recipient, SubField, Test,
    Topics,
};
use zeef::policy::text::ascii_digits;

use super::field::{self, Found};
use super::gate::{Asks, Heard, in_force, is_over, kept_ns, ns};
use super::tree::Tree;

/// A field whose malformedness keeps the record from the recipient.
pub struct Needed {
    at: FieldRef,
    kind: Type,
}

/// The fields of the patron and of the record that a note may hold: all that point
/// at a person, but for national numbers.
fn own_fields(policy: &Policy, source: &Kind) -> Vec<FieldRef> {
    let own = source.role == Role::Patron || policy.patron().is_none() || !source.keyed;
    let sides: &[bool] = if own { &[false] } else { &[true, false] };
    let mut all = Vec::new();
    for joined in sides {
        let kind = kind_of(policy, source, *joined);
        for field in kind.iter().flat_map(|kind| &kind.fields) {
            let points = matches!(
                field.class,
                Class::Personal | Class::Contact | Class::Identifier | Class::Financial
            );
            if points && field.kind != Type::Boolean && national(field).is_none() {
                all.push(at(*joined, &field.path));
            }
        }
    }
    all
}

/// The parts of the address that a street begins, as far as the kind has them.
fn address_of(policy: &Policy, source: &Kind, street: &FieldRef) -> Vec<FieldRef> {
    let Some(start) = street.path.strip_suffix("street") else {
        return Vec::new();
    };
    let names = ["street", "house_number", "house_number_suffix"];
    let parts = names.map(|name| at(street.joined, &format!("{start}{name}")));
    let kind = kind_of(policy, source, street.joined);
    let known = |part: &FieldRef| kind.is_some_and(|kind| kind.field(&part.path).is_some());
    parts.into_iter().filter(known).collect()
}

/// Whether a field has a national number: a BSN, or another one.
fn national(field: &Field) -> Option<bool> {
    let name = field
        .path
        .trim_end_matches("[]")
        .rsplit('.')
        .next()
        .unwrap();
    let name = name.to_lowercase();
    if ["bsn", "burgerservicenummer"].contains(&name.as_str())
        || field.kind == Type::Text(Some(Form::Bsn))
    {
        return Some(true);
    }
    let register = ["rijksregisternummer", "rrn", "insz", "niss"].contains(&name.as_str());
    let formed = field.kind == Type::Text(Some(Form::Rijksregisternummer));
    (register || formed || field.class == Class::NationalId).then_some(false)
}

/// A national number of a record's patron.
#[derive(Clone, Debug)]
struct Number {
    /// As it stands, in ASCII; none where it cannot be read.
    digits: Option<String>,
    is_bsn: bool,
}

impl Number {
    /// What is looked for in outputs: fewer zeros at the start, if eight digits are
    /// left, and no more than fourteen.
    fn needle(&self) -> Option<&str> {
        let digits = self.digits.as_deref()?;
        let significant = digits.trim_start_matches('0').len();
        Some(&digits[digits.len() - significant.clamp(8, 14)..])
    }

    fn is_in(&self, text: &str) -> bool {
        let digits: String = ascii_digits(text).collect();
        match self.needle() {
            Some(needle) => digits.contains(needle),
            None if self.is_bsn => digits.len() == 9 && Form::Bsn.fits(&digits),
            None => Form::Rijksregisternummer.fits(&digits),
        }
    }
}

fn at(joined: bool, path: &str) -> FieldRef {
    FieldRef {
        joined,
        path: path.to_owned(),
    }
}

/// The secret of a recipient's key: another one for each.
pub fn secret(recipient: &str) -> Vec<u8> {
    format!("{recipient:~<40}").into_bytes()
}

/// Everything that the recipient's file names, used or not.
pub fn needs(policy: &Policy, recipient: &Recipient) -> Vec<Needed> {
    let source = &policy.kinds[recipient.source];
    let own = source.role == Role::Patron;
    let mut all: Vec<FieldRef> = Vec::new();
    all.extend(recipient.when.iter().map(|one| one.field.clone()));
    all.extend([recipient.key.clone(), library_of(source, &recipient.key)]);
    if let Topics::Each { by, .. } = &recipient.topics {
        all.push(by.clone());
    }
    all.extend(recipient.stages.iter().cloned());
    let implied = recipient.consent.iter().flat_map(|gate| &gate.implied_by);
    all.extend(implied.cloned());
    if recipient.loan_history {
        all.extend([at(false, "status"), at(!own, "loan_history")]);
    }
    all.push(recipient.retention.from.clone());
    all.extend(recipient.period.iter().map(|period| period.of.clone()));
    for output in &recipient.fields {
        match &output.value {
            OutputValue::Scalar(projection) => {
                scalar_needs(policy, source, projection, &mut all);
            }
            OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
                all.extend(fields.iter().map(|sub| at(from.joined, &sub.path)));
            }
            OutputValue::Scalars { from } => all.push(from.clone()),
            OutputValue::Slip { .. } => {}
        }
    }
    let typed = all.into_iter().filter_map(|at| {
        let kind = kind_of(policy, source, at.joined)?.field(&at.path)?.kind;
        Some(Needed { at, kind })
    });
    typed.collect()
}

fn scalar_needs(policy: &Policy, source: &Kind, projection: &Projection, all: &mut Vec<FieldRef>) {
    all.extend(projection.from.clone());
    let joined = projection.from.as_ref().is_some_and(|from| from.joined);
    if let (Some(Mask::Pseudonym { month_of }), Some(from)) = (&projection.mask, &projection.from) {
        all.push(library_of(source, from));
        all.extend(month_of.iter().map(|path| at(false, path)));
        return;
    }
    for need in projection.mask.iter().flat_map(Mask::needs) {
        match need {
            Need::Sibling(path) => all.push(at(joined, path)),
            Need::Source(path) => all.push(at(false, &path)),
            Need::Country => all.extend([at(joined, "country"), at(joined, "library")]),
        }
    }
    if projection
        .detect
        .as_ref()
        .is_some_and(Detectors::needs_own_values)
    {
        for field in own_fields(policy, source) {
            all.extend(address_of(policy, source, &field));
            all.push(field);
        }
    }
}

/// The library that goes into a pseudonym: the patron's for what is the patron's.
fn library_of(source: &Kind, field: &FieldRef) -> FieldRef {
    let patrons = field.joined || field.path == "patron_id";
    at(patrons && source.role != Role::Patron, "library")
}

fn kind_of<'p>(policy: &'p Policy, source: &'p Kind, joined: bool) -> Option<&'p Kind> {
    if joined {
        policy.patron()
    } else {
        Some(source)
    }
}

/// A record and its patron, as one recipient sees them.
pub struct View<'a> {
    pub policy: &'a Policy,
    pub recipient: &'a Recipient,
    pub source: &'a Kind,
    pub record: &'a Tree,
    pub patron: Option<&'a Tree>,
    /// What the patron said, where the record has one.
    pub consents: Option<&'a Heard>,
    pub objections: Option<&'a Heard>,
    pub now_ms: i64,
    /// The fields and parts of fields that were left out for a national number.
    pub left_out: RefCell<BTreeSet<String>>,
}

impl View<'_> {
    /// The topic, key and value that the recipient gets; why not, where not.
    pub fn judge(&self, needs: &[Needed], bytes_max: usize) -> Result<String, &'static str> {
        self.libraries()?;
        for condition in &self.recipient.when {
            holds(self.find(&condition.field), &condition.test)?;
        }
        if needs.iter().any(|need| self.is_malformed(need)) {
            return Err("malformed");
        }
        self.period()?;
        self.agreement()?;
        self.authorisation()?;
        self.objection()?;
        self.consent()?;
        self.stages()?;
        self.loan_history()?;
        self.patron_term()?;
        self.retention()?;
        let topic = self.topic()?;
        let key = self.output_key().ok_or("key_missing")?;
        let value = self.project();
        if value.len() > bytes_max {
            return Err("too_large");
        }
        Ok(format!("{topic} {key} {value}"))
    }

    /// Why not, as far as the record alone tells.
    pub fn judge_alone(&self) -> Result<(), &'static str> {
        self.libraries()?;
        let own = |condition: &&Condition| !condition.field.joined;
        for condition in self.recipient.when.iter().filter(own) {
            holds(self.find(&condition.field), &condition.test)?;
        }
        Ok(())
    }

    fn tree(&self, joined: bool) -> Option<&Tree> {
        if joined {
            self.patron
        } else {
            Some(self.record)
        }
    }

    fn kind(&self, field: &FieldRef) -> Option<Type> {
        let kind = kind_of(self.policy, self.source, field.joined)?;
        Some(kind.field(&field.path)?.kind)
    }

    /// The value of a field that is in no list.
    fn find(&self, field: &FieldRef) -> Found {
        match (self.tree(field.joined), self.kind(field)) {
            (Some(_), _) if self.is_dropped(field) => Found::Missing,
            (Some(tree), Some(_)) if self.is_country(field) => {
                // It is the library's, whatever the record says.
                let library = field::look(tree, "library", Type::Text(Some(Form::Isil))).text();
                let isil = library.unwrap_or_default();
                isil.get(..2)
                    .map_or(Found::Missing, |two| Found::Text(two.to_owned()))
            }
            (Some(tree), Some(kind)) => match field::look(tree, &field.path, kind) {
                Found::Text(text) if !self.is_listed(field, &text) => Found::Missing,
                found => found,
            },
            _ => Found::Missing,
        }
    }

    /// Whether a field is the country of a kind whose records have a library.
    fn is_country(&self, field: &FieldRef) -> bool {
        let kind = kind_of(self.policy, self.source, field.joined);
        let kind = kind.filter(|kind| kind.role != Role::Gate);
        field.path == "country" && kind.is_some_and(|kind| kind.field("library").is_some())
    }

    /// Whether a text is one of those that a field may have.
    fn is_listed(&self, field: &FieldRef, text: &str) -> bool {
        let kind = kind_of(self.policy, self.source, field.joined);
        let kind = kind.filter(|kind| kind.role != Role::Gate);
        let known = kind.and_then(|kind| kind.field(&field.path));
        known.is_none_or(|known| {
            known.values.is_empty() || known.values.iter().any(|value| value == text)
        })
    }

    fn text(&self, field: &FieldRef) -> Option<String> {
        self.find(field).text()
    }

    /// A national number on a patron's card does not rest in the table: for a
    /// recipient without an authorisation it is not there at all.
    fn is_dropped(&self, field: &FieldRef) -> bool {
        field.joined
            && field.path == "card_number"
            && self.national(true) == Some(true)
            && self.recipient.authorisation.is_none()
    }

    /// Whether the card is a national number; none where that is malformed.
    fn national(&self, joined: bool) -> Option<bool> {
        let tree = self.tree(joined)?;
        let library = field::look(tree, "library", Type::Text(Some(Form::Isil))).text();
        let belgian = library.is_some_and(|isil| isil.starts_with("BE"));
        let text = |path: &str| match field::look(tree, path, Type::Text(None)) {
            Found::Malformed => Err(()),
            other => Ok(other.text().unwrap_or_default()),
        };
        let (number, kind) = (text("card_number").ok()?, text("card_kind").ok()?);
        let digits = |text: &str| ascii_digits(text).collect::<String>();
        let (card, national) = (digits(&number), digits(&text("rijksregisternummer").ok()?));
        let by_digits = belgian && is_register_number_behind_zeros(&card);
        Some(kind == "eid" || by_digits || (!card.is_empty() && card == national))
    }

    /// The national numbers of the record's patron, from all that is known.
    fn numbers(&self) -> Vec<Number> {
        let mut all = Vec::new();
        for joined in [false, true] {
            let kind = kind_of(self.policy, self.source, joined);
            let kind = kind.filter(|_| self.source.keyed);
            let Some((kind, tree)) = kind.zip(self.tree(joined)) else {
                continue;
            };
            for field in &kind.fields {
                let Some(is_bsn) = national(field).filter(|_| !field.path.contains("[]")) else {
                    continue;
                };
                let digits = match field::look(tree, &field.path, Type::TextOrNumber) {
                    Found::Missing => continue,
                    Found::Malformed | Found::Bool(_) => None,
                    Found::Text(text) | Found::Number(text) => {
                        let digits: String = ascii_digits(&text).collect();
                        if digits.len() < 8 || digits.trim_matches('0').is_empty() {
                            continue;
                        }
                        Some(digits)
                    }
                };
                all.push(Number { digits, is_bsn });
            }
        }
        all
    }

    /// The value, unless it has a national number of the patron in it that the
    /// recipient may not have; notes what it is called.
    fn passed(&self, found: Found, name: &str) -> Found {
        let Some(text) = found.clone().text() else {
            return found;
        };
        let mut numbers = self.numbers().into_iter();
        if !numbers.any(|number| (number.is_bsn || !self.is_authorised()) && number.is_in(&text)) {
            return found;
        }
        self.left_out.borrow_mut().insert(name.to_owned());
        Found::Missing
    }

    /// Whether the value of a part of a field is a card number that is a Belgian
    /// national number by its digits.
    fn is_register_number(&self, field: &FieldRef, found: &Found) -> bool {
        let library = self.text(&self.of_patron("library"));
        self.kind(field) == Some(Type::CardNumber)
            && library.is_some_and(|isil| isil.starts_with("BE"))
            && !self.is_authorised()
            && found.clone().text().is_some_and(|text| {
                let digits: String = ascii_digits(&text).collect();
                is_register_number_behind_zeros(&digits)
            })
    }

    fn is_malformed(&self, need: &Needed) -> bool {
        let Some(tree) = self.tree(need.at.joined) else {
            return false;
        };
        if self.is_country(&need.at) {
            return false;
        }
        // A number that is compared as it stands is malformed in any form.
        let fact = need.kind == Type::CardNumber && self.national(need.at.joined).is_none();
        fact || field::malformed(tree, &need.at.path, need.kind)
    }

    fn libraries(&self) -> Result<(), &'static str> {
        let own = self.text(&at(false, "library"));
        let patrons = self.text(&at(true, "library"));
        if let Libraries::Only(served) = &self.recipient.libraries {
            let known: Vec<&String> = own.iter().chain(&patrons).collect();
            if known.is_empty() || known.iter().any(|library| !served.contains(library)) {
                return Err("library");
            }
        }
        let differ = own.is_some() && patrons.is_some() && own != patrons;
        if differ && !self.source.other_library {
            return Err("library_conflict");
        }
        Ok(())
    }

    /// The month of the record is over, in UTC.
    fn period(&self) -> Result<(), &'static str> {
        let Some(period) = &self.recipient.period else {
            return Ok(());
        };
        let of = self.text(&period.of).and_then(|text| ns(&text));
        let month = |ns: i128| {
            // The last hours of the year 9999 are of no month that is over.
            let ends = [jiff::Timestamp::MIN, jiff::Timestamp::MAX].map(|end| end.as_nanosecond());
            let time = jiff::Timestamp::from_nanosecond(ns.clamp(ends[0], ends[1])).unwrap();
            let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
            (date.year(), date.month())
        };
        match month(of.ok_or("condition")?) < month(self.now()) {
            true => Ok(()),
            false => Err("period_open"),
        }
    }

    fn now(&self) -> i128 {
        i128::from(self.now_ms) * 1_000_000
    }

    fn agreement(&self) -> Result<(), &'static str> {
        let mut paper = self.recipient.agreement.iter();
        if paper.all(|paper| in_force(&paper.from, &paper.until, self.now())) {
            Ok(())
        } else {
            Err("agreement_lapsed")
        }
    }

    fn authorisation(&self) -> Result<(), &'static str> {
        let is_asked = self.recipient.authorisation.is_some() && self.releases_national();
        if is_asked && !self.is_authorised() {
            return Err("authorisation_lapsed");
        }
        Ok(())
    }

    /// Whether a national number decides anything, masked or not.
    fn releases_national(&self) -> bool {
        let outputs = self.recipient.fields.iter();
        let mut shown: Vec<FieldRef> = vec![self.recipient.key.clone()];
        shown.extend(self.recipient.when.iter().map(|one| one.field.clone()));
        for output in outputs {
            match &output.value {
                OutputValue::Scalar(projection) => shown.extend(projection.from.clone()),
                OutputValue::Object { from, fields } | OutputValue::List { from, fields } => {
                    shown.extend(fields.iter().map(|sub| at(from.joined, &sub.path)));
                }
                OutputValue::Scalars { from } => shown.push(from.clone()),
                OutputValue::Slip { .. } => {}
            }
        }
        let number = Type::Text(Some(Form::Rijksregisternummer));
        shown.iter().any(|field| {
            let kind = kind_of(self.policy, self.source, field.joined);
            let field = kind.and_then(|kind| kind.field(&field.path));
            field.is_some_and(|field| field.class == Class::NationalId || field.kind == number)
        })
    }

    /// Asks what the patron said, with the library that the patron is of.
    fn ask(
        &self,
        question: impl Fn(&Asks<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let library = self.text(&self.of_patron("library"));
        question(&Asks {
            policy: self.policy,
            recipient: self.recipient,
            library: library.as_deref(),
            now: self.now(),
        })
    }

    fn objection(&self) -> Result<(), &'static str> {
        self.ask(|asks| asks.opposed(self.consents, self.objections))
    }

    fn consent(&self) -> Result<(), &'static str> {
        let Some(gate) = &self.recipient.consent else {
            return Ok(());
        };
        let event = gate.implied_by.as_ref().and_then(|field| self.text(field));
        let event = event.as_deref().and_then(kept_ns);
        self.ask(|asks| asks.consented(self.consents, event))
    }

    fn stages(&self) -> Result<(), &'static str> {
        let stages = self.recipient.stages.iter();
        let times = stages.filter_map(|stage| ns(&self.text(stage)?));
        if times.is_sorted() {
            Ok(())
        } else {
            Err("stages")
        }
    }

    fn of_patron(&self, path: &str) -> FieldRef {
        at(self.source.role != Role::Patron, path)
    }

    fn is_member(&self) -> bool {
        let status = self.text(&self.of_patron("membership.status"));
        status.as_deref() == Some("active")
    }

    fn patron_term(&self) -> Result<(), &'static str> {
        if self.recipient.outlives_membership.is_some() {
            return Ok(());
        }
        let end = self.text(&self.of_patron("membership.ends_on"));
        let end = end.as_deref().and_then(ns);
        let over = |end| is_over(self.policy.patron_term, end, self.now());
        if !self.is_member() && end.is_some_and(over) {
            return Err("patron_lapsed");
        }
        Ok(())
    }

    fn retention(&self) -> Result<(), &'static str> {
        let retention = &self.recipient.retention;
        if retention.from == self.of_patron("membership.ends_on") && self.is_member() {
            return Ok(());
        }
        let start = self.text(&retention.from);
        // Without a start it runs from now, and is not over.
        let start = start.as_deref().and_then(ns);
        if start.is_some_and(|start| is_over(retention.term, start, self.now())) {
            return Err("lapsed");
        }
        Ok(())
    }

    fn loan_history(&self) -> Result<(), &'static str> {
        let joined = self.source.role != Role::Patron;
        let off = || self.find(&at(joined, "loan_history")) == Found::Bool(false);
        let returned = || self.text(&at(false, "status")).as_deref() == Some("returned");
        if self.recipient.loan_history && off() && returned() {
            return Err("loan_history_off");
        }
        Ok(())
    }

    fn topic(&self) -> Result<&str, &'static str> {
        match &self.recipient.topics {
            Topics::One(topic) => Ok(topic),
            Topics::Each { by, of } => {
                let party = self.text(by);
                let mut listed = of.iter();
                let found = listed.find(|(listed, _)| Some(listed) == party.as_ref());
                found
                    .map(|(_, topic)| topic.as_str())
                    .ok_or("receiver_unlisted")
            }
        }
    }

    fn is_authorised(&self) -> bool {
        let Some(paper) = &self.recipient.authorisation else {
            return false;
        };
        // Nothing is in force before it is approved.
        let from = (&paper.from).max(&paper.approved_on);
        in_force(from, &paper.until, self.now())
    }

    /// Whether the field is a card number that the recipient must not see.
    fn is_hidden(&self, field: &FieldRef) -> bool {
        self.kind(field) == Some(Type::CardNumber)
            && self.national(field.joined) == Some(true)
            && !self.is_authorised()
    }

    /// Whose record it is follows the value in a key, but for the patron's id itself.
    fn output_key(&self) -> Option<String> {
        let field = &self.recipient.key;
        let own = self.source.keyed && field.path != "patron_id";
        let patron_id = own.then(|| self.text(&at(false, "patron_id")));
        match patron_id {
            Some(patron_id) => self.keyed_hash(field, Some(&patron_id?)),
            None => self.keyed_hash(field, None),
        }
    }

    /// Another pseudonym each month, by the month as it is written.
    fn pseudonym_by_month(&self, field: &FieldRef, of: &FieldRef) -> Option<String> {
        let text = self.text(of)?;
        ns(&text)?;
        self.keyed_hash(field, text.get(..7))
    }

    fn keyed_hash(&self, field: &FieldRef, behind: Option<&str>) -> Option<String> {
        if self.is_hidden(field) {
            return None;
        }
        let value = self.text(field)?;
        let library = self.text(&library_of(self.source, field));
        let of_patron =
            field.joined || field.path == "patron_id" || self.source.role == Role::Patron;
        let kind = if of_patron {
            "patron"
        } else {
            &self.source.name
        };
        let library = library.unwrap_or_default();
        let mut parts = vec![kind, &field.path, &library, &value];
        parts.extend(behind);
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret(&self.recipient.name)).unwrap();
        mac.update(parts.join("\0").as_bytes());
        Some(URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16]))
    }

    fn project(&self) -> String {
        let mut shown: Vec<Option<String>> = Vec::new();
        let mut members = Vec::new();
        for output in &self.recipient.fields {
            let mut text = None;
            let json = match &output.value {
                OutputValue::Scalar(projection) => {
                    let found = self.scalar(projection);
                    let found = match projection.mask {
                        Some(Mask::Pseudonym { .. }) => found,
                        _ => self.passed(found, &output.name),
                    };
                    text = found.clone().shown();
                    json(found)
                }
                OutputValue::Object { from, fields } => self
                    .tree(from.joined)
                    .and_then(|tree| self.object(tree, from, fields, ("", &output.name))),
                OutputValue::List { from, fields } => self.list(from, fields, &output.name),
                OutputValue::Scalars { from } => self.values(from, &output.name),
                OutputValue::Slip {
                    mark,
                    initial,
                    rest,
                } => {
                    let line = |place: &usize| shown[*place].as_deref();
                    let rest: Vec<_> = rest.iter().map(line).collect();
                    let mut lines: Vec<String> = Vec::new();
                    let rest = rest.into_iter();
                    let mut buffer = String::new();
                    let name = format!("{}[]", output.name);
                    slip_lines(line(mark), line(initial), rest, &mut buffer, |line| {
                        let found = Found::Text(line.to_owned());
                        lines.extend(self.passed(found, &name).text());
                    });
                    let lines = lines.iter().map(|line| quoted(line));
                    Some(format!("[{}]", lines.collect::<Vec<_>>().join(",")))
                }
            };
            shown.push(text);
            members.extend(json.map(|json| format!("{}:{json}", quoted(&output.name))));
        }
        format!("{{{}}}", members.join(","))
    }

    fn scalar(&self, projection: &Projection) -> Found {
        let from = projection.from.as_ref();
        if let (Some(Mask::Pseudonym { month_of }), Some(from)) = (&projection.mask, from) {
            let made = match month_of {
                None => self.keyed_hash(from, None),
                Some(path) => self.pseudonym_by_month(from, &at(false, path)),
            };
            return made.map_or(Found::Missing, Found::Text);
        }
        let value = match from {
            Some(from) if !self.is_hidden(from) => self.find(from),
            _ => Found::Missing,
        };
        if projection.mask.is_none() && projection.detect.is_none() {
            return value;
        }
        let value = value.shown();
        let joined = from.is_some_and(|from| from.joined);
        let masked = match &projection.mask {
            None => value,
            Some(mask) => self.masked(mask, value.as_deref(), joined),
        };
        let Some(text) = masked else {
            return Found::Missing;
        };
        Found::Text(match &projection.detect {
            None => text,
            Some(detectors) => self.scrubbed(detectors, text),
        })
    }

    fn masked(&self, mask: &Mask, value: Option<&str>, joined: bool) -> Option<String> {
        let needs = mask.needs().into_iter().map(|need| match need {
            Need::Sibling(path) => self.text(&at(joined, path)),
            Need::Source(path) => self.text(&at(false, &path)),
            Need::Country => self.text(&at(joined, "country")).or_else(|| {
                let library = self.text(&at(joined, "library"))?;
                Some(library.get(..2)?.to_owned())
            }),
        });
        let needs: Vec<Option<String>> = needs.collect();
        let needs: Vec<Option<&str>> = needs.iter().map(Option::as_deref).collect();
        let mut out = String::new();
        mask.apply(value, &needs, &mut out, &mut Noticed::default())
            .then_some(out)
    }

    fn scrubbed(&self, detectors: &Detectors, text: String) -> String {
        let own: Vec<String> = match detectors.needs_own_values() {
            true => self.own_values(),
            false => Vec::new(),
        };
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let mut out = String::new();
        if detectors.apply(
            &text,
            own.iter().copied(),
            &mut out,
            &mut [0; DETECTORS.len()],
        ) {
            out
        } else {
            text
        }
    }

    fn own_values(&self) -> Vec<String> {
        let mut all = Vec::new();
        for field in own_fields(self.policy, self.source) {
            match field.path.split_once("[]") {
                None => all.extend(self.text(&field)),
                Some((list, below)) => {
                    let tree = self.tree(field.joined);
                    let kind = self.kind(&field).unwrap();
                    let found = tree.and_then(|tree| match below.strip_prefix('.') {
                        None => field::values(tree, list, kind),
                        Some(below) => {
                            let objects = field::objects(tree, list)?;
                            let found = objects.iter().map(|one| field::look(one, below, kind));
                            Some(found.collect())
                        }
                    });
                    all.extend(found.into_iter().flatten().filter_map(Found::text));
                }
            }
            let address = address_of(self.policy, self.source, &field);
            let parts: Vec<String> = address.iter().filter_map(|part| self.text(part)).collect();
            all.push(parts.join(" "));
        }
        for number in self.numbers() {
            let whole = if number.is_bsn { 9 } else { 11 };
            if let Some(needle) = number.needle() {
                all.extend([needle.to_owned(), format!("{needle:0>whole$}")]);
            }
        }
        all
    }

    /// The listed fields of an object; `start` is what their paths have before
    /// them that the tree has not.
    fn object(
        &self,
        tree: &Tree,
        from: &FieldRef,
        fields: &[SubField],
        (start, name): (&str, &str),
    ) -> Option<String> {
        let mut members = Vec::new();
        for sub in fields {
            let field = at(from.joined, &sub.path);
            let path = sub.path.strip_prefix(start).unwrap();
            let found = match start {
                "" => self.find(&field),
                _ => field::look(tree, path, self.kind(&field).unwrap()),
            };
            if self.is_hidden(&field) || self.is_register_number(&field, &found) {
                continue;
            }
            let found = self.passed(found, &format!("{name}.{}", sub.name));
            members.extend(json(found).map(|json| format!("{}:{json}", quoted(&sub.name))));
        }
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    fn list(&self, from: &FieldRef, fields: &[SubField], name: &str) -> Option<String> {
        let list = from.path.strip_suffix("[]").unwrap();
        let objects = field::objects(self.tree(from.joined)?, list)?;
        let start = format!("{}.", from.path);
        let written = objects
            .iter()
            .filter_map(|tree| self.object(tree, from, fields, (&start, &format!("{name}[]"))));
        listed(written.collect())
    }

    fn values(&self, from: &FieldRef, name: &str) -> Option<String> {
        if self.is_hidden(from) {
            return None;
        }
        let list = from.path.strip_suffix("[]").unwrap();
        let values = field::values(self.tree(from.joined)?, list, self.kind(from)?)?;
        let shown = values
            .into_iter()
            .filter(|found| !self.is_register_number(from, found))
            .map(|found| self.passed(found, &format!("{name}[]")));
        listed(shown.filter_map(json).collect())
    }
}

/// Whether digits are a Belgian national number with nothing but zeros before it.
fn is_register_number_behind_zeros(digits: &str) -> bool {
    let at = digits.len().checked_sub(11);
    at.is_some_and(|at| {
        digits[..at].chars().all(|c| c == '0') && Form::Rijksregisternummer.fits(&digits[at..])
    })
}

fn holds(value: Found, test: &Test) -> Result<(), &'static str> {
    let equals = |literal: &Literal| match (literal, &value) {
        (Literal::Text(wanted), Found::Text(text)) => wanted == text,
        (Literal::Boolean(wanted), Found::Bool(truth)) => wanted == truth,
        (Literal::Integer(wanted), Found::Number(written)) => written.parse() == Ok(*wanted),
        _ => false,
    };
    let holds = match (test, &value) {
        (_, Found::Malformed) => return Err("malformed"),
        (Test::Present, found) => *found != Found::Missing,
        (Test::Absent, found) => *found == Found::Missing,
        (Test::Is(literals), _) => literals.iter().any(equals),
    };
    if holds { Ok(()) } else { Err("condition") }
}

fn json(found: Found) -> Option<String> {
    match found {
        Found::Missing | Found::Malformed => None,
        Found::Text(text) => Some(quoted(&text)),
        Found::Number(written) => Some(written),
        Found::Bool(truth) => Some(truth.to_string()),
    }
}

fn listed(written: Vec<String>) -> Option<String> {
    (!written.is_empty()).then(|| format!("[{}]", written.join(",")))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
