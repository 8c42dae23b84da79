//! Loads a config folder into a policy, reporting every mistake of every file. Reads no keys or
//! records, and connects to nothing.

mod acknowledgement;
mod acknowledgement_check;
mod condition;
mod confidentiality;
mod custom_detector;
mod field;
mod kind;
mod paper;
mod path;
mod prohibition;
mod recipient;
mod summary;
mod term;
mod word_list;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use recipient::RecipientDraft;

use acknowledgement_check::{check_acknowledgement_topics, check_ledger_of_acknowledgements};
use kind::KindDraft;
use paper::PaperFolders;
use recipient::RecipientContext;

use super::document::{Mistake, TomlTable, nearest_name, read_toml};
use super::secret::config_permission_warning;
use super::settings::{DaemonSettings, MaskDefaults, RecipientNames, SchemaPlace};
use super::{lint, settings};
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::detect::{CUSTOM_DETECTORS_MAX, CustomDetector, CustomDetectors, WordList};
use crate::policy::{Policy, canonical};

/// The folders of a config whose files decide what is released.
const CONFIG_FOLDERS: &[&str] =
    &["agreements", "authorisations", "detectors", "intake", "recipients", "records"];

/// A config folder without mistakes.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    pub policy: Policy,
    pub daemon: DaemonSettings,
    /// Warnings; nothing is wrong.
    pub notes: Vec<String>,
    /// What recipients that are switched off lack before they can be switched on.
    pub notes_of_disabled: Vec<String>,
}

impl LoadedConfig {
    /// Returns the lane that serves a recipient.
    #[must_use]
    pub fn lane_of(&self, recipient: &str) -> Option<&str> {
        let mut lanes = self.daemon.lanes.iter();
        let lane = lanes.find(|lane| lane.recipients.iter().any(|one| one == recipient))?;
        Some(&lane.name)
    }
}

impl Policy {
    /// Loads `records/*.toml`, `recipients/*.toml` and `zeef.toml`.
    ///
    /// # Errors
    ///
    /// Every mistake of every file, sorted by file and line.
    pub fn load(folder: &Path) -> Result<LoadedConfig, Vec<Mistake>> {
        let (loaded, mistakes) = LoadedConfig::load_with_mistakes(folder);
        if mistakes.is_empty() { Ok(loaded) } else { Err(mistakes) }
    }
}

impl LoadedConfig {
    /// Loads a config folder as far as it can be read, with every mistake of every file, sorted by
    /// file and line. Nothing may be released by what has mistakes.
    #[must_use]
    pub fn load_with_mistakes(folder: &Path) -> (LoadedConfig, Vec<Mistake>) {
        let mut loader = ConfigLoader {
            folder,
            mistakes: Vec::new(),
            notes: Vec::new(),
            notes_of_disabled: Vec::new(),
        };
        let loaded = loader.load_all();
        loader.note_writable_files();
        let ConfigLoader { mut mistakes, notes, notes_of_disabled, .. } = loader;
        mistakes.sort_by_key(|mistake| (mistake.file.clone(), mistake.line));
        mistakes.dedup();
        (LoadedConfig { notes, notes_of_disabled, ..loaded }, mistakes)
    }
}

struct ConfigLoader<'a> {
    folder: &'a Path,
    mistakes: Vec<Mistake>,
    notes: Vec<String>,
    notes_of_disabled: Vec<String>,
}

/// All kinds that could be read.
struct Catalogue {
    kinds: Vec<RecordKind>,
    /// The names of kinds whose files cannot be read.
    unreadable_kinds: Vec<String>,
    /// Kind and path of fields with an invalid type or class.
    untyped_fields: Vec<(String, String)>,
}

/// What the files of `detectors` hold.
#[derive(Default)]
struct DetectorFolder {
    word_lists: Vec<WordList>,
    /// The names of files that cannot be read.
    unreadable_word_lists: Vec<String>,
    custom_detectors: CustomDetectors,
}

struct ConfigFile {
    /// As in messages.
    display_path: String,
    /// The file name without `.toml`.
    stem: String,
    /// `None` if it cannot be read, which is a mistake.
    text: Option<String>,
}

/// Whether something has a path, also what cannot be read: defaults hold only for what is absent.
fn is_named(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

impl ConfigLoader<'_> {
    fn load_all(&mut self) -> LoadedConfig {
        let zeef = self.read_zeef_toml();
        let mut mistakes = Vec::new();
        let read = zeef.text.as_ref().and_then(|text| {
            read_toml(&zeef.display_path, text, &mut mistakes, |root| self.load_with(Some(root)))
        });
        self.mistakes.append(&mut mistakes);
        read.unwrap_or_else(|| self.load_with(None))
    }

    /// Loads all but `zeef.toml`, and what is in that; `None` if it is not there or not TOML.
    fn load_with(&mut self, zeef: Option<&TomlTable<'_>>) -> LoadedConfig {
        let masks = zeef.map(settings::read_mask_defaults).unwrap_or_default();
        let policy_settings = zeef.map(settings::read_policy_settings).unwrap_or_default();
        let Catalogue { mut kinds, unreadable_kinds, untyped_fields } = self.read_kinds();
        match zeef {
            Some(zeef) if unreadable_kinds.is_empty() => {
                settings::read_other_library(zeef, &mut kinds);
            }
            // Which kinds there are is not known.
            Some(zeef) => {
                zeef.value("other_library");
            }
            None => {}
        }
        let papers = self.read_papers();
        let DetectorFolder { word_lists, unreadable_word_lists, custom_detectors } =
            self.read_detector_folder();
        let (drafts, unreadable) = self.read_recipients(&RecipientContext {
            word_lists: &word_lists,
            custom_detectors: &custom_detectors,
            unreadable_word_lists: &unreadable_word_lists,
            kinds: &kinds,
            unreadable_kinds: &unreadable_kinds,
            untyped_fields: &untyped_fields,
            mask_defaults: &masks,
            papers: &papers,
        });
        self.check_excluded_names(&drafts, &unreadable);
        self.check_named_patron_purposes(&drafts);
        self.mistakes.extend(check_acknowledgement_topics(&kinds, &drafts));
        self.note_unused_papers(&papers);
        let violations = lint::check_recipients(&kinds, &drafts);
        self.mistakes.extend(violations);
        if unreadable_kinds.is_empty() {
            self.mistakes.extend(lint::check_gate_sources(&kinds, &drafts));
        }
        self.excuse_disabled_recipients(&drafts);
        let mut daemon = self.read_daemon_settings(zeef, &drafts, &unreadable, masks);
        self.check_formats(&drafts, &daemon);
        let names: Vec<String> =
            kinds.iter().map(|kind| kind.name.clone()).chain(unreadable_kinds).collect();
        daemon.sources = zeef.map(|zeef| settings::read_sources(zeef, &names)).unwrap_or_default();
        LoadedConfig {
            policy: Policy {
                former_recipients: daemon.former_recipients.clone(),
                ..build_policy(kinds, policy_settings, drafts, custom_detectors)
            },
            daemon,
            notes: Vec::new(),
            notes_of_disabled: Vec::new(),
        }
    }

    /// Notes what anybody may write of the config: its folders and the files in them.
    fn note_writable_files(&mut self) {
        let in_folder = |folder: &Path| list_paths(folder).unwrap_or_default();
        let folders = CONFIG_FOLDERS.iter().map(|below| self.folder.join(below));
        // One that cannot be looked at is a mistake of whoever reads it.
        let is_folder = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.is_dir());
        let folders = folders.filter(is_folder);
        let files = folders.flat_map(|folder| [vec![folder.clone()], in_folder(&folder)].concat());
        let own = [self.folder.to_owned(), self.folder.join("zeef.toml")];
        self.notes.extend(
            own.into_iter().chain(files).filter_map(|path| config_permission_warning(&path)),
        );
    }

    /// Reads a text with `body`; `None` if it is not TOML, which is a mistake.
    fn parse_file<T>(
        &mut self,
        source: &ConfigFile,
        body: impl FnOnce(&TomlTable<'_>) -> T,
    ) -> Option<T> {
        let text = source.text.as_ref()?;
        read_toml(&source.display_path, text, &mut self.mistakes, body)
    }

    /// Reads `zeef.toml`, which is optional as everything in it has a default.
    fn read_zeef_toml(&mut self) -> ConfigFile {
        let path = self.folder.join("zeef.toml");
        let mut source = ConfigFile {
            display_path: path.display().to_string(),
            stem: "zeef".to_owned(),
            text: None,
        };
        if is_named(&path) {
            source.text = self.read_utf8(&path);
        } else {
            self.notes.push(format!("{}: not there; the defaults hold", source.display_path));
        }
        source
    }

    fn read_kinds(&mut self) -> Catalogue {
        let mut drafts = Vec::new();
        let mut unreadable_kinds = Vec::new();
        for source in self.read_folder("records") {
            match self.parse_file(&source, |table| kind::read_kind(table, &source.stem)) {
                Some(draft) => drafts.push(draft),
                None => unreadable_kinds.push(source.stem),
            }
        }
        self.check_kind_clashes(&drafts);
        self.check_settled_kinds(&drafts);
        let has_patron_kind = drafts.iter().any(|draft| draft.kind.role == Role::Patron);
        let is_patron_needed = drafts.iter().any(|draft| draft.kind.is_keyed_by_patron);
        if is_patron_needed && !has_patron_kind && unreadable_kinds.is_empty() {
            let file = self.folder.join("records").display().to_string();
            let expected = "one, as the others have its id for a key";
            let found = "no kind of record with `role = \"patron\"`";
            self.mistakes.push(Mistake::new(&file, 0, found, expected));
        }
        let notes = drafts.iter().flat_map(|draft| draft.notes.iter().cloned());
        self.notes.extend(notes);
        let untyped_fields = drafts.iter().flat_map(|draft| {
            let paths = draft.untyped_fields.iter();
            paths.map(|path| (draft.kind.name.clone(), path.clone()))
        });
        Catalogue {
            untyped_fields: untyped_fields.collect(),
            kinds: drafts.into_iter().map(|draft| draft.kind).collect(),
            unreadable_kinds,
        }
    }

    /// Reports two kinds on one topic, or two with the role patron.
    fn check_kind_clashes(&mut self, drafts: &[KindDraft]) {
        for (index, draft) in drafts.iter().enumerate() {
            let previous = drafts.get(..index).unwrap_or_default();
            let same_topic = previous.iter().find(|other| other.kind.topic == draft.kind.topic);
            if let Some(other) = same_topic {
                let found = format!("the topic `{}` of `{}`", draft.kind.topic, other.kind.name);
                let mistake =
                    Mistake::new(&draft.file, draft.topic_line, found, "a topic of its own");
                self.mistakes.push(mistake);
            }
            let is_patron = |draft: &KindDraft| draft.kind.role == Role::Patron;
            if let Some(other) = previous.iter().find(|other| is_patron(other) && is_patron(draft))
            {
                let found = format!("`role = \"patron\"` as in `{}`", other.kind.name);
                let mistake =
                    Mistake::new(&draft.file, draft.role_line, found, "one kind of patrons");
                self.mistakes.push(mistake);
            }
        }
    }

    /// Reports a kind that settles what it cannot, and two that settle one kind.
    fn check_settled_kinds(&mut self, drafts: &[KindDraft]) {
        for (index, draft) in drafts.iter().enumerate() {
            self.mistakes.extend(kind::check_settled_kind(draft, drafts));
            let mut previous = drafts.get(..index).unwrap_or_default().iter();
            let other = previous.find(|other| other.kind.settles.is_some());
            if let Some(other) = other.filter(|_| draft.kind.settles.is_some()) {
                let found = format!("`settles` as in `{}`", other.kind.name);
                let expected = "one kind that settles others";
                self.mistakes.push(Mistake::new(&draft.file, draft.settles_line, found, expected));
            }
        }
    }

    /// Reads the lists of words and the detectors of `detectors`, which nobody needs.
    fn read_detector_folder(&mut self) -> DetectorFolder {
        let mut found = DetectorFolder::default();
        let mut custom: Vec<CustomDetector> = Vec::new();
        for source in self.read_optional_folder("detectors") {
            let read = self.parse_file(&source, |table| match table.contains_key("detectors") {
                true => Err(custom_detector::read_custom_detectors(table)),
                false => Ok(word_list::read_word_list(table, &source.stem)),
            });
            match read {
                Some(Ok(list)) => found.word_lists.push(list),
                Some(Err(detectors)) => {
                    self.check_custom_names(&source, &custom, &detectors);
                    custom.extend(detectors);
                }
                None => found.unreadable_word_lists.push(source.stem),
            }
        }
        custom.sort_by(|a, b| a.name.cmp(&b.name));
        found.custom_detectors = custom.into();
        found
    }

    /// Reports detectors whose names another file has, and those beyond the limit.
    fn check_custom_names(
        &mut self,
        source: &ConfigFile,
        others: &[CustomDetector],
        detectors: &[CustomDetector],
    ) {
        for one in detectors.iter().filter(|one| others.iter().any(|other| other.name == one.name))
        {
            let found = format!("the detector `{}`, which another file has", one.name);
            self.mistakes.push(Mistake::new(&source.display_path, 0, found, "one of each name"));
        }
        if others.len() + detectors.len() > CUSTOM_DETECTORS_MAX {
            let found = "too many detectors";
            let expected = format!("at most {CUSTOM_DETECTORS_MAX} in all files");
            self.mistakes.push(Mistake::new(&source.display_path, 0, found, expected));
        }
    }

    /// Returns all recipients, and the names of those whose files cannot be read.
    fn read_recipients(
        &mut self,
        context: &RecipientContext<'_>,
    ) -> (Vec<RecipientDraft>, Vec<String>) {
        let mut drafts = Vec::new();
        let mut unreadable = Vec::new();
        for source in self.read_folder("recipients") {
            match self.parse_file(&source, |table| {
                recipient::read_recipient(table, &source.stem, context)
            }) {
                Some(draft) => drafts.push(draft),
                None => unreadable.push(source.stem),
            }
        }
        if unreadable.is_empty()
            && !drafts.is_empty()
            && drafts.iter().all(|draft| !draft.is_enabled)
        {
            self.notes.push("no recipient is enabled: nothing will be published".to_owned());
        }
        (drafts, unreadable)
    }

    /// Reads the papers that several recipients may share. Both folders are optional.
    fn read_papers(&mut self) -> PaperFolders {
        let mut papers = PaperFolders::default();
        for source in self.read_optional_folder("agreements") {
            let read =
                self.parse_file(&source, |table| paper::read_agreement_file(table, &source.stem));
            papers.agreements.insert(source.stem, read.flatten());
        }
        for source in self.read_optional_folder("authorisations") {
            let read = self
                .parse_file(&source, |table| paper::read_authorisation_file(table, &source.stem));
            papers.authorisations.insert(source.stem, read.flatten());
        }
        papers
    }

    /// Notes each paper that no recipient names.
    fn note_unused_papers(&mut self, papers: &PaperFolders) {
        let used = papers.used.borrow();
        let agreements = papers.agreements.keys().map(|name| ("agreements", name));
        let authorisations = papers.authorisations.keys().map(|name| ("authorisations", name));
        for (folder, name) in agreements.chain(authorisations) {
            if !used.contains(&(folder, name.clone())) {
                let file = self.folder.join(folder).join(format!("{name}.toml"));
                self.notes.push(format!("{}: no recipient names it", file.display()));
            }
        }
    }

    /// Reports names in `excludes` that no recipient has.
    fn check_excluded_names(&mut self, drafts: &[RecipientDraft], unreadable: &[String]) {
        let names = drafts.iter().map(|draft| draft.recipient.name.as_str());
        let names: Vec<&str> = names.chain(unreadable.iter().map(String::as_str)).collect();
        for draft in drafts {
            let excludes = draft.recipient.excludes.iter();
            for name in excludes.filter(|name| !names.contains(&name.as_str())) {
                let found = format!("unknown recipient `{name}` in `excludes`");
                let expected = "the name of a file in recipients";
                let mistake = Mistake::new(&draft.file, draft.lines.excludes, found, expected);
                let suggestion = nearest_name(name, names.iter().copied());
                self.mistakes.push(mistake.with_suggestion(suggestion));
            }
        }
    }

    /// Reports recipients of a purpose whose consents name a patron, and that take the name for a
    /// recipient's.
    fn check_named_patron_purposes(&mut self, drafts: &[RecipientDraft]) {
        let named = drafts.iter().filter(|draft| draft.recipient.is_for_named_patrons());
        for draft in named {
            let rule = draft.recipient.consent.iter();
            let purposes: Vec<&str> = rule.map(|rule| rule.purpose.as_str()).collect();
            let others = drafts.iter().map(|other| &other.recipient).filter(|other| {
                let own = other.consent.iter().map(|rule| rule.purpose.as_str());
                !other.is_for_named_patrons()
                    && own.chain([other.purpose.as_str()]).any(|one| purposes.contains(&one))
            });
            for other in others {
                let found = format!("`each` for a purpose that `{}` has too", other.name);
                let expected = "a purpose of its own: its consents name patrons, not recipients";
                let line = draft.lines.consent;
                self.mistakes.push(Mistake::new(&draft.file, line, found, expected));
            }
        }
    }

    /// Turns mistakes that are excused in disabled recipients into notes.
    fn excuse_disabled_recipients(&mut self, drafts: &[RecipientDraft]) {
        let is_disabled =
            |file: &str| drafts.iter().any(|draft| !draft.is_enabled && draft.file == file);
        let is_excused = |mistake: &Mistake| {
            mistake.rule.is_some_and(lint::is_excused_when_disabled) && is_disabled(&mistake.file)
        };
        for mistake in self.mistakes.extract_if(.., |mistake| is_excused(mistake)) {
            self.notes_of_disabled.push(format!("{mistake}: before it can be enabled"));
        }
    }

    /// Refuses Avro where no registry takes its schema.
    fn check_formats(&mut self, drafts: &[RecipientDraft], daemon: &DaemonSettings) {
        let settings = daemon.schema_registry.as_ref().map(|settings| &settings.place);
        if matches!(settings, Some(SchemaPlace::Registry(_))) {
            return;
        }
        let is_avro = |draft: &&RecipientDraft| !draft.recipient.value_format.is_json();
        for draft in drafts.iter().filter(|draft| draft.is_enabled).filter(is_avro) {
            let found = "`format` is \"avro\", where no registry takes its schema";
            let expected = "`[schema_registry]` with `url` in zeef.toml";
            self.mistakes.push(Mistake::new(&draft.file, draft.lines.format, found, expected));
        }
    }

    fn read_daemon_settings(
        &mut self,
        zeef: Option<&TomlTable<'_>>,
        drafts: &[RecipientDraft],
        unreadable: &[String],
        masks: MaskDefaults,
    ) -> DaemonSettings {
        let named = |enabled: bool| -> Vec<String> {
            let some = drafts.iter().filter(|draft| draft.is_enabled == enabled);
            some.map(|draft| draft.recipient.name.clone()).collect()
        };
        let enabled = named(true);
        let others: Vec<_> = named(false).into_iter().chain(unreadable.iter().cloned()).collect();
        let recipients = RecipientNames { enabled: &enabled, unserved: &others };
        let folder = self.folder;
        let read = zeef.map(|root| settings::read_daemon_settings(root, folder, &recipients));
        let are_lanes_known = read.is_some() || !is_named(&folder.join("zeef.toml"));
        let daemon = read.unwrap_or_else(|| settings::default_daemon_settings(folder, &recipients));
        if are_lanes_known {
            let violations = lint::check_lanes(drafts, &daemon.lanes);
            self.mistakes.extend(violations);
            if !daemon.ledger.is_enabled {
                self.mistakes.extend(check_ledger_of_acknowledgements(drafts));
            }
        }
        DaemonSettings { masks, ..daemon }
    }

    /// As [`ConfigLoader::read_files`]; nothing where there is no such folder.
    fn read_optional_folder(&mut self, below: &str) -> Vec<ConfigFile> {
        match is_named(&self.folder.join(below)) {
            true => self.read_files(below).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// As [`ConfigLoader::read_files`], of a folder that needs one.
    fn read_folder(&mut self, below: &str) -> Vec<ConfigFile> {
        let sources = self.read_files(below);
        if sources.as_ref().is_some_and(Vec::is_empty) {
            let file = self.folder.join(below).display().to_string();
            self.mistakes.push(Mistake::new(&file, 0, "no `.toml` file", "at least one"));
        }
        sources.unwrap_or_default()
    }

    /// Reads the `.toml` files of a folder, sorted by name; `None` if it cannot be read, which is
    /// a mistake.
    fn read_files(&mut self, below: &str) -> Option<Vec<ConfigFile>> {
        let folder = self.folder.join(below);
        let mut paths = match list_paths(&folder) {
            Ok(paths) => paths,
            Err(error) => {
                let found = format!("cannot be read: {error}");
                let expected = format!("a folder with the files of `{below}`");
                self.mistakes.push(Mistake::new(&folder.display().to_string(), 0, found, expected));
                return None;
            }
        };
        // By stem, so that a name precedes longer ones with the same prefix.
        paths.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
        Some(paths.iter().filter_map(|path| self.read_config_file(path)).collect())
    }

    fn read_config_file(&mut self, path: &Path) -> Option<ConfigFile> {
        let name = path.file_name()?.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            return None;
        }
        let file = path.display().to_string();
        let is_folder = std::fs::metadata(path).is_ok_and(|found| found.is_dir());
        if path.extension() != Some(OsStr::new("toml")) || is_folder {
            self.notes.push(format!("{file}: not read, as it is no `.toml` file"));
            return None;
        }
        let stem = name.strip_suffix(".toml")?.to_owned();
        let text = self.read_utf8(path);
        Some(ConfigFile { display_path: file, stem, text })
    }

    fn read_utf8(&mut self, path: &Path) -> Option<String> {
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

fn list_paths(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn build_policy(
    kinds: Vec<RecordKind>,
    policy_settings: settings::PolicySettings,
    drafts: Vec<RecipientDraft>,
    custom_detectors: CustomDetectors,
) -> Policy {
    let (enabled, disabled): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.is_enabled);
    let of =
        |drafts: Vec<RecipientDraft>| drafts.into_iter().map(|draft| draft.recipient).collect();
    let mut policy = Policy {
        version: String::new(),
        canonical_text: String::new(),
        record_kinds: kinds,
        patron_retention: policy_settings.patron_term,
        recipients: of(enabled),
        disabled_recipients: of(disabled),
        other_purposes: policy_settings.other_purposes,
        predecessor_libraries: Arc::new(policy_settings.successor_of),
        custom_detectors,
        former_recipients: Vec::new(),
    };
    policy.canonical_text = canonical::render(&policy);
    policy.version = canonical::sha256_hex(&policy.canonical_text);
    policy
}

#[cfg(test)]
mod tests;
