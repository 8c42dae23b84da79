//! A recipient's outputs in Avro on a real Kafka: each once, by a schema that is registered first,
//! and none without it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use zeef::config::settings::{SchemaPlace, SchemaRegistrySettings, ServerUrl};
use zeef::schemas::SchemaRegistry;
use zeef_test_kit::process::{CommandOutput, zeef_command};
use zeef_test_kit::schema_registry::{RegistryMood, TestRegistry};

use crate::harness::{
    Broker, ConfigTweaks, ConsumedMessage, Deployment, ProducerRecord, eventually, sample_library,
    wait_until_ready,
};

const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
const RECIPIENT: &str = "service-message";
const TOPIC: &str = "out.service-message";

/// By key the outputs as JSON, in order; `None` is a null.
type OutputsByKey = BTreeMap<String, Vec<Option<Value>>>;

/// Reads the outputs, each of which is framed.
fn read_outputs(rows: &[ConsumedMessage], url: &str) -> OutputsByKey {
    let registry = SchemaRegistry::new(Some(&SchemaRegistrySettings {
        place: SchemaPlace::Registry(ServerUrl::parse(url).unwrap()),
        login: None,
        ca_file: None,
        timeout: Duration::from_secs(5),
    }));
    let mut outputs = OutputsByKey::new();
    for row in rows {
        let value = row.value.as_ref().map(|value| {
            assert_eq!(value[0], 0, "framed");
            let content_type = &row.headers.iter().find(|(name, _)| name == "content-type");
            let content_type = content_type.unwrap().1.as_deref();
            assert_eq!(content_type, Some(b"application/avro".as_slice()));
            serde_json::from_slice(&registry.read_as_json(value.clone()).unwrap()).unwrap()
        });
        outputs.entry(row.key_text().to_owned()).or_default().push(value);
    }
    outputs
}

/// What the same records give as JSON.
fn compute_expected(deployment: &Deployment<'_>) -> OutputsByKey {
    let parse =
        |value: &Option<String>| value.as_deref().map(|text| serde_json::from_str(text).unwrap());
    let outputs = deployment.compute_expected().outputs.remove(TOPIC).unwrap();
    let outputs = outputs.into_iter();
    outputs.map(|(key, values)| (key, values.iter().map(parse).collect())).collect()
}

fn export(deployment: &Deployment<'_>) -> CommandOutput {
    let words = ["export", RECIPIENT, "--as", "json", "--brokers"];
    let mut command = zeef_command(env!("CARGO_BIN_EXE_zeef"), &words);
    command.arg(deployment.broker.bootstrap_server());
    CommandOutput::of(command.arg("--config").arg(deployment.config_path()))
}

#[test]
fn avro_outputs_are_each_there_once_by_a_registered_schema() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let registry = TestRegistry::default();
    let (address, url) = (registry.address(), registry.url());
    let sections = format!("[schema_registry]\nurl = \"{url}\"\ntimeout_seconds = 2\n");
    let tweaks = ConfigTweaks { sections: &sections, ..ConfigTweaks::default() };
    let deployment = Deployment::new(broker, "avro-outputs", tweaks);
    let path = deployment.config_path().join(format!("recipients/{RECIPIENT}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("format = \"avro\"\n{text}")).unwrap();
    let library = sample_library(7, 40);
    deployment.write_library(&library);

    // A registry that refuses the schema stops the lane, before anything is written.
    let refusal = json!({ "error_code": 409, "message": "incompatible" }).to_string();
    registry.set_mood(RegistryMood::Says(409, refusal));
    let mut zeef = deployment.start_run(&["--until-end"]);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
    let subject = format!("{}-value", deployment.topics.full_name(TOPIC));
    let want = format!("it refuses the schema of subject `{subject}`: incompatible");
    assert!(zeef.stderr().contains(&want), "{}", zeef.stderr());

    // One that does not answer is waited for.
    drop(registry);
    let mut zeef = deployment.start_run(&[]);
    eventually("the registry is missed", WAIT_TIMEOUT, || {
        assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
        let is_named = zeef.stderr().contains(&format!("schema registry {url}: "));
        (is_named && !zeef.is_ready()).then_some(())
    });
    assert!(deployment.topics.read_committed(TOPIC).is_empty());
    let registry = TestRegistry::start(address);
    wait_until_ready(&mut zeef);
    deployment.wait_all_committed();
    zeef.send_signal(rustix::process::Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);

    let want = compute_expected(&deployment);
    let rows = deployment.topics.read_committed(TOPIC);
    assert!(rows.len() > 10, "{}", rows.len());
    assert_eq!(read_outputs(&rows, &url), want);
    let registered = registry.requests();
    let path = format!("POST /subjects/{subject}/versions");
    assert!(registered.iter().any(|request| request.line == path), "{registered:?}");

    // Another start writes nothing, an erasure a null, and an export reads JSON.
    let patron = library.messages().find(|message| message.source == "patron").unwrap();
    let erased = ProducerRecord::tombstone(patron.key.unwrap());
    deployment.run_to_end(&[]);
    assert_eq!(deployment.topics.read_committed(TOPIC).len(), rows.len());
    deployment.write_records("patron", &[erased]);
    deployment.run_to_end(&[]);
    let after = read_outputs(&deployment.topics.read_committed(TOPIC), &url);
    let has = after.values().filter(|values| values.last().unwrap().is_some()).count();
    let exported = export(&deployment);
    assert_eq!(exported.exit_code, 0, "{}", exported.stderr);
    let exported: Vec<Value> = serde_json::from_str(&exported.stdout).unwrap();
    assert_eq!(exported.len(), has);
    for (key, values) in &after {
        let before = &want[key];
        assert!(values.starts_with(before), "{key}");
        assert!(values[before.len()..].iter().all(Option::is_none), "{key}");
    }
}
