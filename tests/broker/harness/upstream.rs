//! A library system's database, read by Debezium, started and ended through the script
//! `deploy/dev/upstream`.
//!
//! Of each system one serves all tests of the process, with a broker of its own, as the topics of
//! a library system have no prefix. The script's watchdog ends them when the test process is gone.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::{Mutex, OnceLock, RwLock};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::broker::{find_missing, run_for_stdout, skip_test};
use super::{Broker, BrokerOptions, eventually};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/upstream");
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LibrarySystem {
    Koha,
    /// Koha, read by a Connect that may send again what it sent before.
    KohaAtLeastOnce,
    Folio,
}

impl LibrarySystem {
    /// What the script calls it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Koha | Self::KohaAtLeastOnce => "koha",
            Self::Folio => "folio",
        }
    }

    /// What the names of the topics of its shipped connector begin with.
    pub(crate) fn topic_start(self) -> &'static str {
        match self {
            Self::Koha | Self::KohaAtLeastOnce => "koha.",
            Self::Folio => "folio_pg.",
        }
    }

    /// A statement that writes `word` to the row of a person that no recipient knows, and how the
    /// name of the topic ends that gets it.
    fn marker(self, word: &str) -> (String, &'static str) {
        match self {
            Self::Koha | Self::KohaAtLeastOnce => (
                format!("UPDATE borrowers SET email = '{word}' WHERE borrowernumber = 2"),
                "koha_library.borrowers",
            ),
            Self::Folio => (
                format!(
                    "UPDATE amrland_mod_users.users SET jsonb = jsonb || '{{\"username\": \"{word}\"}}' \
                     WHERE id = '00000000-0000-4000-8000-000000000002'"
                ),
                "amrland_mod_users.users",
            ),
        }
    }
}

/// A database and a Connect that run, unless a test stopped them.
#[derive(Debug)]
pub(crate) struct Upstream {
    system: LibrarySystem,
    broker: Broker,
    folder: PathBuf,
    /// The script starts all that does not run: two at a time would start a part twice.
    starting: Mutex<()>,
    /// Statements run only while nobody lets the database crash.
    database: RwLock<()>,
}

/// What of it a test may let crash.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UpstreamPart {
    Connect,
    Database,
}

impl Upstream {
    /// The one of this test process, or `None` where it cannot be had. It starts with
    /// `first_rows`, statements whose rows come with the connector's snapshot.
    ///
    /// # Panics
    ///
    /// With `CI=true`, where it cannot be had; always, where it fails to start.
    pub(crate) fn shared(system: LibrarySystem, first_rows: &str) -> Option<&'static Self> {
        static KOHA: OnceLock<Result<Upstream, String>> = OnceLock::new();
        static KOHA_AT_LEAST_ONCE: OnceLock<Result<Upstream, String>> = OnceLock::new();
        static FOLIO: OnceLock<Result<Upstream, String>> = OnceLock::new();
        let shared = match system {
            LibrarySystem::Koha => &KOHA,
            LibrarySystem::KohaAtLeastOnce => &KOHA_AT_LEAST_ONCE,
            LibrarySystem::Folio => &FOLIO,
        };
        let started = shared.get_or_init(|| match find_missing(SCRIPT, &[system.as_str()]) {
            Some(missing) => Err(missing),
            None => Ok(Self::start(system, first_rows)),
        });
        if let Err(missing) = started {
            skip_test(&format!("needs a library system's database, and did not run: {missing}"));
        }
        started.as_ref().ok()
    }

    fn start(system: LibrarySystem, first_rows: &str) -> Self {
        let broker = Broker::start_own(BrokerOptions::default()).unwrap();
        let rows = TempDir::with_prefix("zeef-rows-").unwrap();
        let file = rows.path().join("first.sql");
        std::fs::write(&file, first_rows).unwrap();
        // Nothing is dropped at the end of a process: the watchdog removes it.
        let folder = TempDir::with_prefix(format!("zeef-{}-", system.as_str())).unwrap().keep();
        let upstream =
            Self { system, broker, folder, starting: Mutex::new(()), database: RwLock::new(()) };
        let brokers = upstream.broker.bootstrap_server();
        let mut flags = vec!["--brokers", brokers, "--sql", file.to_str().unwrap()];
        if system == LibrarySystem::KohaAtLeastOnce {
            flags.push("--at-least-once");
        }
        upstream.start_parts(&flags);
        upstream
    }

    fn start_parts(&self, flags: &[&str]) {
        let mut command = Command::new(SCRIPT);
        command.args(["start", self.system.as_str()]).arg(&self.folder).args(flags);
        run_for_stdout(command.args(["--discard", "--with-parent", &process::id().to_string()]));
    }

    /// The broker that has the system's topics.
    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Ends a part as a crash would, and starts it again; waits until the connector reads what
    /// changes.
    pub(crate) fn crash(&self, part: UpstreamPart) {
        let (part, _no_statements) = match part {
            UpstreamPart::Connect => ("connect", None),
            UpstreamPart::Database => ("database", Some(self.database.write().unwrap())),
        };
        let _one_at_a_time = self.starting.lock().unwrap();
        run_for_stdout(Command::new(SCRIPT).arg("kill").arg(&self.folder).arg(part));
        self.start_parts(&[]);
    }

    /// Creates a second connector, like the shipped one but for `changes`, and waits until its
    /// snapshot lies in the topics.
    #[track_caller]
    pub(crate) fn create_connector(&self, topic_start: &str, changes: &[(&str, &str)]) {
        let shipped = std::fs::read_to_string(self.folder.join("connect/connector.json")).unwrap();
        let mut config: Value = serde_json::from_str(&shipped).unwrap();
        for (name, value) in changes {
            config[*name] = (*value).into();
        }
        let settings = std::fs::read_to_string(self.folder.join("settings")).unwrap();
        let port = settings.lines().find_map(|line| line.strip_prefix("connect_port=")).unwrap();
        let name = topic_start.trim_end_matches('.');
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--fail-with-body",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/json",
        ]);
        command.arg(format!("http://127.0.0.1:{port}/connectors/{name}/config"));
        // Connect asks the database whether the config is right: nothing may crash meanwhile.
        let no_crash = self.starting.lock().unwrap();
        run_for_stdout(command.args(["--data", &config.to_string()]));
        drop(no_crash);
        let (_, topic_end) = self.system.marker("");
        eventually("the second connector's snapshot", DELIVERY_TIMEOUT, || {
            let topics = self.broker.topics_starting_with(topic_start);
            topics.contains(&format!("{topic_start}{topic_end}")).then_some(())
        });
        self.wait_delivered(topic_start);
    }

    /// Runs statements as the owner of the database; yields the rows of the selects among them, a
    /// row a line.
    #[track_caller]
    pub(crate) fn run_sql(&self, statements: impl fmt::Display) -> String {
        let _no_crash = self.database.read().unwrap();
        let mut client = Command::new(SCRIPT)
            .arg("sql")
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = client.stdin.take().unwrap();
        let statements = statements.to_string();
        // Beside the reading of what it says: the pipes hold only so much.
        let writer = thread::spawn(move || input.write_all(statements.as_bytes()));
        let output = client.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the database refused a statement: {stderr}");
        writer.join().unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until all that the database has committed can be read from the topics of a connector.
    #[track_caller]
    pub(crate) fn wait_delivered(&self, topic_start: &str) {
        let word = format!("marker-{:08x}", getrandom::u32().unwrap());
        let (statement, topic_end) = self.system.marker(&word);
        let topic = format!("{topic_start}{topic_end}");
        self.run_sql(statement);
        eventually("Connect delivers what the database has", DELIVERY_TIMEOUT, || {
            let rows = self.broker.read_visible(&topic);
            rows.iter()
                .any(|row| row.value_text().is_some_and(|text| text.contains(&word)))
                .then_some(())
        });
        let topics = self.broker.topics_starting_with(topic_start);
        self.broker.wait_visible(&topics);
    }
}
