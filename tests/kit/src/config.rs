//! Config folders: copies of the shipped one, and small ones written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zeef::config::LoadedConfig;
use zeef::policy::Policy;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub fn shipped_config() -> PathBuf {
    repository().join("config")
}

/// Copies the shipped config, without keys.
pub fn copy_shipped_config() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_shipped_config(folder.path());
    folder
}

/// Writes the shipped config to a folder, without keys.
pub fn write_shipped_config(to: &Path) {
    for below in ["", "detectors", "records", "recipients"] {
        fs::create_dir_all(to.join(below)).unwrap();
        for entry in fs::read_dir(shipped_config().join(below)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                fs::copy(&path, to.join(below).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// The shipped config with every recipient switched on.
pub fn load_shipped_config() -> LoadedConfig {
    let folder = copy_shipped_config();
    enable_all_recipients(folder.path());
    Policy::load(folder.path()).expect("the shipped config")
}

/// What a shipped recipient has while it is switched off, and what a library makes of it before it
/// switches the recipient on.
const SWITCHED_ON: &[(&str, &str)] = &[
    ("enabled      = false", "enabled      = true"),
    ("members      = []", r#"members      = ["NL-AmrBKW", "BE-GntB"]"#),
    ("devices      = []", r#"devices      = ["automaat-hal"]"#),
    ("scopes       = []", r#"scopes       = ["card_number", "name", "membership_status"]"#),
    (
        r#"by = "authority", of = {} }"#,
        r#"by = "authority", of = { "politie" = "out.legal-demand.politie", "rechtbank" = "out.legal-demand.rechtbank", "belastingdienst" = "out.legal-demand.belastingdienst" } }"#,
    ),
    (
        "of = {} }",
        r#"of = { "De Regenboog" = "out.school", "Het Kompas" = "out.school.kompas" } }"#,
    ),
    (r#"# dpo_advice    = { by = "...", "#, r#"dpo_advice    = { by = "FG", "#),
    (r#"# approval     = { by = "...", "#, r#"approval     = { by = "FG", "#),
    (r#"on = "2026-01-31", document = "..." }"#, r#"on = "2025-12-01", document = "B-9" }"#),
    (
        r#"# terms        = { document = "Gebruiksafspraken", version = "...", on = "2026-01-31" }"#,
        r#"terms        = { document = "Gebruiksafspraken", version = "3", on = "2025-12-01" }"#,
    ),
    (r#"# app_id       = "...""#, r#"app_id       = "app-1""#),
    (" op de website (set your own)", " op de website"),
    // The golden cases are of one library.
    ("excludes     = [\"deurwaarder\", \"deurwaarder-rrn\"]\n", ""),
];

/// An agreement and an authorisation that are in force at the time of the golden cases.
const AGREEMENT: &str = r#"
title     = "Verwerkersovereenkomst van de tests"
reference = "V-1"
clauses   = ["use", "security", "confidentiality", "no_own_purposes", "breach"]
from      = "2025-01-01"
until     = "2029-12-31"
after     = "retract"
"#;
const AUTHORISATION: &str = r#"
title        = "Machtiging van de tests"
reference    = "13/2013"
approved_by  = "Sectoraal comité"
approved_on  = "2013-03-20"
from         = "2025-01-01"
until        = "2029-12-31"
jurisdiction = "BE"
after        = "retract"
"#;

/// Switches on every recipient of a config, with the papers and lists that it needs.
pub fn enable_all_recipients(config: &Path) {
    for entry in fs::read_dir(config.join("recipients")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let on = SWITCHED_ON.iter().fold(text.clone(), |text, (off, on)| text.replace(off, on));
        write_paper(config, "agreements", named_paper(&on, "agreement"), AGREEMENT);
        write_paper(config, "authorisations", named_paper(&on, "authorisation"), AUTHORISATION);
        if on != text {
            fs::write(path, on).unwrap();
        }
    }
}

/// The paper that a recipient's file names under a key, in a line of its own.
fn named_paper<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim_start();
        value.strip_prefix('"')?.split('"').next()
    })
}

fn write_paper(config: &Path, folder: &str, name: Option<&str>, text: &str) {
    if let Some(name) = name {
        let folder = config.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.toml"));
        fs::write(path, format!("name = \"{name}\"{text}")).unwrap();
    }
}

/// Enables one of the shipped intakes in a copy of the shipped config, which gets all of them.
pub fn enable_intake(config: &Path, name: &str) {
    copy_dir(&shipped_config().join("intake"), &config.join("intake"));
    let settings = config.join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let enabled = text.replacen("# enabled = []", &format!("enabled = [\"{name}\"]"), 1);
    assert_ne!(text, enabled, "{name}");
    fs::write(settings, enabled).unwrap();
}

/// Copies a folder and all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

/// Has a config's pseudonymised recipients get their outputs at once: for tests that need a
/// recipient of all loans, and no period.
pub fn remove_statistics_period(config: &Path) {
    for name in ["statistics", "city-monitoring"] {
        let path = config.join(format!("recipients/{name}.toml"));
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let is_kept =
            |line: &&str| !line.starts_with("pseudonymised") && !line.starts_with("period");
        let lines: Vec<&str> = text.lines().filter(is_kept).collect();
        let text = lines.join("\n").replace(", month_of = \"loaned_at\"", "");
        fs::write(path, text + "\n").unwrap();
    }
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// A file of a config folder: its path there, and its text.
pub type PolicyFile = (String, String);

/// The file of a kind: what it says beside its name, and its fields.
pub fn kind_file(name: &str, settings: &str, fields: &str) -> PolicyFile {
    let text = format!(
        "name = \"{name}\"\ntitle = \"T\"\ntopic = \"{name}\"\n{settings}\n[fields]\n{fields}"
    );
    (format!("records/{name}.toml"), text)
}

/// The file of the patron kind: an id, a library, the day `born_on`, and other fields.
pub fn patron_kind_file(other_fields: &str) -> PolicyFile {
    let fields = r#"
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        born_on = { type = "date", class = "plain", meaning = "m" }
        "#;
    kind_file(
        "patron",
        "role = \"patron\"\nid = \"patron_id\"\nkey = \"patron\"",
        &format!("{fields}{other_fields}"),
    )
}

/// The file of a recipient, on a topic of its own name.
pub fn recipient_file(name: &str, settings: &str, fields: &str) -> PolicyFile {
    let text = format!(
        "name = \"{name}\"\ntitle = \"T\"\ntopic = \"{name}\"\npurpose = \"p\"\n\
         purpose_text = \"P\"\nlegal_basis = \"contract\"\ncontroller = \"C\"\n\
         libraries = \"all\"\nnotice = {{ on = \"2018-05-25\", where = \"P\" }}\n\
         credential_reason = \"R\"\n{settings}\n[fields]\n{fields}"
    );
    (format!("recipients/{name}.toml"), text)
}

/// Loads the policy of some files.
pub fn load_files(files: &[PolicyFile]) -> Result<Policy, String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    load_folder(folder.path())
}

/// Loads the policy of a config folder.
pub fn load_folder(folder: &Path) -> Result<Policy, String> {
    let loaded = Policy::load(folder);
    Ok(loaded.map_err(|mistakes| format!("{mistakes:#?}"))?.policy)
}
