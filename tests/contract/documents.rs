//! The documents themselves: AsyncAPI and ODCS by the schemas of their standards, the page as a
//! snapshot.

use serde_json::Value;
use zeef::contract::{
    ContractView, Language, asyncapi_document, contract_page, odcs_document, output_schema,
    source_schema,
};

use zeef::policy::acknowledgement::AcknowledgementRule;
use zeef::policy::contract::OutputContract;
use zeef::policy::form::Date;
use zeef::policy::term::Term;

use crate::{SchemaCheck, recipients, shipped, view};

fn every_view() -> impl Iterator<Item = ContractView<'static>> {
    recipients().iter().flat_map(|recipient| {
        [Language::English, Language::Dutch].map(|language| ContractView {
            topic_prefix: "test.",
            brokers: "kafka-1:9092",
            language,
            ..view(&recipient.name)
        })
    })
}

/// A recipient that is asked to acknowledge, and one that is not.
#[test]
fn contract_tells_how_to_acknowledge_where_it_is_asked() {
    let mut asked = recipients()[0].clone();
    asked.consumer_group = Some(format!("{}.reader", asked.name));
    asked.acknowledgement = Some(AcknowledgementRule {
        topic: "ack.one".to_owned(),
        within: Term::parse("P7D").unwrap(),
        since: Date::parse("2026-12-01").unwrap(),
    });
    for language in [Language::English, Language::Dutch] {
        let plain = ContractView { topic_prefix: "test.", language, ..view(&asked.name) };
        let contract = OutputContract::of_recipient(&asked, &shipped().policy);
        let view = ContractView { recipient: &asked, contract, ..plain.clone() };
        let (page, before) = (contract_page(&view), contract_page(&plain));
        let group = format!("| consumer group | `test.{}.reader` |", asked.name);
        for text in ["`test.ack.one`", "`zeef-retraction-id`", "2026-12-01", "ack/", &group] {
            assert!(page.contains(text), "{text} in {page}");
        }
        assert!(!before.contains("ack.one") && !before.contains("ack/"), "{before}");
        let document = asyncapi_document(&view);
        let operation = &document["operations"]["send-acknowledgements"];
        assert_eq!(operation["action"], "send", "{document}");
        let channel = &document["channels"]["acknowledgements"];
        assert_eq!(channel["address"], "test.ack.one");
        for pointer in [&operation["messages"][0], &channel["messages"]["acknowledgement"]] {
            let pointer = pointer["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(!asyncapi_document(&plain).to_string().contains("ack.one"));
    }
}

/// What a document refers to is in it.
#[test]
fn asyncapi_document_refers_to_what_it_has() {
    for view in every_view() {
        let document = asyncapi_document(&view);
        let text = document.to_string();
        let mut count = 0;
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count >= 5, "{count}");
        let topics = view.recipient.topics.names().count();
        assert_eq!(document["channels"].as_object().unwrap().len(), topics);
        assert_eq!(document["operations"].as_object().unwrap().len(), topics);
    }
}

#[test]
fn odcs_document_has_each_field_once() {
    for view in every_view() {
        let document = odcs_document(&view);
        for object in document["schema"].as_array().unwrap() {
            let properties = object["properties"].as_array().unwrap().iter();
            let names: Vec<&str> = properties.map(|one| one["name"].as_str().unwrap()).collect();
            let want = view.contract.fields.iter().map(|field| field.name.as_str());
            assert_eq!(names, want.collect::<Vec<_>>());
        }
        assert_eq!(document["version"], view.contract.version());
    }
}

/// Every field, header and topic of the contract is on the page, in both languages.
#[test]
fn contract_page_names_every_field_header_and_topic() {
    for view in every_view() {
        let page = contract_page(&view);
        for field in &view.contract.fields {
            assert!(page.contains(&format!("| `{}` |", field.name)), "{page}");
        }
        for header in zeef::contract::contract_headers(&view.contract) {
            assert!(page.contains(&format!("| `{}` |", header.name)), "{page}");
        }
        for topic in view.recipient.topics.names() {
            assert!(page.contains(&format!("`test.{topic}`")), "{page}");
        }
        assert!(page.contains("read_committed") && page.contains("null"));
    }
}

#[test]
fn contract_page_and_schema_are_as_they_were_read() {
    for name in ["reservation-slip", "statistics", "invoice", "legal-demand", "self-service"] {
        let dutch = ContractView { language: Language::Dutch, ..view(name) };
        insta::assert_snapshot!(format!("page.{name}.nl"), contract_page(&dutch));
        insta::assert_snapshot!(format!("page.{name}.en"), contract_page(&view(name)));
    }
    for name in ["reservation-slip", "invoice"] {
        let schema = serde_json::to_string_pretty(&output_schema(&view(name))).unwrap();
        insta::assert_snapshot!(format!("schema.{name}"), schema);
    }
    let asyncapi = asyncapi_document(&view("reservation-slip"));
    let asyncapi = serde_json::to_string_pretty(&asyncapi).unwrap();
    insta::assert_snapshot!("asyncapi.reservation-slip", asyncapi);
    let odcs = serde_json::to_string_pretty(&odcs_document(&view("reservation-slip"))).unwrap();
    insta::assert_snapshot!("odcs.reservation-slip", odcs);
}

/// What the library's records look like is what the schemas of sources say.
#[test]
fn source_schema_accepts_records_and_refuses_what_a_run_refuses() {
    let policy = &shipped().policy;
    for kind in &policy.record_kinds {
        let schema = SchemaCheck::new(&source_schema(kind, Language::English));
        let example = source_schema(kind, Language::English)["examples"][0].clone();
        schema.accepts(&example, &kind.name);
        for path in kind.required_paths() {
            let mut less = example.clone();
            less.as_object_mut().unwrap().remove(path);
            schema.refuses(&less, &format!("{} without {path}", kind.name));
        }
        let mut more = example.clone();
        more["unlisted"] = Value::from(1);
        match kind.is_closed {
            true => schema.refuses(&more, &kind.name),
            false => schema.accepts(&more, &kind.name),
        }
    }
    let loan = policy.record_kind("loan").unwrap();
    let schema = SchemaCheck::new(&source_schema(loan, Language::English));
    let record = |due: Value| serde_json::json!({ "loan_id": "l-1", "patron_id": "p-1", "library": "NL-AmrBKW", "due_on": due });
    schema.accepts(&record(Value::Null), "a null");
    schema.accepts(&record(Value::from("2026-02-28")), "a date");
    schema.refuses(&record(Value::from("28-02-2026")), "another form");
    schema.refuses(&record(Value::from(7)), "a number");
}
