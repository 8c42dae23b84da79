//! F45: an erasure reaches every recipient and ends an epoch.

use std::sync::Arc;

use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{AppendTime, Input, Outbox, Payload, SourceId};
use zeef::policy::catalogue::Role;
use zeef::policy::reason::Reason;
use zeef_test_kit::engine::source_id;
use zeef_test_kit::golden::NOW_MS;
use zeef_test_kit::worker::{WorkerSetup, state_keys};

use crate::demands::granted;
use crate::driver::{Message, SHIPPED, check, p1_record};
use crate::patron::*;

#[test]
fn f45_erasure_takes_back_everything_and_ends_grants() {
    let patron = p1_record("patron", ACTIVE_MEMBER);
    let grant = format!(r#""purpose":"online-library",{GRANT}"#);
    let grant = p1_record("consent", &grant);
    let loan = p1_record("loan", r#""status":"open","due_on":"2026-02-01""#);
    let key = Some(&b"p1"[..]);
    let messages: [Message<'_>; 6] = [
        ("consent", key, Some(grant.as_bytes())),
        ("patron", key, Some(patron.as_bytes())),
        ("loan", key, Some(loan.as_bytes())),
        ("patron", key, None),
        ("patron", key, Some(patron.as_bytes())),
        ("loan", key, Some(loan.as_bytes())),
    ];
    for (count, recipient, want) in [
        (2, "kb-membership", "released"),
        (3, "service-message", "released"),
        (4, "kb-membership", "patron_erased"),
        // Whoever has the id next consented to nothing.
        (5, "kb-membership", "no_consent"),
        (6, "service-message", "released"),
    ] {
        check(&SHIPPED, &messages[..count], &[(recipient, want)]);
    }
}

/// Unlike anything else that a worker has in memory.
const ERASED_ID: &str = "erased-patron-7714";

struct SentMessage {
    source: SourceId,
    offset: i64,
    appended_ms: i64,
    value: Option<Vec<u8>>,
}

/// One worker's pipeline, and the messages that it has read: all are of one partition.
struct ReadMessages {
    pipeline: Pipeline,
    outbox: Outbox,
    messages: Vec<SentMessage>,
    appended_ms: i64,
}

impl ReadMessages {
    fn new() -> ReadMessages {
        let holds = WorkerSetup::DEFAULT.holds;
        let mut pipeline = Pipeline::with_state(Arc::clone(SHIPPED.lane()), state_keys(), holds);
        pipeline.begin_batch(BatchTime::from_ms(NOW_MS));
        let (outbox, messages, appended_ms) = (Outbox::default(), Vec::new(), 0);
        ReadMessages { pipeline, outbox, messages, appended_ms }
    }

    fn input(message: &SentMessage) -> Input<'_> {
        Input {
            source: message.source,
            partition: 0,
            offset: message.offset,
            timestamp_ms: Some(message.appended_ms),
            append_time: Some(AppendTime { ms: message.appended_ms, is_exact: true }),
            trace_parent: None,
            key: Some(ERASED_ID.as_bytes()),
            payload: message.value.as_deref().map_or(Payload::Null, Payload::Bytes),
        }
    }

    /// Decides a message of the patron; `None` is a null.
    fn decide(&mut self, kind: &str, members: Option<&str>) {
        let source = source_id(SHIPPED.lane(), kind).unwrap();
        let value = members.map(|members| p1_record(kind, members).replace("p1", ERASED_ID));
        let offset = i64::try_from(self.messages.len()).unwrap();
        let (appended_ms, value) = (self.appended_ms, value.map(String::into_bytes));
        let message = SentMessage { source, offset, appended_ms, value };
        self.pipeline.decide(&Self::input(&message), &mut self.outbox);
        self.messages.push(message);
        while self.pipeline.pending_rechecks() > 0 {
            for wanted in self.pipeline.next_rechecks(&mut self.outbox) {
                let at =
                    |one: &&SentMessage| (one.source, one.offset) == (wanted.source, wanted.offset);
                let found = self.messages.iter().find(at).map(Self::input);
                self.pipeline.decide_recheck(wanted, found, &mut self.outbox);
            }
        }
    }

    fn commit(&mut self) {
        self.outbox.clear();
        self.pipeline.commit();
    }

    /// Aborts the batch of the last message.
    fn abort(&mut self) {
        self.outbox.clear();
        self.pipeline.rollback();
        self.messages.pop();
    }

    /// How often the patron's id is in the memory of the pipeline, as text or as bytes.
    fn count_id(&self) -> usize {
        let memory = format!("{:?}", self.pipeline);
        let bytes: Vec<String> = ERASED_ID.bytes().map(|byte| byte.to_string()).collect();
        memory.matches(ERASED_ID).count() + memory.matches(&bytes.join(", ")).count()
    }

    /// The same after a start that reads all gate sources.
    fn count_id_after_restart(&self) -> usize {
        let mut started = ReadMessages::new();
        for message in &self.messages {
            let source = SHIPPED.lane().source(message.source).unwrap();
            if source.kind.role != Role::Record {
                started.pipeline.restore_gate_record(&Self::input(message));
            }
        }
        started.pipeline.take_unreadable_records();
        started.pipeline.reconcile(0);
        started.count_id()
    }

    /// Why the last message was withheld from a recipient.
    fn is_withheld(&self, recipient: &str, reason: Reason) -> bool {
        let mut recipients = SHIPPED.lane().recipients.iter();
        let place = recipients.position(|one| one.name == recipient).unwrap();
        self.pipeline.tally().recipients[place].withheld[reason as usize] > 0
    }
}

#[test]
fn f45_id_of_an_erased_patron_is_nowhere_in_memory() {
    let mut read = ReadMessages::new();
    let online = r#""purpose":"online-library","consent_id":"#;
    let demand = granted();
    let settlement = r#""debt_id":"r1","settled_at":"2025-07-01T00:00:00Z""#;
    let grant = format!(r#"{online}"a",{GRANT}"#);
    let refusal = format!(r#"{online}"b",{LATER_REFUSAL}"#);
    let unreadable = format!(r#"{online}"c",{UNREADABLE_CONSENT}"#);
    let objection = r#""kind":"special_circumstances","purpose":"statistics","status":"lodged""#;
    for (kind, members) in [
        ("consent", &*grant),
        ("consent", &refusal),
        ("consent", &unreadable),
        ("objection", objection),
        ("settlement", settlement),
        ("patron", MEMBER_WITH_ACCOUNT),
        ("loan", OPEN_LOAN),
        ("debt", r#""stage":"reminder","status":"open","amount_cents":5"#),
        ("demand", &demand),
    ] {
        read.decide(kind, Some(members));
    }
    read.commit();
    let before = read.count_id();
    assert!(before > 2 && read.count_id_after_restart() > 0, "{before}");

    read.appended_ms = 2_000;
    read.decide("patron", None);
    read.abort();
    assert!(read.count_id() >= before, "what was aborted took an id from memory");
    read.decide("patron", None);
    read.commit();
    assert_eq!((read.count_id(), read.count_id_after_restart()), (0, 0));

    read.appended_ms = 1_000;
    // What arrives late is of nobody, and is kept of nobody.
    for (kind, members) in [
        ("patron", None),
        ("loan", Some(OPEN_LOAN)),
        ("demand", Some(&*demand)),
        ("consent", Some(&*refusal)),
        ("consent", Some(&*unreadable)),
    ] {
        read.decide(kind, members);
        read.commit();
        assert_eq!((read.count_id(), read.count_id_after_restart()), (0, 0), "{kind}");
    }

    read.appended_ms = 3_000;
    // The id is given to somebody: what its former holder refused stays refused.
    read.decide("patron", Some(MEMBER_WITH_ACCOUNT));
    assert!(read.is_withheld("kb-membership", Reason::ConsentUnreadable));
    read.abort();
    assert_eq!(read.count_id(), 0, "an aborted batch left the id");
    read.decide("patron", Some(MEMBER_WITH_ACCOUNT));
    read.decide("loan", Some(OPEN_LOAN));
    assert!(read.is_withheld("statistics", Reason::Objection));
    read.commit();
    assert!(read.count_id() > 0);
    read.decide("patron", None);
    read.commit();
    assert_eq!((read.count_id(), read.count_id_after_restart()), (0, 0));
}
