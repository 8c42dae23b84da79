//! What a patron says of few recipients, so that it meets: short stories of
//! consents and objections, whole and not, each followed by a record.

use std::sync::LazyLock;

use crate::final_outputs::play_messages;
use crate::generated_policies::{CompiledPolicy, EngineAndModel};
use crate::handwritten_policy::compile_files;
use zeef_test_kit::config::{PolicyFile, kind_file, recipient_file};
use zeef_test_kit::model::SourceMessage;
use zeef_test_kit::rng::TestRng;

pub static CONSENT_POLICY: LazyLock<CompiledPolicy> =
    LazyLock::new(|| compile_files(&policy_files()).unwrap());

const IDENTIFIER_FIELDS: &str = r#"
    patron_id = { type = "text", class = "identifier", meaning = "m" }
    library = { type = "isil", class = "plain", meaning = "m" }
"#;

/// Recipients that differ in what they ask of a patron, and in nothing else.
fn policy_files() -> Vec<PolicyFile> {
    let of_kind = |name: &str, role: &str, fields: &[(&str, &str)]| {
        let id = match role {
            "patron" => String::new(),
            _ => format!(
                "{name}_id = {{ type = \"text\", class = \"identifier\", meaning = \"m\" }}"
            ),
        };
        let fields = fields.iter().map(|(name, kind)| {
            let class = if *kind == "instant" { "event" } else { "plain" };
            format!("{name} = {{ type = \"{kind}\", class = \"{class}\", meaning = \"m\" }}\n")
        });
        let fields = fields.collect::<String>() + IDENTIFIER_FIELDS + &id;
        let settings = format!("id = \"{name}_id\"\nkey = \"patron\"\nrole = \"{role}\"");
        kind_file(name, &settings, &fields)
    };
    let asks = [
        ("a", "consent = { purpose = \"p\" }"),
        ("b", "consent = { purpose = \"p\" }"),
        ("c", "consent = { purpose = \"p\", explicit = true }"),
        ("d", "consent = { purpose = \"p\", implied_by = \"patron.made_at\" }"),
        ("e", ""),
        // As the one before, but for what it is called.
        ("ea", ""),
        ("f", "marketing = true"),
    ];
    let mut files = vec![
        of_kind("patron", "patron", &[("made_at", "instant"), ("born_on", "date")]),
        of_kind("visit", "record", &[("on", "date")]),
        of_kind(
            "consent",
            "gate",
            &[
                ("purpose", "text"),
                ("recipient", "text"),
                ("decision", "text"),
                ("manner", "text"),
                ("at", "instant"),
            ],
        ),
        of_kind("objection", "gate", &[("kind", "text"), ("purpose", "text"), ("status", "text")]),
    ];
    for (name, asks) in asks {
        let (source, from) = match name {
            "b" | "d" => ("patron", "born_on"),
            _ => ("visit", "on"),
        };
        let settings = format!(
            "source = \"{source}\"\nkey = {{ pseudonym = \"{source}_id\" }}\n\
             retention = {{ term = \"P1Y\", from = \"{from}\", after = \"retract\" }}\n{asks}"
        );
        let (path, text) = recipient_file(name, &settings, "l = { from = \"library\" }");
        let text = match name {
            "ea" => text.replace("purpose = \"p\"", "purpose = \"q\""),
            _ => text,
        };
        files.push((path, text));
    }
    files
}

/// Around noon of 15 January 2026, which is now; one instant is written twice.
const TIMES: [&str; 7] = [
    "2026-01-14T12:00:00Z",
    "2026-01-15T11:59:59.999999999Z",
    "2026-01-15T12:00:00Z",
    "2026-01-15T13:00:00+01:00",
    "2026-01-15T12:00:00.000000001Z",
    "2026-01-16T12:00:00Z",
    "2026-01-15 12:00:00Z",
];

/// A record with some members; now and then one is missing, or malformed.
fn record_json(rng: &mut TestRng, members: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from(r#"{"library":"NL-A""#);
    for (name, value) in members {
        let value = match rng.below(120) {
            0 => "7".to_owned(),
            1 => "null".to_owned(),
            2 => continue,
            _ => format!("\"{value}\""),
        };
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    text.push('}');
    text.into_bytes()
}

fn consent_or_objection(rng: &mut TestRng, patron: &str) -> (&'static str, Vec<u8>) {
    let purpose = rng.pick_str(&["p", "p", "p", "p", "q", ""]);
    if rng.chance(15) {
        let members = [
            ("patron_id", patron),
            ("objection_id", rng.pick_str(&["1", "2"])),
            (
                "kind",
                rng.pick_str(&[
                    "special_circumstances",
                    "special_circumstances",
                    "special_circumstances",
                    "direct_marketing",
                    "other",
                ]),
            ),
            ("purpose", purpose),
            ("status", rng.pick_str(&["lodged", "upheld", "other", "dismissed", "dismissed"])),
        ];
        return ("objection", record_json(rng, &members));
    }
    let members = [
        ("patron_id", patron),
        ("consent_id", rng.pick_str(&["1", "2", "3", "4"])),
        ("purpose", purpose),
        ("recipient", rng.pick_str(&["", "", "", "a", "b", "c", "d", "x"])),
        ("decision", rng.pick_str(&["granted", "granted", "granted", "refused", "withdrawn", "x"])),
        ("manner", rng.pick_str(&["written", "written", "digital", "digital", "oral"])),
        ("at", rng.pick_str(&TIMES)),
    ];
    ("consent", record_json(rng, &members))
}

/// What happens to one patron; now and then it is erased, or not to be read.
fn consent_scenario(rng: &mut TestRng) -> Vec<SourceMessage> {
    let patron = "p1";
    let visit = |id: &str| {
        format!(r#"{{"visit_id":"{id}","patron_id":"p1","library":"NL-A"}}"#).into_bytes()
    };
    let own = |rng: &mut TestRng| {
        let made_at = match rng.below(4) {
            0 => rng.pick_str(&TIMES),
            _ => "",
        };
        format!(r#"{{"patron_id":"p1","library":"NL-A","made_at":"{made_at}"}}"#).into_bytes()
    };
    let mut kinds_and_values: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
    if rng.chance(80) {
        kinds_and_values.push(("patron", Some(own(rng))));
    }
    for _ in 0..rng.between(1, 8) {
        let (kind, value) = consent_or_objection(rng, patron);
        kinds_and_values.push((kind, Some(value)));
        kinds_and_values.push(("visit", Some(visit(rng.pick_str(&["v", "w"])))));
        kinds_and_values.push(match rng.below(12) {
            0 => ("patron", None),
            1 => ("patron", Some(b"{".to_vec())),
            2 => ("visit", Some(b"{".to_vec())),
            _ => ("patron", Some(own(rng))),
        });
    }
    let messages = (0..).zip(kinds_and_values).map(|(offset, (kind, value))| SourceMessage {
        kind: kind.to_owned(),
        partition: 0,
        offset,
        key: Some(patron.as_bytes().to_vec()),
        value,
    });
    messages.collect()
}

#[test]
fn consents_and_objections_decide_as_model() {
    let programs = CONSENT_POLICY.lane.recipients.iter();
    let alike = programs.filter(|program| program.has_same_checks_as_previous);
    let alike: Vec<_> = alike.map(|program| program.name.as_str()).collect();
    assert_eq!(alike, ["ea", "f"]);
    let mut released = 0;
    for seed in 0..1_500 {
        let mut pair = EngineAndModel::new(&CONSENT_POLICY);
        for message in consent_scenario(&mut TestRng::new(seed)) {
            pair.check_agreement(&format!("story {seed}"), &message);
        }
        released += pair.outcomes.get("released").copied().unwrap_or(0);
    }
    assert!(released > 5_000, "{released} released");
}

#[test]
fn consents_and_objections_converge_to_model() {
    let mut compared = 0;
    for seed in 0..400 {
        let mut rng = TestRng::new(seed);
        let messages = consent_scenario(&mut rng);
        let lines = messages.iter().map(|message| {
            let value = message.value.as_deref().map(String::from_utf8_lossy);
            format!("{} {}\n", message.kind, value.unwrap_or_default())
        });
        let name = format!("story {seed}\n{}", lines.collect::<String>());
        compared += play_messages(&CONSENT_POLICY, &name, &messages, &mut rng);
    }
    assert!(compared > 1_000, "{compared} compared");
}
