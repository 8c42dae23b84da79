//! The work as one does it with serde_json: parse into a tree, pick, write.
//!
//! Written with care, as a fair peer: no tree is built for the output, keyed
//! hashes start from a prepared state, and expressions are compiled once.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use regex::Regex;
use serde_json::Value;
use sha2::Sha256;

use super::workload::SourceRecord;
use super::zeef_peer::{RECIPIENTS, key_bytes};

/// One field of an output.
#[derive(Clone, Copy)]
pub enum ProfileField {
    PatronRef,
    Path(&'static str, &'static [&'static str]),
    Object(&'static str, &'static [&'static str]),
    ScrubbedNote,
}

use ProfileField::{Object, Path, PatronRef, ScrubbedNote};

/// The partners' profiles, as the benches' policy has them.
pub const PROFILES: [(&str, &[(&str, ProfileField)]); 4] = [
    (
        RECIPIENTS[0],
        &[
            ("patron_ref", PatronRef),
            ("initials", Path("initials", &[])),
            ("given_name", Path("given_name", &[])),
            ("surname_prefix", Path("surname_prefix", &[])),
            ("surname", Path("surname", &[])),
            ("email", Path("email", &[])),
            ("mobile", Path("mobile", &[])),
            ("card_number", Path("card_number", &[])),
            ("branch", Path("membership", &["home_branch"])),
            ("status", Path("membership", &["status"])),
            ("valid_until", Path("membership", &["ends_on"])),
            ("note", ScrubbedNote),
        ],
    ),
    (
        RECIPIENTS[1],
        &[
            ("patron_ref", PatronRef),
            ("library", Path("library", &[])),
            ("salutation", Path("salutation", &[])),
            ("given_name", Path("given_name", &[])),
            ("initials", Path("initials", &[])),
            ("surname_prefix", Path("surname_prefix", &[])),
            ("surname", Path("surname", &[])),
            (
                "address",
                Object(
                    "address",
                    &[
                        "street",
                        "house_number",
                        "house_number_suffix",
                        "postcode",
                        "city",
                        "country",
                    ],
                ),
            ),
            ("email", Path("email", &[])),
            ("phone", Path("phone", &[])),
            ("mobile", Path("mobile", &[])),
        ],
    ),
    (
        RECIPIENTS[2],
        &[
            ("patron_ref", PatronRef),
            ("library", Path("library", &[])),
            ("member_ref", Path("membership", &["id"])),
            ("membership_type", Path("membership", &["type"])),
            ("status", Path("membership", &["status"])),
            ("valid_from", Path("membership", &["starts_on"])),
            ("valid_until", Path("membership", &["ends_on"])),
            ("home_branch", Path("membership", &["home_branch"])),
            ("fee_cents", Path("membership", &["fee_cents"])),
            ("currency", Path("membership", &["currency"])),
            ("initials", Path("initials", &[])),
            ("surname_prefix", Path("surname_prefix", &[])),
            ("surname", Path("surname", &[])),
            ("email", Path("email", &[])),
            ("mobile", Path("mobile", &[])),
        ],
    ),
    (
        RECIPIENTS[3],
        &[
            ("patron_ref", PatronRef),
            ("library", Path("library", &[])),
            ("branch", Path("membership", &["home_branch"])),
            ("membership_type", Path("membership", &["type"])),
            ("since", Path("membership", &["starts_on"])),
            ("gender", Path("gender", &[])),
            ("town", Path("address", &["city"])),
            ("interests", Path("interests", &[])),
            ("loan_history", Path("loan_history", &[])),
            ("updated_at", Path("updated_at", &[])),
        ],
    ),
];

/// What stands in place of a hit, and what finds it: ASCII classes only.
pub const SCRUB_PATTERNS: [(&str, &str); 4] = [
    ("[email]", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}"),
    ("[iban]", r"(?-u:\b)NL[0-9]{2}[A-Z]{4}[0-9]{10}(?-u:\b)"),
    ("[phone]", r"(?-u:\b)06-[0-9]{8}(?-u:\b)"),
    ("[bsn]", r"(?-u:\b)[0-9]{9}(?-u:\b)"),
];

/// The fields of an output, in their order, by their names there.
pub type ProfileFields = Vec<(&'static str, ProfileField)>;
/// One partner: its name, which its key is made of, and its fields.
pub type PartnerProfile = (String, ProfileFields);

pub struct SerdeJsonPeer {
    profiles: Vec<(Hmac<Sha256>, ProfileFields)>,
    scrub_patterns: Vec<(&'static str, Regex)>,
    buffer: Vec<u8>,
    output_ends: Vec<usize>,
}

impl SerdeJsonPeer {
    /// The partners of the benches' own policy.
    pub fn new() -> Self {
        let own = PROFILES.iter();
        Self::with_profiles(own.map(|(name, fields)| ((*name).to_owned(), fields.to_vec())))
    }

    /// Other partners, in the order in which their outputs are written.
    pub fn with_profiles(profiles: impl Iterator<Item = PartnerProfile>) -> Self {
        let profiles = profiles.map(|(name, fields)| {
            let keyed = Hmac::new_from_slice(&key_bytes(&name));
            (keyed.expect("a key of any length is taken"), fields)
        });
        let scrub =
            SCRUB_PATTERNS.map(|(name, text)| (name, Regex::new(text).expect("is an expression")));
        SerdeJsonPeer {
            profiles: profiles.collect(),
            scrub_patterns: Vec::from(scrub),
            buffer: Vec::new(),
            output_ends: Vec::new(),
        }
    }

    pub fn run(&mut self, records: &[SourceRecord]) -> usize {
        let mut bytes = 0;
        for record in records {
            self.buffer.clear();
            self.output_ends.clear();
            self.transform(record);
            // zeef writes the output's key, too.
            bytes += self.buffer.len() + 22 * self.output_ends.len();
        }
        bytes
    }

    pub fn outputs(&mut self, record: &SourceRecord) -> Vec<Vec<u8>> {
        self.buffer.clear();
        self.output_ends.clear();
        self.transform(record);
        let mut start = 0;
        let ends = std::mem::take(&mut self.output_ends);
        let outputs = ends.iter().map(|&end| {
            let output = self.buffer[start..end].to_vec();
            start = end;
            output
        });
        outputs.collect()
    }

    fn transform(&mut self, record: &SourceRecord) {
        let Ok(tree) = serde_json::from_slice::<Value>(&record.value) else {
            return;
        };
        if tree["kind"] != "person" {
            return;
        }
        let (Some(id), Some(library)) = (tree["patron_id"].as_str(), tree["library"].as_str())
        else {
            return;
        };
        for (keyed, fields) in &self.profiles {
            let token = pseudonym_token(keyed, library, id);
            self.buffer.push(b'{');
            for (name, field) in fields {
                match field {
                    PatronRef => write_member(&mut self.buffer, name, &token),
                    Path(first, rest) => {
                        let mut value = &tree[*first];
                        for part in *rest {
                            value = &value[*part];
                        }
                        if !value.is_null() {
                            write_member(&mut self.buffer, name, value);
                        }
                    }
                    Object(first, parts) => {
                        write_member_name(&mut self.buffer, name);
                        self.buffer.push(b'{');
                        for part in *parts {
                            let value = &tree[*first][*part];
                            if !value.is_null() {
                                write_member(&mut self.buffer, part, value);
                            }
                        }
                        self.buffer.push(b'}');
                    }
                    ScrubbedNote => {
                        let mut note = Cow::Borrowed(tree["note"].as_str().unwrap_or_default());
                        for (name, found) in &self.scrub_patterns {
                            if let Cow::Owned(cleaned) = found.replace_all(&note, *name) {
                                note = Cow::Owned(cleaned);
                            }
                        }
                        write_member(&mut self.buffer, name, &*note);
                    }
                }
            }
            self.buffer.push(b'}');
            self.output_ends.push(self.buffer.len());
        }
    }
}

fn pseudonym_token(keyed: &Hmac<Sha256>, library: &str, id: &str) -> String {
    let mut mac = keyed.clone();
    mac.update(b"patron\0patron_id\0");
    mac.update(library.as_bytes());
    mac.update(b"\0");
    mac.update(id.as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

fn write_member_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a member, behind a comma where one is needed.
pub fn write_member(out: &mut Vec<u8>, name: &str, value: &(impl serde::Serialize + ?Sized)) {
    write_member_name(out, name);
    serde_json::to_writer(out, value).expect("a value can be written");
}
