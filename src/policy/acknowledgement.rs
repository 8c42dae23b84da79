//! What a recipient acknowledges: retractions, on a topic of its own.
//!
//! Decides no record, so it is not part of the policy's version.

use super::form::Date;
use super::term::Term;

/// How a recipient acknowledges retractions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcknowledgementRule {
    /// The topic on which it acknowledges, without prefix.
    pub topic: String,
    /// How long it may take.
    pub within: Term,
    /// The first day, in UTC, of whose retractions it is asked to acknowledge.
    pub since: Date,
}
