//! Timestamps hold for one checkpoint, at one time, by one authority; and no byte of that can be
//! changed.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use zeef::ledger::timestamp::answer::{Authorities, Timestamp, TimestampError, read_answer};
use zeef::ledger::timestamp::request::TimestampRequest;
use zeef::ledger::timestamp::{KeptRequest, TimestampVerifier};
use zeef_test_kit::timestamp_authority::{AUTHORITY_NAME, AuthorityOptions, TestAuthority};

use super::audit::run_in_directory;
use super::checkpoints::{check_script, library};
use super::command_line::{CANARY, Deployment, reservation};

fn request() -> TimestampRequest {
    TimestampRequest::new([7; 32], [1, 2, 3, 4, 5, 6, 7, 8])
}

fn trusted(authority: &TestAuthority) -> Authorities {
    Authorities::read_files(&[authority.ca_file()]).unwrap()
}

fn authority(folder: &Path, options: AuthorityOptions) -> (TestAuthority, Vec<u8>) {
    let authority = TestAuthority::new(folder, options);
    let answer = authority.answer(&request().to_der());
    (authority, answer)
}

/// Where `part` stands in `whole`.
fn place_of(whole: &[u8], part: &[u8]) -> Range<usize> {
    let mut windows = whole.windows(part.len());
    let at = windows.position(|window| window == part).expect("it is there");
    at..at + part.len()
}

/// The content, the signed attributes and the signature of an answer, and the certificate that the
/// attributes name.
fn covered_ranges(authority: &TestAuthority, answer: &[u8]) -> Vec<Range<usize>> {
    // The content begins with its version and its policy, and ends with the nonce.
    let policy = [6, 4, 42, 3, 4, 1];
    let nonce = request().nonce().to_vec();
    let content = place_of(answer, &policy).start..place_of(answer, &nonce).end;
    // The attributes begin with that of the content's kind; the signature ends the answer.
    let kind = [6, 9, 42, 134, 72, 134, 247, 13, 1, 9, 3];
    let attributes = place_of(answer, &kind).start..place_of(answer, &kind).end + 100;
    let signature = answer.len() - 64..answer.len();
    vec![content, attributes, signature, place_of(answer, &authority.certificate())]
}

/// Every changed byte is refused, or says the same: what nothing covers is the version of the
/// structures, names of algorithms that are said twice, and certificates of others.
#[test]
fn timestamp_with_any_changed_byte_is_refused_or_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, certificate_digest) in [("new", "sha256"), ("old", "sha1"), ("long", "sha512")] {
        let options = AuthorityOptions { certificate_digest, ..AuthorityOptions::default() };
        let (authority, answer) = authority(&folder.path().join(name), options);
        let covered = covered_ranges(&authority, &answer);
        for authorities in [trusted(&authority), Authorities::default()] {
            let good = read_answer(&answer, &request(), &authorities).unwrap();
            let mut passed = 0;
            for at in 0..answer.len() {
                for change in [1, 0x20, 0x80, 0xff] {
                    let mut changed = answer.clone();
                    changed[at] ^= change;
                    let Ok(said) = read_answer(&changed, &request(), &authorities) else {
                        continue;
                    };
                    passed += 1;
                    assert_eq!(said, good, "{name}: byte {at} ^ {change:x}");
                    let is_covered = covered.iter().any(|range| range.contains(&at));
                    assert!(!is_covered, "{name}: byte {at} ^ {change:x}");
                }
            }
            assert!(passed < answer.len(), "{name}: {passed} of {}", answer.len());
            for length in 0..answer.len() {
                let cut = read_answer(&answer[..length], &request(), &authorities);
                assert!(cut.is_err(), "{name}: {length}");
            }
            let longer = [&answer[..], &[0]].concat();
            assert_eq!(read_answer(&longer, &request(), &authorities), Err(TimestampError::Format));
        }
    }
}

#[test]
fn timestamp_says_what_the_authority_signed() {
    let folder = tempfile::tempdir().unwrap();
    let before = jiff::Timestamp::now().as_second();
    let (authority, answer) = authority(folder.path(), AuthorityOptions::default());
    let after = jiff::Timestamp::now().as_second();
    let Timestamp { time, serial, policy, authority: name, certificate, is_of_known_authority } =
        read_answer(&answer, &request(), &trusted(&authority)).unwrap();
    assert!((before..=after).contains(&time), "{before} {time} {after}");
    assert_eq!((serial.as_str(), policy.as_str()), ("01", "1.2.3.4.1"));
    assert_eq!(name, AUTHORITY_NAME);
    assert_eq!(certificate, zeef::ledger::block::digest_hex(&authority.certificate()));
    assert!(is_of_known_authority);
    let unknown = read_answer(&answer, &request(), &Authorities::default()).unwrap();
    assert!(!unknown.is_of_known_authority);
}

/// Nobody but the authority, nothing but this request, and no certificate for something else.
#[test]
fn timestamp_of_another_request_authority_or_purpose_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (own, answer) = authority(&folder.path().join("own"), AuthorityOptions::default());
    let read = |request: &TimestampRequest| read_answer(&answer, request, &trusted(&own));
    let other_digest = TimestampRequest::new([8; 32], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(read(&other_digest), Err(TimestampError::OtherDigest));
    let other_nonce = TimestampRequest::new([7; 32], [1, 2, 3, 4, 5, 6, 7, 9]);
    assert_eq!(read(&other_nonce), Err(TimestampError::OtherRequest));
    let is_refused = |name: &str, options: AuthorityOptions, want: &str| {
        let (authority, answer) = authority(&folder.path().join(name), options);
        let said = read_answer(&answer, &request(), &trusted(&authority)).unwrap_err().to_string();
        assert!(said.contains(want), "{name}: {said}");
    };
    let options = AuthorityOptions::default();
    is_refused("late", AuthorityOptions { valid: (-7200, -3600), ..options }, "expired");
    is_refused("early", AuthorityOptions { valid: (3600, 7200), ..options }, "not yet valid");
    is_refused("other digest", AuthorityOptions { digest: "sha512", ..options }, "status 2");
    let (stranger, _) = authority(&folder.path().join("stranger"), options);
    let by_stranger = read_answer(&answer, &request(), &trusted(&stranger)).unwrap_err();
    assert!(by_stranger.to_string().contains("self-signed"), "{by_stranger}");
    assert_eq!(read_answer(b"", &request(), &trusted(&own)), Err(TimestampError::Format));
    // By the same CA's certificate for timestamps, and by one that is for something else.
    let resigned = own.sign_content_of(&answer);
    assert!(read_answer(&resigned, &request(), &trusted(&own)).is_ok());
    let for_others = AuthorityOptions { is_for_timestamps: false, ..options };
    let for_others = TestAuthority::new(&folder.path().join("for-others"), for_others);
    let resigned = for_others.sign_content_of(&answer);
    let said = read_answer(&resigned, &request(), &trusted(&for_others)).unwrap_err().to_string();
    assert!(said.contains("purpose"), "{said}");
}

/// A certificate that has ended since proves what was signed while it was valid.
#[test]
fn timestamp_holds_after_the_certificate_of_its_authority_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let options = AuthorityOptions { valid: (-5, 3), ..AuthorityOptions::default() };
    let (authority, answer) = authority(folder.path(), options);
    let first = read_answer(&answer, &request(), &trusted(&authority)).unwrap();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(read_answer(&answer, &request(), &trusted(&authority)), Ok(first));
}

#[test]
fn timestamp_of_a_checkpoint_that_is_another_one_or_gone_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let (_, answer) = authority(folder.path(), AuthorityOptions::default());
    let kept = KeptRequest { checkpoint: 3, request: request() };
    let problems = |notes: &BTreeMap<u64, [u8; 32]>, messages: &[Vec<u8>]| {
        let authorities = Authorities::default();
        let mut verifier = TimestampVerifier::new(notes, &authorities);
        messages.iter().for_each(|message| verifier.add_message(&String::new, message));
        let texts = verifier.problems.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        (verifier.timestamps.len(), verifier.open.len(), texts.join("; "))
    };
    let [asked, answered] = [None, Some(answer.as_slice())].map(|one| kept.to_message(one));
    let here = BTreeMap::from([(3, [7; 32])]);
    assert_eq!(problems(&here, std::slice::from_ref(&asked)), (0, 1, String::new()));
    let all = [asked, answered.clone(), answered.clone()];
    assert_eq!(problems(&here, &all), (1, 0, String::new()));
    let (held, _, said) = problems(&BTreeMap::from([(3, [9; 32])]), &all[1..2]);
    assert!(held == 0 && said.contains("another one now"), "{said}");
    let (held, _, said) = problems(&BTreeMap::from([(2, [7; 32])]), &all[1..2]);
    assert!(held == 0 && said.contains("rolled back"), "{said}");
    let (_, _, said) = problems(&here, &[b"{}".to_vec()]);
    assert!(said.contains("neither"), "{said}");
}

/// Runs a command in the directory of a library, and checks how it ends and what it says.
#[track_caller]
fn check(deployment: &Deployment, words: &[&str], code: i32, want: &str) -> String {
    let ran = run_in_directory(deployment, words);
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert_eq!(ran.status.code(), Some(code), "{words:?}: {said}");
    assert!(said.contains(want), "{words:?}: no {want:?} in {said}");
    assert!(!said.contains(CANARY), "{said}");
    said
}

fn audited(deployment: &Deployment) -> Vec<(String, String)> {
    let path = deployment.path("data/.zeef/audit/audit.ndjson");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let timestamps = lines.filter(|line| line["action"].as_str().unwrap().contains("timestamp"));
    let told = timestamps.map(|line| {
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        (word("action"), word("subject"))
    });
    told.collect()
}

#[test]
fn timestamp_is_asked_for_kept_and_verified_by_files() {
    let (deployment, id) = library();
    let authority = TestAuthority::new(&deployment.path("tsa"), AuthorityOptions::default());
    let ca = authority.ca_file().display().to_string();
    let [query, reply] = ["q.tsq", "r.tsr"].map(|name| deployment.path(name).display().to_string());
    let request = ["ledger", "timestamp", "request", "--out", &query];
    check(&deployment, &request, 0, "the request for checkpoint 1");
    check(&deployment, &["ledger", "timestamp", "list"], 0, "no answer yet");
    let verified = check(&deployment, &["ledger", "verify"], 0, "1 checkpoints");
    assert!(!verified.contains("timestamp"), "{verified}");

    let answer = authority.answer(&fs::read(&query).unwrap());
    fs::write(&reply, &answer).unwrap();
    let note = fs::read(deployment.path("elsewhere")).unwrap();
    assert!(authority.is_verified(&note, &answer), "openssl refuses it");
    let keep = ["ledger", "timestamp", "answer", &reply, "--ca", &ca];
    let said = check(&deployment, &keep, 0, "checkpoint 1 was there at ");
    assert!(said.contains(AUTHORITY_NAME) && !said.contains("not verified"), "{said}");
    check(&deployment, &keep, 0, "it is kept already");
    let listed = check(&deployment, &["ledger", "timestamp", "list"], 0, AUTHORITY_NAME);
    assert!(!listed.contains("no answer yet"), "{listed}");
    let want = [("request", "1"), ("answer", "1")]
        .map(|(what, number)| (format!("ledger timestamp {what}"), number.to_owned()));
    assert_eq!(audited(&deployment), want);

    // What came later is not proved by it.
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();
    let verified = check(&deployment, &["ledger", "verify"], 0, "1 timestamp; checkpoint 1 was");
    assert!(verified.contains("2 checkpoints") && verified.contains("without --ca"), "{verified}");
    let json = deployment.ledger(&["verify", "--ca", &ca, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let told = &json["timestamps"][0];
    assert_eq!((&told["checkpoint"], &told["authority_verified"]), (&1.into(), &true.into()));
    assert_eq!(told["authority"], AUTHORITY_NAME);
    check_script(&deployment, true);
    let stranger = TestAuthority::new(&deployment.path("tsa2"), AuthorityOptions::default());
    let stranger_ca = stranger.ca_file().display().to_string();
    let refused = ["ledger", "verify", "--ca", &stranger_ca];
    check(&deployment, &refused, 1, "timestamp of checkpoint 1: its signature does not hold");
    check(&deployment, &[&refused[..], &["--ca", &ca]].concat(), 0, "1 timestamp");

    // Answers to nobody's request, and what is none.
    let other = TimestampRequest::new([7; 32], [1; 8]);
    fs::write(&reply, authority.answer(&other.to_der())).unwrap();
    check(&deployment, &keep, 1, "it answers no request of this ledger");
    fs::write(&reply, b"{}").unwrap();
    check(&deployment, &keep, 1, "no answer of a timestamp authority");
    let missing = ["ledger", "timestamp", "list", "--ca", "/no/such/file"];
    check(&deployment, &missing, 2, "/no/such/file");
    assert_eq!(audited(&deployment).len(), 2);
}

/// Whoever has the key and writes all of it anew has no timestamp of that.
#[test]
fn ledger_written_anew_with_its_key_is_not_what_the_timestamp_says() {
    let (deployment, _) = library();
    let authority = TestAuthority::new(&deployment.path("tsa"), AuthorityOptions::default());
    let url = format!("http://{}", authority.serve(200, 1));
    let ca = authority.ca_file().display().to_string();
    let request = ["ledger", "timestamp", "request", "--url", &url, "--ca", &ca];
    check(&deployment, &request, 0, "checkpoint 1 was there at ");
    check(&deployment, &["ledger", "verify", "--ca", &ca], 0, "1 timestamp; checkpoint 1");
    let file = deployment.path("data/.zeef/checkpoints/checkpoints.ndjson");
    fs::remove_file(file).unwrap();
    fs::remove_file(deployment.path("elsewhere")).unwrap();
    check(&deployment, &["ledger", "verify", "--ca", &ca], 1, "it was rolled back");
    deployment.run();
    let verify = ["ledger", "verify", "--ca", &ca];
    check(&deployment, &verify, 1, "the checkpoint of this number is another one now");
}

#[test]
fn timestamp_authority_that_gives_no_answer_that_holds_leaves_none() {
    let (deployment, _) = library();
    let folder = |name: &str| deployment.path(name);
    let options = AuthorityOptions::default();
    let good = TestAuthority::new(&folder("good"), options);
    let strict =
        TestAuthority::new(&folder("strict"), AuthorityOptions { digest: "sha512", ..options });
    let ca = good.ca_file().display().to_string();
    let ask = |url: &str, code: i32, want: &str| {
        let words = ["ledger", "timestamp", "request", "--url", url, "--ca", &ca];
        check(&deployment, &words, code, want);
    };
    ask(&format!("http://{}", good.serve(503, 1)), 1, "it answers 503");
    ask(&format!("http://{}", strict.serve(200, 1)), 1, "the authority refused it, status 2");
    let stranger = TestAuthority::new(&folder("stranger"), options);
    ask(&format!("http://{}", stranger.serve(200, 1)), 1, "its signature does not hold");
    ask("http://a:CANARY@127.0.0.1", 2, "without a login");
    ask("http://127.0.0.1:9", 1, "http://127.0.0.1:9: ");
    let listed = deployment.ledger(&["timestamp", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["timestamps"], serde_json::json!([]));
    assert_eq!(listed["open"].as_array().unwrap().len(), 4, "{listed}");
    assert_eq!(audited(&deployment).len(), 4);
}
