//! What librdkafka's errors mean for the worker.
//!
//! Pure: it looks at an error and names the consequence.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::transport::Fault;

/// An error in words for an operator, once.
pub(super) fn plain(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
            "no broker answers".to_owned()
        }
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => {
            "no answer in time".to_owned()
        }
        Some(RDKafkaErrorCode::Resolve) => "nobody knows the brokers' hosts".to_owned(),
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// What to do after a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The outcome is not known, or the call may succeed later: the same call
    /// again.
    Retry(String),
    Fail(Fault),
}

/// The open transaction at the time of an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// For how long the transaction has been open, if one is.
    pub since: Option<Duration>,
    pub timeout: Duration,
}

impl Opened {
    /// Whether Kafka itself may have ended the transaction and its epoch.
    fn outlived(self) -> bool {
        self.since.is_some_and(|since| since >= self.timeout)
    }
}

/// Judges an error of the producer. `fatal` is the producer's fatal error,
/// where it has one: the code of a call's own error may hide it.
pub(super) fn of_producer(
    doing: &str,
    error: &KafkaError,
    fatal: Option<(RDKafkaErrorCode, String)>,
    opened: Opened,
) -> Step {
    if let Some((code, reason)) = fatal {
        return Step::Fail(of_fatal(doing, code, &reason, opened));
    }
    let text = format!("{doing}: {error}");
    match error {
        KafkaError::Transaction(native) => {
            if native.is_fatal() {
                Step::Fail(of_fatal(doing, native.code(), &native.string(), opened))
            } else if native.txn_requires_abort() && is_timeout(native.code()) {
                Step::Fail(Fault::Unanswered(text))
            } else if native.txn_requires_abort() {
                Step::Fail(Fault::Abort(text))
            } else if native.is_retriable() || is_passing(native.code()) {
                Step::Retry(text)
            } else if is_refused(native.code()) {
                Step::Fail(Fault::Stop(text))
            } else {
                Step::Fail(Fault::Rebuild(text))
            }
        }
        KafkaError::Flush(code) if is_passing(*code) => Step::Retry(text),
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => Step::Retry(text),
        KafkaError::MessageProduction(
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize,
        ) => Step::Fail(Fault::Stop(format!(
            "{text}; raise `message.max.bytes` or lower the size limit of outputs"
        ))),
        KafkaError::MessageProduction(code) if is_timeout(*code) => {
            Step::Fail(Fault::Unanswered(text))
        }
        KafkaError::MessageProduction(_) => Step::Fail(Fault::Abort(text)),
        _ => Step::Fail(Fault::Rebuild(text)),
    }
}

/// A twin's fencing and a transaction that timed out give the same error: what
/// tells them apart is how long the own transaction was open.
fn of_fatal(doing: &str, code: RDKafkaErrorCode, reason: &str, opened: Opened) -> Fault {
    let text = format!("{doing}: {reason}");
    if code == RDKafkaErrorCode::FencedInstanceId {
        Fault::Twin(text)
    } else if is_fenced(code) && !opened.outlived() {
        Fault::Twin(format!(
            "{text}; another process runs under this instance name"
        ))
    } else if is_refused(code) {
        Fault::Stop(text)
    } else {
        Fault::Rebuild(text)
    }
}

/// Judges an error of the consumer that belongs to no partition. `None`: it
/// passes, and librdkafka goes on by itself.
///
/// A fenced instance has a twin, but for one case: librdkafka whose own session
/// timed out (`lapsed`) forgets its member id, and is fenced with it by a
/// coordinator that comes back and still knows the old one. If there is a twin
/// after all, it is fenced by the rebuilt consumer, and ends.
pub(super) fn of_consumer(
    error: &KafkaError,
    fatal: Option<(RDKafkaErrorCode, String)>,
    lapsed: bool,
) -> Option<Fault> {
    if let Some((code, reason)) = fatal {
        return Some(if code == RDKafkaErrorCode::FencedInstanceId && !lapsed {
            Fault::Twin(format!(
                "consumer: {reason}; another process runs under this instance name"
            ))
        } else {
            Fault::Rebuild(format!("consumer: {reason}"))
        });
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::FencedInstanceId) if !lapsed => {
            Some(Fault::Twin(format!("consumer: {error}")))
        }
        Some(code) if is_refused(code) => Some(Fault::Stop(format!("consumer: {error}"))),
        _ => None,
    }
}

/// Judges an error of one partition.
pub(super) fn of_partition(topic: &str, partition: i32, error: &KafkaError) -> Option<Fault> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            Some(Fault::Stop(format!(
                "topic `{topic}` partition {partition}: the next record is no longer there \
                 (offset out of range): records were deleted before they were read; set the \
                 group's offset by hand, then start again"
            )))
        }
        Some(code) if is_refused(code) => Some(Fault::Stop(format!(
            "topic `{topic}` partition {partition}: {error}"
        ))),
        _ => None,
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::TransactionCoordinatorFenced
    )
}

fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::ConcurrentTransactions
            | RDKafkaErrorCode::InProgress
            | RDKafkaErrorCode::PreviousInProgress
    )
}

/// Kafka was not reached in time; says nothing about the batch.
fn is_timeout(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
    )
}

/// What only an operator can mend.
fn is_refused(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedForMessageFormat
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[track_caller]
    fn check(code: RDKafkaErrorCode, open_secs: Option<u64>, want: &str) {
        let opened = Opened {
            since: open_secs.map(Duration::from_secs),
            timeout: TIMEOUT,
        };
        let error = KafkaError::Flush(RDKafkaErrorCode::Fatal);
        let step = of_producer("commit", &error, Some((code, "reason".into())), opened);
        let found = match step {
            Step::Fail(Fault::Twin(_)) => "twin",
            Step::Fail(Fault::Rebuild(_)) => "rebuild",
            Step::Fail(Fault::Stop(_)) => "stop",
            Step::Fail(Fault::Abort(_)) => "abort",
            Step::Fail(Fault::Unanswered(_)) => "unanswered",
            Step::Fail(Fault::Interrupted) => "interrupted",
            Step::Fail(Fault::Io(_)) => "io",
            Step::Retry(_) => "retry",
        };
        assert_eq!(found, want, "{code:?} after {open_secs:?}");
    }

    #[test]
    fn fatal_errors_of_the_producer() {
        check(RDKafkaErrorCode::Fenced, None, "twin");
        check(RDKafkaErrorCode::ProducerFenced, Some(3), "twin");
        check(RDKafkaErrorCode::ProducerFenced, Some(10), "rebuild");
        check(RDKafkaErrorCode::InvalidProducerEpoch, Some(60), "rebuild");
        check(RDKafkaErrorCode::FencedInstanceId, Some(60), "twin");
        check(
            RDKafkaErrorCode::OutOfOrderSequenceNumber,
            Some(1),
            "rebuild",
        );
        check(
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
            None,
            "stop",
        );
    }

    #[test]
    fn an_outage_says_nothing_about_the_batch() {
        let opened = Opened {
            since: Some(Duration::ZERO),
            timeout: TIMEOUT,
        };
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::AllBrokersDown,
        ] {
            let error = KafkaError::MessageProduction(code);
            let step = of_producer("deliver", &error, None, opened);
            assert!(matches!(step, Step::Fail(Fault::Unanswered(_))), "{step:?}");
        }
    }

    #[test]
    fn errors_of_the_consumer() {
        let down = KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown);
        assert_eq!(of_consumer(&down, None, false), None);
        let fenced = Some((RDKafkaErrorCode::FencedInstanceId, "x".into()));
        assert!(matches!(
            of_consumer(&down, fenced.clone(), false),
            Some(Fault::Twin(_))
        ));
        assert!(matches!(
            of_consumer(&down, fenced, true),
            Some(Fault::Rebuild(_))
        ));
        let other = Some((RDKafkaErrorCode::UnknownMemberId, "x".into()));
        assert!(matches!(
            of_consumer(&down, other, false),
            Some(Fault::Rebuild(_))
        ));
        let refused = KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed);
        assert!(matches!(
            of_consumer(&refused, None, false),
            Some(Fault::Stop(_))
        ));
    }

    #[test]
    fn errors_of_a_partition() {
        let reset = KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset);
        let Some(Fault::Stop(text)) = of_partition("loan", 3, &reset) else {
            panic!("expected a stop");
        };
        assert!(text.contains("`loan` partition 3"), "{text}");
        let passing = KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure);
        assert_eq!(of_partition("loan", 3, &passing), None);
    }
}
