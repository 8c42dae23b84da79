//! Messages that lie in memory, converted by one thread: zeef in turn with its peers.

use std::hint::black_box;

use apache_avro::reader::datum::GenericDatumReader;
use serde_json::Value;
use zeef::intake::{
    AvroSchema, Conversion, Intake, LookupTables, RawMessage, RegisteredSchema, split_frame,
};
use zeef_test_kit::schema_registry::frame;

use crate::common::interleaved_timing::{TimedImplementation, print_table};
use crate::common::serde_value::write_member;
use crate::common::workload::SourceRecord;
use crate::koha::{AvroEncoder, BORROWERS, ISSUES, RowChange, Table};
use crate::{BenchSize, load_mapping};

/// A canonical field and its column.
type PickedColumns = &'static [(&'static str, &'static str)];

/// Messages of a table, and the columns of which the mapping makes fields.
struct Workload {
    name: &'static str,
    table: &'static Table,
    picked: PickedColumns,
    /// Those whose value is the column's as it stands.
    unchanged: &'static [&'static str],
    /// What only lookups know.
    looked_up: &'static str,
    changes: Vec<RowChange>,
}

const LOAN_COLUMNS: PickedColumns = &[
    ("loan_id", "issue_id"),
    ("patron_id", "borrowernumber"),
    ("library", "branchcode"),
    ("item", "itemnumber"),
    ("branch", "branchcode"),
    ("loaned_at", "issuedate"),
    ("due_on", "date_due"),
    ("returned_at", "returndate"),
    ("status", "returndate"),
    ("renewals", "renewals_count"),
];

const PATRON_COLUMNS: PickedColumns = &[
    ("patron_id", "borrowernumber"),
    ("library", "branchcode"),
    ("kind", "categorycode"),
    ("card_number", "cardnumber"),
    ("initials", "initials"),
    ("given_name", "firstname"),
    ("surname_prefix", "middle_name"),
    ("surname", "surname"),
    ("birth_date", "dateofbirth"),
    ("gender", "sex"),
    ("email", "email"),
    ("phone", "phone"),
    ("mobile", "mobile"),
    ("street", "address"),
    ("house_number", "streetnumber"),
    ("house_number_suffix", "address2"),
    ("postcode", "zipcode"),
    ("city", "city"),
    ("id", "borrowernumber"),
    ("type", "categorycode"),
    ("starts_on", "dateenrolled"),
    ("ends_on", "dateexpiry"),
    ("home_branch", "branchcode"),
    ("fee_cents", "categorycode"),
    ("loan_history", "privacy"),
    ("updated_at", "updated_on"),
];

/// The id of the schema in frames.
const SCHEMA_ID: u32 = 7;

pub(crate) fn compare(size: &BenchSize, (intake, lookups): (&Intake, &LookupTables)) {
    let library = &size.library;
    let workloads = [
        Workload {
            name: "Loans, two chained lookups",
            table: &ISSUES,
            picked: LOAN_COLUMNS,
            unchanged: &["renewals"],
            looked_up: "/item/title",
            changes: (0..size.messages).map(|number| library.loan(number)).collect(),
        },
        Workload {
            name: "Patrons",
            table: &BORROWERS,
            picked: PATRON_COLUMNS,
            unchanged: &["card_number", "surname", "email", "updated_at"],
            looked_up: "/membership/home_branch",
            changes: (0..size.messages).map(|number| library.patron(number)).collect(),
        },
    ];
    let avro_intake = load_mapping("framing = \"avro\"\n");
    for workload in &workloads {
        let intakes = Intakes { json: intake, avro: &avro_intake, lookups };
        workload.compare(&intakes, size.rounds);
    }
}

/// The mapping for each form of messages.
struct Intakes<'a> {
    json: &'a Intake,
    avro: &'a Intake,
    lookups: &'a LookupTables,
}

impl Workload {
    fn compare(&self, intakes: &Intakes<'_>, rounds: usize) {
        let encoder = AvroEncoder::new(self.table);
        let schema = AvroSchema::parse(&encoder.schema_text).unwrap();
        let schema = RegisteredSchema::Avro(schema);
        let record = |value| SourceRecord { key: Vec::new(), value };
        let json: Vec<_> = self.changes.iter().map(|change| record(change.to_json())).collect();
        let avro = encoder.encode(&self.changes).into_iter();
        let avro: Vec<_> = avro.map(|value| record(frame(SCHEMA_ID, &value))).collect();
        let convert_json = |one: &SourceRecord| {
            let value = Some(one.value.as_slice());
            let message = RawMessage { topic: self.table.topic, value, schema: None };
            intakes.json.convert(&message, intakes.lookups)
        };
        let convert_avro = |one: &SourceRecord| {
            let value = Some(one.value.as_slice());
            let message = RawMessage { topic: self.table.topic, value, schema: Some(&schema) };
            intakes.avro.convert(&message, intakes.lookups)
        };
        for (json, avro) in json.iter().zip(&avro) {
            let converted = convert_json(json);
            self.check(&converted, &pick(&json.value, self.picked));
            assert_eq!(converted, convert_avro(avro), "Avro gives another record");
        }
        let reader = GenericDatumReader::builder(&encoder.schema).build().unwrap();
        let mut ways = [
            TimedImplementation::new("serde_json `Value`, then pick", &json, |slice| {
                slice.iter().map(|one| pick(&one.value, self.picked).len()).sum()
            }),
            TimedImplementation::new("serde_json `Value` alone", &json, |slice| {
                slice.iter().for_each(|one| drop(black_box(parse(&one.value))));
                0
            }),
            TimedImplementation::new("zeef, JSON", &json, |slice| {
                slice.iter().map(|one| count_bytes(&convert_json(one))).sum()
            }),
            TimedImplementation::new("apache-avro `Value` alone", &avro, |slice| {
                for one in slice {
                    let (_, mut value) = split_frame(&one.value).expect("a frame");
                    black_box(reader.read_value(&mut value).expect("a value"));
                }
                0
            }),
            TimedImplementation::new("zeef, Avro", &avro, |slice| {
                slice.iter().map(|one| count_bytes(&convert_avro(one))).sum()
            }),
        ];
        for round in 0..rounds {
            for way in &mut ways {
                way.run_round(round);
            }
        }
        println!("\n{}. In Avro: {} bytes.", self.name, mean_bytes(&avro));
        print_table(&ways, "times `Value`", |own, value| value / own);
    }

    /// Checks that a message became its record, and that the peer picks the same.
    fn check(&self, converted: &Conversion, picked: &[u8]) {
        assert_eq!(converted.refused, []);
        let [record] = converted.records.as_slice() else {
            panic!("expected a record, found {}", converted.records.len());
        };
        let value = parse(record.value.as_deref().expect("a value"));
        let picked = parse(picked);
        for &name in self.unchanged {
            assert!(value[name] == picked[name] && !value[name].is_null(), "{name} differs");
        }
        let is_found = value.pointer(self.looked_up).is_some_and(Value::is_string);
        assert!(is_found, "{} was not looked up", self.looked_up);
    }
}

fn parse(value: &[u8]) -> Value {
    serde_json::from_slice(value).expect("JSON")
}

/// Writes the columns of the new row as they stand: nothing is converted, checked or looked up.
fn pick(value: &[u8], columns: PickedColumns) -> Vec<u8> {
    let tree = parse(value);
    let row = &tree["after"];
    let mut out = Vec::with_capacity(512);
    out.push(b'{');
    for (name, column) in columns {
        let value = &row[*column];
        if !value.is_null() {
            write_member(&mut out, name, value);
        }
    }
    out.push(b'}');
    out
}

fn count_bytes(conversion: &Conversion) -> usize {
    conversion.records.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).sum()
}

fn mean_bytes(records: &[SourceRecord]) -> usize {
    records.iter().map(|record| record.value.len()).sum::<usize>() / records.len()
}
