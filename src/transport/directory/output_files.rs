//! The lines of a batch, per file.

use super::ledger_files::{blocks_file_name, register_file_name};
use crate::message::{Fault, LanePlan, Outbox, Output, OutputId, OutputPlan, OutputRole};

/// What the batch adds to each output of a lane.
pub(super) struct OutputFiles {
    files: Vec<OutputFile>,
    /// The file of each output of the plan: outputs of one topic share one.
    targets: Vec<OutputTarget>,
}

/// Where the messages of an output go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputTarget {
    /// An index of `files`.
    File(usize),
    /// The same, as values alone.
    Values(usize),
    /// The ledger's file of the year, as values alone.
    ValuesOfYear,
}

struct OutputFile {
    name: String,
    is_state: bool,
    lines: Vec<u8>,
    has_tombstones: bool,
}

/// What the batch adds to one file.
#[derive(Clone, Copy)]
pub(super) struct OutputLines<'a> {
    /// `OWNER/TOPIC` of an output, `TOPIC` of a state.
    pub(super) name: &'a str,
    /// Whether it is zeef's own state.
    pub(super) is_state: bool,
    pub(super) lines: &'a [u8],
    /// Whether some line retracts something.
    pub(super) has_tombstones: bool,
}

impl OutputFiles {
    pub(super) fn new(plan: &LanePlan) -> Self {
        let mut outputs =
            Self { files: Vec::new(), targets: Vec::with_capacity(plan.outputs.len()) };
        for output in &plan.outputs {
            let target = match output.role {
                OutputRole::Ledger => OutputTarget::ValuesOfYear,
                OutputRole::Register => {
                    OutputTarget::Values(outputs.file_index(register_file_name(), true))
                }
                _ => {
                    let name = file_name(output);
                    OutputTarget::File(outputs.file_index(name, output.is_restorable()))
                }
            };
            outputs.targets.push(target);
        }
        outputs
    }

    fn file_index(&mut self, name: String, is_state: bool) -> usize {
        let known =
            self.files.iter().position(|file| file.name == name && file.is_state == is_state);
        known.unwrap_or_else(|| {
            self.files.push(OutputFile {
                name,
                is_state,
                lines: Vec::new(),
                has_tombstones: false,
            });
            self.files.len() - 1
        })
    }

    /// Adds a line for each message of a batch of this time.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the plan has no such output, or a message cannot be a line.
    pub(super) fn append_outbox(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        for output in outbox.iter() {
            let number = output.output.0;
            let unknown = || Fault::stop(format!("there is no output {number}"));
            let target = *self.targets.get(usize::from(number)).ok_or_else(unknown)?;
            let place = match target {
                OutputTarget::File(place) | OutputTarget::Values(place) => place,
                OutputTarget::ValuesOfYear => self.file_index(blocks_file_name(now_ms), true),
            };
            let file = self.files.get_mut(place).ok_or_else(unknown)?;
            let write = match target {
                OutputTarget::File(_) => write_line,
                OutputTarget::Values(_) | OutputTarget::ValuesOfYear => write_value_line,
            };
            write(&mut file.lines, &output).map_err(|problem| {
                let name = &file.name;
                Fault::stop(format!("an output for {name} cannot be a line: {problem}"))
            })?;
            file.has_tombstones |= output.value.is_none();
        }
        Ok(())
    }

    /// Returns what the batch adds to each file that it changes.
    pub(super) fn changed_files(&self) -> impl Iterator<Item = OutputLines<'_>> {
        let written = self.files.iter().filter(|file| !file.lines.is_empty());
        written.map(|file| OutputLines {
            name: &file.name,
            is_state: file.is_state,
            lines: &file.lines,
            has_tombstones: file.has_tombstones,
        })
    }

    /// Returns the topic of an output that is read back.
    pub(super) fn state_topic(&self, output: OutputId) -> Option<&str> {
        let OutputTarget::File(place) = self.targets.get(usize::from(output.0))? else {
            return None;
        };
        let file = self.files.get(*place).filter(|file| file.is_state)?;
        Some(&file.name)
    }

    pub(super) fn clear(&mut self) {
        for file in &mut self.files {
            file.lines.clear();
            file.has_tombstones = false;
        }
    }
}

/// Returns the name of an output's file.
pub(super) fn file_name(output: &OutputPlan) -> String {
    match output.is_restorable() {
        true => output.topic.clone(),
        false => format!("{}/{}", output.owner, output.topic),
    }
}

/// Appends a value and a line end.
fn write_value_line(line: &mut Vec<u8>, output: &Output<'_>) -> Result<(), &'static str> {
    let value = output.value.ok_or("it has no value")?;
    if memchr::memchr(b'\n', value).is_some() {
        return Err("its value holds a line end");
    }
    line.extend_from_slice(value);
    line.push(b'\n');
    Ok(())
}

/// Appends `{"key":...,"value":...}` and a line end.
pub(super) fn write_line(line: &mut Vec<u8>, output: &Output<'_>) -> Result<(), &'static str> {
    let key = output.key.map(std::str::from_utf8).transpose();
    let key = key.map_err(|_| "its key is not UTF-8")?;
    let value = output.value.unwrap_or(b"null");
    if memchr::memchr(b'\n', value).is_some() {
        return Err("its value holds a line end");
    }
    line.extend_from_slice(b"{\"key\":");
    serde_json::to_writer(&mut *line, &key).map_err(|_| "its key is no text")?;
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(value);
    line.extend_from_slice(b"}\n");
    Ok(())
}
