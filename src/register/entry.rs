//! One processing of the register, as labelled texts in Dutch.

use std::iter::once;

use super::load::{Controller, OtherActivity};
use crate::contract::{Language, describe_field, describe_shown, describe_term, field_meaning};
use crate::ledger::register::Activity;
use crate::policy::Policy;
use crate::policy::contract::{ContractField, FieldForm, OutputContract};
use crate::policy::paper::is_placeholder;
use crate::policy::recipient::{
    FieldRef, NamedPatronRule, OutputTopics, Recipient, RetentionAction, ServedLibraries,
};

/// One processing.
#[derive(Clone, Debug)]
pub struct RegisterEntry {
    /// The recipient's or the activity's name.
    pub id: String,
    pub title: String,
    /// In the order of the law.
    pub cells: Vec<RegisterCell>,
}

/// What an entry says under one label.
#[derive(Clone, Debug)]
pub struct RegisterCell {
    /// A name for programs.
    pub key: &'static str,
    pub label: &'static str,
    pub texts: Vec<String>,
    /// The register is not complete without it.
    pub is_required: bool,
}

/// The keys and labels of all cells, in their order, and whether the law requires them.
const CELLS: [(&str, &str, bool); 17] = [
    ("flow", "stroom", false),
    ("state", "stand", false),
    ("controller", "verwerkingsverantwoordelijke", true),
    ("contact", "contact", true),
    ("purpose", "doel", true),
    ("legal_basis", "grondslag", true),
    ("persons", "betrokkenen", true),
    ("data", "gegevens", true),
    ("recipients", "ontvangers", true),
    ("transfers", "doorgifte", true),
    ("retention", "bewaartermijn", true),
    ("security", "beveiliging", true),
    ("notice", "kennisgeving", true),
    ("confidential", "vertrouwelijk", false),
    ("conditions", "voorwaarden", false),
    ("papers", "documenten", false),
    ("activity", "verwerkingsactiviteit", false),
];

/// Labels the texts of an entry, which are in the order of [`CELLS`].
fn label_cells(texts: [Vec<String>; 17]) -> Vec<RegisterCell> {
    let cells = CELLS.iter().zip(texts);
    cells
        .map(|(&(key, label, is_required), texts)| {
            let texts = texts.into_iter().filter(|text| !text.is_empty()).collect();
            RegisterCell { key, label, texts, is_required }
        })
        .collect()
}

impl RegisterEntry {
    /// Returns the entry of a recipient, and whether it is enabled.
    pub(super) fn of_recipient(
        (recipient, is_enabled): (&Recipient, bool),
        policy: &Policy,
        (controller, base_uri): (&Controller, &str),
    ) -> RegisterEntry {
        let writer = RecipientWriter { recipient, policy };
        let register = &recipient.register;
        let told = Activity::told_of_recipient(policy, recipient);
        let activities = once(Activity::of_recipient(policy, recipient)).chain(told);
        let state = if is_enabled { "in gebruik" } else { "staat uit: er wordt niets verstrekt" };
        RegisterEntry {
            id: recipient.name.clone(),
            title: recipient.title.clone(),
            cells: label_cells([
                recipient.flows.clone(),
                vec![state.to_owned()],
                vec![own_or_library(&recipient.controller, &controller.name)],
                vec![own_or_library(&register.contact, &controller.contact)],
                vec![recipient.purpose_text.clone()],
                vec![recipient.legal_basis.describe_dutch().to_owned()],
                vec![register.persons.clone()],
                writer.data(),
                writer.recipients(),
                vec![register.transfers.clone()],
                writer.retention(),
                vec![register.security.clone()],
                writer.notice(),
                describe_confidentiality(recipient),
                writer.conditions(),
                writer.papers(),
                activities.map(|activity| activity.uri(base_uri)).collect(),
            ]),
        }
    }

    /// Returns the entry of an activity that is no recipient's.
    pub(super) fn of_activity(activity: &OtherActivity, controller: &Controller) -> RegisterEntry {
        let notice = activity.notice.iter().map(|(on, place)| format!("{on}: {place}"));
        let national =
            activity.national_number.iter().map(|use_of| format!("nationaal nummer: {use_of}"));
        RegisterEntry {
            id: activity.name.clone(),
            title: activity.title.clone(),
            cells: label_cells([
                vec![activity.flow.clone()],
                vec!["buiten zeef".to_owned()],
                vec![controller.name.clone()],
                vec![controller.contact.clone()],
                vec![activity.purpose.clone()],
                vec![activity.legal_basis.clone()],
                vec![activity.persons.clone()],
                activity.data.iter().cloned().chain(national).collect(),
                activity.recipients.clone(),
                vec![activity.transfers.clone()],
                vec![activity.retention.clone()],
                vec![activity.security.clone()],
                notice.collect(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
            ]),
        }
    }

    /// Returns the texts under a key.
    #[must_use]
    pub fn texts(&self, key: &str) -> &[String] {
        let cell = self.cells.iter().find(|cell| cell.key == key);
        cell.map_or(&[], |cell| &cell.texts)
    }
}

/// Tells how long patrons are not told of a processing.
fn describe_confidentiality(recipient: &Recipient) -> Vec<String> {
    let Some(mark) = recipient.confidentiality else {
        return Vec::new();
    };
    let until = mark.until.map(|day| format!(", tot en met {day}")).unwrap_or_default();
    let unless = recipient.told_unless.as_ref().map(|field| {
        format!(", tenzij `{field}` van het gegeven `false` is: een verwerkingsactiviteit apart")
    });
    vec![format!("niet in het antwoord aan een lener{until}{}", unless.unwrap_or_default())]
}

/// A recipient's own text, or the library's where that is an example's.
fn own_or_library(own: &str, library: &str) -> String {
    let is_open = own.is_empty() || is_placeholder(own);
    if is_open && !library.is_empty() { library.to_owned() } else { own.to_owned() }
}

/// Writes the cells of a recipient.
struct RecipientWriter<'a> {
    recipient: &'a Recipient,
    policy: &'a Policy,
}

impl RecipientWriter<'_> {
    /// Returns the fields by class, a text for each.
    fn data(&self) -> Vec<String> {
        let contract = OutputContract::of_recipient(self.recipient, self.policy);
        let mut by_class: Vec<(&'static str, Vec<String>)> = Vec::new();
        for field in &contract.fields {
            collect_data(field, &mut by_class);
        }
        by_class
            .into_iter()
            .map(|(class, texts)| format!("{class}: {}", texts.join("; ")))
            .collect()
    }

    fn recipients(&self) -> Vec<String> {
        let recipient = self.recipient;
        let role = if recipient.is_processor { ", verwerker" } else { "" };
        let mut texts = vec![format!("{}{role}", recipient.title)];
        if let OutputTopics::PerParty { topic_by_party, .. } = &recipient.topics {
            texts.extend(topic_by_party.iter().map(|(party, _)| party.clone()));
        }
        for (label, list) in [("bibliotheken", &recipient.members), ("velden", &recipient.scopes)] {
            texts.extend(list.iter().map(|list| format!("{label}: {}", list.join(", "))));
        }
        if let ServedLibraries::Only(served) = &recipient.libraries {
            texts.push(format!("alleen van {}", served.join(", ")));
        }
        texts
    }

    fn retention(&self) -> Vec<String> {
        let recipient = self.recipient;
        let rule = &recipient.retention;
        let after = match rule.after {
            RetentionAction::Retract => "daarna wordt het ingetrokken",
            RetentionAction::Forget => "daarna mag de ontvanger het houden",
        };
        let from = self.meaning(&rule.start_field);
        let mut texts =
            vec![format!("{} vanaf: {from}; {after}", describe_term(rule.term, Language::Dutch))];
        match &recipient.outlives_membership {
            _ if !self.depends_on_patron() => {}
            Some(_) => texts.push("loopt door na het lidmaatschap".to_owned()),
            None => {
                let term = describe_term(self.policy.patron_retention, Language::Dutch);
                texts.push(format!("uiterlijk {term} na het einde van het lidmaatschap"));
            }
        }
        if let Some(thinned) = &recipient.thinned {
            let fields = thinned.dropped_fields.iter();
            let names = fields.filter_map(|at| recipient.output_fields.get(*at));
            let names: Vec<&str> = names.map(|field| field.name.as_str()).collect();
            texts.push(format!("eerder uitgedund, zonder {}", names.join(", ")));
        }
        texts
    }

    fn notice(&self) -> Vec<String> {
        let notice = self.recipient.papers.notice.iter();
        notice.map(|notice| format!("{}: {}", notice.on, notice.place)).collect()
    }

    fn conditions(&self) -> Vec<String> {
        let recipient = self.recipient;
        let mut texts = Vec::new();
        if let Some(consent) = &recipient.consent {
            let minors = match consent.needs_guardian_for_minors {
                true => "; voor minderjarigen van een ouder of voogd",
                false => "",
            };
            let named = match consent.named_patrons {
                Some(NamedPatronRule { lasts: Some(lasts) }) => format!(
                    ", voor elke lener die de toestemming noemt, {} lang",
                    describe_term(lasts, Language::Dutch)
                ),
                Some(NamedPatronRule { lasts: None }) => {
                    ", voor elke lener die de toestemming noemt".to_owned()
                }
                None => String::new(),
            };
            texts.push(format!("toestemming voor `{}`{named}{minors}", consent.purpose));
        }
        if recipient.is_marketing {
            texts.push("een bezwaar tegen direct marketing stopt het voorgoed".to_owned());
        }
        if recipient.is_stopped_by_objections() && self.depends_on_patron() {
            texts.push("een bezwaar (art. 21 AVG) stopt het tot erover beslist is".to_owned());
        }
        if recipient.is_loan_history {
            texts.push("geen leenhistorie van wie die uit heeft staan".to_owned());
        }
        if recipient.is_pseudonymised {
            texts.push("gepseudonimiseerd, nooit anoniem".to_owned());
        }
        texts
    }

    fn papers(&self) -> Vec<String> {
        let recipient = self.recipient;
        let mut texts = Vec::new();
        if let Some(paper) = &recipient.agreement {
            let (from, until) = (&paper.from, &paper.until);
            texts.push(format!("overeenkomst {} ({from} tot en met {until})", paper.reference));
        }
        if let Some(paper) = &recipient.authorisation {
            let (from, until) = (paper.first_day_in_force(), &paper.until);
            texts.push(format!(
                "machtiging {} van {} ({from} tot en met {until})",
                paper.reference, paper.approved_by
            ));
        }
        let papers = &recipient.papers;
        for (what, decision) in [("advies", &papers.dpo_advice), ("goedkeuring", &papers.approval)]
        {
            texts.extend(
                decision
                    .iter()
                    .map(|one| format!("{what} van {} op {}: {}", one.by, one.on, one.document)),
            );
        }
        texts.extend(papers.terms.iter().map(|terms| {
            format!("{} versie {}, aanvaard op {}", terms.document, terms.version, terms.on)
        }));
        for reason in [&recipient.credential_reason, &recipient.free_text_reason] {
            texts.extend(reason.iter().map(|reason| format!("vastgelegde reden: {reason}")));
        }
        let pending = recipient.review.pending_reason.iter();
        texts.extend(pending.map(|why| format!("nog te beslissen: {why}")));
        texts
    }

    /// Returns whether outputs depend on a patron at all.
    fn depends_on_patron(&self) -> bool {
        let recipient = self.recipient;
        let kind = self.policy.record_kinds.get(recipient.source_kind_index);
        recipient.without_patron.is_none() && kind.is_some_and(|kind| kind.is_keyed_by_patron)
    }

    /// Returns what a field says, in Dutch if the catalogue has it.
    fn meaning(&self, field: &FieldRef) -> String {
        field_meaning((self.policy, self.recipient), field, Language::Dutch)
    }
}

/// Adds what a field shows to the texts of its class.
fn collect_data(field: &ContractField, by_class: &mut Vec<(&'static str, Vec<String>)>) {
    let inner = inner_fields(&field.form);
    if inner.is_empty() {
        let (class, text) = match field.origins.first() {
            Some(origin) => (class_word(origin.class), describe_shown(origin, Language::Dutch)),
            None => ("afgeleid", describe_field(field, Language::Dutch)),
        };
        match by_class.iter_mut().find(|(one, _)| *one == class) {
            Some((_, texts)) if texts.contains(&text) => {}
            Some((_, texts)) => texts.push(text),
            None => by_class.push((class, vec![text])),
        }
    }
    for one in inner {
        collect_data(one, by_class);
    }
}

fn inner_fields(form: &FieldForm) -> &[ContractField] {
    match form {
        FieldForm::Object(fields) => fields,
        FieldForm::List(element) => inner_fields(element),
        FieldForm::Scalar(_) | FieldForm::OneOf(_) => &[],
    }
}

/// Returns what a class is called in Dutch.
#[must_use]
pub fn class_word(class: &str) -> &'static str {
    match class {
        "personal" => "persoonsgegevens",
        "contact" => "contactgegevens",
        "identifier" => "nummers en kenmerken",
        "financial" => "financiële gegevens",
        "national_id" => "nationaal nummer",
        "special" => "bijzondere persoonsgegevens",
        "free_text" => "vrije tekst",
        "secret" => "geheimen",
        "event" => "handelingen van de lener",
        _ => "overige gegevens",
    }
}
