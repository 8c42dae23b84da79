//! The properties of librdkafka that are set for speed, each with its effect.
//!
//! Defaults only: an operator overrides each of them. What correctness rests
//! on stands in `settings`.

/// One property.
#[derive(Clone, Copy, Debug)]
pub struct Tuned {
    pub name: &'static str,
    pub value: &'static str,
    /// What it does here, in one line.
    pub effect: &'static str,
}

const fn tuned(name: &'static str, value: &'static str, effect: &'static str) -> Tuned {
    Tuned {
        name,
        value,
        effect,
    }
}

/// Of the group's member, which hands out a worker's records.
pub const MEMBER: &[Tuned] = &[
    tuned(
        "heartbeat.interval.ms",
        "1000",
        "a rebalance is heard of within a second",
    ),
    tuned(
        "queued.max.messages.kbytes",
        "4096",
        "what each partition holds ready: bounds memory, and lasts for longer than a fetch takes",
    ),
    tuned(
        "fetch.queue.backoff.ms",
        "10",
        "a queue that was full is filled again before it is empty",
    ),
    tuned(
        "fetch.wait.max.ms",
        "50",
        "a fetch of idle partitions only does not hold up a busy one",
    ),
];

/// Of the transactional producer.
pub const PRODUCER: &[Tuned] = &[
    tuned(
        "compression.type",
        "lz4",
        "a third of the bytes at a tenth of zstd's processor time",
    ),
    tuned(
        "linger.ms",
        "5",
        "outputs of the same partition travel together",
    ),
    tuned(
        "queue.buffering.max.messages",
        "1000000",
        "the next one bounds them: some hundreds of thousands of outputs",
    ),
    tuned(
        "queue.buffering.max.kbytes",
        "32768",
        "what a commit may have to wait for where the broker is slow; bounds memory",
    ),
];

/// Of the reader that fills the table.
pub const READER: &[Tuned] = &[
    tuned(
        "fetch.wait.max.ms",
        "10",
        "one partition is read after the other: the first fetch of the next waits for the last one",
    ),
    tuned(
        "fetch.queue.backoff.ms",
        "2",
        "with librdkafka's 1 s a rebuild stands still whenever its queue was full: 1.5 times the speed",
    ),
    tuned(
        "fetch.message.max.bytes",
        "4194304",
        "large fetches are asked for less often",
    ),
    tuned(
        "queued.max.messages.kbytes",
        "16384",
        "what lies ready while a fetch is on its way",
    ),
];

/// Of the producer without transactions that `zeef generate` uses.
pub const PUBLISHER: &[Tuned] = &[
    tuned("compression.type", "lz4", "as for outputs"),
    tuned("linger.ms", "5", "as for outputs"),
];
