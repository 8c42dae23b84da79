//! From a config folder to a policy: every mistake of every file in one go.
//!
//! Nothing connects, no key is read and no record is looked at here.

mod field;
mod kind;
mod path;
mod recipient;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use recipient::Draft;

use kind::KindDraft;
use recipient::Law;

use super::catalogue::{Kind, Role};
use super::document::{Mistake, Table, read};
use super::settings::{DaemonSettings, MaskDefaults, Recipients};
use super::{Policy, canonical, lint, settings};

/// A config folder, read without a mistake.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub policy: Policy,
    pub daemon: DaemonSettings,
    /// What an operator should know; nothing is wrong.
    pub notes: Vec<String>,
}

impl Policy {
    /// Reads `records/*.toml`, `recipients/*.toml` and `zeef.toml` of a folder.
    ///
    /// # Errors
    ///
    /// Every mistake of every file, sorted by file and line.
    pub fn load(folder: &Path) -> Result<Loaded, Vec<Mistake>> {
        let mut loader = Loader {
            folder,
            mistakes: Vec::new(),
            notes: Vec::new(),
        };
        let loaded = loader.load();
        if loader.mistakes.is_empty() {
            return Ok(Loaded {
                notes: loader.notes,
                ..loaded
            });
        }
        let order = |mistake: &Mistake| (mistake.file.clone(), mistake.line);
        loader.mistakes.sort_by_key(order);
        loader.mistakes.dedup();
        Err(loader.mistakes)
    }
}

struct Loader<'a> {
    folder: &'a Path,
    mistakes: Vec<Mistake>,
    notes: Vec<String>,
}

/// All kinds, as far as they could be read.
struct Catalogue {
    kinds: Vec<Kind>,
    /// The names of those whose files cannot be read.
    unread: Vec<String>,
    /// Kind and path of fields whose type or class is mistaken.
    untyped: Vec<(String, String)>,
}

/// A file as text.
struct Source {
    /// As it stands in messages.
    file: String,
    /// Its name without `.toml`.
    stem: String,
    /// `None` where it cannot be read; that is among the mistakes.
    text: Option<String>,
}

impl Loader<'_> {
    fn load(&mut self) -> Loaded {
        let zeef = self.zeef();
        let first = self.with(&zeef, |table| {
            // The rest is read when the recipients are known.
            table.entries();
            (settings::mask_defaults(table), settings::law(table))
        });
        let (masks, law) = first.unwrap_or_default();
        let Catalogue {
            kinds,
            unread,
            untyped,
        } = self.kinds();
        let (drafts, lost) = self.recipients(&Law {
            kinds: &kinds,
            unread: &unread,
            untyped: &untyped,
            masks: &masks,
        });
        let broken = lint::run(&kinds, &drafts);
        self.mistakes.extend(broken);
        self.spare_papers(&drafts);
        let mut daemon = self.daemon(&zeef, &drafts, &lost, masks);
        let names: Vec<String> = kinds
            .iter()
            .map(|kind| kind.name.clone())
            .chain(unread)
            .collect();
        let sources = self.with(&zeef, |table| {
            // All else was read already.
            table.entries();
            settings::sources(table, &names)
        });
        daemon.sources = sources.unwrap_or_default();
        Loaded {
            policy: Policy {
                former: daemon.former.clone(),
                ..policy(kinds, law, drafts)
            },
            daemon,
            notes: Vec::new(),
        }
    }

    /// Reads a text with `body`. A text that is no TOML is told of once, as
    /// mistakes that are the same are dropped in the end.
    fn with<T>(&mut self, source: &Source, body: impl FnOnce(&Table<'_>) -> T) -> Option<T> {
        let text = source.text.as_ref()?;
        read(&source.file, text, &mut self.mistakes, body)
    }

    /// `zeef.toml`; everything in it has a default, so it need not be there.
    fn zeef(&mut self) -> Source {
        let path = self.folder.join("zeef.toml");
        let mut source = Source {
            file: path.display().to_string(),
            stem: "zeef".to_owned(),
            text: None,
        };
        if path.exists() {
            source.text = self.text(&path);
        } else {
            self.notes
                .push(format!("{}: not there; the defaults hold", source.file));
        }
        source
    }

    fn kinds(&mut self) -> Catalogue {
        let mut drafts = Vec::new();
        let mut unread = Vec::new();
        for source in self.files("records") {
            match self.with(&source, |table| kind::read(table, &source.stem)) {
                Some(draft) => drafts.push(draft),
                None => unread.push(source.stem),
            }
        }
        self.clashes(&drafts);
        let patron = drafts.iter().any(|draft| draft.kind.role == Role::Patron);
        let needed = drafts.iter().any(|draft| draft.kind.keyed);
        if needed && !patron && unread.is_empty() {
            let file = self.folder.join("records").display().to_string();
            let expected = "one, as the others have its id for a key";
            let found = "no kind of record with `role = \"patron\"`";
            self.mistakes.push(Mistake::new(&file, 0, found, expected));
        }
        let notes = drafts.iter().flat_map(|draft| draft.notes.iter().cloned());
        self.notes.extend(notes);
        let untyped = drafts.iter().flat_map(|draft| {
            let paths = draft.untyped.iter();
            paths.map(|path| (draft.kind.name.clone(), path.clone()))
        });
        Catalogue {
            untyped: untyped.collect(),
            kinds: drafts.into_iter().map(|draft| draft.kind).collect(),
            unread,
        }
    }

    /// Two kinds from one topic, or two tables of patrons.
    fn clashes(&mut self, drafts: &[KindDraft]) {
        for (place, draft) in drafts.iter().enumerate() {
            let before = drafts.get(..place).unwrap_or_default();
            let same_topic = before
                .iter()
                .find(|other| other.kind.topic == draft.kind.topic);
            if let Some(other) = same_topic {
                let found = format!("the topic `{}` of `{}`", draft.kind.topic, other.kind.name);
                let mistake =
                    Mistake::new(&draft.file, draft.topic_line, found, "a topic of its own");
                self.mistakes.push(mistake);
            }
            let is_patron = |draft: &KindDraft| draft.kind.role == Role::Patron;
            if let Some(other) = before
                .iter()
                .find(|other| is_patron(other) && is_patron(draft))
            {
                let found = format!("`role = \"patron\"` as in `{}`", other.kind.name);
                let mistake =
                    Mistake::new(&draft.file, draft.role_line, found, "one kind of patrons");
                self.mistakes.push(mistake);
            }
        }
    }

    /// All recipients, and the names of those whose files cannot be read.
    fn recipients(&mut self, law: &Law<'_>) -> (Vec<Draft>, Vec<String>) {
        let mut drafts = Vec::new();
        let mut lost = Vec::new();
        for source in self.files("recipients") {
            match self.with(&source, |table| recipient::read(table, &source.stem, law)) {
                Some(draft) => drafts.push(draft),
                None => lost.push(source.stem),
            }
        }
        if lost.is_empty() && !drafts.is_empty() && drafts.iter().all(|draft| !draft.enabled) {
            self.notes
                .push("no recipient is enabled: nothing will be published".to_owned());
        }
        (drafts, lost)
    }

    /// A switched-off recipient may still wait for its papers: that is a note.
    fn spare_papers(&mut self, drafts: &[Draft]) {
        let off = |file: &str| {
            drafts
                .iter()
                .any(|draft| !draft.enabled && draft.file == file)
        };
        let spared =
            |mistake: &Mistake| mistake.rule.is_some_and(lint::is_paper) && off(&mistake.file);
        for mistake in self.mistakes.extract_if(.., |mistake| spared(mistake)) {
            self.notes
                .push(format!("{mistake}: before it can be enabled"));
        }
    }

    fn daemon(
        &mut self,
        zeef: &Source,
        drafts: &[Draft],
        lost: &[String],
        masks: MaskDefaults,
    ) -> DaemonSettings {
        let named = |enabled: bool| -> Vec<String> {
            let some = drafts.iter().filter(|draft| draft.enabled == enabled);
            some.map(|draft| draft.recipient.name.clone()).collect()
        };
        let enabled = named(true);
        let others: Vec<_> = named(false)
            .into_iter()
            .chain(lost.iter().cloned())
            .collect();
        let recipients = Recipients {
            enabled: &enabled,
            others: &others,
        };
        let folder = self.folder;
        let read = self.with(zeef, |table| {
            // Its mistakes were told of when it was read first.
            for read in ["masks", "retention", "purposes", "libraries", "sources"] {
                table.value(read);
            }
            settings::read(table, folder, &recipients)
        });
        let known = read.is_some() || !folder.join("zeef.toml").exists();
        let daemon = read.unwrap_or_else(|| settings::defaults(folder, &recipients));
        if known {
            let broken = lint::run_lanes(drafts, &daemon.lanes);
            self.mistakes.extend(broken);
        }
        DaemonSettings { masks, ..daemon }
    }

    /// The `.toml` files of a folder, by name.
    fn files(&mut self, below: &str) -> Vec<Source> {
        let folder = self.folder.join(below);
        let mut paths = match list(&folder) {
            Ok(paths) => paths,
            Err(error) => {
                let found = format!("cannot be read: {error}");
                let expected = format!("a folder with the files of `{below}`");
                self.mistakes.push(Mistake::new(
                    &folder.display().to_string(),
                    0,
                    found,
                    expected,
                ));
                return Vec::new();
            }
        };
        // By stem: a name comes before the longer one that begins with it.
        paths.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
        let sources: Vec<_> = paths.iter().filter_map(|path| self.source(path)).collect();
        if sources.is_empty() {
            let file = folder.display().to_string();
            self.mistakes
                .push(Mistake::new(&file, 0, "no `.toml` file", "at least one"));
        }
        sources
    }

    fn source(&mut self, path: &Path) -> Option<Source> {
        let name = path.file_name()?.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            return None;
        }
        let file = path.display().to_string();
        if path.extension() != Some(OsStr::new("toml")) || path.is_dir() {
            self.notes
                .push(format!("{file}: not read, as it is no `.toml` file"));
            return None;
        }
        let stem = name.strip_suffix(".toml")?.to_owned();
        let text = self.text(path);
        Some(Source { file, stem, text })
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        let file = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let found = format!("cannot be read: {error}");
                self.mistakes.push(Mistake::new(&file, 0, found, "a file"));
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let before = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes().get(..before).unwrap_or_default();
                let line = 1 + memchr::memchr_iter(b'\n', bytes).count();
                self.mistakes.push(Mistake::new(
                    &file,
                    line,
                    "bytes that are no UTF-8",
                    "UTF-8 text",
                ));
                None
            }
        }
    }
}

fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn policy(kinds: Vec<Kind>, law: settings::Law, drafts: Vec<Draft>) -> Policy {
    let (enabled, disabled): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| draft.enabled);
    let of = |drafts: Vec<Draft>| drafts.into_iter().map(|draft| draft.recipient).collect();
    let mut policy = Policy {
        version: String::new(),
        canonical: String::new(),
        kinds,
        patron_term: law.patron_term,
        recipients: of(enabled),
        disabled: of(disabled),
        other_purposes: law.other_purposes,
        successor_of: Arc::new(law.successor_of),
        former: Vec::new(),
    };
    policy.canonical = canonical::render(&policy);
    policy.version = canonical::version(&policy.canonical);
    policy
}

#[cfg(test)]
mod tests;
