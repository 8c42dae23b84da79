//! Why a policy cannot be compiled into a lane.

use crate::engine::record::shape::ShapeError;
use crate::ledger::keys::LedgerKeyError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("recipient {recipient}: unknown field `{path}`")]
    UnknownField { recipient: String, path: String },
    #[error("recipient {recipient}: `{path}` is part of a list and cannot stand alone")]
    FieldInList { recipient: String, path: String },
    #[error("recipient {recipient} has no key: run `zeef keys new {recipient}`")]
    MissingKey { recipient: String },
    #[error("the key of the ledger cannot be used: {0}")]
    LedgerKey(LedgerKeyError),
}
