//! The ids of activities that lines lead to are those of the record of processing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::command_line::{Deployment, reservation};

/// The URIs of the activities of lines, by recipient, as `zeef.policy` documents them.
fn uris_of_lines(deployment: &Deployment) -> BTreeMap<String, BTreeSet<String>> {
    let folder = deployment.path("data/.zeef/ledger");
    let rows = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut uri_of = BTreeMap::new();
    for row in rows("policy.ndjson") {
        // A file has the entry itself; its key is in it.
        if let (Some(id), Some(uri)) = (row["activity"].as_str(), row["uri"].as_str()) {
            uri_of.insert(id.to_owned(), uri.to_owned());
        }
    }
    let mut uris = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "policy.ndjson" {
            continue;
        }
        for block in rows(&name) {
            for line in block["lines"].as_array().unwrap() {
                let at = usize::try_from(line["activity"].as_u64().unwrap()).unwrap();
                let id = block["activities"][at].as_str().unwrap();
                let recipient = id.split('/').next().unwrap().to_owned();
                uris.entry(recipient).or_default().insert(uri_of[id].clone());
            }
        }
    }
    uris
}

/// The URIs of `zeef ledger export --as ldv`.
fn exported_uris(deployment: &Deployment) -> BTreeSet<String> {
    let text = deployment.ledger(&["export", "--as", "ldv"]);
    let lines = text.lines().map(|line| -> Value { serde_json::from_str(line).unwrap() });
    let of_line = |line: Value| {
        line["attributes"]["dpl.core.processing_activity_id"].as_str().unwrap().to_owned()
    };
    lines.map(of_line).collect()
}

/// The URI of each recipient in `zeef register`.
fn uris_of_register(deployment: &Deployment) -> BTreeMap<String, String> {
    let ran = deployment.command(&["register", "--format", "json"]).output().unwrap();
    let register: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let entries = register["processing"].as_array().unwrap().iter();
    entries
        .filter_map(|entry| {
            let uri = entry["activity"][0].as_str()?;
            Some((entry["name"].as_str().unwrap().to_owned(), uri.to_owned()))
        })
        .collect()
}

fn change_recipient(deployment: &Deployment, from: &str, to: &str) {
    let path = deployment.path("config/recipients/reservation-slip.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn activities_of_lines_are_those_of_the_register() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let (lines, register) = (uris_of_lines(&deployment), uris_of_register(&deployment));
    assert!(lines.contains_key("reservation-slip") && lines.len() > 2, "{lines:?}");
    // Each recipient with a line leads to its entry, and to nothing else.
    for (recipient, uris) in &lines {
        assert_eq!(uris, &BTreeSet::from([register[recipient].clone()]), "{recipient}");
        assert!(register[recipient].starts_with("https://example.org/register/"));
    }
    assert_eq!(exported_uris(&deployment), lines.values().flatten().cloned().collect());

    // Another policy is another activity in both, and only of the recipient that changed.
    change_recipient(&deployment, "\"P14D\"", "\"P13D\"");
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();
    let (later, changed) = (uris_of_lines(&deployment), uris_of_register(&deployment));
    let (old, new) = (&register["reservation-slip"], &changed["reservation-slip"]);
    assert_ne!(old, new);
    assert_eq!(later["reservation-slip"], BTreeSet::from([old.clone(), new.clone()]));
    let others = |uris: &BTreeMap<String, String>| {
        let mut uris = uris.clone();
        uris.remove("reservation-slip");
        uris
    };
    assert_eq!(others(&register), others(&changed));
}

#[test]
fn activity_of_a_recipient_that_is_switched_off_is_that_of_the_register() {
    let (deployment, _) = Deployment::with_ready_reservation();
    let path = deployment.path("config/recipients/reservation-slip.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("enabled")).collect();
    fs::write(&path, format!("enabled = false\n{}\n", text.join("\n"))).unwrap();
    let settings = deployment.path("config/zeef.toml");
    let former =
        "\n[former.reservation-slip]\ntopics = [\"out.reservation-slip\"]\nwhat = \"retract\"\n";
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}{former}")).unwrap();
    let before = uris_of_lines(&deployment)["reservation-slip"].clone();
    deployment.run();
    let (lines, register) = (uris_of_lines(&deployment), uris_of_register(&deployment));
    let of_slip = &lines["reservation-slip"];
    assert!(of_slip.contains(&register["reservation-slip"]), "{of_slip:?} {register:?}");
    assert!(
        of_slip
            .is_subset(&before.into_iter().chain([register["reservation-slip"].clone()]).collect())
    );
    // What was taken back of a former topic is the recipient's, too.
    let question =
        ["recipient", "reservation-slip", "--from", "2020-01-01", "--until", "2090-01-01"];
    let told = deployment.ledger(&question);
    assert!(told.contains("taken back: recipient removed"), "{told}");
}
