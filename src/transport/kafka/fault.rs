//! Maps librdkafka's errors to what the worker does about them.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::message::{AbortReason, Cause, Fault};

/// Describes an error for an operator.
pub(super) fn describe_error(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
            "no broker answers".to_owned()
        }
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => {
            "no answer in time".to_owned()
        }
        Some(RDKafkaErrorCode::Resolve) => "the brokers' hosts cannot be resolved".to_owned(),
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// What to do after a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorAction {
    /// The outcome is unknown, or the call may succeed later: repeat it.
    Retry(Cause),
    Fail(Fault),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct TransactionAge {
    /// How long the transaction has been open, if one is.
    pub open_for: Option<Duration>,
    pub timeout: Duration,
}

impl TransactionAge {
    /// Returns whether Kafka itself may have ended the transaction and its epoch.
    fn may_have_timed_out(self) -> bool {
        self.open_for.is_some_and(|since| since >= self.timeout)
    }
}

/// Classifies an error of the producer. A `fatal` error takes precedence: the code of a
/// call's own error may hide it.
pub(super) fn classify_producer_error(
    attempted_step: &str,
    error: &KafkaError,
    fatal: Option<(RDKafkaErrorCode, String)>,
    transaction_age: TransactionAge,
) -> ErrorAction {
    if let Some((code, reason)) = fatal {
        return ErrorAction::Fail(classify_fatal_error(
            attempted_step,
            code,
            &reason,
            transaction_age,
        ));
    }
    let cause = Cause::at_step(attempted_step, error.clone());
    match error {
        KafkaError::Transaction(native) => {
            if native.is_fatal() {
                ErrorAction::Fail(classify_fatal_error(
                    attempted_step,
                    native.code(),
                    &native.string(),
                    transaction_age,
                ))
            } else if native.txn_requires_abort() && is_timeout(native.code()) {
                ErrorAction::Fail(Fault::Unanswered(cause))
            } else if native.txn_requires_abort() {
                ErrorAction::Fail(Fault::Abort(abort_reason("transaction", error), cause))
            } else if native.is_retriable() || is_transient(native.code()) {
                ErrorAction::Retry(cause)
            } else if is_operator_error(native.code()) {
                ErrorAction::Fail(Fault::Stop(cause))
            } else {
                ErrorAction::Fail(Fault::TransportLost(cause))
            }
        }
        KafkaError::Flush(code) if is_transient(*code) => ErrorAction::Retry(cause),
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => ErrorAction::Retry(cause),
        KafkaError::MessageProduction(
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize,
        ) => ErrorAction::Fail(Fault::stop(format!(
            "{cause}; raise `message.max.bytes` or lower the size limit of outputs"
        ))),
        KafkaError::MessageProduction(code) if is_timeout(*code) => {
            ErrorAction::Fail(Fault::Unanswered(cause))
        }
        KafkaError::MessageProduction(_) => {
            ErrorAction::Fail(Fault::Abort(abort_reason("delivery", error), cause))
        }
        _ => ErrorAction::Fail(Fault::TransportLost(cause)),
    }
}

/// `step` is the kind of call, without a topic.
fn abort_reason(step: &'static str, error: &KafkaError) -> AbortReason {
    AbortReason::CallFailed { step, code: error.rdkafka_error_code().map(|code| code as i32) }
}

/// A fencing and a timed-out transaction give the same error; how long the own transaction
/// was open tells them apart.
fn classify_fatal_error(
    attempted_step: &str,
    code: RDKafkaErrorCode,
    reason: &str,
    transaction_age: TransactionAge,
) -> Fault {
    let text = format!("{attempted_step}: {reason}");
    if code == RDKafkaErrorCode::FencedInstanceId {
        Fault::fenced(text)
    } else if is_fenced(code) && !transaction_age.may_have_timed_out() {
        Fault::fenced(format!("{text}; another process runs under this instance name"))
    } else if is_operator_error(code) {
        Fault::stop(text)
    } else {
        Fault::transport_lost(text)
    }
}

/// Classifies an error of the consumer that belongs to no partition. Returns `None` for one
/// that librdkafka recovers from.
///
/// A fenced instance means that another one took over, with one exception: after its own
/// session timed out, librdkafka forgets its member id, and a coordinator that comes back
/// with the old one fences it. If there is another instance after all, the rebuilt consumer
/// fences it.
pub(super) fn classify_consumer_error(
    error: &KafkaError,
    fatal: Option<(RDKafkaErrorCode, String)>,
    has_session_lapsed: bool,
) -> Option<Fault> {
    if let Some((code, reason)) = fatal {
        return Some(if code == RDKafkaErrorCode::FencedInstanceId && !has_session_lapsed {
            Fault::fenced(format!(
                "consumer: {reason}; another process runs under this instance name"
            ))
        } else {
            Fault::transport_lost(format!("consumer: {reason}"))
        });
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::FencedInstanceId) if !has_session_lapsed => {
            Some(Fault::fenced(Cause::at_step("consumer", error.clone())))
        }
        Some(code) if is_operator_error(code) => {
            Some(Fault::stop(Cause::at_step("consumer", error.clone())))
        }
        _ => None,
    }
}

pub(super) fn classify_partition_error(
    topic: &str,
    partition: i32,
    error: &KafkaError,
) -> Option<Fault> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            Some(Fault::stop(format!(
                "topic `{topic}` partition {partition}: the next record is no longer there \
                 (offset out of range): records were deleted before they were read; set the \
                 group's offset by hand, then start again"
            )))
        }
        Some(code) if is_operator_error(code) => {
            let step = format!("topic `{topic}` partition {partition}");
            Some(Fault::stop(Cause::at_step(step, error.clone())))
        }
        _ => None,
    }
}

pub(super) fn is_fenced(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::TransactionCoordinatorFenced
    )
}

fn is_transient(code: RDKafkaErrorCode) -> bool {
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

/// Only an operator can resolve these.
fn is_operator_error(code: RDKafkaErrorCode) -> bool {
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
    fn check_fatal_error(code: RDKafkaErrorCode, open_secs: Option<u64>, want: &str) {
        let opened =
            TransactionAge { open_for: open_secs.map(Duration::from_secs), timeout: TIMEOUT };
        let error = KafkaError::Flush(RDKafkaErrorCode::Fatal);
        let step = classify_producer_error("commit", &error, Some((code, "reason".into())), opened);
        let found = match step {
            ErrorAction::Fail(Fault::Fenced(_)) => "twin",
            ErrorAction::Fail(Fault::TransportLost(_)) => "rebuild",
            ErrorAction::Fail(Fault::Stop(_)) => "stop",
            ErrorAction::Fail(Fault::Abort(..)) => "abort",
            ErrorAction::Fail(Fault::Unanswered(_)) => "unanswered",
            ErrorAction::Fail(Fault::Interrupted) => "interrupted",
            ErrorAction::Fail(Fault::Io(_)) => "io",
            ErrorAction::Retry(_) => "retry",
        };
        assert_eq!(found, want, "{code:?} after {open_secs:?}");
    }

    #[test]
    fn producer_fatal_error_is_fenced_only_within_its_transaction_timeout() {
        check_fatal_error(RDKafkaErrorCode::Fenced, None, "twin");
        check_fatal_error(RDKafkaErrorCode::ProducerFenced, Some(3), "twin");
        check_fatal_error(RDKafkaErrorCode::ProducerFenced, Some(10), "rebuild");
        check_fatal_error(RDKafkaErrorCode::InvalidProducerEpoch, Some(60), "rebuild");
        check_fatal_error(RDKafkaErrorCode::FencedInstanceId, Some(60), "twin");
        check_fatal_error(RDKafkaErrorCode::OutOfOrderSequenceNumber, Some(1), "rebuild");
        check_fatal_error(RDKafkaErrorCode::TransactionalIdAuthorizationFailed, None, "stop");
    }

    #[test]
    fn producer_outage_is_unanswered_and_no_fault_of_the_batch() {
        let opened = TransactionAge { open_for: Some(Duration::ZERO), timeout: TIMEOUT };
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::AllBrokersDown,
        ] {
            let error = KafkaError::MessageProduction(code);
            let step = classify_producer_error("deliver", &error, None, opened);
            assert!(matches!(step, ErrorAction::Fail(Fault::Unanswered(_))), "{step:?}");
        }
    }

    #[test]
    fn consumer_error_maps_to_its_fault() {
        let down = KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown);
        assert_eq!(classify_consumer_error(&down, None, false), None);
        let fenced = Some((RDKafkaErrorCode::FencedInstanceId, "x".into()));
        assert!(matches!(
            classify_consumer_error(&down, fenced.clone(), false),
            Some(Fault::Fenced(_))
        ));
        assert!(matches!(
            classify_consumer_error(&down, fenced, true),
            Some(Fault::TransportLost(_))
        ));
        let other = Some((RDKafkaErrorCode::UnknownMemberId, "x".into()));
        assert!(matches!(
            classify_consumer_error(&down, other, false),
            Some(Fault::TransportLost(_))
        ));
        let refused = KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed);
        assert!(matches!(classify_consumer_error(&refused, None, false), Some(Fault::Stop(_))));
    }

    #[test]
    fn partition_offset_out_of_range_stops_the_lane() {
        let reset = KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset);
        let Some(Fault::Stop(text)) = classify_partition_error("loan", 3, &reset) else {
            panic!("expected a stop");
        };
        assert!(text.to_string().contains("`loan` partition 3"), "{text}");
        let passing = KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure);
        assert_eq!(classify_partition_error("loan", 3, &passing), None);
    }
}
