//! The operation of an upstream that sent a message, as the header `traceparent` of W3C Trace
//! Context names it.

/// The name of the header, and of the member of a line in a directory.
pub const TRACE_PARENT: &str = "traceparent";

/// What a message says of the operation that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceParent {
    Operation(ForeignOperation),
    /// It cannot be read, or there is more than one: it counts for nothing.
    Unusable,
}

/// An operation of another program. Neither of its ids is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignOperation {
    pub trace: u128,
    pub operation: u64,
}

/// The length of `00-TRACE-PARENT-FLAGS`.
const LENGTH: usize = 55;

impl TraceParent {
    /// Reads the value of a header. A version that is not known yet is read as far as version 00
    /// goes, as W3C says.
    #[must_use]
    pub fn parse(value: &[u8]) -> TraceParent {
        match parse_operation(value) {
            Some(operation) => TraceParent::Operation(operation),
            None => TraceParent::Unusable,
        }
    }
}

fn parse_operation(value: &[u8]) -> Option<ForeignOperation> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let is_dash = |at: usize| known.get(at) == Some(&b'-');
    if !is_dash(2) || !is_dash(35) || !is_dash(52) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| parse_hex(known.get(range)?);
    match number(0..2)? {
        0 if !rest.is_empty() => return None,
        0xff => return None,
        _ if !rest.is_empty() && rest.first() != Some(&b'-') => return None,
        _ => {}
    }
    number(53..55)?;
    let trace = number(3..35)?;
    let operation = u64::try_from(number(36..52)?).ok()?;
    (trace != 0 && operation != 0).then_some(ForeignOperation { trace, operation })
}

/// Reads up to 32 lower-case hexadecimal digits; `None` if one is none.
fn parse_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OPERATION: ForeignOperation = ForeignOperation {
        trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        operation: 0xb7ad_6b71_6920_3331,
    };

    #[test]
    fn trace_parent_of_version_00_and_of_later_ones_is_read() {
        for value in [
            GIVEN.to_owned(),
            GIVEN.replace("-01", "-ff"),
            GIVEN.replacen("00", "01", 1),
            GIVEN.replacen("00", "fe", 1) + "-more",
            GIVEN.replacen("00", "cc", 1) + "-",
        ] {
            let found = TraceParent::parse(value.as_bytes());
            assert_eq!(found, TraceParent::Operation(OPERATION), "{value}");
        }
    }

    #[test]
    fn trace_parent_that_w3c_calls_invalid_is_unusable() {
        for value in [
            String::new(),
            GIVEN[..54].to_owned(),
            format!("{GIVEN}-"),
            format!("{GIVEN}0"),
            format!(" {GIVEN}"),
            GIVEN.replacen("00", "01", 1) + "0",
            GIVEN.replacen("00", "ff", 1),
            GIVEN.replacen("00", "0g", 1),
            GIVEN.to_uppercase(),
            GIVEN.replace('-', "_"),
            GIVEN.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GIVEN.replace("b7ad6b7169203331", &"0".repeat(16)),
            GIVEN.replace("-01", "-0x"),
            GIVEN.replace("0af7", "0Af7"),
            GIVEN.replace("0af7", "+af7"),
            GIVEN.replace("0af7", "é7"),
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()), TraceParent::Unusable, "{value}");
        }
    }

    proptest! {
        #[test]
        fn trace_parent_is_read_as_it_is_written(trace in 1_u128.., operation in 1_u64.., flags: u8) {
            let value = format!("00-{trace:032x}-{operation:016x}-{flags:02x}");
            let want = TraceParent::Operation(ForeignOperation { trace, operation });
            prop_assert_eq!(TraceParent::parse(value.as_bytes()), want);
        }

        #[test]
        fn trace_parent_parse_never_panics(bytes: Vec<u8>, cut in 0_usize..56) {
            let mut value = GIVEN.as_bytes().to_vec();
            value.truncate(cut);
            value.extend(&bytes);
            let _ = TraceParent::parse(&value);
        }
    }
}
