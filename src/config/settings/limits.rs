//! What bounds a lane, as its users take it: limits of records, batches, holds and rates.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::lanes::RecipientNames;
use super::{Number, read_section, set_duration, set_integer};
use crate::config::document::{TomlTable, describe_type};
use crate::json::scan::{DEPTH_MAX, ScanLimits};
use crate::policy::term::DAY_MS;

/// The limits of a record.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    pub max_bytes: usize,
    pub scan_limits: ScanLimits,
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits {
            max_bytes: 1 << 20,
            scan_limits: ScanLimits { max_depth: 64, max_keys: 4_096 },
        }
    }
}

/// What a lane is compiled with, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions {
    pub limits: RecordLimits,
    pub output_bytes_max: usize,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions { limits: RecordLimits::default(), output_bytes_max: 1_000_000 }
    }
}

/// `[limits]`: the bounds of a record, and when a lane stops or reports that it waits.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    pub lane: CompileOptions,
    /// How long a gate source may hold back the others before the process is not ready.
    pub gate_wait: Duration,
    /// How much may be taken back from one recipient within an hour, beyond what terms, papers and
    /// the config take back; 0 for no more than half.
    pub retractions_per_hour: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            lane: CompileOptions::default(),
            gate_wait: Duration::from_secs(30),
            retractions_per_hour: 0,
        }
    }
}

/// When a batch is closed: at whichever bound is reached first.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    pub records: u64,
    /// Of outputs, keys and values together.
    pub bytes: u64,
    /// For a worker that keeps up; behind a backlog it is twenty times as long.
    pub max_wait: Duration,
}

impl Default for BatchBounds {
    fn default() -> Self {
        BatchBounds { records: 50_000, bytes: 128 << 20, max_wait: Duration::from_millis(50) }
    }
}

/// How many records may wait for their patrons, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct HoldBounds {
    /// In one partition.
    pub records_max: usize,
    pub wait_max_ms: i64,
}

impl Default for HoldBounds {
    fn default() -> Self {
        HoldBounds { records_max: 100_000, wait_max_ms: 30 * DAY_MS }
    }
}

/// The rate of one recipient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub records_per_s: f64,
    /// How many may go at once after a pause; at least one.
    pub burst: u32,
}

const BYTES_RANGE: RangeInclusive<i64> = 1_024..=67_108_864;

pub(super) fn read_limits(root: &TomlTable<'_>) -> LimitSettings {
    const TITLE: &str = "what a record may be at most";
    read_section(root, "limits", TITLE, |table, limits: &mut LimitSettings| {
        let record = &mut limits.lane.limits;
        set_integer(
            table,
            Number("record_bytes", BYTES_RANGE, "bytes of a record"),
            &mut record.max_bytes,
        );
        set_integer(
            table,
            Number("depth", 1..=DEPTH_MAX.into(), "objects and lists in each other"),
            &mut record.scan_limits.max_depth,
        );
        set_integer(
            table,
            Number("keys", 1..=1_000_000, "keys of a record in all"),
            &mut record.scan_limits.max_keys,
        );
        set_integer(
            table,
            Number("output_bytes", BYTES_RANGE, "bytes of an output"),
            &mut limits.lane.output_bytes_max,
        );
        const GATE_WAIT: &str = "seconds that a gate source may hold back others";
        set_duration(
            table,
            Number("gate_wait_seconds", 1..=86_400, GATE_WAIT),
            Duration::from_secs,
            &mut limits.gate_wait,
        );
        const RETRACTIONS: &str =
            "outputs taken back from a recipient within an hour, 0 for no bound";
        set_integer(
            table,
            Number("retractions_per_hour", 0..=1_000_000_000, RETRACTIONS),
            &mut limits.retractions_per_hour,
        );
    })
}

pub(super) fn read_batch(root: &TomlTable<'_>) -> BatchBounds {
    read_section(root, "batch", "when a batch closes", |table, batch: &mut BatchBounds| {
        let number = Number("records", 1..=1_000_000, "records of a batch");
        set_integer(table, number, &mut batch.records);
        let number = Number("bytes", 1_024..=1_073_741_824, "bytes of a batch");
        set_integer(table, number, &mut batch.bytes);
        let number = Number("wait_ms", 1..=60_000, "milliseconds of a batch");
        set_duration(table, number, Duration::from_millis, &mut batch.max_wait);
    })
}

pub(super) fn read_holds(root: &TomlTable<'_>) -> HoldBounds {
    read_section(root, "holds", "what may wait for its patron", |table, holds: &mut HoldBounds| {
        let number = Number("records", 1..=10_000_000, "records of a partition that wait");
        set_integer(table, number, &mut holds.records_max);
        if let Some(days) = table.integer("days", 1..=3_650, "days that a record waits") {
            holds.wait_max_ms = days.value * DAY_MS;
        }
    })
}

pub(super) fn read_rates(
    root: &TomlTable<'_>,
    recipients: &RecipientNames<'_>,
) -> BTreeMap<String, Rate> {
    let mut rates = BTreeMap::new();
    let Some(table) = root.table("rates", "rates by recipient") else {
        return rates;
    };
    for (name, value) in table.entries() {
        recipients.check_known(&table, &name.value, name.line);
        let Some(inner) = table.as_table(value, name.line) else {
            let found = format!("`{}` is {}", name.value, describe_type(value.get_ref()));
            table.report_mistake(name.line, found, "a table: { records_per_s = 100 }");
            continue;
        };
        const SPEED: &str = "how many records a second";
        inner.require_key("records_per_s", SPEED, None);
        let mut records_per_s = 1_u32;
        set_integer(&inner, Number("records_per_s", 1..=1_000_000, SPEED), &mut records_per_s);
        let mut burst = records_per_s;
        set_integer(&inner, Number("burst", 1..=1_000_000, "how many records at once"), &mut burst);
        inner.finish();
        rates.insert(name.value, Rate { records_per_s: records_per_s.into(), burst });
    }
    rates
}
