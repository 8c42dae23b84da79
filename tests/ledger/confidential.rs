//! What a patron is told is as if recipients that patrons are not told of had nothing, and never did.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use zeef::ledger::answer::{PatronScope, PatronSearch};
use zeef::ledger::block::Block;
use zeef::ledger::confidential::ConfidentialRecipients;
use zeef::ledger::read_api::ReadQuestion;
use zeef::ledger::register::{Register, recipient_of_activity};
use zeef::ledger::retractions::RetractionTracker;
use zeef::policy::Policy;
use zeef::policy::acknowledgement::AcknowledgementRule;
use zeef::policy::confidentiality::Confidentiality;
use zeef::policy::form::Date;
use zeef::policy::term::Term;
use zeef::transport::memory::PublishedOutput;
use zeef_test_kit::config::{copy_dir, load_shipped_config};
use zeef_test_kit::deployment::ledger_keys;
use zeef_test_kit::worker::state_keys;

use super::audit::run_in_directory;
use super::command_line::{Deployment, patron, reservation};
use super::serve::{Service, TOKEN};
use super::{blocks_of, play_steps, register_of, setups, value_of};

const DEMAND_FILE: &str = "config/recipients/legal-demand.toml";
const REPORT_FILE: &str = "config/recipients/demand-report.toml";
const MARK: &str = "confidential = { unless_false = \"confidential\" }\n";

/// A demand that was granted this month, with a text of it changed.
fn demand(patron: &str, number: usize, change: (&str, &str)) -> String {
    let [received, advised, decided] =
        [9, 8, 7].map(|days| jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days));
    format!(
        r#"{{"demand_id":"v-{number}","patron_id":"{patron}","library":"NL-AmrBKW","authority":"politie","law_article":"126nd Sv","manner":"written","fields":["surname","initials"],"received_at":"{received}","team_leader":"T. Leider","advice":{{"at":"{advised}","advice":"grant"}},"decision":{{"role":"directeur","at":"{decided}","decision":"granted","legal_duty":true}},"confidential":true}}"#
    )
    .replace(change.0, change.1)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A library with two patrons, whose police may demand; nothing was demanded yet. Returns the id of
/// the patron whose reservation is ready, too.
fn library() -> (Deployment, String) {
    let deployment = Deployment::new();
    let file = deployment.path(DEMAND_FILE);
    edit(&file, "enabled      = false", "enabled      = true");
    edit(&file, "of = {}", "of = { \"politie\" = \"out.legal-demand.politie\" }");
    let ack =
        "\nack = { topic = \"ack.report\", within = \"P7D\", since = \"2020-01-01\" }\ntopic ";
    edit(&deployment.path(REPORT_FILE), "\ntopic ", ack);
    deployment.zeef(&["keys", "new", "legal-demand"]);
    let id = "p-1".to_owned();
    deployment.append("patron", &id, &patron(&id));
    deployment.append("patron", "p-2", &patron("p-2"));
    deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
    deployment.run();
    (deployment, id)
}

/// Every answer to a patron, or about one.
fn answers(deployment: &Deployment, patron: &str) -> Vec<(i32, String, String)> {
    let checked = ["--values", "--identity-checked", "paspoort"];
    let ledger = ["ledger", "patron", patron];
    let access = ["rights", "access", patron, "--identity", "paspoort"];
    let erase = ["rights", "erase", patron];
    let mut found = Vec::new();
    for form in [&["--json"][..], &["--lang", "nl"], &["--lang", "en"]] {
        for words in [
            [&ledger[..], form].concat(),
            [&ledger[..], &checked, form].concat(),
            [&access[..], form].concat(),
            [&erase[..], &["--dry-run"], form].concat(),
            [&erase[..], &["--proof"], form].concat(),
        ] {
            let Output { status, stdout, stderr } = run_in_directory(deployment, &words);
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            found.push((status.code().unwrap(), text(stdout), text(stderr)));
        }
    }
    let service = Service::start(deployment);
    let body = format!(
        r#"{{"dpl.core.data_subject_id":"{patron}","dpl.core.data_subject_id_type":"patron"}}"#
    );
    found.push((200, service.ask(&body, TOKEN), String::new()));
    found
}

fn copy(deployment: &Deployment) -> Deployment {
    let folder = tempfile::tempdir().unwrap();
    copy_dir(deployment.folder.path(), folder.path());
    Deployment { folder }
}

#[test]
fn answer_is_the_same_as_without_confidential_recipients() {
    let (with, id) = library();
    let without = copy(&with);
    with.append("demand", &id, &demand(&id, 1, ("", "")));
    with.append("demand", &id, &demand(&id, 2, ("", "")));
    with.append("demand", "p-2", &demand("p-2", 3, ("126nd Sv", "47 AWR")));
    with.run();
    with.append("demand", &id, &demand(&id, 1, ("\"surname\"", "\"surname\",\"email\"")));
    with.append("demand", &id, &demand(&id, 2, ("granted", "refused")));
    with.run();
    for patron in [&id, "p-2", "nobody"] {
        for (told, want) in answers(&with, patron).into_iter().zip(answers(&without, patron)) {
            assert_eq!(told, want);
        }
    }
    // What the authority asks for is there, and what concerns no single patron.
    let shown = with.ledger(&["patron", &id, "--json", "--include-confidential"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    for name in ["legal-demand", "demand-report"] {
        for list in ["now", "history"] {
            let list = shown[list].as_array().unwrap();
            assert!(list.iter().any(|one| one["recipient"] == name), "{name}: {shown}");
        }
        let received = ["--from", "2020-01-01", "--until", "2100-01-01", "--json"];
        let received = with.ledger(&[&["recipient", name][..], &received].concat());
        let received: serde_json::Value = serde_json::from_str(&received).unwrap();
        assert_eq!(received["patrons"], 2, "{received}");
        assert!(with.ledger(&["stats"]).contains(name));
    }
    assert_eq!(shown["unacknowledged"][0]["recipient"], "demand-report", "{shown}");
    let erase = ["rights", "erase", &id, "--dry-run", "--include-confidential"];
    let losses = String::from_utf8(run_in_directory(&with, &erase).stdout).unwrap();
    assert!(losses.contains("legal-demand"), "{losses}");
    assert!(with.ledger(&["verify"]).starts_with("ok "));
    let audit = with.ledger(&["audit", "--json"]);
    for words in ["ledger patron", "rights erase --dry-run"] {
        assert_eq!(audit.matches(&format!("\"{words} --include-confidential\"")).count(), 1);
    }
    // A letter to a patron never has it.
    let letter = ["rights", "access", &id, "--identity", "x", "--include-confidential"];
    assert_eq!(run_in_directory(&with, &letter).status.code(), Some(2));
}

#[test]
fn confidentiality_ends_with_its_last_day_or_its_mark_and_not_with_the_file() {
    let (deployment, id) = library();
    deployment.append("demand", &id, &demand(&id, 1, ("", "")));
    deployment.run();
    let is_told = |name: &str| {
        let text = deployment.ledger(&["patron", &id, "--json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names = |list: &str| {
            answer[list].as_array().unwrap().iter().any(|one| one["recipient"] == name)
        };
        assert_eq!(names("now"), names("history"), "{text}");
        names("now")
    };
    let set = |from: &str, to: &str| {
        for file in [DEMAND_FILE, REPORT_FILE] {
            edit(&deployment.path(file), from, to);
        }
    };
    assert!(!is_told("legal-demand") && !is_told("demand-report"));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let until = |day: jiff::civil::Date| format!("confidential = {{ until = \"{day}\" }}\n");
    let (still, over) = (until(today.tomorrow().unwrap()), until(today.yesterday().unwrap()));
    set(MARK, &still);
    assert!(!is_told("legal-demand") && !is_told("demand-report"));
    set(&still, &over);
    assert!(is_told("legal-demand") && is_told("demand-report"));
    set(&over, "");
    assert!(is_told("legal-demand") && is_told("demand-report"));
    // A mark for some records hides the lines of when there was none: they say of none.
    set("\ntopic ", &format!("\n{MARK}topic "));
    assert!(!is_told("legal-demand") && !is_told("demand-report"));
    set(MARK, "");
    // Without its file the register tells what it was.
    fs::remove_file(deployment.path(DEMAND_FILE)).unwrap();
    assert!(!is_told("legal-demand") && is_told("demand-report"));
}

/// The blocks without the lines of a recipient.
fn without_recipient<'a>(blocks: &[Block<'a>], recipient: &str) -> Vec<Block<'a>> {
    let mut blocks = blocks.to_vec();
    for block in &mut blocks {
        let activities = block.activities.clone();
        block.lines.retain(|line| {
            recipient_of_activity(&activities[usize::from(line.activity)]) != recipient
        });
    }
    blocks
}

/// What blocks tell of a patron: its history, each output that has lines, the answer of the read
/// interface, and the open retractions.
fn told_of(
    (id, blocks): (&str, &[Block<'_>]),
    register: &Register,
    policy: &Policy,
    outputs: &[PublishedOutput],
) -> Vec<String> {
    let keys = ledger_keys();
    let hash = state_keys().patron_hash(id).0;
    let left_out = &ConfidentialRecipients::at(0, policy, register);
    let scope = PatronScope { register, keys: &keys, patron_hash: Some(hash), left_out };
    let mut search = PatronSearch::new(scope);
    let body = format!(
        r#"{{"dpl.core.data_subject_id":"{id}","dpl.core.data_subject_id_type":"patron"}}"#
    );
    let question = ReadQuestion::parse(body.as_bytes()).unwrap();
    let tracker = RetractionTracker::of_policy(policy, keys.clone()).unwrap();
    let mut tracker = tracker.without(left_out).unwrap().with_only_patron(hash);
    let mut told = Vec::new();
    for block in blocks {
        search.add_block(block);
        tracker.add_block(block);
        told.extend(question.find_lines(block, &scope).iter().map(ToString::to_string));
    }
    // Some are enough: each is searched in all years.
    for output in outputs.iter().filter(|output| output.topic.starts_with("out.")).take(60) {
        let found = search.find_given(&output.topic, output.key.as_deref().unwrap());
        told.extend(found.map(|found| format!("{found:?}")));
    }
    told.extend(search.events.iter().map(|event| format!("{event:?}")));
    for (name, asked) in tracker.recipients() {
        let mut open: Vec<String> = asked.open().map(|one| format!("{name}: {one:?}")).collect();
        open.sort();
        told.extend(open);
    }
    told
}

/// The policy whose recipients all acknowledge.
fn acknowledging_policy() -> Policy {
    let mut policy = load_shipped_config().policy;
    for one in &mut policy.recipients {
        one.acknowledgement = Some(AcknowledgementRule {
            topic: format!("ack.{}", one.name),
            within: Term::parse("P7D").unwrap(),
            since: Date::parse("2000-01-01").unwrap(),
        });
    }
    policy
}

/// What a lane wrote.
struct LaneHistory<'a> {
    outputs: &'a [PublishedOutput],
    blocks: Vec<Block<'a>>,
    register: Register,
}

/// Checks one recipient of a lane. Returns for how many patrons it makes a difference.
fn check_recipient(recipient: usize, open: &Policy, lane: &LaneHistory<'_>) -> usize {
    let mut policy = open.clone();
    policy.recipients[recipient].confidentiality = Some(Confidentiality { until: None });
    let LaneHistory { outputs, blocks, register } = lane;
    let name = &open.recipients[recipient].name;
    let stripped = without_recipient(blocks, name);
    let mut differing = 0;
    for number in 0..3 {
        let id = format!("p{number}");
        let told = told_of((&id, blocks), register, &policy, outputs);
        let want = told_of((&id, &stripped), register, &policy, outputs);
        assert_eq!(told, want, "{name}, {id}");
        let all = told_of((&id, blocks), register, open, outputs);
        differing += usize::from(all != told);
    }
    differing
}

/// Whichever recipient it is, in random scenarios.
#[test]
fn confidential_recipient_is_in_no_line_that_a_patron_is_told() {
    let policy = acknowledging_policy();
    let mut differing = 0;
    for (seed, setup) in setups().into_iter().enumerate() {
        let played = play_steps(seed as u64, 60, setup);
        for (_, outputs) in &played.lanes {
            let blocks = blocks_of(outputs);
            let blocks = blocks.map(|output| serde_json::from_slice(value_of(output)).unwrap());
            let blocks: Vec<Block<'_>> = blocks.collect();
            let lane = LaneHistory { outputs, blocks, register: register_of(outputs) };
            let activities = lane.blocks.iter().flat_map(|block| &block.activities);
            let named: BTreeSet<&str> = activities.map(|id| recipient_of_activity(id)).collect();
            let all = policy.recipients.iter().enumerate();
            for (index, _) in all.filter(|(_, one)| named.contains(one.name.as_str())) {
                differing += check_recipient(index, &policy, &lane);
            }
        }
    }
    assert!(differing > 10, "{differing}");
}
