//! What a retraction tells its recipient: a closed list of reasons, poorer than [`Reason`], and
//! an id.
//!
//! A recipient must erase what is taken back, and may have to erase copies too. It need not know
//! whether its patron objected, withdrew a consent or left.

use sha2::{Digest as _, Sha256};
use strum::VariantArray as _;

use super::reason::Reason;

/// Why an output is taken back, as its recipient is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RetractionReason {
    Ended,
    Replaced,
    Erase,
}

impl RetractionReason {
    /// Every reason, in the order of the contract.
    pub const ALL: &[RetractionReason] = RetractionReason::VARIANTS;

    /// Returns the word in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Returns what a recipient is told where `reason` took an output back.
    #[must_use]
    pub fn of(reason: Reason) -> RetractionReason {
        match reason {
            Reason::PatronErased
            | Reason::NoConsent
            | Reason::ConsentUnreadable
            | Reason::Objection
            | Reason::ObjectionMarketing
            | Reason::ObjectionUnreadable
            | Reason::LoanHistoryOff => RetractionReason::Erase,
            Reason::Rekeyed => RetractionReason::Replaced,
            _ => RetractionReason::Ended,
        }
    }

    /// Returns what is told: of a pseudonymised recipient's outputs nothing but that they ended, or
    /// rows that go for one patron's sake could be told from the others.
    #[must_use]
    pub fn told_to(self, is_pseudonymised: bool) -> RetractionReason {
        if is_pseudonymised { RetractionReason::Ended } else { self }
    }

    /// Returns the meaning in English, in one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            RetractionReason::Ended => {
                "the purpose, the term or the agreement ended, or the record no longer belongs here"
            }
            RetractionReason::Replaced => {
                "the same record is or may come under another key; nothing ended for the person"
            }
            RetractionReason::Erase => {
                "a person's right (GDPR art. 17 and 19): erase every copy of it too"
            }
        }
    }

    /// Returns the meaning in Dutch, in one sentence.
    #[must_use]
    pub const fn meaning_nl(self) -> &'static str {
        match self {
            RetractionReason::Ended => {
                "het doel, de termijn of de afspraak is voorbij, of het record hoort hier niet meer"
            }
            RetractionReason::Replaced => {
                "hetzelfde record staat of komt onder een andere sleutel; voor de persoon is er niets voorbij"
            }
            RetractionReason::Erase => {
                "een recht van de betrokkene (AVG art. 17 en 19): wis ook elke kopie"
            }
        }
    }
}

/// Returns the id of a retraction: 32 hexadecimal digits.
///
/// It is a hash of what its message shows anyway, so it tells nothing more: of topic, key and the
/// time in the message's headers, in Unix seconds. The same retraction has the same id however
/// often it is written, and who has the ledger and the key can make it again.
#[must_use]
pub fn retraction_id(topic: &str, key: &[u8], time: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(b"zeef retraction\0");
    hash.update(topic.as_bytes());
    hash.update([0]);
    hash.update(key);
    hash.update([0]);
    hash.update(time.to_be_bytes());
    let digest = hash.finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retraction_reasons_tell_no_choice_of_a_patron_apart() {
        let told = |reason| RetractionReason::of(reason).as_str();
        for reason in [Reason::PatronErased, Reason::NoConsent, Reason::ObjectionMarketing] {
            assert_eq!(told(reason), "erase", "{reason}");
        }
        for reason in [Reason::Settled, Reason::PatronLapsed, Reason::Condition, Reason::Lapsed] {
            assert_eq!(told(reason), "ended", "{reason}");
        }
        assert_eq!(told(Reason::Rekeyed), "replaced");
    }

    #[test]
    fn retraction_id_is_of_topic_key_and_time() {
        let id = retraction_id("out.a", b"k", 1);
        assert_eq!((id.len(), &id), (32, &retraction_id("out.a", b"k", 1)));
        for other in [
            retraction_id("out.b", b"k", 1),
            retraction_id("out.a", b"l", 1),
            retraction_id("out.a", b"k", 2),
        ] {
            assert_ne!(id, other);
        }
    }
}
