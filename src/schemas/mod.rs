//! Where the schemas are found that framed values name: a registry with Confluent's interface,
//! or a folder.
//!
//! An id means the same schema for ever, so one that was found is kept. What the registry does
//! not know is asked again; a registry that does not answer is an error and never a schema.

mod answer;

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::settings::{SchemaPlace, SchemaRegistrySettings, ServerSettings};
use crate::http::{self, HttpClient, HttpRequest};
use crate::intake::{AvroSchema, Intake, RegisteredSchema, SchemaId, split_frame};
use answer::{ErrorAnswer, SchemaAnswer};

/// Schemas that are kept; more are forgotten and found again.
const SCHEMAS_MAX: usize = 1_024;
/// A larger schema is not read.
const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// A schema that refers to more, with those that they refer to, is not read.
const SCHEMA_REFERENCES_MAX: usize = 100;
/// How long an id counts as unknown before the registry is asked again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

const SENT: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// Why a schema cannot be found out. Never holds a login.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(
        "values are framed as Avro, and zeef.toml does not say where their schemas are: expected \
         `[schema_registry]` with `url` or `folder`"
    )]
    NotConfigured,
    #[error("schema registry {address}: {cause}")]
    NoAnswer { address: String, cause: String },
    /// The registry has a reason of its own; asking again does not help.
    #[error("schema registry {address}: it refuses the schema of subject `{subject}`: {cause}")]
    Refused { address: String, subject: String, cause: String },
    #[error("a value that is framed with schema {id} cannot be read by it")]
    NotOfSchema { id: SchemaId },
    #[error("schema {path}: {cause}")]
    File { path: String, cause: String },
}

/// Finds schemas by their ids.
#[derive(Debug, Default)]
pub struct SchemaRegistry {
    place: Option<RegistryPlace>,
    found: Mutex<FoundSchemas>,
}

#[derive(Debug)]
enum RegistryPlace {
    Http(HttpClient),
    Folder(Box<Path>),
}

#[derive(Debug, Default)]
struct FoundSchemas {
    known: HashMap<SchemaId, Arc<RegisteredSchema>>,
    /// Until when the registry is not asked again.
    unknown: HashMap<SchemaId, Instant>,
}

/// What a registry, or a folder, has under an id.
#[derive(Debug, PartialEq, Eq)]
enum FetchedSchema {
    /// The schemas that it refers to, each behind those that it needs itself, and last itself.
    Avro(Vec<String>),
    /// Of another kind.
    Other(&'static str),
    /// Not there, or something that it refers to.
    Missing,
}

impl SchemaRegistry {
    /// Opens what the settings name, without asking for anything. Without settings there is no
    /// schema.
    #[must_use]
    pub fn new(settings: Option<&SchemaRegistrySettings>) -> SchemaRegistry {
        let place = settings.map(|settings| match &settings.place {
            SchemaPlace::Registry(url) => RegistryPlace::Http(HttpClient::new(ServerSettings {
                url: url.clone(),
                login: settings.login.clone(),
                ca_file: settings.ca_file.clone(),
                timeout: settings.timeout,
            })),
            SchemaPlace::Folder(folder) => RegistryPlace::Folder(folder.as_path().into()),
        });
        SchemaRegistry { place, found: Mutex::default() }
    }

    /// Fails if messages of `intake` need schemas, and nothing says where these are.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotConfigured`].
    pub fn require_for(&self, intake: &Intake) -> Result<(), RegistryError> {
        match intake.needs_schemas() && self.place.is_none() {
            true => Err(RegistryError::NotConfigured),
            false => Ok(()),
        }
    }

    /// Returns what is known of the schema without which `intake` cannot read `value`; `None` if
    /// it needs none.
    ///
    /// # Errors
    ///
    /// It cannot be found out now.
    pub fn schema_of(
        &self,
        intake: &Intake,
        value: Option<&[u8]>,
    ) -> Result<Option<Arc<RegisteredSchema>>, RegistryError> {
        match value.and_then(|value| intake.schema_id(value)) {
            Some(id) => self.find(id).map(Some),
            None => Ok(None),
        }
    }

    /// Returns what is known of the schema `id`.
    ///
    /// # Errors
    ///
    /// It cannot be found out now.
    pub fn find(&self, id: impl Into<SchemaId>) -> Result<Arc<RegisteredSchema>, RegistryError> {
        let id = id.into();
        if let Some(known) = self.find_kept(id) {
            return Ok(known);
        }
        let fetched = match &self.place {
            None => return Err(RegistryError::NotConfigured),
            Some(RegistryPlace::Http(client)) => fetch_from_registry(client, id)?,
            Some(RegistryPlace::Folder(folder)) => read_from_folder(folder, id)?,
        };
        let schema = Arc::new(read_fetched(id, fetched));
        self.keep(id, &schema);
        Ok(schema)
    }

    /// Registers an Avro schema under `subject`, unless it is there, and returns its id.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Refused`] if the registry does not take it, as one that is not compatible
    /// with those before it; otherwise it cannot be found out now.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        match &self.place {
            Some(RegistryPlace::Http(client)) => register_at(client, subject, schema),
            Some(RegistryPlace::Folder(_)) | None => Err(RegistryError::NotConfigured),
        }
    }

    /// Returns a value in Avro, behind its frame, as JSON; any other one as it is.
    ///
    /// # Errors
    ///
    /// Its schema cannot be found out, or is another one's.
    pub fn read_as_json(&self, value: Vec<u8>) -> Result<Vec<u8>, RegistryError> {
        let Some((id, inner)) = split_frame(&value) else {
            return Ok(value);
        };
        match self.find(id)?.as_ref() {
            RegisteredSchema::Avro(schema) => match schema.to_json(inner) {
                Ok(text) => Ok(text.into_bytes()),
                Err(_) => Err(RegistryError::NotOfSchema { id }),
            },
            RegisteredSchema::Unknown | RegisteredSchema::Unreadable => {
                Err(RegistryError::NotOfSchema { id })
            }
        }
    }

    fn find_kept(&self, id: SchemaId) -> Option<Arc<RegisteredSchema>> {
        let found = self.lock_found();
        let is_unknown = found.unknown.get(&id).is_some_and(|until| *until > Instant::now());
        match found.known.get(&id) {
            None if is_unknown => Some(Arc::new(RegisteredSchema::Unknown)),
            known => known.cloned(),
        }
    }

    fn keep(&self, id: SchemaId, schema: &Arc<RegisteredSchema>) {
        let mut found = self.lock_found();
        if found.known.len() + found.unknown.len() >= SCHEMAS_MAX {
            *found = FoundSchemas::default();
        }
        match schema.as_ref() {
            RegisteredSchema::Unknown => {
                found.unknown.insert(id, Instant::now() + UNKNOWN_FOR);
            }
            RegisteredSchema::Avro(_) | RegisteredSchema::Unreadable => {
                found.known.insert(id, Arc::clone(schema));
            }
        }
    }

    /// Whoever panicked while it had the lock left whole entries.
    fn lock_found(&self) -> MutexGuard<'_, FoundSchemas> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_fetched(id: SchemaId, fetched: FetchedSchema) -> RegisteredSchema {
    let texts = match fetched {
        FetchedSchema::Missing => return RegisteredSchema::Unknown,
        FetchedSchema::Avro(texts) => texts,
        FetchedSchema::Other(cause) => {
            tracing::warn!(schema = %id, cause, "schema cannot be read");
            return RegisteredSchema::Unreadable;
        }
    };
    match AvroSchema::parse_all(&texts) {
        Ok(schema) => RegisteredSchema::Avro(schema),
        Err(cause) => {
            tracing::warn!(schema = %id, %cause, "schema cannot be read");
            RegisteredSchema::Unreadable
        }
    }
}

fn read_from_folder(folder: &Path, id: SchemaId) -> Result<FetchedSchema, RegistryError> {
    let path = folder.join(format!("{id}.avsc"));
    let failed = |cause: String| RegistryError::File { path: path.display().to_string(), cause };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        // Of a folder that is not there nothing is known.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && std::fs::metadata(folder).is_ok_and(|found| found.is_dir()) =>
        {
            return Ok(FetchedSchema::Missing);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut text = String::new();
    let read = file.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    match text.len() > SCHEMA_BYTES_MAX {
        true => Err(failed(format!("larger than {SCHEMA_BYTES_MAX} bytes"))),
        false => Ok(FetchedSchema::Avro(vec![text])),
    }
}

fn no_answer(client: &HttpClient) -> impl Fn(String) -> RegistryError {
    |cause| RegistryError::NoAnswer { address: client.address(), cause }
}

/// A request to a path below the registry's address.
fn request_to(path: &str) -> HttpRequest<'_> {
    HttpRequest { path, accepted: ACCEPTED, content: None }
}

/// What an answer means that says nothing about a schema.
fn describe_status(status: u16) -> String {
    match status {
        200 | 404 => format!(
            "it answers {status} without what a schema registry says: look at `url` in \
             `[schema_registry]`"
        ),
        _ => http::describe_status(status, "the login in `[schema_registry]`"),
    }
}

/// Asks for a schema, and for all that it refers to.
fn fetch_from_registry(client: &HttpClient, id: SchemaId) -> Result<FetchedSchema, RegistryError> {
    let path = match id {
        SchemaId::Number(number) => format!("/schemas/ids/{number}"),
        SchemaId::Guid(_) => format!("/schemas/guids/{id}"),
    };
    let mut references = References { client, texts: Vec::new(), met: HashSet::new() };
    Ok(match references.fetch(&path)? {
        ReferenceOutcome::Read => FetchedSchema::Avro(references.texts),
        ReferenceOutcome::Other(why) => FetchedSchema::Other(why),
        ReferenceOutcome::Missing => FetchedSchema::Missing,
    })
}

/// Whether a schema and all that it refers to was read.
enum ReferenceOutcome {
    Read,
    Other(&'static str),
    Missing,
}

/// A schema and those that it refers to, as they are asked for.
struct References<'c> {
    client: &'c HttpClient,
    /// Each behind those that it needs.
    texts: Vec<String>,
    /// The paths that were asked for.
    met: HashSet<String>,
}

impl References<'_> {
    fn fetch(&mut self, path: &str) -> Result<ReferenceOutcome, RegistryError> {
        // Several may refer to the same one.
        if !self.met.insert(path.to_owned()) {
            return Ok(ReferenceOutcome::Read);
        }
        if self.met.len() > SCHEMA_REFERENCES_MAX {
            return Ok(ReferenceOutcome::Other("it refers to too many others"));
        }
        let failed = no_answer(self.client);
        let answer = self.client.ask(request_to(path)).map_err(&failed)?;
        let found = answer::read(&answer).ok_or_else(|| failed(describe_status(answer.status)))?;
        let (text, references) = match found {
            SchemaAnswer::Avro { text, references } => (text, references),
            SchemaAnswer::Other(why) => return Ok(ReferenceOutcome::Other(why)),
            SchemaAnswer::Missing => {
                tracing::warn!(registry = %self.client.address(), path, "the registry has no such schema");
                return Ok(ReferenceOutcome::Missing);
            }
        };
        for reference in references {
            match self.fetch(&reference.path())? {
                ReferenceOutcome::Read => {}
                other => return Ok(other),
            }
        }
        self.texts.push(text);
        Ok(ReferenceOutcome::Read)
    }
}

/// What a registry says once it has a schema.
#[derive(serde::Deserialize)]
struct RegisteredId {
    id: u32,
}

/// How much of a registry's own words is shown.
const REFUSAL_CHARS_MAX: usize = 300;

fn register_at(client: &HttpClient, subject: &str, schema: &str) -> Result<u32, RegistryError> {
    let failed = no_answer(client);
    let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
    let path = format!("/subjects/{subject}/versions");
    let content = Some((SENT, body.into_bytes()));
    let request = HttpRequest { content, ..request_to(&path) };
    let answer = client.ask(request).map_err(&failed)?;
    let registered: Option<RegisteredId> = serde_json::from_slice(&answer.body).ok();
    match (answer.status, registered) {
        (200, Some(RegisteredId { id })) => Ok(id),
        // Incompatible, or invalid for its rules.
        (409 | 422, _) => {
            let error: Option<ErrorAnswer> = serde_json::from_slice(&answer.body).ok();
            let words = error.and_then(|error| error.message).unwrap_or_default();
            Err(RegistryError::Refused {
                address: client.address(),
                subject: subject.to_owned(),
                cause: words.chars().take(REFUSAL_CHARS_MAX).collect(),
            })
        }
        (status, _) => Err(failed(describe_status(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_folder_has_a_file_for_each_id() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |place: &Path| SchemaRegistrySettings {
            place: SchemaPlace::Folder(place.to_owned()),
            login: None,
            ca_file: None,
            timeout: Duration::from_secs(1),
        };
        std::fs::write(folder.path().join("7.avsc"), "\"string\"").unwrap();
        std::fs::write(folder.path().join("8.avsc"), "{}").unwrap();
        let registry = SchemaRegistry::new(Some(&settings(folder.path())));
        assert!(matches!(*registry.find(7_u32).unwrap(), RegisteredSchema::Avro(_)));
        assert!(matches!(*registry.find(8_u32).unwrap(), RegisteredSchema::Unreadable));
        assert!(matches!(*registry.find(9_u32).unwrap(), RegisteredSchema::Unknown));
        let guid = SchemaId::Guid(*b"0123456789abcdef");
        assert!(matches!(*registry.find(guid).unwrap(), RegisteredSchema::Unknown));
        let file = folder.path().join("30313233-3435-3637-3839-616263646566.avsc");
        std::fs::write(file, "\"int\"").unwrap();
        // What was not there is not looked for again at once.
        let registry = SchemaRegistry::new(Some(&settings(folder.path())));
        assert!(matches!(*registry.find(guid).unwrap(), RegisteredSchema::Avro(_)));
        let nowhere = SchemaRegistry::new(Some(&settings(&folder.path().join("none"))));
        let error = nowhere.find(7_u32).unwrap_err().to_string();
        assert!(error.contains("none/7.avsc"), "{error}");
        assert!(matches!(SchemaRegistry::default().find(7_u32), Err(RegistryError::NotConfigured)));
    }

    #[test]
    fn kept_schemas_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SchemaRegistrySettings {
            place: SchemaPlace::Folder(folder.path().to_owned()),
            login: None,
            ca_file: None,
            timeout: Duration::from_secs(1),
        };
        std::fs::write(folder.path().join("0.avsc"), "\"string\"").unwrap();
        let registry = SchemaRegistry::new(Some(&settings));
        for id in 0..3_000_u32 {
            registry.find(id).unwrap();
            let found = registry.lock_found();
            assert!(found.known.len() + found.unknown.len() <= SCHEMAS_MAX);
        }
    }
}
