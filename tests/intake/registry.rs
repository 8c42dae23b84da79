//! A schema registry that answers, answers late or otherwise, goes away and comes back: its
//! schema is read, or the intake waits; nothing is guessed, and no login is shown.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use zeef::config::settings::{
    SchemaPlace, SchemaRegistrySettings, SecretSource, ServerLogin, ServerUrl,
};
use zeef::daemon::intake::IntakeSetup;
use zeef::daemon::worker::WorkerExit;
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::intake::{RawMessage, RegisteredSchema};
use zeef::message::{Fault, LanePlan};
use zeef::schemas::SchemaRegistry;
use zeef::transport::memory::MemoryTransport;
use zeef_test_kit::schema_registry::{AvroMessage, RegistryMood, TestRegistry, frame, guid_header};

use super::avro::load_avro_mapping;
use super::commands::copy_config;
use super::lane::{
    CONFIG, RawRecord, bounded_worker, branch_row, loan_row, push_record, push_rows, values_of,
};
use super::repository;

fn settings_of(url: &str) -> SchemaRegistrySettings {
    SchemaRegistrySettings {
        place: SchemaPlace::Registry(ServerUrl::parse(url).unwrap()),
        login: None,
        ca_file: None,
        timeout: Duration::from_secs(1),
    }
}

fn find_error(settings: &SchemaRegistrySettings, id: u32) -> String {
    SchemaRegistry::new(Some(settings)).find(id).unwrap_err().to_string()
}

#[test]
fn registry_is_asked_once_for_each_schema_and_unknown_id() {
    let server = TestRegistry::default();
    server.add_schema(7, "\"string\"");
    server.add_answer(8, &json!({ "schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF" }));
    let registry = SchemaRegistry::new(Some(&settings_of(&server.url())));
    for _ in 0..3 {
        assert!(matches!(*registry.find(7_u32).unwrap(), RegisteredSchema::Avro(_)));
        assert!(matches!(*registry.find(8_u32).unwrap(), RegisteredSchema::Unreadable));
        assert!(matches!(*registry.find(9_u32).unwrap(), RegisteredSchema::Unknown));
    }
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["GET /schemas/ids/7", "GET /schemas/ids/8", "GET /schemas/ids/9"]);
    // What is known is known without it.
    server.set_mood(RegistryMood::HangsUp);
    assert!(matches!(*registry.find(7_u32).unwrap(), RegisteredSchema::Avro(_)));
}

const ENVELOPE: &str = r#"{"type":"record","name":"koha.Envelope","fields":[
    {"name":"before","type":["null","koha.Row"]},{"name":"after","type":["null","koha.Row"]},
    {"name":"op","type":"string"},{"name":"source","type":"koha.Source"}]}"#;
const SOURCE: &str = r#"{"type":"record","name":"koha.Source","fields":[
    {"name":"table","type":"koha.Name"}]}"#;
const ROW: &str = r#"{"type":"record","name":"koha.Row","fields":[
    {"name":"branchcode","type":"koha.Name"},{"name":"branchname","type":"string"},
    {"name":"marcorgcode","type":"string"}]}"#;
const NAME: &str = r#"{"type":"enum","name":"koha.Name","symbols":["branches","DUIN"]}"#;

fn version_path(subject: &str) -> String {
    format!("/subjects/{subject}/versions/1")
}

/// Two schemas refer to the same third one, which is asked for once.
fn register_references(server: &TestRegistry) {
    let reference =
        |name: &str, subject: &str| json!({ "name": name, "subject": subject, "version": 1 });
    let references = [reference("koha.Row", "koha/row"), reference("koha.Source", "koha.Source")];
    server.add_answer(7, &json!({ "schema": ENVELOPE, "references": references }));
    let names = [reference("koha.Name", "koha.Name")];
    let answer = |schema: &str| json!({ "schema": schema, "id": 1, "references": names });
    server.add_path(&version_path("koha%2Frow"), &answer(ROW));
    server.add_path(&version_path("koha.Source"), &answer(SOURCE));
}

#[test]
fn registry_schema_is_read_with_all_that_it_refers_to() {
    let server = TestRegistry::default();
    register_references(&server);
    let settings = settings_of(&server.url());
    // Something that it refers to is missing: nothing of it is guessed.
    let without = SchemaRegistry::new(Some(&settings)).find(7_u32).unwrap();
    assert!(matches!(*without, RegisteredSchema::Unknown));
    server.add_path(&version_path("koha.Name"), &json!({ "schema": NAME, "schemaType": "AVRO" }));
    let asked = server.requests().len();
    let schema = SchemaRegistry::new(Some(&settings)).find(7_u32).unwrap();
    let lines: Vec<String> =
        server.requests().into_iter().skip(asked).map(|request| request.line).collect();
    let want = [
        "GET /schemas/ids/7",
        "GET /subjects/koha%2Frow/versions/1",
        "GET /subjects/koha.Name/versions/1",
        "GET /subjects/koha.Source/versions/1",
    ];
    assert_eq!(lines, want);

    // The row of a branch, as its bytes stand.
    let text = |text: &str| [&[u8::try_from(text.len() * 2).unwrap()], text.as_bytes()].concat();
    let row = [vec![2], text("Duinbibliotheek"), text("NL-DuiBIB")].concat();
    let value = [vec![0, 2], row, text("c"), vec![0]].concat();
    let intake = load_avro_mapping("koha-debezium");
    let mut lookups = intake.empty_lookups();
    let value = frame(7, &value);
    let message = RawMessage {
        topic: "koha.koha_library.branches",
        value: Some(&value),
        schema: Some(&schema),
    };
    assert_eq!(intake.apply_to_lookups(&message, &mut lookups).unwrap(), []);
    assert_eq!(lookups.row_counts().iter().sum::<usize>(), 1);

    // Another kind of schema among them is no Avro.
    let protobuf = json!({ "schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF" });
    server.add_path(&version_path("koha.Name"), &protobuf);
    let schema = SchemaRegistry::new(Some(&settings)).find(7_u32).unwrap();
    assert!(matches!(*schema, RegisteredSchema::Unreadable));
    // A registry that goes away meanwhile is none that has no such schema.
    server.set_mood(RegistryMood::Says(500, String::new()));
    assert!(find_error(&settings, 7).contains("it answers 500"));
}

#[test]
fn registry_schemas_that_refer_to_each_other_end() {
    let server = TestRegistry::default();
    let refers = |subject: &str| {
        let reference = json!({ "name": "a.B", "subject": subject, "version": 1 });
        json!({ "schema": "\"a.B\"", "references": [reference] })
    };
    server.add_answer(7, &refers("s0"));
    server.add_path(&version_path("s0"), &refers("s0"));
    server.add_answer(8, &refers("t0"));
    for number in 0..200 {
        server.add_path(&version_path(&format!("t{number}")), &refers(&format!("t{}", number + 1)));
    }
    let registry = SchemaRegistry::new(Some(&settings_of(&server.url())));
    assert!(matches!(*registry.find(7_u32).unwrap(), RegisteredSchema::Unreadable));
    assert!(matches!(*registry.find(8_u32).unwrap(), RegisteredSchema::Unreadable));
    assert!(server.requests().len() < 120, "{}", server.requests().len());
}

/// What a newer serialiser writes in a header, as transports hand it out: in front of the value.
#[test]
fn registry_is_asked_for_a_schema_by_its_guid() {
    let lane = AvroLane::new();
    let guid = *b"0123456789abcdef";
    let by_guid = |raw: &RawRecord| {
        let value: Value = serde_json::from_slice(raw.value.as_deref().unwrap()).unwrap();
        let avro = AvroMessage::from_json(&value);
        let path = "/schemas/guids/30313233-3435-3637-3839-616263646566";
        lane.server.add_path(path, &json!({ "schema": avro.schema }));
        RawRecord { value: Some([guid_header(guid), avro.bytes].concat()), ..raw.clone() }
    };
    let mut transport = MemoryTransport::new(&lane.plan);
    push_rows(&mut transport, &lane.plan, &[lane.framed(&branch_row())]);
    push_record(&mut transport, &lane.plan, &by_guid(&loan_row(1)));
    let unknown = [guid_header([0; 16]), b"x".to_vec()].concat();
    push_record(&mut transport, &lane.plan, &RawRecord { value: Some(unknown), ..loan_row(1) });
    let (ended, transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert_eq!(loan_ids(&transport), ["koha-1"]);
    let letters = values_of(&transport, DEAD_LETTERS_TOPIC);
    let reasons: Vec<&Value> = letters.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["unknown_schema"]);
}

#[test]
fn registry_that_answers_otherwise_is_an_error_that_names_it() {
    let server = TestRegistry::default();
    server.add_schema(7, "\"string\"");
    let settings = settings_of(&server.url());
    let says = |status, body: &str| RegistryMood::Says(status, body.to_owned());
    let registry_404 = r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#;
    for (mood, want) in [
        (says(500, "{\"error_code\":50001}"), "it answers 500"),
        (says(401, ""), "it answers 401: look at the login"),
        (says(403, ""), "it answers 403: look at the login"),
        (says(302, ""), "it answers 302: have `url` name"),
        (says(404, registry_404), "it answers 404 without what a schema registry says"),
        (says(200, "<html></html>"), "it answers 200 without what a schema registry says"),
        (says(200, &"x".repeat(3 << 20)), "length limit exceeded"),
        (RegistryMood::Late(Duration::from_secs(2)), "no answer within 1 s"),
        (RegistryMood::Garbage, ""),
        (RegistryMood::HangsUp, ""),
    ] {
        server.set_mood(mood.clone());
        let error = find_error(&settings, 7);
        assert!(error.starts_with(&format!("schema registry {}: ", server.url())), "{error}");
        assert!(error.contains(want), "{mood:?}: {error}");
    }
    server.set_mood(RegistryMood::Answers);
    assert!(SchemaRegistry::new(Some(&settings)).find(7_u32).is_ok());
    drop(server);
    assert!(find_error(&settings, 7).contains("refused"), "{}", find_error(&settings, 7));
}

#[test]
fn schema_is_registered_once_and_a_refusal_has_the_registrys_words() {
    let server = TestRegistry::default();
    let registry = SchemaRegistry::new(Some(&settings_of(&server.url())));
    let schema = r#"{"type":"record","name":"a.b","fields":[]}"#;
    let id = registry.register("out.loans-value", schema).unwrap();
    assert_eq!(registry.register("out.loans-value", schema).unwrap(), id);
    assert_ne!(registry.register("out.loans-value", "\"string\"").unwrap(), id);
    let first = &server.requests()[0];
    assert_eq!(first.line, "POST /subjects/out.loans-value/versions");
    assert_eq!(first.schema.as_deref(), Some(schema));
    let incompatible = json!({ "error_code": 409, "message": "READER_FIELD_MISSING" }).to_string();
    server.set_mood(RegistryMood::Says(409, incompatible));
    let error = registry.register("out.loans-value", schema).unwrap_err().to_string();
    let want = format!(
        "schema registry {}: it refuses the schema of subject `out.loans-value`: \
         READER_FIELD_MISSING",
        server.url()
    );
    assert_eq!(error, want);
    server.set_mood(RegistryMood::Says(500, String::new()));
    let error = registry.register("out.loans-value", schema).unwrap_err().to_string();
    assert!(error.ends_with("it answers 500"), "{error}");
}

#[test]
fn framed_outputs_are_read_as_json_and_others_as_they_are() {
    let server = TestRegistry::default();
    let registry = SchemaRegistry::new(Some(&settings_of(&server.url())));
    let value = json!({ "title": "Zee \"en\" wad", "fee": 2.5, "note": null, "list": [1, null] });
    let avro = AvroMessage::from_json(&value);
    server.add_schema(7, &avro.schema);
    let read = registry.read_as_json(frame(7, &avro.bytes)).unwrap();
    let want = json!({ "title": "Zee \"en\" wad", "fee": 2.5, "list": [1, null] });
    assert_eq!(serde_json::from_slice::<Value>(&read).unwrap(), want);
    assert_eq!(registry.read_as_json(b"{\"a\":1}".to_vec()).unwrap(), b"{\"a\":1}");
    for wrong in [frame(7, b""), frame(8, &avro.bytes)] {
        let error = registry.read_as_json(wrong).unwrap_err().to_string();
        assert!(error.contains("cannot be read by it"), "{error}");
    }
}

/// A folder of the test's own, with a file that holds `secret`.
fn secret_file(secret: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, format!("{secret}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).unwrap();
    (folder, path)
}

#[test]
fn registry_gets_the_login_and_no_error_shows_it() {
    let server = TestRegistry::default();
    server.set_mood(RegistryMood::Says(401, String::new()));
    let (_folder, file) = secret_file("CANARY-word");
    let secret = || SecretSource::File(file.clone());
    let basic = ServerLogin::Basic { user: "zeef".to_owned(), password: secret() };
    let encoded = STANDARD.encode("zeef:CANARY-word");
    for (login, want) in [
        (basic, format!("Basic {encoded}")),
        (ServerLogin::Bearer(secret()), "Bearer CANARY-word".to_owned()),
    ] {
        let settings = SchemaRegistrySettings { login: Some(login), ..settings_of(&server.url()) };
        let registry = SchemaRegistry::new(Some(&settings));
        let error = registry.find(7_u32).unwrap_err();
        let shown = format!("{error} {error:?} {registry:?} {settings:?}");
        assert!(!shown.contains("CANARY") && !shown.contains(&encoded), "{shown}");
        assert_eq!(server.requests().last().unwrap().authorization, Some(want));
    }
    let missing = SecretSource::File("/no/such/file".into());
    let login = Some(ServerLogin::Bearer(missing));
    let error = find_error(&SchemaRegistrySettings { login, ..settings_of(&server.url()) }, 7);
    assert!(error.contains("/no/such/file cannot be read"), "{error}");
}

/// A certificate that signs itself, for 127.0.0.1 alone.
fn self_signed() -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "registry").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new()
        .ip("127.0.0.1")
        .build(&certificate.x509v3_context(None, None));
    certificate.append_extension(names.unwrap()).unwrap();
    certificate.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build(), key)
}

/// Serves one schema over TLS, to as many clients as are to come.
fn serve_tls(
    certificate: &X509,
    key: &PKey<Private>,
    clients: usize,
) -> (u16, std::thread::JoinHandle<()>) {
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(clients) {
            // A client that does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream.unwrap()) else {
                continue;
            };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let body = json!({ "schema": "\"string\"" }).to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (port, server)
}

#[test]
fn registry_over_https_is_asked_if_its_certificate_is_trusted() {
    let (certificate, key) = self_signed();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, certificate.to_pem().unwrap()).unwrap();
    let (port, server) = serve_tls(&certificate, &key, 3);
    let by_address = settings_of(&format!("https://127.0.0.1:{port}"));
    let by_name = settings_of(&format!("https://localhost:{port}"));
    let trusted = |settings: &SchemaRegistrySettings| SchemaRegistrySettings {
        ca_file: Some(ca_file.clone()),
        ..settings.clone()
    };
    let found = SchemaRegistry::new(Some(&trusted(&by_address))).find(7_u32).unwrap();
    assert!(matches!(*found, RegisteredSchema::Avro(_)));
    for settings in [by_address, trusted(&by_name)] {
        let error = find_error(&settings, 7);
        assert!(error.contains("TLS: "), "{error}");
    }
    server.join().unwrap();
}

/// An intake of Koha, all of whose messages are framed as Avro.
struct AvroLane {
    setup: Arc<IntakeSetup>,
    plan: LanePlan,
    server: TestRegistry,
    /// How many are registered: their ids count up.
    schemas: Cell<u32>,
}

impl AvroLane {
    fn new() -> AvroLane {
        let server = TestRegistry::default();
        let mut setup = IntakeSetup::new(load_avro_mapping("koha-debezium"), &CONFIG, "");
        setup.schemas = Arc::new(SchemaRegistry::new(Some(&settings_of(&server.url()))));
        let setup = Arc::new(setup);
        let plan = setup.plan(&BTreeSet::new()).unwrap();
        AvroLane { setup, plan, server, schemas: Cell::new(0) }
    }

    /// The same message, by a schema of its own that is registered.
    fn framed(&self, raw: &RawRecord) -> RawRecord {
        let value: Value = serde_json::from_slice(raw.value.as_deref().unwrap()).unwrap();
        let avro = AvroMessage::from_json(&value);
        let id = self.schemas.get() + 1;
        self.schemas.set(id);
        self.server.add_schema(id, &avro.schema);
        RawRecord { value: Some(frame(id, &avro.bytes)), ..raw.clone() }
    }

    fn run(&self, transport: MemoryTransport) -> (Result<WorkerExit, Fault>, MemoryTransport) {
        let mut worker = bounded_worker(&self.setup, &self.plan, transport, 10);
        let ended = worker.run();
        worker.transport.restart();
        (ended, worker.transport)
    }
}

fn loan_ids(transport: &MemoryTransport) -> Vec<Value> {
    values_of(transport, "loan").into_iter().map(|loan| loan["loan_id"].clone()).collect()
}

#[test]
fn lane_waits_for_a_registry_that_went_away_and_loses_nothing() {
    let lane = AvroLane::new();
    let mut transport = MemoryTransport::new(&lane.plan);
    push_rows(&mut transport, &lane.plan, &[lane.framed(&branch_row())]);
    push_record(&mut transport, &lane.plan, &lane.framed(&loan_row(1)));
    let (ended, mut transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert_eq!(loan_ids(&transport), ["koha-1"]);

    // Schemas that were found go on; a new one has to wait.
    lane.server.set_mood(RegistryMood::HangsUp);
    let known = lane.schemas.get();
    let again = AvroMessage::from_json(
        &serde_json::from_slice(loan_row(2).value.as_deref().unwrap()).unwrap(),
    );
    push_record(
        &mut transport,
        &lane.plan,
        &RawRecord { value: Some(frame(known, &again.bytes)), ..loan_row(2) },
    );
    let (ended, mut transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    push_record(&mut transport, &lane.plan, &lane.framed(&loan_row(3)));
    for mood in [RegistryMood::HangsUp, RegistryMood::Says(500, String::new())] {
        lane.server.set_mood(mood);
        let ended;
        (ended, transport) = lane.run(transport);
        let Err(Fault::TransportLost(why)) = ended else {
            panic!("expected a lost transport, not {ended:?}");
        };
        assert!(why.to_string().contains(&lane.server.url()), "{why}");
        assert_eq!(loan_ids(&transport), ["koha-1", "koha-2"]);
    }
    lane.server.set_mood(RegistryMood::Answers);
    let (ended, transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert_eq!(loan_ids(&transport), ["koha-1", "koha-2", "koha-3"]);
    assert!(values_of(&transport, DEAD_LETTERS_TOPIC).is_empty());
}

/// A row of a lookup that was handed out and could not be read is never left out.
#[test]
fn lookup_rows_wait_for_a_registry_that_does_not_answer() {
    let lane = AvroLane::new();
    let mut transport = MemoryTransport::new(&lane.plan);
    push_rows(&mut transport, &lane.plan, &[lane.framed(&branch_row())]);
    push_record(&mut transport, &lane.plan, &lane.framed(&loan_row(1)));
    lane.server.set_mood(RegistryMood::Garbage);
    let (ended, transport) = lane.run(transport);
    assert!(matches!(ended, Err(Fault::TransportLost(_))), "{ended:?}");
    assert!(transport.published().is_empty());
    lane.server.set_mood(RegistryMood::Answers);
    let (ended, transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert_eq!(loan_ids(&transport), ["koha-1"]);
}

#[test]
fn framed_values_that_cannot_be_read_are_dead_letters_and_the_lane_goes_on() {
    let lane = AvroLane::new();
    let mut transport = MemoryTransport::new(&lane.plan);
    push_rows(&mut transport, &lane.plan, &[lane.framed(&branch_row())]);
    let good = lane.framed(&loan_row(1));
    let bytes = good.value.clone().unwrap();
    let other = json!({ "schema": "{}", "schemaType": "JSON" });
    lane.server.add_answer(900, &other);
    let wrong = |value: Vec<u8>| RawRecord { value: Some(value), ..loan_row(1) };
    let values = [
        wrong(frame(901, &bytes[5..])),
        wrong(frame(900, &bytes[5..])),
        wrong(bytes[..bytes.len() - 1].to_vec()),
        loan_row(1),
        good,
    ];
    for raw in &values {
        push_record(&mut transport, &lane.plan, raw);
    }
    let (ended, transport) = lane.run(transport);
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
    assert_eq!(loan_ids(&transport), ["koha-1"]);
    let letters = values_of(&transport, DEAD_LETTERS_TOPIC);
    let reasons: Vec<&Value> = letters.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["unknown_schema", "unreadable_schema", "not_avro", "not_framed"]);
    assert!(letters.iter().all(|letter| letter.get("value").is_none()), "{letters:?}");
}

/// The shipped config with one mapping framed as Avro, and some lines more in zeef.toml.
fn write_config(folder: &Path, lines: &str) {
    copy_config(folder);
    let mapping = folder.join("intake/koha-debezium.toml");
    let text = fs::read_to_string(&mapping).unwrap();
    fs::write(&mapping, format!("framing = \"avro\"\n{text}")).unwrap();
    let settings = folder.join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}\n{lines}")).unwrap();
}

fn convert(config: &Path, file: &Path) -> (Option<i32>, String, String) {
    let mapping = config.join("intake/koha-debezium.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
    command.args(["intake", "convert", "--intake"]).arg(mapping).arg(file);
    command.arg("--config").arg(config).current_dir(repository()).env_remove("COLUMNS");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn convert_reads_avro_by_the_schemas_of_a_folder_or_a_registry() {
    let config = tempfile::tempdir().unwrap();
    let server = TestRegistry::default();
    let url = format!("[schema_registry]\nurl = \"{}\"\ntimeout_seconds = 1\n", server.url());
    let file = config.path().join("dump.ndjson");
    let mut lines = String::new();
    fs::create_dir(config.path().join("schemas")).unwrap();
    for (id, raw) in [(1, branch_row()), (2, loan_row(1))] {
        let value: Value = serde_json::from_slice(raw.value.as_deref().unwrap()).unwrap();
        let avro = AvroMessage::from_json(&value);
        server.add_schema(id, &avro.schema);
        fs::write(config.path().join(format!("schemas/{id}.avsc")), &avro.schema).unwrap();
        let value = STANDARD.encode(frame(id, &avro.bytes));
        lines += &format!("{}\n", json!({ "topic": raw.topic, "value_base64": value }));
    }
    fs::write(&file, lines).unwrap();
    for place in ["[schema_registry]\nfolder = \"schemas\"\n", &url] {
        write_config(config.path(), place);
        let (exit, stdout, stderr) = convert(config.path(), &file);
        assert_eq!(exit, Some(0), "{stderr}");
        assert!(stdout.contains(r#""loan_id":"koha-1""#), "{stdout}");
    }
    drop(server);
    let (exit, stdout, stderr) = convert(config.path(), &file);
    assert_eq!((exit, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("schema registry http://127.0.0.1:"), "{stderr}");
    write_config(config.path(), "");
    let (exit, _, stderr) = convert(config.path(), &file);
    assert_eq!(exit, Some(78), "{stderr}");
    assert!(stderr.contains("expected `[schema_registry]` with `url` or `folder`"), "{stderr}");
}

/// Neither a check nor a start passes over an enabled intake that could read nothing.
#[test]
fn enabled_intake_without_its_schemas_is_a_mistake_of_the_config() {
    let config = tempfile::tempdir().unwrap();
    write_config(config.path(), "");
    let settings = config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let enabled = text.replacen("[intakes]\n", "[intakes]\nenabled = [\"koha-debezium\"]\n", 1);
    assert_ne!(enabled, text);
    fs::write(&settings, &enabled).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeef"));
        command.arg("check").arg("--config").arg(config.path()).env_remove("COLUMNS");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (exit, stderr) = check();
    assert_eq!(exit, Some(78), "{stderr}");
    assert!(stderr.contains("intake/koha-debezium.toml: values are framed as Avro"), "{stderr}");
    fs::write(&settings, format!("{enabled}\n[schema_registry]\nfolder = \"schemas\"\n")).unwrap();
    let (exit, stderr) = check();
    assert_eq!(exit, Some(0), "{stderr}");
}
