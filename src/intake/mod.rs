//! The intake: from the raw messages of a library system to canonical records,
//! keyed by patron id.
//!
//! A mapping (`config/intake/*.toml`) says which columns become which fields. What
//! it does not name is not looked at. Headers are no part of a [`RawMessage`].
//! Nothing is decided here: who may see what is the engine's.

mod avro;
mod columns;
mod conversion;
mod csv;
mod envelope;
mod explain;
mod expression;
mod expression_table;
mod fields;
mod load;
mod lookup;
mod mapping;
mod memory_bound;
mod path;
mod record_versions;
mod refusal;
mod topic;
mod value;
mod version;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use avro::{AvroSchema, RegisteredSchema, SchemaError};
pub use columns::TopicColumns;
pub use conversion::{CONVERSIONS, ConversionDef, ConversionExample, ValueKind, find_conversion};
pub use csv::CsvFiles;
pub use envelope::{SchemaId, split_frame};
pub use explain::{ExplainedField, ExplainedRow, FieldOutcome};
pub use expression_table::{EXPRESSIONS, ExpressionDef, ExpressionExample};
pub use load::{load_file, load_folder};
pub use lookup::LookupTables;
pub use memory_bound::MemoryFull;
pub use record_versions::{RecordVersions, VersionRowError, is_position_key};
pub use refusal::{Refusal, RefusedRecord};

use envelope::{Change, Envelope, Framing, OpenedMessage};
use expression::EvaluationScope;
use lookup::{LookupDef, LookupFault};
use mapping::{ChangeScopes, RecordMapping};
use memory_bound::{BoundedMemory, MemoryBound};
use path::{RowBody, RowPath, RowScope};
use record_versions::VersionClaim;
use topic::TopicPattern;
use value::{JsonValue, ValueLimits, parse_bytes, parse_text};
use version::Version;

use crate::policy::pseudonym::HmacKey;

/// Raw messages of records, and of rows for lookups: those of FOLIO's inventory
/// can be large.
const MESSAGE_LIMITS: ValueLimits = ValueLimits { bytes: 16 << 20, keys: 1 << 16 };

/// So many days and more stand for ever.
const KEEP_REMOVED_DAYS_MAX: i32 = 36_500;

/// One raw message. Its headers are not here: they may hold tokens.
#[derive(Clone, Copy, Debug)]
pub struct RawMessage<'a> {
    pub topic: &'a str,
    /// `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
    /// What is known of the schema that the value names, where [`Intake::schema_id`] has one.
    pub schema: Option<&'a RegisteredSchema>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordOutcome {
    Written,
    /// The record is no longer the patron's: identifiers, and `"gone":true`.
    Gone,
    /// The patron is erased: a null.
    Erased,
    /// The consent's row is gone: the consent, as withdrawn.
    Withdrawn,
    /// A patron, consent or objection was refused: `{}`, which the engine refuses
    /// whole, so that what it decides over is closed.
    Unreadable,
}

impl RecordOutcome {
    /// Every outcome.
    pub const ALL: &[RecordOutcome] = &[
        RecordOutcome::Written,
        RecordOutcome::Gone,
        RecordOutcome::Erased,
        RecordOutcome::Withdrawn,
        RecordOutcome::Unreadable,
    ];

    /// The word in counts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RecordOutcome::Written => "written",
            RecordOutcome::Gone => "gone",
            RecordOutcome::Erased => "erased",
            RecordOutcome::Withdrawn => "withdrawn",
            RecordOutcome::Unreadable => "unreadable",
        }
    }

    /// Whether the record is taken back from its patron.
    #[must_use]
    pub const fn is_removal(self) -> bool {
        matches!(self, RecordOutcome::Gone | RecordOutcome::Erased | RecordOutcome::Withdrawn)
    }
}

/// A canonical record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalRecord {
    pub kind: Arc<str>,
    /// The patron's id.
    pub key: String,
    /// Compact JSON; `None` is a null.
    pub value: Option<Vec<u8>>,
    pub outcome: RecordOutcome,
    /// Which version it is; `None` if versions are not compared.
    claim: Option<VersionClaim>,
}

impl CanonicalRecord {
    /// Sets its version, if versions are compared.
    fn with_version(mut self, version: Option<Version>) -> CanonicalRecord {
        if let Some(claim) = &mut self.claim {
            claim.version = version;
        }
        self
    }
}

/// What a raw message means: some records, and what was refused of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    pub records: Vec<CanonicalRecord>,
    pub refused: Vec<RefusedRecord>,
    /// The kinds of the records that [`RecordVersions::take_out_older`] took out.
    pub older: Vec<Arc<str>>,
}

/// All rows of a table were deleted at once, and its mapping has the intake stop there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "all rows of `{topic}` were deleted at once: restore the table, or have the recipients' outputs \
     taken back; then set `all_gone = \"refuse\"` for {kind} in intake/{intake}.toml to go on"
)]
pub struct AllGone {
    intake: String,
    topic: String,
    kind: Arc<str>,
}

/// Whether `pattern`, as [`Intake::record_topics`] has it, stands for `topic`.
#[must_use]
pub fn matches_topic(pattern: &str, topic: &str) -> bool {
    TopicPattern::parse(pattern).is_some_and(|pattern| pattern.matches(topic))
}

/// A compiled mapping of one library system.
#[derive(Clone, Debug)]
pub struct Intake {
    name: String,
    framing: Framing,
    envelope: Envelope,
    /// The column that holds the record as a JSON text.
    body: Option<RowPath>,
    lookups: Vec<LookupDef>,
    records: Vec<RecordMapping>,
    lookup_bytes_max: usize,
    version_bytes_max: usize,
    /// For how long the version of a record is known that was taken back.
    keep_removed_days: i32,
    csv: Option<CsvFiles>,
}

impl Intake {
    /// The mapping's name, which is its file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kinds that the mapping writes, in its order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.records.iter().map(|record| record.kind.as_ref())
    }

    /// The lookups' names, in the order of the mapping.
    pub fn lookup_names(&self) -> impl Iterator<Item = &str> {
        self.lookups.iter().map(|lookup| lookup.name.as_str())
    }

    /// Whether values name schemas that have to be known before they are read.
    #[must_use]
    pub fn needs_schemas(&self) -> bool {
        self.framing == Framing::Avro
    }

    /// Whether values are framed, be it by a header.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.framing != Framing::Bare
    }

    /// The id of the schema without which `value` cannot be read; `None` if it needs none.
    #[must_use]
    pub fn schema_id(&self, value: &[u8]) -> Option<SchemaId> {
        let (id, _) = envelope::split_frame(value).filter(|_| self.needs_schemas())?;
        Some(id)
    }

    /// Whether some lookup reads `topic`.
    #[must_use]
    pub fn reads_as_lookup(&self, topic: &str) -> bool {
        self.lookups.iter().any(|lookup| lookup.topics.iter().any(|one| one.matches(topic)))
    }

    /// Whether some kind of record comes from `topic`.
    #[must_use]
    pub fn reads_as_record(&self, topic: &str) -> bool {
        self.records_of(topic).next().is_some()
    }

    /// The topics that records of some kinds come from: names, and patterns with `*`. Sorted.
    #[must_use]
    pub fn record_topics(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let records = self.records.iter().filter(|record| is_wanted(&record.kind));
        let patterns = records.flat_map(|record| &record.topics);
        patterns.map(TopicPattern::written).collect()
    }

    /// The topics that lookups read, as [`record_topics`](Self::record_topics).
    #[must_use]
    pub fn lookup_topics(&self) -> BTreeSet<String> {
        let patterns = self.lookups.iter().flat_map(|lookup| &lookup.topics);
        patterns.map(TopicPattern::written).collect()
    }

    /// The kinds of which an older version is never written behind a newer one, each once, with
    /// the paths of its `newer_by`.
    pub fn version_rules(&self) -> impl Iterator<Item = (&Arc<str>, Vec<&str>)> {
        let records = self.records.iter().enumerate();
        let is_first = |(at, record): &(usize, &RecordMapping)| {
            !record.newer_by.is_empty()
                && !self.records.iter().take(*at).any(|before| before.kind == record.kind)
        };
        records.filter(is_first).map(|(_, record)| {
            (&record.kind, record.newer_by.iter().map(RowPath::written).collect())
        })
    }

    /// The memory of the versions that were written, without any; `None` if none are compared.
    /// `key` is that of its hashes.
    #[must_use]
    pub fn empty_versions(&self, key: &HmacKey) -> Option<RecordVersions> {
        let has_rules = self.version_rules().next().is_some();
        has_rules.then(|| RecordVersions::new(self, key))
    }

    /// For how many days the version of a record is known that was taken back; `None` if it never
    /// is forgotten.
    #[must_use]
    pub fn keep_removed_days(&self) -> Option<i32> {
        Some(self.keep_removed_days).filter(|days| *days < KEEP_REMOVED_DAYS_MAX)
    }

    /// Lookups without a row.
    #[must_use]
    pub fn empty_lookups(&self) -> LookupTables {
        let bound = MemoryBound::new(BoundedMemory::Lookups, &self.name, self.lookup_bytes_max);
        LookupTables::new(self.lookups.len(), bound)
    }

    /// Applies a message to the lookups that read its topic.
    ///
    /// # Errors
    ///
    /// [`MemoryFull`]: going on would leave rows out.
    pub fn apply_to_lookups(
        &self,
        message: &RawMessage<'_>,
        tables: &mut LookupTables,
    ) -> Result<Vec<RefusedRecord>, MemoryFull> {
        let mut refused = Vec::new();
        // Lookups have none of their own: what they name is in the row.
        let none = LookupTables::new(0, MemoryBound::new(BoundedMemory::Lookups, "", 0));
        for (at, lookup) in self.lookups.iter().enumerate() {
            if !lookup.topics.iter().any(|topic| topic.matches(message.topic)) {
                continue;
            }
            let opening = Opening {
                framing: self.framing,
                envelope: lookup.envelope,
                body: lookup.body.as_ref(),
            };
            let refuse = |column: &str, fault| {
                RefusedRecord::of_field(&format!("lookup {}", lookup.name), column, fault)
            };
            let applied = opening
                .with(message, &none, |change, scopes| tables.apply((at, lookup), change, scopes));
            match applied {
                Ok(Some(Ok(())) | None) => {}
                Ok(Some(Err(LookupFault::Full(full)))) => return Err(full),
                Ok(Some(Err(LookupFault::Refused { column, fault }))) => {
                    refused.push(refuse(&column, fault));
                }
                Err(refusal) => refused.push(refuse("", refusal.into())),
            }
        }
        Ok(refused)
    }

    /// Converts a message by every mapping that reads its topic.
    ///
    /// Pure: the same message, schema and lookups give the same bytes.
    #[must_use]
    pub fn convert(&self, message: &RawMessage<'_>, lookups: &LookupTables) -> Conversion {
        let mut conversion = Conversion::default();
        let mappings: Vec<&RecordMapping> = self.records_of(message.topic).collect();
        if mappings.is_empty() {
            return conversion;
        }
        let opened = self.opening().with(message, lookups, |change, scopes| {
            for mapping in &mappings {
                mapping.convert(change, scopes, &mut conversion);
            }
        });
        if let Err(refusal) = opened {
            conversion.refused.push(RefusedRecord::of_message(refusal));
        }
        conversion
    }
}

impl Intake {
    /// Fails if `conversion` is that of a message of `topic` at which the intake has to stop.
    ///
    /// # Errors
    ///
    /// [`AllGone`].
    pub fn require_rows(&self, topic: &str, conversion: &Conversion) -> Result<(), AllGone> {
        if !conversion.refused.iter().any(|refused| refused.refusal == Refusal::AllGone) {
            return Ok(());
        }
        let mut mappings = self.records_of(topic);
        match mappings.find(|mapping| mapping.stops_if_all_gone) {
            None => Ok(()),
            Some(mapping) => Err(AllGone {
                intake: self.name.clone(),
                topic: topic.to_owned(),
                kind: Arc::clone(&mapping.kind),
            }),
        }
    }

    /// The mappings that read `topic`.
    fn records_of(&self, topic: &str) -> impl Iterator<Item = &RecordMapping> {
        self.records.iter().filter(move |record| record.topics.iter().any(|one| one.matches(topic)))
    }

    /// How messages of records are opened.
    fn opening(&self) -> Opening<'_> {
        let body = self.body.as_ref();
        Opening { framing: self.framing, envelope: self.envelope, body }
    }
}

/// How a message is opened.
#[derive(Clone, Copy)]
struct Opening<'i> {
    framing: Framing,
    envelope: Envelope,
    body: Option<&'i RowPath>,
}

impl Opening<'_> {
    /// Opens `message` and hands its change to `take`; `None` where it is the null
    /// behind a deletion that was told already.
    fn with<T>(
        self,
        message: &RawMessage<'_>,
        lookups: &LookupTables,
        take: impl FnOnce(&Change<'_, '_>, &ChangeScopes<'_, '_>) -> T,
    ) -> Result<Option<T>, Refusal> {
        let Some(bytes) = message.value else {
            return match self.envelope {
                // The row of a deletion is in the message before.
                Envelope::Debezium => Ok(None),
                Envelope::Folio | Envelope::FolioInventory | Envelope::Row => {
                    Err(Refusal::NullValue)
                }
            };
        };
        let message = self.read_value(bytes, message.schema)?;
        let OpenedMessage { envelope, change } = envelope::open(self.envelope, &message)?;
        let (old, new) = match change {
            Change::Written { old, new, .. } => (old, Some(new)),
            Change::Deleted { old } => (Some(old), None),
            Change::Nothing => (None, None),
        };
        let old_text = old.and_then(|row| self.body_text(row));
        let new_text = new.and_then(|row| self.body_text(row));
        let old_body = parse_body(old_text, Refusal::BeforeMissing);
        let new_body = parse_body(new_text, Refusal::Malformed);
        let has_all_columns = self.envelope.has_all_columns();
        let scopes = ChangeScopes {
            old: old.map(|row| EvaluationScope {
                row: RowScope { envelope, row, body: self.body(row, &old_body), has_all_columns },
                lookups,
            }),
            new: new.map(|row| EvaluationScope {
                row: RowScope { envelope, row, body: self.body(row, &new_body), has_all_columns },
                lookups,
            }),
        };
        Ok(Some(take(&change, &scopes)))
    }

    /// Reads the value of a message, which is no null.
    fn read_value<'a>(
        self,
        bytes: &'a [u8],
        schema: Option<&'a RegisteredSchema>,
    ) -> Result<JsonValue<'a>, Refusal> {
        if self.framing == Framing::Bare {
            return parse_bytes(bytes, MESSAGE_LIMITS);
        }
        let (_, value) = envelope::split_frame(bytes).ok_or(Refusal::NotFramed)?;
        if self.framing == Framing::JsonSchema {
            return parse_bytes(value, MESSAGE_LIMITS);
        }
        match schema {
            Some(RegisteredSchema::Avro(schema)) => avro::decode(schema, value, MESSAGE_LIMITS),
            Some(RegisteredSchema::Unreadable) => Err(Refusal::UnreadableSchema),
            Some(RegisteredSchema::Unknown) | None => Err(Refusal::UnknownSchema),
        }
    }

    fn body_text<'m>(self, row: &'m JsonValue<'_>) -> Option<&'m str> {
        row.member(self.body?.written())?.as_text()
    }

    fn body<'m, 'a>(
        self,
        row: &'m JsonValue<'a>,
        body: &'m Result<JsonValue<'a>, Refusal>,
    ) -> RowBody<'m, 'a> {
        match (self.body, body) {
            (None, _) => RowBody::Parsed(row),
            (Some(_), Ok(body)) => RowBody::Parsed(body),
            (Some(_), Err(refusal)) => RowBody::Unreadable(*refusal),
        }
    }
}

/// The record in a text; what is empty, or was not given, cannot be read.
fn parse_body(text: Option<&str>, missing: Refusal) -> Result<JsonValue<'_>, Refusal> {
    match text {
        None | Some("") => Err(missing),
        Some(path::UNAVAILABLE) => Err(Refusal::Unavailable),
        Some(text) => match parse_text(text, MESSAGE_LIMITS)? {
            body @ JsonValue::Object(_) => Ok(body),
            _ => Err(Refusal::Malformed),
        },
    }
}
