//! The program itself, as a process beside the test.
//!
//! It is killed when the test lets go of it, and also when the test process
//! dies in whatever way: a small shell waits for that at the end of a pipe.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;
use zeef_test_kit::process::{ANY_ADMIN_ADDRESS, admin_address_in};

use super::broker::last_bytes;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const KILL_TIMEOUT: Duration = Duration::from_secs(60);

/// A running, or ended, zeef.
pub(crate) struct ZeefProcess {
    child: Child,
    watchdog: Option<Child>,
    output_folder: TempDir,
    admin_address: OnceLock<SocketAddr>,
}

impl ZeefProcess {
    /// Starts the program with `args`, and `env` beside the test's own.
    pub(crate) fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        let output_folder = TempDir::with_prefix("zeef-output-").unwrap();
        let file = |name| File::create(output_folder.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_zeef"))
            .args(args)
            .env_remove("ZEEF_BROKERS")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .process_group(0)
            .spawn()
            .unwrap();
        let watchdog = Some(spawn_watchdog(&child));
        Self { child, watchdog, output_folder, admin_address: OnceLock::new() }
    }

    /// Starts `zeef run` with `args` and an admin address.
    pub(crate) fn spawn_run(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(&[&["run", "--admin", ANY_ADMIN_ADDRESS], args].concat(), env)
    }

    /// The admin address, `None` before it listens.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        if let Some(known) = self.admin_address.get() {
            return Some(*known);
        }
        let address = admin_address_in(&self.stderr())?;
        Some(*self.admin_address.get_or_init(|| address))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; a process that has ended gets none.
    #[track_caller]
    pub(crate) fn send_signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a crash would.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.send_signal(Signal::KILL);
        assert_eq!(self.wait_exit(KILL_TIMEOUT), 137);
    }

    /// Lowers how many files it may have open.
    #[track_caller]
    pub(crate) fn limit_open_files(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
    }

    /// The exit code, where it has ended; 128 + N after signal N, as a shell
    /// has it.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        self.release_watchdog();
        status.code().or_else(|| status.signal().map(|signal| 128 + signal))
    }

    /// Waits for the end and yields the exit code.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(code) = self.exit_code() {
                return code;
            }
            assert!(
                start.elapsed() < deadline,
                "expected zeef to end within {deadline:?}; it said: {}",
                last_bytes(&self.stderr())
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.read_stream("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.read_stream("stderr")
    }

    fn read_stream(&self, stream: &str) -> String {
        let bytes = fs::read(self.output_folder.path().join(stream)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the readiness check answers yes; an admin address that does not
    /// answer is a no.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.get_admin_path("/health/ready"), Ok((200, _)))
    }

    /// The text of `/metrics`, where it answers.
    pub(crate) fn fetch_metrics(&self) -> Option<String> {
        match self.get_admin_path("/metrics") {
            Ok((200, text)) => Some(text),
            _ => None,
        }
    }

    /// The sum of the series of `name` that have all of `labels`.
    pub(crate) fn fetch_metric_sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sum_series(&self.fetch_metrics()?, name, labels)
    }

    /// Gets `path` from the admin address: status and body.
    pub(crate) fn get_admin_path(&self, path: &str) -> io::Result<(u16, String)> {
        let address = self.admin_address().ok_or(io::ErrorKind::NotConnected)?;
        http_get(address, path)
    }

    fn release_watchdog(&mut self) {
        if let Some(mut guard) = self.watchdog.take() {
            if let Some(pipe) = &mut guard.stdin {
                let _ = pipe.write_all(b"\n");
            }
            let _ = guard.wait();
        }
    }
}

impl Drop for ZeefProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.release_watchdog();
        if thread::panicking() {
            eprintln!("zeef {} said: {}", self.pid(), last_bytes(&self.stderr()));
        }
    }
}

/// A shell that kills `child` when its input ends without a line.
fn spawn_watchdog(child: &Child) -> Child {
    Command::new("sh")
        .arg("-c")
        .arg(format!("read -r _ || kill -9 {}", child.id()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn http_get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    // In one write: who answers may close as soon as it has read something.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse_response(&answer).ok_or_else(|| io::Error::other("expected an HTTP answer"))
}

fn parse_response(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn sum_series(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    text.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, labels) = series.split_once('{').unwrap_or((series, ""));
            let fits = found == name
                && wanted.iter().all(|label| {
                    labels.trim_end_matches('}').split(',').any(|found| found == label)
                });
            fits.then(|| value.parse::<f64>().ok())?
        })
        .reduce(|sum, value| sum + value)
}

#[test]
fn harness_metric_is_the_sum_of_matching_series() {
    let text =
        "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab{x=\"1\"} 9\nb 2.5\n";
    for (name, labels, want) in [
        ("a", &[][..], Some(7.0)),
        ("a", &[("x", "1"), ("y", "3")], Some(4.0)),
        ("a", &[("x", "2")], None),
        ("b", &[], Some(2.5)),
        ("c", &[], None),
    ] {
        assert_eq!(sum_series(text, name, labels), want, "{name} {labels:?}");
    }
}

#[test]
fn harness_http_get_returns_status_and_body() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let length = stream.read(&mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nwait")
            .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    assert_eq!(http_get(address, "/health/ready").unwrap(), (503, "wait".to_owned()));
    assert!(server.join().unwrap().starts_with("GET /health/ready HTTP/1.1\r\n"));
}

#[test]
fn harness_process_exit_releases_its_watchdog() {
    let mut zeef = ZeefProcess::spawn(&["--help"], &[]);
    assert_eq!(zeef.wait_exit(Duration::from_secs(60)), 0);
    assert!(zeef.watchdog.is_none());
}

#[test]
fn harness_watchdog_kills_when_its_pipe_closes_without_a_line() {
    for (line, killed) in [(&b""[..], true), (b"\n", false)] {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut guard = spawn_watchdog(&child);
        let mut pipe = guard.stdin.take().unwrap();
        pipe.write_all(line).unwrap();
        drop(pipe);
        guard.wait().unwrap();
        if !killed {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
        }
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
