//! Answers: what an authority signed, and whether that holds.
//!
//! The authority's certificate is the one whose digest the signature covers (RFC 3161, 2.4.1, and
//! RFC 5816), and the time, serial number and nonce are those of the content that OpenSSL verified.

use std::path::Path;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Encode as _, Tag};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509Ref};

use super::elements::{context, parse, parts, value};
use super::request::{SHA256, TimestampRequest};
use crate::ledger::block::{digest_hex, hex};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// How much of an authority's own words is shown.
const REFUSAL_CHARS_MAX: usize = 200;

/// Why an answer proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("it is no answer of a timestamp authority in DER")]
    Format,
    #[error("the authority refused it, status {status}{words}")]
    Refused { status: u8, words: String },
    #[error("it does not name by its signature the certificate that it was signed with")]
    NoCertificate,
    #[error("its signature does not hold: {0}")]
    Signature(String),
    #[error("it is of another digest than was asked for")]
    OtherDigest,
    #[error("it answers another request")]
    OtherRequest,
    #[error("it has a critical extension that zeef does not know")]
    Extension,
    #[error("the checkpoint of this number is another one now: it was written anew")]
    OtherCheckpoint,
    #[error("there is no checkpoint of this number: it was rolled back")]
    NoCheckpoint,
}

/// What an authority signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// When the authority had the digest, in Unix seconds.
    pub time: i64,
    /// The number that the authority gave it, in hex.
    pub serial: String,
    /// The policy of the authority.
    pub policy: String,
    /// Whom the authority's certificate names.
    pub authority: String,
    /// SHA-256 of that certificate in hex.
    pub certificate: String,
    /// Whether the certificate is one of known authorities, or signed by one, at that time.
    pub is_of_known_authority: bool,
}

/// The certificates that are trusted: of authorities, or of those that sign theirs.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<X509>);

impl Authorities {
    /// Reads certificates in PEM from files; without any file no authority is known.
    ///
    /// # Errors
    ///
    /// Which file cannot be read, or has none.
    pub fn read_files<P: AsRef<Path>>(files: &[P]) -> Result<Authorities, String> {
        let mut all = Vec::new();
        for file in files {
            let shown = file.as_ref().display();
            let text = std::fs::read(file).map_err(|error| format!("{shown}: {error}"))?;
            let found = X509::stack_from_pem(&text).unwrap_or_default();
            if found.is_empty() {
                return Err(format!("{shown}: it has no certificate in PEM"));
            }
            all.extend(found);
        }
        Ok(Authorities(all))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What verifies a certificate of an authority at a time.
    fn store_at(&self, time: i64) -> Result<X509Store, ErrorStack> {
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_purpose(X509PurposeId::TIMESTAMP_SIGN)?;
        parameters.set_time(time);
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        let mut store = X509StoreBuilder::new()?;
        for certificate in &self.0 {
            store.add_cert(certificate.clone())?;
        }
        store.set_param(&parameters)?;
        Ok(store.build())
    }
}

/// Reads an answer to a request, once its signature holds. With `authorities` the certificate has
/// to be of one of them.
///
/// # Errors
///
/// [`TimestampError`]
pub fn read_answer(
    answer: &[u8],
    request: &TimestampRequest,
    authorities: &Authorities,
) -> Result<Timestamp, TimestampError> {
    let token = granted_token(answer)?;
    let data = SignedData::parse(token).ok_or(TimestampError::Format)?;
    let certificate = data.find_certificate().ok_or(TimestampError::NoCertificate)?;
    let signer = X509::from_der(&certificate).map_err(|_| TimestampError::NoCertificate)?;
    let token = token.to_der().map_err(|_| TimestampError::Format)?;
    let content = verify_signature(&token, &signer, None)?;
    let content = TimestampContent::parse(&content).ok_or(TimestampError::Format)?;
    if content.digest != (SHA256, request.digest.as_slice()) {
        return Err(TimestampError::OtherDigest);
    }
    if content.nonce != Some(request.nonce()) {
        return Err(TimestampError::OtherRequest);
    }
    if content.has_critical_extension {
        return Err(TimestampError::Extension);
    }
    if !authorities.is_empty() {
        let store = authorities.store_at(content.time).map_err(|error| signature_error(&error))?;
        verify_signature(&token, &signer, Some(&store))?;
    }
    Ok(Timestamp {
        time: content.time,
        serial: hex(content.serial),
        policy: content.policy.to_string(),
        authority: describe_subject(&signer),
        certificate: digest_hex(&certificate),
        is_of_known_authority: !authorities.is_empty(),
    })
}

/// Returns the nonce of an answer, whether its signature holds or not; `None` if it has none.
///
/// # Errors
///
/// [`TimestampError`] if it is no granted answer.
pub fn claimed_nonce(answer: &[u8]) -> Result<Option<Vec<u8>>, TimestampError> {
    let data = SignedData::parse(granted_token(answer)?).ok_or(TimestampError::Format)?;
    let content = TimestampContent::parse(data.content).ok_or(TimestampError::Format)?;
    Ok(content.nonce.map(<[u8]>::to_vec))
}

/// Returns the token of an answer that was granted.
fn granted_token(answer: &[u8]) -> Result<AnyRef<'_>, TimestampError> {
    let response = parse(answer).and_then(|response| parts(response, Tag::Sequence));
    let response = response.ok_or(TimestampError::Format)?;
    let status = response.first().and_then(|status| parts(*status, Tag::Sequence));
    let status = status.ok_or(TimestampError::Format)?;
    let number = status.first().and_then(|number| value(number, Tag::Integer));
    match (number, response.get(1..)) {
        // Granted, or granted with changes.
        (Some([0 | 1]), Some([token])) => Ok(*token),
        (Some([status_number @ 2..=u8::MAX]), _) => {
            Err(TimestampError::Refused { status: *status_number, words: refusal_words(&status) })
        }
        _ => Err(TimestampError::Format),
    }
}

/// The texts of a status, as far as they can be shown.
fn refusal_words(status: &[AnyRef<'_>]) -> String {
    let texts = status.iter().find_map(|part| parts(*part, Tag::Sequence)).unwrap_or_default();
    let texts = texts.iter().filter_map(|text| value(text, Tag::Utf8String));
    let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
    let words = texts.collect::<Vec<_>>().join(", ");
    let shown = words.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX);
    let shown: String = shown.collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

/// What a token has in it, none of it verified.
struct SignedData<'a> {
    /// The DER of the content, a `TSTInfo`.
    content: &'a [u8],
    certificates: Vec<AnyRef<'a>>,
    /// The attributes that the only signature covers, each with its name and its value.
    attributes: Vec<(AnyRef<'a>, AnyRef<'a>)>,
}

impl<'a> SignedData<'a> {
    fn parse(token: AnyRef<'a>) -> Option<SignedData<'a>> {
        let [kind, data] = parts(token, Tag::Sequence)?.try_into().ok()?;
        let [data] = parts(data, context(0))?.try_into().ok()?;
        // The version and the algorithms come first, certificates and lists of revocation may follow.
        let data = parts(data, Tag::Sequence)?;
        let [_, _, encapsulated, optional @ .., signers] = data.as_slice() else {
            return None;
        };
        let [content_kind, content] = parts(*encapsulated, Tag::Sequence)?.try_into().ok()?;
        let [content] = parts(content, context(0))?.try_into().ok()?;
        let certificates = optional.iter().find_map(|part| parts(*part, context(0)));
        let [signer] = parts(*signers, Tag::Set)?.try_into().ok()?;
        let signer = parts(signer, Tag::Sequence)?;
        let attributes = signer.iter().find_map(|part| parts(*part, context(0)))?;
        let is_timestamp = is_object(&kind, SIGNED_DATA) && is_object(&content_kind, TST_INFO);
        is_timestamp.then_some(SignedData {
            content: value(&content, Tag::OctetString)?,
            certificates: certificates.unwrap_or_default(),
            attributes: attributes.into_iter().map(parse_attribute).collect::<Option<_>>()?,
        })
    }

    fn attribute(&self, name: ObjectIdentifier) -> Option<AnyRef<'a>> {
        let found = self.attributes.iter().find(|(found, _)| is_object(found, name));
        found.map(|(_, value)| *value)
    }

    /// Returns the DER of the certificate whose digest the signature covers.
    fn find_certificate(&self) -> Option<Vec<u8>> {
        if !is_object(&self.attribute(CONTENT_TYPE)?, TST_INFO) {
            return None;
        }
        let newer = self.attribute(SIGNING_CERTIFICATE_V2);
        let (algorithm, digest) = match newer {
            Some(value) => first_certificate_id(value, MessageDigest::sha256())?,
            None => {
                let value = self.attribute(SIGNING_CERTIFICATE)?;
                first_certificate_id(value, MessageDigest::sha1())?
            }
        };
        let mut certificates = self.certificates.iter().filter_map(|one| one.to_der().ok());
        certificates.find(|one| hash(algorithm, one).is_ok_and(|found| *found == *digest))
    }
}

/// Returns the name and the only value of an attribute.
fn parse_attribute(attribute: AnyRef<'_>) -> Option<(AnyRef<'_>, AnyRef<'_>)> {
    let [name, values] = parts(attribute, Tag::Sequence)?.try_into().ok()?;
    let [value] = parts(values, Tag::Set)?.try_into().ok()?;
    Some((name, value))
}

/// Returns the digest of the signer's certificate, and by what it was made, from the value of an
/// attribute that lists certificates. It is the first one.
fn first_certificate_id(
    listed: AnyRef<'_>,
    default: MessageDigest,
) -> Option<(MessageDigest, &[u8])> {
    let listed = parts(listed, Tag::Sequence)?;
    let first = *parts(*listed.first()?, Tag::Sequence)?.first()?;
    let first = parts(first, Tag::Sequence)?;
    match first.as_slice() {
        [algorithm, digest, ..] if value(digest, Tag::OctetString).is_some() => {
            let algorithm = *parts(*algorithm, Tag::Sequence)?.first()?;
            let known = [
                (SHA256, MessageDigest::sha256()),
                (SHA384, MessageDigest::sha384()),
                (SHA512, MessageDigest::sha512()),
            ];
            let found = known.into_iter().find(|(name, _)| is_object(&algorithm, *name))?;
            Some((found.1, value(digest, Tag::OctetString)?))
        }
        [digest, ..] => Some((default, value(digest, Tag::OctetString)?)),
        [] => None,
    }
}

/// The content of a token, a `TSTInfo`.
struct TimestampContent<'a> {
    policy: ObjectIdentifier,
    /// Of what the timestamp is, and by which algorithm.
    digest: (ObjectIdentifier, &'a [u8]),
    serial: &'a [u8],
    /// In Unix seconds, without fractions.
    time: i64,
    nonce: Option<&'a [u8]>,
    has_critical_extension: bool,
}

impl<'a> TimestampContent<'a> {
    fn parse(content: &'a [u8]) -> Option<TimestampContent<'a>> {
        let content = parts(parse(content)?, Tag::Sequence)?;
        let [version, policy, imprint, serial, time, optional @ ..] = content.as_slice() else {
            return None;
        };
        let [algorithm, digest] = parts(*imprint, Tag::Sequence)?.try_into().ok()?;
        let algorithm = *parts(algorithm, Tag::Sequence)?.first()?;
        let extensions = optional.iter().find_map(|part| parts(*part, context(1)));
        let has_version = value(version, Tag::Integer) == Some(&[1]);
        has_version.then_some(TimestampContent {
            policy: policy.decode_as().ok()?,
            digest: (algorithm.decode_as().ok()?, value(&digest, Tag::OctetString)?),
            serial: value(serial, Tag::Integer)?,
            time: parse_time(value(time, Tag::GeneralizedTime)?)?,
            nonce: optional.iter().find_map(|part| value(part, Tag::Integer)),
            has_critical_extension: extensions.is_some_and(|all| !all.iter().all(is_optional)),
        })
    }
}

/// Whether an extension may be passed over.
fn is_optional(extension: &AnyRef<'_>) -> bool {
    let is_flag = |part: &AnyRef<'_>| value(part, Tag::Boolean).is_some();
    parts(*extension, Tag::Sequence).is_some_and(|parts| !parts.iter().any(is_flag))
}

/// Reads `YYYYMMDDhhmmss[.f…]Z`, without the fraction.
fn parse_time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if whole.len() != 14 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Returns the content of a token whose signature, by `signer`, holds; with a store, only if the
/// certificate leads to one of it.
fn verify_signature(
    token: &[u8],
    signer: &X509Ref,
    store: Option<&X509Store>,
) -> Result<Vec<u8>, TimestampError> {
    let verify = || {
        let mut signers = Stack::new()?;
        signers.push(signer.to_owned())?;
        let mut flags = CMSOptions::BINARY | CMSOptions::NOINTERN;
        flags.set(CMSOptions::NO_SIGNER_CERT_VERIFY, store.is_none());
        let mut content = Vec::new();
        let store = store.map(std::ops::Deref::deref);
        CmsContentInfo::from_der(token)?.verify(
            Some(&signers),
            store,
            None,
            Some(&mut content),
            flags,
        )?;
        Ok(content)
    };
    verify().map_err(|error: ErrorStack| signature_error(&error))
}

/// The reason of the innermost error that has more to say.
fn signature_error(error: &ErrorStack) -> TimestampError {
    let told = |one: &openssl::error::Error| {
        let reason = one.reason()?;
        Some(one.data().map_or_else(|| reason.to_owned(), |data| format!("{reason}: {data}")))
    };
    let mut texts = error.errors().iter().filter_map(told);
    TimestampError::Signature(texts.next_back().unwrap_or_else(|| "OpenSSL refuses it".to_owned()))
}

/// Returns the subject of a certificate, as `CN=…, O=…`, without control characters.
fn describe_subject(certificate: &X509Ref) -> String {
    let entries = certificate.subject_name().entries().map(|entry| {
        let name = entry.object().nid().short_name().unwrap_or("?");
        let text = entry.data().to_string().unwrap_or_default();
        format!("{name}={text}")
    });
    let shown = entries.collect::<Vec<_>>().join(", ");
    shown.chars().filter(|c| !c.is_control()).collect()
}

fn is_object(element: &AnyRef<'_>, object: ObjectIdentifier) -> bool {
    value(element, Tag::ObjectIdentifier) == Some(object.as_bytes())
}
