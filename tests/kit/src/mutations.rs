//! Random damage to bytes: flips, cuts, repeated and mixed spans, and changes that leave
//! JSON valid but for one value.

use crate::rng::TestRng;

/// Bytes and texts that readers of JSON stumble over.
const SNIPPETS: [&[u8]; 46] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\0",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"\\u0000",
    b"\\u0022",
    b"\\u005c",
    b"\\u0061",
    b"\\ud800",
    b"\\udfff",
    b"\\ud83d\\ude00",
    b"\\u00",
    b"\\x41",
    b"0",
    b"-",
    b".5",
    b"e5",
    b"E+400",
    b"null",
    b"true",
    b"fals",
    b"NaN",
    b"//",
    b"{}",
    b"[]",
    b"\"\":0",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];
const REPLACEMENT_VALUES: [&[u8]; 12] = [
    b"null",
    b"\"\"",
    b"true",
    b"-0",
    b"12.50",
    b"1e999",
    b"\"x\"",
    b"\"\\ud800\"",
    b"{}",
    b"[]",
    b"[[null],{\"a\":\"\"}]",
    b"{\"a\":[1]}",
];

/// Damages `bytes` once to four times; `other` is what may get mixed in.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut TestRng) {
    for _ in 0..*rng.pick(&[1, 1, 1, 2, 2, 3, 4]) {
        match rng.below(16) {
            0 => flip_bit(bytes, rng),
            1 => {
                let (start, end) = random_span(bytes, 12, rng);
                bytes.drain(start..end);
            }
            2 if rng.chance(30) => bytes.truncate(rng.below(bytes.len() + 1)),
            3 => duplicate_span(bytes, rng),
            4 => splice_records(bytes, other, rng),
            5 | 6 => insert_snippet(bytes, rng),
            7 | 8 => escape_character(bytes, rng),
            9 => nest_value(bytes, rng),
            10 | 11 => replace_value(bytes, rng),
            12 | 13 => duplicate_member(bytes, rng),
            14 => insert_whitespace(bytes, rng),
            _ => swap_spans(bytes, rng),
        }
    }
}

fn flip_bit(bytes: &mut [u8], rng: &mut TestRng) {
    if !bytes.is_empty() {
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
}

/// A span of at most `longest` bytes, or now and then any.
fn random_span(bytes: &[u8], longest: usize, rng: &mut TestRng) -> (usize, usize) {
    let start = rng.below(bytes.len() + 1);
    let most = if rng.one_in(8) { bytes.len() } else { longest };
    let end = (start + rng.below(most + 1)).min(bytes.len());
    (start, end)
}

fn insert_at(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.splice(at..at, inserted.iter().copied());
}

fn duplicate_span(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    let (start, end) = random_span(bytes, 30, rng);
    let copy = bytes[start..end].to_vec();
    let at = if rng.chance(50) { end } else { rng.below(bytes.len() + 1) };
    insert_at(bytes, at, &copy);
}

/// The head of one record and the tail of the other, or a piece of it.
fn splice_records(bytes: &mut Vec<u8>, other: &[u8], rng: &mut TestRng) {
    if rng.chance(50) {
        bytes.truncate(rng.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[rng.below(other.len() + 1)..]);
    } else {
        let (start, end) = random_span(other, 60, rng);
        insert_at(bytes, rng.below(bytes.len() + 1), &other[start..end]);
    }
}

fn insert_snippet(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    let at = rng.below(bytes.len() + 1);
    if rng.chance(70) {
        let snippet = SNIPPETS[rng.below(SNIPPETS.len())];
        insert_at(bytes, at, snippet);
    } else {
        bytes.insert(at, u8::try_from(rng.below(256)).unwrap());
    }
}

/// Writes a letter of a key or value as an escape: the meaning stays.
fn escape_character(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    let at = find_byte(bytes, rng, |byte| byte.is_ascii_alphanumeric());
    if let Some(at) = at {
        let escape = match rng.below(6) {
            0 => format!("\\{}", char::from(bytes[at])),
            1 => format!("\\U{:04x}", bytes[at]),
            2 => format!("\\u{:04X}", bytes[at]),
            _ => format!("\\u{:04x}", bytes[at]),
        };
        bytes.splice(at..=at, escape.into_bytes());
    }
}

/// Some place where a byte is as wanted, the first after any.
fn find_byte(bytes: &[u8], rng: &mut TestRng, wanted: fn(u8) -> bool) -> Option<usize> {
    let from = rng.below(bytes.len());
    let rest = bytes.get(from..)?.iter();
    let found = rest.clone().position(|&byte| wanted(byte))?;
    Some(from + found)
}

/// Where some member's value begins and, if it is no container, ends.
fn member_value_span(bytes: &[u8], rng: &mut TestRng) -> Option<(usize, usize)> {
    let start = find_byte(bytes, rng, |byte| byte == b':')? + 1;
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| b",}".contains(byte))?;
    Some((start, start + end))
}

fn nest_value(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    let Some((start, end)) = member_value_span(bytes, rng) else {
        return;
    };
    let levels = *rng.pick(&[1, 1, 2, 61, 63, 70]);
    let (open, close) = *rng.pick(&[("[", "]"), ("{\"a\":", "}")]);
    insert_at(bytes, end, close.repeat(levels).as_bytes());
    insert_at(bytes, start, open.repeat(levels).as_bytes());
}

fn replace_value(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    if let Some((start, end)) = member_value_span(bytes, rng) {
        bytes.splice(start..end, rng.pick(&REPLACEMENT_VALUES).iter().copied());
    }
}

/// Has a member stand twice, or a comma away from where it was.
fn duplicate_member(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    let Some(start) = find_byte(bytes, rng, |byte| byte == b',') else {
        return;
    };
    let rest = &bytes[start + 1..];
    let Some(end) = rest.iter().position(|byte| b",}".contains(byte)) else {
        return;
    };
    let member = bytes[start..=start + end].to_vec();
    if rng.chance(30) {
        bytes.drain(start..=start + end);
    }
    if let Some(at) = find_byte(bytes, rng, |byte| b",}".contains(&byte)) {
        insert_at(bytes, at, &member);
    }
}

fn insert_whitespace(bytes: &mut Vec<u8>, rng: &mut TestRng) {
    if let Some(at) = find_byte(bytes, rng, |byte| b"{}[],:".contains(&byte)) {
        let space = rng.pick_str(&[" ", "\n", "\t\t", "\r\n      ", "\u{a0}", "\u{c}"]);
        insert_at(bytes, at + rng.below(2), space.as_bytes());
    }
}

/// Two spans change places.
fn swap_spans(bytes: &mut [u8], rng: &mut TestRng) {
    let half = bytes.len() / 2;
    let length = rng.below(20).min(half);
    let one = rng.below(half + 1 - length);
    let other = half + rng.below(bytes.len() - half + 1 - length);
    let (front, back) = bytes.split_at_mut(half);
    front[one..one + length].swap_with_slice(&mut back[other - half..other - half + length]);
}
