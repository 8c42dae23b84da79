//! Messages that must be refused, one of each sort, with the reason.
//!
//! They do no harm: refused patrons and consents have keys of their own, and all other records ids
//! that start with `poison`.

use super::SampleLibrary;
use super::SampleSource;
use crate::policy::reason::Reason;

/// A message that is refused whole, or by a recipient of the shipped config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// As [`SampleSource::as_str`].
    pub source: &'static str,
    pub key: Option<Vec<u8>>,
    /// Without line breaks; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// [`Reason::Malformed`] concerns the recipients that need the field, others the whole record.
    pub reason: Reason,
    pub description: &'static str,
}

/// A template with `@P` for the patron id, `@L` for its library and `@N` for the number of the
/// case.
type InvalidCase = (SampleSource, Reason, &'static str, &'static [u8]);

const LOAN: SampleSource = SampleSource::Loan;
const PATRON: SampleSource = SampleSource::Patron;
const CONSENT: SampleSource = SampleSource::Consent;

/// Returns all cases in a fixed order.
pub(super) fn generate_invalid_records(
    library: &SampleLibrary,
) -> impl Iterator<Item = InvalidRecord> {
    let target = TargetPatron::find_usable(library);
    let mut records = Vec::new();
    for (number, case) in INVALID_CASES.iter().enumerate() {
        records.push(target.fill_template(number, case));
    }
    let next = records.len();
    records.extend(target.make_oversized_loans(next));
    records.extend(target.make_miskeyed_and_null_loans(next + 10));
    records.into_iter()
}

/// The patron of refused loans, whom no other gate stops.
struct TargetPatron {
    patron_id: String,
    library: String,
}

impl TargetPatron {
    fn find_usable(library: &SampleLibrary) -> TargetPatron {
        let usable = |index: &u64| {
            let messages = library.messages_of_patron(*index);
            let erased = messages.iter().any(|message| message.value.is_none());
            let value = messages.first().and_then(|message| message.value.as_deref());
            !erased && value.is_some_and(|text| text.contains("\"kind\":\"person\""))
        };
        let most = library.settings.patrons.min(1000);
        let index = (0..most).find(usable).unwrap_or(0);
        TargetPatron {
            patron_id: library.patron_id(index),
            library: library.isil_of_patron(index).to_owned(),
        }
    }

    /// Refused patrons and consents must not affect a real patron.
    fn patron_id_for(&self, source: SampleSource, reason: Reason, number: usize) -> String {
        if matches!(source, SampleSource::Loan) && reason != Reason::PatronUnknown {
            self.patron_id.clone()
        } else {
            format!("{}:poison-{number}", self.library)
        }
    }

    fn fill_template(&self, number: usize, case: &InvalidCase) -> InvalidRecord {
        let &(source, reason, description, template) = case;
        let patron_id = self.patron_id_for(source, reason, number);
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
        InvalidRecord {
            source: source.as_str(),
            key: Some(patron_id.into_bytes()),
            value: Some(value),
            reason,
            description,
        }
    }

    fn make_invalid_loan(
        &self,
        number: usize,
        reason: Reason,
        description: &'static str,
        extra_members: &str,
    ) -> InvalidRecord {
        let mut record = self.fill_template(number, &(LOAN, reason, description, WELL_FORMED_LOAN));
        if let Some(value) = &mut record.value {
            value.pop();
            value.extend_from_slice(extra_members.as_bytes());
            value.push(b'}');
        }
        record
    }

    /// Far beyond each limit, in case a setting was raised.
    fn make_oversized_loans(&self, first: usize) -> Vec<InvalidRecord> {
        let deep = format!(",\"deep\":{}{}", "[".repeat(200), "]".repeat(200));
        let objects = format!(",\"deep\":{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        let keys: String = (0..9000).map(|number| format!(",\"k{number}\":0")).collect();
        let large = format!(",\"note\":\"{}\"", "a".repeat(3 << 19));
        vec![
            self.make_invalid_loan(first, Reason::TooDeep, "200 lists in each other", &deep),
            self.make_invalid_loan(
                first + 1,
                Reason::TooDeep,
                "200 objects in each other",
                &objects,
            ),
            self.make_invalid_loan(first + 2, Reason::TooManyKeys, "9,000 keys", &keys),
            self.make_invalid_loan(first + 3, Reason::TooLarge, "a note of 1.5 MiB", &large),
        ]
    }

    fn make_miskeyed_and_null_loans(&self, first: usize) -> Vec<InvalidRecord> {
        let mut records = vec![
            self.make_invalid_loan(first, Reason::Miskeyed, "the key of somebody else", ""),
            self.make_invalid_loan(first + 1, Reason::Miskeyed, "no key", ""),
            self.make_invalid_loan(first + 2, Reason::Miskeyed, "a key that is not UTF-8", ""),
            self.make_invalid_loan(first + 3, Reason::Miskeyed, "a key with a space behind it", ""),
            self.make_invalid_loan(first + 4, Reason::NullValue, "a null on the loan source", ""),
        ];
        records[0].key = Some(format!("{}:poison-other", self.library).into_bytes());
        records[1].key = None;
        records[2].key = Some(b"\xff\xfe".to_vec());
        records[3].key = Some(format!("{} ", self.patron_id).into_bytes());
        records[4].value = None;
        records
    }
}

const WELL_FORMED_LOAN: &[u8] = br#"{"loan_id":"poison-@N","patron_id":"@P","library":"@L","item":{"title":"Stof","material":"boek"},"branch":"Oost","loaned_at":"2024-05-06T10:11:12Z","due_on":"2024-05-27","status":"open","renewals":0}"#;

const INVALID_CASES: &[InvalidCase] = &[
    (LOAN, Reason::PatronUnknown, "a patron that never was", WELL_FORMED_LOAN),
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
