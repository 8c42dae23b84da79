//! Rules of the source tree that the compiler does not enforce.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of the engine, lowest first.
const ENGINE_LAYERS: [&str; 8] =
    ["meter", "tally", "record", "memory", "lane", "decide", "delivery", "pipeline"];

/// Uses of a higher engine layer that are still allowed: file, layer.
const ENGINE_EXCEPTIONS: &[(&str, &str)] = &[
    ("engine/decide/mod.rs", "delivery"),
    ("engine/memory/deliveries/row_json.rs", "lane"),
    ("engine/memory/erasures.rs", "lane"),
];

/// Files that use each other in a circle and are still allowed to.
const CIRCLE_EXCEPTIONS: &[&[&str]] = &[
    &["cli/bench/ablation.rs", "cli/bench/measure.rs"],
    &["config/keyring.rs", "config/settings/mod.rs"],
    &["config/lint.rs", "config/load/mod.rs"],
    &["daemon/expiry.rs", "daemon/metrics.rs"],
    &["engine/lane/compile/mod.rs", "engine/lane/gates/mod.rs"],
    &["engine/memory/consents.rs", "engine/memory/erasures.rs"],
    &["engine/memory/patrons/row.rs", "engine/memory/patrons/row_writer.rs"],
    &["intake/expression.rs", "intake/fields.rs", "intake/lookup.rs", "intake/mapping.rs"],
    &["policy/influence.rs", "policy/recipient.rs"],
    &["transport/kafka/group_member.rs", "transport/kafka/log.rs"],
];

/// Names that were replaced by words of the field and must not come back.
const RETIRED_NAMES: &[&str] = &[
    "Again",
    "Anew",
    "Around",
    "Bell",
    "CALL",
    "Case",
    "Desk",
    "Dice",
    "Hand",
    "Holding",
    "LAZY",
    "Lately",
    "Letters",
    "Losses",
    "Manner",
    "Marks",
    "Met",
    "More",
    "NAP",
    "NEAR",
    "Namer",
    "Outlet",
    "PATIENCE",
    "Page",
    "Papers",
    "Pen",
    "Poison",
    "Pulse",
    "Said",
    "Sayings",
    "Script",
    "Seat",
    "Sheet",
    "Silence",
    "Speech",
    "Spot",
    "Survey",
    "Sweep",
    "Taken",
    "Teller",
    "Twin",
    "World",
    "again_len",
    "anew",
    "asking",
    "glance",
    "hand_on",
    "hear",
    "nasty",
    "phrase",
    "settle",
    "sit",
    "some_again",
    "study",
    "tells_upstream",
    "tidy",
    "unheard",
    "unopposed",
    "wonder",
    "work_off",
];

/// The rooms, lowest first; a room uses only rooms listed before it.
///
/// Engine and transport stand side by side: both know messages, neither knows the other.
fn rooms_lowest_first() -> Vec<String> {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    map.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `text` without comments, strings and characters.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let raw_hashes = rest.strip_prefix(b"r").map(|quoted| {
            let hashes = quoted.iter().take_while(|&&byte| byte == b'#').count();
            (hashes, quoted.get(hashes) == Some(&b'"'))
        });
        let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b');
        at += match rest {
            [b'/', b'/', ..] => rest.iter().take_while(|&&byte| byte != b'\n').count(),
            [b'r', ..] if !after_word && raw_hashes.is_some_and(|(_, quote)| quote) => {
                let hashes = raw_hashes.unwrap().0;
                let end = format!("\"{}", "#".repeat(hashes));
                let start = hashes + 2;
                start + text[at + start..].find(&end).unwrap() + end.len()
            }
            [b'"', ..] => string_len(rest),
            [b'\'', b'\\', ..] => {
                3 + rest[3..].iter().take_while(|&&byte| byte != b'\'').count() + 1
            }
            [b'\'', ..] if char_len(&text[at..]).is_some() => char_len(&text[at..]).unwrap(),
            _ => {
                code.push(rest[0]);
                1
            }
        };
    }
    String::from_utf8(code).unwrap()
}

/// The length of the string literal that `rest` begins with.
fn string_len(rest: &[u8]) -> usize {
    let mut len = 1;
    while rest[len] != b'"' {
        len += if rest[len] == b'\\' { 2 } else { 1 };
    }
    len + 1
}

/// The length of the character literal that `rest` begins with; `None` for a lifetime.
fn char_len(rest: &str) -> Option<usize> {
    let character = rest[1..].chars().next()?;
    let len = 1 + character.len_utf8();
    rest[len..].starts_with('\'').then_some(len + 1)
}

/// Each path of a `use` declaration, its groups expanded.
fn use_paths(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let mut paths = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    let group = &group[..group.rfind('}').unwrap()];
    for (at, byte) in group.bytes().chain([b',']).enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                let part = group[start..at].trim();
                if !part.is_empty() {
                    paths.extend(use_paths(&format!("{}{part}", prefix.trim())));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// Every path in `code` that begins with `crate`, `self` or `super`.
fn local_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some((before, declared)) = rest.split_once("use ") {
        let (tree, after) = declared.split_once(';').unwrap_or((declared, ""));
        paths.extend(inline_paths(before));
        if before.is_empty() || before.ends_with(|last: char| last.is_whitespace() || last == ')') {
            paths.extend(use_paths(tree));
        }
        rest = after;
    }
    paths.extend(inline_paths(rest));
    paths
}

fn inline_paths(code: &str) -> impl Iterator<Item = String> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.starts_with("crate::") || word.starts_with("super::"))
        .map(str::to_owned)
}

/// Every file of `src` with the files it uses; tests apart. Paths are below `src`.
fn uses_of_files() -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = BTreeMap::new();
    for file in rust_files(Path::new("src")) {
        let name = file.strip_prefix("src").unwrap().to_str().unwrap().to_owned();
        let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
        if !is_test && name.contains('/') {
            let stem = name.strip_suffix("/mod.rs").or(name.strip_suffix(".rs")).unwrap();
            modules.insert(stem.split('/').map(str::to_owned).collect::<Vec<_>>(), name);
        }
    }
    let mut uses = BTreeMap::new();
    for (module, file) in &modules {
        let text = fs::read_to_string(Path::new("src").join(file)).unwrap();
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let used = local_paths(&code_of(shipped));
        let used = used.iter().filter_map(|path| file_of(path, module, &modules));
        uses.insert(file.clone(), used.filter(|other| other != file).collect());
    }
    uses
}

/// The file that `path` in `module` leads to.
fn file_of(
    path: &str,
    module: &[String],
    modules: &BTreeMap<Vec<String>, String>,
) -> Option<String> {
    let mut segments = path.split("::").map(str::trim).peekable();
    let mut base = match *segments.peek()? {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    for segment in segments {
        match segment {
            "crate" | "self" => {}
            "super" => {
                base.pop();
            }
            name => base.push(name.to_owned()),
        }
    }
    while !base.is_empty() {
        if let Some(file) = modules.get(&base) {
            return Some(file.clone());
        }
        base.pop();
    }
    None
}

/// The room of a file, and within the engine its layer.
fn room_of(file: &str) -> &str {
    let names: Vec<&str> = file.splitn(3, '/').collect();
    match names.as_slice() {
        ["engine", layer, _] => layer,
        [room, ..] => room,
        [] => "",
    }
}

fn engine_layer(file: &str) -> Option<usize> {
    let name = file.strip_prefix("engine/")?;
    let layer = name.split(['/', '.']).next().unwrap();
    ENGINE_LAYERS.iter().position(|&other| other == layer)
}

/// Whether `file` is the `mod.rs` of a folder that `other` lies in.
fn is_parent(file: &str, other: &str) -> bool {
    file.strip_suffix("mod.rs").is_some_and(|folder| other.starts_with(folder))
}

/// The files that `start` reaches over `uses`, step by step.
fn reachable<'a>(
    start: &'a str,
    uses: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        for other in &uses[file] {
            let inside = room_of(file) == room_of(other) && !is_parent(other, file);
            if inside && found.insert(other.as_str()) {
                open.push(other);
            }
        }
    }
    found
}

#[test]
fn rooms_use_only_lower_rooms() {
    let rooms = rooms_lowest_first();
    assert!(rooms.len() > 5, "{rooms:?}");
    for (floor, room) in rooms.iter().enumerate() {
        for file in rust_files(&Path::new("src").join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            let beside = (room == "transport").then(|| "engine".to_owned());
            for other in rooms[floor + 1..].iter().chain(&beside) {
                assert!(
                    !text.contains(&format!("crate::{other}::")),
                    "{} uses the room `{other}` above or beside it",
                    file.display()
                );
            }
        }
    }
}

/// The engine knows canonical records alone: raw ones are converted before it, by the intake's
/// lane of the daemon, or a command. `schemas` parses what their frames name.
#[test]
fn only_schemas_daemon_and_cli_use_intake() {
    let users = ["src/intake", "src/schemas", "src/daemon", "src/cli"];
    for file in rust_files(Path::new("src")) {
        if users.iter().any(|user| file.starts_with(user)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("crate::intake"), "{}", file.display());
    }
}

/// An export is made of what a recipient has, never of what is being decided.
#[test]
fn only_cli_uses_export() {
    for file in rust_files(Path::new("src")) {
        if file.starts_with("src/export") || file.starts_with("src/cli") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("crate::export"), "{}", file.display());
    }
}

/// What partners and the privacy officer are told decides nothing.
#[test]
fn only_cli_uses_contract_and_register() {
    for file in rust_files(Path::new("src")) {
        let is_told = file.starts_with("src/register") || file.starts_with("src/cli");
        let text = fs::read_to_string(&file).unwrap();
        if !is_told && !file.starts_with("src/contract") {
            assert!(!text.contains("crate::contract"), "{}", file.display());
        }
        if !is_told {
            assert!(!text.contains("crate::register"), "{}", file.display());
        }
    }
}

#[test]
fn engine_layers_use_only_lower_layers() {
    let mut upward = BTreeSet::new();
    for (file, used) in uses_of_files() {
        for other in used {
            if let (Some(layer), Some(above)) = (engine_layer(&file), engine_layer(&other))
                && above > layer
            {
                upward.insert((file.clone(), ENGINE_LAYERS[above].to_owned()));
            }
        }
    }
    let allowed =
        ENGINE_EXCEPTIONS.iter().map(|&(file, layer)| (file.to_owned(), layer.to_owned()));
    let allowed: BTreeSet<_> = allowed.collect();
    let new: Vec<_> = upward.difference(&allowed).collect();
    assert!(new.is_empty(), "these use a layer above their own: {new:#?}");
    let mended: Vec<_> = allowed.difference(&upward).collect();
    assert!(mended.is_empty(), "remove these from ENGINE_EXCEPTIONS: {mended:#?}");
}

/// What a `mod.rs` defines for the files below it makes no circle.
#[test]
fn files_of_a_room_use_each_other_in_no_circle() {
    let uses = uses_of_files();
    let mut circles = BTreeSet::new();
    for file in uses.keys() {
        let circle: Vec<&str> = reachable(file, &uses)
            .into_iter()
            .filter(|other| reachable(other, &uses).contains(file.as_str()))
            .collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    let covers =
        |circle: &[&str], allowed: &[&str]| circle.iter().all(|file| allowed.contains(file));
    for circle in &circles {
        let allowed = CIRCLE_EXCEPTIONS.iter().any(|allowed| covers(circle, allowed));
        assert!(allowed, "these files use each other in a circle: {circle:#?}");
    }
    for allowed in CIRCLE_EXCEPTIONS {
        let needed = circles.iter().any(|circle| covers(circle, allowed));
        assert!(needed, "remove this from CIRCLE_EXCEPTIONS: {allowed:#?}");
    }
}

#[test]
fn retired_names_do_not_come_back() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for file in rust_files(Path::new(folder)) {
            let code = code_of(&fs::read_to_string(&file).unwrap());
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let names = words.filter(|word| RETIRED_NAMES.contains(word));
            found.extend(names.map(|name| format!("{}: {name}", file.display())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Each path and each test that the texts about the invariants name in backquotes exists.
#[test]
fn architecture_md_names_only_what_exists() {
    let texts = ["ARCHITECTURE.md", "docs/invariants.md"];
    let text: String = texts.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let files = ["src", "tests"].map(|folder| rust_files(Path::new(folder))).concat();
    let sources: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let is_function = |name: &str| {
        name.contains('_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let (mut paths, mut tests) = (0, 0);
    for name in text.split('`').skip(1).step_by(2).filter(|name| !name.contains("NAME")) {
        if name.contains('/') && !name.contains([' ', '<']) {
            paths += 1;
            assert!(Path::new(name).exists(), "{texts:?} name {name}");
        } else if is_function(name) {
            tests += 1;
            assert!(sources.contains(&format!("fn {name}(")), "{texts:?} name {name}");
        }
    }
    assert!(paths > 15 && tests > 50, "{paths} paths, {tests} tests");
}

#[test]
fn only_kafka_transport_names_rdkafka() {
    for file in rust_files(Path::new("src")) {
        if file.starts_with("src/transport/kafka") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("rdkafka::"), "{}", file.display());
    }
}

#[test]
fn every_module_has_module_docs() {
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} has no head", file.display());
    }
}

#[test]
fn metric_names_stand_only_in_metrics_table() {
    for file in rust_files(Path::new("src")) {
        if file.ends_with("daemon/metrics.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("\"zeef_"), "{}", file.display());
    }
}

/// The ids of flows and rules that `text` names: a letter and two digits that stand alone.
fn rule_ids(text: &str) -> impl Iterator<Item = &str> {
    let alone = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(alone).filter(|word| {
        let mut letters = word.chars();
        let first = letters.next();
        let digits = letters.as_str();
        first.is_some_and(|first| "FGSR".contains(first))
            && digits.len() == 2
            && digits.chars().all(|c| c.is_ascii_digit())
    })
}

/// The ids in the names of test functions: `g11_loan_history_…`.
fn rule_ids_of_tests(code: &str) -> impl Iterator<Item = String> {
    let functions = code.split("fn ").skip(1);
    functions.filter_map(|name| {
        let id = name.split('_').next()?.to_uppercase();
        let is_rule = rule_ids(&id).next() == Some(id.as_str());
        is_rule.then_some(id)
    })
}

#[test]
fn every_rule_id_is_explained_in_rules_md() {
    let rules = fs::read_to_string("docs/rules.md").unwrap();
    let rows = rules.lines().filter_map(|line| line.strip_prefix("| "));
    let explained: Vec<&str> = rows.filter_map(|row| rule_ids(row).next()).collect();
    let mut named = 0;
    let mut folders = vec![PathBuf::from("config/recipients"), PathBuf::from("docs")];
    folders.push(PathBuf::from("config/records"));
    let others = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let others = others.map(|entry| entry.unwrap().path());
    let sources = rust_files(Path::new("src")).into_iter().chain(rust_files(Path::new("tests")));
    for file in sources.chain(others) {
        let text = fs::read_to_string(&file).unwrap();
        let in_text = rule_ids(&text).map(str::to_owned);
        for id in in_text.chain(rule_ids_of_tests(&text)) {
            named += 1;
            assert!(explained.contains(&id.as_str()), "{}: {id}", file.display());
        }
    }
    assert!(named > 100, "{named}");
}

/// Rules in zeef without a file of tests: what holds them instead.
const RULES_WITHOUT_FILE: [(&str, &str); 16] = [
    ("S02", "lint special-category; src/config/load/tests.rs"),
    ("S03", "lint secret; src/config/load/tests.rs"),
    ("S04", "lint free-text; the examples of DETECTORS"),
    ("S05", "lint login; src/config/load/tests.rs"),
    ("S06", "nothing is sold: no rule of a record"),
    ("S07", "assessed by people; tests/ledger/command_line.rs has the numbers"),
    ("S08", "tests/partner; lint pseudonymised"),
    ("R02", "tests/rules/f50_new_recipient.rs; TERM_MAX"),
    ("R03", "camera images are outside of zeef"),
    ("R04", "asked of the national library"),
    ("F03", "tests/golden/ill-library, tests/golden/ill-library-contact"),
    ("F04", "tests/golden/kb-recognition"),
    ("F25", "tests/golden/acquisitions"),
    ("F42", "tests/ledger/command_line.rs"),
    ("F43", "tests/ledger/command_line.rs"),
    ("F44", "tests/ledger/command_line.rs"),
];

/// The ids of docs/rules.md that zeef holds: all gates, special data and terms, and the
/// flows that are served.
fn rules_in_zeef(rules: &str) -> impl Iterator<Item = &str> {
    rules.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let id = cells.next().filter(|id| rule_ids(id).next() == Some(id))?;
        let state = cells.last().filter(|_| id.starts_with('F')).unwrap_or_default();
        let is_elsewhere =
            ["to come", "outside", "internal"].iter().any(|word| state.starts_with(word));
        (!is_elsewhere).then_some(id)
    })
}

#[test]
fn every_rule_in_zeef_has_a_file_of_tests() {
    let rules = fs::read_to_string("docs/rules.md").unwrap();
    let files = rust_files(Path::new("tests/rules"));
    let names: Vec<String> = files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_uppercase())
        .collect();
    let has_file = |id: &str| names.iter().any(|name| name.starts_with(&format!("{id}_")));
    let mut count = 0;
    for id in rules_in_zeef(&rules) {
        count += 1;
        let is_excepted = RULES_WITHOUT_FILE.iter().any(|(excepted, _)| *excepted == id);
        assert!(has_file(id) != is_excepted, "{id}: a file in tests/rules, or an exception");
    }
    assert!(count > 30, "{count}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let id = name.split('_').next().unwrap();
        if name.len() == id.len() || rule_ids(&id.to_uppercase()).next().is_none() {
            continue;
        }
        for test in text.split("#[test]\nfn ").skip(1) {
            let starts_with_id = rule_ids(&test[..3].to_uppercase()).next().is_some();
            assert!(starts_with_id, "{name}: {:.60}", test);
        }
    }
}
