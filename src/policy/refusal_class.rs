//! What a gate's refusal is about, in the words of settings.

use super::reason::Reason;

/// What refusals are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RefusalClass {
    /// The patron did not consent, or that is not certain.
    Consent,
    /// The patron objected, or that is not certain.
    Objection,
    /// An authorisation, an agreement or another paper is not in force.
    Authorisation,
    /// A demand is not as the law asks.
    Demand,
    /// A condition of the recipient does not hold.
    Condition,
    /// A term is over.
    Term,
}

impl RefusalClass {
    /// Every class, in the order of the enum.
    pub const ALL: &[RefusalClass] = <RefusalClass as strum::VariantArray>::VARIANTS;

    /// Returns `None` for a reason that is no gate's, as where the record is faulty.
    #[must_use]
    pub fn of_reason(reason: Reason) -> Option<RefusalClass> {
        match reason {
            Reason::NoConsent
            | Reason::ConsentUnreadable
            | Reason::LoanHistoryOff
            | Reason::SpecialWords => Some(RefusalClass::Consent),
            Reason::Objection | Reason::ObjectionMarketing | Reason::ObjectionUnreadable => {
                Some(RefusalClass::Objection)
            }
            Reason::AuthorisationLapsed | Reason::AgreementLapsed | Reason::PaperPending => {
                Some(RefusalClass::Authorisation)
            }
            reason if Reason::OF_CONDITIONS.contains(&reason) => Some(RefusalClass::Demand),
            Reason::Condition
            | Reason::Library
            | Reason::LibraryConflict
            | Reason::PartyUnlisted
            | Reason::NoChannel
            | Reason::Stages
            | Reason::StageInFuture
            | Reason::Settled => Some(RefusalClass::Condition),
            Reason::Lapsed | Reason::PatronLapsed | Reason::PeriodOpen => Some(RefusalClass::Term),
            _ => None,
        }
    }
}
