//! Outputs as an order to collect direct debits: `pain.008.001.08`, as the European Payments
//! Council has it for SEPA Core, recurring.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::profile::ExportProfile;
use super::record::{ExportError, ExportRecord};
use crate::config::settings::SepaCreditor;
use crate::policy::form::{SEPA_NAME_MAX, TextFormat, is_sepa_char, is_sepa_id};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.008.001.08";
const CURRENCY: &str = "EUR";
/// The most that one debit may collect.
const CENTS_MAX: i64 = 99_999_999_999;
/// The fields that an output must have, in the order of [`DebitFields`].
const FIELDS: [&str; 8] = [
    "mandate_id",
    "mandate_signed_on",
    "account_holder",
    "iban",
    "amount_cents",
    "currency",
    "due_on",
    "end_to_end_id",
];
/// Letters that do not come apart into a Latin letter and marks.
const TRANSLITERATIONS: [(char, &str); 16] = [
    ('Æ', "AE"),
    ('æ', "ae"),
    ('Œ', "OE"),
    ('œ', "oe"),
    ('Ø', "O"),
    ('ø', "o"),
    ('ß', "ss"),
    ('Đ', "D"),
    ('đ', "d"),
    ('Ł', "L"),
    ('ł', "l"),
    ('Þ', "TH"),
    ('þ', "th"),
    ('ı', "i"),
    ('’', "'"),
    ('&', "+"),
];
/// Stands for a letter of another script.
const OTHER_LETTER: char = '?';

/// Where the fields of a debit are in a profile.
#[derive(Clone, Copy, Debug)]
pub struct DebitFields([usize; FIELDS.len()]);

impl DebitFields {
    /// Finds the fields.
    ///
    /// # Errors
    ///
    /// The recipient's outputs are no direct debits.
    pub fn find(profile: &ExportProfile) -> Result<DebitFields, ExportError> {
        let mut found = [0; FIELDS.len()];
        for (index, name) in found.iter_mut().zip(FIELDS) {
            *index = profile.position(name).ok_or_else(|| {
                let recipient = &profile.recipient;
                ExportError::NotPossible(format!(
                    "{recipient} has no direct debits: its outputs have no `{name}`"
                ))
            })?;
        }
        Ok(DebitFields(found))
    }
}

/// One debit, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Debit {
    end_to_end_id: String,
    cents: i64,
    mandate_id: String,
    signed_on: String,
    holder: String,
    iban: String,
}

/// Who orders, and when.
#[derive(Clone, Copy, Debug)]
pub struct OrderHead<'a> {
    pub creditor: &'a SepaCreditor,
    /// `YYYY-MM-DDThh:mm:ss`.
    pub created: &'a str,
}

/// Writes an order with a group of debits for each day on which some are due.
///
/// # Errors
///
/// No debits, some that cannot be collected, with the fields that are to blame, or those of
/// `out`.
pub fn write_pain008<'a>(
    fields: DebitFields,
    records: impl Iterator<Item = &'a ExportRecord>,
    head: OrderHead<'_>,
    out: &mut impl Write,
) -> Result<(), OrderError> {
    let groups = group_debits(fields, records)?;
    Ok(OrderWriter(Writer::new_with_indent(out, b' ', 2)).write_order(head, &groups)?)
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("failed to write the order: {0}")]
    Io(#[from] io::Error),
}

type DebitsByDay = BTreeMap<String, Vec<Debit>>;

fn group_debits<'a>(
    fields: DebitFields,
    records: impl Iterator<Item = &'a ExportRecord>,
) -> Result<DebitsByDay, ExportError> {
    let mut groups = DebitsByDay::new();
    let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut count, mut refused) = (0, 0);
    for record in records {
        count += 1;
        match read_debit(fields, record) {
            Ok((due_on, debit)) => groups.entry(due_on).or_default().push(debit),
            Err(field) => {
                refused += 1;
                *wrong.entry(field).or_default() += 1;
            }
        }
    }
    if count == 0 {
        let text = "there is nothing to collect, and an order must have a debit";
        return Err(ExportError::NotPossible(text.to_owned()));
    }
    if refused > 0 {
        let fields: Vec<String> =
            wrong.iter().map(|(field, count)| format!("`{field}` of {count}")).collect();
        return Err(ExportError::NotPossible(format!(
            "{refused} of {count} outputs cannot be collected, and nothing was written: missing, \
             or not as SEPA wants it: {}; correct them in the library system, and run again",
            fields.join(", ")
        )));
    }
    Ok(groups)
}

/// Returns a debit and its day, or the first field that is missing or wrong.
fn read_debit(fields: DebitFields, record: &ExportRecord) -> Result<(String, Debit), &'static str> {
    let [mandate, signed_on, holder, iban, amount, currency, due_on, end_to_end] = FIELDS;
    let text = |name: &'static str| {
        let place = FIELDS.iter().position(|field| *field == name).ok_or(name)?;
        record.single(fields.0[place]).ok_or(name)
    };
    let checked = |name: &'static str, is_valid: &dyn Fn(&str) -> bool| {
        text(name).and_then(|text| if is_valid(text) { Ok(text.to_owned()) } else { Err(name) })
    };
    let cents: i64 = text(amount)?.parse().map_err(|_| amount)?;
    if !(1..=CENTS_MAX).contains(&cents) {
        return Err(amount);
    }
    checked(currency, &|text| text == CURRENCY)?;
    let holder_name = sepa_name(text(holder)?);
    if holder_name.is_empty() {
        return Err(holder);
    }
    let account = checked(iban, &|text| TextFormat::Iban.matches(text))?;
    let debit = Debit {
        end_to_end_id: checked(end_to_end, &is_sepa_id)?,
        cents,
        mandate_id: checked(mandate, &is_sepa_id)?,
        signed_on: checked(signed_on, &|text| TextFormat::Date.matches(text))?,
        holder: holder_name,
        iban: account.replace([' ', '.', '-'], ""),
    };
    Ok((checked(due_on, &|text| TextFormat::Date.matches(text))?, debit))
}

/// Returns a name in SEPA's characters: letters without their accents, `?` for a letter of
/// another script, 70 characters at most.
fn sepa_name(name: &str) -> String {
    let mut plain = String::new();
    for c in name.nfkd().filter(|c| !is_combining_mark(*c)) {
        match TRANSLITERATIONS.iter().find(|(letter, _)| *letter == c) {
            Some((_, latin)) => plain.push_str(latin),
            None if is_sepa_char(c) => plain.push(c),
            None if c.is_alphanumeric() => plain.push(OTHER_LETTER),
            None => plain.push(' '),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(SEPA_NAME_MAX).collect();
    name.trim_end().to_owned()
}

fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn sum(debits: &[Debit]) -> i64 {
    debits.iter().map(|debit| debit.cents).sum()
}

/// Writes elements by their names.
struct OrderWriter<W>(Writer<W>);

impl<W: Write> OrderWriter<W> {
    fn write_order(&mut self, head: OrderHead<'_>, groups: &DebitsByDay) -> io::Result<()> {
        let digits: String = head.created.chars().filter(char::is_ascii_digit).collect();
        let message_id = format!("ZEEF-{digits}");
        let count: usize = groups.values().map(Vec::len).sum();
        let total: i64 = groups.values().map(|debits| sum(debits)).sum();
        self.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let root = BytesStart::new("Document").with_attributes([("xmlns", NAMESPACE)]);
        self.0.write_event(Event::Start(root))?;
        self.within("CstmrDrctDbtInitn", |order| {
            order.within("GrpHdr", |header| {
                header.leaf("MsgId", &message_id)?;
                header.leaf("CreDtTm", head.created)?;
                header.leaf("NbOfTxs", &count.to_string())?;
                header.leaf("CtrlSum", &decimal(total))?;
                header.nested(&["InitgPty"], "Nm", &head.creditor.name)
            })?;
            for (index, (due_on, debits)) in groups.iter().enumerate() {
                let id = format!("{message_id}-{}", index + 1);
                order.within("PmtInf", |group| {
                    group.write_group_head((&id, due_on), debits, head.creditor)?;
                    debits.iter().try_for_each(|debit| group.write_debit(debit, head.creditor))
                })?;
            }
            Ok(())
        })?;
        self.0.write_event(Event::End(BytesEnd::new("Document")))?;
        self.0.get_mut().write_all(b"\n")
    }

    fn write_group_head(
        &mut self,
        (id, due_on): (&str, &str),
        debits: &[Debit],
        creditor: &SepaCreditor,
    ) -> io::Result<()> {
        self.leaf("PmtInfId", id)?;
        self.leaf("PmtMtd", "DD")?;
        self.leaf("NbOfTxs", &debits.len().to_string())?;
        self.leaf("CtrlSum", &decimal(sum(debits)))?;
        self.within("PmtTpInf", |kind| {
            kind.nested(&["SvcLvl"], "Cd", "SEPA")?;
            kind.nested(&["LclInstrm"], "Cd", "CORE")?;
            kind.leaf("SeqTp", "RCUR")
        })?;
        self.leaf("ReqdColltnDt", due_on)?;
        self.nested(&["Cdtr"], "Nm", &creditor.name)?;
        self.nested(&["CdtrAcct", "Id"], "IBAN", &creditor.iban)?;
        match &creditor.bic {
            Some(bic) => self.nested(&["CdtrAgt", "FinInstnId"], "BICFI", bic)?,
            None => self.write_unnamed_agent("CdtrAgt")?,
        }
        self.leaf("ChrgBr", "SLEV")?;
        self.within("CdtrSchmeId", |scheme| {
            scheme.within("Id", |id| {
                id.within("PrvtId", |private| {
                    private.within("Othr", |other| {
                        other.leaf("Id", &creditor.creditor_id)?;
                        other.nested(&["SchmeNm"], "Prtry", "SEPA")
                    })
                })
            })
        })
    }

    fn write_debit(&mut self, debit: &Debit, creditor: &SepaCreditor) -> io::Result<()> {
        self.within("DrctDbtTxInf", |transaction| {
            transaction.nested(&["PmtId"], "EndToEndId", &debit.end_to_end_id)?;
            let amount = BytesStart::new("InstdAmt").with_attributes([("Ccy", CURRENCY)]);
            transaction.write_text(amount, &decimal(debit.cents))?;
            transaction.within("DrctDbtTx", |mandate| {
                mandate.within("MndtRltdInf", |related| {
                    related.leaf("MndtId", &debit.mandate_id)?;
                    related.leaf("DtOfSgntr", &debit.signed_on)
                })
            })?;
            // The debtor's bank is found by the IBAN.
            transaction.write_unnamed_agent("DbtrAgt")?;
            transaction.nested(&["Dbtr"], "Nm", &debit.holder)?;
            transaction.nested(&["DbtrAcct", "Id"], "IBAN", &debit.iban)?;
            transaction.nested(&["RmtInf"], "Ustrd", &creditor.description)
        })
    }

    fn write_unnamed_agent(&mut self, name: &str) -> io::Result<()> {
        self.nested(&[name, "FinInstnId", "Othr"], "Id", "NOTPROVIDED")
    }

    fn within(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0.write_event(Event::Start(BytesStart::new(name)))?;
        write(self)?;
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    fn leaf(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.write_text(BytesStart::new(name), text)
    }

    /// Writes a leaf within elements that hold nothing else.
    fn nested(&mut self, outer: &[&str], name: &str, text: &str) -> io::Result<()> {
        for one in outer {
            self.0.write_event(Event::Start(BytesStart::new(*one)))?;
        }
        self.leaf(name, text)?;
        for one in outer.iter().rev() {
            self.0.write_event(Event::End(BytesEnd::new(*one)))?;
        }
        Ok(())
    }

    fn write_text(&mut self, start: BytesStart<'_>, text: &str) -> io::Result<()> {
        let end = start.to_end().into_owned();
        self.0.write_event(Event::Start(start))?;
        self.0.write_event(Event::Text(BytesText::new(text)))?;
        self.0.write_event(Event::End(end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::{ExportField, FieldShape, ValueType};
    use super::super::record::FieldValue;
    use super::*;

    const DEBIT: [&str; 8] = [
        "M-100",
        "2024-02-29",
        "IJ.M. van der Berg",
        "NL91 ABNA 0417 1643 00",
        "4950",
        "EUR",
        "2026-12-01",
        "0123456789abcdef0123456789abcdef",
    ];

    fn creditor() -> SepaCreditor {
        SepaCreditor {
            name: "Bibliotheek Voorbeeld".to_owned(),
            creditor_id: "DE98ZZZ09999999999".to_owned(),
            iban: "NL91ABNA0417164300".to_owned(),
            bic: None,
            description: "Contributie".to_owned(),
        }
    }

    fn fields() -> DebitFields {
        let field = |name: &str| ExportField {
            name: name.to_owned(),
            shape: FieldShape::Leaf(ValueType::Text),
        };
        let fields = FIELDS.iter().rev().map(|name| field(name)).collect();
        DebitFields::find(&ExportProfile { recipient: "test".to_owned(), fields }).unwrap()
    }

    /// A debit with some values replaced; an empty one is missing.
    fn debit(changes: &[(&str, &str)]) -> ExportRecord {
        let value = |(name, usual): (&&str, &str)| {
            let change = changes.iter().find(|(changed, _)| changed == name);
            match change.map_or(usual, |(_, value)| value) {
                "" => FieldValue::Missing,
                text => FieldValue::Single(text.to_owned()),
            }
        };
        let mut values: Vec<FieldValue> = FIELDS.iter().zip(DEBIT).map(value).collect();
        values.reverse();
        ExportRecord { values }
    }

    fn order(records: &[ExportRecord]) -> Result<String, OrderError> {
        let creditor = creditor();
        let head = OrderHead { creditor: &creditor, created: "2026-11-30T12:34:56" };
        let mut out = Vec::new();
        write_pain008(fields(), records.iter(), head, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn order_has_a_group_per_day_and_sums() {
        let records = [
            debit(&[]),
            debit(&[("due_on", "2026-12-15"), ("amount_cents", "5")]),
            debit(&[("amount_cents", "100000")]),
        ];
        let text = order(&records).unwrap();
        let flat: String = text.split("\n").map(str::trim).collect();
        for want in [
            "<MsgId>ZEEF-20261130123456</MsgId><CreDtTm>2026-11-30T12:34:56</CreDtTm>\
             <NbOfTxs>3</NbOfTxs><CtrlSum>1049.55</CtrlSum>",
            "<PmtInfId>ZEEF-20261130123456-1</PmtInfId><PmtMtd>DD</PmtMtd><NbOfTxs>2</NbOfTxs>\
             <CtrlSum>1049.50</CtrlSum>",
            "<SeqTp>RCUR</SeqTp></PmtTpInf><ReqdColltnDt>2026-12-01</ReqdColltnDt>",
            "<PmtInfId>ZEEF-20261130123456-2</PmtInfId><PmtMtd>DD</PmtMtd><NbOfTxs>1</NbOfTxs>\
             <CtrlSum>0.05</CtrlSum>",
            "<InstdAmt Ccy=\"EUR\">49.50</InstdAmt><DrctDbtTx><MndtRltdInf><MndtId>M-100</MndtId>\
             <DtOfSgntr>2024-02-29</DtOfSgntr></MndtRltdInf></DrctDbtTx>",
            "<DbtrAcct><Id><IBAN>NL91ABNA0417164300</IBAN></Id></DbtrAcct>",
        ] {
            assert!(flat.contains(want), "no {want} in {flat}");
        }
    }

    #[test]
    fn order_is_refused_whole_with_the_field_and_without_its_value() {
        for (field, values) in [
            ("mandate_id", &["", "M_100", "/M", "M-1000000000000000000000000000000000"][..]),
            ("mandate_signed_on", &["", "2023-02-29"]),
            ("account_holder", &["", "\u{301}"]),
            ("iban", &["", "NL92ABNA0417164300"]),
            ("amount_cents", &["", "0", "-5", "1.5", "100000000000"]),
            ("currency", &["", "USD"]),
            ("due_on", &["", "morgen"]),
            ("end_to_end_id", &["", "é"]),
        ] {
            for value in values {
                let records = [debit(&[]), debit(&[(field, value)])];
                let error = order(&records).unwrap_err().to_string();
                let want = "1 of 2 outputs cannot be collected";
                assert!(
                    error.contains(want) && error.contains(&format!("`{field}` of 1")),
                    "{error}"
                );
                assert!(value.len() < 6 || !error.contains(value), "{error}");
            }
        }
        assert!(order(&[]).unwrap_err().to_string().contains("nothing to collect"));
    }

    #[test]
    fn names_are_written_in_sepa_characters() {
        for (name, want) in [
            ("IJ.M. van der Berg", "IJ.M. van der Berg"),
            ("Zoë Ø. Đorđević-Łaß", "Zoe O. Dordevic-Lass"),
            ("e\u{301}A & B <c>", "eA + B c"),
            ("Жук", "???"),
            ("O’Neill\n\u{0}", "O'Neill"),
            ("\u{301}", ""),
        ] {
            assert_eq!(sepa_name(name), want);
        }
        assert_eq!(sepa_name(&"abcd ".repeat(20)).len(), SEPA_NAME_MAX - 1);
        assert!(sepa_name(&"é".repeat(90)).len() == SEPA_NAME_MAX);
    }
}
