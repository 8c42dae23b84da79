//! What is remembered of records that were taken back goes some days later, and all of it has a
//! bound.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use zeef::daemon::intake::IntakeSetup;
use zeef::daemon::worker::WorkerExit;
use zeef::intake::RecordVersions;
use zeef::message::{Fault, LanePlan};
use zeef::policy::term::DAY_MS;
use zeef::transport::memory::MemoryTransport;

use super::lane::{RawRecord, bounded_worker, push_to_partition};
use super::versions::{
    INTAKE, LiveRecords, STATE, Step, VersionSource, any_step, apply_records, changed_mapping,
    convert, histories, history, live_behind, live_of, new_versions, run_to_end, setup, setup_of,
};

/// What a mapping that says nothing has.
const KEPT_DAYS: i64 = 90;
const FIRST_DAY: i64 = 20_000;

/// Converts a message in a batch of `day`; returns whether something of it was dropped.
fn take(versions: &mut RecordVersions, raw: &RawRecord, day: i64) -> bool {
    let mut conversion = convert(raw);
    versions.set_removal_time(day * DAY_MS);
    versions.take_out_older(0, &mut conversion).unwrap();
    !conversion.older.is_empty()
}

/// Ends a batch of `day`, in which up to `count_max` rows are forgotten; returns how many were.
fn forget_and_commit(versions: &mut RecordVersions, day: i64, count_max: usize) -> usize {
    let count = versions.forget_removed(0, day * DAY_MS + DAY_MS - 1, count_max);
    versions.commit();
    count
}

/// As they are read back from what is committed.
fn restored(versions: &RecordVersions) -> RecordVersions {
    let mut read = new_versions();
    versions.for_each_committed(|partition, key, value| {
        read.restore_row(partition, key, Some(value)).unwrap();
    });
    read
}

fn loan_written_and_deleted() -> Vec<RawRecord> {
    history("loans", "record-1", VersionSource::Envelope, &[Step::Write(0), Step::Delete])
}

/// Within the days the deletion counts; behind them nobody knows of it.
#[test]
fn old_message_brings_a_removed_record_back_only_behind_the_days() {
    assert_eq!(INTAKE.keep_removed_days().map(i64::from), Some(KEPT_DAYS));
    let messages = loan_written_and_deleted();
    for restart in [false, true] {
        let mut versions = new_versions();
        for raw in &messages {
            assert!(!take(&mut versions, raw, FIRST_DAY));
        }
        let last_day = FIRST_DAY + KEPT_DAYS;
        assert_eq!(forget_and_commit(&mut versions, last_day, 10), 0);
        if restart {
            versions = restored(&versions);
        }
        assert!(take(&mut versions, &messages[0], last_day), "the deletion is known");
        assert_eq!(forget_and_commit(&mut versions, last_day + 1, 10), 1);
        assert_eq!((versions.row_count(), versions.bytes()), (0, 0));
        assert!(!take(&mut versions, &messages[0], last_day + 1), "what comes first counts");
    }
}

/// A record that is there is never forgotten, also if it was taken back before; nor one of which
/// the same batch has something.
#[test]
fn only_rows_of_removed_records_are_forgotten() {
    let steps = [Step::Write(0), Step::Delete, Step::Write(0)];
    let messages = history("loans", "record-1", VersionSource::Envelope, &steps);
    let much_later = FIRST_DAY + 10 * KEPT_DAYS;
    let mut versions = new_versions();
    for raw in &messages[..2] {
        take(&mut versions, raw, FIRST_DAY);
    }
    versions.commit();
    take(&mut versions, &messages[2], much_later);
    assert_eq!(forget_and_commit(&mut versions, much_later, 10), 0);
    assert_eq!(forget_and_commit(&mut versions, 10 * much_later, 10), 0);
    assert_eq!(versions.row_count(), 1);
    assert!(take(&mut versions, &messages[1], much_later));
}

#[test]
fn versions_of_removed_records_may_stay_for_ever() {
    let intake = changed_mapping(|text| format!("keep_removed_days = 36500\n{text}"));
    assert_eq!(intake.keep_removed_days(), None);
    let mut versions = intake.empty_versions(&super::versions::state_key()).unwrap();
    for raw in &loan_written_and_deleted() {
        take(&mut versions, raw, FIRST_DAY);
    }
    versions.commit();
    assert_eq!(forget_and_commit(&mut versions, 1_000_000, 10), 0);
    assert_eq!(versions.row_count(), 1);
}

/// The days at which messages come, of each history its own, none later than `KEPT_DAYS` behind its
/// first; some come twice.
fn schedule(
    steps: &[Vec<Step>],
    (starts, delays): (&[i64], &[i64]),
    repeated: &[prop::sample::Index],
) -> Vec<(i64, RawRecord)> {
    let all = histories(steps);
    let mut delays = delays.iter().cycle();
    let mut at = |raw: &RawRecord| {
        let start = starts[usize::try_from(raw.key_hash).unwrap() % starts.len()];
        (FIRST_DAY + start + delays.next().unwrap(), raw.clone())
    };
    let again = repeated.iter().map(|index| index.get(&all));
    let mut scheduled: Vec<_> = all.iter().chain(again).map(&mut at).collect();
    scheduled.sort_by_key(|(day, _)| *day);
    scheduled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the order of changes, deletions and repeats, and whatever batches forget: messages
    /// that come within the days end as in order and once, and in the end rows are there of the
    /// records that are there alone.
    #[test]
    fn messages_within_the_days_end_as_in_order_and_once(
        steps in prop::collection::vec(prop::collection::vec(any_step(), 1..7), 1..9),
        starts in prop::collection::vec(0..400_i64, 1..9),
        delays in prop::collection::vec(0..=KEPT_DAYS, 1..60),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        endings in prop::collection::vec(0..4_u8, 1..40),
        count_max in 1..4_usize,
    ) {
        prop_assume!(!histories(&steps).is_empty());
        let scheduled = schedule(&steps, (&starts, &delays), &repeated);
        let mut versions = new_versions();
        let mut live = LiveRecords::new();
        let mut endings = endings.iter().cycle();
        let last_day = scheduled.last().unwrap().0;
        for (day, raw) in &scheduled {
            if endings.next() == Some(&0) {
                versions.commit();
                // An aborted batch leaves nothing behind, also of what it forgot.
                take(&mut versions, raw, *day);
                versions.forget_removed(0, *day * DAY_MS, usize::MAX);
                versions.roll_back();
            }
            let mut conversion = convert(raw);
            versions.set_removal_time(*day * DAY_MS);
            versions.take_out_older(0, &mut conversion).unwrap();
            apply_records(&mut live, &conversion.records);
            match endings.next() {
                Some(0) => {}
                Some(1) => versions.commit(),
                _ => prop_assert!(forget_and_commit(&mut versions, *day, count_max) <= count_max),
            }
            if endings.next() == Some(&1) {
                versions.commit();
                let read = restored(&versions);
                prop_assert_eq!(read.bytes(), versions.bytes());
                prop_assert_eq!(read.row_count(), versions.row_count());
                versions = read;
            }
        }
        versions.commit();
        let (want, _) = live_behind(histories(&steps).iter());
        prop_assert_eq!(&live, &want);
        while forget_and_commit(&mut versions, last_day + KEPT_DAYS + 1, count_max) > 0 {}
        prop_assert_eq!(versions.row_count(), live.len());
        prop_assert_eq!(restored(&versions).bytes(), versions.bytes());
    }
}

/// Runs on messages of one time, while this machine's clock shows another one.
fn run_at(
    (setup, plan): (&Arc<IntakeSetup>, &LanePlan),
    mut transport: MemoryTransport,
    messages: &[RawRecord],
    (log_day, own_day): (i64, i64),
) -> MemoryTransport {
    transport.set_append_time(log_day * DAY_MS);
    for raw in messages {
        push_to_partition(&mut transport, plan, (raw, 0));
    }
    let mut worker = bounded_worker(setup, plan, transport, 10);
    worker.clock = Box::new(move || own_day * DAY_MS);
    assert_eq!(worker.run().unwrap(), WorkerExit::EndOfInput);
    let mut transport = worker.transport;
    transport.restart();
    transport
}

/// One clock that is ahead forgets nothing, and one that was behind shortens nothing.
#[test]
fn intake_forgets_removed_versions_where_both_clocks_say_so() {
    let setup = setup();
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let messages = loan_written_and_deleted();
    let other = history("loans", "record-2", VersionSource::Envelope, &[Step::Write(1)]);
    let late = FIRST_DAY + KEPT_DAYS + 1;
    let forgotten = |transport: &MemoryTransport| {
        transport.published_to(STATE).filter(|row| row.value.is_none()).count()
    };
    for removed_at in [(FIRST_DAY, FIRST_DAY), (FIRST_DAY, 0), (0, FIRST_DAY)] {
        let transport =
            MemoryTransport::new(&plan).with_abort_every(Some(2)).with_rebalance_every(Some(3));
        let mut transport = run_at((&setup, &plan), transport, &messages, removed_at);
        for early in [(late, late - 1), (late - 1, late), (late, 0), (0, late)] {
            transport = run_at((&setup, &plan), transport, &other, early);
            assert_eq!(forgotten(&transport), 0, "{removed_at:?} {early:?}");
        }
        // It stays gone, although it is sent again.
        let transport = run_at((&setup, &plan), transport, &messages[..1], (late, late - 1));
        assert_eq!(live_of(&transport), live_behind(messages.iter().chain(&other)).0);
        let mut transport = run_at((&setup, &plan), transport, &other, (late, late));
        assert_eq!(forgotten(&transport), 1, "{removed_at:?}");
        // As after a restart, which reads a state without that row.
        transport = run_at((&setup, &plan), transport, &messages[..1], (late, late));
        assert_eq!(live_of(&transport).len(), 2, "what comes first counts again");
    }
}

/// Of many rows that are due, a batch forgets some.
#[test]
fn batch_forgets_a_bounded_number_of_rows() {
    let setup = setup();
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let mut messages = Vec::new();
    for number in 0..2_100 {
        let steps = [Step::Write(0), Step::Delete];
        let id = format!("record-{number}");
        messages.extend(history("loans", &id, VersionSource::Envelope, &steps));
    }
    let other = history("loans", "other", VersionSource::Envelope, &[Step::Write(1)]);
    let transport = MemoryTransport::new(&plan);
    let removed_at = (FIRST_DAY, FIRST_DAY);
    let mut transport = run_at((&setup, &plan), transport, &messages, removed_at);
    let late = FIRST_DAY + KEPT_DAYS + 1;
    let mut counts = Vec::new();
    for _ in 0..4 {
        transport = run_at((&setup, &plan), transport, &other, (late, late));
        counts.push(transport.published_to(STATE).filter(|row| row.value.is_none()).count());
    }
    // Beside a thousand as many as the batch writes.
    assert_eq!(counts, [1_001, 2_002, 2_100, 2_100]);
}

/// A worker whose versions need more than the mapping allows writes nothing more.
#[test]
fn versions_over_their_bound_stop_the_intake() {
    let with_bound = |bytes: usize| {
        setup_of(changed_mapping(|text| format!("version_bytes_max = {bytes}\n{text}")))
    };
    let write = |number: usize, step: Step| {
        history("loans", &format!("record-{number}"), VersionSource::Envelope, &[step])
    };
    // What so many rows take.
    let mut versions = new_versions();
    for number in 0..20 {
        take(&mut versions, &write(number, Step::Write(0))[0], FIRST_DAY);
    }
    versions.commit();
    let setup = with_bound(versions.bytes());
    let plan = setup.plan(&BTreeSet::new()).unwrap();
    let run = |setup: &Arc<IntakeSetup>, mut transport: MemoryTransport, numbers: &[usize]| {
        for number in numbers {
            push_to_partition(&mut transport, &plan, (&write(*number, Step::Write(0))[0], 0));
        }
        run_to_end(setup, &plan, transport, 10)
    };
    let stop_of =
        |setup: &Arc<IntakeSetup>, transport: MemoryTransport, numbers: &[usize]| match run(
            setup, transport, numbers,
        ) {
            Err(Fault::Stop(why)) => why.to_string(),
            other => panic!("expected a stop, found {:?}", other.err()),
        };
    let all: Vec<usize> = (0..20).collect();
    let transport = run(&setup, MemoryTransport::new(&plan), &all).unwrap();
    let full = run(&setup, transport, &all).unwrap();
    assert_eq!(full.published_to("loan").count(), 40, "rows that are known need nothing more");
    let text = stop_of(&setup, full, &[20]);
    let want = format!(
        "intake/versions.toml: the versions of `newer_by` need more than {} bytes: raise \
         `version_bytes_max`, or lower `keep_removed_days`",
        versions.bytes()
    );
    assert!(text.contains(&want), "{text}");
    // One batch alone, and a state that is larger than what the mapping allows now.
    stop_of(&with_bound(100), MemoryTransport::new(&plan), &[0]);
    let full = run(&setup, MemoryTransport::new(&plan), &all).unwrap();
    stop_of(&with_bound(versions.bytes() - 1), full, &[]);
}
