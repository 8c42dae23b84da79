//! The last check of RULES: no value of an output has a national number of its
//! patron among its digits.
//!
//! Takes a finished output apart, and puts together again what may be shown.

use super::field::look_as_written;
use super::json::{Node, quoted, read};
use super::mask::digits;

/// What must not be in an output.
#[derive(Clone, Debug)]
pub enum Forbidden {
    /// These digits, one behind the other.
    Digits(String),
    /// A number of so many digits that passes its test: the patron's own could not
    /// be read.
    AnyOf(usize),
}

/// The patron's numbers; without the Belgian one where that may be shown.
pub fn of_patron(patron: &Node, may_have_register_number: bool) -> Vec<Forbidden> {
    let fields = [("bsn", 9), ("rijksregisternummer", 11)];
    let fields = fields
        .iter()
        .filter(|(name, _)| *name == "bsn" || !may_have_register_number);
    let found = fields.filter_map(|(name, length)| match look_as_written(patron, name) {
        Ok(written) => needle(&digits(&written?)).map(Forbidden::Digits),
        Err(()) => Some(Forbidden::AnyOf(*length)),
    });
    found.collect()
}

/// What of a number is looked for: no zeros at its start, as long as eight digits
/// are left, and of a long one the last fourteen.
fn needle(digits: &str) -> Option<String> {
    let short = digits.trim_start_matches('0');
    if digits.len() < 8 || short.is_empty() {
        return None;
    }
    let length = short.len().clamp(8, 14);
    Some(digits[digits.len() - length..].to_owned())
}

/// Whether a text may be shown.
pub fn passes(text: &str, forbidden: &[Forbidden]) -> bool {
    let digits = digits(text);
    !forbidden.iter().any(|one| match one {
        Forbidden::Digits(needle) => digits.contains(needle),
        Forbidden::AnyOf(9) => digits.len() == 9 && is_bsn(&digits),
        Forbidden::AnyOf(length) => digits.len() == *length && is_register_number(&digits),
    })
}

fn is_bsn(digits: &str) -> bool {
    let values: Vec<i64> = digits.bytes().map(|b| i64::from(b - b'0')).collect();
    let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
    let sum: i64 = values.iter().zip(weights).map(|(v, w)| v * w).sum();
    sum % 11 == 0 && values.iter().any(|value| *value > 0)
}

/// Whether the check digits of eleven digits are right, born before 2000 or after.
pub fn is_register_number(digits: &str) -> bool {
    let value = |text: &str| text.parse::<u64>().unwrap_or_default();
    let check = value(&digits[9..]);
    let before = value(&digits[..9]);
    [before, 2_000_000_000 + before]
        .iter()
        .any(|nine| 97 - nine % 97 == check)
}

/// The JSON of a value without what must not be in it; nothing where that is all.
pub fn without(json: &str, forbidden: &[Forbidden]) -> Option<String> {
    let node = read(json).expect("an output is JSON");
    rest(&node, forbidden)
}

fn rest(node: &Node, forbidden: &[Forbidden]) -> Option<String> {
    match node {
        Node::Text(text) => passes(&text.chars, forbidden).then(|| quoted(&text.chars)),
        Node::Number(written) => passes(written, forbidden).then(|| written.clone()),
        Node::List(elements) => {
            let left = elements.iter().filter_map(|one| rest(one, forbidden));
            let left: Vec<String> = left.collect();
            (!left.is_empty()).then(|| format!("[{}]", left.join(",")))
        }
        Node::Object(members) => {
            let left = members.iter().filter_map(|(name, value)| {
                let value = rest(value, forbidden)?;
                Some(format!("{}:{value}", quoted(&name.chars)))
            });
            let left: Vec<String> = left.collect();
            (!left.is_empty()).then(|| format!("{{{}}}", left.join(",")))
        }
        Node::Bool(value) => Some(value.to_string()),
        Node::Null => Some("null".to_owned()),
    }
}
