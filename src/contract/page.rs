//! The contract as a page for people, in Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use super::fields::{describe_field, describe_type, describe_values, plain};
use super::headers::contract_headers;
use super::words::{describe_term, markdown_cell};
use super::{ContractView, Language};
use crate::message::headers::{CONTRACT_VERSION, RETRACTION_ID, RETRACTION_TIME};
use crate::policy::contract::{ContractField, FieldForm};
use crate::policy::mask::PSEUDONYM_EXAMPLE;
use crate::policy::recipient::RetentionAction;
use crate::policy::retraction::RetractionReason;

/// Returns the page.
#[must_use]
pub fn contract_page(view: &ContractView<'_>) -> String {
    let mut page = PageWriter { view, text: String::new() };
    page.write_head();
    page.write_reading();
    page.write_fields();
    page.write_example();
    page.write_headers();
    page.write_acknowledgement();
    page.write_retention();
    page.text
}

struct PageWriter<'a> {
    view: &'a ContractView<'a>,
    text: String,
}

impl PageWriter<'_> {
    fn pick(&self, english: &'static str, dutch: &'static str) -> &'static str {
        self.view.language.pick(english, dutch)
    }

    /// Writing to a string cannot fail.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    fn heading(&mut self, english: &'static str, dutch: &'static str) {
        let text = format!("\n## {}\n", self.pick(english, dutch));
        self.line(&text);
    }

    fn row(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| markdown_cell(cell)).collect();
        let text = format!("| {} |", cells.join(" | "));
        self.line(&text);
    }

    fn table_head(&mut self, cells: &[&str]) {
        let text = format!("| {} |\n|{}", cells.join(" | "), "---|".repeat(cells.len()));
        self.line(&text);
    }

    fn write_head(&mut self) {
        let view = self.view;
        let recipient = view.recipient;
        let title = format!("# {}\n", recipient.title);
        self.line(&title);
        let purpose = format!("{}.\n", recipient.purpose_text.trim_end_matches('.'));
        self.line(&purpose);
        if !view.is_enabled {
            let off = self.pick(
                "This recipient is switched off: nothing is sent yet.\n",
                "Deze ontvanger staat uit: er wordt nog niets verzonden.\n",
            );
            self.line(off);
        }
        self.table_head(&["", ""]);
        let name = self.pick("recipient", "ontvanger").to_owned();
        self.row(&[name, format!("`{}`", recipient.name)]);
        let version = self.pick("contract version", "versie van het contract").to_owned();
        self.row(&[version, format!("`{}`", view.contract.version())]);
        for (topic, of) in view.topic_names().iter().zip(&view.contract.topics) {
            let label = match &of.party {
                Some(party) => format!("topic, {party}"),
                None => "topic".to_owned(),
            };
            self.row(&[label, format!("`{topic}`")]);
        }
        if let Some(group) = &recipient.consumer_group {
            self.row(&["consumer group".to_owned(), format!("`{}{group}`", view.topic_prefix)]);
        }
        let source = self.pick("made of", "gemaakt van").to_owned();
        self.row(&[source, format!("`{}`", view.source)]);
        let controller = self.pick("who answers for it", "verantwoordelijke").to_owned();
        self.row(&[controller, recipient.controller.clone()]);
        if !recipient.register.contact.is_empty() {
            let contact = self.pick("questions", "vragen").to_owned();
            self.row(&[contact, recipient.register.contact.clone()]);
        }
    }

    fn write_reading(&mut self) {
        self.heading("How to read it", "Hoe u het leest");
        let key = &self.view.contract.key_path;
        let key = match self.view.language {
            Language::English => format!(
                "- The key of a message is a pseudonym of `{key}`: 22 characters such as \
                 `{PSEUDONYM_EXAMPLE}`. It is the same for every version of one record, and is \
                 no key of any other recipient."
            ),
            Language::Dutch => format!(
                "- De sleutel van een bericht is een pseudoniem van `{key}`: 22 tekens zoals \
                 `{PSEUDONYM_EXAMPLE}`. Elke versie van een record heeft dezelfde sleutel; geen \
                 andere ontvanger heeft die sleutel."
            ),
        };
        self.line(&key);
        for (english, dutch) in READING_RULES {
            let text = format!("- {}", self.pick(english, dutch));
            self.line(&text);
        }
        if self.view.contract.is_monthly {
            let text = self.pick(
                "- Outputs come once a month, sorted by key: order and time say nothing.",
                "- Berichten komen eens per maand, op sleutel gesorteerd: volgorde en tijd zeggen niets.",
            );
            self.line(text);
        }
    }

    fn write_fields(&mut self) {
        self.heading("Fields", "Velden");
        let head = self.view.language.pick(
            ["field", "type", "values", "meaning", "may be missing", "example"],
            ["veld", "type", "waarden", "betekenis", "kan ontbreken", "voorbeeld"],
        );
        self.table_head(&head);
        let fields = &self.view.contract.fields;
        self.write_field_rows(fields, "");
        let text = self.pick(
            "\nA field is left out, and never null, where the library does not have it, or where \
             it would show a national number. No other field ever comes without a new version of \
             this contract.",
            "\nEen veld valt weg, en is nooit null, als de bibliotheek het niet heeft of als het een \
             nationaal nummer zou tonen. Een ander veld komt er nooit bij zonder een nieuwe versie \
             van dit contract.",
        );
        self.line(text);
    }

    fn write_field_rows(&mut self, fields: &[ContractField], prefix: &str) {
        let language = self.view.language;
        for field in fields {
            let name = format!("{prefix}{}", field.name);
            let missing = match (field.is_always_present, field.is_thinned) {
                (true, _) => language.pick("no", "nee"),
                (false, true) => language
                    .pick("yes; goes when the output is thinned", "ja; vervalt bij het uitdunnen"),
                (false, false) => language.pick("yes", "ja"),
            };
            let nested = nested_fields(&field.form);
            let example = match nested {
                Some(_) => String::new(),
                None => format!("`{}`", plain(&field.example())),
            };
            self.row(&[
                format!("`{name}`"),
                describe_type(&field.form, language),
                describe_values(&field.form, language),
                describe_field(field, language),
                missing.to_owned(),
                example,
            ]);
            if let Some((fields, separator)) = nested {
                self.write_field_rows(fields, &format!("{name}{separator}"));
            }
        }
    }

    fn write_example(&mut self) {
        self.heading("An example", "Een voorbeeld");
        self.line("```json");
        let mut text = String::new();
        write_object(&self.view.contract.fields, 0, &mut text);
        self.line(&text);
        self.line("```");
        if !self.view.contract.value_format.is_json() {
            let text = self.pick(
                "\nOn Kafka values are in Avro, as Confluent's deserialiser reads them: five bytes with the \
                 id of the schema stand before each, and the registry has the schema under the topic's \
                 name with `-value` behind it. What is missing here is null there.",
                "\nOp Kafka staan waarden in Avro, zoals Confluents deserialiser ze leest: voor elke waarde \
                 staan vijf bytes met het nummer van het schema, en het register heeft dat schema onder de \
                 naam van het topic met `-value` erachter. Wat hier ontbreekt is daar null.",
            );
            self.line(text);
        }
    }

    fn write_headers(&mut self) {
        self.heading("Headers", "Headers");
        let text = self.pick(
            "On Kafka. A file has no headers.\n",
            "Op Kafka. Een bestand heeft geen headers.\n",
        );
        self.line(text);
        let head = self.view.language.pick(["header", "on", "says"], ["header", "bij", "zegt"]);
        self.table_head(&head);
        for header in contract_headers(&self.view.contract) {
            let on = match header.is_of_retractions {
                true => self.pick("retractions", "intrekkingen"),
                false => self.pick("every message", "elk bericht"),
            };
            let says = header.describe(self.view.language).to_owned();
            self.row(&[format!("`{}`", header.name), on.to_owned(), says]);
        }
        let head = self.view.language.pick(["reason", "means"], ["reden", "betekent"]);
        self.line("");
        self.table_head(&head);
        let is_one = self.view.contract.is_pseudonymised;
        let told = |one: &&RetractionReason| !is_one || **one == RetractionReason::Ended;
        for reason in RetractionReason::ALL.iter().filter(told) {
            let meaning = self.view.language.pick(reason.meaning(), reason.meaning_nl());
            self.row(&[format!("`{}`", reason.as_str()), meaning.to_owned()]);
        }
        let note = match self.view.language {
            Language::English => format!(
                "\nCompare `{CONTRACT_VERSION}` with the version above: it changes only \
                 with what this page promises of topics, key, fields, values, meanings and terms."
            ),
            Language::Dutch => format!(
                "\nVergelijk `{CONTRACT_VERSION}` met de versie hierboven: die verandert \
                 alleen met wat deze bladzijde belooft over topics, sleutel, velden, waarden, \
                 betekenissen en termijnen."
            ),
        };
        self.line(&note);
    }

    fn write_acknowledgement(&mut self) {
        let (Some(topic), Some(rule)) =
            (self.view.acknowledgement_topic(), &self.view.recipient.acknowledgement)
        else {
            return;
        };
        self.heading("Acknowledge what is taken back", "Bevestig wat is ingetrokken");
        let term = describe_term(rule.within, self.view.language);
        let (name, since) = (&self.view.recipient.name, rule.since);
        let text = match self.view.language {
            Language::English => format!(
                "Once you erased what a null takes back, and its copies where the reason is `erase`, \
                 write a message to `{topic}`: its key is the key of the null, its value the text of \
                 the header `{RETRACTION_ID}`. Do so within {term} of `{RETRACTION_TIME}`, for every \
                 retraction from {since} (UTC) on. The same acknowledgement twice does no harm.\n\n\
                 Without Kafka, append a line `{{\"key\":KEY,\"value\":\"TIME\"}}` to \
                 `ack/{name}.ndjson`: TIME, as 2026-12-01T06:00:00Z, is when you opened the file that \
                 you read the null from. It acknowledges what was taken back of that key until then."
            ),
            Language::Dutch => format!(
                "Schrijf, zodra u gewist hebt wat een null intrekt, en bij de reden `erase` ook elke \
                 kopie, een bericht naar `{topic}`: met de sleutel van de null, en als waarde de \
                 tekst van de header `{RETRACTION_ID}`. Doe dat binnen {term} na `{RETRACTION_TIME}`, \
                 voor elke intrekking vanaf {since} (UTC). Twee keer dezelfde bevestiging kan geen \
                 kwaad.\n\n\
                 Zonder Kafka voegt u een regel `{{\"key\":KEY,\"value\":\"TIME\"}}` toe aan \
                 `ack/{name}.ndjson`: TIME, zoals 2026-12-01T06:00:00Z, is wanneer u het bestand \
                 opende waaruit u de null las. Die bevestigt wat van die sleutel tot dan is ingetrokken."
            ),
        };
        self.line(&text);
    }

    fn write_retention(&mut self) {
        self.heading("How long", "Hoe lang");
        let rule = &self.view.recipient.retention;
        let (term, from) = (describe_term(rule.term, self.view.language), &rule.start_field);
        let text = match (self.view.language, rule.after) {
            (Language::English, RetentionAction::Retract) => {
                format!("{term} from `{from}`; then it is taken back with a null.")
            }
            (Language::English, RetentionAction::Forget) => format!(
                "{term} from `{from}`; then no more is said of it, and what you have by then you may keep."
            ),
            (Language::Dutch, RetentionAction::Retract) => {
                format!("{term} vanaf `{from}`; daarna wordt het ingetrokken met een null.")
            }
            (Language::Dutch, RetentionAction::Forget) => format!(
                "{term} vanaf `{from}`; daarna volgt er niets meer over, en wat u dan hebt mag u houden."
            ),
        };
        self.line(&text);
        let earlier =
            self.pick("It may be taken back earlier.", "Het kan ook eerder ingetrokken worden.");
        self.line(earlier);
    }
}

/// What holds for every recipient.
const READING_RULES: &[(&str, &str)] = &[
    (
        "Keep the last message of each key. What came before it counts no longer.",
        "Bewaar van elke sleutel het laatste bericht. Wat ervoor kwam geldt niet meer.",
    ),
    (
        "A message with a null value takes back what you have under its key: erase it, and what \
         you made of it. A null is a message: in some clients it looks like an empty one, so test \
         for `is None` or `== null`, never for truth.",
        "Een bericht zonder waarde (null) trekt in wat u onder die sleutel hebt: wis het, en wat u \
         ervan maakte. Een null is een bericht: in sommige clients lijkt het leeg, dus test op \
         `is None` of `== null`, nooit op waar of onwaar.",
    ),
    (
        "Set `isolation.level = read_committed`. Otherwise you see messages that were never \
         decided, and nobody counts those as yours.",
        "Zet `isolation.level = read_committed`. Anders ziet u berichten waartoe nooit besloten is, \
         en die niemand tot de uwe rekent.",
    ),
    (
        "Read without a gap longer than the topic's `delete.retention.ms`; after a longer one \
         read from the beginning, and erase every key that is not there.",
        "Lees zonder pauze die langer is dan `delete.retention.ms` van het topic; lees na een \
         langere vanaf het begin, en wis elke sleutel die er niet in staat.",
    ),
    (
        "Ignore keys that you do not know with a null value: they keep an idle topic tidy.",
        "Negeer een null onder een sleutel die u niet kent: die houdt een stil topic op orde.",
    ),
];

/// Returns the fields below a form, and what stands before their names.
fn nested_fields(form: &FieldForm) -> Option<(&[ContractField], &'static str)> {
    match form {
        FieldForm::Object(fields) => Some((fields, ".")),
        FieldForm::List(element) => match element.as_ref() {
            FieldForm::Object(fields) => Some((fields, "[].")),
            _ => None,
        },
        FieldForm::Scalar(_) | FieldForm::OneOf(_) => None,
    }
}

const INDENT: &str = "  ";

/// Writes an example with the fields in their order, which a JSON library need not keep.
fn write_object(fields: &[ContractField], depth: usize, text: &mut String) {
    text.push_str("{\n");
    for (at, field) in fields.iter().enumerate() {
        let comma = if at + 1 < fields.len() { "," } else { "" };
        let name = Value::from(field.name.as_str());
        let _ = write!(text, "{}{name}: ", INDENT.repeat(depth + 1));
        match &field.form {
            FieldForm::Object(fields) => write_object(fields, depth + 1, text),
            FieldForm::List(element) => match element.as_ref() {
                FieldForm::Object(fields) => {
                    text.push('[');
                    write_object(fields, depth + 1, text);
                    text.push(']');
                }
                _ => text.push_str(&field.example().to_string()),
            },
            FieldForm::Scalar(_) | FieldForm::OneOf(_) => {
                text.push_str(&field.example().to_string());
            }
        }
        text.push_str(comma);
        text.push('\n');
    }
    text.push_str(&INDENT.repeat(depth));
    text.push('}');
}
