//! What a patron says of few recipients, so that it meets: short stories of
//! consents and objections, whole and not, each followed by a record.

use std::sync::LazyLock;

use crate::converged::play;
use crate::dice::Dice;
use crate::generated::{Pair, World};
use crate::plain::Message;
use crate::written::{File, kind, load, recipient};

pub static WORLD: LazyLock<World> = LazyLock::new(|| load(&files()).unwrap());

const IDENTIFIERS: &str = r#"
    patron_id = { type = "text", class = "identifier", meaning = "m" }
    library = { type = "isil", class = "plain", meaning = "m" }
"#;

/// Recipients that differ in what they ask of a patron, and in nothing else.
fn files() -> Vec<File> {
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
        let fields = fields.collect::<String>() + IDENTIFIERS + &id;
        let settings = format!("id = \"{name}_id\"\nkey = \"patron\"\nrole = \"{role}\"");
        kind(name, &settings, &fields)
    };
    let asks = [
        ("a", "consent = { purpose = \"p\" }"),
        ("b", "consent = { purpose = \"p\" }"),
        ("c", "consent = { purpose = \"p\", explicit = true }"),
        (
            "d",
            "consent = { purpose = \"p\", implied_by = \"patron.made_at\" }",
        ),
        ("e", ""),
        // As the one before, but for what it is called.
        ("ea", ""),
        ("f", "marketing = true"),
    ];
    let mut files = vec![
        of_kind(
            "patron",
            "patron",
            &[("made_at", "instant"), ("born_on", "date")],
        ),
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
        of_kind(
            "objection",
            "gate",
            &[("kind", "text"), ("purpose", "text"), ("status", "text")],
        ),
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
        let (path, text) = recipient(name, &settings, "l = { from = \"library\" }");
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
fn record(dice: &mut Dice, members: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from(r#"{"library":"NL-A""#);
    for (name, value) in members {
        let value = match dice.below(120) {
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

fn said(dice: &mut Dice, patron: &str) -> (&'static str, Vec<u8>) {
    let purpose = dice.word(&["p", "p", "p", "p", "q", ""]);
    if dice.chance(15) {
        let members = [
            ("patron_id", patron),
            ("objection_id", dice.word(&["1", "2"])),
            (
                "kind",
                dice.word(&[
                    "special_circumstances",
                    "special_circumstances",
                    "special_circumstances",
                    "direct_marketing",
                    "other",
                ]),
            ),
            ("purpose", purpose),
            (
                "status",
                dice.word(&["lodged", "upheld", "other", "dismissed", "dismissed"]),
            ),
        ];
        return ("objection", record(dice, &members));
    }
    let members = [
        ("patron_id", patron),
        ("consent_id", dice.word(&["1", "2", "3", "4"])),
        ("purpose", purpose),
        (
            "recipient",
            dice.word(&["", "", "", "a", "b", "c", "d", "x"]),
        ),
        (
            "decision",
            dice.word(&["granted", "granted", "granted", "refused", "withdrawn", "x"]),
        ),
        (
            "manner",
            dice.word(&["written", "written", "digital", "digital", "oral"]),
        ),
        ("at", dice.word(&TIMES)),
    ];
    ("consent", record(dice, &members))
}

/// What happens to one patron; now and then it is erased, or not to be read.
fn story(dice: &mut Dice) -> Vec<Message> {
    let patron = "p1";
    let visit = |id: &str| {
        format!(r#"{{"visit_id":"{id}","patron_id":"p1","library":"NL-A"}}"#).into_bytes()
    };
    let own = |dice: &mut Dice| {
        let made_at = match dice.below(4) {
            0 => dice.word(&TIMES),
            _ => "",
        };
        format!(r#"{{"patron_id":"p1","library":"NL-A","made_at":"{made_at}"}}"#).into_bytes()
    };
    let mut told: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
    if dice.chance(80) {
        told.push(("patron", Some(own(dice))));
    }
    for _ in 0..dice.between(1, 8) {
        let (kind, value) = said(dice, patron);
        told.push((kind, Some(value)));
        told.push(("visit", Some(visit(dice.word(&["v", "w"])))));
        told.push(match dice.below(12) {
            0 => ("patron", None),
            1 => ("patron", Some(b"{".to_vec())),
            2 => ("visit", Some(b"{".to_vec())),
            _ => ("patron", Some(own(dice))),
        });
    }
    let messages = (0..).zip(told).map(|(offset, (kind, value))| Message {
        kind: kind.to_owned(),
        partition: 0,
        offset,
        key: Some(patron.as_bytes().to_vec()),
        value,
    });
    messages.collect()
}

#[test]
fn what_patrons_say_is_heard_alike() {
    let programs = WORLD.lane.recipients.iter();
    let alike = programs.filter(|program| program.asks_like_before);
    let alike: Vec<_> = alike.map(|program| program.name.as_str()).collect();
    assert_eq!(alike, ["ea", "f"]);
    let mut released = 0;
    for seed in 0..1_500 {
        let mut pair = Pair::new(&WORLD);
        for message in story(&mut Dice::new(seed)) {
            pair.agree(&format!("story {seed}"), &message);
        }
        released += pair.outcomes.get("released").copied().unwrap_or(0);
    }
    assert!(released > 5_000, "{released} released");
}

#[test]
fn what_patrons_say_takes_back_and_releases_alike() {
    let mut compared = 0;
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let messages = story(&mut dice);
        let lines = messages.iter().map(|message| {
            let value = message.value.as_deref().map(String::from_utf8_lossy);
            format!("{} {}\n", message.kind, value.unwrap_or_default())
        });
        let name = format!("story {seed}\n{}", lines.collect::<String>());
        compared += play(&WORLD, &name, &messages, &mut dice);
    }
    assert!(compared > 1_000, "{compared} compared");
}
