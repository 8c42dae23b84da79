//! Messages that must not pass, one of each sort, with the reason they meet.
//!
//! They harm nobody: a refused patron or consent has a key of its own, and
//! all other records carry ids that start with `poison`.

use super::Library;
use super::Source;
use crate::policy::reason::Reason;

/// A message that is refused, whole or by some recipient of the shipped config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// As [`Source::as_str`] has it.
    pub source: &'static str,
    pub key: Option<Vec<u8>>,
    /// Any bytes but line breaks; `None` is a null.
    pub value: Option<Vec<u8>>,
    /// [`Reason::Malformed`] is for the recipients that need the field, any
    /// other reason for the whole record.
    pub reason: Reason,
    /// What is wrong, for people.
    pub about: &'static str,
}

/// A template: in it `@P` stands for the patron id, `@L` for its library and
/// `@N` for the number of the case.
type Case = (Source, Reason, &'static str, &'static [u8]);

const LOAN: Source = Source::Loan;
const PATRON: Source = Source::Patron;
const CONSENT: Source = Source::Consent;

/// All cases, in a fixed order.
pub(super) fn all(library: &Library) -> impl Iterator<Item = Poison> {
    let target = Target::find(library);
    let mut written = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        written.push(target.write(number, case));
    }
    let next = written.len();
    written.extend(target.limits(next));
    written.extend(target.keys_and_nulls(next + 10));
    written.into_iter()
}

/// The patron that refused loans name: one whom nothing else holds back.
struct Target {
    patron_id: String,
    library: String,
}

impl Target {
    fn find(library: &Library) -> Target {
        let usable = |index: &u64| {
            let messages = library.messages_of(*index);
            let erased = messages.iter().any(|message| message.value.is_none());
            let value = messages
                .first()
                .and_then(|message| message.value.as_deref());
            !erased && value.is_some_and(|text| text.contains("\"kind\":\"person\""))
        };
        let most = library.settings.patrons.min(1000);
        let index = (0..most).find(usable).unwrap_or(0);
        Target {
            patron_id: library.patron_id(index),
            library: library.isil_of(index).to_owned(),
        }
    }

    /// A refused patron or consent must not fall upon a real patron.
    fn patron_id(&self, source: Source, reason: Reason, number: usize) -> String {
        if matches!(source, Source::Loan) && reason != Reason::PatronUnknown {
            self.patron_id.clone()
        } else {
            format!("{}:poison-{number}", self.library)
        }
    }

    fn write(&self, number: usize, case: &Case) -> Poison {
        let &(source, reason, about, template) = case;
        let patron_id = self.patron_id(source, reason, number);
        let mut value = Vec::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((byte, after)) = rest.split_first() {
            let filled = match rest {
                [b'@', b'P', ..] => patron_id.as_bytes(),
                [b'@', b'L', ..] => self.library.as_bytes(),
                [b'@', b'N', ..] => &number.to_string().into_bytes(),
                _ => {
                    value.push(*byte);
                    rest = after;
                    continue;
                }
            };
            value.extend_from_slice(filled);
            rest = &rest[2..];
        }
        Poison {
            source: source.as_str(),
            key: Some(patron_id.into_bytes()),
            value: Some(value),
            reason,
            about,
        }
    }

    fn loan(&self, number: usize, reason: Reason, about: &'static str, more: &str) -> Poison {
        let mut poison = self.write(number, &(LOAN, reason, about, WELL_FORMED));
        if let Some(value) = &mut poison.value {
            value.pop();
            value.extend_from_slice(more.as_bytes());
            value.push(b'}');
        }
        poison
    }

    /// Far beyond each limit, so that the setting may be raised a little.
    fn limits(&self, first: usize) -> Vec<Poison> {
        let deep = format!(",\"deep\":{}{}", "[".repeat(200), "]".repeat(200));
        let objects = format!(",\"deep\":{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        let keys: String = (0..9000)
            .map(|number| format!(",\"k{number}\":0"))
            .collect();
        let large = format!(",\"note\":\"{}\"", "a".repeat(3 << 19));
        vec![
            self.loan(first, Reason::TooDeep, "200 lists in each other", &deep),
            self.loan(
                first + 1,
                Reason::TooDeep,
                "200 objects in each other",
                &objects,
            ),
            self.loan(first + 2, Reason::TooManyKeys, "9,000 keys", &keys),
            self.loan(first + 3, Reason::TooLarge, "a note of 1.5 MiB", &large),
        ]
    }

    fn keys_and_nulls(&self, first: usize) -> Vec<Poison> {
        let mut cases = vec![
            self.loan(first, Reason::Miskeyed, "the key of somebody else", ""),
            self.loan(first + 1, Reason::Miskeyed, "no key", ""),
            self.loan(first + 2, Reason::Miskeyed, "a key that is not UTF-8", ""),
            self.loan(
                first + 3,
                Reason::Miskeyed,
                "a key with a space behind it",
                "",
            ),
            self.loan(
                first + 4,
                Reason::NullValue,
                "a null on the loan source",
                "",
            ),
        ];
        cases[0].key = Some(format!("{}:poison-other", self.library).into_bytes());
        cases[1].key = None;
        cases[2].key = Some(b"\xff\xfe".to_vec());
        cases[3].key = Some(format!("{} ", self.patron_id).into_bytes());
        cases[4].value = None;
        cases
    }
}

const WELL_FORMED: &[u8] = br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","item":{"title":"Stof","material":"boek"},"branch":"Oost","loaned_at":"2024-05-06T10:11:12Z","due_on":"2024-05-27","status":"open","renewals":0}"#;

const CASES: &[Case] = &[
    (LOAN, Reason::PatronUnknown, "a patron that never was", WELL_FORMED),
    // Bytes.
    (LOAN, Reason::NotUtf8, "a byte of Latin-1", b"{\"loan_id\":\"poison-@N\",\"patron_id\":\"@P\",\"library\":\"@L\",\"note\":\"caf\xe9\"}"),
    (LOAN, Reason::NotUtf8, "an overlong sign", b"{\"loan_id\":\"poison-@N\",\"patron_id\":\"@P\",\"library\":\"@L\",\"note\":\"\xc0\xaf\"}"),
    (LOAN, Reason::NotUtf8, "half of a pair as bytes", b"{\"loan_id\":\"poison-@N\",\"patron_id\":\"@P\",\"library\":\"@L\",\"note\":\"\xed\xa0\x80\"}"),
    (PATRON, Reason::NotUtf8, "cut inside a sign", b"{\"patron_id\":\"@P\",\"library\":\"@L\",\"surname\":\"Zo\xc3"),
    // JSON.
    (LOAN, Reason::NotJson, "nothing", b""),
    (LOAN, Reason::NotJson, "cut short", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","item":{"ti"#),
    (LOAN, Reason::NotJson, "a comma too many", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L",}"#),
    (LOAN, Reason::NotJson, "single quotes", br#"{'loan_id':'poison-@N','patron_id':'@P','library':'@L'}"#),
    (LOAN, Reason::NotJson, "two values", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L"} {}"#),
    (LOAN, Reason::NotJson, "NaN in an unknown field", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","x":NaN}"#),
    (LOAN, Reason::NotJson, "a leading zero", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","renewals":01}"#),
    (LOAN, Reason::NotJson, "a bare control character", b"{\"loan_id\":\"poison-@N\",\"patron_id\":\"@P\",\"library\":\"@L\",\"note\":\"a\x01b\"}"),
    (LOAN, Reason::NotJson, "an escape that is none", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","note":"\x41"}"#),
    (LOAN, Reason::NotJson, "a byte order mark", b"\xef\xbb\xbf{\"loan_id\":\"poison-@N\",\"patron_id\":\"@P\",\"library\":\"@L\"}"),
    (LOAN, Reason::NotJson, "a comment", br#"{"loan_id":"poison-@N",/* */"patron_id":"@P","library":"@L"}"#),
    (PATRON, Reason::NotJson, "no JSON at all", b"<patron id=\"@P\"/>"),
    (CONSENT, Reason::NotJson, "cut short", br#"{"consent_id":"poison-@N","patron_id":"@P""#),
    // Values that are no record.
    (LOAN, Reason::NotAnObject, "a list", br#"[{"loan_id":"poison-@N","patron_id":"@P","library":"@L"}]"#),
    (LOAN, Reason::NotAnObject, "a string", br#""poison-@N""#),
    (LOAN, Reason::NotAnObject, "a number", b"42"),
    (PATRON, Reason::NotAnObject, "a boolean", b"false"),
    (LOAN, Reason::NullValue, "the text null", b" null "),
    // Identifiers.
    (LOAN, Reason::Identifier, "no patron id", br#"{"loan_id":"poison-@N","library":"@L","status":"open"}"#),
    (LOAN, Reason::Identifier, "a patron id that is null", br#"{"loan_id":"poison-@N","patron_id":null,"library":"@L","status":"open"}"#),
    (LOAN, Reason::Identifier, "no loan id", br#"{"patron_id":"@P","library":"@L","status":"open"}"#),
    (LOAN, Reason::Identifier, "an empty loan id", br#"{"loan_id":"","patron_id":"@P","library":"@L","status":"open"}"#),
    (LOAN, Reason::Identifier, "a loan id that is a number", br#"{"loan_id":17,"patron_id":"@P","library":"@L","status":"open"}"#),
    (LOAN, Reason::Identifier, "the loan id twice", br#"{"loan_id":"poison-@N","patron_id":"@P","loan_id":"poison-@N","library":"@L"}"#),
    (LOAN, Reason::Identifier, "the patron id twice, once escaped", br#"{"loan_id":"poison-@N","patron_id":"@P","patron\u005fid":"@P","library":"@L"}"#),
    (LOAN, Reason::Identifier, "no library", br#"{"loan_id":"poison-@N","patron_id":"@P","status":"open"}"#),
    (LOAN, Reason::Identifier, "a library that is no ISIL", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"Centrale","status":"open"}"#),
    (LOAN, Reason::Identifier, "half of a pair in the loan id", br#"{"loan_id":"poison-@N\ud800","patron_id":"@P","library":"@L"}"#),
    (PATRON, Reason::Identifier, "a patron id that is a list", br#"{"patron_id":["@P"],"library":"@L"}"#),
    (PATRON, Reason::Identifier, "no library", br#"{"patron_id":"@P","kind":"person"}"#),
    (CONSENT, Reason::Identifier, "no consent id", br#"{"patron_id":"@P","library":"@L","purpose":"online-library","decision":"granted"}"#),
    // Fields that some recipient needs.
    (LOAN, Reason::Malformed, "a status that is a number", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","status":1}"#),
    (LOAN, Reason::Malformed, "the title twice", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","status":"open","item":{"title":"Stof","title":"As"}}"#),
    (LOAN, Reason::Malformed, "half of a pair in the branch", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","status":"open","branch":"\udc00"}"#),
    (LOAN, Reason::Malformed, "renewals that are no integer", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","status":"open","renewals":1.5}"#),
    (LOAN, Reason::Malformed, "an item that is a list", br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","status":"open","item":["Stof"]}"#),
    (PATRON, Reason::Malformed, "a card number that is a number", br#"{"patron_id":"@P","library":"@L","kind":"person","card_number":20013001234567,"membership":{"id":"M1","status":"active"}}"#),
];
