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
const BROKERS_VARIABLE: &str = "ZEEF_TEST_BROKERS";
const SHOWN_TAIL_BYTES: usize = 2_000;

/// How a broker of a test's own differs from the shared one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BrokerOptions {
    /// Clients need TLS and a password.
    pub(crate) sasl_ssl: bool,
    /// Compaction and retention are looked at twice a second.
    pub(crate) fast_cleaner: bool,
    /// Java compiles all the way what is hot: for benches, and where it lives long.
    pub(crate) is_fast: bool,
    /// Settings of the broker beside the script's own, as NAME=VALUE.
    pub(crate) broker_settings: &'static [&'static str],
}

/// A broker that answers, unless the test stopped it.
#[derive(Debug)]
pub(crate) struct Broker {
    bootstrap_server: String,
    /// Where it lives; a broker named from outside has no home here.
    folder: Option<PathBuf>,
    login: Option<Login>,
    is_fast: bool,
    /// Removes the folder of a test's own broker.
    _temp_folder: Option<TempDir>,
}

/// What a client of a broker with TLS and SASL needs.
#[derive(Debug)]
struct Login {
    ca_file: String,
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
        if env::var_os(BROKERS_VARIABLE).is_none() && !can_start_broker() {
            return None;
        }
        SHARED.get_or_init(Self::start_shared).as_ref()
    }

    fn start_shared() -> Option<Self> {
        if let Ok(bootstrap) = env::var(BROKERS_VARIABLE) {
            return Some(Self {
                bootstrap_server: bootstrap,
                folder: None,
                login: None,
                is_fast: false,
                _temp_folder: None,
            });
        }
        // Nothing is dropped at the end of a process: the watchdog removes it.
        let folder = TempDir::with_prefix("zeef-kafka-").unwrap().keep();
        // It lives as long as the whole suite. Only a broker that is never started again may
        // abort transactions so soon: one that aborts them while it starts writes no marker
        // (Kafka 4.3 and 4.4, with one broker), and they stay open.
        let options = BrokerOptions {
            is_fast: true,
            broker_settings: &["transaction.abort.timed.out.transaction.cleanup.interval.ms=500"],
            ..BrokerOptions::default()
        };
        Some(Self::start_in(folder, options, None))
    }

    /// A broker of the test's own, gone when it is dropped.
    pub(crate) fn start_own(options: BrokerOptions) -> Option<Self> {
        if !can_start_broker() {
            return None;
        }
        let temp_folder = TempDir::with_prefix("zeef-kafka-").unwrap();
        Some(Self::start_in(temp_folder.path().to_owned(), options, Some(temp_folder)))
    }

    fn start_in(folder: PathBuf, options: BrokerOptions, temp_folder: Option<TempDir>) -> Self {
        let mut flags = Vec::new();
        if options.sasl_ssl {
            flags.push("--sasl-ssl");
        }
        if options.fast_cleaner {
            flags.push("--log-cleaner-fast");
        }
        for setting in options.broker_settings {
            flags.extend(["--set", setting]);
        }
        let bootstrap = start_broker(&folder, &flags, options.is_fast);
        Self {
            is_fast: options.is_fast,
            bootstrap_server: bootstrap,
            login: options.sasl_ssl.then(|| Login::read(&folder)),
            folder: Some(folder),
            _temp_folder: temp_folder,
        }
    }

    /// The address that clients are given, `HOST:PORT`.
    pub(crate) fn bootstrap_server(&self) -> &str {
        &self.bootstrap_server
    }

    /// The id of its process, where it was started here.
    #[allow(dead_code, reason = "a bench asks for it")]
    pub(crate) fn process_id(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.as_ref()?.join("pid")).ok()?;
        text.trim().parse().ok()
    }

    /// Where the logs of its partitions lie, where it was started here.
    #[allow(dead_code, reason = "a bench asks for it")]
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join("data"))
    }

    /// Ends the broker in an orderly way.
    pub(crate) fn stop(&self) {
        run_script(&["stop".as_ref(), self.folder()]);
    }

    /// Ends the broker as a crash would.
    pub(crate) fn kill(&self) {
        run_script(&["kill".as_ref(), self.folder()]);
    }

    /// Starts a broker that was ended, on its data and its port.
    pub(crate) fn start(&self) {
        let bootstrap = start_broker(self.folder(), &[], self.is_fast);
        assert_eq!(bootstrap, self.bootstrap_server, "a broker keeps its port");
    }

    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    #[track_caller]
    fn folder(&self) -> &Path {
        assert!(
            self._temp_folder.is_some(),
            "only a test's own broker is stopped: the shared one serves others"
        );
        self.folder.as_deref().unwrap()
    }

    /// The librdkafka properties that lead to this broker.
    pub(crate) fn client_properties(&self) -> Vec<(&'static str, &str)> {
        let mut list = vec![("bootstrap.servers", self.bootstrap_server())];
        if let Some(login) = &self.login {
            list.extend([
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", login.user.as_str()),
                ("sasl.password", login.password.as_str()),
                ("ssl.ca.location", login.ca_file.as_str()),
            ]);
        }
        list
    }

    /// A client's configuration for this broker.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in self.client_properties() {
            config.set(name, value);
        }
        config
    }

    /// Runs one of Apache's console tools and yields what it printed.
    #[track_caller]
    pub(crate) fn run_tool(&self, name: &str, args: &[&str]) -> String {
        let mut command = Command::new(SCRIPT);
        command.args(["tool", name, "--bootstrap-server", &self.bootstrap_server]);
        if self.login.is_some() {
            let properties = self.folder.as_ref().unwrap().join("client.properties");
            command.arg("--command-config").arg(properties);
        }
        run_for_stdout(command.args(args))
    }

    /// Runs kcat and yields what it printed, or `None` where there is none.
    #[track_caller]
    pub(crate) fn run_kcat(&self, args: &[&str]) -> Option<String> {
        let found = Command::new("kcat").arg("-V").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut command = Command::new("kcat");
        for (name, value) in self.client_properties() {
            command.arg("-X").arg(format!("{name}={value}"));
        }
        Some(run_for_stdout(command.args(args)))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let (Some(_), Some(folder)) = (&self._temp_folder, &self.folder) {
            if thread::panicking() {
                let said = std::fs::read(folder.join("log")).unwrap_or_default();
                let said = String::from_utf8_lossy(&said);
                eprintln!("the broker {} said: {}", self.bootstrap_server, last_bytes(&said));
            }
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
            ca_file: value("ZEEF_TEST_CA"),
            user: value("ZEEF_TEST_USER"),
            password: value("ZEEF_TEST_PASSWORD"),
        }
    }
}

/// Whether this machine can start a broker; says what it lacks where not.
fn can_start_broker() -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| find_missing(SCRIPT, &[]));
    if let Some(missing) = missing {
        skip_test(&format!(
            "needs a broker, and did not run: {missing} (or set {BROKERS_VARIABLE})"
        ));
    }
    missing.is_none()
}

/// What a script of `deploy/dev` lacks on this machine, as its `doctor` says it; `None` if nothing.
pub(super) fn find_missing(script: &str, words: &[&str]) -> Option<String> {
    let doctor = Command::new(script).arg("doctor").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stderr);
    (!doctor.status.success()).then(|| said.trim().to_owned())
}

/// Says why the test of this thread does not run.
///
/// # Panics
///
/// With `CI=true`.
#[track_caller]
pub(super) fn skip_test(why: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} {why}");
    // Not `eprintln`: what a passed test prints is not shown.
    let _ = writeln!(io::stderr(), "{test} {why}");
}

fn start_broker(folder: &Path, flags: &[&str], is_fast: bool) -> String {
    let parent = process::id().to_string();
    let mut command = Command::new(SCRIPT);
    command.arg("start").arg(folder).args(flags);
    if !is_fast {
        command.arg("--light");
    }
    run_for_stdout(command.args(["--discard", "--with-parent", &parent])).trim().to_owned()
}

#[track_caller]
fn run_script(args: &[&Path]) {
    run_for_stdout(Command::new(SCRIPT).args(args));
}

/// The end of what a process said.
pub(super) fn last_bytes(text: &str) -> &str {
    let mut start = text.len().saturating_sub(SHOWN_TAIL_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// Runs `command` to its end and yields its output.
#[track_caller]
pub(super) fn run_for_stdout(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        status.success(),
        "{command:?} ended with {status}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}
