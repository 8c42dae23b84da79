//! Every change of a chain is found, by zeef and by the script that knows only the format.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use zeef::ledger::LEDGER_TOPIC;
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::checkpoint::ListedHead;
use zeef::ledger::register::Register;
use zeef::message::continuity::LedgerHead;
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment};
use zeef_test_kit::rng::TestRng;
use zeef_test_kit::scenario;

use super::{blocks_of, heads_of, play_steps, register_of, setups, value_of};

/// The ledger of one lane.
struct Ledger {
    blocks: Vec<Vec<u8>>,
    register: Register,
    register_lines: Vec<Vec<u8>>,
    heads: BTreeMap<String, LedgerHead>,
}

impl Ledger {
    fn new(lane: &str, outputs: &[PublishedOutput]) -> Ledger {
        let entries = outputs.iter().filter(|output| output.topic == "zeef.policy");
        Ledger {
            blocks: blocks_of(outputs).map(|block| value_of(block).to_vec()).collect(),
            register: register_of(outputs),
            register_lines: entries.map(|entry| value_of(entry).to_vec()).collect(),
            heads: heads_of(lane, outputs),
        }
    }

    /// The problems of these blocks.
    fn problems(&self, blocks: &[Vec<u8>]) -> Vec<String> {
        let mut verifier = ChainVerifier::default();
        for (number, block) in blocks.iter().enumerate() {
            verifier.add_block(&|| format!("block {number}"), block, &self.register);
        }
        verifier.compare_with_heads(&self.heads);
        verifier.problems.iter().map(|one| format!("{}: {}", one.place, one.text)).collect()
    }

    /// Runs the script over these blocks. Returns whether it finds them whole, and its words.
    fn run_script(&self, folder: &Path, blocks: &[Vec<u8>]) -> (bool, String) {
        write_lines(&folder.join("register.ndjson"), &self.register_lines);
        let register = folder.join("register.ndjson");
        run_script(folder, (blocks, &self.heads), &["--register", register.to_str().unwrap()])
    }
}

pub(crate) fn write_lines(path: &Path, lines: &[Vec<u8>]) {
    let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
    std::fs::write(path, text).unwrap();
}

/// Runs the script over the messages of chains with these heads, and further arguments. Returns
/// whether it finds them whole, and its words.
pub(crate) fn run_script(
    folder: &Path,
    (messages, heads): (&[Vec<u8>], &BTreeMap<String, LedgerHead>),
    arguments: &[&str],
) -> (bool, String) {
    write_lines(&folder.join("blocks.ndjson"), messages);
    let heads =
        heads.iter().map(|(name, head)| (name.clone(), serde_json::json!(ListedHead::from(head))));
    let heads = serde_json::Value::Object(heads.collect());
    std::fs::write(folder.join("heads.json"), heads.to_string()).unwrap();
    let ran = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"))
        .arg(folder.join("blocks.ndjson"))
        .args(arguments)
        .arg("--heads")
        .arg(folder.join("heads.json"))
        .output()
        .expect("python3");
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Changes, drops, swaps, repeats or invents something.
pub(crate) fn mutate(blocks: &[Vec<u8>], rng: &mut TestRng) -> Vec<Vec<u8>> {
    let mut blocks = blocks.to_vec();
    let at = rng.below(blocks.len());
    let other = rng.below(blocks.len());
    match rng.below(7) {
        0 => drop(blocks.remove(at)),
        1 if blocks[at] != blocks[other] => blocks.swap(at, other),
        2 => blocks.insert(other, blocks[at].clone()),
        3 => {
            let byte = rng.below(blocks[at].len());
            blocks[at].remove(byte);
        }
        4 => {
            let byte = rng.below(blocks[at].len());
            blocks[at].insert(byte, b' ');
        }
        5 => {
            // A line less, or another operator, in good form.
            let mut block: serde_json::Value = serde_json::from_slice(&blocks[at]).unwrap();
            match block["lines"].as_array_mut() {
                Some(lines) => drop(lines.pop()),
                None => block["operator"] = "somebody-else".into(),
            }
            blocks[at] = serde_json::to_vec(&block).unwrap();
        }
        _ => {
            let byte = rng.below(blocks[at].len());
            blocks[at][byte] ^= 1 << rng.below(7);
        }
    }
    blocks
}

/// The blocks by chain: between chains there is no order.
pub(crate) fn by_chain(blocks: &[Vec<u8>]) -> BTreeMap<String, Vec<&[u8]>> {
    let mut chains = BTreeMap::<String, Vec<&[u8]>>::new();
    for bytes in blocks {
        let block: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        chains.entry(block["chain"].to_string()).or_default().push(bytes);
    }
    chains
}

fn ledgers() -> Vec<Ledger> {
    let of_setup = |setup| play_steps(1, 60, setup).lanes;
    let lanes = setups().into_iter().flat_map(of_setup);
    lanes.map(|(lane, outputs)| Ledger::new(&lane.name, &outputs)).collect()
}

#[test]
fn untouched_chains_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    for ledger in ledgers() {
        assert!(ledger.blocks.len() > 5, "{}", ledger.blocks.len());
        assert_eq!(ledger.problems(&ledger.blocks), [""; 0]);
        let (is_whole, said) = ledger.run_script(folder.path(), &ledger.blocks);
        assert!(is_whole, "{said}");
    }
}

#[test]
fn every_change_of_a_chain_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = TestRng::new(7);
    for ledger in ledgers() {
        for number in 0..600 {
            let changed = mutate(&ledger.blocks, &mut rng);
            if by_chain(&changed) == by_chain(&ledger.blocks) {
                continue;
            }
            assert!(!ledger.problems(&changed).is_empty(), "{number}");
            if number % 60 == 0 {
                let (is_whole, said) = ledger.run_script(folder.path(), &changed);
                assert!(!is_whole, "{number}: {said}");
            }
        }
    }
}

/// Every byte of the last block and of one before it.
#[test]
fn every_byte_of_a_block_counts() {
    let ledger = ledgers().remove(0);
    for at in [ledger.blocks.len() - 1, 0] {
        // Of a long block not every one: each is verified with all others.
        let step = ledger.blocks[at].len() / 500 + 1;
        for byte in (0..ledger.blocks[at].len()).step_by(step) {
            let mut blocks = ledger.blocks.clone();
            blocks[at][byte] ^= 1;
            assert!(!ledger.problems(&blocks).is_empty(), "byte {byte} of block {at}");
        }
    }
}

/// A start with a ledger that lost its end, or all of it, stops.
#[test]
fn ledger_that_was_cut_stops_the_start() {
    for keeps in [0, 1] {
        let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
        let mut deployment = InMemoryDeployment::new(setup, scenario::START_MS);
        for number in 0..3 {
            push_patron(&mut deployment, &format!("p{number}"));
            deployment.run_to_end().unwrap();
        }
        deployment.restart();
        deployment.run_to_end().unwrap();
        let outputs = deployment.lanes_with_outputs().remove(0).1;
        let blocks: Vec<Vec<u8>> = blocks_of(&outputs).map(|one| value_of(one).to_vec()).collect();
        assert_eq!(blocks.len(), 3);
        deployment.drop_committed(|output| {
            let is_kept = blocks[..2 * keeps].iter().any(|one| Some(one) == output.value.as_ref());
            output.topic == LEDGER_TOPIC && !is_kept
        });
        deployment.restart();
        let stopped = deployment.run_to_end().expect_err("a ledger without its end");
        assert!(stopped.contains("zeef.ledger") && stopped.contains("block 3"), "{stopped}");
    }
}

pub(crate) fn push_patron(deployment: &mut InMemoryDeployment, id: &str) {
    let fields = r#""kind":"person","surname":"Berg","card_number":"20013004567890","email":"p@example.org","membership":{"id":"M","status":"active"}"#;
    let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
    deployment.push_message("patron", 0, Some(id.as_bytes()), Some(value.as_bytes()));
}
