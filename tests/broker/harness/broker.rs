//! Brokers, started and ended through the script `deploy/dev/kafka`.
//!
//! One broker serves all tests of the process; a test that restarts or crashes
//! a broker has one of its own. The script's watchdog ends a broker whose test
//! process is gone.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

use rdkafka::ClientConfig;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/kafka");
const BROKERS: &str = "ZEEF_TEST_BROKERS";

/// How a broker of a test's own differs from the shared one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Clients need TLS and a password.
    pub(crate) sasl_ssl: bool,
    /// Compaction and retention are looked at twice a second.
    pub(crate) fast_cleaner: bool,
    /// Settings of the broker beside the script's own, as NAME=VALUE.
    pub(crate) settings: &'static [&'static str],
}

/// A broker that answers, unless the test stopped it.
#[derive(Debug)]
pub(crate) struct Broker {
    bootstrap: String,
    /// Where it lives; a broker named from outside has no home here.
    folder: Option<PathBuf>,
    login: Option<Login>,
    /// Removes the folder of a test's own broker.
    _own: Option<TempDir>,
}

/// What a client of a broker with TLS and SASL needs.
#[derive(Debug)]
struct Login {
    certificates: String,
    user: String,
    password: String,
}

impl Broker {
    /// The broker of this test process, or `None` where it cannot be had.
    ///
    /// # Panics
    ///
    /// With `CI=true`, where it cannot be had; always, where it fails to start.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        if env::var_os(BROKERS).is_none() && !possible() {
            return None;
        }
        SHARED.get_or_init(Self::first).as_ref()
    }

    fn first() -> Option<Self> {
        if let Ok(bootstrap) = env::var(BROKERS) {
            return Some(Self {
                bootstrap,
                folder: None,
                login: None,
                _own: None,
            });
        }
        // Nothing is dropped at the end of a process: the watchdog removes it.
        let folder = TempDir::with_prefix("zeef-kafka-").unwrap().keep();
        Some(Self::start_in(folder, Options::default(), None))
    }

    /// A broker of the test's own, gone when it is dropped.
    pub(crate) fn own(options: Options) -> Option<Self> {
        if !possible() {
            return None;
        }
        let own = TempDir::with_prefix("zeef-kafka-").unwrap();
        Some(Self::start_in(own.path().to_owned(), options, Some(own)))
    }

    fn start_in(folder: PathBuf, options: Options, own: Option<TempDir>) -> Self {
        let mut flags = Vec::new();
        if options.sasl_ssl {
            flags.push("--sasl-ssl");
        }
        if options.fast_cleaner {
            flags.push("--log-cleaner-fast");
        }
        for setting in options.settings {
            flags.extend(["--set", setting]);
        }
        let bootstrap = start(&folder, &flags);
        Self {
            bootstrap,
            login: options.sasl_ssl.then(|| Login::read(&folder)),
            folder: Some(folder),
            _own: own,
        }
    }

    /// The address that clients are given, `HOST:PORT`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The id of its process, where it was started here.
    #[allow(dead_code, reason = "a bench asks for it")]
    pub(crate) fn process(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.as_ref()?.join("pid")).ok()?;
        text.trim().parse().ok()
    }

    /// Where the logs of its partitions lie, where it was started here.
    #[allow(dead_code, reason = "a bench asks for it")]
    pub(crate) fn data(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join("data"))
    }

    /// Ends the broker in an orderly way.
    pub(crate) fn stop(&self) {
        script(&["stop".as_ref(), self.folder()]);
    }

    /// Ends the broker as a crash would.
    pub(crate) fn kill(&self) {
        script(&["kill".as_ref(), self.folder()]);
    }

    /// Starts a broker that was ended, on its data and its port.
    pub(crate) fn start(&self) {
        let bootstrap = start(self.folder(), &[]);
        assert_eq!(bootstrap, self.bootstrap, "a broker keeps its port");
    }

    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    #[track_caller]
    fn folder(&self) -> &Path {
        assert!(
            self._own.is_some(),
            "only a test's own broker is stopped: the shared one serves others"
        );
        self.folder.as_deref().unwrap()
    }

    /// The librdkafka properties that lead to this broker.
    pub(crate) fn properties(&self) -> Vec<(&'static str, &str)> {
        let mut list = vec![("bootstrap.servers", self.bootstrap())];
        if let Some(login) = &self.login {
            list.extend([
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", login.user.as_str()),
                ("sasl.password", login.password.as_str()),
                ("ssl.ca.location", login.certificates.as_str()),
            ]);
        }
        list
    }

    /// A client's configuration for this broker.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in self.properties() {
            config.set(name, value);
        }
        config
    }

    /// Runs one of Apache's console tools and yields what it printed.
    #[track_caller]
    pub(crate) fn tool(&self, name: &str, args: &[&str]) -> String {
        let mut command = Command::new(SCRIPT);
        command.args(["tool", name, "--bootstrap-server", &self.bootstrap]);
        if self.login.is_some() {
            let properties = self.folder.as_ref().unwrap().join("client.properties");
            command.arg("--command-config").arg(properties);
        }
        printed(command.args(args))
    }

    /// Runs kcat and yields what it printed, or `None` where there is none.
    #[track_caller]
    pub(crate) fn kcat(&self, args: &[&str]) -> Option<String> {
        let found = Command::new("kcat").arg("-V").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut command = Command::new("kcat");
        for (name, value) in self.properties() {
            command.arg("-X").arg(format!("{name}={value}"));
        }
        Some(printed(command.args(args)))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let (Some(_), Some(folder)) = (&self._own, &self.folder) {
            // A failed stop must not hide why a test failed: the watchdog is
            // still there.
            let _ = Command::new(SCRIPT).arg("kill").arg(folder).status();
        }
    }
}

impl Login {
    fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("env")).unwrap();
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap()
                .to_owned()
        };
        Self {
            certificates: value("ZEEF_TEST_CA"),
            user: value("ZEEF_TEST_USER"),
            password: value("ZEEF_TEST_PASSWORD"),
        }
    }
}

/// Whether this machine can start a broker; says what it lacks where not.
fn possible() -> bool {
    static LACK: OnceLock<Option<String>> = OnceLock::new();
    let lack = LACK.get_or_init(|| {
        let doctor = Command::new(SCRIPT).arg("doctor").output().unwrap();
        let said = String::from_utf8_lossy(&doctor.stderr);
        (!doctor.status.success()).then(|| said.trim().to_owned())
    });
    let Some(lack) = lack else { return true };
    let test = thread::current().name().unwrap_or_default().to_owned();
    let line = format!("{test} needs a broker, and did not run: {lack} (or set {BROKERS})");
    assert!(env::var("CI").as_deref() != Ok("true"), "{line}");
    // Not `eprintln`: what a passed test prints is not shown.
    let _ = writeln!(io::stderr(), "{line}");
    false
}

fn start(folder: &Path, flags: &[&str]) -> String {
    let parent = process::id().to_string();
    let mut command = Command::new(SCRIPT);
    command.arg("start").arg(folder).args(flags);
    printed(command.args(["--discard", "--with-parent", &parent]))
        .trim()
        .to_owned()
}

#[track_caller]
fn script(args: &[&Path]) {
    printed(Command::new(SCRIPT).args(args));
}

/// Runs `command` to its end and yields its output.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        status.success(),
        "{command:?} ended with {status}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}
