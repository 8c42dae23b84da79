//! An invented library in Koha's tables, and their rows as Debezium's connector for MariaDB
//! writes them: as JSON, and as Avro.

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};
use zeef::json::write;

#[derive(Clone, Copy)]
enum ColumnType {
    Int,
    Long,
    Text,
}

use ColumnType::{Int, Long, Text};

type Columns = &'static [(&'static str, ColumnType)];

/// A table, of which the connector reads some columns.
pub(crate) struct Table {
    pub(crate) topic: &'static str,
    name: &'static str,
    columns: Columns,
}

const BRANCHES: Table = Table {
    topic: "koha.koha_library.branches",
    name: "branches",
    columns: &[("branchcode", Text), ("branchname", Text), ("marcorgcode", Text)],
};

const CATEGORIES: Table = Table {
    topic: "koha.koha_library.categories",
    name: "categories",
    columns: &[
        ("categorycode", Text),
        ("description", Text),
        ("enrolmentfee", Text),
        ("category_type", Text),
    ],
};

const BIBLIO: Table = Table {
    topic: "koha.koha_library.biblio",
    name: "biblio",
    columns: &[("biblionumber", Int), ("author", Text), ("title", Text)],
};

const BIBLIOITEMS: Table = Table {
    topic: "koha.koha_library.biblioitems",
    name: "biblioitems",
    columns: &[("biblioitemnumber", Int), ("biblionumber", Int), ("isbn", Text)],
};

const ITEMS: Table = Table {
    topic: "koha.koha_library.items",
    name: "items",
    columns: &[("itemnumber", Int), ("biblionumber", Int), ("barcode", Text), ("itype", Text)],
};

pub(crate) const BORROWERS: Table = Table {
    topic: "koha.koha_library.borrowers",
    name: "borrowers",
    columns: &[
        ("borrowernumber", Int),
        ("cardnumber", Text),
        ("surname", Text),
        ("firstname", Text),
        ("middle_name", Text),
        ("initials", Text),
        ("streetnumber", Text),
        ("address", Text),
        ("address2", Text),
        ("city", Text),
        ("zipcode", Text),
        ("country", Text),
        ("email", Text),
        ("phone", Text),
        ("mobile", Text),
        ("dateofbirth", Int),
        ("branchcode", Text),
        ("categorycode", Text),
        ("dateenrolled", Int),
        ("dateexpiry", Int),
        ("sex", Text),
        ("smsalertnumber", Text),
        ("privacy", Int),
        ("updated_on", Text),
        ("anonymized", Int),
    ],
};

pub(crate) const ISSUES: Table = Table {
    topic: "koha.issues",
    name: "issues",
    columns: &[
        ("issue_id", Int),
        ("borrowernumber", Int),
        ("itemnumber", Int),
        ("date_due", Long),
        ("branchcode", Text),
        ("returndate", Long),
        ("renewals_count", Int),
        ("timestamp", Text),
        ("issuedate", Long),
    ],
};

/// What stands around a row, behind `before` and `after`.
const SOURCE: Columns = &[
    ("version", Text),
    ("connector", Text),
    ("name", Text),
    ("ts_ms", Long),
    ("snapshot", Text),
    ("db", Text),
    ("sequence", Text),
    ("ts_us", Long),
    ("ts_ns", Long),
    ("table", Text),
    ("server_id", Long),
    ("gtid", Text),
    ("file", Text),
    ("pos", Long),
    ("row", Int),
    ("thread", Long),
    ("query", Text),
];
const ENVELOPE: Columns =
    &[("transaction", Text), ("op", Text), ("ts_ms", Long), ("ts_us", Long), ("ts_ns", Long)];

#[derive(Clone)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
}

fn number(number: impl TryInto<i64>) -> Cell {
    Cell::Number(number.try_into().ok().expect("a small number"))
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// A change of a row.
pub(crate) struct RowChange {
    pub(crate) table: &'static Table,
    before: Option<Vec<Cell>>,
    after: Vec<Cell>,
    operation: &'static str,
}

impl RowChange {
    fn read(table: &'static Table, row: Vec<Cell>) -> RowChange {
        RowChange { table, before: None, after: row, operation: "r" }
    }

    /// The new row, as a snapshot of the connector has it.
    pub(crate) fn into_snapshot(self) -> RowChange {
        RowChange::read(self.table, self.after)
    }

    fn source(&self) -> Vec<Cell> {
        vec![
            text("3.5.0.Final"),
            text("mariadb"),
            text("koha"),
            number(TIME_MS),
            Cell::Null,
            text("koha_library"),
            Cell::Null,
            number(TIME_MS * 1_000),
            number(TIME_MS * 1_000_000),
            text(self.table.name),
            number(1),
            text("0-1-27136"),
            text("mariadb-bin.000010"),
            number(1302),
            number(0),
            Cell::Null,
            Cell::Null,
        ]
    }

    fn envelope(&self) -> Vec<Cell> {
        vec![
            Cell::Null,
            text(self.operation),
            number(TIME_MS + 762),
            number((TIME_MS + 762) * 1_000),
            number((TIME_MS + 762) * 1_000_000),
        ]
    }

    /// The value as `JsonConverter` writes it, without its schema.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut out = b"{\"before\":".to_vec();
        match &self.before {
            Some(row) => write_object(&mut out, self.table.columns, row),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"after\":");
        write_object(&mut out, self.table.columns, &self.after);
        out.extend_from_slice(b",\"source\":");
        write_object(&mut out, SOURCE, &self.source());
        write_members(&mut out, ENVELOPE, &self.envelope());
        out.push(b'}');
        out
    }
}

fn write_object(out: &mut Vec<u8>, columns: Columns, row: &[Cell]) {
    out.push(b'{');
    write_members(out, columns, row);
    out.push(b'}');
}

fn write_members(out: &mut Vec<u8>, columns: Columns, row: &[Cell]) {
    assert_eq!(columns.len(), row.len());
    for ((name, _), cell) in columns.iter().zip(row) {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write::string(out, name);
        out.push(b':');
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Cell::Text(text) => write::string(out, text),
        }
    }
}

/// Writes the rows of a table as `AvroConverter` does.
pub(crate) struct AvroEncoder {
    pub(crate) schema_text: String,
    pub(crate) schema: Schema,
}

impl AvroEncoder {
    pub(crate) fn new(table: &Table) -> AvroEncoder {
        let record = |name: &str, columns| json!({ "type": "record", "name": name, "fields": avro_fields(columns) });
        let mut fields = vec![
            json!({ "name": "before", "type": ["null", record("Value", table.columns)] }),
            json!({ "name": "after", "type": ["null", "Value"] }),
            json!({ "name": "source", "type": record("Source", SOURCE) }),
        ];
        fields.extend(avro_fields(ENVELOPE));
        let schema = json!({
            "type": "record", "name": "Envelope", "namespace": table.topic, "fields": fields,
        });
        let schema_text = schema.to_string();
        let schema = Schema::parse_str(&schema_text).unwrap();
        AvroEncoder { schema_text, schema }
    }

    pub(crate) fn encode(&self, changes: &[RowChange]) -> Vec<Vec<u8>> {
        let writer = GenericDatumWriter::builder(&self.schema).build().unwrap();
        let encode = |change: &RowChange| {
            let columns = change.table.columns;
            let none = AvroValue::Union(0, Box::new(AvroValue::Null));
            let some = |row: &Vec<Cell>| {
                AvroValue::Union(1, Box::new(AvroValue::Record(avro_members(columns, row))))
            };
            let source = AvroValue::Record(avro_members(SOURCE, &change.source()));
            let mut members = vec![
                ("before".to_owned(), change.before.as_ref().map_or(none, some)),
                ("after".to_owned(), some(&change.after)),
                ("source".to_owned(), source),
            ];
            members.extend(avro_members(ENVELOPE, &change.envelope()));
            writer.write_value_to_vec(AvroValue::Record(members)).unwrap()
        };
        changes.iter().map(encode).collect()
    }
}

/// Every column may be null.
fn avro_fields(columns: Columns) -> Vec<Value> {
    let field = |(name, column_type): &(&str, ColumnType)| {
        let word = match column_type {
            Int => "int",
            Long => "long",
            Text => "string",
        };
        json!({ "name": name, "type": ["null", word] })
    };
    columns.iter().map(field).collect()
}

fn avro_members(columns: Columns, row: &[Cell]) -> Vec<(String, AvroValue)> {
    let value = |(cell, column_type): (&Cell, ColumnType)| match (cell, column_type) {
        (Cell::Null, _) => AvroValue::Union(0, Box::new(AvroValue::Null)),
        (Cell::Number(number), Int) => {
            AvroValue::Union(1, Box::new(AvroValue::Int(i32::try_from(*number).unwrap())))
        }
        (Cell::Number(number), _) => AvroValue::Union(1, Box::new(AvroValue::Long(*number))),
        (Cell::Text(text), _) => AvroValue::Union(1, Box::new(AvroValue::String(text.clone()))),
    };
    let members = columns.iter().zip(row);
    members
        .map(|((name, column_type), cell)| ((*name).to_owned(), value((cell, *column_type))))
        .collect()
}

/// 2026-11-29, in milliseconds since 1970, and in days.
const TIME_MS: i64 = 1_795_955_893_000;
const TODAY: u64 = 20_786;
const DAY_MS: u64 = 86_400_000;
/// Items of a title.
const COPIES: u64 = 2;

const BRANCH_CODES: [&str; 4] = ["AMRC", "AMRN", "AMRZ", "AMRW"];
const SURNAMES: [&str; 6] = ["Karekiet", "Kievit", "Wulp", "Tureluur", "Bergeend", "Grutto"];
const GIVEN_NAMES: [&str; 5] = ["Noor", "Mila", "Sem", "Daan", "Jip"];
const TITLES: [&str; 5] =
    ["Hoogwater", "Wind over \"Wad\"", "De tuinen van Duindorp", "Een jaar op zee", "Zand"];

/// An invented library with so many patrons and titles.
#[derive(Clone, Copy)]
pub(crate) struct KohaLibrary {
    pub(crate) patrons: u64,
    pub(crate) titles: u64,
}

impl KohaLibrary {
    pub(crate) fn items(&self) -> u64 {
        self.titles * COPIES
    }

    /// All rows that lookups keep.
    pub(crate) fn lookup_rows(&self) -> impl Iterator<Item = RowChange> {
        let branches = BRANCH_CODES.iter().map(|code| {
            let row = vec![text(*code), text(format!("Filiaal {code}")), text("NL-AmrBKW")];
            RowChange::read(&BRANCHES, row)
        });
        let category = vec![text("VOLW"), text("Volwassenen"), text("47.500000"), text("A")];
        let titles = (0..self.titles).flat_map(|title| {
            let items = (0..COPIES).map(move |copy| item_row(title * COPIES + copy));
            [biblio_row(title), isbn_row(title)].into_iter().chain(items)
        });
        branches.chain([RowChange::read(&CATEGORIES, category)]).chain(titles)
    }

    /// A patron: new, or with another e-mail address than before.
    pub(crate) fn patron(&self, patron: u64) -> RowChange {
        let row = |email: String| borrower_row(patron, email);
        let after = row(format!("lener{patron}@example.org"));
        let before = (!patron.is_multiple_of(2)).then(|| row(format!("oud{patron}@example.org")));
        let operation = if before.is_some() { "u" } else { "c" };
        RowChange { table: &BORROWERS, before, after, operation }
    }

    /// A loan: new, or renewed.
    pub(crate) fn loan(&self, loan: u64) -> RowChange {
        let borrower = borrower_number(scatter(loan) % self.patrons);
        let item = scatter(loan ^ 0x5eed) % self.items();
        let row = |renewals: u64| {
            let issued = (TODAY - loan % 20) * DAY_MS + 36_000_000 + loan % 7_200 * 1_000;
            vec![
                number(loan + 1),
                number(borrower),
                number(item + 1),
                number((TODAY + 21 * renewals + 1) * DAY_MS - 60_000),
                text(pick(&BRANCH_CODES, loan)),
                Cell::Null,
                number(renewals),
                text("2026-11-29T12:38:13Z"),
                number(issued),
            ]
        };
        match loan.is_multiple_of(2) {
            true => RowChange { table: &ISSUES, before: None, after: row(0), operation: "c" },
            false => {
                let before = Some(row(0));
                RowChange { table: &ISSUES, before, after: row(1), operation: "u" }
            }
        }
    }
}

/// The first is Koha's anonymous patron.
fn borrower_number(patron: u64) -> u64 {
    patron + 2
}

fn biblio_row(title: u64) -> RowChange {
    let author = format!("{}, {}", pick(&SURNAMES, title / 3), pick(&GIVEN_NAMES, title));
    let words = format!("{}, deel {title}", pick(&TITLES, title));
    RowChange::read(&BIBLIO, vec![number(title + 1), text(author), text(words)])
}

fn isbn_row(title: u64) -> RowChange {
    let row = vec![number(title + 1), number(title + 1), text(format!("97999{title:08}"))];
    RowChange::read(&BIBLIOITEMS, row)
}

fn item_row(item: u64) -> RowChange {
    let barcode = text(format!("30999{item:09}"));
    let row = vec![number(item + 1), number(item / COPIES + 1), barcode, text("BOEK")];
    RowChange::read(&ITEMS, row)
}

/// In days since 1970; before it for about a third of all.
fn birth_day(patron: u64) -> i64 {
    let latest = i64::try_from(TODAY).unwrap() - 7_000;
    latest - i64::try_from(patron % 20_000).unwrap()
}

fn borrower_row(patron: u64, email: String) -> Vec<Cell> {
    let given = pick(&GIVEN_NAMES, patron);
    vec![
        number(borrower_number(patron)),
        text(format!("2999{patron:010}")),
        text(pick(&SURNAMES, patron)),
        text(given),
        Cell::Null,
        text(format!("{}.", &given[..1])),
        text(format!("{}", patron % 300 + 1)),
        text("Rietkraag"),
        Cell::Null,
        text("Duindorp"),
        text("9999 ZZ"),
        Cell::Null,
        text(email),
        text("020-0000000"),
        text("06-00000000"),
        number(birth_day(patron)),
        text(pick(&BRANCH_CODES, patron)),
        text("VOLW"),
        number(TODAY - 1_000),
        number(TODAY + 300),
        text("V"),
        Cell::Null,
        number(1),
        text("2026-11-29T12:38:13Z"),
        number(0),
    ]
}

fn pick(all: &[&'static str], number: u64) -> &'static str {
    all[usize::try_from(number % all.len() as u64).unwrap()]
}

/// Spreads numbers evenly.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
}
