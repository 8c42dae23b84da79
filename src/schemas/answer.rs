//! What a registry with Confluent's interface says when it is asked for a schema.

use serde::Deserialize;

use crate::http::HttpAnswer;

/// How it says that it has no such subject, version or schema.
const NOT_FOUND: &[u32] = &[40_401, 40_402, 40_403];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SchemaAnswer {
    Avro {
        text: String,
        references: Vec<SchemaReference>,
    },
    /// Why it is not read.
    Other(&'static str),
    Missing,
}

/// A schema that another one refers to.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct SchemaReference {
    subject: String,
    version: u32,
}

impl SchemaReference {
    /// Where it is asked for.
    pub(super) fn path(&self) -> String {
        let mut path = "/subjects/".to_owned();
        for byte in self.subject.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(char::from(byte));
                }
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
        path + &format!("/versions/{}", self.version)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: String,
    /// Avro where it is not there.
    schema_type: Option<String>,
    references: Option<Vec<SchemaReference>>,
}

/// What a registry says of a mistake.
#[derive(Deserialize)]
pub(super) struct ErrorAnswer {
    error_code: u32,
    pub(super) message: Option<String>,
}

/// Reads an answer; `None` if it says nothing about the schema.
pub(super) fn read(answer: &HttpAnswer) -> Option<SchemaAnswer> {
    match answer.status {
        200 => {
            let found: SchemaBody = serde_json::from_slice(&answer.body).ok()?;
            let references = found.references.unwrap_or_default();
            Some(match found.schema_type.as_deref() {
                None | Some("AVRO") => SchemaAnswer::Avro { text: found.schema, references },
                Some("PROTOBUF") => SchemaAnswer::Other("it is Protobuf"),
                Some("JSON") => SchemaAnswer::Other("it is JSON Schema"),
                Some(_) => SchemaAnswer::Other("it is no Avro schema"),
            })
        }
        // Anything that serves HTTP may answer so; only a registry has these codes.
        404 => {
            let error: ErrorAnswer = serde_json::from_slice(&answer.body).ok()?;
            NOT_FOUND.contains(&error.error_code).then_some(SchemaAnswer::Missing)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_answer(status: u16, body: &str, want: Option<SchemaAnswer>) {
        let answer = HttpAnswer { status, body: body.as_bytes().to_vec() };
        assert_eq!(read(&answer), want, "{status} {body}");
    }

    #[test]
    fn registry_answer_is_a_schema_or_a_code_of_its_own() {
        let avro =
            |references| Some(SchemaAnswer::Avro { text: "\"string\"".to_owned(), references });
        check_answer(200, r#"{"schema":"\"string\""}"#, avro(Vec::new()));
        let complete =
            r#"{"schema":"\"string\"","schemaType":"AVRO","references":[],"guid":"x","id":1}"#;
        check_answer(200, complete, avro(Vec::new()));
        check_answer(200, r#"{"schema":"\"string\"","references":null}"#, avro(Vec::new()));
        let refers =
            r#"{"schema":"\"string\"","references":[{"name":"a.B","subject":"b","version":2}]}"#;
        let reference = SchemaReference { subject: "b".to_owned(), version: 2 };
        check_answer(200, refers, avro(vec![reference]));
        let other = |why| Some(SchemaAnswer::Other(why));
        check_answer(200, r#"{"schema":"x","schemaType":"PROTOBUF"}"#, other("it is Protobuf"));
        check_answer(200, r#"{"schema":"x","schemaType":"JSON"}"#, other("it is JSON Schema"));
        check_answer(200, r#"{"schema":"x","schemaType":"XML"}"#, other("it is no Avro schema"));
        let missing = r#"{"error_code":40403,"message":"Schema 7 not found"}"#;
        check_answer(404, missing, Some(SchemaAnswer::Missing));
        let no_subject = r#"{"error_code":40401,"message":"Subject 'b' not found."}"#;
        check_answer(404, no_subject, Some(SchemaAnswer::Missing));
        check_answer(404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, None);
        check_answer(404, "<html>not here</html>", None);
        check_answer(200, "<html>welcome</html>", None);
        check_answer(200, r#"{"schema":7}"#, None);
        check_answer(500, missing, None);
    }

    #[test]
    fn reference_is_asked_for_below_its_subject() {
        let path =
            |subject: &str| SchemaReference { subject: subject.to_owned(), version: 3 }.path();
        assert_eq!(path("koha.issues-value"), "/subjects/koha.issues-value/versions/3");
        assert_eq!(path(":.ctx:a/b?c=é"), "/subjects/%3A.ctx%3Aa%2Fb%3Fc%3D%C3%A9/versions/3");
    }
}
