//! An intake of messages in Avro on a real Kafka, while its schema registry goes away and comes
//! back.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef_test_kit::schema_registry::{AvroMessage, TestRegistry, frame, guid_header};

use crate::harness::{
    Broker, ConfigTweaks, ProducerRecord, ZeefProcess, eventually, wait_until_ready,
};
use crate::intake::{
    CANARY, IntakeDeployment, MAPPING, SMALL_BATCHES, WAIT_TIMEOUT, lookup_rows, many_loans, row,
};

/// A registry, and the schemas that it knows again when it comes back.
struct RestartableRegistry {
    address: SocketAddr,
    /// Each with its id.
    schemas: BTreeMap<String, u32>,
    server: Option<TestRegistry>,
}

impl RestartableRegistry {
    fn new() -> Self {
        let server = TestRegistry::default();
        Self { address: server.address(), schemas: BTreeMap::new(), server: Some(server) }
    }

    fn stop(&mut self) {
        self.server = None;
    }

    fn restart(&mut self) {
        let server = TestRegistry::start(self.address);
        for (schema, id) in &self.schemas {
            server.add_schema(*id, schema);
        }
        self.server = Some(server);
    }

    /// The same record, as an Avro converter writes it.
    fn as_avro(&mut self, record: ProducerRecord) -> ProducerRecord {
        record.map_value(|value| {
            let avro = AvroMessage::from_json(&serde_json::from_slice(value).unwrap());
            let next = u32::try_from(self.schemas.len() + 1).unwrap();
            let id = *self.schemas.entry(avro.schema.clone()).or_insert(next);
            if let Some(server) = &self.server {
                server.add_schema(id, &avro.schema);
            }
            frame(id, &avro.bytes)
        })
    }
}

fn frame_mapping_as_avro(koha: &IntakeDeployment<'_>) {
    let path = koha.deployment.config_path().join(format!("intake/{MAPPING}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("framing = \"avro\"\n{text}")).unwrap();
}

#[track_caller]
fn wait_loans(zeef: &mut ZeefProcess, koha: &IntakeDeployment<'_>, count: usize) {
    eventually(&format!("{count} loans"), WAIT_TIMEOUT, || {
        assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
        (koha.read("loan").len() >= count).then_some(())
    });
}

/// Waits until the process says that it waits for the registry, and is not ready.
#[track_caller]
fn wait_for_outage(zeef: &mut ZeefProcess, address: SocketAddr) {
    eventually("the registry is missed", WAIT_TIMEOUT, || {
        assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
        let is_named = zeef.stderr().contains(&format!("schema registry http://{address}: "));
        (is_named && !zeef.is_ready()).then_some(())
    });
}

/// A loan by a schema that nobody asked for before: with a column more.
fn with_new_column(record: ProducerRecord) -> ProducerRecord {
    record.map_value(|value| {
        let mut value: Value = serde_json::from_slice(value).unwrap();
        value["after"]["note"] = CANARY.into();
        value.to_string().into_bytes()
    })
}

#[test]
fn intake_waits_for_a_schema_registry_that_went_away() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let mut registry = RestartableRegistry::new();
    let address = registry.address;
    let sections = format!(
        "{SMALL_BATCHES}[schema_registry]\nurl = \"http://{address}\"\ntimeout_seconds = 2\n"
    );
    let tweaks = ConfigTweaks { sections: &sections, ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-avro", tweaks);
    frame_mapping_as_avro(&koha);
    for (topic, record) in lookup_rows() {
        koha.write(topic, &[registry.as_avro(record)]);
    }
    let (records, mut want) = many_loans(0, 900);
    let mut rounds = records.chunks(300).map(<[ProducerRecord]>::to_vec);
    let mut next_round = || rounds.next().unwrap();
    let known: Vec<_> = next_round().into_iter().map(|one| registry.as_avro(one)).collect();
    koha.write("koha.issues", &known);
    let mut zeef = koha.deployment.start_and_wait_ready(&[]);
    wait_loans(&mut zeef, &koha, 300);

    // What is known is read on; of a new schema nothing, and nothing behind it.
    registry.stop();
    let known: Vec<_> = next_round().into_iter().map(|one| registry.as_avro(one)).collect();
    koha.write("koha.issues", &known);
    wait_loans(&mut zeef, &koha, 600);
    let unknown = next_round().into_iter().map(with_new_column);
    let unknown: Vec<_> = unknown.map(|one| registry.as_avro(one)).collect();
    koha.write("koha.issues", &unknown);
    wait_for_outage(&mut zeef, address);
    zeef.kill();
    // A process that starts meanwhile waits too: it has no schema at all.
    let mut zeef = koha.deployment.start_run(&[]);
    wait_for_outage(&mut zeef, address);
    assert_eq!(koha.read("loan").len(), 600);
    assert!(koha.read_values(DEAD_LETTERS_TOPIC).is_empty());

    registry.restart();
    wait_loans(&mut zeef, &koha, 900);
    wait_until_ready(&mut zeef);
    // An id that the registry does not know is a dead letter, and the lane goes on.
    let stray = row("issues", "17", &json!({ "issue_id": 1 })).map_value(|_| frame(4_000, b"x"));
    let (last, more) = many_loans(900, 1);
    let last: Vec<_> = last.into_iter().map(|one| registry.as_avro(one)).collect();
    koha.write("koha.issues", &[stray]);
    koha.write("koha.issues", &last);
    for (patron, versions) in more {
        want.entry(patron).or_default().extend(versions);
    }
    wait_loans(&mut zeef, &koha, 901);
    eventually("the stray message is refused", WAIT_TIMEOUT, || {
        (!koha.read_values(DEAD_LETTERS_TOPIC).is_empty()).then_some(())
    });
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);

    assert_eq!(koha.read_loan_versions(), want);
    let letters = koha.read_values(DEAD_LETTERS_TOPIC);
    let reasons: Vec<&Value> = letters.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["unknown_schema"]);
    let outputs = ["loan", DEAD_LETTERS_TOPIC].map(|topic| format!("{:?}", koha.read(topic)));
    assert!(!outputs.concat().contains(CANARY) && !zeef.stderr().contains(CANARY));
}

/// A newer serialiser leaves the value as it is, and names its schema in a header: by GUID, or by
/// the bytes that otherwise stand in front.
#[test]
fn intake_reads_schema_ids_in_headers() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let mut registry = RestartableRegistry::new();
    let sections = format!("[schema_registry]\nurl = \"http://{}\"\n", registry.address);
    let tweaks = ConfigTweaks { sections: &sections, ..ConfigTweaks::default() };
    let koha = IntakeDeployment::new(broker, "intake-avro-header", tweaks);
    frame_mapping_as_avro(&koha);
    const HEADER: &str = "__value_schema_id";
    let avro_of = |value: &[u8]| AvroMessage::from_json(&serde_json::from_slice(value).unwrap());
    let guid = *b"0123456789abcdef";
    let path = "/schemas/guids/30313233-3435-3637-3839-616263646566";
    // Rows of lookups, by the number that stands in front otherwise.
    for (topic, record) in lookup_rows() {
        let framed = registry.as_avro(record);
        let mut id = Vec::new();
        let bare = framed.map_value(|value| {
            id = value[..5].to_vec();
            value[5..].to_vec()
        });
        koha.write(topic, &[bare.with_header(HEADER, id)]);
    }
    let (loans, want) = many_loans(0, 3);
    let server = registry.server.as_ref().unwrap();
    let by_guid: Vec<_> = loans
        .into_iter()
        .map(|loan| {
            let bare = loan.map_value(|value| {
                let avro = avro_of(value);
                server.add_path(path, &json!({ "schema": avro.schema }));
                avro.bytes
            });
            // The last header of a name counts.
            let other = guid_header([0; 16]);
            bare.with_header(HEADER, other).with_header(HEADER, guid_header(guid))
        })
        .collect();
    koha.write("koha.issues", &by_guid);
    let stray = row("issues", "17", &json!({ "issue_id": 1 })).map_value(|_| b"x".to_vec());
    koha.write("koha.issues", &[stray.with_header(HEADER, b"\x07 no id")]);
    koha.deployment.run_to_end(&[]);

    assert_eq!(koha.read_loan_versions(), want);
    assert!(koha.read_values("loan").iter().all(|loan| loan["item"]["title"] == "Wind over Wad"));
    let letters = koha.read_values(DEAD_LETTERS_TOPIC);
    let reasons: Vec<&Value> = letters.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["not_framed"]);
    let outputs = ["loan", DEAD_LETTERS_TOPIC].map(|topic| format!("{:?}", koha.read(topic)));
    assert!(!outputs.concat().contains(CANARY));
}
