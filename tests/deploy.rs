//! What is shipped beside the program: the image, the compose file, the unit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use zeef_test_kit::config::files_below;

/// Exit codes that a restart does not cure.
const NO_RESTART_EXIT_CODES: [&str; 3] = ["70", "75", "78"];

fn significant_lines(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Whether a pattern names the path, or a folder that it lies in. `*` stands for any
/// part of one name.
fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/');
    let mut pattern = pattern.trim_end_matches('/').split('/');
    pattern.all(|part| path.next().is_some_and(|name| glob_matches(part, name)))
}

fn glob_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name
            .strip_prefix(start)
            .is_some_and(|rest| rest.len() >= end.len() && rest.ends_with(end)),
    }
}

/// Whether the Dockerfile copies the path into a layer, from the context or from where
/// the build has it.
fn is_copied_into_image(path: &str) -> bool {
    significant_lines("deploy/Dockerfile").iter().any(|line| {
        let mut words = line.split_whitespace();
        assert_ne!(words.clone().next(), Some("ADD"), "{line}");
        let is_copy = words.next() == Some("COPY");
        let mut sources: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
        sources.pop();
        let mut sources =
            sources.iter().map(|source| source.strip_prefix("/src/").unwrap_or(source));
        is_copy && sources.any(|source| pattern_matches(source, path))
    })
}

/// Whether the path is sent to the build at all: the last line that names it decides.
fn is_in_build_context(path: &str) -> bool {
    let rules = significant_lines(".dockerignore");
    let decides = rules.iter().rev().find_map(|rule| {
        let (pattern, sent) = match rule.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (rule.as_str(), false),
        };
        pattern_matches(pattern, path).then_some(sent)
    });
    decides.unwrap_or(true)
}

#[test]
fn image_contains_shipped_config_and_sources() {
    for path in
        ["Cargo.toml", "Cargo.lock", "src/main.rs", "tests/kit/Cargo.toml", "config/zeef.toml"]
    {
        assert!(is_in_build_context(path) && is_copied_into_image(path), "{path}");
    }
    for folder in ["config/records", "config/recipients"] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let path = path.to_str().unwrap();
            assert!(is_in_build_context(path) && is_copied_into_image(path), "{path}");
        }
    }
}

/// Files that the compiler reads, by the macros in this one that name them.
fn included_paths(source: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(source).unwrap();
    let mut found = Vec::new();
    for name in ["include_str!(\"", "include_bytes!(\"", "include_dir!(\""] {
        for (at, start) in text.match_indices(name) {
            let rest = &text[at + start.len()..];
            let path = &rest[..rest.find('"').unwrap()];
            found.push(match path.strip_prefix("$CARGO_MANIFEST_DIR/") {
                Some(path) => PathBuf::from(path),
                None => source.parent().unwrap().join(path),
            });
        }
    }
    found
}

/// Returns the path below the repository, without `..`.
fn repository_path(path: &Path) -> String {
    let root = fs::canonicalize(".").unwrap();
    let path = fs::canonicalize(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn image_is_built_from_all_that_the_compiler_reads() {
    let mut included = 0;
    for source in files_below(Path::new("src")) {
        if source.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        for path in included_paths(&source) {
            let files = if path.is_dir() { files_below(&path) } else { vec![path] };
            included += files.len();
            for file in files {
                let path = repository_path(&file);
                assert!(is_in_build_context(&path) && is_copied_into_image(&path), "{path}");
            }
        }
    }
    assert!(included > 40, "{included} files");
    // Cargo refuses a manifest that names a target which is not there.
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    for bench in manifest["bench"].as_array().unwrap() {
        let name = bench["name"].as_str().unwrap();
        let paths = [format!("benches/{name}.rs"), format!("benches/{name}/main.rs")];
        let path = paths.iter().find(|path| Path::new(path).is_file()).expect(name);
        assert!(is_in_build_context(path) && is_copied_into_image(path), "{path}");
    }
}

#[test]
fn image_layers_contain_no_key() {
    for path in [
        "config/keys/zeef.state.key",
        "config/keys/statistics.key",
        "config/keys/statistics.toml",
        "config/statistics.key",
        "config/records/statistics.key",
        "config/recipients/statistics.key.2026-01-01",
        "config/sasl-password",
        "keys/statistics.key",
        ".env",
        ".git/config",
        "target/release/zeef",
    ] {
        assert!(!is_copied_into_image(path), "{path} is copied into a layer");
        assert!(!is_in_build_context(path), "{path} is sent to the build");
    }
}

proptest! {
    /// Where a key may lie, whatever its name.
    #[test]
    fn image_contains_nothing_of_config_but_toml(
        path in "config/([a-z]{1,10}/|records/|recipients/|keys/)?[a-z.-]{1,20}(\\.key|\\.pem|\\.txt|)",
    ) {
        prop_assume!(!path.ends_with(".toml"));
        prop_assert!(!is_copied_into_image(&path), "{}", path);
        prop_assert!(!is_in_build_context(&path), "{}", path);
    }
}

#[test]
fn systemd_unit_does_not_restart_after_final_exit_codes() {
    let unit = significant_lines("deploy/zeef.service");
    let codes = unit.iter().find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let codes: Vec<&str> = codes.unwrap().split(' ').collect();
    assert_eq!(codes, NO_RESTART_EXIT_CODES);
    for want in ["LimitCORE=0", "LimitNOFILE=16384", "StartLimitIntervalSec=0"] {
        assert!(unit.iter().any(|line| line == want), "{want}");
    }
}

/// The lines of one service of the compose file.
fn compose_service_lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string("deploy/compose.yaml").unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("  {name}:"));
    let lines = lines
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with("   ") || line.starts_with("  #"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn compose_never_restarts_and_mounts_keys_for_zeef_only() {
    let zeef = compose_service_lines("zeef");
    for want in [
        "restart: \"no\"",
        "ulimits: { core: 0, nofile: 16384 }",
        "- ../config/keys:/etc/zeef/keys:ro",
    ] {
        assert!(zeef.iter().any(|line| line == want), "{want}: {zeef:#?}");
    }
    let topics = compose_service_lines("topics");
    assert!(topics.iter().any(|line| line.contains("/etc/zeef/zeef.toml:ro")));
    assert!(!topics.iter().any(|line| line.contains("keys")), "{topics:#?}");
    for line in zeef.iter().chain(&topics) {
        assert!(!line.contains("../config:"), "the whole config is mounted: {line}");
    }
}

/// What a file of the config may name is there, also in the containers.
#[test]
fn compose_mounts_every_folder_that_a_config_is_read_from() {
    let folders = ["agreements", "authorisations", "detectors", "intake", "recipients", "records"];
    for service in ["topics", "zeef"] {
        let lines = compose_service_lines(service);
        for folder in folders {
            assert!(Path::new("config").join(folder).is_dir(), "there is no config/{folder}");
            let want = format!("- ../config/{folder}:/etc/zeef/{folder}:ro");
            assert!(lines.contains(&want), "{service} has no {want}");
        }
    }
}

#[test]
fn release_profile_strips_debug_sections() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let profile = manifest.split("[profile.release]").nth(1).unwrap();
    let profile = profile.split("\n[").next().unwrap();
    assert!(profile.contains("strip = \"debuginfo\""), "{profile}");
    // The image keeps them in a file of their own.
    let image = fs::read_to_string("deploy/Dockerfile").unwrap();
    for want in ["--only-keep-debug", "--strip-debug --add-gnu-debuglink="] {
        assert!(image.contains(want), "{want}");
    }
}

/// A script looks for a jar by its version; the pom says which one is fetched.
#[test]
fn scripts_for_development_name_the_versions_of_their_poms() {
    let version = |path: &str, start: &str, end: &str| {
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap().strip_suffix(end).unwrap().to_owned()
    };
    let kafka = ("<kafka.version>", "</kafka.version>");
    let debezium = ("<debezium.version>", "</debezium.version>");
    for (script, variable, pom, (start, end)) in [
        ("deploy/dev/kafka", "version=", "deploy/dev/pom.xml", kafka),
        ("deploy/dev/upstream", "kafka_version=", "deploy/dev/pom-connect.xml", kafka),
        ("deploy/dev/upstream", "debezium_version=", "deploy/dev/pom-connect.xml", debezium),
    ] {
        assert_eq!(version(script, variable, ""), version(pom, start, end), "{script}: {variable}");
    }
}
