//! An intake inside the daemon: raw messages of Koha in, canonical topics and recipients out,
//! each once, whatever happens to the process or its group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use zeef::daemon::metrics::METRICS;
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::intake::{Intake, load_file};
use zeef::policy::Policy;
use zeef::transport::kafka::lane_states::StateReader;
use zeef::transport::kafka::partitioner::{KeyPlacement, Partitioner};

use crate::harness::{
    Broker, ConfigTweaks, ConsumedMessage, Deployment, ProducerRecord, TestProducer, ZeefProcess,
    eventually, wait_until_ready,
};

pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
/// Small batches, so that many of them begin and end in a short time.
pub(crate) const SMALL_BATCHES: &str = "[batch]\nrecords = 50\n";
pub(crate) const MAPPING: &str = "koha-debezium";
pub(crate) const LANE: &str = "intake.koha-debezium";
const PARTITIONS: i32 = 4;
/// A secret beside what the mapping names, in values and headers.
pub(crate) const CANARY: &str = "CANARY-token";

/// A deployment with the topics of a library system and its shipped mapping, enabled.
pub(crate) struct IntakeDeployment<'a> {
    pub(crate) deployment: Deployment<'a>,
}

impl<'a> IntakeDeployment<'a> {
    /// Koha.
    #[track_caller]
    pub(crate) fn new(broker: &'a Broker, test: &str, tweaks: ConfigTweaks<'_>) -> Self {
        Self::with_mapping(broker, (test, tweaks), (MAPPING, "koha."))
    }

    /// Creates the topics of a mapping, all of which begin with `start`; of a pattern the one of
    /// the tenant `amrland`.
    #[track_caller]
    fn with_mapping(
        broker: &'a Broker,
        (test, tweaks): (&str, ConfigTweaks<'_>),
        (mapping, start): (&str, &str),
    ) -> Self {
        let deployment = Deployment::new(broker, test, tweaks);
        let site = IntakeDeployment { deployment };
        let prefix = site.deployment.topics.prefix();
        let path = site.deployment.config_path().join(format!("intake/{mapping}.toml"));
        let shipped = fs::read_to_string(&path).unwrap();
        let text = shipped.replace(&format!("\"{start}"), &format!("\"{prefix}{start}"));
        fs::write(&path, text).unwrap();
        let settings = site.deployment.config_path().join("zeef.toml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(settings, format!("{text}\n[intakes]\nenabled = [\"{mapping}\"]\n")).unwrap();
        let intake = site.load_mapping(mapping);
        for topic in intake.lookup_topics() {
            site.create_raw(&topic, &[("cleanup.policy", "compact")]);
        }
        for topic in intake.record_topics(|_| true) {
            site.create_raw(&topic, &[]);
        }
        site
    }

    fn load_mapping(&self, mapping: &str) -> Intake {
        let folder = self.deployment.config_path();
        let kinds = Policy::load(folder).unwrap().policy.record_kinds;
        load_file(&folder.join(format!("intake/{mapping}.toml")), &kinds).unwrap()
    }

    fn create_raw(&self, topic: &str, settings: &[(&str, &str)]) {
        let name = topic.strip_prefix(self.deployment.topics.prefix()).unwrap();
        self.deployment.topics.create(&name.replace('*', "amrland"), PARTITIONS, settings);
    }

    #[track_caller]
    pub(crate) fn write(&self, topic: &str, records: &[ProducerRecord]) {
        self.deployment.write_records(topic, records);
    }

    fn write_lookups(&self) {
        for (topic, record) in lookup_rows() {
            self.write(topic, &[record]);
        }
    }

    /// Has the versions of loans compared, and creates the state for it.
    fn compare_loan_versions(&self) {
        let path = self.deployment.config_path().join(format!("intake/{MAPPING}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let loan = "[[record]]\nkind   = \"loan\"\n";
        let newer_by = "newer_by = [\"envelope.source.ts_ms\", \"envelope.source.pos\"]\n";
        let compared = text.replacen(loan, &format!("{loan}{newer_by}"), 1);
        assert_ne!(compared, text);
        fs::write(&path, compared).unwrap();
        self.deployment.apply_topics();
    }

    pub(crate) fn read(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.deployment.topics.read_committed(topic)
    }

    pub(crate) fn read_values(&self, topic: &str) -> Vec<Value> {
        let rows = self.read(topic);
        rows.iter().filter_map(|row| serde_json::from_str(row.value_text()?).ok()).collect()
    }

    /// By patron the numbers of the loans' versions, in order.
    pub(crate) fn read_loan_versions(&self) -> BTreeMap<String, Vec<i64>> {
        let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for row in self.read("loan") {
            let value: Value = serde_json::from_str(row.value_text().unwrap()).unwrap();
            let of_patron = versions.entry(row.key_text().to_owned()).or_default();
            of_patron.push(value["renewals"].as_i64().unwrap());
        }
        versions
    }
}

/// A branch, a category, and an item with its title, each with its topic.
pub(crate) fn lookup_rows() -> [(&'static str, ProducerRecord); 5] {
    let category = json!({
        "categorycode": "VOL", "description": "Volwassen", "enrolmentfee": "39.500000",
        "category_type": "A",
    });
    let item =
        json!({ "itemnumber": 9501, "barcode": "3999", "itype": "BOEK", "biblionumber": 9301 });
    let title = json!({ "biblionumber": 9301, "title": "Wind over Wad", "author": "Mees" });
    let isbn = json!({ "biblionumber": 9301, "isbn": null });
    [
        ("koha.koha_library.branches", branch("DUIN", "NL-DuiBIB")),
        ("koha.koha_library.categories", row("categories", "VOL", &category)),
        ("koha.koha_library.items", row("items", "9501", &item)),
        ("koha.koha_library.biblio", row("biblio", "9301", &title)),
        ("koha.koha_library.biblioitems", row("biblioitems", "9301", &isbn)),
    ]
}

/// A row that was inserted, as Debezium writes it, with the columns that nobody named.
pub(crate) fn row(table: &str, key: &str, after: &Value) -> ProducerRecord {
    row_of_change((table, 0), key, after)
}

/// As [`row`], by the change of that number.
fn row_of_change((table, change): (&str, i64), key: &str, after: &Value) -> ProducerRecord {
    let mut after = after.clone();
    after["opac_secret"] = CANARY.into();
    // Several changes have one time, and are told apart by the position.
    let ts_ms = 1_795_514_712_300_i64 + change / 3;
    let value = json!({
        "before": null, "after": after, "op": "c", "ts_ms": 1_795_514_712_300_i64,
        "source": {
            "table": table, "snapshot": null, "db": "koha_library", "ts_ms": ts_ms, "pos": change,
        },
    });
    let key = format!("{{\"id\":\"{key}\"}}");
    ProducerRecord::new(key, value.to_string()).with_header("x-okapi-token", CANARY)
}

fn branch(code: &str, isil: &str) -> ProducerRecord {
    let value = json!({ "branchcode": code, "branchname": "Duinbibliotheek", "marcorgcode": isil });
    row("branches", code, &value)
}

fn borrower(number: i64, category: &str) -> ProducerRecord {
    let value = json!({
        "borrowernumber": number, "cardnumber": format!("2999{number:06}"), "initials": "N",
        "firstname": "Noor", "middle_name": null, "surname": "Karekiet", "dateofbirth": 10_000,
        "sex": null, "email": "noor@example.org", "phone": null, "mobile": "0600000000",
        "smsalertnumber": null, "address": "Duindorp", "streetnumber": "1", "address2": null,
        "zipcode": "2500AA", "city": "Duinstad", "dateenrolled": 18_000, "dateexpiry": 40_000,
        "branchcode": "DUIN", "categorycode": category, "privacy": 1, "anonymized": 0,
        "updated_on": "2026-11-24T10:00:00Z",
    });
    row("borrowers", &number.to_string(), &value)
}

/// Version `version` of the loan `number` of a borrower: its number of renewals, and that of the
/// change.
fn loan(borrower: i64, number: i64, version: i64) -> ProducerRecord {
    let value = json!({
        "issue_id": number, "borrowernumber": borrower, "itemnumber": 9501, "branchcode": "DUIN",
        "issuedate": 1_795_000_000_000_i64, "date_due": 4_000_000_000_000_i64,
        "returndate": null, "renewals_count": version,
    });
    row_of_change(("issues", version), &borrower.to_string(), &value)
}

/// `count` versions of loans of some borrowers, and what has to lie on the canonical topic.
pub(crate) fn many_loans(
    first: i64,
    count: i64,
) -> (Vec<ProducerRecord>, BTreeMap<String, Vec<i64>>) {
    let mut want: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let records = (first..first + count).map(|version| {
        let borrower = 100 + version % 37;
        want.entry(format!("NL-AmrBKW:{borrower}")).or_default().push(version);
        loan(borrower, borrower, version)
    });
    let records = records.collect();
    (records, want)
}

fn converted_loans(zeef: &ZeefProcess) -> f64 {
    let labels = [("intake", MAPPING), ("kind", "loan"), ("outcome", "written")];
    zeef.fetch_metric_sum("zeef_intake_records_total", &labels).unwrap_or_default()
}

#[track_caller]
fn wait_converted(zeef: &mut ZeefProcess, count: f64) {
    eventually(&format!("{count} loans converted"), WAIT_TIMEOUT, || {
        if let Some(code) = zeef.exit_code() {
            panic!("zeef ended with {code}: {}", zeef.stderr());
        }
        (converted_loans(zeef) >= count).then_some(())
    });
}

/// Waits until `zeef` owns so many partitions of the loans.
#[track_caller]
fn wait_owned(zeef: &ZeefProcess, topic: &str, count: usize) {
    eventually(&format!("{count} partitions of {topic}"), WAIT_TIMEOUT, || {
        let metrics = zeef.fetch_metrics()?;
        let of_lane = metrics.lines().filter(|line| {
            line.starts_with("zeef_consumer_lag{")
                && line.contains(LANE)
                && line.contains(&format!("topic=\"{topic}\""))
        });
        (of_lane.count() == count).then_some(())
    });
}

#[test]
fn intake_feeds_recipients_and_bad_messages_become_dead_letters() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let koha = IntakeDeployment::new(broker, "intake", ConfigTweaks::default());
    koha.write_lookups();
    koha.write(
        "koha.koha_library.borrowers",
        &[borrower(17, "VOL"), borrower(18, "VOL"), borrower(19, "GEEN")],
    );
    let mut framed = vec![0, 0, 0, 0, 7];
    framed.extend_from_slice(br#"{"issue_id":1}"#);
    let unwrapped = json!({ "issue_id": 3, "borrowernumber": 17, "opac_secret": CANARY });
    let mut elsewhere = json!({
        "issue_id": 4, "borrowernumber": 17, "itemnumber": 9501, "branchcode": "NERGENS",
        "issuedate": 1_795_000_000_000_i64, "date_due": 4_000_000_000_000_i64,
        "returndate": null, "renewals_count": 0,
    });
    let hold = json!({
        "reserve_id": 5, "borrowernumber": 18, "itemnumber": 9501, "biblionumber": 9301,
        "branchcode": "DUIN", "cancellationdate": null, "found": "Z", "waitingdate": null,
        "expirationdate": null,
    });
    koha.write(
        "koha.issues",
        &[
            loan(17, 1, 0),
            ProducerRecord::new("{\"id\":\"17\"}", framed).with_header("token", CANARY),
            ProducerRecord::new("{\"id\":\"17\"}", unwrapped.to_string()),
            row("issues", "17", &elsewhere),
            ProducerRecord::tombstone("{\"id\":\"17\"}"),
            loan(18, 2, 0),
        ],
    );
    koha.write("koha.reserves", &[row("reserves", "18", &hold)]);
    koha.deployment.run_to_end(&[]);

    let loans = koha.read("loan");
    assert_eq!(loans.len(), 2, "{loans:?}");
    for row in &loans {
        let placement = KeyPlacement::new(Partitioner::Murmur2, PARTITIONS).unwrap();
        assert_eq!(row.partition, placement.home_partition(row.key.as_deref().unwrap()));
        assert!(row.headers.is_empty(), "{row:?}");
        let value: Value = serde_json::from_str(row.value_text().unwrap()).unwrap();
        assert_eq!(value["item"]["title"], "Wind over Wad");
        assert_eq!(value["library"], "NL-DuiBIB");
        assert_eq!(value["patron_id"], row.key_text());
    }
    let patrons = koha.read_values("patron");
    assert_eq!(patrons.len(), 3);
    let closed = patrons.iter().filter(|patron| **patron == json!({}));
    assert_eq!(closed.count(), 1, "whose row cannot be read is closed: {patrons:?}");
    let letters = koha.read_values(DEAD_LETTERS_TOPIC);
    let reasons: BTreeSet<(&str, &str)> = letters
        .iter()
        .filter(|letter| letter["lane"] == LANE)
        .map(|letter| (letter["reason"].as_str().unwrap(), letter["kind"].as_str().unwrap_or("")))
        .collect();
    let want = [
        ("framed", ""),
        ("library_missing", "loan"),
        ("lookup_missing", "patron"),
        ("not_enveloped", ""),
        ("unmapped", "reservation"),
    ];
    assert_eq!(reasons, BTreeSet::from(want), "{letters:?}");
    let service = koha.read("out.service-message");
    let current: BTreeMap<&[u8], Option<&str>> =
        service.iter().map(|row| (row.key.as_deref().unwrap(), row.value_text())).collect();
    assert_eq!(current.values().filter(|value| value.is_some()).count(), 2, "{service:?}");
    assert!(current.values().flatten().all(|value| value.contains("Wind over Wad")));

    // A row that comes later counts for the versions that follow.
    koha.write("koha.koha_library.branches", &[branch("NERGENS", "NL-DuiBIB")]);
    elsewhere["renewals_count"] = 1.into();
    koha.write("koha.issues", &[row("issues", "17", &elsewhere)]);
    koha.deployment.run_to_end(&[]);
    let loans = koha.read_values("loan");
    assert_eq!(loans.len(), 3, "nothing is written twice: {loans:?}");
    assert!(loans.iter().any(|loan| loan["loan_id"] == "koha-4" && loan["renewals"] == 1));
    assert_eq!(koha.read_values(DEAD_LETTERS_TOPIC).len(), letters.len());

    for topic in ["patron", "loan", "reservation", "out.service-message", DEAD_LETTERS_TOPIC] {
        for row in koha.read(topic) {
            let text = format!("{:?} {:?} {:?}", row.key_text(), row.value_text(), row.headers);
            assert!(!text.contains(CANARY), "{topic}: {text}");
        }
    }
}

#[test]
fn intake_killed_at_any_time_loses_and_repeats_nothing() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks { sections: SMALL_BATCHES, ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-killed", tweaks);
    koha.write_lookups();
    let (records, want) = many_loans(0, 12_000);
    koha.write("koha.issues", &records);
    let mut kills_on_the_way = 0;
    for round in 0..8 {
        let mut zeef = koha.deployment.start_run(&[]);
        wait_converted(&mut zeef, f64::from(50 + round * 70));
        kills_on_the_way += u32::from(converted_loans(&zeef) < 6_000.0);
        zeef.kill();
    }
    assert!(kills_on_the_way >= 4, "{kills_on_the_way} of 8 kills were in the middle");
    koha.deployment.run_to_end(&[]);
    assert_eq!(koha.read_loan_versions(), want);
    assert!(koha.deployment.has_no_open_transaction());
}

/// Messages of [`many_loans`], with older versions again behind newer ones, and what of it lies on
/// the canonical topic where versions are compared.
fn repeated_loans(count: i64) -> (Vec<ProducerRecord>, BTreeMap<String, Vec<i64>>) {
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    let mut want: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut records = Vec::new();
    for first in 0..count {
        // What was sent so many changes of the same loan ago.
        let again = [0, (first % 5) * 37, (first % 7) * 37];
        for version in again.map(|back| first - back) {
            if version < 0 {
                continue;
            }
            let borrower = 100 + version % 37;
            records.push(loan(borrower, borrower, version));
            let newest = newest.entry(borrower).or_insert(version);
            if version >= *newest {
                *newest = version;
                want.entry(format!("NL-AmrBKW:{borrower}")).or_default().push(version);
            }
        }
    }
    (records, want)
}

const STATE: &str = "zeef.intake-state.koha-debezium";

/// With `newer_by` no older version comes behind a newer one, whatever was killed and however the
/// partitions were shared; and its state has no value in it.
#[test]
fn intake_killed_at_any_time_writes_no_older_version() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks {
        kafka_lines: "session_timeout_ms = 6000",
        sections: SMALL_BATCHES,
        ..ConfigTweaks::default()
    };
    let koha = IntakeDeployment::new(broker, "intake-newer", tweaks);
    koha.compare_loan_versions();
    koha.write_lookups();
    let (records, want) = repeated_loans(4_000);
    let total = want.values().map(Vec::len).sum::<usize>();
    assert!(records.len() > 2 * total - 6_000 && total < records.len() - 3_000, "{total}");
    koha.write("koha.issues", &records);
    let mut kills_on_the_way = 0;
    for round in 0..6 {
        let zeef = koha.deployment.start_run(&[]);
        // Every second time another process has half of the partitions.
        let second = (round % 2 == 1).then(|| koha.deployment.start_run(&["--instance", "b"]));
        // Whichever of them writes it.
        eventually("some more loans are written", WAIT_TIMEOUT, || {
            (koha.read("loan").len() >= total * (round + 1) / 8).then_some(())
        });
        kills_on_the_way += u32::from(koha.read("loan").len() < total);
        for mut zeef in [Some(zeef), second].into_iter().flatten() {
            zeef.kill();
        }
    }
    assert!(kills_on_the_way >= 3, "{kills_on_the_way} of 6 kills were in the middle");
    koha.deployment.run_to_end(&[]);
    assert_eq!(koha.read_loan_versions(), want);
    // All of it once more brings back only what is the newest of each loan.
    koha.write("koha.issues", &records);
    koha.deployment.run_to_end(&[]);
    for (patron, versions) in koha.read_loan_versions() {
        let newest = want[&patron].last();
        let more = &versions[want[&patron].len()..];
        assert!(!more.is_empty() && more.iter().all(|version| Some(version) == newest), "{more:?}");
    }
    assert!(koha.deployment.has_no_open_transaction());
    let rows = koha.read(STATE);
    assert!(rows.len() > 37, "{}", rows.len());
    for row in rows {
        let text = format!("{} {:?}", row.key_text(), row.value_text());
        for value in [CANARY, "koha-1", "NL-", "DUIN", "open"] {
            assert!(!text.contains(value), "{value} in {text}");
        }
    }
}

/// Where the state is gone an older version would count as a new one.
#[test]
fn intake_without_its_state_is_refused() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks =
        ConfigTweaks { kafka_lines: "session_timeout_ms = 6000", ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-lost", tweaks);
    koha.write_lookups();
    koha.write("koha.issues", &[loan(17, 1, 5)]);
    koha.deployment.run_to_end(&[]);
    // It may be switched on later.
    koha.compare_loan_versions();
    koha.write("koha.issues", &[loan(17, 1, 7), loan(17, 1, 6), loan(18, 2, 1)]);
    koha.deployment.run_to_end(&[]);
    let versions = koha.read_loan_versions();
    assert_eq!(versions["NL-AmrBKW:17"], [5, 7]);

    koha.deployment.topics.delete(STATE);
    eventually("the state is gone", WAIT_TIMEOUT, || {
        let mut zeef = koha.deployment.start_run(&["--until-end"]);
        let code = zeef.wait_exit(WAIT_TIMEOUT);
        let is_refused = zeef.stderr().contains("(intake state) does not exist");
        (code == 78 && is_refused).then_some(())
    });
    koha.deployment.apply_topics();
    koha.write("koha.issues", &[loan(17, 1, 6)]);
    let mut zeef = koha.deployment.start_run(&["--until-end"]);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
    assert!(zeef.stderr().contains("lacks rows that were committed"), "{}", zeef.stderr());
    assert_eq!(koha.read_loan_versions(), versions);

    // As the document says: all that lies there is compared again.
    let reader = koha.deployment.topics.kafka_settings();
    let reader = StateReader::open(&reader).unwrap();
    eventually("the member has left", WAIT_TIMEOUT, || {
        (reader.member_count(LANE).unwrap() == 0).then_some(())
    });
    let group = koha.deployment.group_id(LANE);
    let words =
        ["--group", &group, "--reset-offsets", "--to-earliest", "--execute", "--all-topics"];
    broker.run_tool("consumer-groups", &words);
    koha.deployment.run_to_end(&[]);
    assert_eq!(koha.read_loan_versions()["NL-AmrBKW:17"], [5, 7, 5, 7]);
    koha.deployment.run_to_end(&[]);
}

/// A state that vanishes is found while nothing is written to it.
#[test]
fn intake_stops_when_its_state_vanishes() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks =
        ConfigTweaks { sections: "[state]\ncheck_seconds = 1\n", ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-vanished", tweaks);
    koha.compare_loan_versions();
    koha.write_lookups();
    koha.write("koha.issues", &[loan(17, 1, 5)]);
    let mut zeef = koha.deployment.start_and_wait_ready(&[]);
    wait_converted(&mut zeef, 1.0);
    koha.deployment.topics.delete(STATE);
    let want = format!("topic `{}` partition", koha.deployment.topics.full_name(STATE));
    eventually("the intake stops", WAIT_TIMEOUT, || {
        let stderr = zeef.stderr();
        (stderr.contains(&want) && stderr.contains("an older version would count")).then_some(())
    });
}

/// What comes behind `resync begin` is the snapshot, and counts although its versions are older:
/// the database was restored from a backup.
#[test]
fn intake_resync_forgets_versions_before_the_new_snapshot() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let koha = IntakeDeployment::new(broker, "intake-backup", ConfigTweaks::default());
    koha.compare_loan_versions();
    let config = koha.deployment.config_path().to_str().unwrap().to_owned();
    let noted = koha.deployment.config_path().join("resync.json");
    let noted = noted.to_str().unwrap();
    let resync = |words: &[&str], code: i32| {
        let words = [&["intake", "resync"], words, &["--config", &config]].concat();
        let mut zeef = ZeefProcess::spawn(&words, &[]);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), code, "{}", zeef.stderr());
        zeef.stderr()
    };
    koha.write_lookups();
    koha.write("koha.issues", &[loan(17, 1, 9), loan(17, 1, 8), loan(18, 2, 9)]);
    let mut zeef = koha.deployment.start_run(&[]);
    wait_converted(&mut zeef, 2.0);
    let text = resync(&["begin", MAPPING, "--to", noted], 75);
    assert!(text.contains("runs: stop zeef first"), "{text}");
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    eventually("the member has left", WAIT_TIMEOUT, || {
        let words = ["intake", "resync", "begin", MAPPING, "--to", noted, "--config", &config];
        let mut zeef = ZeefProcess::spawn(&words, &[]);
        (zeef.wait_exit(WAIT_TIMEOUT) == 0).then_some(())
    });
    koha.write("koha.issues", &[loan(17, 1, 3), loan(17, 1, 2)]);
    koha.deployment.run_to_end(&[]);
    assert_eq!(koha.read_loan_versions()["NL-AmrBKW:17"], [9, 3]);
    let text = resync(&["end", MAPPING, "--from", noted], 0);
    assert!(text.contains("loan: 1 of 2 taken back"), "{text}");
}

#[test]
fn intake_rebalance_loses_and_repeats_nothing() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks {
        kafka_lines: "session_timeout_ms = 6000",
        sections: SMALL_BATCHES,
        ..ConfigTweaks::default()
    };
    let koha = IntakeDeployment::new(broker, "intake-share", tweaks);
    koha.write_lookups();
    let issues = koha.deployment.topics.full_name("koha.issues");
    let mut want: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut next = 0;
    let mut write_more = || {
        let (records, more) = many_loans(next, 1_500);
        next += 1_500;
        koha.write("koha.issues", &records);
        for (patron, versions) in more {
            want.entry(patron).or_default().extend(versions);
        }
    };
    write_more();
    let mut first = koha.deployment.start_and_wait_ready(&[]);
    wait_owned(&first, &issues, 4);
    let (status, report) = first.get_admin_path("/health/ready").unwrap();
    assert!(status == 200 && report.contains(LANE), "{status} {report}");
    let rows = [("intake", MAPPING), ("lookup", "branch")];
    assert_eq!(first.fetch_metric_sum("zeef_intake_lookup_rows", &rows), Some(1.0));
    wait_converted(&mut first, 1.0);
    let metrics = first.fetch_metrics().unwrap();
    for metric in METRICS.iter().filter(|metric| metric.name.starts_with("zeef_intake_")) {
        let series = format!("{}{{", metric.name);
        let shown = metrics.lines().find(|line| line.starts_with(&series));
        // Nothing is refused here, and no versions are compared.
        let is_idle = ["refused", "older", "version"].iter().any(|word| metric.name.contains(word));
        assert_eq!(shown.is_some(), !is_idle, "{}", metric.name);
        for label in shown.iter().flat_map(|_| metric.labels.split(", ")) {
            assert!(shown.unwrap().contains(&format!("{label}=\"")), "{label}: {shown:?}");
        }
    }
    for signal in [Signal::TERM, Signal::KILL] {
        write_more();
        let mut second = koha.deployment.start_run(&["--instance", "b"]);
        wait_until_ready(&mut second);
        wait_owned(&second, &issues, 2);
        write_more();
        wait_converted(&mut second, 100.0);
        second.send_signal(signal);
        second.wait_exit(WAIT_TIMEOUT);
        write_more();
        wait_owned(&first, &issues, 4);
    }
    let total = want.values().map(Vec::len).sum::<usize>();
    eventually("all loans are converted", WAIT_TIMEOUT, || {
        assert_eq!(first.exit_code(), None, "{}", first.stderr());
        (koha.read("loan").len() >= total).then_some(())
    });
    first.send_signal(Signal::TERM);
    assert_eq!(first.wait_exit(WAIT_TIMEOUT), 0);
    assert_eq!(koha.read_loan_versions(), want);
}

/// What an open transaction of a lookup hides belongs to a loan that lies there already.
#[test]
fn intake_waits_for_lookup_rows_behind_an_open_transaction() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks =
        ConfigTweaks { sections: "[limits]\ngate_wait_seconds = 1\n", ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-open", tweaks);
    let zeef = koha.deployment.start_and_wait_ready(&[]);
    let branches = koha.deployment.topics.full_name("koha.koha_library.branches");
    let id = koha.deployment.topics.full_name("connect");
    let connect = TestProducer::transactional(broker, &id, Duration::from_secs(60));
    connect.begin_transaction();
    connect.write_records(&branches, &[branch("DUIN", "NL-DuiBIB")]);
    koha.write("koha.issues", &[loan(17, 1, 0)]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(koha.read("loan").is_empty());
    assert!(koha.read(DEAD_LETTERS_TOPIC).is_empty());
    let (status, report) = zeef.get_admin_path("/health/ready").unwrap();
    assert_eq!(status, 503, "{report}");
    assert!(report.contains("rows of a lookup are hidden by an open transaction"), "{report}");
    connect.commit_transaction();
    eventually("the loan is converted", WAIT_TIMEOUT, || {
        (koha.read("loan").len() == 1).then_some(())
    });
    assert!(koha.read(DEAD_LETTERS_TOPIC).is_empty(), "{}", zeef.stderr());
}

/// The topics of a library system are only looked at, and a run is refused without them.
#[test]
fn intake_start_is_refused_for_a_missing_or_compacted_topic() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let koha = IntakeDeployment::new(broker, "intake-refused", ConfigTweaks::default());
    koha.deployment.topics.alter_settings("koha.issues", &[("cleanup.policy", "compact")]);
    koha.deployment.topics.delete("koha.koha_library.items");
    let stderr = eventually("the topic is gone", WAIT_TIMEOUT, || {
        let mut zeef = koha.deployment.start_run(&["--until-end"]);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 78, "{}", zeef.stderr());
        let stderr = zeef.stderr();
        stderr.contains("does not exist: its connector creates it").then_some(stderr)
    });
    assert!(
        stderr.contains("koha.koha_library.items` (lookup of intake koha-debezium)"),
        "{stderr}"
    );
    assert!(stderr.contains("koha.issues` (raw of intake koha-debezium)"), "{stderr}");
    assert!(stderr.contains("is compact, expected delete"), "{stderr}");
}

/// After a purged binary log nobody says who was deleted: a new snapshot does, by what is not in it.
#[test]
fn intake_resync_takes_back_what_the_new_snapshot_no_longer_has() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let koha = IntakeDeployment::new(broker, "intake-resync", ConfigTweaks::default());
    let config = koha.deployment.config_path().to_str().unwrap().to_owned();
    let noted = koha.deployment.config_path().join("resync.json");
    let noted = noted.to_str().unwrap();
    let resync = |words: &[&str], code: i32| {
        let words = [&["intake", "resync"], words, &["--config", &config]].concat();
        let mut zeef = ZeefProcess::spawn(&words, &[]);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), code, "{}", zeef.stderr());
        zeef.stderr()
    };
    let live_messages = || {
        let rows = koha.read("out.service-message");
        let last: BTreeMap<Vec<u8>, bool> =
            rows.into_iter().map(|row| (row.key.unwrap(), row.value.is_some())).collect();
        last.into_values().filter(|is_live| *is_live).count()
    };
    koha.write_lookups();
    koha.write("koha.koha_library.borrowers", &[borrower(17, "VOL"), borrower(18, "VOL")]);
    koha.write("koha.issues", &[loan(17, 1, 0), loan(18, 2, 0), loan(17, 3, 0)]);
    let text = resync(&["begin", MAPPING, "--to", noted], 78);
    assert!(text.contains("has not read everything: 5 offsets are left"), "{text}");
    koha.deployment.run_to_end(&[]);
    assert_eq!(live_messages(), 3);

    resync(&["begin", MAPPING, "--to", noted], 0);
    koha.write_lookups();
    koha.write("koha.koha_library.borrowers", &[borrower(17, "VOL")]);
    koha.write("koha.issues", &[loan(17, 1, 0)]);
    let text = resync(&["end", MAPPING, "--from", noted], 78);
    assert!(text.contains("has not read everything: 2 offsets are left"), "{text}");
    koha.deployment.run_to_end(&[]);
    let before = (koha.read("patron").len(), koha.read("loan").len());
    let text = resync(&["end", MAPPING, "--from", noted, "--dry-run"], 0);
    assert!(text.contains("patron: 1 of 2 would be taken back"), "{text}");
    assert_eq!((koha.read("patron").len(), koha.read("loan").len()), before);
    let text = resync(&["end", MAPPING, "--from", noted], 0);
    assert!(text.contains("patron: 1 of 2 taken back"), "{text}");
    assert!(text.contains("loan: 2 of 3 taken back"), "{text}");

    let erased: Vec<ConsumedMessage> =
        koha.read("patron").into_iter().filter(|row| row.value.is_none()).collect();
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0].key_text(), "NL-AmrBKW:18");
    let gone: BTreeSet<String> = koha
        .read_values("loan")
        .iter()
        .filter(|loan| loan["gone"] == true)
        .map(|loan| loan["loan_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(gone, BTreeSet::from(["koha-2".to_owned(), "koha-3".to_owned()]));
    koha.deployment.run_to_end(&[]);
    assert_eq!(live_messages(), 1);
    let text = resync(&["end", MAPPING, "--from", noted], 0);
    assert!(text.contains("patron: 0 of 1 taken back"), "done twice, it does no more: {text}");
    let text = resync(&["end", "koha-debezum", "--from", noted], 2);
    assert!(text.contains("did you mean `koha-debezium`?"), "{text}");
}

/// A user of FOLIO, as mod-users publishes it.
fn folio_user(number: u32) -> ProducerRecord {
    let value = json!({
        "id": "e", "type": "CREATED", "tenant": "amrland", "data": { "new": {
            "id": format!("user-{number}"), "barcode": format!("2999{number}"), "active": true,
            "type": "patron", "username": CANARY,
            "personal": { "lastName": "Karekiet", "firstName": "Noor", "email": "noor@example.org" },
        } },
    });
    ProducerRecord::new(format!("user-{number}"), value.to_string())
}

/// A tenant that comes later has its topics read, and so have added partitions of a raw topic.
#[test]
fn intake_reads_topics_and_partitions_that_come_later() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks =
        ConfigTweaks { sections: "[state]\ncheck_seconds = 1\n", ..ConfigTweaks::default() };
    let folio =
        IntakeDeployment::with_mapping(broker, ("intake-later", tweaks), ("folio", "folio."));
    let wait_patrons = |zeef: &mut ZeefProcess, count: usize| {
        eventually(&format!("{count} patrons"), WAIT_TIMEOUT, || {
            assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
            (folio.read("patron").len() >= count).then_some(())
        });
    };
    let mut zeef = folio.deployment.start_and_wait_ready(&[]);
    folio.write("folio.amrland.users.users", &[folio_user(1)]);
    wait_patrons(&mut zeef, 1);
    folio.deployment.topics.create("folio.later.users.users", 1, &[]);
    folio.write("folio.later.users.users", &[folio_user(2)]);
    wait_patrons(&mut zeef, 2);
    folio.deployment.topics.add_partitions("folio.amrland.users.users", 6);
    folio.write("folio.amrland.users.users", &[folio_user(3).in_partition(5)]);
    wait_patrons(&mut zeef, 3);
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    let patrons: BTreeSet<String> =
        folio.read("patron").iter().map(|row| row.key_text().to_owned()).collect();
    let want = ["1", "2", "3"].map(|number| format!("NL-AmrBKW:user-{number}"));
    assert_eq!(patrons, BTreeSet::from(want));
    assert_eq!(folio.read("patron").len(), 3, "none is written twice");
}
