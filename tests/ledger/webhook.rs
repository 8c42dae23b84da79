//! Each checkpoint is posted to a server elsewhere, or that it was not is told and counts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use zeef_test_kit::process::{ANY_ADMIN_ADDRESS, KillOnDrop, admin_address_in};
use zeef_test_kit::schema_registry::{RegistryMood, RegistryRequest, TestRegistry};

use super::audit::run_in_directory;
use super::checkpoints::{add_settings, fill};
use super::command_line::{CANARY, Deployment, reservation};

const TOKEN: &str = "CANARY-token-that-only-a-header-has";
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A library whose checkpoints are posted to `address`, with a token; it has not run yet.
fn library(address: SocketAddr, more: &str) -> Deployment {
    let deployment = Deployment::new();
    let token = deployment.path("config/token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{address}/hook/");
    let webhook = format!("{{ url = \"{url}\", token = {{ file = \"token\" }}{more} }}");
    add_settings(&deployment, &format!("enabled = true\nwebhook = {webhook}"));
    deployment.zeef(&["keys", "new", "--ledger"]);
    fill(&deployment);
    deployment
}

/// A server that takes everything.
fn server() -> TestRegistry {
    let server = TestRegistry::default();
    server.set_mood(says(204));
    server
}

fn says(status: u16) -> RegistryMood {
    RegistryMood::Says(status, String::new())
}

/// An address where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn checkpoint_lines(deployment: &Deployment) -> Vec<String> {
    let path = deployment.path("data/.zeef/checkpoints/checkpoints.ndjson");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn check_posted(request: &RegistryRequest, line: &str) {
    assert_eq!(request.line, "POST /hook/");
    assert_eq!(String::from_utf8_lossy(&request.body), line);
    assert_eq!(request.authorization, Some(format!("Bearer {TOKEN}")));
    let headers = request.other_headers.join("\n").to_ascii_lowercase();
    assert!(headers.contains("content-type: application/json"), "{headers}");
    assert!(!headers.contains("canary"), "{headers}");
}

/// All that lies below a folder, as text.
fn all_text_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text.push_str(&all_text_below(&path)),
            false => text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap())),
        }
    }
    text
}

#[test]
fn webhook_gets_the_last_checkpoint_of_each_run_exactly_and_the_token_in_a_header_alone() {
    let server = server();
    let deployment = library(server.address(), "");
    for runs in 1..=2 {
        let ran = run_in_directory(&deployment, &["run"]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success() && !said.contains("checkpoint"), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
        let (lines, requests) = (checkpoint_lines(&deployment), server.requests());
        assert_eq!((lines.len(), requests.len()), (runs, runs));
        check_posted(&requests[runs - 1], &lines[runs - 1]);
    }
    assert!(!all_text_below(&deployment.path("data")).contains("CANARY-token"));
    let requests = server.requests();
    assert!(requests.iter().all(|one| !String::from_utf8_lossy(&one.body).contains(CANARY)));
}

/// A run that goes on, whose log is in a file.
struct FollowingRun {
    process: KillOnDrop,
    log: std::path::PathBuf,
}

impl FollowingRun {
    fn start(deployment: &Deployment) -> FollowingRun {
        let (data, log) = (deployment.path("data"), deployment.path("run.log"));
        let words = ["run", "--follow", "--admin", ANY_ADMIN_ADDRESS, "--directory"];
        let mut command = deployment.command(&[&words[..], &[data.to_str().unwrap()]].concat());
        let process = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        FollowingRun { process: KillOnDrop(process.spawn().unwrap()), log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of the metrics that begin with `name`.
    fn metrics(&self, name: &str) -> Vec<String> {
        let address = admin_address_in(&self.said()).expect("it listens");
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    /// Asks it to stop. Returns how it ended, and after how long.
    fn stop(mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        let id = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let ended = self.process.0.wait().unwrap();
        (ended.code(), asked.elapsed())
    }
}

#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < WAIT_TIMEOUT, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Refused connections, errors and hung-up connections are told once a minute and tried again, and
/// it is the newest checkpoint that is delivered, once.
#[test]
fn webhook_that_failed_gets_the_newest_checkpoint_once_it_answers() {
    let address = free_address();
    let deployment = library(address, "");
    add_settings(&deployment, "every_seconds = 1");
    fs::create_dir_all(deployment.path("data/in")).unwrap();
    let run = FollowingRun::start(&deployment);
    wait_for("a warning", || run.said().contains("refused"));
    let server = TestRegistry::start(address);
    server.set_mood(says(500));
    wait_for("two attempts", || server.requests().len() >= 2);
    server.set_mood(RegistryMood::HangsUp);
    let before = server.requests().len();
    wait_for("two more", || server.requests().len() >= before + 2);
    let behind = checkpoint_lines(&deployment).len();
    let id = format!("{CANARY}-p");
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    wait_for("a newer checkpoint", || checkpoint_lines(&deployment).len() > behind);
    server.set_mood(says(200));
    let newest = || checkpoint_lines(&deployment).pop().unwrap();
    let is_last =
        |line: String| server.requests().pop().is_some_and(|one| one.body == line.as_bytes());
    wait_for("the newest one", || is_last(newest()));
    thread::sleep(Duration::from_secs(2));
    let delivered = server.requests().len();
    check_posted(&server.requests()[delivered - 1], &newest());
    thread::sleep(Duration::from_secs(3));
    assert_eq!(server.requests().len(), delivered, "it is delivered once");
    let number = checkpoint_lines(&deployment).len();
    let copy = [format!("zeef_checkpoint_copy_number{{copy=\"webhook\"}} {number}")];
    assert_eq!(run.metrics("zeef_checkpoint_copy_number"), copy);
    assert_eq!(run.metrics("zeef_checkpoint_number"), [format!("zeef_checkpoint_number {number}")]);
    let failures = run.metrics("zeef_checkpoint_copy_failures_total").concat();
    let count = failures.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(count >= 5, "{failures}");
    assert_eq!(run.said().matches("no checkpoint of the ledger").count(), 1, "{}", run.said());
    assert!(!run.said().contains("CANARY"), "{}", run.said());
    assert_eq!(run.stop().0, Some(0));
}

/// A run does not end as if its checkpoints were kept, where that is asked.
#[test]
fn webhook_that_does_not_take_a_checkpoint_is_told_and_stops_a_run_only_if_that_is_asked() {
    let server = server();
    let deployment = library(server.address(), ", timeout_seconds = 1");
    let run = |code: i32, want: &str| {
        let started = Instant::now();
        let ran = run_in_directory(&deployment, &["run"]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(want) && !said.contains("CANARY"), "{said}");
        started.elapsed()
    };
    let cases = [
        (says(401), "401: look at `token` of `webhook` in [ledger.checkpoints]"),
        (says(403), "403: look at `token`"),
        (says(302), "302: have `url` name the place that it leads to"),
        (says(500), "it answers 500"),
        (RegistryMood::Garbage, "webhook http://127.0.0.1:"),
        (RegistryMood::Late(Duration::from_secs(2)), "no answer within 1 s"),
    ];
    for (mood, want) in &cases {
        server.set_mood(mood.clone());
        assert!(run(0, want) < WAIT_TIMEOUT);
    }
    // The server answers one after another.
    thread::sleep(Duration::from_secs(2));
    add_settings(&deployment, "stop_unanchored_after_seconds = 3600");
    for (mood, want) in &cases[..1] {
        server.set_mood(mood.clone());
        run(70, want);
    }
    server.set_mood(says(200));
    run(0, "");
    // A file that cannot be written does not keep it from the server, and counts as well.
    let copy = format!("copy = {:?}", deployment.path("not/there/copy"));
    add_settings(&deployment, &copy);
    let before = server.requests().len();
    run(70, "not/there");
    assert_eq!(server.requests().len(), before + 1);
    check_posted(&server.requests()[before], &checkpoint_lines(&deployment).pop().unwrap());
}

/// A server that never answers holds up neither the lanes nor a stop.
#[test]
fn webhook_without_an_answer_holds_up_neither_lanes_nor_a_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let deployment = library(listener.local_addr().unwrap(), ", timeout_seconds = 60");
    add_settings(&deployment, "every_seconds = 1");
    let run = FollowingRun::start(&deployment);
    let (_waiting, _) = listener.accept().unwrap();
    let patron = deployment.path("data/in/patron.ndjson");
    let text = fs::read_to_string(&patron).unwrap();
    let ledger = || all_text_below(&deployment.path("data/.zeef/ledger"));
    let blocks = ledger().lines().count();
    fs::write(&patron, format!("{text}{{\"key\":\"{CANARY}-p\",\"value\":null}}\n")).unwrap();
    wait_for("a block", || ledger().lines().count() > blocks);
    let (code, took) = run.stop();
    assert_eq!(code, Some(0));
    // The last checkpoint has ten seconds.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn webhook_that_shows_its_token_is_refused_by_check() {
    let deployment = library(free_address(), "");
    let settings = deployment.path("config/zeef.toml");
    let good = fs::read_to_string(&settings).unwrap();
    let check = |code: i32, want: &str| {
        let ran = deployment.command(&["check"]).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(want) && !said.contains("CANARY"), "{said}");
    };
    check(0, "");
    for (from, to, want) in [
        ("http://127.0.0.1", "http://192.0.2.1", "http to this machine alone"),
        ("token = {", "tokn = {", "did you mean `token`?"),
        ("{ file = \"token\" }", "\"CANARY\"", "the secret `token` in the file itself"),
    ] {
        fs::write(&settings, good.replace(from, to)).unwrap();
        check(78, want);
    }
    fs::write(&settings, &good).unwrap();
    let token = deployment.path("config/token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    check(78, "others than its owner may read this secret");
}
