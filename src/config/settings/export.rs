//! `[export]`: who collects direct debits.

use super::read_section;
use crate::config::document::TomlTable;
use crate::policy::form::{
    SEPA_NAME_MAX, SEPA_REMITTANCE_MAX, TextFormat, is_bic, is_creditor_id, is_sepa_text,
};

/// What `zeef export` needs beside outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportSettings {
    /// `None` if nobody collects.
    pub sepa: Option<SepaCreditor>,
}

/// Who collects direct debits, and to which account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SepaCreditor {
    pub name: String,
    /// As the bank gave it out.
    pub creditor_id: String,
    /// Without spaces.
    pub iban: String,
    /// `None` if the bank finds it by the IBAN.
    pub bic: Option<String>,
    /// What payers read on their statement.
    pub description: String,
}

/// A text of the table: its key, check, and what is expected.
struct SepaText(&'static str, fn(&str) -> bool, &'static str);

const NAME: SepaText = SepaText(
    "creditor_name",
    |text| is_sepa_text(text, SEPA_NAME_MAX),
    "who collects, in SEPA's characters (letters without accents, digits, / - ? : ( ) . , ' +), 70 at most",
);
const CREDITOR_ID: SepaText = SepaText(
    "creditor_id",
    is_creditor_id,
    "the creditor identifier that the bank gave out, with right check digits, as DE98ZZZ09999999999",
);
const IBAN: SepaText = SepaText(
    "iban",
    |text| !text.contains([' ', '.', '-']) && TextFormat::Iban.matches(text),
    "the account that is paid to: an IBAN without spaces, with right check digits",
);
const BIC: SepaText = SepaText("bic", is_bic, "the bank's BIC, of 8 or 11 characters");
const DESCRIPTION: SepaText = SepaText(
    "description",
    |text| is_sepa_text(text, SEPA_REMITTANCE_MAX),
    "what payers read on their statement, in SEPA's characters, 140 at most",
);

pub(super) fn read_export(root: &TomlTable<'_>) -> ExportSettings {
    const TITLE: &str = "what exports need beside outputs";
    read_section(root, "export", TITLE, |table, export: &mut ExportSettings| {
        if let Some(sepa) = table.table("sepa", "who collects direct debits") {
            export.sepa = Some(read_creditor(&sepa));
            sepa.finish();
        }
    })
}

fn read_creditor(table: &TomlTable<'_>) -> SepaCreditor {
    let read = |SepaText(key, is_valid, expected): &SepaText| {
        let at = table.string(key, expected)?;
        if !is_valid(&at.value) {
            table.report_mistake(at.line, format!("`{key}` is \"{}\"", at.value), *expected);
        }
        Some(at.value)
    };
    let required = |text: &SepaText| {
        table.require_key(text.0, text.2, None);
        read(text).unwrap_or_default()
    };
    SepaCreditor {
        name: required(&NAME),
        creditor_id: required(&CREDITOR_ID),
        iban: required(&IBAN),
        bic: read(&BIC),
        description: required(&DESCRIPTION),
    }
}
