//! Seeded makers of plausible and of nasty messages.
//!
//! One seed always gives the same messages. It knows the shape of the records
//! and what tends to go wrong with it; it does not know what is right.

use proptest::prelude::{Strategy, any};

use super::own_id;

/// One message as it would lie on a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub source: &'static str,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A run of messages as a proptest strategy; the seed alone shrinks.
pub fn streams(length: usize) -> impl Strategy<Value = Vec<Message>> {
    any::<u64>().prop_map(move |seed| stream(seed, length))
}

/// Makes some patrons, then `length` messages of all kinds.
///
/// About half of them are as they should be.
pub fn stream(seed: u64, length: usize) -> Vec<Message> {
    let mut maker = Maker::new(seed);
    let mut messages: Vec<Message> = PATRON_IDS[..4]
        .iter()
        .map(|id| maker.message("patron", id))
        .collect();
    for _ in 0..length {
        let source = maker.pick(SOURCES);
        let id = maker.pick(PATRON_IDS);
        messages.push(maker.message(source, id));
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
    "consent",
    "objection",
];
const PATRON_IDS: &[&str] = &["p1", "p2", "Pé-3", "0004", "p5", "p-unknown"];
const LIBRARIES: &[&str] = &[
    "NL-AmrBKW",
    "NL-AmrBKW",
    "NL-AmrBKW",
    "BE-GntB",
    "FR-751131015",
];

/// A JSON value in the making; raw text is written as it is.
#[derive(Clone, Debug)]
enum Draft {
    Raw(String),
    List(Vec<Draft>),
    Object(Vec<(String, Draft)>),
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
const PREFIXES: &[&str] = &[
    "van der",
    "Van",
    "de",
    "",
    "'t",
    "\u{a0}",
    ".",
    "d'",
    "von und zu",
    "IJ",
];
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
const GIVEN_NAMES: &[&str] = &[
    "Jan-Willem",
    "IJsbrand",
    "Ijeoma",
    "伟",
    "\u{133}sbrand",
    " ",
    "An",
];
const CARDS: &[&str] = &[
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
const NATIONAL_NUMBERS: &[&str] = &[
    "85.07.30-033.28",
    "85073003328",
    "17.07.30-033.84",
    "85073003329",
    "x",
    "-",
];
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
const LOANED: &[&str] = &[
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
const COUNTRIES: &[&str] = &[
    "NL",
    "BE",
    "NL",
    "BE",
    "DE",
    "nl",
    "Nederland",
    " NL",
    "",
    "XX",
];
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
const SCALARS: &[&str] = &[
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
const BROKEN: &[&str] = &[
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

/// A small random number generator and what is made with it.
pub struct Maker {
    state: u64,
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        Maker { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Makes one message of `source` about a patron.
    pub fn message(&mut self, source: &'static str, patron_id: &str) -> Message {
        if self.chance(3) {
            return self.erasure(source, patron_id);
        }
        let mut draft = self.record(source, patron_id);
        // What is unreadable here stops everything of the patron for long.
        let is_said = matches!(source, "consent" | "objection");
        if self.chance(if is_said { 6 } else { 45 }) {
            for _ in 0..=self.below(3) {
                self.spoil(&mut draft);
            }
        }
        let spaced = self.chance(15);
        let mut text = String::new();
        self.write(&draft, spaced, &mut text);
        let mut value = text.into_bytes();
        if self.chance(5) {
            self.damage(&mut value);
        }
        Message {
            source,
            key: self.key(patron_id),
            value: Some(value),
        }
    }

    fn erasure(&mut self, source: &'static str, patron_id: &str) -> Message {
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
        Message {
            source,
            key: self.key(patron_id),
            value: value.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn key(&mut self, patron_id: &str) -> Option<Vec<u8>> {
        match self.below(60) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![0xff, 0xfe]),
            3 => Some(format!("{patron_id} ").into_bytes()),
            4 => Some(b"p1".to_vec()),
            _ => Some(patron_id.as_bytes().to_vec()),
        }
    }

    fn record(&mut self, source: &str, patron_id: &str) -> Draft {
        // A patron mostly stays with one library, so that records join.
        let home = LIBRARIES[patron_id.len() % LIBRARIES.len()];
        let other = self.chance(6);
        let library = if other { self.pick(LIBRARIES) } else { home };
        let is_said = matches!(source, "consent" | "objection");
        let mut draft = vec![
            self.member("patron_id", patron_id),
            self.member("library", library),
        ];
        if source != "patron" {
            let ids = if is_said { 3 } else { 12 };
            let id = format!("{}-{}", &source[..1], self.below(ids));
            draft.push(self.member(own_id(source), &id));
        }
        let fields = match source {
            "patron" => self.patron(),
            "loan" => self.loan(),
            "reservation" => self.reservation(),
            "ill_request" => self.ill_request(),
            "debt" => self.debt(),
            "consent" => self.consent(),
            _ => self.objection(),
        };
        for field in fields {
            if self.chance(if is_said { 97 } else { 90 }) {
                draft.push(field);
            }
        }
        if self.chance(10) {
            let places = draft.len();
            draft.swap(0, places - 1);
        }
        Draft::Object(draft)
    }

    fn patron(&mut self) -> Vec<(String, Draft)> {
        let mut fields = self.texts(&[
            ("country", &["NL", "BE", "NL", "BE", "DE", "nl", ""]),
            (
                "kind",
                &[
                    "person",
                    "person",
                    "person",
                    "person",
                    "institution",
                    "Person",
                ],
            ),
            ("card_number", CARDS),
            (
                "card_kind",
                &["library", "library", "library", "eid", "EID", "other"],
            ),
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
        let mut address = self.texts(&[
            ("street", &["Dorpsstraat", "Rue \"X\""]),
            ("house_number_suffix", &["a", "bis"]),
            ("postcode", POSTCODES),
            ("city", &["Alkmaar", "Gent"]),
            ("country", COUNTRIES),
        ]);
        let house_number = self.pick(&["12", "\"12\"", "12.50", "-0", "1e2", "1e999"]);
        address.push(self.raw("house_number", house_number));
        let mut membership = self.texts(&[
            ("id", &["M-1", "M-2", " ", "\u{e9}"]),
            ("type", &["volwassen", "jeugd"]),
            ("starts_on", DATES),
            ("ends_on", DATES),
            ("status", &["active", "active", "active", "ended", "Active"]),
            ("home_branch", &["centrale", " "]),
            ("currency", CURRENCIES),
        ]);
        let fee = self.pick(INTEGERS);
        membership.push(self.raw("fee_cents", fee));
        let account = self.texts(&[("created_at", INSTANTS)]);
        let history = self.pick(&["true", "false", "false", "null", "0", "\"false\"", "\"\""]);
        fields.push(self.raw("loan_history", history));
        for (name, members) in [
            ("address", address),
            ("membership", membership),
            ("online_account", account),
        ] {
            let name = self.quoted(name, false);
            fields.push((name, Draft::Object(members)));
        }
        fields
    }

    fn item(&mut self) -> (String, Draft) {
        let mut item = self.texts(&[
            ("barcode", &["0001"]),
            ("title", TITLES),
            ("author", &["A. Uteur", "Иванов"]),
            ("material", &["boek", "dvd"]),
            ("isbn", &["9789000000000"]),
            ("issn", &["0000-0000"]),
        ]);
        for name in ["volume", "pages"] {
            let value = self.pick(&["12", "\"1-12\"", "12.50", "-0", "1e400", "\"\"", "0.10"]);
            item.push(self.raw(name, value));
        }
        ("\"item\"".to_owned(), Draft::Object(item))
    }

    fn loan(&mut self) -> Vec<(String, Draft)> {
        let mut fields = self.texts(&[
            ("branch", &["centrale", "noord"]),
            ("loaned_at", LOANED),
            ("due_on", DATES),
            ("returned_at", INSTANTS),
            (
                "status",
                &["open", "overdue", "returned", "lost", "damaged", "OPEN"],
            ),
            ("note", TITLES),
        ]);
        let renewals = self.pick(INTEGERS);
        fields.push(self.raw("renewals", renewals));
        fields.push(self.item());
        fields
    }

    fn reservation(&mut self) -> Vec<(String, Draft)> {
        let mut fields = self.texts(&[
            ("pickup_branch", &["centrale", " ", "Noord\u{200b}"]),
            (
                "status",
                &[
                    "ready_for_pickup",
                    "ready_for_pickup",
                    "ready_for_pickup",
                    "collected",
                ],
            ),
            ("ready_at", INSTANTS),
            ("expires_on", DATES),
        ]);
        fields.push(self.item());
        fields
    }

    fn ill_request(&mut self) -> Vec<(String, Draft)> {
        let mut fields = self.texts(&[
            ("supplying_library", ISILS),
            ("service", &["loan", "copy", "gift"]),
            ("needed_by", DATES),
            (
                "status",
                &["requested", "sent", "received", "returned", "closed"],
            ),
            ("note", TITLES),
        ]);
        fields.push(self.item());
        fields
    }

    fn debt(&mut self) -> Vec<(String, Draft)> {
        let mut fields = self.texts(&[
            ("kind", &["late", "lost", "stolen"]),
            ("currency", CURRENCIES),
            (
                "stage",
                &["collection", "collection", "collection", "invoice"],
            ),
            ("reminded_at", INSTANTS),
            ("invoiced_at", INSTANTS),
            ("referred_at", INSTANTS),
            ("status", &["open", "open", "open", "settled"]),
        ]);
        let amount = self.pick(INTEGERS);
        fields.push(self.raw("amount_cents", amount));
        let items = (0..self.below(4)).map(|_| self.debt_item()).collect();
        fields.push(("\"items\"".to_owned(), Draft::List(items)));
        fields
    }

    fn consent(&mut self) -> Vec<(String, Draft)> {
        self.texts(&[
            ("purpose", &["online-library", "statistics", ""]),
            ("recipient", &["", "kb-membership", "statistics", "nobody"]),
            ("decision", &["granted", "withdrawn", "refused", "maybe"]),
            ("manner", &["digital", "written", "oral", "Digital", ""]),
            ("at", INSTANTS),
        ])
    }

    fn objection(&mut self) -> Vec<(String, Draft)> {
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
        self.texts(&[
            ("kind", kinds),
            ("purpose", purposes),
            ("status", statuses),
            ("at", INSTANTS),
        ])
    }

    fn debt_item(&mut self) -> Draft {
        if self.chance(10) {
            return Draft::Raw(self.pick(SCALARS).to_owned());
        }
        let mut item = self.texts(&[("title", TITLES), ("barcode", &["1"]), ("due_on", DATES)]);
        let amount = self.pick(&["0", "250", "-0", "250", "99", "12.5"]);
        item.push(self.raw("amount_cents", amount));
        item.retain(|_| self.chance(80));
        Draft::Object(item)
    }

    /// Members of strings: mostly the first of the values, else any.
    fn texts(&mut self, fields: &[(&str, &[&str])]) -> Vec<(String, Draft)> {
        let mut members = Vec::new();
        for (name, values) in fields {
            let value = if self.chance(40) {
                values[0]
            } else {
                self.pick(values)
            };
            members.push(self.member(name, value));
        }
        members
    }

    fn member(&mut self, name: &str, value: &str) -> (String, Draft) {
        let escaped = self.chance(4);
        (self.quoted(name, escaped), self.text(value))
    }

    fn raw(&mut self, name: &str, value: &str) -> (String, Draft) {
        let name = self.quoted(name, false);
        (name, Draft::Raw(value.to_owned()))
    }

    fn text(&mut self, value: &str) -> Draft {
        let escaped = self.chance(8);
        Draft::Raw(self.quoted(value, escaped))
    }

    /// Writes a string; escaped means: some characters by their number.
    fn quoted(&mut self, text: &str, escaped: bool) -> String {
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
    fn spoil(&mut self, draft: &mut Draft) {
        let descend = self.chance(40);
        let Draft::Object(members) = draft else {
            *draft = Draft::Raw(self.pick(SCALARS).to_owned());
            return;
        };
        if members.is_empty() {
            return;
        }
        let at = self.below(members.len());
        if descend && !matches!(members[at].1, Draft::Raw(_)) {
            return self.spoil_inside(&mut members[at].1);
        }
        match self.below(24) {
            0..=9 => members[at].1 = Draft::Raw(self.pick(SCALARS).to_owned()),
            10 => {
                members.remove(at);
            }
            11..=13 => {
                let twin = self.twin(&members[at]);
                let place = self.below(members.len() + 1);
                members.insert(place, twin);
            }
            14 => {
                let inner = members[at].1.clone();
                members[at].1 = if self.chance(50) {
                    Draft::List(vec![inner])
                } else {
                    Draft::Object(vec![(members[at].0.clone(), inner)])
                };
            }
            15 => members.push(self.unknown()),
            16 => members.push(("\"deep\"".to_owned(), self.deep())),
            17 => self.fill(members),
            18 => members[at].1 = Draft::Raw(self.pick(BROKEN).to_owned()),
            19 => {
                members[at].0 = self
                    .pick(&["\"\\ud800\"", "\"\"", "\"\\u0000\""])
                    .to_owned()
            }
            20 => members[at].1 = Draft::Raw(self.pick(INTEGERS).to_owned()),
            21 => {
                let long = "a".repeat(self.pick(&[10, 3_000, 1_048_000, 1_048_576]));
                let percent = if long.len() > 10_000 { 5 } else { 100 };
                if self.chance(percent) {
                    members.push(("\"long\"".to_owned(), Draft::Raw(format!("\"{long}\""))));
                }
            }
            _ => {
                let value = self.pick(&["\"\"", "null"]);
                members[at].1 = Draft::Raw(value.to_owned());
            }
        }
    }

    fn spoil_inside(&mut self, draft: &mut Draft) {
        match draft {
            Draft::Object(_) => self.spoil(draft),
            Draft::List(elements) if !elements.is_empty() => {
                let at = self.below(elements.len());
                self.spoil(&mut elements[at]);
            }
            Draft::List(elements) => elements.push(Draft::Raw(self.pick(SCALARS).to_owned())),
            Draft::Raw(text) => *text = self.pick(SCALARS).to_owned(),
        }
    }

    /// The same member again: perhaps escaped, perhaps with another value.
    fn twin(&mut self, member: &(String, Draft)) -> (String, Draft) {
        let (name, value) = member.clone();
        let plain = name.trim_matches('"').to_owned();
        let name = if self.chance(50) && plain.is_ascii() && !plain.contains('\\') {
            self.quoted(&plain, true)
        } else {
            name
        };
        let other = Draft::Raw(self.pick(SCALARS).to_owned());
        (name, if self.chance(60) { value } else { other })
    }

    /// Something unlisted that carries listed names.
    fn unknown(&mut self) -> (String, Draft) {
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
        let fields = self.texts(&[
            ("surname", &[surname]),
            ("patron_id", &["p2"]),
            ("status", &["ready_for_pickup"]),
            ("title", TITLES),
        ]);
        (name.to_owned(), Draft::Object(fields))
    }

    /// Lists in each other, so deep that the record is near the limit.
    fn deep(&mut self) -> Draft {
        let depth = self.pick(&[61, 62, 63, 63, 64, 65, 200]);
        let mut draft = Draft::Raw(self.pick(&["1", "", "\"\\ud800\""]).to_owned());
        if matches!(&draft, Draft::Raw(text) if text.is_empty()) {
            draft = Draft::List(Vec::new());
        }
        for _ in 0..depth - usize::from(matches!(draft, Draft::List(_))) {
            draft = if self.chance(50) {
                Draft::List(vec![draft])
            } else {
                Draft::Object(vec![("\"item\"".to_owned(), draft)])
            };
        }
        draft
    }

    /// Adds keys until the record has about as many as it may have.
    fn fill(&mut self, members: &mut Vec<(String, Draft)>) {
        let wanted = self.pick(&[4_094, 4_095, 4_096, 4_096, 4_097, 4_098]);
        let present: usize = members.iter().map(|(_, value)| 1 + keys(value)).sum();
        if present + 1 >= wanted {
            return;
        }
        let many = (0..wanted - present - 1)
            .map(|at| (format!("\"k{}\"", at % 7), Draft::Raw("0".to_owned())))
            .collect();
        members.push(("\"many\"".to_owned(), Draft::Object(many)));
    }

    fn write(&mut self, draft: &Draft, spaced: bool, out: &mut String) {
        self.space(spaced, out);
        match draft {
            Draft::Raw(text) => out.push_str(text),
            Draft::List(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.write(element, spaced, out);
                }
                self.space(spaced, out);
                out.push(']');
            }
            Draft::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.space(spaced, out);
                    out.push_str(name);
                    self.space(spaced, out);
                    out.push(':');
                    self.write(value, spaced, out);
                }
                self.space(spaced, out);
                out.push('}');
            }
        }
        self.space(spaced, out);
    }

    fn space(&mut self, spaced: bool, out: &mut String) {
        if spaced {
            out.push_str(self.pick(&["", " ", "\t", "\n", "\r\n", "   "]));
        }
    }

    /// Damages bytes: a flip, a cut, a span twice, something put in.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(2) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(40)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => {
                    bytes.drain(at..end);
                }
                3 => {
                    let span = bytes[at..end].to_vec();
                    bytes.splice(at..at, span);
                }
                4 => {
                    let odd: &[&[u8]] = &[
                        b"\xff",
                        b"\xed\xa0\x80",
                        b"\xc0\xaf",
                        b"\"",
                        b"\\",
                        b"{",
                        b"}",
                        b"[",
                        b",",
                        b":",
                        b"\0",
                        b"\xef\xbb\xbf",
                        b"null",
                        b"\\u",
                        b"\xc2\xa0",
                        b" ",
                    ];
                    let odd = self.pick(odd).to_vec();
                    bytes.splice(at..at, odd);
                }
                _ => {
                    let edge = self.pick(&[b"\xef\xbb\xbf".as_slice(), b" ", b"{}", b"\x0c"]);
                    if self.chance(50) {
                        bytes.splice(0..0, edge.to_vec());
                    } else {
                        bytes.extend(edge);
                    }
                }
            }
        }
    }
}

fn keys(draft: &Draft) -> usize {
    match draft {
        Draft::Raw(text) => text.matches("\":").count(),
        Draft::List(elements) => elements.iter().map(keys).sum(),
        Draft::Object(members) => members.iter().map(|(_, value)| 1 + keys(value)).sum(),
    }
}
