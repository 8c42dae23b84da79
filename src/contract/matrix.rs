//! Which field goes to which recipient, and behind which mask.

use std::collections::BTreeMap;

use crate::policy::Policy;
use crate::policy::contract::{ContractField, FieldForm, FieldMaking, OutputContract};
use crate::policy::mask::Mask;
use crate::policy::recipient::Recipient;

/// Fields of the catalogue by recipients.
#[derive(Clone, Debug)]
pub struct FieldMatrix {
    /// Sorted by name, enabled ones first.
    pub columns: Vec<MatrixColumn>,
    /// In the order of kinds and their fields; only fields that some column has.
    pub rows: Vec<MatrixRow>,
}

#[derive(Clone, Debug)]
pub struct MatrixColumn {
    pub recipient: String,
    pub is_enabled: bool,
}

#[derive(Clone, Debug)]
pub struct MatrixRow {
    /// The kind and the path, as `loan.item.title`.
    pub field: String,
    pub class: &'static str,
    /// By column: how it is shown; `None` where it does not go.
    pub cells: Vec<Option<String>>,
}

const IN_FULL: &str = "in full";

impl FieldMatrix {
    /// Returns the matrix of every recipient that has a file and that `wanted` accepts.
    #[must_use]
    pub fn of_policy(policy: &Policy, wanted: impl Fn(&Recipient) -> bool) -> FieldMatrix {
        let mut columns = Vec::new();
        let mut cells = Vec::new();
        for (recipient, is_enabled) in policy.all_with_enabled().filter(|(one, _)| wanted(one)) {
            columns.push(MatrixColumn { recipient: recipient.name.clone(), is_enabled });
            cells.push(shown_fields(recipient, policy));
        }
        let kinds = policy.record_kinds.iter();
        let fields = kinds.flat_map(|kind| {
            let whole = (kind.name.clone(), "plain");
            let fields = kind.fields.iter();
            let fields = fields.map(move |field| {
                (format!("{}.{}", kind.name, field.path), field.class.into_str())
            });
            std::iter::once(whole).chain(fields)
        });
        let rows = fields
            .map(|(field, class)| {
                let cells = cells.iter().map(|column| column.get(&field).cloned()).collect();
                MatrixRow { field, class, cells }
            })
            .filter(|row| row.cells.iter().any(Option::is_some))
            .collect();
        FieldMatrix { columns, rows }
    }
}

/// Returns how each field of the catalogue is shown to a recipient; a kind's own name stands for
/// what is counted of its records.
fn shown_fields(recipient: &Recipient, policy: &Policy) -> BTreeMap<String, String> {
    let contract = OutputContract::of_recipient(recipient, policy);
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in &contract.fields {
        add_field(field, field, &mut shown);
    }
    let source = policy.record_kinds.get(recipient.source_kind_index);
    let key = &recipient.output_key_field;
    let key_kind = if key.is_joined { policy.patron_kind() } else { source };
    if let Some(kind) = key_kind {
        let name = format!("{}.{}", kind.name, key.path);
        shown.entry(name).or_default().push("key: pseudonym".to_owned());
    }
    shown.into_iter().map(|(field, texts)| (field, texts.join("; "))).collect()
}

fn add_field(
    field: &ContractField,
    outer: &ContractField,
    shown: &mut BTreeMap<String, Vec<String>>,
) {
    let mut add = |name: &str, text: String| {
        let texts = shown.entry(name.to_owned()).or_default();
        if !texts.contains(&text) {
            texts.push(text);
        }
    };
    for origin in &field.origins {
        let mask = origin.mask.as_ref().map_or_else(|| IN_FULL.to_owned(), Mask::describe);
        let text = match (&outer.made_as, origin.is_redacted) {
            (FieldMaking::DemandedValues, _) => "if demanded".to_owned(),
            (FieldMaking::Sum(_), _) => "sum".to_owned(),
            (_, true) => format!("{mask}, redacted"),
            (_, false) => mask,
        };
        add(&origin.catalogue_name, text);
    }
    match &field.made_as {
        FieldMaking::Count(kind) => add(kind, "count".to_owned()),
        FieldMaking::Any(kind) => add(kind, "one bit".to_owned()),
        _ => {}
    }
    for inner in inner_fields(&field.form) {
        add_field(inner, outer, shown);
    }
}

fn inner_fields(form: &FieldForm) -> &[ContractField] {
    match form {
        FieldForm::Object(fields) => fields,
        FieldForm::List(element) => inner_fields(element),
        FieldForm::Scalar(_) | FieldForm::OneOf(_) => &[],
    }
}
