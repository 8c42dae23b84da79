//! Dates, amounts and names of fields as a Dutch reader writes them.

use crate::policy::form::parse_written_date;
use crate::policy::recipient::LegalBasis;

const MONTHS: [&str; 12] = [
    "januari",
    "februari",
    "maart",
    "april",
    "mei",
    "juni",
    "juli",
    "augustus",
    "september",
    "oktober",
    "november",
    "december",
];

/// Returns a date, or an instant's date as written, as `30 november 2026`; other text as it
/// is.
pub(super) fn format_date(text: &str) -> String {
    let parts = || {
        parse_written_date(text)?;
        let month: usize = text.get(5..7)?.parse().ok()?;
        let day: u8 = text.get(8..10)?.parse().ok()?;
        let month = MONTHS.get(month.checked_sub(1)?)?;
        Some(format!("{day} {month} {}", text.get(..4)?))
    };
    parts().unwrap_or_else(|| text.to_owned())
}

/// Returns cents as `€ 1.234,50`; other currencies by their code.
pub(super) fn format_amount(cents: i128, currency: &str) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let symbol = if currency == "EUR" { "€" } else { currency };
    let cents = cents.unsigned_abs();
    let digits = (cents / 100).to_string();
    let mut euros = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            euros.push('.');
        }
        euros.push(digit);
    }
    format!("{symbol}\u{a0}{sign}{euros},{:02}", cents % 100)
}

/// Returns a whole number as `1.234`.
pub(super) fn format_count(count: usize) -> String {
    let amount = format_amount(i128::try_from(count).unwrap_or_default() * 100, "");
    amount.trim_start_matches('\u{a0}').trim_end_matches(",00").to_owned()
}

/// Names a page by its number and how many there are.
#[must_use]
pub fn page_label(number: usize, total: usize) -> String {
    format!("pagina {number} van {total}")
}

/// Returns a legal basis with its place in the law.
#[must_use]
pub fn describe_legal_basis(basis: LegalBasis) -> &'static str {
    basis.describe_dutch()
}

/// Dutch headings of the fields that recipients have.
const HEADINGS: &[(&str, &str)] = &[
    ("account_holder", "Rekeninghouder"),
    ("address", "Adres"),
    ("age_band", "Leeftijd"),
    ("amount_cents", "Bedrag"),
    ("amount_due_cents", "Openstaand"),
    ("authority", "Instantie"),
    ("birth_date", "Geboortedatum"),
    ("blocked", "Geblokkeerd"),
    ("branch", "Vestiging"),
    ("card_number", "Pasnummer"),
    ("card_suffix", "Eind pasnummer"),
    ("category", "Categorie"),
    ("channel", "Kanaal"),
    ("city", "Plaats"),
    ("class", "Klas"),
    ("contest_id", "Wedstrijd"),
    ("country", "Land"),
    ("currency", "Valuta"),
    ("date", "Datum"),
    ("debt_id", "Schuldnummer"),
    ("debt_ref", "Schuldnummer"),
    ("decided_by", "Besloten door"),
    ("demand_id", "Vordering"),
    ("description", "Omschrijving"),
    ("display_name", "Naam"),
    ("due_on", "Vervaldatum"),
    ("email", "E-mail"),
    ("end_to_end_id", "Kenmerk"),
    ("expires_on", "Tot en met"),
    ("gender", "Geslacht"),
    ("holds_ready", "Klaar om af te halen"),
    ("home_branch", "Vestiging"),
    ("iban", "IBAN"),
    ("initial", "Voorletter"),
    ("initials", "Voorletters"),
    ("interests", "Interesses"),
    ("invoiced_at", "Factuur"),
    ("items", "Posten"),
    ("kind", "Soort"),
    ("language", "Taal"),
    ("law_article", "Wetsartikel"),
    ("library", "Bibliotheek"),
    ("loaned_at", "Geleend op"),
    ("loaned_month", "Maand"),
    ("loans", "Leningen"),
    ("mandate_id", "Machtiging"),
    ("mandate_signed_on", "Machtiging van"),
    ("material", "Materiaal"),
    ("member_ref", "Lid"),
    ("membership_id", "Lidnummer"),
    ("membership_status", "Status"),
    ("membership_type", "Abonnement"),
    ("month", "Maand"),
    ("name", "Naam"),
    ("needed_by", "Nodig op"),
    ("number_of_fields", "Aantal velden"),
    ("organisation", "Organisatie"),
    ("outcome", "Uitkomst"),
    ("phone", "Telefoon"),
    ("pickup_branch", "Afhalen bij"),
    ("place", "Plaats"),
    ("postcode", "Postcode"),
    ("postcode_area", "Postcodegebied"),
    ("referred_at", "Overgedragen op"),
    ("reminded_at", "Aanmaning"),
    ("renewals", "Verlengingen"),
    ("request_id", "Aanvraag"),
    ("rijksregisternummer", "Rijksregisternummer"),
    ("salutation", "Aanhef"),
    ("shelf_mark", "Kastletters"),
    ("slip", "Bon"),
    ("status", "Status"),
    ("surname", "Achternaam"),
    ("surname_prefix", "Tussenvoegsel"),
    ("title", "Titel"),
    ("valid_from", "Geldig van"),
    ("valid_until", "Geldig tot"),
];

/// Returns the heading of a field: from the table, or its name in words.
pub(super) fn heading(name: &str) -> String {
    if let Ok(index) = HEADINGS.binary_search_by_key(&name, |(known, _)| known) {
        return HEADINGS[index].1.to_owned();
    }
    let words = name.trim_end_matches("_cents").replace('_', " ");
    let mut chars = words.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_out_in_dutch() {
        assert_eq!(format_date("2026-11-30"), "30 november 2026");
        assert_eq!(format_date("2025-10-01T08:00:00+02:00"), "1 oktober 2025");
        assert_eq!(format_date("2025-13-01"), "2025-13-01");
        assert_eq!(format_date("vandaag"), "vandaag");
    }

    #[test]
    fn amounts_have_points_and_a_comma() {
        for (cents, want) in [
            (0, "€\u{a0}0,00"),
            (5, "€\u{a0}0,05"),
            (123_450, "€\u{a0}1.234,50"),
            (100_000_000, "€\u{a0}1.000.000,00"),
            (-99_999, "€\u{a0}-999,99"),
        ] {
            assert_eq!(format_amount(cents, "EUR"), want);
        }
        assert_eq!(format_amount(123_450, "USD"), "USD\u{a0}1.234,50");
        assert_eq!(format_count(10_000), "10.000");
        assert_eq!(format_count(999), "999");
    }

    #[test]
    fn headings_are_sorted_and_others_are_made_of_names() {
        assert!(HEADINGS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(heading("birth_date"), "Geboortedatum");
        assert_eq!(heading("late_fee_cents"), "Late fee");
    }
}
