//! The consumers of `deploy/examples`: they parse, and take a null for a message.

use std::process::Command;

/// What a partner's program does with messages, by the Python consumer itself.
const PYTHON_CHECK: &str = r#"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "deploy/examples")
import consumer

class Message:
    def __init__(self, key, value, headers):
        self._key, self._value, self._headers = key, value, headers
    def key(self): return self._key
    def value(self): return self._value
    def headers(self): return self._headers

version = [("zeef-contract-version", b"0123456789ab")]
erased = []
consumer.erase_copies = erased.append
records = {}
consumer.apply(records, Message(b"k", b'{"a":1}', version), "0123456789ab")
assert records == {b"k": {"a": 1}}, records
consumer.apply(records, Message(b"k", b'{}', version), "0123456789ab")
assert records == {b"k": {}}, records
consumer.apply(records, Message(b"k", None, version + [("zeef-retraction-reason", b"erase")]), "0123456789ab")
assert records == {} and erased == [b"k"], (records, erased)
identified = [("zeef-retraction-id", b"0" * 32)]
assert consumer.apply(records, Message(b"idle", None, None), "0123456789ab") is None
assert consumer.apply(records, Message(b"k", None, version + identified), "0123456789ab") == "0" * 32
assert consumer.apply(records, Message(b"l", b'{}', version), "0123456789ab") is None
assert records == {b"l": {}}

class Producer:
    def __init__(self, error): self.error, self.sent = error, []
    def produce(self, topic, key, value, on_delivery):
        self.sent.append((topic, key, value))
        on_delivery(self.error, None)
    def flush(self, _timeout): return 0

written = Producer(None)
consumer.acknowledge(written, "ack.slip", b"k", "0" * 32)
assert written.sent == [("ack.slip", b"k", "0" * 32)], written.sent
try:
    consumer.acknowledge(Producer("refused"), "ack.slip", b"k", "0" * 32)
    raise AssertionError("a refused acknowledgement is taken for written")
except SystemExit:
    pass
try:
    consumer.apply(records, Message(b"k", b'{}', version), "another")
    raise AssertionError("another contract is accepted")
except SystemExit:
    pass
"#;

#[test]
fn python_consumer_takes_a_null_for_a_retraction() {
    let output = Command::new("python3").args(["-c", PYTHON_CHECK]).output();
    let output = output.expect("python3 is needed by this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Without Kafka's library javac knows no class of it; where a file does not parse, it says so
/// before it looks for classes.
#[test]
fn java_consumer_parses() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("javac")
        .args(["-XDrawDiagnostics", "-d"])
        .arg(folder.path())
        .arg("deploy/examples/Consumer.java")
        .output();
    let output = match output {
        Ok(output) => output,
        // As tests of a broker do: never in CI.
        Err(error) => {
            let is_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!is_ci, "javac is needed by this test: {error}");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("compiler.err.")).collect();
    let is_of_library =
        |line: &&&str| line.contains("err.doesnt.exist") || line.contains("err.cant.resolve");
    assert_eq!(errors.iter().filter(is_of_library).count(), errors.len(), "{text}");
    assert!(!errors.is_empty() || output.status.success(), "{text}");
}
