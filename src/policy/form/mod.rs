//! The formats that strings must have: dates, instants, numbers with check digits.
//!
//! A value that does not match its field's format counts as missing; nothing here repairs one,
//! guesses at one, or reads a clock.

mod contact;
mod date;
mod numbers;
mod sepa;
pub(crate) mod simd;

pub use contact::postcode_digits;
use contact::{is_email, is_isil, is_phone};
pub(crate) use contact::{is_email_label_byte, is_email_local_byte, is_postcode_letters};
pub(crate) use date::CivilDate;
pub use date::{Date, Rfc3339Instant, parse_written_date};
use date::{is_date, is_instant};
use numbers::CompactText;
pub(crate) use numbers::{IBAN_LENGTH_MAX, iban_length};
pub use numbers::{is_bsn, is_iban, is_national_number_card, is_rijksregisternummer};
pub(crate) use sepa::{
    SEPA_NAME_MAX, SEPA_REMITTANCE_MAX, is_bic, is_creditor_id, is_sepa_char, is_sepa_id,
    is_sepa_text,
};

/// The format of a string.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum TextFormat {
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339.
    Instant,
    Email,
    /// A telephone number in any grouping.
    Phone,
    /// An international bank account number.
    Iban,
    /// A Dutch citizen service number.
    Bsn,
    /// A Belgian national register number.
    Rijksregisternummer,
    Isil,
    /// An ISO 4217 code.
    Currency,
}

impl TextFormat {
    /// Returns whether the whole value has this format.
    ///
    /// BSN, rijksregisternummer and IBAN may be grouped by single spaces, dots and hyphens
    /// (`85.07.30-033.28`, `NL91 ABNA 0417 1643 00`); the letters of an IBAN are capitals.
    #[must_use]
    #[inline]
    pub fn matches(self, value: &str) -> bool {
        self.matcher()(value.as_bytes())
    }

    #[must_use]
    pub(crate) fn matcher(self) -> fn(&[u8]) -> bool {
        match self {
            TextFormat::Date => is_date,
            TextFormat::Instant => is_instant,
            TextFormat::Email => is_email,
            TextFormat::Phone => is_phone,
            TextFormat::Iban => {
                |value| CompactText::<34>::read(value).is_some_and(|iban| is_iban(iban.as_bytes()))
            }
            TextFormat::Bsn => {
                |value| CompactText::<9>::read(value).is_some_and(|bsn| is_bsn(bsn.as_bytes()))
            }
            TextFormat::Rijksregisternummer => |value| {
                CompactText::<11>::read(value)
                    .is_some_and(|number| is_rijksregisternummer(number.as_bytes()))
            },
            TextFormat::Isil => is_isil,
            TextFormat::Currency => {
                |value| value.len() == 3 && value.iter().all(u8::is_ascii_uppercase)
            }
        }
    }
}

#[cfg(test)]
mod tests;
