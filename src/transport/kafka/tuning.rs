//! The librdkafka properties that are set for speed, each with its effect.
//!
//! Defaults only: an operator may override each of them. What correctness depends on is in
//! `settings`.

#[derive(Clone, Copy, Debug)]
pub struct TunedProperty {
    pub name: &'static str,
    pub value: &'static str,
    /// Its effect, in one line.
    pub effect: &'static str,
}

const fn tuned(name: &'static str, value: &'static str, effect: &'static str) -> TunedProperty {
    TunedProperty { name, value, effect }
}

/// For the group member, which hands out a worker's records.
pub const MEMBER: &[TunedProperty] = &[
    tuned("heartbeat.interval.ms", "1000", "a rebalance is heard of within a second"),
    tuned(
        "queued.max.messages.kbytes",
        "4096",
        "what each partition buffers: bounds memory, and lasts longer than a fetch takes",
    ),
    tuned("fetch.queue.backoff.ms", "10", "a full queue is refilled before it is empty"),
    tuned("fetch.wait.max.ms", "50", "a fetch of idle partitions only does not hold up a busy one"),
];

/// For the transactional producer.
pub const PRODUCER: &[TunedProperty] = &[
    tuned("compression.type", "lz4", "a third of the bytes at a tenth of zstd's processor time"),
    tuned("linger.ms", "5", "outputs of the same partition travel together"),
    tuned(
        "queue.buffering.max.messages",
        "1000000",
        "the next one bounds them: some hundreds of thousands of outputs",
    ),
    tuned(
        "queue.buffering.max.kbytes",
        "32768",
        "bounds memory, and what a commit may have to wait for with a slow broker",
    ),
];

/// For the reader that fills the table.
pub const READER: &[TunedProperty] = &[
    tuned(
        "fetch.wait.max.ms",
        "10",
        "partitions are read one after the other: the first fetch of the next waits for the last one",
    ),
    tuned(
        "fetch.queue.backoff.ms",
        "2",
        "with librdkafka's 1 s a rebuild stalls whenever its queue was full: 1.5 times the speed",
    ),
    tuned("fetch.message.max.bytes", "4194304", "large fetches are asked for less often"),
    tuned("queued.max.messages.kbytes", "16384", "what lies ready while a fetch is on its way"),
];

/// For the producer without transactions of `zeef generate`.
pub const PUBLISHER: &[TunedProperty] = &[
    tuned("compression.type", "lz4", "as for outputs"),
    tuned("linger.ms", "5", "as for outputs"),
];
