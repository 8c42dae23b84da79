//! `zeef ledger verify`: whether the ledger is as zeef wrote it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use serde_json::{Value, json};

use super::read::LedgerReader;
use super::timestamp::{describe, read_authorities, to_json};
use crate::cli::arguments::LedgerVerifyArguments;
use crate::cli::checkpoint_keys::verifier_keys;
use crate::cli::exit::{Exit, pluralise};
use crate::cli::screen::{BAD, GOOD, Screen, styled};
use crate::ledger::audit::is_audit_chain;
use crate::ledger::chain::{ChainSummary, ChainVerifier};
use crate::ledger::checkpoint::note::{Checkpoint, CheckpointVerifierKey, open_note};
use crate::ledger::checkpoint::verify::CheckpointVerifier;
use crate::ledger::checkpoint::{HeadList, ListedHead};
use crate::ledger::timestamp::{KeptTimestamp, TimestampVerifier};
use crate::message::continuity::LedgerHead;
use crate::transport::file::{FileMode, replace_file};

/// How often to verify again where a run moved heads meanwhile.
const ATTEMPTS_MAX: usize = 3;

pub(super) fn run(arguments: &LedgerVerifyArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    LedgerReader::with_reader(&arguments.source, |reader| {
        let verified = verify(reader, arguments)?;
        let Verified { verifier, heads, .. } = &verified;
        if let Some(path) = &arguments.heads {
            let mut text = serde_json::to_vec_pretty(&heads_to_json(heads, verifier))?;
            text.push(b'\n');
            replace_file(path, FileMode::for_file(false), &text)?;
        }
        match arguments.source.json {
            true => write_json(&verified, screen)?,
            false => write_text(&verified, screen)?,
        }
        Ok(if verifier.problems.is_empty() { Exit::Success } else { Exit::Failed })
    })
}

/// What was verified.
struct Verified {
    verifier: ChainVerifier,
    heads: BTreeMap<String, LedgerHead>,
    /// How many there are.
    checkpoints: u64,
    /// Those that hold.
    timestamps: Vec<KeptTimestamp>,
    /// The one of them that proves most.
    newest: Option<KeptTimestamp>,
}

/// Verifies all chains against their heads, and against the checkpoints.
fn verify(
    reader: &LedgerReader<'_>,
    arguments: &LedgerVerifyArguments,
) -> anyhow::Result<Verified> {
    let keys = verifier_keys(reader.loaded, &arguments.trust.keys)?;
    let authorities = read_authorities(&arguments.trust)?;
    let origin = reader.loaded.daemon.ledger.checkpoints.origin.as_str();
    let outside = arguments.from.as_deref().map(|path| read_outside(path, origin, &keys));
    let outside = outside.transpose()?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let before = reader.read_heads()?;
        let (register, mut problems) = reader.read_register()?;
        let mut checkpoints = CheckpointVerifier::new(origin, &keys, outside.as_ref());
        reader.for_each_checkpoint(&mut |place, bytes| checkpoints.add_message(place, bytes))?;
        checkpoints.finish();
        problems.append(&mut checkpoints.problems);
        let mut timestamps = TimestampVerifier::new(&checkpoints.notes, &authorities);
        reader.for_each_timestamp(&mut |place, bytes| timestamps.add_message(place, bytes))?;
        problems.append(&mut timestamps.problems);
        let mut known: BTreeMap<String, LedgerHead> = listed_chains(&checkpoints.heads);
        known.extend(before.clone());
        let start =
            |(name, head): (&String, &LedgerHead)| Some((name.clone(), head.start.clone()?));
        let mut verifier = ChainVerifier {
            starts: known.iter().filter_map(start).collect(),
            listed: std::mem::take(&mut checkpoints.listed),
            problems,
            ..ChainVerifier::default()
        };
        let of_files = reader.for_each_block(&mut |place, bytes| {
            verifier.add_block(place, bytes, &register);
        })?;
        verifier.problems.extend(of_files);
        reader.for_each_audit_line(&mut |place, bytes| {
            verifier.add_audit_line(place, bytes);
        })?;
        let heads = reader.read_heads()?;
        let has_moved = heads != before;
        verifier.compare_with_checkpoint(&checkpoints.heads);
        // A chain that no state names any more ends as it was listed last.
        let mut ends = listed_chains(&checkpoints.heads);
        ends.extend(heads.clone());
        verifier.compare_with_heads(&ends);
        // A run that goes on may have written a block between the two.
        if verifier.problems.is_empty() || !has_moved || attempt == ATTEMPTS_MAX {
            return Ok(Verified {
                verifier,
                heads,
                checkpoints: checkpoints.size(),
                newest: timestamps.newest().cloned(),
                timestamps: timestamps.timestamps,
            });
        }
    }
}

/// Reads a checkpoint that was kept outside.
fn read_outside(
    path: &Path,
    origin: &str,
    keys: &[CheckpointVerifierKey],
) -> anyhow::Result<Checkpoint> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {shown}"))?;
    open_note(&text, origin, keys).with_context(|| shown.to_string())
}

/// The chains of a list, without the audit, whose end no state has.
fn listed_chains(heads: &HeadList) -> BTreeMap<String, LedgerHead> {
    let head = |(name, head): (&String, &ListedHead)| {
        let ListedHead { sequence, hash, start } = head.clone();
        (name.clone(), LedgerHead { sequence, hash, start, ..LedgerHead::default() })
    };
    heads.iter().filter(|(name, _)| !is_audit_chain(name)).map(head).collect()
}

/// The heads as another verifier reads them. The audit has no head but its own end.
fn heads_to_json(heads: &BTreeMap<String, LedgerHead>, verifier: &ChainVerifier) -> Value {
    let of_state = |(name, head): (&String, &LedgerHead)| {
        let mut value = json!({ "sequence": head.sequence, "hash": head.hash });
        if let Some(start) = &head.start {
            value["start"] = json!(start);
        }
        (name.clone(), value)
    };
    let of_audit = |(name, chain): (&String, &ChainSummary)| {
        (name.clone(), json!({ "sequence": chain.sequence, "hash": chain.hash }))
    };
    let audit = verifier.chains.iter().filter(|(name, _)| is_audit_chain(name)).map(of_audit);
    Value::Object(heads.iter().map(of_state).chain(audit).collect())
}

fn write_json(verified: &Verified, screen: &mut Screen) -> anyhow::Result<()> {
    let Verified { verifier, checkpoints, timestamps, .. } = verified;
    let chains: Vec<Value> = verifier
        .chains
        .iter()
        .map(|(name, chain)| {
            json!({ "chain": name, "blocks": chain.blocks, "lines": chain.lines,
                "sequence": chain.sequence, "hash": chain.hash })
        })
        .collect();
    let problems: Vec<Value> = verifier
        .problems
        .iter()
        .map(|one| json!({ "place": one.place, "problem": one.text }))
        .collect();
    let answer = json!({
        "ok": verifier.problems.is_empty(),
        "chains": chains,
        "checkpoints": checkpoints,
        "timestamps": timestamps.iter().map(to_json).collect::<Vec<_>>(),
        "problems": problems,
    });
    serde_json::to_writer_pretty(&mut *screen, &answer)?;
    writeln!(screen)?;
    Ok(())
}

fn write_text(verified: &Verified, screen: &mut Screen) -> anyhow::Result<()> {
    let Verified { verifier, checkpoints, timestamps, newest, .. } = verified;
    for problem in &verifier.problems {
        writeln!(screen, "{} {}: {}", styled(BAD, "broken"), problem.place, problem.text)?;
    }
    let is_audit = |(name, _): &(&String, &ChainSummary)| is_audit_chain(name);
    let (audit, chains): (Vec<_>, Vec<_>) = verifier.chains.iter().partition(is_audit);
    let blocks: u64 = chains.iter().map(|(_, chain)| chain.blocks).sum();
    let lines: u64 = chains.iter().map(|(_, chain)| chain.lines).sum();
    let chains = pluralise(chains.len(), "chain");
    let what = format!("{chains}, {blocks} blocks, {lines} lines");
    match verifier.problems.len() {
        0 => writeln!(
            screen,
            "{} {what}: each chain is whole up to the head in its state",
            styled(GOOD.bold(), "ok")
        )?,
        count => writeln!(screen, "{what}: {}", pluralise(count, "problem"))?,
    }
    for (_, audit) in audit {
        let what = "those behind the last checkpoint are not proved";
        writeln!(screen, "audit: {} lines; {what}", audit.lines)?;
    }
    if *checkpoints > 0 {
        writeln!(screen, "{checkpoints} checkpoints, each behind the one before it")?;
    }
    if let Some(newest) = newest {
        let count = pluralise(timestamps.len(), "timestamp");
        writeln!(screen, "{count}; {}", describe(newest))?;
    }
    Ok(())
}
