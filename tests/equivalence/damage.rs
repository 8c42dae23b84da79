//! What happens to bytes on the way: flips, cuts, doubled and mixed up spans, and
//! changes that leave JSON what it is but for one thing.

use crate::dice::Dice;

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
const VALUES: [&[u8]; 12] = [
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
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..*dice.pick(&[1, 1, 1, 2, 2, 3, 4]) {
        match dice.below(16) {
            0 => flip(bytes, dice),
            1 => {
                let (start, end) = span(bytes, 12, dice);
                bytes.drain(start..end);
            }
            2 if dice.chance(30) => bytes.truncate(dice.below(bytes.len() + 1)),
            3 => double(bytes, dice),
            4 => splice(bytes, other, dice),
            5 | 6 => insert(bytes, dice),
            7 | 8 => escape(bytes, dice),
            9 => nest(bytes, dice),
            10 | 11 => replace_value(bytes, dice),
            12 | 13 => twin(bytes, dice),
            14 => space(bytes, dice),
            _ => trade(bytes, dice),
        }
    }
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    if !bytes.is_empty() {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }
}

/// A span of at most `longest` bytes, or now and then any.
fn span(bytes: &[u8], longest: usize, dice: &mut Dice) -> (usize, usize) {
    let start = dice.below(bytes.len() + 1);
    let most = if dice.once_in(8) {
        bytes.len()
    } else {
        longest
    };
    let end = (start + dice.below(most + 1)).min(bytes.len());
    (start, end)
}

fn put(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.splice(at..at, inserted.iter().copied());
}

fn double(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let (start, end) = span(bytes, 30, dice);
    let copy = bytes[start..end].to_vec();
    let at = if dice.chance(50) {
        end
    } else {
        dice.below(bytes.len() + 1)
    };
    put(bytes, at, &copy);
}

/// The head of one record and the tail of the other, or a piece of it.
fn splice(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    if dice.chance(50) {
        bytes.truncate(dice.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
    } else {
        let (start, end) = span(other, 60, dice);
        put(bytes, dice.below(bytes.len() + 1), &other[start..end]);
    }
}

fn insert(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    if dice.chance(70) {
        let snippet = SNIPPETS[dice.below(SNIPPETS.len())];
        put(bytes, at, snippet);
    } else {
        bytes.insert(at, u8::try_from(dice.below(256)).unwrap());
    }
}

/// Writes a letter of a key or value as an escape: the meaning stays.
fn escape(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = place(bytes, dice, |byte| byte.is_ascii_alphanumeric());
    if let Some(at) = at {
        let escape = match dice.below(6) {
            0 => format!("\\{}", char::from(bytes[at])),
            1 => format!("\\U{:04x}", bytes[at]),
            2 => format!("\\u{:04X}", bytes[at]),
            _ => format!("\\u{:04x}", bytes[at]),
        };
        bytes.splice(at..=at, escape.into_bytes());
    }
}

/// Some place where a byte is as wanted, the first after any.
fn place(bytes: &[u8], dice: &mut Dice, wanted: fn(u8) -> bool) -> Option<usize> {
    let from = dice.below(bytes.len());
    let rest = bytes.get(from..)?.iter();
    let found = rest.clone().position(|&byte| wanted(byte))?;
    Some(from + found)
}

/// Where some member's value begins and, if it is no container, ends.
fn value(bytes: &[u8], dice: &mut Dice) -> Option<(usize, usize)> {
    let start = place(bytes, dice, |byte| byte == b':')? + 1;
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| b",}".contains(byte))?;
    Some((start, start + end))
}

fn nest(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let Some((start, end)) = value(bytes, dice) else {
        return;
    };
    let levels = *dice.pick(&[1, 1, 2, 61, 63, 70]);
    let (open, close) = *dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
    put(bytes, end, close.repeat(levels).as_bytes());
    put(bytes, start, open.repeat(levels).as_bytes());
}

fn replace_value(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if let Some((start, end)) = value(bytes, dice) {
        bytes.splice(start..end, dice.pick(&VALUES).iter().copied());
    }
}

/// Has a member stand twice, or a comma away from where it was.
fn twin(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let Some(start) = place(bytes, dice, |byte| byte == b',') else {
        return;
    };
    let rest = &bytes[start + 1..];
    let Some(end) = rest.iter().position(|byte| b",}".contains(byte)) else {
        return;
    };
    let member = bytes[start..=start + end].to_vec();
    if dice.chance(30) {
        bytes.drain(start..=start + end);
    }
    if let Some(at) = place(bytes, dice, |byte| b",}".contains(&byte)) {
        put(bytes, at, &member);
    }
}

fn space(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if let Some(at) = place(bytes, dice, |byte| b"{}[],:".contains(&byte)) {
        let space = dice.word(&[" ", "\n", "\t\t", "\r\n      ", "\u{a0}", "\u{c}"]);
        put(bytes, at + dice.below(2), space.as_bytes());
    }
}

/// Two spans change places.
fn trade(bytes: &mut [u8], dice: &mut Dice) {
    let half = bytes.len() / 2;
    let length = dice.below(20).min(half);
    let one = dice.below(half + 1 - length);
    let other = half + dice.below(bytes.len() - half + 1 - length);
    let (front, back) = bytes.split_at_mut(half);
    front[one..one + length].swap_with_slice(&mut back[other - half..other - half + length]);
}
