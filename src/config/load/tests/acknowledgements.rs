//! How a recipient acknowledges retractions, and its consumer group.

use super::*;

const ACK: &str = "ack = { topic = \"ack.slip\", within = \"P7D\", since = \"2026-12-01\" }";
const FILE: &str = "recipients/reservation-slip.toml";

/// The shipped config, whose slip has this line, with or without a ledger.
fn folder_with_line(line: &str, has_ledger: bool) -> ConfigFolder {
    let folder = ConfigFolder::shipped();
    folder.replace_text(FILE, "topic        =", &format!("{line}\ntopic        ="));
    if has_ledger {
        folder.replace_text("zeef.toml", "\n[ledger]\n", "\n[ledger]\nenabled = true\n");
    }
    folder
}

#[track_caller]
fn check_mistake(line: &str, want: &str) {
    let messages = folder_with_line(line, true).messages();
    assert_eq!(messages.len(), 1, "{line}: {messages:#?}");
    assert!(messages[0].starts_with(FILE), "{messages:#?}");
    assert!(messages[0].contains(want), "{want} in {messages:#?}");
}

#[test]
fn acknowledgement_is_read_and_changes_no_decision() {
    let before = ConfigFolder::shipped().load().policy;
    let line = format!("{ACK}\ngroup = \"reservation-slip.reader\"");
    let policy = folder_with_line(&line, true).load().policy;
    let recipient = policy.recipient("reservation-slip").unwrap();
    let rule = recipient.acknowledgement.as_ref().unwrap();
    assert_eq!((rule.topic.as_str(), rule.within.to_string()), ("ack.slip", "P7D".to_owned()));
    assert_eq!(rule.since.to_unix_ms() % DAY_MS, 0);
    assert_eq!(recipient.consumer_group.as_deref(), Some("reservation-slip.reader"));
    assert_eq!(policy.version, before.version);
    assert_eq!(before.recipients.iter().filter(|one| one.acknowledgement.is_some()).count(), 0);
}

#[test]
fn acknowledgement_reports_each_mistake() {
    let with = |topic: &str| ACK.replace("ack.slip", topic);
    for (line, want) in [
        (with("loan"), "the topic `loan` in `ack`, which is the source of `loan`"),
        (with("out.reservation-slip"), "which is an output of `reservation-slip`"),
        // Also one of a recipient that is switched off.
        (with("out.city-monitoring"), "which is an output of `city-monitoring`"),
        (with("zeef.ack"), "which is zeef's own, as it begins with `zeef.`"),
        (with("a b"), "`topic` is \"a b\", expected a topic"),
        (ACK.replace("P7D", "a week"), "`within` is \"a week\", expected an ISO 8601 period"),
        (ACK.replace("2026-12-01", "2026-13-01"), "`since` is \"2026-13-01\""),
        (ACK.replace(", since = \"2026-12-01\"", ""), "no `since`"),
        (ACK.replace("within", "wihtin"), "unknown key `wihtin`: did you mean `within`?"),
        ("group = \"reader\"".to_owned(), "a name that begins with `reservation-slip.`"),
        ("group = \"reservation-slip.\"".to_owned(), "`group` is \"reservation-slip.\""),
        (
            "group = \"reservation-slips.reader\"".to_owned(),
            "did you mean `reservation-slip.reader`?",
        ),
    ] {
        check_mistake(&line, want);
    }
}

#[test]
fn acknowledgements_need_a_topic_each_and_the_ledger() {
    let folder = folder_with_line(ACK, true);
    let other = "recipients/kb-recognition.toml";
    folder.replace_text(other, "\nsource ", &format!("\n{ACK}\nsource "));
    let messages = folder.messages();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert!(messages[0].contains("in `ack` of `reservation-slip`, too"), "{messages:#?}");

    let messages = folder_with_line(ACK, false).messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].contains("`ack` without the ledger"), "{messages:#?}");
    assert!(messages[0].contains("[ledger] of zeef.toml"), "{messages:#?}");
    // One that is switched off acknowledges nothing yet.
    let off = folder_with_line(&format!("enabled = false\n{ACK}"), false);
    assert_eq!(off.messages(), Vec::<String>::new());
}
