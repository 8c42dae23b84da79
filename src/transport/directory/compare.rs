//! Whether a directory is as zeef left it, and what an operator can do where it
//! is not.
//!
//! Compared once after a start, before anything is decided, over all lanes.
//! Every difference is a finding; each is accepted alone, by a code of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::committed::{Committed, StateFile};
use super::layout::length_of;
use super::reader::Reader;
use super::source;
use super::stop;
use super::store::Store;
use crate::transport::Fault;
use crate::transport::continuity::{Trail, code_of};
use crate::transport::file::Failure;

/// Something that is not as zeef left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found where, what is lost by it, and what would follow.
    pub text: String,
    /// Accepts this finding and no other; `None` where it cannot be accepted.
    pub code: Option<String>,
}

/// A finding before it has its code.
struct Difference {
    /// The file or key that it is about.
    subject: String,
    detail: String,
    follows: &'static str,
    /// What the mark becomes where it is accepted.
    accepted: Option<Accepted>,
}

enum Accepted {
    /// The output is as long as this.
    Output(String, u64),
    State(String, StateFile),
    /// All of them, and every lane reads its sources from their beginning.
    Everything,
    /// A lane reads a source from its beginning.
    Source(String, String),
    Key(String),
}

const INPUT: &str = "An input may only grow: what it had was decided, and what it does not have any \
    more (an objection, an erasure) would count for nothing. Put the file back as it was and append \
    to it. Accepted, it is read from its beginning, as if all of it came now; what stood in it before \
    is gone";
const SHORTER_OUTPUT: &str = "An output is read in place, and grows between compactions: its recipient \
    may miss what it lost. Put the file back. Accepted, zeef goes on behind what is there, and sends \
    nothing of it again";
const LONGER_OUTPUT: &str = "Either .zeef is an older copy, or somebody else wrote to the output: what \
    is behind that length can never be taken back. Put back the newer .zeef. Accepted, the lines stay \
    as they are, and zeef may send some of them again";
const OTHER_STATE: &str = "The state says what recipients have: what it does not say can never be taken \
    back. Restore in, out and .zeef together. Accepted, the rows that are there count, and no others";
const NO_STATE: &str = "The state says what recipients have: without it nothing of that can ever be \
    taken back. Restore in, out and .zeef together; `zeef forget LANE` begins anew on purpose";
const NO_MARK: &str = "Nobody knows what was read, nor whether anything is missing. Restore in, out \
    and .zeef together. Accepted, all input is read again from its beginning, and the rows of the \
    states count as they are: what they do not say can never be taken back";
const NOTHING_LEFT: &str = "Nobody knows what was read and what recipients have. Restore in, out and \
    .zeef together; `zeef forget LANE` begins anew on purpose, and what recipients have can then \
    never be taken back";
const OTHER_KEY: &str = "A recipient would have two pseudonyms for one patron, and no way to see it. Put \
    back the key that is missing. Accepted, outputs get their new keys as their records change";

impl Store {
    /// Compares all with the mark; what was accepted goes into it.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every finding that is not accepted.
    pub(super) fn compare(&mut self, root: &str) -> Result<(), Fault> {
        self.recover()?;
        if self.compared {
            return Ok(());
        }
        let mut committed = self.next();
        let (mut left, mut accepted) = (Vec::new(), 0);
        for difference in self.differences().map_err(stop)? {
            let finding = self.finding(&difference);
            if !self.is_accepted(&finding) {
                left.push(advice(&finding, root));
            } else if let Some(change) = difference.accepted {
                tracing::warn!(finding = %finding.text, "accepted");
                self.accept(change, &mut committed);
                accepted += 1;
            }
        }
        if !left.is_empty() {
            return Err(Fault::Stop(left.join("\n")));
        }
        if accepted > 0 {
            self.carry_out(&super::journal::Journal {
                committed,
                ..Default::default()
            })?;
        }
        self.compared = true;
        Ok(())
    }

    /// Returns what is not as zeef left it, accepted or not.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a file cannot be read.
    pub(super) fn findings(&mut self) -> Result<Vec<Finding>, Fault> {
        self.recover()?;
        let differences = self.differences().map_err(stop)?;
        Ok(differences.iter().map(|one| self.finding(one)).collect())
    }

    fn finding(&self, difference: &Difference) -> Finding {
        let Difference {
            subject,
            detail,
            follows,
            accepted,
        } = difference;
        let number = self.committed.commit;
        let text = format!("directory\0{number}\0{subject}\0{detail}");
        let code = code_of(self.settings.prints.text(text.as_bytes()));
        Finding {
            text: format!("{subject}: {detail}. {follows}"),
            code: accepted.is_some().then_some(code),
        }
    }

    fn is_accepted(&self, finding: &Finding) -> bool {
        let code = finding.code.as_ref();
        code.is_some_and(|code| self.layout.accepted().join(code).is_file())
    }

    fn accept(&self, change: Accepted, committed: &mut Committed) {
        match change {
            Accepted::Output(name, 0) => drop(committed.outputs.remove(&name)),
            Accepted::Output(name, length) => drop(committed.outputs.insert(name, length)),
            Accepted::State(topic, file) => drop(committed.state.insert(topic, file)),
            Accepted::Everything => {
                committed.outputs.extend(self.lengths_now(false));
                for (topic, length) in self.lengths_now(true) {
                    if let Ok(file) = self.state_file(&topic, length) {
                        committed.state.insert(topic, file);
                    }
                }
            }
            Accepted::Source(lane, topic) => {
                let trails = committed.lanes.get_mut(&lane);
                if let Some(trail) = trails.and_then(|trails| trails.get_mut(&topic)) {
                    *trail = Trail {
                        next: trail.next,
                        start: trail.next,
                        anchors: Vec::new(),
                        log: trail.log.map(|_| 0),
                    };
                }
            }
            Accepted::Key(name) => {
                if let Some(print) = self.settings.keys.get(&name) {
                    committed.keys.insert(name, print.clone());
                }
            }
        }
    }

    fn differences(&self) -> Result<Vec<Difference>, Failure> {
        if self.new {
            return self.without_mark();
        }
        let mut found = self.outputs()?;
        found.extend(self.states()?);
        found.extend(self.sources()?);
        found.extend(self.keys());
        Ok(found)
    }

    /// Files of zeef without a mark that says what they are.
    fn without_mark(&self) -> Result<Vec<Difference>, Failure> {
        let mut files = self.layout.files(true)?;
        files.extend(self.layout.files(false)?);
        files.extend(self.layout.older_files()?);
        let files: Vec<_> = files
            .into_iter()
            .filter(|(_, length)| *length > 0)
            .collect();
        let Some((first, _)) = files.first() else {
            return Ok(Vec::new());
        };
        let path = self.layout.committed();
        let count = files.len();
        let sum: u64 = files.iter().map(|(_, length)| length).sum();
        let states = self.layout.files(true)?.into_iter();
        let states: Vec<_> = states
            .map(|(topic, length)| self.state_file(&topic, length).ok())
            .collect();
        let rows = states.iter().flatten().map(|file| file.rows).sum::<u64>();
        let usable = rows > 0 && states.iter().all(Option::is_some);
        Ok(vec![Difference {
            subject: self.layout.shown(&path),
            detail: format!(
                "it is missing, and files were written before: {count}, the first {first} ({sum} \
                 bytes, {rows} rows)"
            ),
            follows: if usable { NO_MARK } else { NOTHING_LEFT },
            accepted: usable.then_some(Accepted::Everything),
        }])
    }

    /// Lists what was written, with its length, where it is not empty.
    fn lengths_now(&self, state: bool) -> impl Iterator<Item = (String, u64)> + use<> {
        let files = self.layout.files(state).unwrap_or_default();
        files.into_iter().filter(|(_, length)| *length > 0)
    }

    fn outputs(&self) -> Result<Vec<Difference>, Failure> {
        let on_disk = self.layout.files(false)?;
        let committed = &self.committed.outputs;
        let mut names: BTreeSet<&String> = committed.keys().collect();
        names.extend(on_disk.iter().map(|(name, _)| name));
        let mut found = Vec::new();
        for name in names {
            let left = committed.get(name).copied().unwrap_or(0);
            let path = self.layout.written(name, false);
            let length = length_of(&path)?;
            if length != left {
                found.push(Difference {
                    subject: self.layout.shown(&path),
                    detail: lengths(length, left),
                    follows: match length < left {
                        true => SHORTER_OUTPUT,
                        false => LONGER_OUTPUT,
                    },
                    accepted: ends_with_a_line(&path, length)?
                        .then(|| Accepted::Output(name.clone(), length)),
                });
            }
        }
        Ok(found)
    }

    fn states(&self) -> Result<Vec<Difference>, Failure> {
        let on_disk = self.layout.files(true)?;
        let committed = &self.committed.state;
        let mut names: BTreeSet<&String> = committed.keys().collect();
        names.extend(on_disk.iter().map(|(name, _)| name));
        let mut found = Vec::new();
        for topic in names {
            let left = committed.get(topic).copied().unwrap_or_default();
            let path = self.layout.written(topic, true);
            let length = length_of(&path)?;
            let now = self.state_file(topic, length).ok();
            if now == Some(left) {
                continue;
            }
            let same_length = length == left.length;
            let (detail, follows) = match (same_length, length) {
                (true, _) => (
                    "its rows are not those that zeef wrote".to_owned(),
                    OTHER_STATE,
                ),
                (false, 0) => (lengths(length, left.length), NO_STATE),
                (false, _) => (lengths(length, left.length), OTHER_STATE),
            };
            found.push(Difference {
                subject: self.layout.shown(&path),
                detail: match now {
                    Some(file) => format!("{detail} (rows: {}, {:08x})", file.rows, file.hash),
                    None => format!("{detail}, and some are no rows"),
                },
                follows,
                accepted: now
                    .filter(|file| file.rows > 0)
                    .map(|file| Accepted::State(topic.clone(), file)),
            });
        }
        Ok(found)
    }

    fn sources(&self) -> Result<Vec<Difference>, Failure> {
        let mut found = Vec::new();
        for (lane, trails) in &self.committed.lanes {
            for (topic, trail) in trails {
                if let Some(detail) = self.source(topic, trail)? {
                    let path = self.layout.source(topic);
                    found.push(Difference {
                        subject: format!("{} (lane {lane})", self.layout.shown(&path)),
                        detail,
                        follows: INPUT,
                        accepted: Some(Accepted::Source(lane.clone(), topic.clone())),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Says what is wrong with a source, where something is.
    fn source(&self, topic: &str, trail: &Trail) -> Result<Option<String>, Failure> {
        let path = self.layout.source(topic);
        let read = source::bytes_read(trail);
        let length = length_of(&path)?;
        if length < read {
            return Ok(Some(format!(
                "it was read up to byte {read}, and now it is {length} bytes long"
            )));
        }
        let reader = || Reader::new(path.clone(), self.settings.line_bytes_max, 0);
        let mut now = None;
        if !source::has_anchors(&mut reader(), trail, &self.settings.prints)? {
            now = Some(0);
        } else if let Some(log) = trail.log {
            let mut reader = reader();
            reader.open()?;
            let again = source::read_trail(&mut reader, true, read, &self.settings.prints)?;
            now = again.log.filter(|again| *again != log);
        }
        Ok(now.map(|log| {
            format!(
                "it was read up to byte {read}, and what stands there now is something else \
                 ({length} bytes, {log:08x})"
            )
        }))
    }

    fn keys(&self) -> Vec<Difference> {
        let keys = self.settings.keys.iter();
        let others = keys.filter_map(|(name, print)| {
            let known = self.committed.keys.get(name)?;
            (known != print).then(|| Difference {
                subject: format!("the key of {name}"),
                detail: format!(
                    "its outputs were made with the key `{}`, and the key here is {} `{}` ({})",
                    known.id,
                    if known.id == print.id {
                        "another"
                    } else {
                        "the key"
                    },
                    print.id,
                    print.print
                ),
                follows: OTHER_KEY,
                accepted: Some(Accepted::Key(name.clone())),
            })
        });
        others.collect()
    }
}

/// Whether zeef can go on behind what a file has.
fn ends_with_a_line(path: &Path, length: u64) -> Result<bool, Failure> {
    let Some(last) = length.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    let file = File::open(path).map_err(Failure::to("open", path))?;
    let read = file.read_exact_at(&mut byte, last);
    read.map_err(Failure::to("read", path))?;
    Ok(byte == *b"\n")
}

fn lengths(found: u64, left: u64) -> String {
    match found {
        0 => format!("it is missing or empty, and zeef left it at {left} bytes"),
        _ => format!("it is {found} bytes long, and zeef left it at {left}"),
    }
}

/// A finding with the command that accepts it.
fn advice(finding: &Finding, root: &str) -> String {
    match &finding.code {
        Some(code) => format!(
            "{}: `zeef accept {code} --directory {root} --reason TEXT`",
            finding.text
        ),
        None => finding.text.clone(),
    }
}
