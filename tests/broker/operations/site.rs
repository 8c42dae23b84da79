//! One deployment of zeef: a config of its own, under a prefix of its own, on
//! a broker that may be shared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::civil::Date;
use tempfile::TempDir;

use crate::common::{publish_at_once, switch_on};
use crate::harness::{Broker, Isolation, Record, Row, Topics, Zeef, eventually};
use crate::marked::Line;

/// Longer than any step should take on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(180);
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

/// Every shipped recipient.
pub(crate) const RECIPIENTS: [&str; 8] = [
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
pub(crate) const SOURCES: [&str; 7] = [
    "patron",
    "consent",
    "objection",
    "loan",
    "reservation",
    "debt",
    "ill_request",
];

/// How a site differs from the shipped config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// The shipped recipients that it has; their sources follow.
    pub(crate) recipients: &'a [&'a str],
    pub(crate) partitions: usize,
    /// Lines of `[kafka]`.
    pub(crate) kafka: &'a str,
    /// Further tables of `zeef.toml`.
    pub(crate) tables: &'a str,
    /// Statistics is published by period, as it is shipped; else at once.
    pub(crate) by_period: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            recipients: &["service-message", "statistics"],
            partitions: 2,
            kafka: "",
            tables: "",
            by_period: false,
        }
    }
}

/// A config in a folder, and the topics that it means.
pub(crate) struct Site<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topics: Topics<'a>,
    folder: TempDir,
}

impl Site<'static> {
    /// A site on the shared broker, its topics created; `None` without one.
    #[track_caller]
    pub(crate) fn new(test: &str, options: Options<'_>) -> Option<Self> {
        let site = Self::bare(test, options)?;
        site.apply();
        Some(site)
    }

    /// As [`new`](Self::new), without any topic.
    #[track_caller]
    pub(crate) fn bare(test: &str, options: Options<'_>) -> Option<Self> {
        Some(Self::on(Broker::shared()?, test, options))
    }
}

impl<'a> Site<'a> {
    /// Writes the config; there are no topics yet.
    #[track_caller]
    pub(crate) fn on(broker: &'a Broker, test: &str, options: Options<'_>) -> Self {
        let site = Site {
            broker,
            topics: Topics::new(broker, test),
            folder: TempDir::with_prefix("zeef-site-").unwrap(),
        };
        site.write_config(options);
        let mut keys = Zeef::start(&["keys", "new", "--all", "--config", site.config()], &[]);
        assert_eq!(keys.wait_exit(WAIT), 0, "{}", keys.stderr());
        site
    }

    /// Replaces `zeef.toml`, the recipients and the records; keys stay.
    pub(crate) fn write_config(&self, options: Options<'_>) {
        let to = self.folder.path();
        fs::create_dir_all(to.join("recipients")).unwrap();
        fs::create_dir_all(to.join("records")).unwrap();
        for entry in fs::read_dir(Path::new(CONFIG).join("records")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join("records").join(entry.file_name())).unwrap();
        }
        for name in options.recipients {
            let file = format!("recipients/{name}.toml");
            fs::copy(Path::new(CONFIG).join(&file), to.join(&file)).unwrap();
        }
        switch_on(to);
        if !options.by_period {
            publish_at_once(to);
        }
        let text = format!(
            "[kafka]\ntopic_prefix = \"{}\"\n{}\n[topics]\npartitions = {}\n{}\n",
            self.topics.prefix(),
            options.kafka,
            options.partitions,
            options.tables
        );
        fs::write(to.join("zeef.toml"), text).unwrap();
    }

    /// The folder of the config.
    pub(crate) fn config(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// The consumer group of a lane.
    pub(crate) fn group(&self, lane: &str) -> String {
        self.topics.name(&format!("zeef.{lane}"))
    }

    /// Starts a command on this config and broker.
    pub(crate) fn zeef(&self, args: &[&str]) -> Zeef {
        Zeef::start(&self.with_place(args), &[])
    }

    /// Runs `zeef topics --apply`, which must be content.
    #[track_caller]
    pub(crate) fn apply(&self) {
        let mut zeef = self.zeef(&["topics", "--apply"]);
        let code = zeef.wait_exit(WAIT);
        assert_eq!(code, 0, "{}{}", zeef.stdout(), zeef.stderr());
    }

    /// Starts `zeef run`, as instance `one` unless `args` name another.
    pub(crate) fn run(&self, args: &[&str]) -> Zeef {
        self.run_with(args, &[])
    }

    pub(crate) fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Zeef {
        let instance: &[&str] = if args.contains(&"--instance") {
            &[]
        } else {
            &["--instance", "one"]
        };
        let args = [args, instance].concat();
        Zeef::run(&self.with_place(&args), env)
    }

    fn with_place<'b>(&'b self, args: &[&'b str]) -> Vec<&'b str> {
        let place = [
            "--config",
            self.config(),
            "--brokers",
            self.broker.bootstrap(),
        ];
        [args, &place].concat()
    }

    /// Starts `zeef run` and waits until it is ready.
    #[track_caller]
    pub(crate) fn ready(&self, args: &[&str]) -> Zeef {
        let mut zeef = self.run(args);
        eventually("zeef is ready", WAIT, || {
            assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
            zeef.ready().then_some(())
        });
        zeef
    }

    /// Runs until the end of what lies on Kafka, which must go well.
    #[track_caller]
    pub(crate) fn until_end(&self, args: &[&str]) -> Zeef {
        let mut zeef = self.run(&[args, &["--until-end"]].concat());
        let code = zeef.wait_exit(WAIT);
        assert_eq!(code, 0, "{}", zeef.stderr());
        zeef
    }

    /// Runs, and expects that it ends with `code`; yields what it said.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], code: i32) -> String {
        let mut zeef = self.run(args);
        let found = zeef.wait_exit(WAIT);
        let said = zeef.stderr();
        assert_eq!(found, code, "{said}");
        said
    }

    /// Waits until `zeef` has committed `count` records of `topic` in `lane`.
    #[track_caller]
    pub(crate) fn consumed(&self, zeef: &Zeef, lane: &str, topic: &str, count: usize) {
        let labels = [("lane", lane), ("topic", topic)];
        let mut found = None;
        eventually(&format!("{count} records of {topic}"), WAIT, || {
            found = zeef.metric("zeef_records_consumed_total", &labels);
            (found? >= count as f64).then_some(())
        });
        assert_eq!(found, Some(count as f64), "{topic}");
    }

    /// Writes marked records, those of each source in their order.
    #[track_caller]
    pub(crate) fn write(&self, lines: &[Line]) {
        for source in SOURCES {
            let of_source = lines.iter().filter(|line| line.source == source);
            let records: Vec<Record> = of_source
                .map(|line| match &line.value {
                    Some(value) => Record::new(&line.key, value),
                    None => Record::tombstone(&line.key),
                })
                .collect();
            if !records.is_empty() {
                self.topics.write(source, &records);
            }
        }
    }

    /// What a recipient's topic shows to a partner.
    #[track_caller]
    pub(crate) fn outputs(&self, recipient: &str) -> Vec<Row> {
        self.topics.committed(&format!("out.{recipient}"))
    }

    /// The values of one field of all outputs of a recipient, sorted.
    #[track_caller]
    pub(crate) fn fields(&self, recipient: &str, field: &str) -> Vec<String> {
        let mut found: Vec<String> = self
            .outputs(recipient)
            .iter()
            .map(|row| member(row, field))
            .collect();
        found.sort();
        found
    }

    /// Expects that each of these loans reached the service-message partner
    /// exactly once.
    #[track_caller]
    pub(crate) fn check_loans(&self, ids: impl IntoIterator<Item = String>) {
        let mut want: Vec<String> = ids.into_iter().collect();
        want.sort();
        assert_eq!(self.fields("service-message", "title"), want);
    }

    /// Expects that `group` has committed all of `sources`, to their very ends.
    #[track_caller]
    pub(crate) fn check_committed(&self, group: &str, sources: &[&str]) {
        for source in sources {
            let topic = self.topics.name(source);
            for (partition, offset) in self.broker.group_offsets(group, &topic) {
                let (_, end) = self
                    .broker
                    .watermarks(&topic, partition, Isolation::Uncommitted);
                assert_eq!(offset, Some(end), "{topic} {partition}");
            }
        }
    }

    /// The dead letters, as JSON objects.
    #[track_caller]
    pub(crate) fn dead_letters(&self) -> Vec<serde_json::Value> {
        self.topics
            .committed("zeef.dead-letters")
            .iter()
            .map(|row| serde_json::from_str(row.text().unwrap()).unwrap())
            .collect()
    }
}

pub(crate) fn today() -> Date {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.date()
}

/// One text field of an output.
#[track_caller]
pub(crate) fn member(row: &Row, field: &str) -> String {
    let value: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(row.text().expect("expected a value")).unwrap();
    value[field].as_str().unwrap().to_owned()
}

/// A patron who holds nothing back, as somebody's name tells them apart.
pub(crate) fn patron(id: &str, surname: &str) -> Record {
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
    Record::new(id, value)
}

/// A patron's objection to statistics, which a public task makes possible.
pub(crate) fn objection(patron: &str) -> Record {
    let value = format!(
        concat!(
            r#"{{"objection_id":"O-{patron}","patron_id":"{patron}","library":"NL-AmrBKW","#,
            r#""kind":"special_circumstances","purpose":"statistics","status":"lodged","#,
            r#""at":"2026-01-05T10:00:00Z"}}"#
        ),
        patron = patron
    );
    Record::new(patron, value)
}

/// An open loan, with its id as its title.
pub(crate) fn loan(id: &str, patron: &str) -> Record {
    loan_that_is("open", id, patron)
}

/// The same of another status.
pub(crate) fn loan_that_is(status: &str, id: &str, patron: &str) -> Record {
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
    Record::new(patron, value)
}
