//! What `zeef run` refuses before it takes a record, and how it says so.

use crate::harness::ProducerPartitioner;

use super::{SiteOptions, TestSite, open_loan, patron_record};

#[track_caller]
fn check_line_contains(said: &str, parts: &[&str]) {
    let line = said.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "expected a line with {parts:?} in: {said}");
}

#[test]
fn start_refusal_names_missing_topics_and_topics_apply() {
    let Some(site) = TestSite::without_topics("missing", SiteOptions::default()) else {
        return;
    };
    let said = site.expect_run_exit(&[], 78);
    for topic in ["patron", "consent", "loan", "out.statistics"] {
        let name = format!("`{}`", site.topics.full_name(topic));
        check_line_contains(&said, &[&name, "does not exist", "zeef topics --apply"]);
    }

    site.apply_topics();
    site.topics.delete("loan");
    let said = site.expect_run_exit(&["--until-end"], 78);
    let name = format!("`{}`", site.topics.full_name("loan"));
    check_line_contains(&said, &[&name, "does not exist", "zeef topics --apply"]);
    assert_eq!(said.matches("does not exist").count(), 1, "{said}");
}

#[test]
fn start_refusal_names_all_unfit_topic_settings_at_once() {
    let Some(site) = TestSite::without_topics("unfit", SiteOptions::default()) else {
        return;
    };
    for (topic, settings) in [
        ("patron", &[("cleanup.policy", "delete")][..]),
        ("consent", &[("retention.ms", "604800000")]),
        ("loan", &[("retention.ms", "86400000")]),
        ("out.service-message", &[("cleanup.policy", "delete")]),
    ] {
        site.topics.create(topic, 2, settings);
    }
    // It creates what is missing, leaves the others as they are and says so.
    let mut applied = site.spawn_command(&["topics", "--apply"]);
    assert_eq!(applied.wait_exit(super::test_site::WAIT_TIMEOUT), 1);
    assert_eq!(
        site.topics.topic_settings("loan"),
        [("retention.ms".to_owned(), "86400000".to_owned())]
    );

    for said in [site.expect_run_exit(&[], 78), applied.stdout()] {
        for (topic, setting, found) in [
            ("patron", "`cleanup.policy` is delete", "expected compact"),
            ("consent", "`retention.ms` is 604800000", "for ever"),
            ("loan", "`retention.ms` is 86400000", "expected at least"),
            ("out.service-message", "`cleanup.policy` is delete", "compact"),
        ] {
            let name = format!("topic `{}`", site.topics.full_name(topic));
            check_line_contains(&said, &[&name, setting, found]);
        }
        for fine in ["objection", "out.statistics", "zeef.dead-letters"] {
            let name = format!("topic `{}`", site.topics.full_name(fine));
            assert!(!said.contains(&name), "{said}");
        }
    }
    assert_eq!(site.broker.count_group_members(&site.group_id("main")), 0);
}

#[test]
fn start_refuses_joined_sources_with_unequal_partition_counts() {
    let Some(site) = TestSite::without_topics("counts", SiteOptions::default()) else {
        return;
    };
    let forever = [("retention.ms", "-1")];
    site.topics.create("loan", 3, &forever);
    site.topics.create("patron", 2, &[("cleanup.policy", "compact")]);
    site.topics.create("consent", 2, &forever);
    site.topics.create("objection", 2, &forever);
    let mut applied = site.spawn_command(&["topics", "--apply"]);
    assert_eq!(applied.wait_exit(super::test_site::WAIT_TIMEOUT), 1);

    let said = site.expect_run_exit(&[], 78);
    let loan = format!("`{}` has 3", site.topics.full_name("loan"));
    let patron = format!("`{}` has 2", site.topics.full_name("patron"));
    check_line_contains(&said, &["number of partitions", &loan, &patron, "recreate"]);
}

#[test]
fn start_refuses_joined_sources_of_two_partitioners() {
    let Some(site) = TestSite::new("partitioners", SiteOptions::default()) else {
        return;
    };
    let ids: Vec<String> = (0..200).map(|number| format!("P{number}")).collect();
    let patrons: Vec<_> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    let loans: Vec<_> = ids.iter().map(|id| open_loan(&format!("L-{id}"), id)).collect();
    site.topics.write_records("patron", &patrons);
    site.topics.write_with_partitioner(ProducerPartitioner::Crc32, "loan", &loans);

    let said = site.expect_run_exit(&[], 78);
    let loan = format!("topic `{}`", site.topics.full_name("loan"));
    check_line_contains(
        &said,
        &[&loan, "of 200 keys", "`crc32` does", "partitioner=murmur2_random"],
    );
    assert!(site.read_outputs("service-message").is_empty());
}

#[test]
fn start_refusal_names_the_partitioner_that_fits() {
    let Some(site) = TestSite::new("setting", SiteOptions::default()) else {
        return;
    };
    let ids: Vec<String> = (0..100).map(|number| format!("P{number}")).collect();
    let patrons: Vec<_> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    let loans: Vec<_> = ids.iter().map(|id| open_loan(&format!("L-{id}"), id)).collect();
    for (topic, records) in [("patron", &patrons), ("loan", &loans)] {
        site.topics.write_with_partitioner(ProducerPartitioner::Crc32, topic, records);
    }
    let said = site.expect_run_exit(&[], 78);
    check_line_contains(&said, &["set `[kafka] partitioner = \"crc32\"`"]);
    // Nothing is repaired by a wrong setting.
    let mut repair = site.spawn_command(&["gates", "repair", "--apply"]);
    assert_eq!(repair.wait_exit(super::test_site::WAIT_TIMEOUT), 78);
    assert_eq!(site.topics.read_committed("patron").len(), 100);

    site.write_config(SiteOptions {
        kafka_lines: "partitioner = \"crc32\"",
        ..SiteOptions::default()
    });
    site.run_until_end(&[]);
    site.check_loans_delivered(ids.iter().map(|id| format!("L-{id}")));
    assert!(site.read_dead_letters().is_empty());
}
