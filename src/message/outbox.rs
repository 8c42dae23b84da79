//! What a batch publishes.

use super::plan::OutputId;
use crate::json::buffer::OutputBuffer;
use crate::policy::retraction::RetractionReason;

/// The messages to publish, in the order in which they were decided.
///
/// Keys and values share one buffer that is reused from batch to batch.
#[derive(Debug, Default)]
pub struct Outbox {
    buffer: OutputBuffer,
    /// The end of the last message.
    buffer_end: usize,
    entries: Vec<OutboxEntry>,
}

#[derive(Clone, Copy, Debug)]
struct OutboxEntry {
    output: OutputId,
    partition: Option<i32>,
    start: usize,
    key_end: usize,
    end: usize,
    has_key: bool,
    has_value: bool,
    retraction: Option<RetractionReason>,
}

/// One message of an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    pub output: OutputId,
    /// `None` leaves it to the key.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Why a recipient's output is taken back.
    pub retraction: Option<RetractionReason>,
}

impl Outbox {
    /// Adds one message; `write` appends its value to a buffer.
    pub fn push(
        &mut self,
        output: OutputId,
        partition: Option<i32>,
        key: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let added: Result<usize, std::convert::Infallible> =
            self.try_push_with(output, partition, |page, at| {
                let key_end = page.write_bytes(at, key.unwrap_or_default());
                let end = page.append_with(key_end, write);
                Ok((key.map(|_| key_end), end))
            });
        match added {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Adds one message; if `write` fails, the outbox stays as it was. `write` gets the
    /// offset of the message in the buffer, and returns the end of its key, if any, and of
    /// its value. Returns the length of both together.
    ///
    /// # Errors
    ///
    /// What `write` failed with.
    #[inline]
    pub fn try_push_with<E>(
        &mut self,
        output: OutputId,
        partition: Option<i32>,
        write: impl FnOnce(&mut OutputBuffer, usize) -> Result<(Option<usize>, usize), E>,
    ) -> Result<usize, E> {
        let start = self.buffer_end;
        let (key_end, end) = write(&mut self.buffer, start)?;
        self.buffer_end = end;
        self.entries.push(OutboxEntry {
            output,
            partition,
            start,
            key_end: key_end.unwrap_or(start),
            end,
            has_key: key_end.is_some(),
            has_value: true,
            retraction: None,
        });
        Ok(end - start)
    }

    /// Adds a tombstone that takes an output back from its recipient.
    pub fn push_retraction(&mut self, output: OutputId, key: &[u8], reason: RetractionReason) {
        self.push_tombstone(output, None, key);
        if let Some(entry) = self.entries.last_mut() {
            entry.retraction = Some(reason);
        }
    }

    pub fn push_tombstone(&mut self, output: OutputId, partition: Option<i32>, key: &[u8]) {
        let start = self.buffer_end;
        let end = self.buffer.write_bytes(start, key);
        self.buffer_end = end;
        self.entries.push(OutboxEntry {
            output,
            partition,
            start,
            key_end: end,
            end,
            has_key: true,
            has_value: false,
            retraction: None,
        });
    }

    /// Returns the last message.
    #[must_use]
    pub fn last(&self) -> Option<Output<'_>> {
        self.entries.last().map(|entry| self.to_output(entry))
    }

    /// Returns the value of the last message with this output and key; `None` if there is none,
    /// or it is a tombstone.
    #[must_use]
    pub fn find_last_value(&self, output: OutputId, key: &[u8]) -> Option<&[u8]> {
        let of_output = self.entries.iter().rev().filter(|entry| entry.output == output);
        let mut found = of_output.map(|entry| self.to_output(entry));
        found.find(|message| message.key == Some(key))?.value
    }

    /// Removes the last message.
    pub fn pop_last(&mut self) {
        if let Some(entry) = self.entries.pop() {
            self.buffer_end = entry.start;
        }
    }

    fn to_output(&self, entry: &OutboxEntry) -> Output<'_> {
        let key = entry.has_key.then_some((entry.start, entry.key_end));
        let value = entry.has_value.then_some((entry.key_end, entry.end));
        Output {
            output: entry.output,
            partition: entry.partition,
            key: key.map(|(start, end)| self.buffer.written_between(start, end)),
            value: value.map(|(start, end)| self.buffer.written_between(start, end)),
            retraction: entry.retraction,
        }
    }

    /// Iterates over the messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Output<'_>> {
        self.entries.iter().map(|entry| self.to_output(entry))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the length of all keys and values in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.buffer_end
    }

    /// Sorts the messages of each output by key, stably.
    pub fn sort_by_key(&mut self) {
        let Outbox { buffer: page, entries, .. } = self;
        let key = |entry: &OutboxEntry| page.written_between(entry.start, entry.key_end);
        entries.sort_by(|one, other| {
            let outputs = one.output.cmp(&other.output);
            outputs.then_with(|| key(one).cmp(key(other)))
        });
    }

    pub fn clear(&mut self) {
        self.buffer_end = 0;
        self.entries.clear();
    }
}
