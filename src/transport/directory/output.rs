//! The lines of a batch, per file.
//!
//! It writes values as they were given, and judges only that they are lines.

use crate::transport::{Fault, LanePlan, Outbox, Output, OutputId, OutputPlan};

/// What the batch adds to each output of a lane.
pub(super) struct Outputs {
    files: Vec<OutputFile>,
    /// The place in `files` for each output of the plan: two outputs of one
    /// topic are one file.
    places: Vec<usize>,
}

struct OutputFile {
    name: String,
    state: bool,
    lines: Vec<u8>,
    nulls: bool,
}

/// What the batch adds to one file.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// `OWNER/TOPIC` of an output, `TOPIC` of a state.
    pub(super) name: &'a str,
    /// It is zeef's own, and no output.
    pub(super) state: bool,
    pub(super) lines: &'a [u8],
    /// Something is taken back by one of the lines.
    pub(super) nulls: bool,
}

impl Outputs {
    pub(super) fn new(plan: &LanePlan) -> Self {
        let mut outputs = Self {
            files: Vec::new(),
            places: Vec::with_capacity(plan.outputs.len()),
        };
        for output in &plan.outputs {
            let place = outputs.place_of(name_of(output), output.is_restored());
            outputs.places.push(place);
        }
        outputs
    }

    fn place_of(&mut self, name: String, state: bool) -> usize {
        let known = self
            .files
            .iter()
            .position(|file| file.name == name && file.state == state);
        known.unwrap_or_else(|| {
            self.files.push(OutputFile {
                name,
                state,
                lines: Vec::new(),
                nulls: false,
            });
            self.files.len() - 1
        })
    }

    /// Adds a line for each message.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the plan has no such output, or a message cannot
    /// be a line.
    pub(super) fn publish(&mut self, outbox: &Outbox) -> Result<(), Fault> {
        for output in outbox.iter() {
            let number = output.output.0;
            let place = self.places.get(usize::from(number));
            let file = place.and_then(|place| self.files.get_mut(*place));
            let file = file.ok_or_else(|| Fault::Stop(format!("there is no output {number}")))?;
            write_line(&mut file.lines, &output).map_err(|problem| {
                let name = &file.name;
                Fault::Stop(format!("an output for {name} cannot be a line: {problem}"))
            })?;
            file.nulls |= output.value.is_none();
        }
        Ok(())
    }

    /// What is added to each file that the batch adds to.
    pub(super) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let written = self.files.iter().filter(|file| !file.lines.is_empty());
        written.map(|file| Written {
            name: &file.name,
            state: file.state,
            lines: &file.lines,
            nulls: file.nulls,
        })
    }

    /// The topic of an output that is read back.
    pub(super) fn state(&self, output: OutputId) -> Option<&str> {
        let place = self.places.get(usize::from(output.0))?;
        let file = self.files.get(*place).filter(|file| file.state)?;
        Some(&file.name)
    }

    pub(super) fn clear(&mut self) {
        for file in &mut self.files {
            file.lines.clear();
            file.nulls = false;
        }
    }
}

/// Returns the name of an output's file.
pub(super) fn name_of(output: &OutputPlan) -> String {
    match output.is_restored() {
        true => output.topic.clone(),
        false => format!("{}/{}", output.owner, output.topic),
    }
}

/// Appends `{"key":...,"value":...}` and a line end.
fn write_line(line: &mut Vec<u8>, output: &Output<'_>) -> Result<(), &'static str> {
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
