//! The headers of outputs and retractions.

use serde_json::{Value, json};

use super::Language;
use crate::message::headers;
use crate::policy::contract::OutputContract;
use crate::policy::retraction::RetractionReason;

/// What the id of a retraction looks like.
pub(super) const RETRACTION_ID_PATTERN: &str = "^[0-9a-f]{32}$";

/// One header of a message.
#[derive(Clone, Debug)]
pub struct ContractHeader {
    pub name: &'static str,
    /// Only on retractions.
    pub is_of_retractions: bool,
    /// JSON Schema of its text.
    pub schema: Value,
    english: &'static str,
    dutch: &'static str,
}

impl ContractHeader {
    /// Returns what it says, in words.
    #[must_use]
    pub fn describe(&self, language: Language) -> &'static str {
        language.pick(self.english, self.dutch)
    }
}

/// Returns the headers of a recipient's messages.
#[must_use]
pub fn contract_headers(contract: &OutputContract) -> Vec<ContractHeader> {
    let header = |name, schema, english, dutch| ContractHeader {
        name,
        is_of_retractions: false,
        schema,
        english,
        dutch,
    };
    let mut all = vec![
        header(
            headers::CONTENT_TYPE,
            json!({ "const": contract.value_format.media_type() }),
            "how the value is written",
            "hoe de waarde geschreven is",
        ),
        header(
            headers::POLICY_VERSION,
            json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
            "the policy under which it was decided; for questions to the library",
            "het beleid waaronder besloten is; voor vragen aan de bibliotheek",
        ),
        header(
            headers::CONTRACT_VERSION,
            json!({ "type": "string", "pattern": "^[0-9a-f]{12}$" }),
            "the version of this contract; another one means that the contract changed",
            "de versie van dit contract; een andere betekent dat het contract veranderd is",
        ),
    ];
    all.extend(retraction_headers(contract));
    all
}

fn retraction_headers(contract: &OutputContract) -> [ContractHeader; 3] {
    let header = |name, schema, english, dutch| ContractHeader {
        name,
        is_of_retractions: true,
        schema,
        english,
        dutch,
    };
    let words: Vec<&str> = match contract.is_pseudonymised {
        true => vec![RetractionReason::Ended.as_str()],
        false => RetractionReason::ALL.iter().map(|one| one.as_str()).collect(),
    };
    [
        header(
            headers::RETRACTION_REASON,
            json!({ "enum": words }),
            "why it is taken back",
            "waarom het wordt ingetrokken",
        ),
        header(
            headers::RETRACTION_TIME,
            json!({
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
            }),
            "when it was decided, in UTC",
            "wanneer dat besloten is, in UTC",
        ),
        header(
            headers::RETRACTION_ID,
            json!({ "type": "string", "pattern": RETRACTION_ID_PATTERN }),
            "names this retraction, to refer to it",
            "benoemt deze intrekking, om naar te verwijzen",
        ),
    ]
}

/// Returns the JSON Schema of the headers of outputs, or of retractions.
pub(super) fn header_schema(
    contract: &OutputContract,
    is_retraction: bool,
    language: Language,
) -> Value {
    let all = contract_headers(contract).into_iter();
    let shown: Vec<ContractHeader> =
        all.filter(|header| is_retraction || !header.is_of_retractions).collect();
    let properties: serde_json::Map<String, Value> = shown
        .iter()
        .map(|header| {
            let mut schema = header.schema.clone();
            schema["description"] = Value::from(header.describe(language));
            (header.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = shown.iter().map(|header| header.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
