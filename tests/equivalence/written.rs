//! Policies by hand, as small as can be.

use std::path::Path;

use zeef::policy::Policy;

use crate::engine;
use crate::generated::World;
use crate::plain::Bounds;
use crate::policies::NOW_MS;

/// A file of a config folder: its path there, and its text.
pub type File = (String, String);

/// A kind's file: what it says beside its name, and its fields.
pub fn kind(name: &str, settings: &str, fields: &str) -> File {
    let text = format!(
        "name = \"{name}\"\ntitle = \"T\"\ntopic = \"{name}\"\n{settings}\n[fields]\n{fields}"
    );
    (format!("records/{name}.toml"), text)
}

/// A recipient's file, on a topic of its own name.
pub fn recipient(name: &str, settings: &str, fields: &str) -> File {
    let text = format!(
        "name = \"{name}\"\ntitle = \"T\"\ntopic = \"{name}\"\npurpose = \"p\"\n\
         purpose_text = \"P\"\nlegal_basis = \"contract\"\ncontroller = \"C\"\n\
         libraries = \"all\"\ncredential_reason = \"R\"\n{settings}\n[fields]\n{fields}"
    );
    (format!("recipients/{name}.toml"), text)
}

/// Loads and compiles a policy, with the limits that hold by default.
pub fn load(files: &[File]) -> Result<World, String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    of_folder(folder.path())
}

/// Loads and compiles the policy of a config folder.
pub fn of_folder(folder: &Path) -> Result<World, String> {
    let loaded = Policy::load(folder);
    let policy = loaded.map_err(|mistakes| format!("{mistakes:#?}"))?.policy;
    let bounds = Bounds {
        record_bytes: 1 << 20,
        depth: 64,
        keys: 4_096,
        output_bytes: 1_000_000,
    };
    let lane = engine::lane(&policy, bounds).map_err(|error| error.to_string())?;
    Ok(World {
        policy,
        bounds,
        lane,
        now_ms: NOW_MS,
    })
}

/// A released line without its key, which is a pseudonym.
pub fn without_key(line: &str) -> String {
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    match parts[..] {
        ["released", topic, _, value] => format!("{topic} {value}"),
        _ => line.to_owned(),
    }
}
