//! `zeef topics`: the plan, and what it creates.

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite};

const SOURCES: [&str; 5] = ["patron", "consent", "objection", "settlement", "loan"];
const OUTPUTS: [&str; 2] = ["out.service-message", "out.statistics"];
const DEAD_LETTERS: &str = "zeef.dead-letters";
const STATE: &str = "zeef.state.main";
const PATRONS: &str = "zeef.patrons";
const COMMANDS: &str = "zeef.commands";

#[test]
fn topics_command_plans_creates_and_then_changes_nothing() {
    let options =
        SiteOptions { partitions: 3, extra_tables: "outage_days = 7", ..SiteOptions::default() };
    let Some(site) = TestSite::without_topics("topics", options) else {
        return;
    };
    let own = [DEAD_LETTERS, STATE, PATRONS, COMMANDS];
    let all = [&SOURCES[..], &OUTPUTS, &own].concat();

    let mut planned = site.spawn_command(&["topics"]);
    assert_eq!(planned.wait_exit(WAIT_TIMEOUT), 1, "{}", planned.stderr());
    let text = planned.stdout();
    for topic in &all {
        let name = site.topics.full_name(topic);
        let line = text.lines().find(|line| line.trim().starts_with(&name));
        assert!(line.is_some_and(|line| line.contains("missing")), "{text}");
    }
    assert!(!text.contains("kafka-acls"), "{text}");
    assert!(text.contains("segment.ms: at most 3600000 (1 hour)"), "{text}");
    let mut rights = site.spawn_command(&["topics", "--acls"]);
    assert_eq!(rights.wait_exit(WAIT_TIMEOUT), 0, "{}", rights.stderr());
    check_acls(&site, &rights.stdout());

    let mut applied = site.spawn_command(&["topics", "--apply"]);
    assert_eq!(applied.wait_exit(WAIT_TIMEOUT), 0, "{}", applied.stderr());
    let created = applied.stdout().matches("created ").count();
    assert_eq!(created, all.len(), "{}", applied.stdout());
    for topic in &all {
        let count = site.broker.partitions(&site.topics.full_name(topic)).len();
        let want = if *topic == COMMANDS { 1 } else { 3 };
        assert_eq!(count, want, "{topic}");
    }
    check_settings(&site);

    let before: Vec<_> = all.iter().map(|topic| sorted_settings(&site, topic)).collect();
    let mut again = site.spawn_command(&["topics", "--apply"]);
    assert_eq!(again.wait_exit(WAIT_TIMEOUT), 0, "{}", again.stderr());
    let text = again.stdout();
    assert!(!text.contains("created"), "{text}");
    assert!(text.contains("all topics are as required"), "{text}");
    let after: Vec<_> = all.iter().map(|topic| sorted_settings(&site, topic)).collect();
    assert_eq!(before, after);
}

/// Each right that a strict broker asks for is there, under the prefix.
#[track_caller]
fn check_acls(site: &TestSite<'_>, text: &str) {
    let prefix = site.topics.prefix();
    for want in [
        format!(
            "User:zeef --operation Read --operation Describe --operation DescribeConfigs --topic {prefix}loan"
        ),
        format!(
            "--operation Write --operation Describe --operation DescribeConfigs --topic {prefix}out.statistics"
        ),
        format!("--topic {prefix}{DEAD_LETTERS}"),
        format!(
            "--operation Read --operation Write --operation Describe --operation DescribeConfigs --topic {prefix}{STATE}"
        ),
        format!("--operation Read --group {prefix}zeef. --resource-pattern-type prefixed"),
        format!("--transactional-id {prefix}zeef. --resource-pattern-type prefixed"),
        format!(
            "User:statistics --operation Read --operation Describe --topic {prefix}out.statistics"
        ),
        format!("--operation Read --group {prefix}statistics. --resource-pattern-type prefixed"),
        "read_committed".to_owned(),
    ] {
        assert!(text.contains(&want), "expected {want} in {text}");
    }
}

fn sorted_settings(site: &TestSite<'_>, topic: &str) -> Vec<(String, String)> {
    let mut settings = site.topics.topic_settings(topic);
    settings.sort();
    settings
}

/// The settings themselves, and as Kafka's own tool shows them.
#[track_caller]
fn check_settings(site: &TestSite<'_>) {
    let day_ms = 86_400_000_i64;
    let forever = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("retention.ms", "-1".to_owned()),
    ];
    let kept_years = |years: i64| {
        let [policy, bytes, _] = forever.clone();
        vec![policy, bytes, ("retention.ms", (years * 366 * day_ms).to_string())]
    };
    let output = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("delete.retention.ms", (7 * day_ms).to_string()),
        ("max.compaction.lag.ms", day_ms.to_string()),
        ("segment.ms", "3600000".to_owned()),
    ];
    let dead =
        vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", (90 * day_ms).to_string())];
    for (topic, want) in [
        (
            "patron",
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("delete.retention.ms", (30 * day_ms).to_string()),
            ],
        ),
        ("consent", forever.to_vec()),
        ("objection", forever.to_vec()),
        // Statistics keep a loan for two years, messages for one.
        ("loan", kept_years(2)),
        (STATE, [output[0].clone(), output[2].clone(), output[3].clone()].to_vec()),
        ("out.service-message", output.clone()),
        ("out.statistics", output),
        (DEAD_LETTERS, dead),
        (PATRONS, vec![("cleanup.policy", "compact".to_owned())]),
        (COMMANDS, vec![("cleanup.policy", "compact".to_owned())]),
    ] {
        let mut want: Vec<(String, String)> =
            want.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // The broker says when a record came, of all that is read back.
        if SOURCES.contains(&topic) || [STATE, PATRONS].contains(&topic) {
            let appended = ("message.timestamp.type", "LogAppendTime");
            want.push((appended.0.to_owned(), appended.1.to_owned()));
            want.sort();
        }
        assert_eq!(sorted_settings(site, topic), want, "{topic}");
    }
    let name = site.topics.full_name("out.statistics");
    let shown = site.broker.run_tool("topics", &["--describe", "--topic", &name]);
    for want in ["PartitionCount: 3", "cleanup.policy=compact", "segment.ms=3600000"] {
        assert!(shown.contains(want), "expected {want} in {shown}");
    }
}
