//! Nobody listens where Kafka should be: what each command says, and how soon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use zeef_test_kit::config::copy_shipped_config;
use zeef_test_kit::process;

/// Far less than librdkafka takes to give up.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

fn zeef_command(arguments: &[&str]) -> Command {
    process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments)
}

fn lossy_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A copy of the shipped config, with keys; its brokers are at `address`.
fn config_with_brokers(address: &str) -> TempDir {
    let folder = copy_shipped_config();
    let file = folder.path().join("zeef.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let brokers = format!("[kafka]\nbrokers = \"{address}\"");
    fs::write(&file, settings.replacen("[kafka]", &brokers, 1)).unwrap();
    let config = folder.path().to_str().unwrap();
    let made = zeef_command(&["keys", "new", "--all", "--config", config]).output();
    assert!(made.unwrap().status.success());
    folder
}

/// An address at which nobody listens.
fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[track_caller]
fn check_connection_error(output: &Output, took: Duration, want: &str) {
    let stderr = lossy_text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(want), "no {want:?} in {stderr}");
    assert!(!stderr.contains("BrokerTransportFailure"), "{stderr}");
    assert!(took < COMMAND_TIMEOUT, "{took:?}: {stderr}");
}

#[test]
fn commands_name_unreachable_address_and_its_setting() {
    let address = unused_address();
    let folder = config_with_brokers(&address);
    let config = folder.path().to_str().unwrap();
    let set_in = folder.path().join("zeef.toml").display().to_string();
    for words in [
        &["topics"][..],
        &["topics", "--apply"],
        &["gates", "census"],
        &["gates", "repair", "--dry-run"],
        &["lanes", "apply", "--dry-run"],
        &["accept", "0123456789", "--reason", "a test"],
        &["refill", "statistics", "--reason", "a test"],
        &["forget", "main", "--dry-run"],
        &["keys", "rotate", "statistics", "--reason", "a test"],
        &["holds"],
        &["list", "objections"],
    ] {
        let all = [words, &["--config", config]].concat();
        let run = |command: &mut Command| {
            let started = Instant::now();
            (command.output().unwrap(), started.elapsed())
        };
        let (output, took) = run(&mut zeef_command(&all));
        check_connection_error(&output, took, &format!("nobody listens on {address} ({set_in})"));
        let other = unused_address();
        let named = [&all[..], &["--brokers", &other]].concat();
        let (output, took) = run(&mut zeef_command(&named));
        check_connection_error(&output, took, &format!("nobody listens on {other} (--brokers)"));
        let (output, took) = run(zeef_command(&all).env("ZEEF_BROKERS", &other));
        check_connection_error(&output, took, &format!("nobody listens on {other} (ZEEF_BROKERS)"));
    }
    // These work with Kafka where it is named on the command line only.
    for words in [&["generate", "--patrons", "1"][..], &["explain", "statistics", "--id", "L1"]] {
        let started = Instant::now();
        let all = [words, &["--config", config, "--brokers", &address]].concat();
        let output = zeef_command(&all).output().unwrap();
        let want = format!("nobody listens on {address} (--brokers)");
        check_connection_error(&output, started.elapsed(), &want);
    }
}

/// A process, and the lines that it logs.
struct LoggedProcess {
    child: Child,
    log_lines: Receiver<String>,
    seen_lines: Vec<String>,
}

impl LoggedProcess {
    fn start(command: &mut Command) -> LoggedProcess {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        LoggedProcess { child, log_lines: lines, seen_lines: Vec::new() }
    }

    /// Waits for a line with this text.
    #[track_caller]
    fn wait_for(&mut self, want: &str, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.log_lines.recv_timeout(left) else {
                panic!("no {want:?} within {wait:?}: {:#?}", self.seen_lines);
            };
            let found = line.contains(want);
            self.seen_lines.push(line);
            if found {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn wait(&mut self, wait: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + wait;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it runs for more than {wait:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for LoggedProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn run_logs_unreachable_broker_at_once_and_gives_up() {
    let address = unused_address();
    let folder = config_with_brokers(&address);
    let config = folder.path().to_str().unwrap();
    let set_in = folder.path().join("zeef.toml").display().to_string();
    let mut run = LoggedProcess::start(&mut zeef_command(&["run", "--config", config]));
    run.wait_for(&format!("connecting to {address} ({set_in})"), COMMAND_TIMEOUT);
    run.wait_for(
        &format!("nobody listens on {address} ({set_in}); trying again"),
        Duration::from_secs(3),
    );
    // A hangup ends nothing.
    run.signal(Signal::HUP);
    run.wait_for("SIGHUP is ignored", COMMAND_TIMEOUT);
    assert_eq!(run.child.try_wait().unwrap(), None);
    // It gives up in the end, and says why.
    let status = run.wait(Duration::from_secs(40));
    assert_eq!(status.code(), Some(1), "{:#?}", run.seen_lines);
    run.wait_for(&format!("error: nobody listens on {address} ({set_in})"), COMMAND_TIMEOUT);
}

#[test]
fn run_without_broker_stops_at_once_on_sigterm() {
    let address = unused_address();
    let folder = config_with_brokers(&address);
    let config = folder.path().to_str().unwrap();
    let mut run = LoggedProcess::start(&mut zeef_command(&["run", "--config", config]));
    run.wait_for("nobody listens on", COMMAND_TIMEOUT);
    run.signal(Signal::TERM);
    run.wait(Duration::from_secs(2));
}

#[test]
fn directory_follow_survives_sighup_and_stops_on_sigterm() {
    let folder = config_with_brokers("127.0.0.1:1");
    let config = folder.path().to_str().unwrap();
    let work = folder.path().join("work");
    let work = work.to_str().unwrap();
    let generated = zeef_command(&["generate", "--patrons", "3", "--directory", work]).output();
    assert!(generated.unwrap().status.success());
    let words = ["run", "--config", config, "--directory", work, "--follow", "--admin", "none"];
    let mut run = LoggedProcess::start(&mut zeef_command(&words));
    run.wait_for("ready", COMMAND_TIMEOUT * 3);
    // What it has in memory is in no core file.
    let limits = fs::read_to_string(format!("/proc/{}/limits", run.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(words.get(4), Some(&"0"), "{core:?}");
    for _ in 0..3 {
        run.signal(Signal::HUP);
        run.wait_for("SIGHUP is ignored", COMMAND_TIMEOUT);
    }
    run.signal(Signal::TERM);
    assert_eq!(run.wait(COMMAND_TIMEOUT * 2).code(), Some(0), "{:#?}", run.seen_lines);
}
