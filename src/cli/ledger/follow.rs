//! Follows a ledger: reads of it what was added since the last time.

use super::read::{LedgerReader, TakeBlock, require_whole};
use crate::cli::command_target::DataLocation;
use crate::ledger::chain::{ChainProblem, ChainVerifier};
use crate::ledger::line_index::LineIndex;
use crate::ledger::register::Register;
use crate::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use crate::transport::directory::{LedgerPart, LedgerPosition, read_ledger_from};
use crate::transport::kafka::followed_topic::FollowedTopic;

/// A ledger with all its lines, and up to where it was read.
pub(super) struct LedgerFollower<'a> {
    reader: &'a LedgerReader<'a>,
    blocks: FollowedPart,
    register: RegisterFollower,
    chains: ChainVerifier,
    index: LineIndex,
}

impl<'a> LedgerFollower<'a> {
    /// Follows a ledger from its beginning.
    ///
    /// # Errors
    ///
    /// The marks cannot be read.
    pub(super) fn new(reader: &'a LedgerReader<'a>) -> anyhow::Result<LedgerFollower<'a>> {
        let chains = ChainVerifier { starts: reader.read_starts()?, ..ChainVerifier::default() };
        let location = reader.location;
        let blocks = FollowedPart::new(location, LedgerPart::Blocks, LEDGER_TOPIC);
        let part = FollowedPart::new(location, LedgerPart::Register, REGISTER_TOPIC);
        let register = RegisterFollower { part, register: Register::default() };
        Ok(LedgerFollower { reader, blocks, register, chains, index: LineIndex::default() })
    }

    /// Reads what was added, and returns the lines and what they point to.
    ///
    /// # Errors
    ///
    /// Something cannot be read, or was ever found not to be as zeef wrote it.
    pub(super) fn update(&mut self) -> anyhow::Result<(&LineIndex, &Register)> {
        let LedgerFollower { reader, blocks, register, chains, index } = self;
        let location = reader.location;
        register.update(location)?;
        let mut failed = None;
        blocks.read_new(location, &mut |place, bytes| {
            let Some(block) = chains.parse_block(place, bytes) else {
                return;
            };
            // What a block points to is written with it, and may be newer than what was read.
            let is_known = register.register.has_all_of(&block);
            if !is_known && let Err(error) = register.update(location) {
                failed.get_or_insert(error);
            }
            chains.add_parsed_block(place, (&block, bytes), &register.register);
            if let Err(text) = index.add_block(&block) {
                chains.problems.push(ChainProblem { place: place(), text: text.to_owned() });
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        require_whole(chains, "the answer")?;
        Ok((index, &register.register))
    }
}

/// The register, and up to where it was read.
struct RegisterFollower {
    part: FollowedPart,
    register: Register,
}

impl RegisterFollower {
    /// Reads what was added. An entry that is not as zeef wrote it is missing: blocks that point to
    /// it say so.
    fn update(&mut self, location: &DataLocation<'_>) -> anyhow::Result<()> {
        let register = &mut self.register;
        self.part.read_new(location, &mut |_, value| {
            let _ = register.add_message(value);
        })
    }
}

/// A part of the ledger, and up to where it was read.
enum FollowedPart {
    Kafka(FollowedTopic),
    Directory(LedgerPart, LedgerPosition),
}

impl FollowedPart {
    fn new(location: &DataLocation<'_>, part: LedgerPart, topic: &str) -> FollowedPart {
        match location {
            DataLocation::Kafka(_) => FollowedPart::Kafka(FollowedTopic::new(topic)),
            DataLocation::Directory(_) => FollowedPart::Directory(part, LedgerPosition::default()),
        }
    }

    /// Hands out what was added, in order, each with where it lies.
    fn read_new(
        &mut self,
        location: &DataLocation<'_>,
        take: &mut TakeBlock<'_>,
    ) -> anyhow::Result<()> {
        match (self, location) {
            (FollowedPart::Kafka(followed), DataLocation::Kafka(settings)) => {
                let topic = settings.topic_name(followed.name());
                followed.read_new(settings, &mut |message| {
                    let (partition, offset) = (message.partition, message.offset);
                    let place = || format!("`{topic}` partition {partition} offset {offset}");
                    message.value.into_iter().for_each(|value| take(&place, value));
                })?;
            }
            (FollowedPart::Directory(part, position), DataLocation::Directory(root)) => {
                read_ledger_from(root, *part, position, &mut |(file, number), line| {
                    take(&|| format!("{file} line {number}"), line);
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}
