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
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const ANSWER_WAIT: Duration = Duration::from_secs(2);
const TAIL_BYTES: usize = 4_000;

/// A running, or ended, zeef.
pub(crate) struct Zeef {
    child: Child,
    guard: Option<Child>,
    output: TempDir,
    admin: Option<SocketAddr>,
}

impl Zeef {
    /// Starts the program with `args`, and `env` beside the test's own.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let output = TempDir::with_prefix("zeef-output-").unwrap();
        let file = |name| File::create(output.path().join(name)).unwrap();
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
        let guard = Some(guard(&child));
        Self {
            child,
            guard,
            output,
            admin: None,
        }
    }

    /// Starts `zeef run` with `args` and a free admin address.
    pub(crate) fn run(args: &[&str], env: &[(&str, &str)]) -> Self {
        let admin = free_address();
        let text = admin.to_string();
        let all = [&["run", "--admin", &text], args].concat();
        let mut zeef = Self::start(&all, env);
        zeef.admin = Some(admin);
        zeef
    }

    /// The admin address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("started by `run`")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; a process that has ended gets none.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, where it has ended; 128 + N after signal N, as a shell
    /// has it.
    pub(crate) fn exited(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        self.release_guard();
        status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
    }

    /// Waits for the end and yields the exit code.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(code) = self.exited() {
                return code;
            }
            assert!(
                start.elapsed() < deadline,
                "expected zeef to end within {deadline:?}; it said: {}",
                tail(&self.stderr())
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.said("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.said("stderr")
    }

    fn said(&self, stream: &str) -> String {
        let bytes = fs::read(self.output.path().join(stream)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the readiness check answers yes; an admin address that does not
    /// answer is a no.
    pub(crate) fn ready(&self) -> bool {
        matches!(self.fetch("/health/ready"), Ok((200, _)))
    }

    /// The text of `/metrics`, where it answers.
    pub(crate) fn metrics(&self) -> Option<String> {
        match self.fetch("/metrics") {
            Ok((200, text)) => Some(text),
            _ => None,
        }
    }

    /// The sum of the series of `name` that have all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sum(&self.metrics()?, name, labels)
    }

    /// Gets `path` from the admin address: status and body.
    pub(crate) fn fetch(&self, path: &str) -> io::Result<(u16, String)> {
        fetch(self.admin(), path)
    }

    fn release_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            if let Some(pipe) = &mut guard.stdin {
                let _ = pipe.write_all(b"\n");
            }
            let _ = guard.wait();
        }
    }
}

impl Drop for Zeef {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.release_guard();
        if thread::panicking() {
            eprintln!("zeef {} said: {}", self.pid(), tail(&self.stderr()));
        }
    }
}

/// A shell that kills `child` when its input ends without a line.
fn guard(child: &Child) -> Child {
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

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn fetch(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    // In one write: who answers may close as soon as it has read something.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parsed(&answer).ok_or_else(|| io::Error::other("expected an HTTP answer"))
}

fn parsed(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    text.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, labels) = series.split_once('{').unwrap_or((series, ""));
            let fits = found == name
                && wanted.iter().all(|label| {
                    labels
                        .trim_end_matches('}')
                        .split(',')
                        .any(|found| found == label)
                });
            fits.then(|| value.parse::<f64>().ok())?
        })
        .reduce(|sum, value| sum + value)
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[test]
fn a_metric_is_the_sum_of_its_series() {
    let text =
        "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab{x=\"1\"} 9\nb 2.5\n";
    for (name, labels, want) in [
        ("a", &[][..], Some(7.0)),
        ("a", &[("x", "1"), ("y", "3")], Some(4.0)),
        ("a", &[("x", "2")], None),
        ("b", &[], Some(2.5)),
        ("c", &[], None),
    ] {
        assert_eq!(sum(text, name, labels), want, "{name} {labels:?}");
    }
}

#[test]
fn an_answer_is_status_and_body() {
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
    assert_eq!(
        fetch(address, "/health/ready").unwrap(),
        (503, "wait".to_owned())
    );
    assert!(
        server
            .join()
            .unwrap()
            .starts_with("GET /health/ready HTTP/1.1\r\n")
    );
}

#[test]
fn the_program_starts_and_ends() {
    let mut zeef = Zeef::start(&["--help"], &[]);
    assert_eq!(zeef.wait_exit(Duration::from_secs(60)), 0);
    assert!(zeef.guard.is_none());
}

#[test]
fn a_guard_kills_when_its_pipe_ends_without_a_line() {
    for (line, killed) in [(&b""[..], true), (b"\n", false)] {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut guard = guard(&child);
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
