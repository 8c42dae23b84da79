//! One mapping from the rows of a table to a kind of record: whose a row is, and
//! what a change of it becomes.
//!
//! Nothing is remembered between two messages here. Where a row came to another patron both
//! sides of the change say so; where a kind has `newer_by`, each record says its version, which
//! [`RecordVersions`](super::RecordVersions) compares.

use std::sync::Arc;

use crate::policy::catalogue::Role;
use crate::policy::form::TextFormat;

use super::envelope::Change;
use super::expression::{
    Condition, EvaluationScope, Expression, TemplatePart, all_hold, fill_template,
};
use super::fields::{FieldFault, FieldNode, FieldOverride, RecordWriter};
use super::path::RowPath;
use super::record_versions::VersionClaim;
use super::refusal::{Fault, Refusal, RefusedRecord};
use super::topic::TopicPattern;
use super::version::Version;
use super::{CanonicalRecord, Conversion, RecordOutcome};

/// What a deleted row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeleteAction {
    /// The patron is erased: a null.
    Erase,
    /// The record is gone.
    Gone,
    /// The consent is withdrawn.
    Withdraw,
    /// Nothing: the row lives on elsewhere.
    Ignore,
}

/// What a deleted row means, or how it is found out.
#[derive(Clone, Debug)]
pub(super) enum DeleteRule {
    Fixed(DeleteAction),
    /// By a word that the mapping maps to one of [`DELETE_ACTIONS`].
    By(Box<Expression>),
}

/// Each action by its word.
pub(super) const DELETE_ACTIONS: &[(&str, DeleteAction)] = &[
    ("erased", DeleteAction::Erase),
    ("gone", DeleteAction::Gone),
    ("withdrawn", DeleteAction::Withdraw),
    ("ignore", DeleteAction::Ignore),
];

/// From the rows of some topics to one kind of record.
#[derive(Clone, Debug)]
pub(super) struct RecordMapping {
    pub(super) kind: Arc<str>,
    pub(super) role: Role,
    pub(super) topics: Vec<TopicPattern>,
    pub(super) library: Expression,
    pub(super) patron: Vec<TemplatePart>,
    /// The member of the record's own id; the patron's where it is a patron.
    pub(super) id_name: String,
    /// Of a patron: nothing.
    pub(super) id: Option<Expression>,
    /// A row for which one of these holds is of no patron.
    pub(super) nobody: Vec<Condition>,
    /// A row for which these do not all hold is no record.
    pub(super) only: Vec<Condition>,
    /// A patron for whom one of these holds is erased.
    pub(super) erased: Vec<Condition>,
    pub(super) delete: DeleteRule,
    /// Whether the intake stops where all rows were deleted at once; or else that is refused.
    pub(super) stops_if_all_gone: bool,
    /// What a record means that came to another patron, for the old one.
    pub(super) moved: DeleteAction,
    /// What is greater in the newer one of two versions of a record, compared in order; empty if
    /// versions are not compared.
    pub(super) newer_by: Vec<RowPath>,
    pub(super) fields: Vec<FieldNode>,
}

/// Whose a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    patron_id: String,
    own_id: String,
}

/// A part of the mapping that refuses.
struct PartFault {
    part: String,
    fault: Fault,
}

fn at_part(part: &str) -> impl Fn(Fault) -> PartFault {
    move |fault| PartFault { part: part.to_owned(), fault }
}

impl From<FieldFault> for PartFault {
    fn from(fault: FieldFault) -> PartFault {
        PartFault { part: fault.field, fault: fault.fault }
    }
}

/// The scopes of both sides of a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeScopes<'m, 'a> {
    pub(super) old: Option<EvaluationScope<'m, 'a>>,
    pub(super) new: Option<EvaluationScope<'m, 'a>>,
}

/// A record as long as most.
const RECORD_CAPACITY: usize = 512;
/// A consent whose row is gone counts as withdrawn.
const WITHDRAWN: FieldOverride = FieldOverride { path: "decision", value: "withdrawn" };

impl RecordMapping {
    /// Appends what `change` means for this kind to `conversion`.
    pub(super) fn convert(
        &self,
        change: &Change<'_, '_>,
        scopes: &ChangeScopes<'_, '_>,
        conversion: &mut Conversion,
    ) {
        let records = &mut conversion.records;
        let converted = match (change, scopes.old.as_ref(), scopes.new.as_ref()) {
            (Change::Deleted { .. }, Some(old), _) => self.convert_deletion(old, records),
            (Change::Written { is_update: true, old: None, .. }, ..)
                if self.role != Role::Patron =>
            {
                Err(at_part("")(Refusal::BeforeMissing.into()))
            }
            (Change::Written { .. }, old, Some(new)) => self.convert_write(old, new, records),
            _ => Ok(()),
        };
        if let Err(PartFault { part, fault }) = converted {
            records.extend(self.unreadable_record(scopes));
            conversion.refused.push(RefusedRecord::of_field(&self.kind, &part, fault));
        }
    }

    fn convert_deletion(
        &self,
        old: &EvaluationScope<'_, '_>,
        records: &mut Vec<CanonicalRecord>,
    ) -> Result<(), PartFault> {
        let action = self.delete_action(old)?;
        if action == DeleteAction::Ignore {
            return Ok(());
        }
        if let Some(identity) = self.identify(old, IsTakenBack(true))? {
            let version = self.version_of(old).ok().flatten();
            let removal = self.removal(action, &identity, old)?;
            records.extend(removal.map(|removal| removal.with_version(version)));
        }
        Ok(())
    }

    fn convert_write(
        &self,
        old: Option<&EvaluationScope<'_, '_>>,
        new: &EvaluationScope<'_, '_>,
        records: &mut Vec<CanonicalRecord>,
    ) -> Result<(), PartFault> {
        let before = match old.map(|old| self.identify(old, IsTakenBack(true))) {
            // A patron's id is the row's own: it stays when the row changes.
            Some(Err(_)) if self.role == Role::Patron => None,
            Some(identity) => identity?,
            None => None,
        };
        let is_erased = self.is_erased(new)?;
        let now = self.identify(new, IsTakenBack(is_erased))?;
        let version = self.version_of(new);
        // What is taken back waits for no version.
        let of_removal = || version.as_ref().ok().cloned().flatten();
        if let (Some(before), Some(old)) = (&before, old)
            && now.as_ref() != Some(before)
        {
            let removal = self.removal(self.moved, before, old)?;
            records.extend(removal.map(|removal| removal.with_version(of_removal())));
        }
        let Some(now) = now else {
            return Ok(());
        };
        if is_erased {
            let removal = self.removal(DeleteAction::Erase, &now, new)?;
            records.extend(removal.map(|removal| removal.with_version(of_removal())));
            return Ok(());
        }
        let version = version?;
        let value = self.write_record(&now, new, None)?;
        let record = self.record(RecordOutcome::Written, &now, Some(value));
        records.push(record.with_version(version));
        Ok(())
    }

    /// The version of the record; `None` if versions are not compared.
    fn version_of(&self, scope: &EvaluationScope<'_, '_>) -> Result<Option<Version>, PartFault> {
        let Some(first) = self.newer_by.first() else {
            return Ok(None);
        };
        let missing = |path: &RowPath| {
            at_part("newer_by")(Fault::new(Refusal::VersionMissing, path.written()))
        };
        let mut values = Vec::with_capacity(self.newer_by.len());
        for path in &self.newer_by {
            let value = path.find(&scope.row).map_err(|fault| match fault.refusal {
                Refusal::Malformed => missing(path),
                _ => at_part("newer_by")(fault),
            })?;
            values.push(value.ok_or_else(|| missing(path))?);
        }
        Version::from_scalars(&values).map(Some).ok_or_else(|| missing(first))
    }

    fn delete_action(&self, old: &EvaluationScope<'_, '_>) -> Result<DeleteAction, PartFault> {
        let expression = match &self.delete {
            DeleteRule::Fixed(action) => return Ok(*action),
            DeleteRule::By(expression) => expression,
        };
        let word = expression.evaluate(old).map_err(at_part("delete"))?;
        let word = word.as_ref().map(|word| word.to_text());
        let action = DELETE_ACTIONS.iter().find(|(known, _)| Some(*known) == word.as_deref());
        let unmapped = || at_part("delete")(Refusal::Unmapped.into());
        action.map(|(_, action)| *action).ok_or_else(unmapped)
    }

    fn is_erased(&self, scope: &EvaluationScope<'_, '_>) -> Result<bool, PartFault> {
        for condition in &self.erased {
            if condition.holds(scope).map_err(at_part("erased"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whose the row is; `None` where it is nobody's, or no record.
    fn identify(
        &self,
        scope: &EvaluationScope<'_, '_>,
        IsTakenBack(is_taken_back): IsTakenBack,
    ) -> Result<Option<Identity>, PartFault> {
        for condition in &self.nobody {
            if condition.holds(scope).map_err(at_part("nobody"))? {
                return Ok(None);
            }
        }
        match all_hold(&self.only, scope) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(_) if is_taken_back => {}
            Err(fault) => return Err(at_part("only")(fault)),
        }
        let Some(patron_id) = self.patron_id(scope)? else {
            return match self.role {
                Role::Patron => Err(at_part("patron")(Refusal::PatronMissing.into())),
                Role::Gate | Role::Record => Ok(None),
            };
        };
        Ok(Some(Identity { patron_id, own_id: self.own_id(scope)? }))
    }

    /// The record's own id; empty of a patron.
    fn own_id(&self, scope: &EvaluationScope<'_, '_>) -> Result<String, PartFault> {
        let Some(expression) = &self.id else {
            return Ok(String::new());
        };
        let id = expression.evaluate(scope).map_err(at_part(&self.id_name))?;
        let missing = || at_part(&self.id_name)(Refusal::IdMissing.into());
        id.map(|id| id.to_text().into_owned()).ok_or_else(missing)
    }

    /// The patron's id; the library is asked for only where the rest of it is there.
    fn patron_id(&self, scope: &EvaluationScope<'_, '_>) -> Result<Option<String>, PartFault> {
        let fill = |library: Option<&str>| {
            fill_template(&self.patron, scope, library).map_err(at_part("patron"))
        };
        let names_library = self.patron.iter().any(|part| matches!(part, TemplatePart::Library));
        if !names_library {
            return fill(None);
        }
        match fill(Some("-"))? {
            Some(_) => fill(Some(&self.library_of(scope)?)),
            None => Ok(None),
        }
    }

    fn library_of(&self, scope: &EvaluationScope<'_, '_>) -> Result<String, PartFault> {
        let missing = |path: &str| at_part("library")(Fault::new(Refusal::LibraryMissing, path));
        let library = self.library.evaluate(scope).map_err(|fault| match fault.refusal {
            Refusal::LookupMissing | Refusal::Unmapped => missing(&fault.path),
            _ => at_part("library")(fault),
        })?;
        let library = library.map(|library| library.to_text().into_owned());
        library.filter(|library| TextFormat::Isil.matches(library)).ok_or_else(|| missing(""))
    }

    fn write_record(
        &self,
        identity: &Identity,
        scope: &EvaluationScope<'_, '_>,
        replaced: Option<FieldOverride>,
    ) -> Result<Vec<u8>, PartFault> {
        let mut writer = self.begin_record(identity, scope, replaced)?;
        writer.write_nodes(&self.fields)?;
        writer.out.push(b'}');
        Ok(writer.out)
    }

    /// A record with its identifiers.
    fn begin_record<'m, 'a, 's>(
        &self,
        identity: &Identity,
        scope: &'s EvaluationScope<'m, 'a>,
        replaced: Option<FieldOverride>,
    ) -> Result<RecordWriter<'m, 'a, 's>, PartFault> {
        let library = self.library_of(scope)?;
        let mut out = Vec::with_capacity(RECORD_CAPACITY);
        out.push(b'{');
        let mut writer = RecordWriter { scope, replaced, out };
        if self.id.is_some() {
            writer.write_text(&self.id_name, &identity.own_id);
        }
        writer.write_text("patron_id", &identity.patron_id);
        writer.write_text("library", &library);
        Ok(writer)
    }

    /// What takes the record back; `None` where nothing does.
    fn removal(
        &self,
        action: DeleteAction,
        identity: &Identity,
        scope: &EvaluationScope<'_, '_>,
    ) -> Result<Option<CanonicalRecord>, PartFault> {
        let (outcome, value) = match action {
            DeleteAction::Ignore => return Ok(None),
            DeleteAction::Erase => (RecordOutcome::Erased, None),
            DeleteAction::Gone => {
                let mut writer = self.begin_record(identity, scope, None)?;
                writer.write_name("gone");
                writer.out.extend_from_slice(b"true}");
                (RecordOutcome::Gone, Some(writer.out))
            }
            DeleteAction::Withdraw => {
                let value = self.write_record(identity, scope, Some(WITHDRAWN))?;
                (RecordOutcome::Withdrawn, Some(value))
            }
        };
        Ok(Some(self.record(outcome, identity, value)))
    }

    fn record(
        &self,
        outcome: RecordOutcome,
        identity: &Identity,
        value: Option<Vec<u8>>,
    ) -> CanonicalRecord {
        let key = identity.patron_id.clone();
        let claim = (!self.newer_by.is_empty()).then(|| VersionClaim {
            id: if self.id.is_some() { identity.own_id.clone() } else { key.clone() },
            version: None,
        });
        CanonicalRecord { kind: Arc::clone(&self.kind), key, value, outcome, claim }
    }

    /// A record that the engine refuses whole, where what is refused here decides over
    /// other records: so that nothing is released by an older version.
    fn unreadable_record(&self, scopes: &ChangeScopes<'_, '_>) -> Option<CanonicalRecord> {
        if self.role == Role::Record {
            return None;
        }
        let sides = [scopes.new.as_ref(), scopes.old.as_ref()];
        let mut patrons = sides.into_iter().flatten();
        let (scope, patron_id) =
            patrons.find_map(|scope| Some((scope, self.patron_id(scope).ok().flatten()?)))?;
        let own_id = self.own_id(scope).ok();
        let version = self.version_of(scope).ok().flatten();
        let is_known = own_id.is_some() && version.is_some();
        let identity = Identity { patron_id, own_id: own_id.unwrap_or_default() };
        let record = self.record(RecordOutcome::Unreadable, &identity, Some(b"{}".to_vec()));
        // One whose version nobody knows is never taken out.
        Some(match is_known {
            true => record.with_version(version),
            false => CanonicalRecord { claim: None, ..record },
        })
    }
}

/// What is taken back must not depend on a lookup: a condition that cannot be
/// decided holds.
struct IsTakenBack(bool);
