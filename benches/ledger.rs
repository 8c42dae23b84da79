//! What questions to the ledger cost, in memory: `verify`, and `patron`, which verifies too.
//!
//! ```text
//! cargo bench --bench ledger               a library's year of two million lines, some minutes
//! cargo bench --bench ledger -- --short    a second: whether it still runs
//! ```
//!
//! Two ledgers of the same lines: a busy one with 500 lines a block, and a quiet one with one
//! line a block. Beside each stands what no verifier can do without, the SHA-256 of its bytes.
//! Reading the bytes from a disk or from Kafka comes on top.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench ends where something is not as expected, and prints"
)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use zeef::ledger::Operation;
use zeef::ledger::answer::{PatronScope, PatronSearch};
use zeef::ledger::block::{Block, Line, Transaction, digest_hex, make_blocks};
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::confidential::ConfidentialRecipients;
use zeef::ledger::keys::{LedgerKeys, LineNumber};
use zeef::ledger::register::{Activity, Register, RegisterEntries};
use zeef::message::continuity::LedgerHead;
use zeef_test_kit::deployment::ledger_keys;

/// 2026-01-01, in Unix seconds.
const YEAR_START: i64 = 1_767_225_600;
const YEAR_SECONDS: u64 = 365 * 86_400;
/// A library with so many patrons has a year of so many lines.
const PATRONS: u64 = 50_000;
const LINES: u64 = 2_000_000;
const SHORT_LINES: u64 = 20_000;
/// Four million patrons.
const COUNTRY_FACTOR: u64 = 80;
const RECIPIENTS: u64 = 8;
const ROUNDS: usize = 3;
const CHAIN: &str = "main/0/1767225600";

/// A ledger in memory.
struct Ledger {
    blocks: Vec<Vec<u8>>,
    register: Register,
    bytes: u64,
}

/// How a ledger was written.
#[derive(Clone, Copy)]
struct LedgerShape {
    name: &'static str,
    lines_per_block: u64,
}

const SHAPES: [LedgerShape; 2] = [
    LedgerShape { name: "busy, 500 lines a block", lines_per_block: 500 },
    LedgerShape { name: "quiet, one line a block", lines_per_block: 1 },
];

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let lines = if is_short { SHORT_LINES } else { LINES };
    let keys = ledger_keys();
    println!("{lines} lines of {PATRONS} patrons, {RECIPIENTS} recipients, one thread\n");
    for shape in SHAPES {
        let ledger = write_ledger(&keys, lines, shape.lines_per_block);
        measure(&ledger, &keys, (shape, lines));
    }
}

fn measure(ledger: &Ledger, keys: &LedgerKeys, (shape, lines): (LedgerShape, u64)) {
    let hash = fastest(|| hash_blocks(ledger));
    let verify = fastest(|| verify(ledger, lines));
    let search = fastest(|| search_patron(ledger, keys));
    let rate = |took: Duration| lines as f64 / took.as_secs_f64();
    let line_bytes = ledger.bytes as f64 / lines as f64;
    let year_bytes = |factor: u64| line_bytes * (LINES * factor) as f64 / 1e9;
    println!("{}", shape.name);
    println!("  bytes a line           {line_bytes:>12.0}");
    println!("  a library's year       {:>12.2} GB", year_bytes(1));
    println!("  four million patrons   {:>12.1} GB", year_bytes(COUNTRY_FACTOR));
    println!("  SHA-256 alone          {:>12.0} lines/s", rate(hash));
    println!(
        "  verify                 {:>12.0} lines/s, {:.2} of SHA-256 alone",
        rate(verify),
        hash.as_secs_f64() / verify.as_secs_f64()
    );
    println!(
        "  one patron's lines     {:>12.0} lines/s, {:.2} s for all\n",
        rate(search),
        search.as_secs_f64()
    );
}

/// The shortest of some rounds.
fn fastest(mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..ROUNDS).map(time).min().expect("some rounds")
}

fn hash_blocks(ledger: &Ledger) {
    for block in &ledger.blocks {
        black_box(digest_hex(block));
    }
}

fn verify(ledger: &Ledger, lines: u64) {
    let verifier = verify_blocks(ledger, &mut |_| {});
    assert_eq!(verifier.problems, []);
    let verified: u64 = verifier.chains.values().map(|chain| chain.lines).sum();
    assert_eq!(verified, lines);
}

fn verify_blocks(ledger: &Ledger, take: &mut dyn FnMut(&Block<'_>)) -> ChainVerifier {
    let mut verifier = ChainVerifier::default();
    for (number, bytes) in ledger.blocks.iter().enumerate() {
        let block = verifier.add_block(&|| format!("block {number}"), bytes, &ledger.register);
        take(&block.expect("a block"));
    }
    verifier
}

fn search_patron(ledger: &Ledger, keys: &LedgerKeys) {
    // That of the first line.
    let patron = patron_hash(scatter(0) % PATRONS);
    let left_out = ConfidentialRecipients::default();
    let mut search = PatronSearch::new(PatronScope {
        register: &ledger.register,
        keys,
        patron_hash: Some(patron),
        left_out: &left_out,
    });
    verify_blocks(ledger, &mut |block| search.add_block(block));
    assert!(!search.events.is_empty());
}

fn patron_hash(number: u64) -> u128 {
    u128::from(number) << 64 | 0x5eed
}

/// Spreads numbers evenly.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
}

fn write_ledger(keys: &LedgerKeys, lines: u64, lines_per_block: u64) -> Ledger {
    let leaves = ["patron_id", "full_name", "postcode", "item.title", "due_on"].map(str::to_owned);
    let activities: Vec<Activity> = (0..RECIPIENTS)
        .map(|number| {
            let name = format!("recipient-{number}");
            let lines = leaves.iter().map(|leaf| format!("  leaf {leaf}\n"));
            let text = format!("zeef recipient 3\n{}", lines.collect::<String>());
            let id = format!("{name}/{}", &digest_hex(text.as_bytes())[..12]);
            Activity { id, title: name, text, leaves: leaves.to_vec() }
        })
        .collect();
    let policy = digest_hex(b"policy");
    let entries = RegisterEntries::new((&policy, "policy"), activities.iter(), "urn:zeef:activity");
    let mut register = Register::default();
    for (_, value) in entries.messages() {
        register.add_message(value).expect("an entry");
    }
    let ids: Vec<Cow<'_, str>> = activities.iter().map(|one| Cow::Borrowed(&*one.id)).collect();
    let mut head = LedgerHead::default();
    let mut blocks = Vec::new();
    for first in (0..lines).step_by(usize::try_from(lines_per_block).expect("few")) {
        let passed = i64::try_from(first * YEAR_SECONDS / lines).expect("a year");
        let number = blocks.len() as u64 + 1;
        let time = YEAR_START + passed;
        let transaction = Transaction { lane: "main", partition: 0, number, time, policy: &policy };
        let encode = |index: u64| encode_line(keys, time, (number, first + index));
        let block_lines = (0..lines_per_block.min(lines - first)).map(encode).collect();
        blocks.extend(make_blocks(transaction, &ids, block_lines, &mut head));
    }
    let bytes = blocks.iter().map(|block| block.len() as u64).sum();
    Ledger { blocks, register, bytes }
}

fn encode_line(keys: &LedgerKeys, time: i64, (transaction, number): (u64, u64)) -> Line<'static> {
    let key = keys.at(time);
    let line_number = |number| LineNumber { chain: CHAIN, transaction, number };
    let operations = [Operation::Release, Operation::Correct, Operation::Retract];
    let operation = operations[usize::try_from(number % 3).expect("few")];
    let is_given = operation != Operation::Retract;
    let patron = patron_hash(scatter(number) % PATRONS);
    Line {
        trace: Cow::Owned(key.trace_id(line_number(number))),
        id: Cow::Owned(key.operation_id(line_number(number))),
        parent: None,
        patron: Some(Cow::Owned(key.patron_reference(patron))),
        activity: u16::try_from(scatter(number) >> 32 & (RECIPIENTS - 1)).expect("few"),
        operation,
        reason: (!is_given).then_some(Cow::Borrowed("source_gone")),
        fields: is_given.then_some(Cow::Borrowed("1f")),
        key: Some(Cow::Owned(key.output_hash("out.recipient", &number.to_be_bytes()))),
        foreign_operation: None,
    }
}
