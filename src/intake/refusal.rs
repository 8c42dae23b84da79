//! Why a raw message, or one record of it, is not converted.
//!
//! A refusal points at a kind, a field and a path of the mapping; it never holds
//! a value.

use std::fmt;

macro_rules! refusals {
    ($($variant:ident $word:literal $meaning:literal $advice:literal,)*) => {
        /// Why something was refused; closed, each with what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $(#[doc = $meaning] $variant,)*
        }

        impl Refusal {
            /// Every refusal, in the order in which a message meets them.
            pub const ALL: &[Refusal] = &[$(Refusal::$variant,)*];

            /// The word in counts and messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Refusal::$variant => $word,)* }
            }

            /// What it means, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Refusal::$variant => $meaning,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Refusal::$variant => $advice,)* }
            }
        }
    };
}

refusals! {
    NotAMessage "not_a_message"
        "the line is no {\"topic\":...,\"key\":...,\"value\":...}"
        "write a JSON object per line; `kcat -J` does, and its `payload` is read as the value",
    TooLarge "too_large"
        "larger, or deeper nested, than an intake reads"
        "leave out large columns at the source",
    Framed "framed"
        "framed for a schema registry: a zero byte and a schema id stand before the value"
        "set `framing` in the mapping: \"json_schema\" for JSON, \"avro\" for Avro; Protobuf is not read: JsonConverter with schemas.enable=false",
    NotFramed "not_framed"
        "without a schema's id in front of the value or in the header __value_schema_id, while the mapping has `framing`"
        "leave `framing` out of the mapping, or find who else writes to the topic",
    UnknownSchema "unknown_schema"
        "framed with the id of a schema that the registry does not have"
        "compare `[schema_registry]` with the one that the connector writes to; once the schema is there, read the topic from its beginning",
    UnreadableSchema "unreadable_schema"
        "framed with the id of a schema that is no Avro schema, or is not read"
        "look at the schema in the registry: AvroConverter writes one that zeef reads; of Protobuf and JSON Schema, `framing = \"json_schema\"` reads the second",
    NotAvro "not_avro"
        "not a value of the Avro schema that its frame names"
        "find who else writes to the topic, or which other registry gave out the id",
    NotUtf8 "not_utf8"
        "not UTF-8"
        "have the connector write plain JSON: JsonConverter with schemas.enable=false",
    NotJson "not_json"
        "not JSON"
        "have the connector write plain JSON: JsonConverter with schemas.enable=false",
    DuplicateMember "duplicate_member"
        "an object has a member twice"
        "find the producer: two readers would take two different values",
    NullValue "null_value"
        "a null, which says that a row is gone and not which"
        "keep the row of a delete: use `envelope = \"debezium\"`, or delete.tombstone.handling.mode=rewrite",
    Enveloped "enveloped"
        "an envelope around the row where rows are expected"
        "name it in the mapping, as `envelope = \"debezium\"` or `envelope = \"folio\"`",
    NotEnveloped "not_enveloped"
        "not the envelope that the mapping names"
        "name the right one in `envelope`; ExtractNewRecordState takes Debezium's away: do without it",
    UnknownOperation "unknown_operation"
        "an operation that the envelope does not have"
        "look which program wrote it: zeef takes no unknown word for a write",
    AllGone "all_gone"
        "all rows of the table were deleted at once"
        "somebody has to decide: restore the table, or have the recipients' outputs taken back",
    BeforeMissing "before_missing"
        "a change or deletion without the row as it was: whose it was cannot be known"
        "PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL; MariaDB: binlog_row_image=FULL",
    Unavailable "unavailable_value"
        "a column that the connector did not get (__debezium_unavailable_value)"
        "PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL",
    ColumnMissing "column_missing"
        "the row has no such column"
        "add it to the connector's column.include.list, or take it out of the mapping",
    PatronMissing "patron_missing"
        "a patron without an id"
        "look at `patron` in the mapping",
    LibraryMissing "library_missing"
        "no library, or none that is an ISIL"
        "add the branch or tenant to `library` in the mapping, or its ISIL to the lookup's table",
    IdMissing "id_missing"
        "the record has no id of its own"
        "look at the id's field in the mapping",
    Unmapped "unmapped"
        "a word that the mapping does not know"
        "add it to the field's `map`: zeef guesses no status",
    VersionMissing "version_missing"
        "no version: what `newer_by` names is missing, or neither a whole number nor an instant with its offset"
        "name in `newer_by` what each row has, or leave it out: an older state may then come back until the next one",
    LookupMissing "lookup_missing"
        "a row that decides over the record is not in its lookup"
        "give the lookup's topic too, from its beginning; a compacted topic has each row",
    Malformed "malformed"
        "a value that the conversion cannot take"
        "compare the column with `zeef list conversions`",
    WrongType "wrong_type"
        "a value of another JSON type than the field has"
        "convert it: `as = \"text\"`, `as = \"integer\"` or `as = \"boolean\"`",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal found while a path was evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) refusal: Refusal,
    /// The path as the mapping has it; empty where none is at fault.
    pub(super) path: String,
}

impl Fault {
    pub(super) fn new(refusal: Refusal, path: &str) -> Fault {
        Fault { refusal, path: path.to_owned() }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::new(refusal, "")
    }
}

/// A refusal, and where in the mapping it arose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedRecord {
    pub refusal: Refusal,
    /// The kind of record; `None` where the whole message is refused.
    pub kind: Option<String>,
    /// The canonical field, or what decided, as `library`; empty for the record.
    pub field: String,
    /// The path in the raw row; empty where none is at fault.
    pub path: String,
}

impl RefusedRecord {
    /// A refusal of a whole message.
    #[must_use]
    pub fn of_message(refusal: Refusal) -> RefusedRecord {
        RefusedRecord { refusal, kind: None, field: String::new(), path: String::new() }
    }

    /// A record that is larger than what its topic takes.
    #[must_use]
    pub fn too_large(kind: &str) -> RefusedRecord {
        RefusedRecord::of_field(kind, "", Refusal::TooLarge.into())
    }

    pub(super) fn of_field(kind: &str, field: &str, fault: Fault) -> RefusedRecord {
        RefusedRecord {
            refusal: fault.refusal,
            kind: Some(kind.to_owned()),
            field: field.to_owned(),
            path: fault.path,
        }
    }

    /// Where it arose, as `loan.status from itemStatus`; empty for a whole message.
    #[must_use]
    pub fn place(&self) -> String {
        let Some(kind) = &self.kind else {
            return String::new();
        };
        let mut place = kind.clone();
        if !self.field.is_empty() {
            place = format!("{place}.{}", self.field);
        }
        if !self.path.is_empty() {
            place = format!("{place} from `{}`", self.path);
        }
        place
    }
}
