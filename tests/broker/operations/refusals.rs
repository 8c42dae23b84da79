//! What `zeef run` refuses before it takes a record, and how it says so.

use crate::harness::Partitioner;

use super::{Options, Site, loan, patron};

#[track_caller]
fn check_named(said: &str, parts: &[&str]) {
    let line = said
        .lines()
        .find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "expected a line with {parts:?} in: {said}");
}

#[test]
fn missing_topics_are_named_with_the_command_that_creates_them() {
    let Some(site) = Site::bare("missing", Options::default()) else {
        return;
    };
    let said = site.refused(&[], 78);
    for topic in ["patron", "consent", "loan", "out.statistics"] {
        let name = format!("`{}`", site.topics.name(topic));
        check_named(&said, &[&name, "does not exist", "zeef topics --apply"]);
    }

    site.apply();
    site.topics.delete("loan");
    let said = site.refused(&["--until-end"], 78);
    let name = format!("`{}`", site.topics.name("loan"));
    check_named(&said, &[&name, "does not exist", "zeef topics --apply"]);
    assert_eq!(said.matches("does not exist").count(), 1, "{said}");
}

#[test]
fn topics_that_would_lose_or_keep_too_much_are_refused_all_at_once() {
    let Some(site) = Site::bare("unfit", Options::default()) else {
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
    let mut applied = site.zeef(&["topics", "--apply"]);
    assert_eq!(applied.wait_exit(super::site::WAIT), 1);
    assert_eq!(
        site.topics.settings("loan"),
        [("retention.ms".to_owned(), "86400000".to_owned())]
    );

    for said in [site.refused(&[], 78), applied.stdout()] {
        for (topic, setting, found) in [
            ("patron", "`cleanup.policy` is delete", "expected compact"),
            ("consent", "`retention.ms` is 604800000", "for ever"),
            ("loan", "`retention.ms` is 86400000", "expected at least"),
            (
                "out.service-message",
                "`cleanup.policy` is delete",
                "compact",
            ),
        ] {
            let name = format!("topic `{}`", site.topics.name(topic));
            check_named(&said, &[&name, setting, found]);
        }
        for fine in ["objection", "out.statistics", "zeef.dead-letters"] {
            let name = format!("topic `{}`", site.topics.name(fine));
            assert!(!said.contains(&name), "{said}");
        }
    }
    assert_eq!(site.broker.group_members(&site.group("main")), 0);
}

#[test]
fn joined_sources_with_other_partition_counts_are_refused() {
    let Some(site) = Site::bare("counts", Options::default()) else {
        return;
    };
    let forever = [("retention.ms", "-1")];
    site.topics.create("loan", 3, &forever);
    site.topics
        .create("patron", 2, &[("cleanup.policy", "compact")]);
    site.topics.create("consent", 2, &forever);
    site.topics.create("objection", 2, &forever);
    let mut applied = site.zeef(&["topics", "--apply"]);
    assert_eq!(applied.wait_exit(super::site::WAIT), 1);

    let said = site.refused(&[], 78);
    let loan = format!("`{}` has 3", site.topics.name("loan"));
    let patron = format!("`{}` has 2", site.topics.name("patron"));
    check_named(&said, &["number of partitions", &loan, &patron, "recreate"]);
}

#[test]
fn joined_sources_of_two_partitioners_are_refused() {
    let Some(site) = Site::new("partitioners", Options::default()) else {
        return;
    };
    let ids: Vec<String> = (0..200).map(|number| format!("P{number}")).collect();
    let patrons: Vec<_> = ids.iter().map(|id| patron(id, "Berg")).collect();
    let loans: Vec<_> = ids.iter().map(|id| loan(&format!("L-{id}"), id)).collect();
    site.topics.write("patron", &patrons);
    site.topics.write_by(Partitioner::Crc32, "loan", &loans);

    let said = site.refused(&[], 78);
    let loan = format!("topic `{}`", site.topics.name("loan"));
    check_named(
        &said,
        &[
            &loan,
            "of 200 keys",
            "`crc32` does",
            "partitioner=murmur2_random",
        ],
    );
    assert!(site.outputs("service-message").is_empty());
}

#[test]
fn a_setting_that_fits_no_source_is_refused_with_the_one_that_does() {
    let Some(site) = Site::new("setting", Options::default()) else {
        return;
    };
    let ids: Vec<String> = (0..100).map(|number| format!("P{number}")).collect();
    let patrons: Vec<_> = ids.iter().map(|id| patron(id, "Berg")).collect();
    let loans: Vec<_> = ids.iter().map(|id| loan(&format!("L-{id}"), id)).collect();
    for (topic, records) in [("patron", &patrons), ("loan", &loans)] {
        site.topics.write_by(Partitioner::Crc32, topic, records);
    }
    let said = site.refused(&[], 78);
    check_named(&said, &["set `[kafka] partitioner = \"crc32\"`"]);
    // Nothing is repaired by a wrong setting.
    let mut repair = site.zeef(&["gates", "repair", "--apply"]);
    assert_eq!(repair.wait_exit(super::site::WAIT), 78);
    assert_eq!(site.topics.committed("patron").len(), 100);

    site.write_config(Options {
        kafka: "partitioner = \"crc32\"",
        ..Options::default()
    });
    site.until_end(&[]);
    site.check_loans(ids.iter().map(|id| format!("L-{id}")));
    assert!(site.dead_letters().is_empty());
}
