//! What the content of rows joins: how many of a patron's months differ from all
//! others by branches and materials, as who knows of a loan knows both.

use std::collections::HashMap;

use serde_json::Value;
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::sample::{SampleLibrary, SampleSettings};

use zeef_test_kit::library_fixture::{STATISTICS, compile_lanes};

/// All rows of statistics of a library that has this many patrons.
fn statistics_rows(patrons: u64) -> Vec<Value> {
    let today = jiff::civil::date(2026, 1, 31);
    let library = SampleLibrary::new(SampleSettings {
        has_tricky_records: false,
        ..SampleSettings::new(1, patrons, today)
    });
    let lane = compile_lanes(false).pop().unwrap();
    let output = lane.outputs.iter().position(|one| one.owner == STATISTICS);
    let output = output.unwrap();
    let source = |name: &str| {
        let place = lane.sources.iter().position(|one| one.kind.name == name);
        SourceId(u16::try_from(place.unwrap()).unwrap())
    };
    let sources = [source("patron"), source("loan")];
    let mut pipeline = Pipeline::new(lane);
    // All months of the loans are over.
    let now = "2026-02-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let mut rows = Vec::new();
    let mut outbox = Outbox::default();
    for (offset, message) in (0..).zip(library.messages()) {
        let source = match message.source {
            "patron" => sources[0],
            "loan" => sources[1],
            _ => continue,
        };
        let value = message.value.unwrap_or_default();
        pipeline.begin_batch(BatchTime::from_ms(now.as_millisecond()));
        let input = Input {
            source,
            partition: 0,
            offset,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: message.key.as_deref().map(str::as_bytes),
            payload: Payload::Bytes(value.as_bytes()),
        };
        pipeline.decide(&input, &mut outbox);
        pipeline.commit();
        for one in outbox.iter().filter(|one| usize::from(one.output.0) == output) {
            rows.extend(one.value.map(|value| serde_json::from_slice::<Value>(value).unwrap()));
        }
        outbox.clear();
    }
    rows
}

/// Of the groups that rows form by `whose`, how many differ from all others of the
/// same library and month by `what`. A row that is nobody's is a group of its own.
fn count_unique_groups<'a>(
    rows: impl Iterator<Item = &'a Value>,
    whose: impl Fn(&Value) -> Option<String>,
    what: impl Fn(&Value) -> String,
) -> (usize, usize) {
    let mut groups = HashMap::<String, Vec<String>>::new();
    let mut single = Vec::new();
    for row in rows {
        let shown = format!("{} {} {}", row["library"], row["loaned_month"], what(row));
        match whose(row) {
            Some(whose) => groups.entry(whose).or_default().push(shown),
            None => single.push(vec![shown]),
        }
    }
    let mut alike = HashMap::<Vec<String>, usize>::new();
    for mut group in groups.into_values().chain(single) {
        group.sort();
        *alike.entry(group).or_default() += 1;
    }
    let all = alike.values().sum();
    (alike.values().filter(|count| **count == 1).count(), all)
}

#[test]
fn s08_statistics_content_singles_out_few_patron_months() {
    let rows = statistics_rows(20_000);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    // Nothing joins a thinned row with another one.
    let month = |row: &Value| Some(row["patron_ref"].as_str()?.to_owned());
    let shown = |row: &Value| format!("{} {}", text(row, "branch"), text(row, "material"));
    let (alone, all) = count_unique_groups(rows.iter(), month, shown);
    let share = 100.0 * alone as f64 / all as f64;
    let joined = rows.iter().filter(|row| month(row).is_some());
    let (joined_alone, joined_all) = count_unique_groups(joined, month, shown);
    eprintln!(
        "{} rows of 20,000 patrons: {alone} of {all} patron-months and thinned rows ({share:.1} \
         %) are unique by branch and material; {joined_alone} of the {joined_all} \
         patron-months that still have a reference",
        rows.len()
    );
    assert!(all > 20_000);
    assert!(share < 15.0, "{share}");
    // A reference joins the loans of one month, and no more.
    let mut months = HashMap::<String, String>::new();
    for (row, month) in rows.iter().filter_map(|row| Some((row, month(row)?))) {
        let loaned = text(row, "loaned_month");
        let known = months.entry(month).or_insert_with(|| loaned.clone());
        assert_eq!(*known, loaned);
    }
}
