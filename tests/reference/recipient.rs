//! The eight core recipients of sections 2 and 5 of docs/rules.md, each written out by hand.
//!
//! A path that begins with `patron.` is of the record's patron, any other of
//! the record; for the source `patron` both are the same. A recipient reads
//! only what its `needs` name: anything else is a fault of this model.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::field::{Found, look, look_list};
use super::form::{self, Term};
use super::gate::{ConsentGate, Paper, Retention};
use super::inspect::{self, Forbidden};
use super::json::{Node, quoted};
use super::mask;

/// One recipient.
#[derive(Debug)]
pub struct Recipient {
    pub name: &'static str,
    pub source: &'static str,
    pub purpose: &'static str,
    /// The libraries that it serves; all where it names none.
    pub libraries: &'static [&'static str],
    /// Everything its conditions, key, profile and gates name.
    pub needs: &'static [&'static str],
    /// Its conditions, in the order of the rules.
    pub when: &'static [Condition],
    pub agreement: Option<Paper>,
    /// It has a national number among its fields.
    pub authorisation: Option<Paper>,
    pub marketing: bool,
    /// An objection for special circumstances stops it, by its legal basis.
    pub yields: bool,
    pub consent: Option<ConsentGate>,
    /// Moments that have to follow each other.
    pub stages: &'static [&'static str],
    /// It gets no returned loans of who switched the loan history off.
    pub loan_history: bool,
    pub retention: Retention,
    /// It is published to by period: the month of this date has to be over.
    pub period: Option<&'static str>,
    /// The term of patrons is not its own.
    pub outlives: bool,
    pub project: fn(&View) -> Output,
}

/// What a recipient asks of one field.
#[derive(Debug)]
pub enum Condition {
    Is(&'static str, &'static [&'static str]),
    Present(&'static str),
}

impl Condition {
    pub fn path(&self) -> &'static str {
        match self {
            Condition::Is(path, _) | Condition::Present(path) => path,
        }
    }
}

/// What the retention of patrons themselves looks at, whoever is to receive.
/// No recipient needs it: malformed, it counts as missing.
pub const MEMBERSHIP: &[&str] = &["patron.membership.status", "patron.membership.ends_on"];

impl Recipient {
    /// One without gates, to be completed.
    pub const PLAIN: Recipient = Recipient {
        name: "",
        source: "",
        purpose: "",
        libraries: &[],
        needs: &[],
        when: &[],
        agreement: None,
        authorisation: None,
        marketing: false,
        yields: false,
        outlives: false,
        consent: None,
        stages: &[],
        loan_history: false,
        retention: Retention::retract(Term::years(1), ""),
        period: None,
        project: |_| Output::default(),
    };
}

const RECOGNISED: &[Condition] = &[
    Condition::Is("patron.kind", &["person"]),
    Condition::Is("patron.membership.status", &["active"]),
    Condition::Present("patron.membership.id"),
];

pub const RECIPIENTS: &[Recipient] = &[
    Recipient {
        name: "reservation-slip",
        source: "reservation",
        purpose: "pickup",
        needs: &[
            "reservation_id",
            "library",
            "status",
            "item.title",
            "pickup_branch",
            "expires_on",
            "patron.library",
            "patron.surname",
            "patron.surname_prefix",
            "patron.initials",
            "patron.given_name",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
        ],
        when: &[Condition::Is("status", &["ready_for_pickup"])],
        retention: Retention::retract(Term::days(14), "expires_on"),
        project: reservation_slip,
        ..Recipient::PLAIN
    },
    Recipient {
        name: "ill-library",
        source: "ill_request",
        purpose: "interlibrary-loan",
        needs: &[
            "request_id",
            "library",
            "status",
            "supplying_library",
            "item.title",
            "item.author",
            "item.isbn",
            "item.issn",
            "item.volume",
            "item.pages",
            "service",
            "needed_by",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
        ],
        when: &[Condition::Is("status", &["requested", "sent", "received"])],
        retention: Retention::retract(Term::years(1), "needed_by"),
        project: ill_library,
        ..Recipient::PLAIN
    },
    Recipient {
        name: "ill-library-contact",
        source: "ill_request",
        purpose: "interlibrary-loan",
        needs: &[
            "request_id",
            "library",
            "status",
            "supplying_library",
            "item.title",
            "item.author",
            "item.isbn",
            "item.issn",
            "item.volume",
            "item.pages",
            "service",
            "needed_by",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
            "patron.email",
            "patron.phone",
        ],
        when: &[Condition::Is("status", &["requested", "sent", "received"])],
        retention: Retention::retract(Term::years(1), "needed_by"),
        project: |view| {
            let mut out = ill_library(view);
            out.copy(view, "email", "patron.email");
            out.copy(view, "phone", "patron.phone");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "kb-recognition",
        source: "patron",
        purpose: "kb-recognition",
        needs: &[
            "patron.patron_id",
            "patron.library",
            "patron.kind",
            "patron.membership.status",
            "patron.membership.id",
            "patron.membership.type",
            "patron.membership.starts_on",
            "patron.membership.ends_on",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
            "patron.birth_date",
        ],
        when: RECOGNISED,
        retention: Retention::retract(Term::years(2), "patron.membership.ends_on"),
        project: |view| {
            let mut out = recognition(view);
            let year = view
                .text("patron.birth_date")
                .map(|date| date[..4].to_owned());
            out.text("birth_year", year);
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "kb-membership",
        source: "patron",
        purpose: "online-library",
        needs: &[
            "patron.patron_id",
            "patron.library",
            "patron.kind",
            "patron.membership.status",
            "patron.membership.id",
            "patron.membership.type",
            "patron.membership.starts_on",
            "patron.membership.ends_on",
            "patron.membership.home_branch",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
            "patron.birth_date",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.email",
            "patron.online_account.created_at",
        ],
        when: RECOGNISED,
        consent: Some(ConsentGate {
            purpose: "online-library",
            explicit: false,
            implied_by: Some("patron.online_account.created_at"),
        }),
        retention: Retention::retract(Term::years(2), "patron.membership.ends_on"),
        project: |view| {
            let mut out = recognition(view);
            out.copy(view, "birth_date", "patron.birth_date");
            out.copy(view, "initials", "patron.initials");
            out.copy(view, "surname_prefix", "patron.surname_prefix");
            out.copy(view, "surname", "patron.surname");
            out.copy(view, "email", "patron.email");
            out.copy(view, "home_branch", "patron.membership.home_branch");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "deurwaarder",
        source: "debt",
        purpose: "debt-collection",
        outlives: true,
        needs: &[
            "debt_id",
            "library",
            "stage",
            "status",
            "reminded_at",
            "invoiced_at",
            "kind",
            "items[].title",
            "items[].due_on",
            "items[].amount_cents",
            "amount_cents",
            "currency",
            "referred_at",
            "patron.library",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.birth_date",
            "patron.address.street",
            "patron.address.house_number",
            "patron.address.house_number_suffix",
            "patron.address.postcode",
            "patron.address.city",
            "patron.address.country",
            "patron.email",
            "patron.phone",
            "patron.card_number",
            "patron.card_kind",
            "patron.rijksregisternummer",
        ],
        when: &[
            Condition::Is("stage", &["collection"]),
            Condition::Is("status", &["open"]),
            Condition::Present("reminded_at"),
            Condition::Present("invoiced_at"),
        ],
        stages: &["reminded_at", "invoiced_at", "referred_at"],
        retention: Retention::retract(Term::years(5), "referred_at"),
        project: deurwaarder,
        ..Recipient::PLAIN
    },
    Recipient {
        name: "service-message",
        source: "loan",
        purpose: "service-message",
        needs: &[
            "loan_id",
            "library",
            "status",
            "item.title",
            "due_on",
            "branch",
            "patron.initials",
            "patron.surname_prefix",
            "patron.surname",
            "patron.email",
            "patron.mobile",
        ],
        when: &[Condition::Is("status", &["open", "overdue"])],
        retention: Retention::retract(Term::years(1), "due_on"),
        project: |view| {
            let mut out = Output::keyed(view.output_key("loan", "loan_id"));
            out.text("name", view.name());
            out.copy(view, "email", "patron.email");
            out.copy(view, "mobile", "patron.mobile");
            out.copy(view, "title", "item.title");
            out.copy(view, "due_on", "due_on");
            out.copy(view, "branch", "branch");
            out
        },
        ..Recipient::PLAIN
    },
    Recipient {
        name: "statistics",
        source: "loan",
        purpose: "statistics",
        yields: true,
        needs: &[
            "loan_id",
            "patron_id",
            "library",
            "branch",
            "item.material",
            "loaned_at",
            "status",
            "renewals",
            "patron.library",
            "patron.kind",
            "patron.loan_history",
            "patron.birth_date",
            "patron.address.postcode",
            "patron.address.country",
        ],
        when: &[Condition::Is("patron.kind", &["person"])],
        loan_history: true,
        retention: Retention {
            term: Term::years(2),
            from: "loaned_at",
            forget: true,
        },
        period: Some("loaned_at"),
        project: statistics,
        ..Recipient::PLAIN
    },
];

fn reservation_slip(view: &View) -> Output {
    let mark = mask::shelf_mark(
        view.text("patron.surname").as_deref(),
        view.text("patron.surname_prefix").as_deref(),
        &view.country(),
    );
    let initial = mask::initial(
        view.text("patron.initials").as_deref(),
        view.text("patron.given_name").as_deref(),
    );
    let suffix = view.card_number().and_then(|card| mask::card_suffix(&card));
    let marks: Vec<String> = [mark.clone(), initial.clone()]
        .into_iter()
        .flatten()
        .collect();
    let seen = |path| {
        view.text(path)
            .map(|text| mask::printed(&text))
            .filter(|text| !mask::cleaned(text).is_empty())
    };
    let mut lines = vec![mark.clone().unwrap_or_default()];
    lines.extend((!marks.is_empty()).then(|| marks.join(" ")));
    lines.extend(suffix.clone());
    lines.extend(seen("item.title"));
    lines.extend(seen("pickup_branch"));
    lines.extend(seen("expires_on"));
    let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();

    let mut out = Output::keyed(view.output_key("reservation", "reservation_id"));
    out.text("shelf_mark", mark);
    out.text("initial", initial);
    out.text("card_suffix", suffix);
    out.copy(view, "title", "item.title");
    out.copy(view, "pickup_branch", "pickup_branch");
    out.copy(view, "expires_on", "expires_on");
    out.raw("slip", format!("[{}]", lines.join(",")));
    out
}

fn ill_library(view: &View) -> Output {
    let mut out = Output::keyed(view.output_key("ill_request", "request_id"));
    out.copy(view, "request_id", "request_id");
    out.text("name", view.name());
    out.text("card_number", view.card_number());
    out.copy(view, "supplying_library", "supplying_library");
    out.copy(view, "title", "item.title");
    out.copy(view, "author", "item.author");
    out.copy(view, "isbn", "item.isbn");
    out.copy(view, "issn", "item.issn");
    out.copy(view, "volume", "item.volume");
    out.copy(view, "pages", "item.pages");
    out.copy(view, "service", "service");
    out.copy(view, "needed_by", "needed_by");
    out
}

/// The recognition set up to, and without, what it says of the birth.
fn recognition(view: &View) -> Output {
    let mut out = Output::keyed(view.output_key("patron", "patron.patron_id"));
    out.copy(view, "member_ref", "patron.membership.id");
    out.text("card_number", view.card_number());
    out.copy(view, "library", "patron.library");
    out.copy(view, "membership_type", "patron.membership.type");
    out.copy(view, "valid_from", "patron.membership.starts_on");
    out.copy(view, "valid_until", "patron.membership.ends_on");
    out
}

fn deurwaarder(view: &View) -> Output {
    let mut out = Output::keyed(view.output_key("debt", "debt_id"));
    out.text("name", view.name());
    out.copy(view, "birth_date", "patron.birth_date");
    let mut address = Output::default();
    for field in [
        "street",
        "house_number",
        "house_number_suffix",
        "postcode",
        "city",
        "country",
    ] {
        address.copy(view, field, &format!("patron.address.{field}"));
    }
    if !address.fields.is_empty() {
        out.raw("address", address.json());
    }
    out.copy(view, "email", "patron.email");
    out.copy(view, "phone", "patron.phone");
    out.text("card_number", view.card_number());
    out.copy(view, "debt_id", "debt_id");
    out.copy(view, "kind", "kind");
    let rows = look_list(view.record, "items", ITEM_FIELDS).unwrap_or_default();
    if !rows.is_empty() {
        let rows: Vec<String> = rows.into_iter().map(item_json).collect();
        out.raw("items", format!("[{}]", rows.join(",")));
    }
    out.copy(view, "amount_cents", "amount_cents");
    out.copy(view, "currency", "currency");
    out.copy(view, "referred_at", "referred_at");
    out
}

/// The fields of a debt's items that anyone receives.
pub const ITEM_FIELDS: &[&str] = &["title", "due_on", "amount_cents"];

fn item_json(row: Vec<Found>) -> String {
    let mut item = Output::default();
    for (name, found) in ITEM_FIELDS.iter().zip(row) {
        item.put(name, found);
    }
    item.json()
}

fn statistics(view: &View) -> Output {
    let loaned_at = view.text("loaned_at");
    let loaned_on = loaned_at.as_deref().and_then(form::instant);
    let birth = view.text("patron.birth_date");
    let birth = birth.as_deref().and_then(form::date);
    let band = match (birth, loaned_on) {
        (Some(birth), Some((loaned_on, _))) => mask::age_band(birth, loaned_on),
        _ => None,
    };
    let country = view
        .text("patron.address.country")
        .unwrap_or_else(|| view.country());
    let area = view
        .text("patron.address.postcode")
        .and_then(|postcode| form::postcode_area(&postcode, &country));

    let mut out = Output::keyed(view.output_key("loan", "loan_id"));
    out.text("loan_ref", Some(view.pseudonym("loan", "loan_id")));
    let month = loaned_at.as_deref().map_or("", |at| &at[..7]);
    out.text("patron_ref", Some(view.patron_pseudonym_of(month)));
    out.copy(view, "library", "library");
    out.copy(view, "branch", "branch");
    out.copy(view, "material", "item.material");
    out.text("loaned_month", loaned_at.map(|at| at[..7].to_owned()));
    out.copy(view, "status", "status");
    out.copy(view, "renewals", "renewals");
    out.text("age_band", band.map(str::to_owned));
    out.text("postcode_area", area);
    out
}

/// Whether a text is one of those that section 1 of docs/rules.md lists for a field.
fn is_listed(kind: &str, field: &str, text: &str) -> bool {
    let list: &[&str] = match (kind, field) {
        ("patron", "kind") => &["person", "institution"],
        ("patron", "card_kind") => &["library", "eid"],
        ("loan", "status") => &["open", "overdue", "returned", "lost", "damaged"],
        ("reservation", "status") => &[
            "placed",
            "in_transit",
            "ready_for_pickup",
            "collected",
            "cancelled",
            "expired",
        ],
        ("ill_request", "service") => &["loan", "copy"],
        ("ill_request", "status") => &[
            "requested",
            "sent",
            "received",
            "returned",
            "closed",
            "cancelled",
        ],
        ("debt", "kind") => &["late", "damaged", "lost"],
        ("debt", "stage") => &["reminder", "invoice", "collection"],
        ("debt", "status") => &["open", "settled", "cancelled"],
        _ => return true,
    };
    list.contains(&text)
}

/// One record and its patron, as one recipient may look at them.
pub struct View<'a> {
    pub record: &'a Node,
    pub patron: &'a Node,
    pub recipient: &'static Recipient,
    pub key: &'a [u8],
}

impl View<'_> {
    /// Finds what stands at a path of the needs.
    pub fn find(&self, path: &str) -> Found {
        let needed = self.recipient.needs.contains(&path) || MEMBERSHIP.contains(&path);
        assert!(needed, "{path} is no need");
        if path.contains("[]") {
            let rows = look_list(
                self.record,
                "items",
                &[path.rsplit('.').next().unwrap_or("")],
            );
            return rows.err().unwrap_or(Found::Missing);
        }
        let (found, kind, field) = match path.strip_prefix("patron.") {
            Some(below) => (look(self.patron, below), "patron", below),
            None => (look(self.record, path), self.recipient.source, path),
        };
        match found {
            // What is none of its list counts as missing.
            Found::Text(text) if !is_listed(kind, field, &text) => Found::Missing,
            found => found,
        }
    }

    pub fn text(&self, path: &str) -> Option<String> {
        match self.find(path) {
            Found::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Judges one condition.
    pub fn meets(&self, condition: &Condition) -> Result<(), &'static str> {
        let (path, values) = match condition {
            Condition::Is(path, values) => (path, Some(values)),
            Condition::Present(path) => (path, None),
        };
        match (self.find(path), values) {
            (Found::Malformed, _) => Err("malformed"),
            (Found::Text(text), Some(values)) if values.contains(&text.as_str()) => Ok(()),
            (Found::Missing, _) | (_, Some(_)) => Err("condition"),
            (_, None) => Ok(()),
        }
    }

    pub fn name(&self) -> Option<String> {
        mask::full_name(&[
            self.text("patron.initials"),
            self.text("patron.surname_prefix"),
            self.text("patron.surname"),
        ])
    }

    /// The library's country, by its ISIL: what the record says does not count.
    fn country(&self) -> String {
        let library = self.text("patron.library").unwrap_or_default();
        library.chars().take(2).collect()
    }

    /// The card number, unless it is a national number.
    fn card_number(&self) -> Option<String> {
        let kind = self.text("patron.card_kind");
        let number = self.text("patron.rijksregisternummer");
        // Every patron has one, whoever needs it.
        let library = look(self.patron, "library");
        let belgian = matches!(library, Found::Text(isil) if isil.starts_with("BE"));
        self.text("patron.card_number").filter(|card| {
            let by_digits = belgian && mask::is_register_number_behind_zeros(card);
            !by_digits && !mask::is_national(card, kind.as_deref(), number.as_deref())
        })
    }

    pub fn pseudonym(&self, kind: &str, path: &str) -> String {
        let library = match path.strip_prefix("patron.") {
            Some(_) => "patron.library",
            None => "library",
        };
        let field = path.strip_prefix("patron.").unwrap_or(path);
        let (library, value) = (self.text(library), self.text(path));
        let (library, value) = (library.unwrap_or_default(), value.unwrap_or_default());
        pseudonym(self.key, kind, field, &library, &value)
    }

    /// The output key that is made of a field: whose it is follows the value, but
    /// for the patron's id itself.
    pub fn output_key(&self, kind: &str, path: &str) -> String {
        if path.ends_with("patron_id") {
            return self.pseudonym(kind, path);
        }
        // Every record has both, whoever needs them.
        let identifier = |path: &str| match look(self.record, path) {
            Found::Text(text) => text,
            _ => String::new(),
        };
        let (library, patron_id) = (identifier("library"), identifier("patron_id"));
        let value = self.text(path).unwrap_or_default();
        let parts = [kind, path, &library, &value, &patron_id];
        keyed_hash(self.key, &parts)
    }

    /// The pseudonym of the record's patron in one month: always of the patron's
    /// library.
    pub fn patron_pseudonym_of(&self, month: &str) -> String {
        let library = self.text("patron.library").unwrap_or_default();
        let value = self.text("patron_id").unwrap_or_default();
        let parts = ["patron", "patron_id", &library, &value, month];
        keyed_hash(self.key, &parts)
    }
}

/// A keyed hash of one value, 22 characters.
pub fn pseudonym(key: &[u8], kind: &str, field: &str, library: &str, value: &str) -> String {
    keyed_hash(key, &[kind, field, library, value])
}

fn keyed_hash(key: &[u8], parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(parts.join("\0").as_bytes());
    let hash = mac.finalize().into_bytes();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&hash[..16])
}

/// An output in the making: names and their JSON, in order.
#[derive(Default)]
pub struct Output {
    pub key: String,
    fields: Vec<(String, String)>,
}

impl Output {
    pub fn keyed(key: String) -> Self {
        Output {
            key,
            fields: Vec::new(),
        }
    }

    fn raw(&mut self, name: &str, json: String) {
        self.fields.push((name.to_owned(), json));
    }

    pub fn text(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.raw(name, quoted(&value));
        }
    }

    fn put(&mut self, name: &str, found: Found) {
        match found {
            Found::Missing | Found::Malformed => {}
            Found::Text(text) => self.raw(name, quoted(&text)),
            Found::Number(written) => self.raw(name, written),
            Found::Bool(value) => self.raw(name, value.to_string()),
        }
    }

    pub fn copy(&mut self, view: &View, name: &str, path: &str) {
        self.put(name, view.find(path));
    }

    /// The output without what must not be in it. Names of the policy stay, and so
    /// does a slip of which no line is left: nothing is printed on it.
    pub fn without(mut self, forbidden: &[Forbidden]) -> Self {
        self.fields = self
            .fields
            .into_iter()
            .filter_map(|(name, json)| Some((name, inspect::without(&json, forbidden)?)))
            .collect();
        self
    }

    /// The object as compact JSON.
    pub fn json(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(name, json)| format!("{}:{json}", quoted(name)))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}
