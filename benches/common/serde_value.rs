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

use super::workload::Record;
use super::zeef_way::{RECIPIENTS, secret};

/// One field of an output.
#[derive(Clone, Copy)]
pub enum Field {
    PatronRef,
    At(&'static str, &'static [&'static str]),
    Object(&'static str, &'static [&'static str]),
    Note,
}

use Field::{At, Note, Object, PatronRef};

/// The partners' profiles, as the benches' policy has them.
pub const PROFILES: [(&str, &[(&str, Field)]); 4] = [
    (
        RECIPIENTS[0],
        &[
            ("patron_ref", PatronRef),
            ("initials", At("initials", &[])),
            ("given_name", At("given_name", &[])),
            ("surname_prefix", At("surname_prefix", &[])),
            ("surname", At("surname", &[])),
            ("email", At("email", &[])),
            ("mobile", At("mobile", &[])),
            ("card_number", At("card_number", &[])),
            ("branch", At("membership", &["home_branch"])),
            ("status", At("membership", &["status"])),
            ("valid_until", At("membership", &["ends_on"])),
            ("note", Note),
        ],
    ),
    (
        RECIPIENTS[1],
        &[
            ("patron_ref", PatronRef),
            ("library", At("library", &[])),
            ("salutation", At("salutation", &[])),
            ("given_name", At("given_name", &[])),
            ("initials", At("initials", &[])),
            ("surname_prefix", At("surname_prefix", &[])),
            ("surname", At("surname", &[])),
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
            ("email", At("email", &[])),
            ("phone", At("phone", &[])),
            ("mobile", At("mobile", &[])),
        ],
    ),
    (
        RECIPIENTS[2],
        &[
            ("patron_ref", PatronRef),
            ("library", At("library", &[])),
            ("member_ref", At("membership", &["id"])),
            ("membership_type", At("membership", &["type"])),
            ("status", At("membership", &["status"])),
            ("valid_from", At("membership", &["starts_on"])),
            ("valid_until", At("membership", &["ends_on"])),
            ("home_branch", At("membership", &["home_branch"])),
            ("fee_cents", At("membership", &["fee_cents"])),
            ("currency", At("membership", &["currency"])),
            ("initials", At("initials", &[])),
            ("surname_prefix", At("surname_prefix", &[])),
            ("surname", At("surname", &[])),
            ("email", At("email", &[])),
            ("mobile", At("mobile", &[])),
        ],
    ),
    (
        RECIPIENTS[3],
        &[
            ("patron_ref", PatronRef),
            ("library", At("library", &[])),
            ("branch", At("membership", &["home_branch"])),
            ("membership_type", At("membership", &["type"])),
            ("since", At("membership", &["starts_on"])),
            ("gender", At("gender", &[])),
            ("town", At("address", &["city"])),
            ("interests", At("interests", &[])),
            ("loan_history", At("loan_history", &[])),
            ("updated_at", At("updated_at", &[])),
        ],
    ),
];

/// What stands in place of a hit, and what finds it: ASCII classes only.
pub const SCRUB: [(&str, &str); 4] = [
    ("[email]", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}"),
    ("[iban]", r"(?-u:\b)NL[0-9]{2}[A-Z]{4}[0-9]{10}(?-u:\b)"),
    ("[phone]", r"(?-u:\b)06-[0-9]{8}(?-u:\b)"),
    ("[bsn]", r"(?-u:\b)[0-9]{9}(?-u:\b)"),
];

/// The fields of an output, in their order, by their names there.
pub type Fields = Vec<(&'static str, Field)>;
/// One partner: its name, which its key is made of, and its fields.
pub type Profile = (String, Fields);

pub struct SerdeValue {
    profiles: Vec<(Hmac<Sha256>, Fields)>,
    scrub: Vec<(&'static str, Regex)>,
    out: Vec<u8>,
    ends: Vec<usize>,
}

impl SerdeValue {
    /// The partners of the benches' own policy.
    pub fn new() -> Self {
        let own = PROFILES.iter();
        Self::of(own.map(|(name, fields)| ((*name).to_owned(), fields.to_vec())))
    }

    /// Other partners, in the order in which their outputs are written.
    pub fn of(profiles: impl Iterator<Item = Profile>) -> Self {
        let profiles = profiles.map(|(name, fields)| {
            let keyed = Hmac::new_from_slice(&secret(&name));
            (keyed.expect("a key of any length is taken"), fields)
        });
        let scrub = SCRUB.map(|(name, text)| (name, Regex::new(text).expect("is an expression")));
        SerdeValue {
            profiles: profiles.collect(),
            scrub: Vec::from(scrub),
            out: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub fn run(&mut self, records: &[Record]) -> usize {
        let mut bytes = 0;
        for record in records {
            self.out.clear();
            self.ends.clear();
            self.transform(record);
            // zeef writes the output's key, too.
            bytes += self.out.len() + 22 * self.ends.len();
        }
        bytes
    }

    pub fn outputs(&mut self, record: &Record) -> Vec<Vec<u8>> {
        self.out.clear();
        self.ends.clear();
        self.transform(record);
        let mut start = 0;
        let ends = std::mem::take(&mut self.ends);
        let outputs = ends.iter().map(|&end| {
            let output = self.out[start..end].to_vec();
            start = end;
            output
        });
        outputs.collect()
    }

    fn transform(&mut self, record: &Record) {
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
            let token = token(keyed, library, id);
            self.out.push(b'{');
            for (name, field) in fields {
                match field {
                    PatronRef => put(&mut self.out, name, &token),
                    At(first, rest) => {
                        let mut value = &tree[*first];
                        for part in *rest {
                            value = &value[*part];
                        }
                        if !value.is_null() {
                            put(&mut self.out, name, value);
                        }
                    }
                    Object(first, parts) => {
                        start(&mut self.out, name);
                        self.out.push(b'{');
                        for part in *parts {
                            let value = &tree[*first][*part];
                            if !value.is_null() {
                                put(&mut self.out, part, value);
                            }
                        }
                        self.out.push(b'}');
                    }
                    Note => {
                        let mut note = Cow::Borrowed(tree["note"].as_str().unwrap_or_default());
                        for (name, found) in &self.scrub {
                            if let Cow::Owned(cleaned) = found.replace_all(&note, *name) {
                                note = Cow::Owned(cleaned);
                            }
                        }
                        put(&mut self.out, name, &*note);
                    }
                }
            }
            self.out.push(b'}');
            self.ends.push(self.out.len());
        }
    }
}

fn token(keyed: &Hmac<Sha256>, library: &str, id: &str) -> String {
    let mut mac = keyed.clone();
    mac.update(b"patron\0patron_id\0");
    mac.update(library.as_bytes());
    mac.update(b"\0");
    mac.update(id.as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

fn start(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn put(out: &mut Vec<u8>, name: &str, value: &(impl serde::Serialize + ?Sized)) {
    start(out, name);
    serde_json::to_writer(out, value).expect("a value can be written");
}
