//! One deployment of zeef: a config of its own, under a prefix of its own, on
//! a broker that may be shared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::civil::Date;
use tempfile::TempDir;

use crate::harness::{
    Broker, ConsumedMessage, Isolation, ProducerRecord, TestTopics, ZeefProcess, eventually,
};
use zeef_test_kit::config::{enable_all_recipients, remove_statistics_period};
use zeef_test_kit::marked_patrons::MarkedLine;

/// Longer than any step should take on a busy machine.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
const SHIPPED_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

/// Recipients of every core flow.
pub(crate) const ALL_RECIPIENTS: [&str; 8] = [
    "deurwaarder",
    "ill-library",
    "ill-library-contact",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "service-message",
    "statistics",
];
/// What they read.
pub(crate) const ALL_SOURCES: [&str; 8] =
    ["patron", "consent", "objection", "settlement", "loan", "reservation", "debt", "ill_request"];

/// How a site differs from the shipped config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SiteOptions<'a> {
    /// The shipped recipients that it has; their sources follow.
    pub(crate) recipients: &'a [&'a str],
    pub(crate) partitions: usize,
    /// Lines of `[kafka]`.
    pub(crate) kafka_lines: &'a str,
    /// Further tables of `zeef.toml`.
    pub(crate) extra_tables: &'a str,
    /// Statistics is published by period, as it is shipped; else at once.
    pub(crate) is_published_by_period: bool,
}

impl Default for SiteOptions<'_> {
    fn default() -> Self {
        SiteOptions {
            recipients: &["service-message", "statistics"],
            partitions: 2,
            kafka_lines: "",
            extra_tables: "",
            is_published_by_period: false,
        }
    }
}

/// A config in a folder, and the topics that it means.
pub(crate) struct TestSite<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topics: TestTopics<'a>,
    config_folder: TempDir,
}

impl TestSite<'static> {
    /// A site on the shared broker, its topics created; `None` without one.
    #[track_caller]
    pub(crate) fn new(test: &str, options: SiteOptions<'_>) -> Option<Self> {
        let site = Self::without_topics(test, options)?;
        site.apply_topics();
        Some(site)
    }

    /// As [`new`](Self::new), without any topic.
    #[track_caller]
    pub(crate) fn without_topics(test: &str, options: SiteOptions<'_>) -> Option<Self> {
        Some(Self::on_broker(Broker::shared()?, test, options))
    }
}

impl<'a> TestSite<'a> {
    /// Writes the config; there are no topics yet.
    #[track_caller]
    pub(crate) fn on_broker(broker: &'a Broker, test: &str, options: SiteOptions<'_>) -> Self {
        let site = TestSite {
            broker,
            topics: TestTopics::new(broker, test),
            config_folder: TempDir::with_prefix("zeef-site-").unwrap(),
        };
        site.write_config(options);
        let mut keys =
            ZeefProcess::spawn(&["keys", "new", "--all", "--config", site.config_path()], &[]);
        assert_eq!(keys.wait_exit(WAIT_TIMEOUT), 0, "{}", keys.stderr());
        site
    }

    /// Replaces `zeef.toml`, the recipients, the records and the detectors; keys stay.
    pub(crate) fn write_config(&self, options: SiteOptions<'_>) {
        let to = self.config_folder.path();
        fs::create_dir_all(to.join("recipients")).unwrap();
        for below in ["records", "detectors"] {
            fs::create_dir_all(to.join(below)).unwrap();
            for entry in fs::read_dir(Path::new(SHIPPED_CONFIG).join(below)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), to.join(below).join(entry.file_name())).unwrap();
            }
        }
        for name in options.recipients {
            let file = format!("recipients/{name}.toml");
            fs::copy(Path::new(SHIPPED_CONFIG).join(&file), to.join(&file)).unwrap();
        }
        enable_all_recipients(to);
        if !options.is_published_by_period {
            remove_statistics_period(to);
        }
        let text = format!(
            "[kafka]\ntopic_prefix = \"{}\"\n{}\n[topics]\npartitions = {}\n{}\n",
            self.topics.prefix(),
            options.kafka_lines,
            options.partitions,
            options.extra_tables
        );
        fs::write(to.join("zeef.toml"), text).unwrap();
    }

    /// The folder of the config.
    pub(crate) fn config_path(&self) -> &str {
        self.config_folder.path().to_str().unwrap()
    }

    /// The consumer group of a lane.
    pub(crate) fn group_id(&self, lane: &str) -> String {
        self.topics.full_name(&format!("zeef.{lane}"))
    }

    /// Starts a command on this config and broker.
    pub(crate) fn spawn_command(&self, args: &[&str]) -> ZeefProcess {
        ZeefProcess::spawn(&self.with_connection_arguments(args), &[])
    }

    /// The source topics that there are, also of kinds that no test writes.
    #[track_caller]
    pub(crate) fn source_topics(&self) -> Vec<String> {
        let mut topics = self.topics.list();
        topics.retain(|topic| !topic.starts_with("zeef.") && !topic.starts_with("out."));
        topics
    }

    /// Runs `zeef topics --apply`, which must be content.
    #[track_caller]
    pub(crate) fn apply_topics(&self) {
        let mut zeef = self.spawn_command(&["topics", "--apply"]);
        let code = zeef.wait_exit(WAIT_TIMEOUT);
        assert_eq!(code, 0, "{}{}", zeef.stdout(), zeef.stderr());
    }

    /// Starts `zeef run`, as instance `one` unless `args` name another.
    pub(crate) fn spawn_run(&self, args: &[&str]) -> ZeefProcess {
        self.spawn_run_with_env(args, &[])
    }

    pub(crate) fn spawn_run_with_env(&self, args: &[&str], env: &[(&str, &str)]) -> ZeefProcess {
        let instance: &[&str] =
            if args.contains(&"--instance") { &[] } else { &["--instance", "one"] };
        let args = [args, instance].concat();
        ZeefProcess::spawn_run(&self.with_connection_arguments(&args), env)
    }

    fn with_connection_arguments<'b>(&'b self, args: &[&'b str]) -> Vec<&'b str> {
        let place = ["--config", self.config_path(), "--brokers", self.broker.bootstrap_server()];
        [args, &place].concat()
    }

    /// Starts `zeef run` and waits until it is ready.
    #[track_caller]
    pub(crate) fn spawn_ready_run(&self, args: &[&str]) -> ZeefProcess {
        let mut zeef = self.spawn_run(args);
        eventually("zeef is ready", WAIT_TIMEOUT, || {
            assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
            zeef.is_ready().then_some(())
        });
        zeef
    }

    /// Runs until the end of what lies on Kafka, which must go well.
    #[track_caller]
    pub(crate) fn run_until_end(&self, args: &[&str]) -> ZeefProcess {
        let mut zeef = self.spawn_run(&[args, &["--until-end"]].concat());
        let code = zeef.wait_exit(WAIT_TIMEOUT);
        assert_eq!(code, 0, "{}", zeef.stderr());
        zeef
    }

    /// Runs, and expects that it ends with `code`; yields what it said.
    #[track_caller]
    pub(crate) fn expect_run_exit(&self, args: &[&str], code: i32) -> String {
        let mut zeef = self.spawn_run(args);
        let found = zeef.wait_exit(WAIT_TIMEOUT);
        let said = zeef.stderr();
        assert_eq!(found, code, "{said}");
        said
    }

    /// Waits until `zeef` has committed `count` records of `topic` in `lane`.
    #[track_caller]
    pub(crate) fn wait_consumed(&self, zeef: &ZeefProcess, lane: &str, topic: &str, count: usize) {
        let labels = [("lane", lane), ("topic", topic)];
        let mut found = None;
        eventually(&format!("{count} records of {topic}"), WAIT_TIMEOUT, || {
            found = zeef.fetch_metric_sum("zeef_records_consumed_total", &labels);
            (found? >= count as f64).then_some(())
        });
        assert_eq!(found, Some(count as f64), "{topic}");
    }

    /// Writes marked records, those of each source in their order.
    #[track_caller]
    pub(crate) fn write_marked(&self, lines: &[MarkedLine]) {
        for source in ALL_SOURCES {
            let of_source = lines.iter().filter(|line| line.source == source);
            let records: Vec<ProducerRecord> = of_source
                .map(|line| match &line.value {
                    Some(value) => ProducerRecord::new(&line.key, value),
                    None => ProducerRecord::tombstone(&line.key),
                })
                .collect();
            if !records.is_empty() {
                self.topics.write_records(source, &records);
            }
        }
    }

    /// What a recipient's topic shows to a partner.
    #[track_caller]
    pub(crate) fn read_outputs(&self, recipient: &str) -> Vec<ConsumedMessage> {
        self.topics.read_committed(&format!("out.{recipient}"))
    }

    /// The values of one field of all outputs of a recipient, sorted.
    #[track_caller]
    pub(crate) fn read_output_fields(&self, recipient: &str, field: &str) -> Vec<String> {
        let mut found: Vec<String> =
            self.read_outputs(recipient).iter().map(|row| text_field(row, field)).collect();
        found.sort();
        found
    }

    /// Expects that each of these loans reached the service-message partner
    /// exactly once.
    #[track_caller]
    pub(crate) fn check_loans_delivered(&self, ids: impl IntoIterator<Item = String>) {
        let mut want: Vec<String> = ids.into_iter().collect();
        want.sort();
        assert_eq!(self.read_output_fields("service-message", "title"), want);
    }

    /// Expects that `group` has committed all of `sources`, to their very ends.
    #[track_caller]
    pub(crate) fn check_sources_committed(&self, group: &str, sources: &[&str]) {
        for source in sources {
            let topic = self.topics.full_name(source);
            for (partition, offset) in self.broker.group_offsets(group, &topic) {
                let (_, end) = self.broker.watermarks(&topic, partition, Isolation::Uncommitted);
                assert_eq!(offset, Some(end), "{topic} {partition}");
            }
        }
    }

    /// The dead letters, as JSON objects.
    #[track_caller]
    pub(crate) fn read_dead_letters(&self) -> Vec<serde_json::Value> {
        self.topics
            .read_committed("zeef.dead-letters")
            .iter()
            .map(|row| serde_json::from_str(row.value_text().unwrap()).unwrap())
            .collect()
    }
}

pub(crate) fn today() -> Date {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.date()
}

/// One text field of an output.
#[track_caller]
pub(crate) fn text_field(row: &ConsumedMessage, field: &str) -> String {
    let value: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(row.value_text().expect("expected a value")).unwrap();
    value[field].as_str().unwrap().to_owned()
}

/// A patron who holds nothing back, as somebody's name tells them apart.
pub(crate) fn patron_record(id: &str, surname: &str) -> ProducerRecord {
    let value = format!(
        concat!(
            r#"{{"patron_id":"{id}","library":"NL-AmrBKW","kind":"person","#,
            r#""surname":"{surname}","email":"someone@example.org","birth_date":"1980-02-03","#,
            r#""card_number":"20013004567890","#,
            r#""membership":{{"id":"M-{id}","type":"adult","status":"active"}}}}"#
        ),
        id = id,
        surname = surname
    );
    ProducerRecord::new(id, value)
}

/// A patron's objection to statistics, which a public task makes possible.
pub(crate) fn objection_record(patron: &str) -> ProducerRecord {
    let value = format!(
        concat!(
            r#"{{"objection_id":"O-{patron}","patron_id":"{patron}","library":"NL-AmrBKW","#,
            r#""kind":"special_circumstances","purpose":"statistics","status":"lodged","#,
            r#""at":"2026-01-05T10:00:00Z"}}"#
        ),
        patron = patron
    );
    ProducerRecord::new(patron, value)
}

/// A patron's consent to the online library, granted in January or withdrawn in February.
pub(crate) fn consent_record(id: &str, decision: &str) -> ProducerRecord {
    let value = format!(
        concat!(
            r#"{{"consent_id":"C-{id}-{decision}","patron_id":"{id}","library":"NL-AmrBKW","#,
            r#""purpose":"online-library","decision":"{decision}","manner":"digital","#,
            r#""at":"2026-0{month}-01T10:00:00Z"}}"#
        ),
        id = id,
        decision = decision,
        month = if decision == "granted" { 1 } else { 2 },
    );
    ProducerRecord::new(id, value)
}

/// An open loan, with its id as its title.
pub(crate) fn open_loan(id: &str, patron: &str) -> ProducerRecord {
    loan_with_status("open", id, patron)
}

/// The same of another status.
pub(crate) fn loan_with_status(status: &str, id: &str, patron: &str) -> ProducerRecord {
    let value = format!(
        concat!(
            r#"{{"loan_id":"{id}","patron_id":"{patron}","library":"NL-AmrBKW","#,
            r#""item":{{"title":"{id}","material":"book"}},"branch":"Centrum","#,
            r#""loaned_at":"2026-01-05T10:00:00Z","due_on":"2026-01-26","status":"{status}","#,
            r#""renewals":0}}"#
        ),
        status = status,
        id = id,
        patron = patron
    );
    ProducerRecord::new(patron, value)
}
