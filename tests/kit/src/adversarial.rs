//! Plausible and malformed messages of the shipped kinds; the same for the same seed.

use crate::mutations::mutate;
use crate::rng::TestRng;

/// A message of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    pub source: &'static str,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// Makes some patrons, then `length` messages of all kinds.
///
/// About half of them are as they should be.
pub fn generate_stream(seed: u64, length: usize) -> Vec<RawMessage> {
    let mut generator = MessageGenerator::new(seed);
    let mut messages: Vec<RawMessage> =
        PATRON_IDS[..4].iter().map(|id| generator.generate("patron", id)).collect();
    for _ in 0..length {
        let source = generator.pick(SOURCES);
        let id = generator.pick(PATRON_IDS);
        messages.push(generator.generate(source, id));
    }
    messages
}

const SOURCES: &[&str] = &[
    "patron",
    "patron",
    "loan",
    "loan",
    "reservation",
    "reservation",
    "ill_request",
    "debt",
    "debt",
    "demand",
    "participation",
    "consent",
    "objection",
    "settlement",
];
const PATRON_IDS: &[&str] = &["p1", "p2", "Pé-3", "0004", "p5", "p-unknown"];
const LIBRARIES: &[&str] = &["NL-AmrBKW", "NL-AmrBKW", "NL-AmrBKW", "BE-GntB", "FR-751131015"];

/// A JSON value in the making; raw text is written as it is.
#[derive(Clone, Debug)]
enum DraftJson {
    Raw(String),
    List(Vec<DraftJson>),
    Object(Vec<(String, DraftJson)>),
}

const SURNAMES: &[&str] = &[
    "Berg",
    "van der Berg",
    "Van den Broeck",
    "IJzerman",
    "\u{132}zerman",
    "ijzer",
    "O'Brien",
    "d'Hondt",
    "Jansen-de Vries",
    "'t Hooft",
    "\u{2019}t Hooft",
    "\u{2bc}t Hooft",
    "`s Graaf",
    "'s-Gravesande",
    "O\u{308}zdemir",
    "Иванов",
    "王",
    "Li",
    "O",
    "IJ",
    ".",
    " ",
    "\u{200b}",
    "van\u{a0}der\u{a0}Berg",
    "van\u{2003}\u{2003}de Velde",
    "Van De La Cruz",
    "de la",
    "van ",
    "VAN DER STEEN",
    "in 't Veld",
    "Op den Kamp",
    "l' Ami",
    "l'Ami",
    "\u{ad}Ja\u{ad}n",
    "5 Jan",
    "क्षत्रिय",
    "e\u{301}\u{323}e",
    "\u{301}Jan",
    "😀 Smit",
    "ßen",
    "ǅafer",
    "ʻOkina",
    "محمد",
    "Ünal",
    "Šimić",
    "zur Mühlen",
    "von",
    "Aan de\u{9}Wiel",
    "uit de Bos",
    "Ij",
    "A1B2",
    "한글",
    "ﬁn",
];
const PREFIXES: &[&str] =
    &["van der", "Van", "de", "", "'t", "\u{a0}", ".", "d'", "von und zu", "IJ"];
const INITIALS: &[&str] = &[
    "J.",
    "J.P.",
    "Th.O.",
    "IJ.",
    "ij",
    "I.J.",
    "Ij",
    "(IJsbrand)",
    ".",
    "",
    "1.",
    "Ş.",
    "S\u{327}",
    "\u{132}.",
    "I\u{200d}J",
    "I\u{301}J\u{301}",
    "Ch.",
    "😀",
];
const GIVEN_NAMES: &[&str] =
    &["Jan-Willem", "IJsbrand", "Ijeoma", "伟", "\u{133}sbrand", " ", "An"];
const CARD_NUMBERS: &[&str] = &[
    "20013004567890",
    "123456789X",
    "0470012",
    "12345",
    "12345678",
    "1234567",
    "A20013004567B",
    "85073003328",
    "85.07.30-033.28",
    "٢٠٠١٣٠٠٤٥٦٧",
    "8507300332٨",
    "𝟠𝟝𝟘𝟟𝟛𝟘𝟘𝟛𝟛𝟚𝟠",
    "²³456789",
    "ABC",
    "0000000000",
    "1-2-3-4-5-6-7-8",
];
const NATIONAL_NUMBERS: &[&str] =
    &["85.07.30-033.28", "85073003328", "17.07.30-033.84", "85073003329", "x", "-"];
const DATES: &[&str] = &[
    "2026-02-01",
    "2026-01-02",
    "2025-01-15",
    "2025-01-16",
    "2027-02-28",
    "2027-12-31",
    "2028-02-29",
    "2023-02-29",
    "2024-02-29",
    "1985-07-30",
    "0000-01-01",
    "0001-01-01",
    "9999-12-31",
    "2026-13-01",
    "2026-1-01",
    "2026-01-00",
    "1900-02-29",
    "2000-02-29",
    "20260101",
    "2026-01-01 ",
    "٢٠٢٦-01-01",
    "2026-01-01T00:00:00Z",
    "+026-01-01",
    "2010-01-15",
];
const INSTANTS: &[&str] = &[
    "2026-01-15T12:00:00Z",
    "2024-01-15T12:00:00Z",
    "2024-01-15T12:00:00.000001Z",
    "2026-01-15T12:00:00.000Z",
    "2026-01-15T12:00:00.0000001Z",
    "2026-01-15T12:00:00.001Z",
    "2026-01-15T13:00:00+01:00",
    "2026-01-15T13:00:01+01:00",
    "2024-02-28T23:30:00-05:00",
    "2025-02-28T10:00:00Z",
    "2025-03-01T00:00:00+14:00",
    "2025-06-30T23:59:60Z",
    "2025-06-30t10:00:00Z",
    "2025-06-30T10:00:00z",
    "2025-06-30 10:00:00Z",
    "2025-06-30T10:00:00",
    "2025-06-30T24:00:00Z",
    "2025-06-30T10:60:00Z",
    "2025-06-30T10:00Z",
    "2025-06-30T10:00:00.Z",
    "2025-06-30T10:00:00,5Z",
    "2025-06-30T10:00:00+24:00",
    "2025-06-30T10:00:00+23:59",
    "2025-06-30T10:00:00-00:00",
    "2025-06-30T10:00:00+0100",
    "2025-06-31T10:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2025-06-30T10:00:00.123456789012345678901234567890Z",
    "1980-01-01T00:00:00Z",
];
/// Mostly of a month that is over.
/// Most of them the same, so that receipt, advice and decision are often in order.
const DEMAND_INSTANTS: &[&str] = &[
    "2025-06-01T10:00:00Z",
    "2025-06-01T10:00:00Z",
    "2025-06-01T12:00:00+02:00",
    "2025-06-01T10:00:00.000000001Z",
    "2025-06-01T10:00:00.000000001Z",
    "2024-06-01T10:00:00Z",
    "2026-01-15T12:00:00Z",
    "2026-01-15T12:00:00.0000001Z",
    "2027-01-15T12:00:00Z",
    "2025-06-01",
    "",
];
/// Paths of the patron kind, and others.
const DEMANDED_FIELDS: &[&str] = &[
    "surname",
    "initials",
    "surname",
    "email",
    "card_number",
    "country",
    "kind",
    "birth_date",
    "address.street",
    "address.house_number",
    "membership.status",
    "membership.fee_cents",
    "interests[]",
    "previous_card_numbers[]",
    "loan_history",
    "online_account.created_at",
    "bsn",
    "rijksregisternummer",
    "pin_hash",
    "note",
    "address",
    "interests",
    "Surname",
    "shoe_size",
    "",
];
const LOAN_INSTANTS: &[&str] = &[
    "2025-11-01T10:00:00Z",
    "2025-11-02T10:00:00.5Z",
    "2025-11-03T10:00:00+01:00",
    "2025-12-31T23:59:59.999Z",
    "2024-01-15T12:00:00Z",
    "2024-02-28T23:30:00-05:00",
    "2026-01-01T00:00:00Z",
    "2026-01-15T12:00:00Z",
    "2025-12-31T23:30:00-01:00",
    "2026-01-01T00:30:00+01:00",
    "2025-06-30 10:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "1980-01-01T00:00:00Z",
];
const PURPOSES: &[&str] =
    &["online-library", "newsletter", "panel", "direct-debit", "family-access", "statistics", ""];
const EMAILS: &[&str] = &[
    "jan@example.org",
    "jan+bieb@sub.example.org",
    "jan@example",
    "jan@@example.org",
    "jan@example.org.",
    "jan@.example.org",
    "@example.org",
    "jän@example.org",
    "jan@exämple.org",
    ".jan.@example.org",
    "jan@-.-",
    "jan @example.org",
    "jan`@example.org",
    "jan@exa_mple.org",
    "\"jan\"@example.org",
    "o'jan@example.org",
];
const PHONES: &[&str] = &[
    "06-00000000",
    "+31 6 00 00 00 00",
    "(020) 000.0000",
    "0/0-0.0+000",
    "00000",
    "000000",
    "06-0000000a",
    "06\u{a0}00000000",
    "06\t00000000",
    "٠٦٠٠٠٠٠٠",
    "",
    "+-./()",
];
const POSTCODES: &[&str] = &[
    "1811 AB",
    "1811AB",
    " 1811 ab ",
    "1811  AB",
    "1811 SA",
    "1811 ss",
    "1811 Sd",
    "0811 AB",
    "1811",
    "9000",
    " 9000\u{a0}",
    "9000 AB",
    "1811\u{a0}AB",
    "1811-AB",
    "1811 ÁB",
    "١٨١١ AB",
    "B-9000",
    "18111",
];
const COUNTRIES: &[&str] = &["NL", "BE", "NL", "BE", "DE", "nl", "Nederland", " NL", "", "XX"];
const CURRENCIES: &[&str] = &["EUR", "EUR", "eur", "EURO", "€", "EU", "ÉUR"];
const ISILS: &[&str] = &[
    "NL-0800070000",
    "BE-GntB",
    "NL-",
    "NL",
    "nl-X",
    "NLDXX-1",
    "O-X",
    "NL-a b",
    "NL-123456789012",
    "NL-1/2:3-4",
];
const TITLES: &[&str] = &[
    "Het boek",
    "  ",
    "\u{200b}",
    "Tab\there",
    "Regel\nnog een",
    "\"Quote\" \\ /",
    "\u{1}\u{8}\u{c}\u{1f}\u{7f}\u{80}",
    "😀 emoji",
    "e\u{301}",
    "\u{2028}",
    "Ik <b>&amp;</b>",
    "\u{0}",
];
const INTEGERS: &[&str] = &[
    "0",
    "-0",
    "1250",
    "-17",
    "12.50",
    "12.0",
    "1e2",
    "0e0",
    "9007199254740993",
    "123456789012345678901234567890",
    "1e999",
    "-1e999",
    "1e-999",
    "1E+2",
    "\"12\"",
];
const ODD_VALUES: &[&str] = &[
    "null",
    "\"\"",
    "{}",
    "[]",
    "[null]",
    "[\"\"]",
    "{\"x\":null}",
    "{\"x\":{}}",
    "{\"x\":1}",
    "[1]",
    "[\"x\"]",
    "[[]]",
    "[{}]",
    "42",
    "-0",
    "1.50",
    "1e999",
    "1e-999",
    "true",
    "false",
    "\"x\"",
    "\" \"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u0000\"",
    "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
    "\"ready_for_pickup\"",
    "\"person\"",
    "{\"title\":\"y\"}",
    "[{\"title\":\"y\"}]",
    "{\"surname\":\"Nested\",\"email\":\"n@example.org\"}",
    "\"\u{fffd}\"",
];
const INVALID_JSON: &[&str] = &[
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1e",
    "NaN",
    "Infinity",
    "'x'",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\n\"",
    "tru",
    "nul",
    "[1,]",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\"}",
    "\"",
    "",
    "/**/1",
    "\u{feff}1",
    "\"\t\"",
];

/// Generates random messages.
pub struct MessageGenerator {
    rng: TestRng,
}

impl MessageGenerator {
    pub fn new(seed: u64) -> Self {
        MessageGenerator { rng: TestRng::from_state(seed) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.chance(percent)
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        *self.rng.pick(values)
    }

    /// Makes one message of `source` about a patron.
    pub fn generate(&mut self, source: &'static str, patron_id: &str) -> RawMessage {
        if self.chance(3) {
            return self.generate_null(source, patron_id);
        }
        let mut draft = self.generate_record(source, patron_id);
        // What is unreadable here stops everything of the patron for long.
        let is_gate_record = matches!(source, "consent" | "objection");
        if self.chance(if is_gate_record { 6 } else { 45 }) {
            for _ in 0..=self.below(3) {
                self.spoil_record(&mut draft);
            }
        }
        let spaced = self.chance(15);
        let mut text = String::new();
        self.write_json(&draft, spaced, &mut text);
        let mut value = text.into_bytes();
        if self.chance(5) {
            mutate(&mut value, b"", &mut self.rng);
        }
        RawMessage { source, key: self.generate_key(patron_id), value: Some(value) }
    }

    fn generate_null(&mut self, source: &'static str, patron_id: &str) -> RawMessage {
        let value = self.pick(&[
            None,
            None,
            None,
            Some("null"),
            Some("null"),
            Some(" null\n"),
            Some(""),
            Some("[]"),
            Some("\"null\""),
            Some("0"),
        ]);
        RawMessage {
            source,
            key: self.generate_key(patron_id),
            value: value.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn generate_key(&mut self, patron_id: &str) -> Option<Vec<u8>> {
        match self.below(60) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![0xff, 0xfe]),
            3 => Some(format!("{patron_id} ").into_bytes()),
            4 => Some(b"p1".to_vec()),
            _ => Some(patron_id.as_bytes().to_vec()),
        }
    }

    fn generate_record(&mut self, source: &str, patron_id: &str) -> DraftJson {
        // A patron mostly stays with one library, so that records join.
        let home = LIBRARIES[patron_id.len() % LIBRARIES.len()];
        let other = self.chance(6);
        let library = if other { self.pick(LIBRARIES) } else { home };
        let is_gate_record = matches!(source, "consent" | "objection");
        let mut draft = vec![
            self.string_member("patron_id", patron_id),
            self.string_member("library", library),
        ];
        if source != "patron" {
            let ids = if is_gate_record { 3 } else { 12 };
            let id = format!("{}-{}", &source[..1], self.below(ids));
            draft.push(self.string_member(id_field(source), &id));
        }
        let fields = match source {
            "patron" => self.patron_members(),
            "loan" => self.loan_members(),
            "reservation" => self.reservation_members(),
            "ill_request" => self.ill_request_members(),
            "debt" => self.debt_members(),
            "demand" => self.demand_members(),
            "participation" => self.participation_members(),
            "consent" => self.consent_members(),
            "settlement" => self.settlement_members(),
            _ => self.objection_members(),
        };
        for field in fields {
            if self.chance(if is_gate_record { 97 } else { 90 }) {
                draft.push(field);
            }
        }
        if self.chance(10) {
            let places = draft.len();
            draft.swap(0, places - 1);
        }
        DraftJson::Object(draft)
    }

    /// Which debt it names, if any: ids of debts are as few as [`Self::generate_record`] makes.
    fn settlement_members(&mut self) -> Vec<(String, DraftJson)> {
        let debt = format!("d-{}", self.below(12));
        let mut fields = vec![self.string_member("debt_id", &debt)];
        fields.extend(self.string_members(&[("settled_at", INSTANTS), ("source", TITLES)]));
        if self.chance(30) {
            let gone = self.pick(&["true", "true", "false", "null", "1", "\"true\""]);
            fields.push(("gone".to_owned(), DraftJson::Raw(gone.to_owned())));
        }
        fields
    }

    fn patron_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.string_members(&[
            ("country", &["NL", "BE", "NL", "BE", "DE", "nl", ""]),
            ("kind", &["person", "person", "person", "person", "institution", "Person"]),
            ("card_number", CARD_NUMBERS),
            ("card_kind", &["library", "library", "library", "eid", "EID", "other"]),
            ("salutation", &["mevrouw"]),
            ("initials", INITIALS),
            ("given_name", GIVEN_NAMES),
            ("surname_prefix", PREFIXES),
            ("surname", SURNAMES),
            ("birth_date", DATES),
            ("email", EMAILS),
            ("phone", PHONES),
            ("mobile", PHONES),
            ("rijksregisternummer", NATIONAL_NUMBERS),
            ("bsn", &["111222333"]),
            ("pin_hash", &["x"]),
            ("note", TITLES),
            ("updated_at", INSTANTS),
        ]);
        let mut address = self.string_members(&[
            ("street", &["Dorpsstraat", "Rue \"X\""]),
            ("house_number_suffix", &["a", "bis"]),
            ("postcode", POSTCODES),
            ("city", &["Alkmaar", "Gent"]),
            ("country", COUNTRIES),
        ]);
        let house_number = self.pick(&["12", "\"12\"", "12.50", "-0", "1e2", "1e999"]);
        address.push(self.raw_member("house_number", house_number));
        let mut membership = self.string_members(&[
            ("id", &["M-1", "M-2", " ", "\u{e9}"]),
            ("type", &["volwassen", "jeugd"]),
            ("starts_on", DATES),
            ("ends_on", DATES),
            ("status", &["active", "active", "active", "ended", "Active"]),
            ("home_branch", &["centrale", " "]),
            ("currency", CURRENCIES),
        ]);
        let fee = self.pick(INTEGERS);
        membership.push(self.raw_member("fee_cents", fee));
        let account = self.string_members(&[("created_at", INSTANTS)]);
        let history = self.pick(&["true", "false", "false", "null", "0", "\"false\"", "\"\""]);
        fields.push(self.raw_member("loan_history", history));
        fields.extend(self.string_members(&[("loan_history_since", INSTANTS)]));
        for (name, members) in
            [("address", address), ("membership", membership), ("online_account", account)]
        {
            let name = self.quote(name, false);
            fields.push((name, DraftJson::Object(members)));
        }
        fields
    }

    fn item_member(&mut self) -> (String, DraftJson) {
        let mut item = self.string_members(&[
            ("barcode", &["0001"]),
            ("title", TITLES),
            ("author", &["A. Uteur", "Иванов"]),
            ("material", &["boek", "dvd"]),
            ("isbn", &["9789000000000"]),
            ("issn", &["0000-0000"]),
        ]);
        for name in ["volume", "pages"] {
            let value = self.pick(&["12", "\"1-12\"", "12.50", "-0", "1e400", "\"\"", "0.10"]);
            item.push(self.raw_member(name, value));
        }
        ("\"item\"".to_owned(), DraftJson::Object(item))
    }

    /// A few records are gone, or say so in a way that cannot be read.
    fn gone_members(&mut self) -> Vec<(String, DraftJson)> {
        let value = match self.below(30) {
            0 | 1 => "true",
            2 => "false",
            3 => self.pick(&["null", "0", "\"true\"", "\"\"", "[true]"]),
            _ => return Vec::new(),
        };
        vec![self.raw_member("gone", value)]
    }

    fn loan_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.gone_members();
        fields.extend(self.string_members(&[
            ("branch", &["centrale", "noord"]),
            ("loaned_at", LOAN_INSTANTS),
            ("due_on", DATES),
            ("returned_at", INSTANTS),
            ("status", &["open", "overdue", "returned", "lost", "damaged", "OPEN"]),
            ("note", TITLES),
        ]));
        let renewals = self.pick(INTEGERS);
        fields.push(self.raw_member("renewals", renewals));
        fields.push(self.item_member());
        fields
    }

    fn reservation_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.gone_members();
        fields.extend(self.string_members(&[
            ("pickup_branch", &["centrale", " ", "Noord\u{200b}"]),
            ("status", &["ready_for_pickup", "ready_for_pickup", "ready_for_pickup", "collected"]),
            ("ready_at", INSTANTS),
            ("expires_on", DATES),
        ]));
        fields.push(self.item_member());
        fields
    }

    fn ill_request_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.gone_members();
        fields.extend(self.string_members(&[
            ("supplying_library", ISILS),
            ("service", &["loan", "copy", "gift"]),
            ("needed_by", DATES),
            ("status", &["requested", "sent", "received", "returned", "closed"]),
            ("note", TITLES),
        ]));
        fields.push(self.item_member());
        fields
    }

    fn debt_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.gone_members();
        fields.extend(self.string_members(&[
            ("kind", &["late", "lost", "stolen"]),
            ("currency", CURRENCIES),
            ("stage", &["collection", "collection", "collection", "invoice", "reminder"]),
            ("reminded_at", INSTANTS),
            ("invoiced_at", INSTANTS),
            ("referred_at", INSTANTS),
            ("status", &["open", "open", "open", "settled"]),
        ]));
        let amount = self.pick(INTEGERS);
        fields.push(self.raw_member("amount_cents", amount));
        let items = (0..self.below(4)).map(|_| self.debt_item()).collect();
        fields.push(("\"items\"".to_owned(), DraftJson::List(items)));
        fields
    }

    fn demand_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.string_members(&[
            ("authority", &["politie", "rechtbank", "Politie", ""]),
            ("law_article", &["126nd Sv", "126nd Sv", ""]),
            ("manner", &["written", "written", "written", "oral", "letter"]),
            ("team_leader", &["T. Eam", "T. Eam", "T. Eam", ""]),
            ("received_at", DEMAND_INSTANTS),
        ]);
        let named = (0..self.below(5)).map(|_| match self.chance(95) {
            true => {
                let path = self.pick(DEMANDED_FIELDS);
                self.string_value(path)
            }
            false => DraftJson::Raw(self.pick(ODD_VALUES).to_owned()),
        });
        let named = DraftJson::List(named.collect());
        fields.push(("\"fields\"".to_owned(), named));
        let advice = self.string_members(&[
            ("advice", &["grant", "refuse", "refuse", "maybe"]),
            ("at", DEMAND_INSTANTS),
        ]);
        fields.push(("\"advice\"".to_owned(), DraftJson::Object(advice)));
        let mut decision = self.string_members(&[
            ("role", &["directeur", "manager", ""]),
            ("decision", &["granted", "granted", "granted", "refused"]),
            ("at", DEMAND_INSTANTS),
        ]);
        let duty = self.pick(&["true", "true", "true", "true", "false", "\"true\"", "null"]);
        decision.push(self.raw_member("legal_duty", duty));
        fields.push(("\"decision\"".to_owned(), DraftJson::Object(decision)));
        fields
    }

    /// Of a patron, as every record of these has one.
    fn participation_members(&mut self) -> Vec<(String, DraftJson)> {
        let mut fields = self.string_members(&[
            ("contest_id", TITLES),
            ("contest_ends_on", &["2027-01-01", "2020-01-01", "2027-02-30", ""]),
            ("name", TITLES),
            ("email", &["jan@example.org", "jan", ""]),
            ("phone", &["06-00000000", "geen", ""]),
            ("given_by", &["patron", "guardian", "guardian", "ouder", ""]),
            ("at", INSTANTS),
        ]);
        let adult = self.pick(&["true", "false", "\"true\"", "null"]);
        fields.push(self.raw_member("adult", adult));
        fields
    }

    fn consent_members(&mut self) -> Vec<(String, DraftJson)> {
        self.string_members(&[
            ("purpose", PURPOSES),
            ("recipient", &["", "kb-membership", "statistics", "nobody"]),
            ("decision", &["granted", "withdrawn", "refused", "maybe"]),
            ("manner", &["digital", "written", "oral", "Digital", ""]),
            ("at", INSTANTS),
        ])
    }

    fn objection_members(&mut self) -> Vec<(String, DraftJson)> {
        let kinds = &[
            "special_circumstances",
            "special_circumstances",
            "special_circumstances",
            "direct_marketing",
            "direct_marketing",
            "other",
        ];
        let purposes = &["statistics", "pickup", "interlibrary-loan", "", "other"];
        let statuses = &[
            "dismissed",
            "dismissed",
            "dismissed",
            "lodged",
            "lodged",
            "upheld",
            "upheld",
            "maybe",
            "",
        ];
        self.string_members(&[
            ("kind", kinds),
            ("purpose", purposes),
            ("status", statuses),
            ("at", INSTANTS),
        ])
    }

    fn debt_item(&mut self) -> DraftJson {
        if self.chance(10) {
            return DraftJson::Raw(self.pick(ODD_VALUES).to_owned());
        }
        let mut item =
            self.string_members(&[("title", TITLES), ("barcode", &["1"]), ("due_on", DATES)]);
        let amount = self.pick(&["0", "250", "-0", "250", "99", "12.5"]);
        item.push(self.raw_member("amount_cents", amount));
        item.retain(|_| self.chance(80));
        DraftJson::Object(item)
    }

    /// Members of strings: mostly the first of the values, else any.
    fn string_members(&mut self, fields: &[(&str, &[&str])]) -> Vec<(String, DraftJson)> {
        let mut members = Vec::new();
        for (name, values) in fields {
            let value = if self.chance(40) { values[0] } else { self.pick(values) };
            members.push(self.string_member(name, value));
        }
        members
    }

    fn string_member(&mut self, name: &str, value: &str) -> (String, DraftJson) {
        let escaped = self.chance(4);
        (self.quote(name, escaped), self.string_value(value))
    }

    fn raw_member(&mut self, name: &str, value: &str) -> (String, DraftJson) {
        let name = self.quote(name, false);
        (name, DraftJson::Raw(value.to_owned()))
    }

    fn string_value(&mut self, value: &str) -> DraftJson {
        let escaped = self.chance(8);
        DraftJson::Raw(self.quote(value, escaped))
    }

    /// Writes a string; escaped means: some characters by their number.
    fn quote(&mut self, text: &str, escaped: bool) -> String {
        let mut out = String::from("\"");
        for c in text.chars() {
            if c < ' ' || c == '"' || c == '\\' || (escaped && self.chance(40)) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let upper = self.chance(50);
                    out.push_str(&if upper {
                        format!("\\u{unit:04X}")
                    } else {
                        format!("\\u{unit:04x}")
                    });
                }
            } else if escaped && c == '/' {
                out.push_str("\\/");
            } else {
                out.push(c);
            }
        }
        out.push('"');
        out
    }

    /// Spoils one place of a record, the record being an object.
    fn spoil_record(&mut self, draft: &mut DraftJson) {
        let descend = self.chance(40);
        let DraftJson::Object(members) = draft else {
            *draft = DraftJson::Raw(self.pick(ODD_VALUES).to_owned());
            return;
        };
        if members.is_empty() {
            return;
        }
        let at = self.below(members.len());
        if descend && !matches!(members[at].1, DraftJson::Raw(_)) {
            return self.spoil_nested(&mut members[at].1);
        }
        match self.below(24) {
            0..=9 => members[at].1 = DraftJson::Raw(self.pick(ODD_VALUES).to_owned()),
            10 => {
                members.remove(at);
            }
            11..=13 => {
                let twin = self.duplicate_member(&members[at]);
                let place = self.below(members.len() + 1);
                members.insert(place, twin);
            }
            14 => {
                let inner = members[at].1.clone();
                members[at].1 = if self.chance(50) {
                    DraftJson::List(vec![inner])
                } else {
                    DraftJson::Object(vec![(members[at].0.clone(), inner)])
                };
            }
            15 => members.push(self.unlisted_member()),
            16 => members.push(("\"deep\"".to_owned(), self.deeply_nested())),
            17 => self.fill_to_member_limit(members),
            18 => members[at].1 = DraftJson::Raw(self.pick(INVALID_JSON).to_owned()),
            19 => members[at].0 = self.pick(&["\"\\ud800\"", "\"\"", "\"\\u0000\""]).to_owned(),
            20 => members[at].1 = DraftJson::Raw(self.pick(INTEGERS).to_owned()),
            21 => {
                let long = "a".repeat(self.pick(&[10, 3_000, 1_048_000, 1_048_576]));
                let percent = if long.len() > 10_000 { 5 } else { 100 };
                if self.chance(percent) {
                    members.push(("\"long\"".to_owned(), DraftJson::Raw(format!("\"{long}\""))));
                }
            }
            _ => {
                let value = self.pick(&["\"\"", "null"]);
                members[at].1 = DraftJson::Raw(value.to_owned());
            }
        }
    }

    fn spoil_nested(&mut self, draft: &mut DraftJson) {
        match draft {
            DraftJson::Object(_) => self.spoil_record(draft),
            DraftJson::List(elements) if !elements.is_empty() => {
                let at = self.below(elements.len());
                self.spoil_record(&mut elements[at]);
            }
            DraftJson::List(elements) => {
                elements.push(DraftJson::Raw(self.pick(ODD_VALUES).to_owned()))
            }
            DraftJson::Raw(text) => *text = self.pick(ODD_VALUES).to_owned(),
        }
    }

    /// The same member again: perhaps escaped, perhaps with another value.
    fn duplicate_member(&mut self, member: &(String, DraftJson)) -> (String, DraftJson) {
        let (name, value) = member.clone();
        let plain = name.trim_matches('"').to_owned();
        let name = if self.chance(50) && plain.is_ascii() && !plain.contains('\\') {
            self.quote(&plain, true)
        } else {
            name
        };
        let other = DraftJson::Raw(self.pick(ODD_VALUES).to_owned());
        (name, if self.chance(60) { value } else { other })
    }

    /// Something unlisted that carries listed names.
    fn unlisted_member(&mut self) -> (String, DraftJson) {
        let name = self.pick(&[
            "\"extra\"",
            "\"patron\"",
            "\"surname.x\"",
            "\"item.title\"",
            "\"Surname\"",
            "\"surname\\u0000\"",
            "\"patron.surname\"",
            "\"items[]\"",
            "\"status \"",
        ]);
        let surname = self.pick(SURNAMES);
        let fields = self.string_members(&[
            ("surname", &[surname]),
            ("patron_id", &["p2"]),
            ("status", &["ready_for_pickup"]),
            ("title", TITLES),
        ]);
        (name.to_owned(), DraftJson::Object(fields))
    }

    /// Lists in each other, so deep that the record is near the limit.
    fn deeply_nested(&mut self) -> DraftJson {
        let depth = self.pick(&[61, 62, 63, 63, 64, 65, 200]);
        let mut draft = DraftJson::Raw(self.pick(&["1", "", "\"\\ud800\""]).to_owned());
        if matches!(&draft, DraftJson::Raw(text) if text.is_empty()) {
            draft = DraftJson::List(Vec::new());
        }
        for _ in 0..depth - usize::from(matches!(draft, DraftJson::List(_))) {
            draft = if self.chance(50) {
                DraftJson::List(vec![draft])
            } else {
                DraftJson::Object(vec![("\"item\"".to_owned(), draft)])
            };
        }
        draft
    }

    /// Adds keys until the record has about as many as it may have.
    fn fill_to_member_limit(&mut self, members: &mut Vec<(String, DraftJson)>) {
        let wanted = self.pick(&[4_094, 4_095, 4_096, 4_096, 4_097, 4_098]);
        let present: usize = members.iter().map(|(_, value)| 1 + count_members(value)).sum();
        if present + 1 >= wanted {
            return;
        }
        let many = (0..wanted - present - 1)
            .map(|at| (format!("\"k{}\"", at % 7), DraftJson::Raw("0".to_owned())))
            .collect();
        members.push(("\"many\"".to_owned(), DraftJson::Object(many)));
    }

    fn write_json(&mut self, draft: &DraftJson, spaced: bool, out: &mut String) {
        self.write_whitespace(spaced, out);
        match draft {
            DraftJson::Raw(text) => out.push_str(text),
            DraftJson::List(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.write_json(element, spaced, out);
                }
                self.write_whitespace(spaced, out);
                out.push(']');
            }
            DraftJson::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.write_whitespace(spaced, out);
                    out.push_str(name);
                    self.write_whitespace(spaced, out);
                    out.push(':');
                    self.write_json(value, spaced, out);
                }
                self.write_whitespace(spaced, out);
                out.push('}');
            }
        }
        self.write_whitespace(spaced, out);
    }

    fn write_whitespace(&mut self, spaced: bool, out: &mut String) {
        if spaced {
            out.push_str(self.pick(&["", " ", "\t", "\n", "\r\n", "   "]));
        }
    }
}

fn count_members(draft: &DraftJson) -> usize {
    match draft {
        DraftJson::Raw(text) => text.matches("\":").count(),
        DraftJson::List(elements) => elements.iter().map(count_members).sum(),
        DraftJson::Object(members) => {
            members.iter().map(|(_, value)| 1 + count_members(value)).sum()
        }
    }
}

/// The field that is a record's own id.
pub fn id_field(source: &str) -> &'static str {
    match source {
        "patron" => "patron_id",
        "loan" => "loan_id",
        "reservation" => "reservation_id",
        "ill_request" => "request_id",
        "debt" => "debt_id",
        "referral" => "referral_id",
        "question" => "question_id",
        "participation" => "participation_id",
        "demand" => "demand_id",
        "consent" => "consent_id",
        "objection" => "objection_id",
        "settlement" => "settlement_id",
        _ => panic!("no such source"),
    }
}
