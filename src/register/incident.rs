//! A breach of personal data as a library keeps it on record (GDPR art. 33(5)): a TOML file each.
//!
//! zeef writes what it knows of it, and people write the rest. Of patrons it has numbers alone.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::config::Mistake;
use crate::config::document::{TomlTable, read_toml};
use crate::contract::Language;

/// How long a controller has to notify the authority (art. 33(1)).
pub const NOTIFY_WITHIN: SignedDuration = SignedDuration::from_hours(72);

/// What is on record of one breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub recipient: String,
    pub title: String,
    /// The days in which it was given, the second exclusive.
    pub from: Date,
    pub until: Date,
    /// Only this field is concerned.
    pub field: Option<String>,
    /// When it became known: the 72 hours begin then.
    pub discovered: Timestamp,
    pub recorded: Timestamp,
    /// Who put it on record: a role or a pseudonym.
    pub operator: Option<String>,
    pub received: ReceivedData,
    pub facts: IncidentFacts,
    /// To the authority (art. 33) and to the persons (art. 34).
    pub authority: Notice,
    pub persons: Notice,
}

/// What the recipient had received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedData {
    pub patrons: u64,
    pub records: u64,
    pub without_patron: u64,
    pub classes: Vec<String>,
    pub fields: Vec<String>,
}

/// What only people know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFacts {
    pub happened: Option<String>,
    pub consequences: Option<String>,
    pub measures: Option<String>,
}

/// Whether somebody is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum NoticeDecision {
    #[default]
    Open,
    Notify,
    NotNeeded,
}

/// A decision to tell somebody, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    pub decision: NoticeDecision,
    /// Why not, or why later than it had to be.
    pub reason: Option<String>,
    pub sent: Option<Timestamp>,
}

/// How the 72 hours stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyClock {
    NotNeeded,
    /// So long after it became known.
    Sent(SignedDuration),
    /// So long is left.
    Running(SignedDuration),
    /// So long ago it had to be sent.
    Overdue(SignedDuration),
}

impl Incident {
    /// When the authority has to be notified.
    #[must_use]
    pub fn notify_by(&self) -> Timestamp {
        self.discovered.saturating_add(NOTIFY_WITHIN).unwrap_or(Timestamp::MAX)
    }

    /// Returns how the 72 hours stand at a time.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> NotifyClock {
        let left = self.notify_by().duration_since(now);
        match (self.authority.sent, self.authority.decision) {
            (Some(sent), _) => NotifyClock::Sent(sent.duration_since(self.discovered)),
            (None, NoticeDecision::NotNeeded) => NotifyClock::NotNeeded,
            (None, _) if left.is_negative() => NotifyClock::Overdue(-left),
            (None, _) => NotifyClock::Running(left),
        }
    }

    /// Returns the keys that are still to be filled in.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let IncidentFacts { happened, consequences, measures } = &self.facts;
        let facts = [
            ("facts.happened", happened.is_none()),
            ("facts.consequences", consequences.is_none()),
            ("facts.measures", measures.is_none()),
        ];
        let is_late = |sent: Timestamp| sent > self.notify_by();
        let [authority, persons] = [&self.authority, &self.persons];
        let needs_reason = |notice: &Notice| notice.decision == NoticeDecision::NotNeeded;
        let is_unsent =
            |notice: &Notice| notice.decision == NoticeDecision::Notify && notice.sent.is_none();
        let needs_authority_reason = needs_reason(authority) || authority.sent.is_some_and(is_late);
        let notices = [
            ("authority.decision", authority.decision == NoticeDecision::Open),
            ("authority.reason", authority.reason.is_none() && needs_authority_reason),
            ("authority.sent", is_unsent(authority)),
            ("persons.decision", persons.decision == NoticeDecision::Open),
            ("persons.reason", persons.reason.is_none() && needs_reason(persons)),
            ("persons.sent", is_unsent(persons)),
        ];
        let all = facts.into_iter().chain(notices);
        all.filter_map(|(key, is_missing)| is_missing.then_some(key)).collect()
    }

    /// Returns the name of its file: the day on which it became known, and the recipient. `number`
    /// tells it from others of the same day, from 1.
    #[must_use]
    pub fn file_name(&self, number: u32) -> String {
        let day = self.discovered.strftime("%Y-%m-%d");
        let more = if number > 1 { format!("-{number}") } else { String::new() };
        format!("{day}-{}{more}.toml", self.recipient)
    }

    /// Returns a new file of an incident of which only what zeef knows is there, with comments for
    /// who fills in the rest.
    #[must_use]
    pub fn to_new_file(&self, language: Language) -> String {
        let quote = |text: &str| toml::Value::from(text).to_string();
        let list = |texts: &[String]| {
            let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
            format!("[{}]", quoted.join(", "))
        };
        let optional = |key: &str, value: &Option<String>| {
            value.as_ref().map(|text| format!("{key} = {}\n", quote(text))).unwrap_or_default()
        };
        let [about, fill_in, until_excluded, decisions, reason] = language.pick(
            [
                "A breach of personal data, on record (GDPR art. 33(5)). Write down nobody's name or number.",
                "What zeef cannot know. Take away the # and fill in.",
                "the day after the last one",
                "\"notify\" or \"not_needed\"; then the reason, or when it was sent",
                "why not, or why later than notify_by",
            ],
            [
                "Een inbreuk op persoonsgegevens, vastgelegd (AVG art. 33 lid 5). Noteer niemands naam of nummer.",
                "Wat zeef niet kan weten. Haal de # weg en vul in.",
                "de dag na de laatste",
                "\"notify\" (melden) of \"not_needed\" (niet nodig); dan de reden, of wanneer het is verstuurd",
                "waarom niet, of waarom later dan notify_by",
            ],
        );
        let received = &self.received;
        let fact = |key: &str| format!("# {key} = \"\"\n");
        let notice = format!(
            "# {decisions}\n# decision = \"\"\n# reason = \"\"   # {reason}\n\
             # sent = \"2026-01-31T10:00:00Z\"\n"
        );
        format!(
            "# {about}\n\n\
             recipient  = {}\ntitle      = {}\nfrom       = \"{}\"\n\
             until      = \"{}\"   # {until_excluded}\n{}discovered = \"{}\"\n\
             notify_by  = \"{}\"\nrecorded   = \"{}\"\n{}\n\
             [received]\npatrons        = {}\nrecords        = {}\nwithout_patron = {}\n\
             classes        = {}\nfields         = {}\n\n\
             # {fill_in}\n[facts]\n{}{}{}\n[authority]\n{notice}\n[persons]\n{notice}",
            quote(&self.recipient),
            quote(&self.title),
            self.from,
            self.until,
            optional("field     ", &self.field),
            self.discovered,
            self.notify_by(),
            self.recorded,
            optional("operator  ", &self.operator),
            received.patrons,
            received.records,
            received.without_patron,
            list(&received.classes),
            list(&received.fields),
            fact("happened"),
            fact("consequences"),
            fact("measures"),
        )
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Every mistake of it.
    pub fn read(file: &str, text: &str) -> Result<Incident, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let read = read_toml(file, text, &mut mistakes, read_incident).flatten();
        match read.filter(|_| mistakes.is_empty()) {
            Some(incident) => Ok(incident),
            None => Err(mistakes),
        }
    }
}

const INSTANT: &str = "a moment, as 2026-01-31T10:00:00Z";
const DAY: &str = "a day, as 2026-01-31";

fn read_incident(table: &TomlTable<'_>) -> Option<Incident> {
    let recipient = table.require_string("recipient", "the recipient's name");
    let title = table.string("title", "what the recipient is called");
    let from: Option<Date> = required(table, "from", DAY);
    let until: Option<Date> = required(table, "until", DAY);
    let field = table.string("field", "the only field that is concerned");
    let discovered: Option<Timestamp> = required(table, "discovered", INSTANT);
    let recorded: Option<Timestamp> = required(table, "recorded", INSTANT);
    let operator = table.string("operator", "who put it on record, a role or a pseudonym");
    let received = table.table("received", "what the recipient had received");
    let received = received.map(|received| read_received(&received)).unwrap_or_default();
    let facts = table.table("facts", "what happened, in `happened`, `consequences`, `measures`");
    let facts = facts.map(|facts| read_facts(&facts)).unwrap_or_default();
    let [authority, persons] = ["authority", "persons"].map(|key| {
        let notice = table.table(key, "`decision`, `reason` and `sent` of a notice");
        notice.map(|notice| read_notice(&notice)).unwrap_or_default()
    });
    let notify_by: Option<Timestamp> = required(table, "notify_by", INSTANT);
    let recipient = recipient?.value;
    let incident = Incident {
        title: title.map_or_else(|| recipient.clone(), |at| at.value),
        recipient,
        from: from?,
        until: until?,
        field: field.map(|at| at.value),
        discovered: discovered?,
        recorded: recorded?,
        operator: operator.map(|at| at.value),
        received,
        facts,
        authority,
        persons,
    };
    let right = incident.notify_by();
    if notify_by? != right {
        let line = table.line_of_key("notify_by");
        let found = "`notify_by` is not 72 hours after `discovered`";
        table.report_mistake(line, found, format!("\"{right}\""));
    }
    Some(incident)
}

/// Reads a text that has to be there and be parsed.
fn required<T: std::str::FromStr>(table: &TomlTable<'_>, key: &str, expected: &str) -> Option<T> {
    table.require_key(key, expected, None);
    parsed(table, key, expected)
}

/// Reads a text that has to be parsed where it is there.
fn parsed<T: std::str::FromStr>(table: &TomlTable<'_>, key: &str, expected: &str) -> Option<T> {
    let at = table.string(key, expected)?;
    let value = at.value.parse().ok();
    if value.is_none() {
        table.report_mistake(at.line, format!("`{key}` is \"{}\"", at.value), expected);
    }
    value
}

fn read_received(table: &TomlTable<'_>) -> ReceivedData {
    let number = |key: &str| {
        let at = table.integer(key, 0..=i64::MAX, "a number");
        at.and_then(|at| u64::try_from(at.value).ok()).unwrap_or_default()
    };
    let list = |key: &str, expected: &str| {
        let texts = table.strings(key, expected);
        texts.map_or_else(Vec::new, |at| at.value.into_iter().map(|text| text.value).collect())
    };
    let received = ReceivedData {
        patrons: number("patrons"),
        records: number("records"),
        without_patron: number("without_patron"),
        classes: list("classes", "the classes of data"),
        fields: list("fields", "the fields that were given"),
    };
    table.finish();
    received
}

fn read_facts(table: &TomlTable<'_>) -> IncidentFacts {
    let text = |key: &str, expected: &str| table.string(key, expected).map(|at| at.value);
    let facts = IncidentFacts {
        happened: text("happened", "what happened"),
        consequences: text("consequences", "what it may mean for the persons"),
        measures: text("measures", "what was done about it, and what will be"),
    };
    table.finish();
    facts
}

fn read_notice(table: &TomlTable<'_>) -> Notice {
    const DECISIONS: &[(&str, NoticeDecision)] = &[
        (NoticeDecision::Open.into_str(), NoticeDecision::Open),
        (NoticeDecision::Notify.into_str(), NoticeDecision::Notify),
        (NoticeDecision::NotNeeded.into_str(), NoticeDecision::NotNeeded),
    ];
    let decision = table.choice("decision", DECISIONS, "whether they are told");
    let notice = Notice {
        decision: decision.map(|at| at.value).unwrap_or_default(),
        reason: table.string("reason", "why not, or why late").map(|at| at.value),
        sent: parsed(table, "sent", INSTANT),
    };
    if notice.sent.is_some() && notice.decision == NoticeDecision::NotNeeded {
        let line = table.line_of_key("sent");
        table.report_mistake(line, "`sent` beside `decision = \"not_needed\"`", "one of them");
    }
    table.finish();
    notice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident() -> Incident {
        Incident {
            recipient: "mailing".to_owned(),
            title: "Een \"mailing\"".to_owned(),
            from: "2026-11-01".parse().unwrap(),
            until: "2026-12-01".parse().unwrap(),
            field: Some("address".to_owned()),
            discovered: "2026-11-30T09:00:00Z".parse().unwrap(),
            recorded: "2026-11-30T10:00:00Z".parse().unwrap(),
            operator: Some("privacy-desk".to_owned()),
            received: ReceivedData {
                patrons: 3,
                records: 4,
                without_patron: 0,
                classes: vec!["contact".to_owned()],
                fields: vec!["address.city".to_owned()],
            },
            facts: IncidentFacts::default(),
            authority: Notice::default(),
            persons: Notice::default(),
        }
    }

    #[test]
    fn incident_is_read_as_it_is_written() {
        for language in [Language::Dutch, Language::English] {
            let text = incident().to_new_file(language);
            assert_eq!(Incident::read("a.toml", &text).unwrap(), incident(), "{text}");
        }
        assert_eq!(incident().file_name(1), "2026-11-30-mailing.toml");
        assert_eq!(incident().file_name(2), "2026-11-30-mailing-2.toml");
    }

    #[test]
    fn clock_runs_from_the_discovery_until_a_notice_or_a_decision() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let hours = SignedDuration::from_hours;
        let mut incident = incident();
        assert_eq!(incident.clock(at("2026-12-01T09:00:00Z")), NotifyClock::Running(hours(48)));
        assert_eq!(incident.clock(at("2026-12-03T09:00:00Z")), NotifyClock::Running(hours(0)));
        assert_eq!(incident.clock(at("2026-12-03T10:00:00Z")), NotifyClock::Overdue(hours(1)));
        incident.authority.decision = NoticeDecision::Notify;
        assert_eq!(incident.clock(at("2026-12-03T10:00:00Z")), NotifyClock::Overdue(hours(1)));
        incident.authority.sent = Some(at("2026-12-03T11:00:00Z"));
        assert_eq!(incident.clock(Timestamp::MAX), NotifyClock::Sent(hours(74)));
        assert!(incident.missing().contains(&"authority.reason"), "late, and without a reason");
        incident.authority = Notice { decision: NoticeDecision::NotNeeded, ..Notice::default() };
        assert_eq!(incident.clock(Timestamp::MAX), NotifyClock::NotNeeded);
    }

    #[test]
    fn incident_misses_what_people_have_to_fill_in() {
        let mut one = incident();
        let mut missing = one.missing();
        let new = [
            "facts.happened",
            "facts.consequences",
            "facts.measures",
            "authority.decision",
            "persons.decision",
        ];
        assert_eq!(missing, new);
        let text = || Some("x".to_owned());
        one.facts = IncidentFacts { happened: text(), consequences: text(), measures: text() };
        one.authority.decision = NoticeDecision::Notify;
        one.persons.decision = NoticeDecision::NotNeeded;
        missing = one.missing();
        assert_eq!(missing, ["authority.sent", "persons.reason"]);
        one.authority.sent = Some("2026-12-01T09:00:00Z".parse().unwrap());
        one.persons.reason = text();
        assert!(one.missing().is_empty());
    }

    #[test]
    fn incident_mistakes_have_a_line() {
        let text = incident().to_new_file(Language::English);
        for (from, to, line, want) in [
            ("notify_by  = \"2026-12-03", "notify_by  = \"2026-12-04", 9, "not 72 hours"),
            ("discovered = \"2026", "discovered = \"soon", 8, "`discovered` is"),
            ("patrons ", "patron ", 14, "did you mean `patrons`"),
            ("# decision = \"\"", "decision = \"no\"", 28, "decision"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let mistakes = Incident::read("a.toml", &changed).unwrap_err();
            let said = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(said.contains(&format!("a.toml:{line}:")) && said.contains(want), "{said}");
        }
    }
}
