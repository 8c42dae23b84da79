//! All fields of a record and its patron that can influence what a recipient has: an output,
//! its key, its topic, or whether there is one.
//!
//! Every rule over fields uses this one list. The exposure of a field assumes that the
//! recipient knows its own file.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{CatalogueField, FieldType, RecordKind, Role};
pub use super::mask::Exposure;
use super::mask::{Mask, MaskNeed, are_wide_age_bands};
use super::recipient::{
    ConditionTest, DemandedPart, FieldCondition, FieldProjection, FieldRef, OutputField,
    OutputTopics, OutputValue, Recipient, RecordSummary, RetentionAction, SummaryFunction,
    SummaryTest,
};

/// How a field influences. Output fields, conditions and stages have their index in the
/// recipient's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InfluenceChannel {
    OutputField(usize),
    /// It is in an output field where the record demands it.
    Demanded(usize),
    /// The mask of an output field reads it beside its input.
    MaskNeed(usize),
    /// It decides whether something is left out of an output field.
    OmissionTest(usize),
    OutputKey,
    /// It is hashed into the key beside the key's field.
    OutputKeyNeed,
    Topic,
    Condition(usize),
    Stage(usize),
    Retention,
    /// Its term decides when the output is thinned.
    Thinning,
    ImpliedConsent,
    /// It decides by which channel the patron is reached.
    Channel,
    /// Some other gate reads it.
    Gate,
}

impl InfluenceChannel {
    #[must_use]
    pub fn describe(self, recipient: &Recipient) -> String {
        let name = |place: usize| {
            let field = recipient.output_fields.get(place);
            field.map_or("", |field| field.name.as_str())
        };
        match self {
            InfluenceChannel::OutputField(place) => format!("in {}", name(place)),
            InfluenceChannel::Demanded(place) => format!("in {} where demanded", name(place)),
            InfluenceChannel::MaskNeed(place) => format!("beside {}", name(place)),
            InfluenceChannel::OmissionTest(place) => format!("left out of {}", name(place)),
            InfluenceChannel::OutputKey | InfluenceChannel::OutputKeyNeed => {
                "in the key".to_owned()
            }
            InfluenceChannel::Topic => "as the topic".to_owned(),
            InfluenceChannel::Condition(_) => "as a condition".to_owned(),
            InfluenceChannel::Stage(_) => "as a stage".to_owned(),
            InfluenceChannel::Retention => "as the start of the term".to_owned(),
            InfluenceChannel::Thinning => "as the start of the term of some fields".to_owned(),
            InfluenceChannel::ImpliedConsent => "as the event that implies consent".to_owned(),
            InfluenceChannel::Channel => "for the choice of the channel".to_owned(),
            InfluenceChannel::Gate => "in a gate".to_owned(),
        }
    }
}

/// One way in which one field influences what a recipient has.
#[derive(Clone, Debug)]
pub struct FieldInfluence<'a> {
    pub field_ref: FieldRef,
    pub field: &'a CatalogueField,
    pub exposure: Exposure,
    pub channel: InfluenceChannel,
}

/// Returns all influences on what `recipient` has, in the order of its file. Ignores fields
/// that the catalogue does not have.
#[must_use]
pub fn collect_influences<'a>(
    recipient: &Recipient,
    kinds: &'a [RecordKind],
) -> Vec<FieldInfluence<'a>> {
    let Some(source) = kinds.get(recipient.source_kind_index) else {
        return Vec::new();
    };
    let mut collector = InfluenceCollector {
        source,
        kinds,
        patron: kinds.iter().find(|kind| kind.role == Role::Patron),
        is_settled: kinds.iter().any(|kind| kind.settles.as_ref() == Some(&source.name)),
        narrow_age_fields: narrow_age_fields(&recipient.output_fields),
        influences: Vec::new(),
    };
    collector.add_prohibitions();
    collector.add_conditions(&recipient.conditions);
    for (place, stage) in recipient.stages.iter().enumerate() {
        collector.add(stage, Exposure::OneBit, InfluenceChannel::Stage(place));
    }
    if let OutputTopics::PerParty { party_field: by, .. } = &recipient.topics {
        collector.add(by, Exposure::Full, InfluenceChannel::Topic);
    }
    collector.add_output_key(&recipient.output_key_field);
    for (place, field) in recipient.output_fields.iter().enumerate() {
        collector.add_output(place, &field.value);
        if matches!(field.value, OutputValue::ChannelWord) {
            collector.add_channels(recipient, InfluenceChannel::MaskNeed(place));
        }
    }
    collector.add_gates(recipient);
    collector.influences
}

struct InfluenceCollector<'a> {
    source: &'a RecordKind,
    kinds: &'a [RecordKind],
    patron: Option<&'a RecordKind>,
    /// Settlements name records of the source by their ids.
    is_settled: bool,
    /// Dates of which several age bands together show too much.
    narrow_age_fields: Vec<FieldRef>,
    influences: Vec<FieldInfluence<'a>>,
}

impl<'a> InfluenceCollector<'a> {
    fn find_field(&self, at: &FieldRef) -> Option<&'a CatalogueField> {
        let kind = if at.is_joined { self.patron } else { Some(self.source) };
        kind?.field(&at.path)
    }

    fn add(&mut self, field_ref: &FieldRef, exposure: Exposure, channel: InfluenceChannel) {
        let Some(field) = self.find_field(field_ref) else {
            return;
        };
        self.influences.push(FieldInfluence {
            field_ref: field_ref.clone(),
            field,
            exposure,
            channel,
        });
    }

    fn add_path(
        &mut self,
        is_joined: bool,
        path: &str,
        exposure: Exposure,
        channel: InfluenceChannel,
    ) {
        let path = path.to_owned();
        self.add(&FieldRef { is_joined, path }, exposure, channel);
    }

    /// Whether a field is a date, an instant or a birth, whatever its type.
    fn is_date_or_time(&self, at: &FieldRef) -> bool {
        self.find_field(at).is_some_and(|field| {
            field.field_type.is_date_or_instant()
                || field.is_birth_date()
                || field.has_time_of_day()
        })
    }

    /// Adds a field of the record's patron, from the table or the record itself.
    fn add_patron_field(&mut self, path: &str, way: InfluenceChannel) {
        if self.source.is_keyed_by_patron {
            let joined = self.source.role != Role::Patron;
            self.add_path(joined, path, Exposure::OneBit, way);
        }
    }

    /// What refuses records of the kind whole.
    fn add_prohibitions(&mut self) {
        let source = self.source;
        for words in &source.must_not_exist {
            self.add_path(false, &words.path, Exposure::Full, InfluenceChannel::Gate);
        }
        for path in &source.anonymous_paths {
            self.add_path(false, path, Exposure::OneBit, InfluenceChannel::Gate);
        }
    }

    /// A value that passes a list is known to be one of it. When a range of time begins or ends to
    /// hold shows the date.
    fn add_conditions(&mut self, conditions: &[FieldCondition]) {
        for (place, condition) in conditions.iter().enumerate() {
            let seen = match condition.test {
                ConditionTest::OneOf(_) => Exposure::Full,
                ConditionTest::Present | ConditionTest::Absent => Exposure::OneBit,
                ConditionTest::TimeRange(_) => Exposure::Date,
                ConditionTest::IntegerRange(range) if range.above.is_none() => Exposure::OneBit,
                ConditionTest::IntegerRange(range) if range.below.is_none() => Exposure::OneBit,
                ConditionTest::IntegerRange(_) => Exposure::Full,
            };
            self.add(&condition.field, seen, InfluenceChannel::Condition(place));
        }
    }

    fn add_output_key(&mut self, key: &FieldRef) {
        self.add(key, Exposure::Pseudonym, InfluenceChannel::OutputKey);
        for beside in ["patron_id", "library"] {
            if key.path != beside {
                self.add_path(
                    key.is_joined,
                    beside,
                    Exposure::Pseudonym,
                    InfluenceChannel::OutputKeyNeed,
                );
            }
        }
    }

    fn add_output(&mut self, output_index: usize, value: &OutputValue) {
        match value {
            OutputValue::Scalar(_) | OutputValue::First(_) => {
                for projection in value.projections() {
                    self.add_scalar(output_index, projection);
                }
            }
            OutputValue::ScalarList { from } => {
                self.add_copied(output_index, from.is_joined, &from.path)
            }
            OutputValue::Object { from, fields } | OutputValue::ObjectList { from, fields } => {
                for field in fields {
                    self.add_copied(output_index, from.is_joined, &field.path);
                }
            }
            OutputValue::Demanded { list, shows: DemandedPart::Values } => {
                self.add(list, Exposure::Full, InfluenceChannel::OutputField(output_index));
                self.add_demanded(output_index);
            }
            // The count of a list.
            OutputValue::Demanded { list, shows: DemandedPart::Number } => {
                self.add(list, Exposure::Part, InfluenceChannel::OutputField(output_index))
            }
            // Made of other output fields.
            OutputValue::ShelfSlip { .. } | OutputValue::ChannelWord => {}
            // The id of another patron is no field of this one.
            OutputValue::NamedPatron => self.add_path(
                false,
                "library",
                Exposure::Pseudonym,
                InfluenceChannel::MaskNeed(output_index),
            ),
            OutputValue::Summary(summary) => self.add_summary(output_index, summary),
        }
    }

    /// Adds what a summary shows of the patron's records, and which of them count. A record
    /// that counts is known to fit its conditions.
    fn add_summary(&mut self, output_index: usize, summary: &RecordSummary) {
        let Some(kind) = self.kinds.get(summary.kind_index) else {
            return;
        };
        let channel = InfluenceChannel::OutputField(output_index);
        let mut add_record_field = |path: &str, exposure| {
            let Some(field) = kind.field(path) else {
                return;
            };
            let path = format!("{}.{path}", kind.name);
            let field_ref = FieldRef { is_joined: false, path };
            self.influences.push(FieldInfluence { field_ref, field, exposure, channel });
        };
        for path in summary.shown_paths() {
            add_record_field(path, Exposure::Full);
        }
        for path in summary.order_paths() {
            add_record_field(path, Exposure::Date);
        }
        add_record_field("library", Exposure::OneBit);
        if let Some(path) = &kind.gone_path {
            add_record_field(path, Exposure::OneBit);
        }
        let is_settled = self.kinds.iter().any(|one| one.settles.as_ref() == Some(&kind.name));
        if is_settled || matches!(summary.function, SummaryFunction::List { .. }) {
            add_record_field(&kind.id_path, Exposure::OneBit);
        }
        for condition in &summary.conditions {
            let exposure = match condition.test {
                SummaryTest::Value(ConditionTest::Present | ConditionTest::Absent) => {
                    Exposure::OneBit
                }
                _ => Exposure::Full,
            };
            add_record_field(&condition.path, exposure);
        }
        for condition in &summary.conditions {
            if let SummaryTest::SameAs { patron_path, .. } = &condition.test {
                self.add_path(false, patron_path, Exposure::OneBit, channel);
            }
        }
    }

    /// Any field of the patron may be demanded, but for those that nobody gets.
    fn add_demanded(&mut self, output_index: usize) {
        let fields = self.patron.map_or(&[][..], |kind| &kind.fields);
        for field in fields.iter().filter(|field| field.may_be_demanded()) {
            let channel = InfluenceChannel::Demanded(output_index);
            self.add_path(true, &field.path, Exposure::Full, channel);
            self.add_card_omission(output_index, true, &field.path);
        }
    }

    fn add_copied(&mut self, output_index: usize, is_joined: bool, path: &str) {
        self.add_path(is_joined, path, Exposure::Full, InfluenceChannel::OutputField(output_index));
        self.add_card_omission(output_index, is_joined, path);
    }

    /// A card number is left out where it is a national number.
    fn add_card_omission(&mut self, output_index: usize, is_joined: bool, path: &str) {
        let path = path.to_owned();
        let field = self.find_field(&FieldRef { is_joined, path });
        if field.is_some_and(|field| field.field_type == FieldType::CardNumber) {
            for beside in ["card_number", "card_kind", "rijksregisternummer"] {
                self.add_path(
                    is_joined,
                    beside,
                    Exposure::OneBit,
                    InfluenceChannel::OmissionTest(output_index),
                );
            }
        }
    }

    fn add_scalar(&mut self, output_index: usize, projection: &FieldProjection) {
        let Some(from) = &projection.from else {
            return;
        };
        let mask = projection.mask.as_ref();
        let seen = match mask {
            Some(Mask::AgeBand { .. }) if self.narrow_age_fields.contains(from) => Exposure::Full,
            // The last digits of a date are its day.
            Some(Mask::LastDigits { .. }) if self.is_date_or_time(from) => Exposure::Full,
            Some(mask) => mask.exposure(),
            None => Exposure::Full,
        };
        self.add(from, seen, InfluenceChannel::OutputField(output_index));
        self.add_card_omission(output_index, from.is_joined, &from.path);
        if matches!(mask, Some(Mask::Pseudonym { .. })) {
            // A patron's id is hashed with the patron's library.
            let of_patron = from.path == "patron_id" && self.source.role != Role::Patron;
            let joined = from.is_joined || of_patron;
            self.add_path(
                joined,
                "library",
                Exposure::Pseudonym,
                InfluenceChannel::MaskNeed(output_index),
            );
        }
        if let Some(mask) = mask {
            for need in mask.needs() {
                let seen = mask.need_exposure(&need);
                self.add_mask_need(output_index, from.is_joined, &need, seen);
            }
        }
        if projection.detect.as_ref().is_some_and(|one| one.needs_own_values()) {
            self.add_own_values(output_index);
        }
    }

    fn add_mask_need(
        &mut self,
        output_index: usize,
        is_joined: bool,
        need: &MaskNeed,
        seen: Exposure,
    ) {
        let way = InfluenceChannel::MaskNeed(output_index);
        match need {
            MaskNeed::Sibling(path) => self.add_path(is_joined, path, seen, way),
            MaskNeed::SourceField(path) => self.add_path(false, path, seen, way),
            MaskNeed::Country => {
                for path in ["country", "library"] {
                    self.add_path(is_joined, path, seen, way);
                }
            }
        }
    }

    /// Own values of the patron are removed from free text.
    fn add_own_values(&mut self, output_index: usize) {
        let joined = self.source.role != Role::Patron;
        let of = |kind: &RecordKind, joined: bool| -> Vec<FieldRef> {
            let own = kind.fields.iter().filter(|field| field.class.is_searched_as_own_value());
            own.map(|field| FieldRef { is_joined: joined, path: field.path.clone() }).collect()
        };
        let patrons = self.patron.filter(|_| joined && self.source.is_keyed_by_patron);
        let patrons = patrons.map(|kind| of(kind, true)).unwrap_or_default();
        for at in of(self.source, false).iter().chain(&patrons) {
            self.add(at, Exposure::OneBit, InfluenceChannel::OmissionTest(output_index));
        }
    }

    /// Adds what decides by which channel the patron is reached.
    fn add_channels(&mut self, recipient: &Recipient, way: InfluenceChannel) {
        let channels = recipient.channel.iter().flat_map(|rule| &rule.channels);
        for field in channels.flat_map(|channel| &channel.present_by) {
            self.add(field, Exposure::OneBit, way);
        }
    }

    fn add_gates(&mut self, recipient: &Recipient) {
        let retention = &recipient.retention;
        // The time of a retraction shows when the term began.
        let seen = match retention.after {
            RetentionAction::Retract => Exposure::Date,
            RetentionAction::Forget => Exposure::OneBit,
        };
        self.add(&retention.start_field, seen, InfluenceChannel::Retention);
        let thinned = recipient.thinned.as_ref();
        if let Some((_, from)) = thinned.and_then(|rule| rule.after.as_ref()) {
            self.add(from, Exposure::Date, InfluenceChannel::Thinning);
        }
        if let Some(period) = &recipient.period {
            self.add(&period.month_field, Exposure::Date, InfluenceChannel::Gate);
        }
        let consent = recipient.consent.as_ref();
        if let Some(event) = consent.and_then(|consent| consent.implied_by.as_ref()) {
            self.add(&event.at, Exposure::OneBit, InfluenceChannel::ImpliedConsent);
            if let Some(giver) = &event.giver {
                self.add(&giver.given_by, Exposure::OneBit, InfluenceChannel::Gate);
                self.add(&giver.adult, Exposure::OneBit, InfluenceChannel::Gate);
            }
        }
        if consent.is_some_and(|consent| consent.needs_guardian_for_minors) {
            // An output that begins or ends on a birthday shows it.
            let is_joined = self.source.role != Role::Patron;
            self.add_path(is_joined, "birth_date", Exposure::Date, InfluenceChannel::Gate);
        }
        self.add_channels(recipient, InfluenceChannel::Channel);
        // An output goes out again when it changes.
        if let Some(field) = &recipient.told_unless {
            self.add(field, Exposure::OneBit, InfluenceChannel::Gate);
        }
        self.add_path(false, "library", Exposure::OneBit, InfluenceChannel::Gate);
        if let Some(path) = &self.source.gone_path {
            self.add_path(false, path, Exposure::OneBit, InfluenceChannel::Gate);
        }
        if recipient.without_patron.is_some() {
            return;
        }
        if self.source.role != Role::Patron {
            self.add_patron_field("library", InfluenceChannel::Gate);
        }
        if let Some(rule) = &recipient.special_words {
            self.add(&rule.field, Exposure::OneBit, InfluenceChannel::Gate);
        }
        if recipient.is_loan_history {
            self.add_path(false, "status", Exposure::OneBit, InfluenceChannel::Gate);
            self.add_patron_field("loan_history", InfluenceChannel::Gate);
            self.add_path(false, "returned_at", Exposure::OneBit, InfluenceChannel::Gate);
            self.add_patron_field("loan_history_since", InfluenceChannel::Gate);
        }
        if self.is_settled {
            let id = self.source.id_path.clone();
            self.add_path(false, &id, Exposure::OneBit, InfluenceChannel::Gate);
        }
        self.add_patron_field("membership.status", InfluenceChannel::Gate);
        if recipient.outlives_membership.is_none() {
            self.add_patron_field("membership.ends_on", InfluenceChannel::Gate);
        }
    }
}

/// Returns the dates whose age bands in several output fields overlap into narrow ones: two
/// bands of ten years may leave one of two.
fn narrow_age_fields(fields: &[OutputField]) -> Vec<FieldRef> {
    let mut ages: BTreeMap<&FieldRef, BTreeSet<u16>> = BTreeMap::new();
    for projection in fields.iter().flat_map(|field| field.value.projections()) {
        if let (Some(from), Some(Mask::AgeBand(mask))) = (&projection.from, &projection.mask) {
            let edges = mask.bands.iter().map(|band| band.min_age);
            ages.entry(from).or_default().extend(edges);
        }
    }
    ages.retain(|_, edges| !are_wide_age_bands(edges.iter().copied()));
    ages.into_keys().cloned().collect()
}
