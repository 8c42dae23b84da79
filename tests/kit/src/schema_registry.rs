//! A schema registry on 127.0.0.1, which answers as it is told, as any server can, and values framed
//! for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};

/// How a registry answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryMood {
    Answers,
    /// With a status and a body, whatever is asked.
    Says(u16, String),
    /// After so long.
    Late(Duration),
    /// With bytes that are no HTTP.
    Garbage,
    /// By closing the connection.
    HangsUp,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryRequest {
    /// The method and the path.
    pub line: String,
    pub authorization: Option<String>,
    /// All headers as they came, those of the login apart.
    pub other_headers: Vec<String>,
    pub body: Vec<u8>,
    /// The schema that is to be registered.
    pub schema: Option<String>,
}

#[derive(Debug)]
struct RegistryState {
    mood: RegistryMood,
    /// The answers to who asks for a schema, by id.
    schemas: BTreeMap<u32, String>,
    /// What is answered to other paths.
    others: BTreeMap<String, String>,
    requests: Vec<RegistryRequest>,
}

impl RegistryState {
    /// What a registry says, in a good mood.
    fn answer(&mut self, request: &RegistryRequest) -> (u16, String) {
        let id = request.line.strip_prefix("GET /schemas/ids/").and_then(|id| id.parse().ok());
        if let Some(schema) = id.and_then(|id: u32| self.schemas.get(&id)) {
            return (200, schema.clone());
        }
        let path = request.line.strip_prefix("GET ").unwrap_or_default();
        if let Some(answer) = self.others.get(path) {
            return (200, answer.clone());
        }
        match &request.schema {
            Some(schema) if request.line.starts_with("POST /subjects/") => {
                let answer = json!({ "schema": schema }).to_string();
                let known = self.schemas.iter().find(|(_, one)| **one == answer);
                let next = self.schemas.keys().next_back().map_or(1, |last| last + 1);
                let id = known.map_or(next, |(id, _)| *id);
                self.schemas.insert(id, answer);
                (200, json!({ "id": id }).to_string())
            }
            _ => (404, json!({ "error_code": 40403, "message": "Schema not found" }).to_string()),
        }
    }
}

/// A registry that listens until it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    address: SocketAddr,
    state: Arc<Mutex<RegistryState>>,
    is_stopped: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Default for TestRegistry {
    fn default() -> Self {
        TestRegistry::start(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl TestRegistry {
    /// Listens on `address`.
    #[must_use]
    pub fn start(address: SocketAddr) -> TestRegistry {
        let listener = TcpListener::bind(address).unwrap();
        let state = RegistryState {
            mood: RegistryMood::Answers,
            schemas: BTreeMap::new(),
            others: BTreeMap::new(),
            requests: Vec::new(),
        };
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&is_stopped));
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Who asks may have gone away meanwhile.
                let _ = stream.and_then(|stream| answer(stream, &shared));
            }
        });
        TestRegistry { address, state, is_stopped, listener: Some(listener) }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_mood(&self, mood: RegistryMood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Registers an Avro schema under an id.
    pub fn add_schema(&self, id: u32, schema: &str) {
        self.add_answer(id, &json!({ "schema": schema }));
    }

    /// Registers what is answered to who asks for an id.
    pub fn add_answer(&self, id: u32, answer: &Value) {
        self.state.lock().unwrap().schemas.insert(id, answer.to_string());
    }

    /// Registers what is answered to who asks for another path, as that of a subject's version.
    pub fn add_path(&self, path: &str, answer: &Value) {
        self.state.lock().unwrap().others.insert(path.to_owned(), answer.to_string());
    }

    #[must_use]
    pub fn requests(&self) -> Vec<RegistryRequest> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<RegistryRequest> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    let (mut authorization, mut other_headers) = (None, Vec::new());
    let mut length = 0;
    for header in lines {
        let header = header?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        if !name.eq_ignore_ascii_case("authorization") {
            other_headers.push(header.clone());
        }
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    let schema = json.and_then(|json| Some(json.get("schema")?.as_str()?.to_owned()));
    let line = line.strip_suffix(" HTTP/1.1").unwrap_or(&line).to_owned();
    Ok(RegistryRequest { line, authorization, other_headers, body, schema })
}

fn answer(mut stream: TcpStream, state: &Mutex<RegistryState>) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let (mood, found) = {
        let mut state = state.lock().unwrap();
        let found = state.answer(&request);
        state.requests.push(request);
        (state.mood.clone(), found)
    };
    let (status, body) = match mood {
        RegistryMood::Answers => found,
        RegistryMood::Says(status, body) => (status, body),
        RegistryMood::Late(wait) => {
            std::thread::sleep(wait);
            found
        }
        RegistryMood::Garbage => return stream.write_all(b"\x15\x03\x01 no HTTP\r\n\r\n"),
        RegistryMood::HangsUp => return Ok(()),
    };
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A value behind the frame of a registry.
#[must_use]
pub fn frame(id: u32, value: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), value].concat()
}

/// A header's value that names a schema by its GUID.
#[must_use]
pub fn guid_header(guid: [u8; 16]) -> Vec<u8> {
    [&[1], guid.as_slice()].concat()
}

/// A JSON value as a connector with an Avro converter writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct AvroMessage {
    pub schema: String,
    pub bytes: Vec<u8>,
}

impl AvroMessage {
    /// Makes up the schema: objects are records, and what may be null is a union with it.
    #[must_use]
    pub fn from_json(value: &Value) -> AvroMessage {
        let (schema, value) = SchemaWriter::default().write(value);
        AvroMessage::encode(&schema, value)
    }

    /// Encodes a value of a schema.
    #[must_use]
    pub fn encode(schema: &Value, value: AvroValue) -> AvroMessage {
        let schema = schema.to_string();
        let parsed = Schema::parse_str(&schema).unwrap();
        let writer = GenericDatumWriter::builder(&parsed).build().unwrap();
        AvroMessage { bytes: writer.write_value_to_vec(value).unwrap(), schema }
    }
}

/// Counts the records that have a name.
#[derive(Default)]
struct SchemaWriter(usize);

impl SchemaWriter {
    /// A type that is no union, and the value.
    fn write(&mut self, value: &Value) -> (Value, AvroValue) {
        match value {
            Value::Null => (json!("null"), AvroValue::Null),
            Value::Bool(value) => (json!("boolean"), AvroValue::Boolean(*value)),
            Value::Number(number) => match number.as_i64() {
                Some(number) => (json!("long"), AvroValue::Long(number)),
                None => (json!("double"), AvroValue::Double(number.as_f64().unwrap())),
            },
            Value::String(text) => (json!("string"), AvroValue::String(text.clone())),
            Value::Array(items) => {
                let (types, values) = self.write_union(items);
                (json!({ "type": "array", "items": types }), AvroValue::Array(values))
            }
            Value::Object(members) if members.keys().all(|name| is_avro_name(name)) => {
                self.0 += 1;
                let name = format!("Row{}", self.0);
                let mut fields = Vec::new();
                let mut values = Vec::new();
                for (name, value) in members {
                    let (schema, value) = self.write_nullable(value);
                    fields.push(json!({ "name": name, "type": schema }));
                    values.push((name.clone(), value));
                }
                let schema = json!({ "type": "record", "name": name, "fields": fields });
                (schema, AvroValue::Record(values))
            }
            Value::Object(members) => {
                let inner: Vec<Value> = members.values().cloned().collect();
                let (types, values) = self.write_union(&inner);
                let values = members.keys().cloned().zip(values).collect();
                (json!({ "type": "map", "values": types }), AvroValue::Map(values))
            }
        }
    }

    fn write_nullable(&mut self, value: &Value) -> (Value, AvroValue) {
        let (schema, value) = self.write(value);
        match schema == "null" {
            true => (schema, value),
            false => (json!(["null", schema]), AvroValue::Union(1, Box::new(value))),
        }
    }

    /// A union of the types of `items`, and each as a value of it.
    fn write_union(&mut self, items: &[Value]) -> (Value, Vec<AvroValue>) {
        let mut types = vec![json!("null")];
        let mut values = Vec::new();
        for item in items {
            let (schema, value) = self.write(item);
            let at = types.iter().position(|known| *known == schema).unwrap_or_else(|| {
                types.push(schema);
                types.len() - 1
            });
            values.push(AvroValue::Union(u32::try_from(at).unwrap(), Box::new(value)));
        }
        (Value::Array(types), values)
    }
}

fn is_avro_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
