//! The pages, read back by another tool.

use super::super::profile::{ExportField, FieldShape, LeafField, ValueType};
use super::super::record::read_record;
use super::*;

fn profile() -> ExportProfile {
    let leaf = |name: &str, value_type| LeafField { name: name.to_owned(), value_type };
    let field = |name: &str, shape| ExportField { name: name.to_owned(), shape };
    let text = || FieldShape::Leaf(ValueType::Text);
    let address = ["street", "house_number", "house_number_suffix", "postcode", "city", "country"];
    ExportProfile {
        recipient: "deurwaarder".to_owned(),
        fields: vec![
            field("name", text()),
            field("birth_date", FieldShape::Leaf(ValueType::Date)),
            field(
                "address",
                FieldShape::Object(address.map(|name| leaf(name, ValueType::Text)).to_vec()),
            ),
            field("email", text()),
            field("phone", text()),
            field("card_number", text()),
            field("debt_id", text()),
            field("kind", text()),
            field(
                "items",
                FieldShape::ObjectList(vec![
                    leaf("title", ValueType::Text),
                    leaf("due_on", ValueType::Date),
                    leaf("amount_cents", ValueType::Amount),
                ]),
            ),
            field("amount_cents", FieldShape::Leaf(ValueType::Amount)),
            field("currency", text()),
            field("referred_at", FieldShape::Leaf(ValueType::Instant)),
        ],
    }
}

fn heading() -> PdfHeading {
    PdfHeading {
        title: "Deurwaarderslijst voor de financiële dienst".to_owned(),
        library: Some("NL-AmrBKW".to_owned()),
        date: "2026-11-30".to_owned(),
        legal_basis: "uitvoering van een overeenkomst (art. 6 lid 1 onder b AVG)".to_owned(),
        purpose: "Een openstaande schuld laten innen".to_owned(),
        controller: "Bibliotheek Voorbeeld".to_owned(),
    }
}

const NAMES: [&str; 9] = [
    "IJ.M. van der Berg",
    "Ж. Жуковски-Đorđević",
    "张伟 (Zhang Wei)",
    "김민준",
    "محمد عبد الله",
    "דוד לוי",
    "N. Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh van Cholmondeley",
    "e\u{301}. Ame\u{301}lie q\u{301}",
    "Ş. Öztürk ỹ",
];

fn record(profile: &ExportProfile, number: usize) -> ExportRecord {
    let name = NAMES[number % NAMES.len()];
    let items = (0..=number % 3).map(|item| {
        format!(
            r#"{{"title":"Het boek van de zee, deel {item}","due_on":"2025-06-0{}","amount_cents":{}}}"#,
            item + 1,
            250 + number
        )
    });
    let items: Vec<String> = items.collect();
    let json = format!(
        r#"{{"name":"{name}","birth_date":"1985-07-30","address":{{"street":"Dorpsstraat",
        "house_number":{number},"house_number_suffix":"bis","postcode":"1811 AB",
        "city":"Alkmaar","country":"NL"}},"email":"ij.vanderberg{number}@bibliotheek.example.org",
        "phone":"06-00000000","card_number":"20013004567890","debt_id":"d-{number}","kind":"late",
        "items":[{}],"amount_cents":{},"currency":"EUR",
        "referred_at":"2025-10-01T08:00:00+02:00"}}"#,
        items.join(","),
        123_450 + number
    );
    read_record(profile, number, json.as_bytes()).unwrap()
}

fn render(count: usize) -> Vec<u8> {
    let profile = profile();
    let records: Vec<ExportRecord> = (0..count).map(|number| record(&profile, number)).collect();
    let records: Vec<&ExportRecord> = records.iter().collect();
    let mut done = 0;
    let pdf = render_pdf(&profile, &heading(), &records, &mut || done += 1).unwrap();
    assert_eq!(done, count);
    pdf
}

/// Returns the text of a PDF as `pdftotext` lays it out; `None` where that is missing, which
/// it may not be in CI.
fn text_of(pdf: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.pdf");
    std::fs::write(&path, pdf).unwrap();
    let done = std::process::Command::new("pdftotext").arg("-layout").arg(&path).arg("-").output();
    let Ok(done) = done else {
        assert!(std::env::var_os("CI").is_none(), "pdftotext is missing");
        return None;
    };
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    // It writes an unbreakable space as a plain one.
    Some(String::from_utf8(done.stdout).unwrap().replace('\u{a0}', " "))
}

#[test]
fn pdf_has_heading_header_page_numbers_and_sums() {
    let Some(text) = text_of(&render(60)) else { return };
    let pages: Vec<&str> = text.trim_end_matches('\u{c}').split('\u{c}').collect();
    assert!(pages.len() > 3, "{}", pages.len());
    for want in [
        "Deurwaarderslijst voor de financiële dienst",
        "NL-AmrBKW",
        "30 november 2026",
        "uitvoering van een overeenkomst (art. 6 lid 1 onder b AVG)",
        "Een openstaande schuld laten innen",
        "Aantal                60",
    ] {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat(pages[0]).contains(&flat(want)), "no {want:?} in {}", pages[0]);
    }
    for (index, page) in pages.iter().enumerate() {
        let number = format!("pagina {} van {}", index + 1, pages.len());
        assert!(page.contains(&number) && page.contains("Geboortedatum"), "{page}");
    }
    // 60 times 1234,50 and the cents of 0 to 59.
    let last = pages[pages.len() - 1];
    assert!(last.contains("Totaal") && last.contains("€ 74.087,70"), "{last}");
    assert_eq!(text.matches("€ 1.23").count(), 60);
    assert!(!text.contains("Valuta"));
}

#[test]
fn pdf_keeps_names_of_any_script() {
    let Some(text) = text_of(&render(9)) else { return };
    for want in ["Жуковски", "Đorđević", "张伟", "김민준", "Ş. Öztürk", "Amélie"]
    {
        assert!(text.contains(want), "no {want} in {text}");
    }
    // Wrapped, and whole.
    let flat: String = text.split_whitespace().collect();
    assert!(!text.contains('\u{fffd}'), "{text}");
    assert!(flat.contains("Wolfeschlegel"), "{flat}");
}

#[test]
fn pdf_row_longer_than_a_page_goes_on_and_no_row_is_fine() {
    let profile = profile();
    let items: Vec<String> =
        (0..200).map(|item| format!(r#"{{"title":"Deel {item}","amount_cents":5}}"#)).collect();
    let json = format!(r#"{{"name":"A","items":[{}],"amount_cents":-5}}"#, items.join(","));
    let long = read_record(&profile, 1, json.as_bytes()).unwrap();
    let pdf = render_pdf(&profile, &heading(), &[&long], &mut || {}).unwrap();
    if let Some(text) = text_of(&pdf) {
        for item in 0..200 {
            assert!(text.contains(&format!("Deel {item}, € 0,05")), "{item} in {text}");
        }
        assert!(text.matches("pagina ").count() > 3);
    }
    if let Some(text) = text_of(&render(0)) {
        assert!(text.contains("Geen gegevens.") && !text.contains("Totaal"), "{text}");
    }
}

#[test]
fn pdf_amounts_of_two_currencies_have_two_sums() {
    let profile = profile();
    let record = |currency: &str, cents: i64| {
        let json = format!(r#"{{"name":"A","amount_cents":{cents},"currency":"{currency}"}}"#);
        read_record(&profile, 1, json.as_bytes()).unwrap()
    };
    let records = [record("EUR", 100), record("USD", 200), record("EUR", 300)];
    let records: Vec<&ExportRecord> = records.iter().collect();
    let pdf = render_pdf(&profile, &heading(), &records, &mut || {}).unwrap();
    let Some(text) = text_of(&pdf) else { return };
    assert!(text.contains("€ 4,00") && text.contains("USD 2,00"), "{text}");
}

/// Returns the text of a page with one record: a title, and what stands beside it.
fn text_beside(title: &str) -> Option<String> {
    let profile = profile();
    let item = format!(r#"{{"title":"{title}","due_on":"2026-01-12","amount_cents":34}}"#);
    let json = format!(
        r#"{{"name":"A","address":{{"street":"{title}","house_number":"17"}},"items":[{item}]}}"#
    );
    let record = read_record(&profile, 1, json.as_bytes()).unwrap();
    text_of(&render_pdf(&profile, &heading(), &[&record], &mut || {}).unwrap())
}

/// A title could otherwise show another amount, or another day.
#[test]
fn pdf_value_turns_nothing_beside_it() {
    let titles = [
        "\u{202e}kwaad",
        "\u{2067}kwaad",
        "\u{202b}kwaad",
        "שלום עולם",
        "محمد الفارسي",
        "٣٤",
        "a\u{200f}",
    ];
    for title in titles {
        let Some(text) = text_beside(title) else { return };
        assert!(text.contains("12 januari 2026, € 0,34"), "{title:?}: {text}");
        assert!(text.contains("17"), "{title:?}: {text}");
    }
}

#[test]
fn pdf_shows_what_no_font_has_as_replacement() {
    for (title, want) in
        [("नमस्ते", "\u{fffd}"), ("ไทย", "\u{fffd}"), ("\u{1f469}\u{200d}", "\u{fffd}")]
    {
        let Some(text) = text_beside(title) else { return };
        assert!(text.contains(want), "{title}: {text}");
    }
    // Marks that are never shown are not.
    let Some(text) = text_beside("a\u{fe0f}b\u{200b}c\u{2060}d") else { return };
    assert!(!text.contains('\u{fffd}'), "{text}");
}
