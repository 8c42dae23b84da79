//! The read interface over HTTP, asked by a client that knows nothing of zeef.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::command_line::{CANARY, Deployment, reservation};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Asks, and checks the answers by the interface's own shapes.
const CLIENT: &str = r#"
import json, re, sys, urllib.error, urllib.request, uuid

address, token, patron = sys.argv[1:]

def ask(body, token=token, path="", method="POST"):
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)

def refused(status, *arguments, **named):
    found, headers, problem = ask(*arguments, **named)
    assert found == status, (found, problem)
    assert headers["Content-Type"] == "application/problem+json", headers
    assert headers["API-Version"] == "1.1.0", headers
    assert set(problem) == {"status", "title", "detail"} and problem["status"] == status, problem
    assert all(isinstance(problem[name], str) and problem[name] for name in ("title", "detail"))
    assert patron not in json.dumps(problem), problem
    return headers, problem

def answered(body):
    status, headers, answer = ask(body)
    assert status == 200, (status, answer)
    assert headers["Content-Type"] == "application/json" and headers["API-Version"] == "1.1.0"
    assert list(answer) == ["processingActivities"], answer
    lines = answer["processingActivities"]
    for line in lines:
        assert str(uuid.UUID(line["traceId"])) == line["traceId"], line
        assert re.fullmatch("[0-9a-f]{16}", line["spanId"]), line
        assert line["status"] == "Unset" and isinstance(line["name"], str), line
        assert isinstance(line["startTime"], int) and isinstance(line["endTime"], int), line
        assert line["startTime"] <= line["endTime"], line
        attributes = line["attributes"]
        assert attributes["dpl.core.processing_activity_id"].startswith("https://example.org/register/")
        assert attributes["dpl.core.data_subject_id_type"] == "zeef-ledger-patron", attributes
        assert set(line) <= {"traceId", "spanId", "status", "name", "startTime", "endTime", "resource", "attributes"}
    return lines

SUBJECT, KIND = "dpl.core.data_subject_id", "dpl.core.data_subject_id_type"
ACTIVITY = "dpl.core.processing_activity_id"
headers, _ = refused(401, {SUBJECT: patron}, token=None)
assert headers["WWW-Authenticate"] == "Bearer", headers
refused(401, {SUBJECT: patron}, token=token[:-1] + "0")
refused(400, {})
refused(400, {"startTime": 0, "endTime": 99999999999999})
refused(400, {ACTIVITY: "https://example.org/register/reservation-slip/0"})
refused(400, {SUBJECT: patron, KIND: "BSN"})
refused(400, {SUBJECT: patron, KIND: "patron", "unknown": 1})
refused(400, b"no json")
refused(400, b" " * 100000)
refused(404, {SUBJECT: patron}, path="/more")
refused(405, {SUBJECT: patron}, method="PUT")

lines = answered({SUBJECT: patron, KIND: "patron"})
assert any("/reservation-slip/" in line["attributes"][ACTIVITY] for line in lines), lines
subjects = {line["attributes"][SUBJECT] for line in lines}
assert len(subjects) == 1 and patron not in subjects, subjects
[reference] = subjects
assert answered({SUBJECT: reference}) == lines
assert answered({SUBJECT: reference, KIND: "zeef-ledger-patron"}) == lines
one = next(line for line in lines if "/reservation-slip/" in line["attributes"][ACTIVITY])
assert answered({SUBJECT: reference, "traceId": one["traceId"].upper()}) == [one]
by_activity = answered({SUBJECT: reference, ACTIVITY: one["attributes"][ACTIVITY]})
assert one in by_activity and len(by_activity) < len(lines), by_activity
assert answered({SUBJECT: reference, "startTime": one["startTime"], "endTime": one["endTime"]}) != []
assert answered({SUBJECT: reference, "startTime": one["startTime"] + 86400000}) == []
assert answered({SUBJECT: reference, "endTime": one["startTime"] - 1}) == []
assert answered({SUBJECT: "nobody", KIND: "patron"}) == []
print(reference)
"#;

/// `zeef ledger serve`, stopped when it is dropped.
pub(crate) struct Service {
    process: Child,
    _stdout: BufReader<ChildStdout>,
    address: String,
}

impl Service {
    pub(crate) fn start(deployment: &Deployment) -> Service {
        let token = token_file(deployment);
        let data = deployment.path("data");
        let words = ["ledger", "serve", "--directory", data.to_str().unwrap(), "--token-file"];
        let listen = [token.as_str(), "--listen", "127.0.0.1:0"];
        let mut command = deployment.command(&[&words[..], &listen].concat());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Service { process, _stdout: stdout, address }
    }

    fn post(&self, body: &str, token: &str) -> Output {
        const ASK: &str = "import sys, urllib.request as r\n\
                           headers = {'Authorization': 'Bearer ' + sys.argv[3]}\n\
                           asked = r.Request(sys.argv[1], data=sys.argv[2].encode(), headers=headers)\n\
                           print(r.urlopen(asked).read().decode())";
        Command::new("python3").args(["-c", ASK, &self.address, body, token]).output().unwrap()
    }

    /// Asks, and returns the answer's body.
    pub(crate) fn ask(&self, body: &str, token: &str) -> String {
        let Output { status, stdout, stderr } = self.post(body, token);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn token_file(deployment: &Deployment) -> String {
    let path = deployment.path("token");
    fs::write(&path, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn read_interface_answers_one_data_subject_in_the_shapes_of_the_standard() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let service = Service::start(&deployment);
    let asked = Command::new("python3")
        .args(["-c", CLIENT, &service.address, TOKEN, &id])
        .output()
        .expect("python3 is needed by this test");
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{said}");
    let reference = String::from_utf8(asked.stdout).unwrap();
    // A line for each look-up that was answered, and for none that was refused.
    let audit = deployment.ledger(&["audit", "--json"]);
    let lines: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let served: Vec<&serde_json::Value> =
        lines.iter().filter(|line| line["action"] == "ledger serve").collect();
    assert_eq!(served.len(), 9, "{audit}");
    let is_of_patron = |line: &&&serde_json::Value| {
        [&line["patron"], &line["subject"]].iter().any(|one| **one == reference.trim())
    };
    assert_eq!(served.iter().filter(is_of_patron).count(), 8, "{audit}");
    assert!(!audit.contains(CANARY) && !audit.contains(TOKEN), "{audit}");
    // Without the audit nothing is answered.
    let file = deployment.path("data/.zeef/audit/audit.ndjson");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let body = format!(
        "{{\"dpl.core.data_subject_id\":\"{id}\",\"dpl.core.data_subject_id_type\":\"patron\"}}"
    );
    let asked = service.post(&body, TOKEN);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(!asked.status.success() && said.contains("500"), "{said}");
}

#[test]
fn read_interface_is_refused_where_it_would_be_open() {
    let (deployment, _) = Deployment::with_ready_reservation();
    let data = deployment.path("data");
    let token = token_file(&deployment);
    let refuse = |words: &[&str], code: i32, want: &str| {
        let place = ["ledger", "serve", "--directory", data.to_str().unwrap()];
        let ran = deployment.command(&[&place[..], words].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(want) && !said.contains(TOKEN), "{want} in {said}");
    };
    refuse(&["--token-file", &token, "--listen", "0.0.0.0:0"], 2, "--tls-proxy");
    refuse(&[], 2, "--token-file");
    refuse(&["--token-file", "/nonexistent"], 78, "cannot be read");
    fs::write(&token, "short").unwrap();
    refuse(&["--token-file", &token], 78, "at least 32 bytes");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o666)).unwrap();
    refuse(&["--token-file", &token], 78, "cannot be read");
}

/// A second question reads nothing of what the first one read, and a third one what was added.
#[test]
fn read_interface_reads_what_was_added_and_nothing_twice() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let body = format!(
        "{{\"dpl.core.data_subject_id\":\"{id}\",\"dpl.core.data_subject_id_type\":\"patron\"}}"
    );
    let count = |text: &str| {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap();
        answer["processingActivities"].as_array().unwrap().len()
    };
    let service = Service::start(&deployment);
    let first = service.ask(&body, TOKEN);
    assert!(count(&first) > 2, "{first}");
    let exported = deployment.ledger(&["export", "--as", "ldv"]);
    let exported: Vec<serde_json::Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer: serde_json::Value = serde_json::from_str(&first).unwrap();
    for line in answer["processingActivities"].as_array().unwrap() {
        assert!(exported.contains(line), "{line}");
    }
    // Whoever read the file again would find it changed.
    let folder = deployment.path("data/.zeef/ledger");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let path = files.filter(|path| !path.ends_with("policy.ndjson")).max().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; whole.len()]).unwrap();
    assert_eq!(service.ask(&body, TOKEN), first);
    let other = Service::start(&deployment);
    let asked = other.post(&body, TOKEN);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(!asked.status.success() && said.contains("500"), "{said}");
    fs::write(&path, &whole).unwrap();
    // A line of another policy, whose text is new, too.
    let recipient = deployment.path("config/recipients/reservation-slip.toml");
    let text = fs::read_to_string(&recipient).unwrap();
    fs::write(&recipient, text.replacen("\"P14D\"", "\"P13D\"", 1)).unwrap();
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();
    let later = service.ask(&body, TOKEN);
    assert!(count(&later) > count(&first), "{later}");
    assert!(later.contains("\"retract\""), "{later}");
}
