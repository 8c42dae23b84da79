//! Policies by chance, as an operator would write them: TOML files in a folder.
//!
//! Most of them pass the loader; what it refuses is counted by whoever asks.

use std::fmt::Write as _;
use std::path::Path;

use zeef_test_kit::rng::TestRng;

pub const LIBRARIES: [&str; 3] = ["NL-AmrBKW", "BE-GntB", "FR-751131015"];
/// What text fields with a closed list may hold; routes go by them too.
pub const STATUS_WORDS: [&str; 6] = ["open", "overdue", "returned", "lost", "a", "ab"];
/// Noon of 15 January 2026.
pub const NOW_MS: i64 = 1_768_478_400_000;
/// As that, and times where a day, a year or a leap day begins or ends.
pub const TIMES_MS: [i64; 6] = [
    NOW_MS,
    NOW_MS,
    // Midnight of 15 January 2026, and the millisecond before it.
    1_768_435_200_000,
    1_768_435_199_999,
    // Midnight of 28 February 2025 and of 29 February 2024.
    1_740_700_800_000,
    1_709_164_800_000,
];
/// Periods that recipients and patrons' data have.
pub const TERMS: [&str; 9] = ["P1D", "P2W", "P1M", "P1Y", "P2Y", "P5Y", "P5Y", "P18M", "P1Y6M3D"];
/// Names of recipients and of purposes: few, so that what patrons say is about
/// some of them.
pub const RECIPIENTS: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
pub const PURPOSES: [&str; 3] = ["counting", "sending", "direct-marketing"];
/// A purpose whose consents name another patron.
pub const SHARING_PURPOSE: &str = "sharing";
/// How a membership may stand.
const MEMBERSHIP_STATUSES: [&str; 3] = ["active", "ended", "suspended"];

/// Names of fields: many begin as another one, some are longer than a word of
/// a processor, or than four.
const FIELD_NAMES: [&str; 30] = [
    "a",
    "ab",
    "abc",
    "no",
    "note",
    "note_2",
    "notes",
    "title",
    "titl",
    "title_long",
    "code",
    "codes",
    "ref",
    "reference",
    "x1",
    "x12",
    "seven_7",
    "eight_88",
    "nine_9999",
    "amount_cents",
    "amount_cent",
    "sixteen_letters_",
    "seventeen_letters",
    "of_more_than_two_words_",
    "a_name_that_is_longer_than_thirty_two_letters",
    "a_name_that_is_longer_than_thirty_two_letterz",
    "value",
    "values",
    "branch",
    "material",
];
const FIELD_TYPES: [&str; 15] = [
    "text",
    "text",
    "text",
    "text",
    "text",
    "text_or_number",
    "text_or_number",
    "integer",
    "integer",
    "boolean",
    "date",
    "instant",
    "email",
    "phone",
    "currency",
];
const FIELD_CLASSES: [&str; 8] =
    ["plain", "plain", "personal", "personal", "contact", "financial", "identifier", "plain"];

#[derive(Clone, Debug)]
struct GeneratedField {
    path: String,
    field_type: &'static str,
    class: &'static str,
    /// The only ones, where there are some.
    values: &'static [&'static str],
}

impl GeneratedField {
    fn new(path: &str, kind: &'static str, class: &'static str) -> Self {
        GeneratedField { path: path.to_owned(), field_type: kind, class, values: &[] }
    }

    fn with_values(path: &str, values: &'static [&'static str]) -> Self {
        GeneratedField { values, ..GeneratedField::new(path, "text", "plain") }
    }

    fn is_dated(&self) -> bool {
        matches!(self.field_type, "date" | "instant")
    }

    /// One value, in no list.
    fn is_outside_list(&self) -> bool {
        !self.path.contains("[]")
    }
}

struct GeneratedKind {
    name: String,
    role: &'static str,
    id: String,
    is_keyed: bool,
    is_closed: bool,
    allows_other_library: bool,
    /// Whether a record may be gone.
    has_gone: bool,
    fields: Vec<GeneratedField>,
}

/// Writes a config folder: kinds of records and recipients of them.
///
/// Papers begin and end around `now_ms`.
pub fn write_policy(folder: &Path, rng: &mut TestRng, now_ms: i64) {
    for below in ["records", "recipients"] {
        std::fs::create_dir_all(folder.join(below)).unwrap();
    }
    let patron = generate_patron_kind(rng);
    let mut kinds = vec![patron];
    for name in ["event", "loan", "visit"] {
        if rng.chance(75) {
            kinds.push(generate_record_kind(rng, name));
        }
    }
    if rng.chance(80) {
        kinds.push(generate_gate_kind(rng, "consent"));
    }
    if rng.chance(80) {
        kinds.push(generate_gate_kind(rng, "objection"));
    }
    for kind in &kinds {
        let path = folder.join("records").join(format!("{}.toml", kind.name));
        std::fs::write(path, kind_toml(kind)).unwrap();
    }
    let other_library = kinds
        .iter()
        .find(|kind| kind.is_keyed && kind.role == "record" && !kind.allows_other_library);
    if let Some(kind) = other_library.filter(|_| rng.chance(25)) {
        let text = format!("other_library = {{ kinds = [\"{}\"], reason = \"R\" }}\n", kind.name);
        std::fs::write(folder.join("zeef.toml"), text).unwrap();
    }
    if rng.chance(50) {
        let text = format!("[retention]\npatron = \"{}\"\n", rng.pick_str(&TERMS));
        let path = folder.join("zeef.toml");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, before + &text).unwrap();
    }
    let mut before: Option<(&str, String)> = None;
    let mut lanes = String::new();
    for name in &RECIPIENTS[..rng.between(1, 6)] {
        let source = if rng.chance(20) { &kinds[0] } else { rng.pick(&kinds) };
        let text = match before {
            // It asks of a record what the one before does, for another purpose.
            Some((other, text)) if rng.chance(25) => {
                text.replace(other, name).replace("purpose = \"counting\"", "purpose = \"lending\"")
            }
            _ => RecipientGenerator {
                rng,
                source,
                patron: &kinds[0],
                is_pseudonymised: false,
                is_authorised: false,
                is_consent_explicit: false,
                is_for_named_patrons: false,
                has_free_text_reason: false,
                has_channel: false,
                ignores_patron: false,
                has_consent_source: kinds.iter().any(|kind| kind.name == "consent"),
                has_objection_source: kinds.iter().any(|kind| kind.name == "objection"),
                now_ms,
            }
            .generate(name),
        };
        before = Some((name, text.clone()));
        if text.contains("\npseudonymised = true\n") {
            lanes += &format!("[lanes.{name}]\nrecipients = [\"{name}\"]\n");
        }
        let path = folder.join("recipients").join(format!("{name}.toml"));
        std::fs::write(path, text).unwrap();
    }
    let path = folder.join("zeef.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, text + &lanes).unwrap();
}

fn generate_patron_kind(rng: &mut TestRng) -> GeneratedKind {
    let mut fields = vec![
        GeneratedField::new("patron_id", "text", "identifier"),
        GeneratedField::new("library", "isil", "plain"),
        GeneratedField::new("loan_history", "boolean", "plain"),
        GeneratedField::new("loan_history_since", "instant", "personal"),
        GeneratedField::new("surname", "text", "personal"),
        GeneratedField::new("surname_prefix", "text", "personal"),
        GeneratedField::new("initials", "text", "personal"),
        GeneratedField::new("given_name", "text", "personal"),
        GeneratedField::new("birth_date", "date", "personal"),
        GeneratedField::new("address.postcode", "text", "contact"),
        GeneratedField::new("address.country", "text", "contact"),
        GeneratedField::new("account.created_at", "instant", "event"),
    ];
    if rng.chance(70) {
        fields.extend([
            GeneratedField::new("card_number", "card_number", "identifier"),
            GeneratedField::new("card_kind", "text", "plain"),
            GeneratedField::new("rijksregisternummer", "rijksregisternummer", "national_id"),
        ]);
        if rng.chance(30) {
            fields.push(GeneratedField::new(
                "wards[].number",
                "rijksregisternummer",
                "national_id",
            ));
        }
        if rng.chance(60) {
            let list = GeneratedField::new("old_cards[]", "card_number", "identifier");
            fields.push(list);
        }
        if rng.chance(40) {
            fields.push(GeneratedField::new("cards[].number", "card_number", "identifier"));
            fields.push(GeneratedField::new("cards[].since", "date", "plain"));
        }
    }
    if rng.chance(60) {
        fields.push(GeneratedField::new("country", "text", "plain"));
    }
    if rng.chance(60) {
        fields.push(GeneratedField::new("email", "email", "contact"));
        fields.push(GeneratedField::new("mobile", "phone", "contact"));
    }
    let [status, end] = *rng.pick(&[[true; 2], [true; 2], [true; 2], [false, true], [true, false]]);
    if status {
        fields.push(GeneratedField::with_values("membership.status", &MEMBERSHIP_STATUSES));
    }
    if end {
        fields.push(GeneratedField::new("membership.ends_on", "date", "plain"));
    }
    add_fields(rng, "", 3, &mut fields);
    let closed = rng.chance(20);
    GeneratedKind {
        name: "patron".to_owned(),
        role: "patron",
        id: "patron_id".to_owned(),
        is_keyed: true,
        is_closed: closed,
        allows_other_library: false,
        has_gone: false,
        fields,
    }
}

fn generate_record_kind(rng: &mut TestRng, name: &str) -> GeneratedKind {
    let keyed = name == "loan" || rng.chance(70);
    let role = if rng.chance(15) { "gate" } else { "record" };
    let id = (*rng.pick(&["event_id", "head.ref", "id"])).to_owned();
    let mut fields = vec![GeneratedField::new(&id, "text", "identifier")];
    if keyed {
        fields.push(GeneratedField::new("patron_id", "text", "identifier"));
    }
    if keyed || rng.chance(50) {
        fields.push(GeneratedField::new("library", "isil", "plain"));
    }
    fields.push(GeneratedField::with_values("status", &STATUS_WORDS));
    fields.push(GeneratedField::new("due_on", "date", "plain"));
    if rng.chance(50) {
        let kind = *rng.pick(&["instant", "date"]);
        let stages = ["stages.one", "stages.two", "three_at"];
        fields.extend(stages.map(|path| GeneratedField::new(path, kind, "plain")));
    }
    if rng.chance(50) {
        fields.push(GeneratedField::new("remark", "text", "free_text"));
    }
    if rng.chance(60) {
        // Names fields of the patron.
        fields.push(GeneratedField::new("wanted[]", "text", "plain"));
    }
    let has_gone = rng.chance(50);
    if has_gone {
        fields.push(GeneratedField::new("gone", "boolean", "plain"));
    }
    if keyed && rng.chance(50) {
        fields.push(GeneratedField::new("returned_at", "instant", "personal"));
    }
    add_fields(rng, "", 3, &mut fields);
    let wide = if rng.one_in(10) { rng.between(60, 105) } else { 0 };
    // More members of one object than a word has bits.
    fields.extend((0..wide).map(|place| generate_field(rng, format!("w{place}"))));
    GeneratedKind {
        name: name.to_owned(),
        role,
        id,
        is_keyed: keyed,
        is_closed: rng.chance(if wide > 0 { 60 } else { 20 }),
        allows_other_library: rng.chance(30),
        has_gone,
        fields,
    }
}

/// A kind by which patrons decide.
fn generate_gate_kind(rng: &mut TestRng, name: &str) -> GeneratedKind {
    let id = format!("{name}_id");
    let mut fields = vec![
        GeneratedField::new(&id, "text", "identifier"),
        GeneratedField::new("patron_id", "text", "identifier"),
        GeneratedField::new("library", "isil", "plain"),
        GeneratedField::new("purpose", "text", "personal"),
        GeneratedField::new("at", "instant", "personal"),
    ];
    fields.extend(match name {
        "consent" => vec![
            GeneratedField::new("recipient", "text", "personal"),
            GeneratedField::with_values("decision", &["granted", "refused", "withdrawn"]),
            GeneratedField::with_values("manner", &["written", "digital", "oral"]),
            GeneratedField::with_values("given_by", &["patron", "guardian"]),
            GeneratedField::new("employee", "text", "personal"),
            GeneratedField::new("signature_ref", "text", "identifier"),
        ],
        _ => vec![
            GeneratedField::with_values("kind", &["direct_marketing", "special_circumstances"]),
            GeneratedField::with_values("status", &["lodged", "upheld", "dismissed"]),
        ],
    });
    if rng.chance(30) {
        add_fields(rng, "", 1, &mut fields);
    }
    GeneratedKind {
        name: name.to_owned(),
        role: "gate",
        id,
        is_keyed: true,
        is_closed: rng.chance(20),
        allows_other_library: false,
        has_gone: false,
        fields,
    }
}

/// Adds fields below `start`, in objects and lists too.
fn add_fields(rng: &mut TestRng, start: &str, levels: usize, fields: &mut Vec<GeneratedField>) {
    let most = if levels == 3 { 9 } else { 4 };
    for _ in 0..rng.between(1, most) {
        let path = format!("{start}{}", rng.pick(&FIELD_NAMES));
        let is_taken = |other: &GeneratedField| {
            let rest = other.path.strip_prefix(&path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if fields.iter().any(is_taken) {
            continue;
        }
        let in_list = start.contains("[]");
        match rng.below(10) {
            0 | 1 if levels > 0 => add_fields(rng, &format!("{path}."), levels - 1, fields),
            2 | 3 if levels > 0 && !in_list => {
                add_fields(rng, &format!("{path}[]."), levels - 1, fields);
            }
            4 if !in_list => fields.push(generate_field(rng, format!("{path}[]"))),
            _ => fields.push(generate_field(rng, path)),
        }
    }
}

fn generate_field(rng: &mut TestRng, path: String) -> GeneratedField {
    let kind = *rng.pick(&FIELD_TYPES);
    GeneratedField {
        path,
        field_type: kind,
        class: if rng.chance(3) {
            rng.pick_str(&["secret", "special"])
        } else {
            rng.pick_str(&FIELD_CLASSES)
        },
        values: match kind {
            "text" if rng.chance(40) => &STATUS_WORDS,
            _ => &[],
        },
    }
}

fn kind_toml(kind: &GeneratedKind) -> String {
    let GeneratedKind {
        name,
        role,
        id,
        is_closed: closed,
        allows_other_library: other_library,
        ..
    } = kind;
    let key = if kind.is_keyed { "patron" } else { "none" };
    let mut text = format!(
        "name = \"{name}\"\ntitle = \"Soort\"\nrole = \"{role}\"\nid = \"{id}\"\n\
         topic = \"{name}\"\nkey = \"{key}\"\nclosed = {closed}\n\
         other_library = {other_library}\n"
    );
    text += if kind.has_gone { "gone = \"gone\"\n[fields]\n" } else { "[fields]\n" };
    for GeneratedField { path, field_type: kind, class, values } in &kind.fields {
        let values = match values {
            [] => String::new(),
            some => format!("values = {some:?}, "),
        };
        writeln!(
            text,
            "\"{path}\" = {{ type = \"{kind}\", class = \"{class}\", {values}meaning = \"iets\" }}"
        )
        .unwrap();
    }
    text
}

/// A field that a recipient may name, and how it does.
struct NamedField<'a> {
    path: String,
    field: &'a GeneratedField,
    is_joined: bool,
}

struct RecipientGenerator<'a> {
    rng: &'a mut TestRng,
    source: &'a GeneratedKind,
    patron: &'a GeneratedKind,
    is_pseudonymised: bool,
    /// It has an authorisation for national numbers.
    is_authorised: bool,
    /// Its consent is explicit and written.
    is_consent_explicit: bool,
    /// There is an output for each patron that a grant names.
    is_for_named_patrons: bool,
    /// It says why free text is in it.
    has_free_text_reason: bool,
    /// The patron is reached by one of two channels.
    has_channel: bool,
    /// Nothing of a patron decides.
    ignores_patron: bool,
    /// There is a source of consents, by which patrons can withdraw.
    has_consent_source: bool,
    /// There is a source of objections.
    has_objection_source: bool,
    now_ms: i64,
}

impl<'a> RecipientGenerator<'a> {
    fn generate(&mut self, name: &str) -> String {
        let is_history = self.source.name == "loan";
        let has_patrons = self.source.is_keyed && self.source.role != "patron" && !is_history;
        let is_returned = self.source.fields.iter().any(|field| field.path == "returned_at");
        let is_number = |field: &GeneratedField| field.class == "national_id";
        let has_number = self.source.fields.iter().any(is_number);
        self.ignores_patron = has_patrons && !is_returned && !has_number && self.rng.chance(20);
        let mut dated = self.nameable_fields(|field| field.is_outside_list() && field.is_dated());
        dated.retain(|field| !field.is_joined);
        self.is_for_named_patrons =
            self.source.role == "patron" && self.has_consent_source && self.rng.chance(40);
        self.is_pseudonymised =
            self.rng.chance(15) && !dated.is_empty() && !self.is_for_named_patrons;
        self.is_authorised = self.rng.chance(20) && !self.ignores_patron;
        self.has_free_text_reason = self.rng.chance(90);
        let can_object = self.has_objection_source || !self.source.is_keyed;
        let known = if can_object { PURPOSES.len() } else { PURPOSES.len() - 1 };
        let purpose = match self.ignores_patron {
            true => PURPOSES[0],
            false if self.is_for_named_patrons => SHARING_PURPOSE,
            false => *self.rng.pick(&PURPOSES[..known]),
        };
        let (basis, explicit) = self.legal_basis_toml(purpose);
        self.is_consent_explicit = explicit;
        let mut text = format!(
            "name = \"{name}\"\ntitle = \"Ontvanger\"\nsource = \"{}\"\npurpose = \"{purpose}\"\n\
             purpose_text = \"Tellen\"\ncontroller = \"De bibliotheek\"\n\
             notice = {{ on = \"{}\", where = \"Privacyverklaring\" }}\npseudonymised = {}\n",
            self.source.name,
            self.notice_day(),
            self.is_pseudonymised
        );
        text += self.rng.pick_str(&["", "", "", "national_card = \"omit\"\n"]);
        text += &self.decisions_toml();
        if self.is_pseudonymised {
            let of = &self.rng.pick(&dated).path;
            text += &format!("period = {{ every = \"P1M\", of = \"{of}\" }}\n");
        }
        text += &self.libraries_toml();
        if !self.ignores_patron && self.source.is_keyed {
            text += self.rng.pick_str(&["", "", "", "own_borrowers = true\n"]);
        }
        text += &self.topic_toml(name);
        text += &basis;
        if self.ignores_patron {
            text += "without_patron = \"geteld\"\n";
        } else if purpose == "direct-marketing"
            || (can_object && !self.is_for_named_patrons && self.rng.chance(10))
        {
            text += "marketing = true\n";
        }
        if self.rng.chance(90) {
            text += "credential_reason = \"vastgelegd\"\n";
        }
        if self.has_free_text_reason {
            text += "free_text_reason = \"vastgelegd\"\n";
        }
        if self.is_authorised {
            let paper = "reference = \"A-1\", approved_by = \"FG\", approved_on = \"2025-01-01\"";
            let days = self.paper_dates();
            text += &format!("authorisation = {{ {paper}, {days} }}\n");
        }
        if self.rng.chance(15) {
            let paper =
                "reference = \"V-1\", clauses = [\"use\", \"security\", \"confidentiality\"]";
            let days = self.paper_dates();
            text += &format!("agreement = {{ {paper}, {days} }}\n");
            text += self.rng.pick_str(&["", "role = \"processor\"\n"]);
        }
        let history = self.source.is_keyed && self.source.role != "patron";
        let status = |field: &GeneratedField| field.path == "status";
        let history = history && !self.ignores_patron && self.source.fields.iter().any(status);
        let is_asked = self.source.name == "loan" || is_returned;
        let history = history && (is_asked || self.rng.chance(80));
        if history {
            text += "loan_history = true\n";
        }
        text += &self.retention_toml();
        text += &self.stages_toml();
        text += &format!("key = {{ pseudonym = \"{}\" }}\n", self.key_field());
        let forgets = text.contains("after = \"forget\"");
        text += &self.conditions_toml(forgets);
        text += &self.channel_toml();
        let fields = self.fields_toml(&text);
        text += &self.thinned_toml(&fields, history);
        text += &fields;
        text
    }

    /// Leaves out whatever is the patron's, a slip with all that it may print, and some more.
    fn thinned_toml(&mut self, fields: &str, is_loan_history: bool) -> String {
        if self.is_for_named_patrons || self.rng.chance(65) {
            return String::new();
        }
        let has_slip = fields.contains("shelf_slip") || self.source.role == "patron";
        let mut dropped = Vec::new();
        for line in fields.lines().skip(1) {
            let name = line.split(' ').next().unwrap_or_default();
            let is_patrons =
                ["\"patron.", "\"patron_id\"", "word_of"].iter().any(|part| line.contains(part));
            if has_slip || is_patrons || self.rng.chance(40) {
                dropped.push(name);
            }
        }
        let mut words = Vec::new();
        words.extend((self.source.has_gone && self.rng.chance(70)).then_some("gone"));
        words.extend((is_loan_history && self.rng.chance(50)).then_some("loan_history_off"));
        let mut dated = self.nameable_fields(|field| field.is_outside_list() && field.is_dated());
        dated.retain(|named| !matches!(named.field.class, "secret" | "special"));
        dated.retain(|named| !named.path.ends_with("birth_date") && self.may_end_outputs(named));
        let has_term = !dated.is_empty() && (words.is_empty() || self.rng.chance(50));
        if dropped.is_empty() || (words.is_empty() && !has_term) {
            return String::new();
        }
        let on = if words.is_empty() { String::new() } else { format!(", on = {words:?}") };
        let after = match has_term {
            true => {
                let term = self.rng.pick_str(&TERMS);
                format!(", after = \"{term}\", from = \"{}\"", self.rng.pick(&dated).path)
            }
            false => String::new(),
        };
        format!("thinned = {{ drop = {dropped:?}{on}{after} }}\n")
    }

    /// A day around now: mostly long before.
    fn paper_day(&mut self) -> jiff::civil::Date {
        let days = *self.rng.pick(&[-4_000, -400, -400, -400, -400, -400, -1, 0, 0, 1, 30]);
        let now = jiff::Timestamp::from_millisecond(self.now_ms).unwrap();
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        today.checked_add(jiff::Span::new().days(days)).unwrap()
    }

    /// Mostly long before, so that most recipients get something.
    fn notice_day(&mut self) -> String {
        match self.rng.chance(85) {
            true => "2018-05-25".to_owned(),
            false => self.paper_day().to_string(),
        }
    }

    /// Papers with one day beside the notice.
    fn decisions_toml(&mut self) -> String {
        let mut text = String::new();
        for key in ["dpo_advice", "approval"] {
            if self.rng.chance(5) {
                let on = self.paper_day();
                text += &format!("{key} = {{ by = \"FG\", on = \"{on}\", document = \"A-1\" }}\n");
            }
        }
        if self.rng.chance(5) {
            let on = self.paper_day();
            text += &format!(
                "terms = {{ document = \"Gebruiksafspraken\", version = \"1\", on = \"{on}\" }}\n"
            );
        }
        if self.source.is_keyed && self.rng.chance(8) {
            let count = self.rng.between(1, 2);
            text += &format!("members = {:?}\n", &LIBRARIES[..count]);
        }
        text
    }

    fn may_show_demanded(&self) -> bool {
        self.source.is_keyed && !self.is_pseudonymised && !self.ignores_patron
    }

    fn channel_toml(&mut self) -> String {
        let start = match (self.source.role, self.source.is_keyed) {
            ("patron", _) => "",
            (_, true) => "patron.",
            _ => return String::new(),
        };
        let has_email = self.patron.fields.iter().any(|field| field.path == "email");
        let may_write = has_email && !self.is_pseudonymised && !self.ignores_patron;
        if !may_write || !self.rng.chance(35) {
            return String::new();
        }
        self.has_channel = true;
        let mut paths = ["email", "mobile", "address"].map(|path| format!("{start}{path}"));
        self.rng.shuffle(&mut paths);
        let count = self.rng.between(2, 3);
        format!("channel = {{ first = {:?} }}\n", &paths[..count])
    }

    /// When a paper is in force: mostly now.
    fn paper_dates(&mut self) -> String {
        let from = *self.rng.pick(&[-400, -400, -400, -1, 0, 1]);
        let until = *self.rng.pick(&[1_000, 1_000, 1_000, -1, 0, 1]);
        let now = jiff::Timestamp::from_millisecond(self.now_ms).unwrap();
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let day = |days: i64| today.checked_add(jiff::Span::new().days(days)).unwrap();
        let after = self.rng.pick_str(&["", ", after = \"keep\"", ", after = \"retract\""]);
        let until = day(until.max(from));
        format!("from = \"{}\", until = \"{until}\"{after}", day(from))
    }

    fn retention_toml(&mut self) -> String {
        let mut dated = self.nameable_fields(|field| field.is_outside_list() && field.is_dated());
        let begins = |field: &GeneratedField| !matches!(field.class, "secret" | "special");
        dated.retain(|named| begins(named.field));
        let birth = |named: &NamedField<'_>| named.path.ends_with("birth_date");
        dated.retain(|named| !(self.is_pseudonymised && birth(named)));
        let end = |named: &NamedField<'_>| named.path.ends_with("membership.ends_on");
        if self.rng.chance(25) && dated.iter().any(end) {
            dated.retain(end);
        }
        let start = self.rng.pick(&dated);
        let (from, may_retract) = (&start.path, self.may_end_outputs(start));
        let term = self.rng.pick_str(&TERMS);
        let after = self.rng.pick_str(&["retract", "forget"]);
        let after = if may_retract { after } else { "forget" };
        format!("retention = {{ term = \"{term}\", from = \"{from}\", after = \"{after}\" }}\n")
    }

    /// Whether a term from a date may take outputs back, or thin them.
    fn may_end_outputs(&self, start: &NamedField<'_>) -> bool {
        let is_of_patron = start.is_joined || self.source.role == "patron";
        !(self.is_pseudonymised && is_of_patron)
    }

    fn stages_toml(&mut self) -> String {
        let kind = self.rng.pick_str(&["date", "instant"]);
        let mut stages =
            self.nameable_fields(|field| field.is_outside_list() && field.field_type == kind);
        stages.retain(|stage| !stage.is_joined);
        stages.retain(|stage| self.may_release(stage.field) || !self.is_pseudonymised);
        stages.retain(|stage| !matches!(stage.field.class, "secret" | "special"));
        if stages.len() < 2 || self.rng.chance(70) {
            return String::new();
        }
        let named = |stage: &NamedField<'_>| {
            ["one", "two", "three_at"].iter().any(|end| stage.path.ends_with(end))
        };
        if stages.iter().filter(|stage| named(stage)).count() > 1 && self.rng.chance(70) {
            stages.retain(named);
        }
        self.rng.shuffle(&mut stages);
        stages.truncate(self.rng.between(2, 3));
        let mut stages: Vec<&str> = stages.iter().map(|stage| &*stage.path).collect();
        stages.extend(self.rng.chance(40).then_some("now"));
        format!("stages = {stages:?}\n")
    }

    /// The fields for which `wanted` holds, own ones and the patron's.
    fn nameable_fields(&self, wanted: impl Fn(&GeneratedField) -> bool) -> Vec<NamedField<'a>> {
        let own = self.source.fields.iter().map(|field| (field, false));
        let is_joined =
            self.source.is_keyed && self.source.role != "patron" && !self.ignores_patron;
        let patrons = self.patron.fields.iter().map(|field| (field, true));
        own.chain(patrons.filter(|_| is_joined))
            .filter(|(field, _)| wanted(field))
            .map(|(field, joined)| NamedField {
                path: format!("{}{}", if joined { "patron." } else { "" }, field.path),
                field,
                is_joined: joined,
            })
            .collect()
    }

    /// Whether the recipient may have something of a field that no mask hides.
    fn may_release(&self, field: &GeneratedField) -> bool {
        if self.ignores_patron
            && (field.class != "plain" || ["email", "phone"].contains(&field.field_type))
        {
            return false;
        }
        match field.class {
            "secret" => false,
            "special" => self.is_consent_explicit && !self.is_pseudonymised,
            "national_id" => self.is_authorised && !self.is_pseudonymised,
            "free_text" => {
                self.has_free_text_reason && !self.is_pseudonymised && field.is_outside_list()
            }
            "plain" => {
                !(self.is_pseudonymised
                    && ["instant", "email", "phone"].contains(&field.field_type))
            }
            _ => !self.is_pseudonymised,
        }
    }

    /// The fields that a condition may be about.
    fn condition_fields(&self) -> Vec<NamedField<'a>> {
        let mut asked = self.nameable_fields(GeneratedField::is_outside_list);
        asked.retain(|named| self.may_release(named.field));
        asked
    }

    fn libraries_toml(&mut self) -> String {
        if self.rng.chance(80) {
            return "libraries = \"all\"\n".to_owned();
        }
        let count = self.rng.between(1, 2);
        format!("libraries = {:?}\n", &LIBRARIES[..count])
    }

    fn topic_toml(&mut self, name: &str) -> String {
        let mut by = self.condition_fields();
        by.retain(|named| !named.field.values.is_empty());
        if by.is_empty() || self.rng.chance(75) {
            return format!("topic = \"out.{name}\"\n");
        }
        let NamedField { path: by, field, .. } = self.rng.pick(&by);
        let count = self.rng.between(1, field.values.len());
        let of = field.values[..count].iter();
        let of = of.map(|word| format!("\"{word}\" = \"out.{name}.{word}\""));
        let of = of.collect::<Vec<_>>().join(", ");
        format!("topic = {{ by = \"{by}\", of = {{ {of} }} }}\n")
    }

    /// The legal basis, with its gate; and whether consent is explicit.
    fn legal_basis_toml(&mut self, purpose: &str) -> (String, bool) {
        let is_asked = self.has_consent_source && self.rng.chance(35) && !self.ignores_patron;
        let asked = is_asked || self.is_for_named_patrons;
        let basis = match asked && self.rng.chance(80) {
            true => "legal_basis = \"consent\"\n".to_owned(),
            // Only against the last two can a patron object.
            false => {
                let bases = ["legal_obligation", "contract", "public_task", "legitimate_interest"];
                let count = if self.has_objection_source { 4 } else { 2 };
                format!("legal_basis = \"{}\"\n", self.rng.pick_str(&bases[..count]))
            }
        };
        if !asked {
            return (basis, false);
        }
        let keyed = self.source.is_keyed;
        let (more, explicit) = match self.rng.below(4) {
            0 => (", explicit = true", true),
            _ if self.is_for_named_patrons => ("", false),
            1 | 2 if keyed => (", implied_by = \"patron.account.created_at\"", false),
            _ => ("", false),
        };
        let minors = match keyed && !self.is_pseudonymised && self.rng.chance(50) {
            true => "minors = \"guardian\"\n",
            false => "",
        };
        let each = match self.is_for_named_patrons {
            true if self.rng.chance(50) => {
                format!(", each = \"recipient\", lasts = \"{}\"", self.rng.pick_str(&TERMS))
            }
            true => ", each = \"recipient\"".to_owned(),
            false => String::new(),
        };
        let gate = format!("consent = {{ purpose = \"{purpose}\"{more}{each} }}\n{minors}");
        (format!("{basis}{gate}"), explicit)
    }

    fn key_field(&mut self) -> String {
        if self.is_for_named_patrons || self.rng.chance(50) {
            return self.source.id.clone();
        }
        let own = self.source.role == "patron";
        let keys = self.nameable_fields(|field| {
            let is_text = matches!(field.field_type, "text" | "card_number" | "email");
            field.is_outside_list() && is_text && field.class == "identifier"
        });
        let mut keys: Vec<_> = keys
            .into_iter()
            .filter(|key| !key.is_joined && (own || key.path != "patron_id"))
            .collect();
        keys.swap_remove(self.rng.below(keys.len())).path
    }

    /// What a condition asks of a date or an instant at the time of the batch.
    fn time_range_toml(&mut self, may_end: bool) -> String {
        let mut bound = || {
            let term = self.rng.pick_str(&TERMS);
            match self.rng.below(6) {
                0..2 => "now".to_owned(),
                2 => "now+P3D".to_owned(),
                3 => format!("now+{term}"),
                _ => format!("now-{term}"),
            }
        };
        let (one, other) = (bound(), bound());
        match self.rng.below(3) {
            0 if may_end => format!("not_before = \"{one}\""),
            1 if may_end => format!("not_before = \"{one}\", before = \"{other}\""),
            _ => format!("before = \"{one}\""),
        }
    }

    fn conditions_toml(&mut self, forgets: bool) -> String {
        let count = *self.rng.pick(&[0, 0, 1, 1, 2]);
        let mut fields = self.condition_fields();
        let is_single_list = |field: &GeneratedField| {
            field.path.ends_with("[]") && !field.path.trim_end_matches("[]").contains("[]")
        };
        let mut lists = self.nameable_fields(is_single_list);
        lists.retain(|named| self.may_release(named.field));
        fields.extend(lists);
        let mut conditions = Vec::new();
        for _ in 0..count {
            let NamedField { path, field, is_joined } = self.rng.pick(&fields);
            let test = match field.field_type {
                _ if !field.is_outside_list() => format!("present = {}", self.rng.chance(60)),
                "text" if !field.values.is_empty() => {
                    let first = self.rng.below(field.values.len().min(3));
                    let last = field.values.len().min(first + 3);
                    format!("is = {:?}", &field.values[first..last])
                }
                "boolean" => format!("is = [{}]", self.rng.chance(50)),
                "integer" if self.rng.chance(50) => {
                    let bounds = ["above = 0", "below = 7", "above = -1, below = 12"];
                    self.rng.pick_str(&bounds).to_owned()
                }
                "date" | "instant" if self.rng.chance(60) => {
                    self.time_range_toml(*is_joined || !forgets)
                }
                "integer" => "is = [0, 1, -1, 7, 12]".to_owned(),
                "date" if self.rng.chance(30) => "is = [\"2026-02-01\"]".to_owned(),
                _ => format!("present = {}", self.rng.chance(60)),
            };
            let reason = match self.rng.chance(15) {
                true => ", reason = \"no_advice\"",
                false => "",
            };
            conditions.push(format!("{{ field = \"{path}\", {test}{reason} }}"));
        }
        if conditions.is_empty() {
            return String::new();
        }
        format!("when = [{}]\n", conditions.join(", "))
    }

    fn fields_toml(&mut self, text_so_far: &str) -> String {
        let careless = self.rng.chance(3);
        let authorised = self.is_authorised;
        let released = self.nameable_fields(|field| self.may_release(field) || careless);
        let national = self.nameable_fields(|field| field.class == "national_id");
        let mut text = "[fields]\n".to_owned();
        if self.has_channel && self.rng.chance(80) {
            text += "word = { word_of = \"channel\" }\n";
        }
        if self.is_for_named_patrons && self.rng.chance(80) {
            text += "for = { pseudonym_of = \"named_patron\" }\n";
        }
        let mut single: Vec<String> = Vec::new();
        for place in 0..self.rng.between(1, 9) {
            let name = format!("f{place}");
            let wanted = self.source.fields.iter().any(|field| field.path == "wanted[]");
            let value = match self.rng.below(20) {
                18 | 19 if wanted => {
                    let shown = match text_so_far.contains("legal_obligation") {
                        true if self.may_show_demanded() => "values",
                        _ => "number",
                    };
                    text += &format!("{name} = {{ demanded = \"wanted[]\", as = \"{shown}\" }}\n");
                    continue;
                }
                0 => "mask = \"constant\", value = \"vast \\\"é\\\"\"".to_owned(),
                1 if single.len() > 2 => {
                    let pick = |rng: &mut TestRng| rng.pick(&single).clone();
                    let [mark, initial, one, two] = std::array::from_fn(|_| pick(self.rng));
                    let lines = if one == two { vec![one] } else { vec![one, two] };
                    text += &format!(
                        "{name} = {{ mask = \"shelf_slip\", mark = \"{mark}\", \
                         initial = \"{initial}\", lines = {lines:?} }}\n"
                    );
                    continue;
                }
                2 => self.patron_mask_toml(),
                6 => self.first_toml(&released),
                3..6 if authorised && !national.is_empty() => {
                    let named = self.rng.pick(&national);
                    self.field_value_toml(named, &released)
                }
                _ if released.is_empty() => continue,
                _ => {
                    let named = self.rng.pick(&released);
                    self.field_value_toml(named, &released)
                }
            };
            // A slip shows neither a pseudonym nor what is true or false.
            let in_slip = !value.contains("fields =")
                && !value.contains("first =")
                && !value.contains("[]")
                && !value.contains("pseudonym")
                && !value.ends_with("#boolean");
            let value = value.trim_end_matches("#boolean");
            text += &format!("{name} = {{ {value} }}\n");
            if in_slip {
                single.push(name);
            }
        }
        if text == "[fields]\n" {
            text += "f = { mask = \"constant\", value = \"leeg\" }\n";
        }
        text
    }

    /// The first of two or three texts.
    fn first_toml(&mut self, released: &[NamedField<'_>]) -> String {
        let is_text = |named: &&NamedField<'_>| {
            named.field.is_outside_list()
                && named.field.class != "free_text"
                && !matches!(named.field.field_type, "integer" | "boolean")
        };
        let mut texts: Vec<&NamedField<'_>> = released.iter().filter(is_text).collect();
        self.rng.shuffle(&mut texts);
        texts.truncate(self.rng.between(2, 3));
        if texts.len() < 2 {
            return "mask = \"constant\", value = \"vast\"".to_owned();
        }
        let values: Vec<String> = texts
            .iter()
            .map(|named| {
                let mask = match named.field.field_type {
                    "text" => self.rng.pick_str(&[
                        "",
                        "",
                        ", mask = \"lowercase\"",
                        ", mask = \"present\"",
                    ]),
                    _ => self.rng.pick_str(&["", "", ", mask = \"present\""]),
                };
                format!("{{ from = \"{}\"{mask} }}", named.path)
            })
            .collect();
        format!("first = [{}]", values.join(", "))
    }

    /// A mask that only some fields of a patron suit.
    fn patron_mask_toml(&mut self) -> String {
        let start = match (self.source.role, self.source.is_keyed) {
            ("patron", _) => "",
            (_, true) if !self.ignores_patron => "patron.",
            _ => return "mask = \"constant\", value = \"vast\"".to_owned(),
        };
        let due = match self.source.role {
            "patron" => "account.created_at",
            _ if self.source.fields.iter().any(|field| field.path == "at") => "at",
            _ => "due_on",
        };
        // The first of them hide too little for a pseudonymised recipient.
        let readable = [
            "birth_date\", mask = \"year\"",
            "surname\", mask = \"full_name\"",
            "surname\", mask = \"first_letters\"",
            "surname\", mask = \"first_letters\", count = 3, surname_key = \"full\"",
            "initials\", mask = \"initial\"",
            "surname\", mask = \"shelf_name\"",
            "surname\", mask = \"shelf_name\", surname_key = \"kernwoord\", ij_initial = \"I\"",
        ];
        let hidden = [
            "address.postcode\", mask = \"postcode_area\"",
            "birth_date\", mask = \"age_band\", at = \"DUE\"",
        ];
        let masks: Vec<_> = readable.iter().chain(&hidden).collect();
        let from = if self.is_pseudonymised { readable.len() } else { 0 };
        let value = *self.rng.pick(&masks[from..]);
        format!("from = \"{start}{}", value.replace("DUE", due))
    }

    fn field_value_toml(&mut self, named: &NamedField<'_>, all: &[NamedField<'_>]) -> String {
        let path = &named.path;
        let from = format!("from = \"{path}\"");
        if let Some((list, _)) = path.split_once("[].") {
            return self.nested_value_toml(&format!("{list}[]"), all);
        }
        if path.ends_with("[]") {
            return from;
        }
        let own = path.strip_prefix("patron.").unwrap_or(path);
        if own.contains('.') && self.rng.chance(60) {
            let (object, _) = path.rsplit_once('.').unwrap();
            return self.nested_value_toml(object, all);
        }
        if named.field.class == "free_text" {
            return format!("{from}, detect = \"all\"");
        }
        let identifier = named.field.class == "identifier";
        let mut dated = self.nameable_fields(|field| field.is_outside_list() && field.is_dated());
        dated.retain(|field| !field.is_joined);
        if identifier
            && matches!(named.field.field_type, "text" | "card_number")
            && !dated.is_empty()
            && self.rng.chance(10)
        {
            let of = &self.rng.pick(&dated).path;
            let encoding = self.rng.pick_str(&["", ", encoding = \"hexadecimal\""]);
            return format!("{from}, mask = \"pseudonym\", month_of = \"{of}\"{encoding}");
        }
        let mask = match named.field.field_type {
            "text" if identifier && self.rng.chance(30) => self.rng.pick(&[
                ", mask = \"pseudonym\"",
                ", mask = \"pseudonym\", encoding = \"hexadecimal\"",
            ]),
            "text" if self.ignores_patron => self.rng.pick(&["", ", mask = \"lowercase\""]),
            "text" => self.rng.pick(&[
                "",
                "",
                "",
                ", mask = \"lowercase\"",
                ", mask = \"or_else\", value = \"anders\"",
                ", mask = \"present\"",
                ", detect = \"all\"",
                ", mask = \"lowercase\", detect = [\"bsn\", \"own_values\"]",
                ", mask = \"last_digits\"",
            ]),
            "card_number" => self.rng.pick(&[
                "",
                "",
                ", mask = \"last_digits\", count = 4, min_hidden = 1",
                ", mask = \"pseudonym\"",
                ", mask = \"present\"",
            ]),
            "date" | "instant" => {
                self.rng.pick(&["", "", "", ", mask = \"year\"", ", mask = \"month\""])
            }
            "boolean" => return format!("{from}#boolean"),
            _ => self.rng.pick(&["", "", "", ", mask = \"present\""]),
        };
        format!("{from}{mask}")
    }

    /// An object or a list, with some of the values right below it.
    fn nested_value_toml(&mut self, above: &str, all: &[NamedField<'_>]) -> String {
        let start = format!("{above}.");
        let below = all.iter().filter_map(|named| {
            let name = named.path.strip_prefix(&start)?;
            let direct = !name.contains(['.', '[']) && named.field.class != "free_text";
            direct.then_some(name)
        });
        let mut below: Vec<&str> = below.collect();
        self.rng.shuffle(&mut below);
        below.truncate(self.rng.between(1, 4));
        if below.is_empty() {
            return "mask = \"constant\", value = \"geen\"".to_owned();
        }
        format!("from = \"{above}\", fields = {below:?}")
    }
}
