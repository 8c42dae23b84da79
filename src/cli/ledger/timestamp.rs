//! `zeef ledger timestamp`: has an authority state when a checkpoint was there (RFC 3161).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::patron::format_time;
use super::read::LedgerReader;
use crate::cli::arguments::{
    LedgerTimestampArguments, LedgerTimestampCommand, TimestampAnswerArguments,
    TimestampListArguments, TimestampRequestArguments, TimestampTrustArguments,
};
use crate::cli::audit::AuditedAction;
use crate::cli::checkpoint_keys::verifier_keys;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::screen::{BAD, Screen, styled};
use crate::cli::table::TextTable;
use crate::config::settings::{ServerSettings, ServerUrl};
use crate::http::{HttpClient, HttpRequest, describe_status};
use crate::ledger::chain::ChainProblem;
use crate::ledger::checkpoint::verify::CheckpointVerifier;
use crate::ledger::timestamp::answer::{Authorities, Timestamp, claimed_nonce};
use crate::ledger::timestamp::request::TimestampRequest;
use crate::ledger::timestamp::{KeptRequest, KeptTimestamp, NoteDigest, TimestampVerifier};
use crate::transport::file::{FileMode, replace_file};

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";
/// How long an authority may take.
const AUTHORITY_TIMEOUT: Duration = Duration::from_secs(30);
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S UTC";

pub(super) fn run(
    arguments: &LedgerTimestampArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    match &arguments.command {
        LedgerTimestampCommand::Request(arguments) => request(arguments, screen),
        LedgerTimestampCommand::Answer(arguments) => answer(arguments, screen),
        LedgerTimestampCommand::List(arguments) => list(arguments, screen),
    }
}

/// Reads the certificates that the command line trusts.
///
/// # Errors
///
/// [`CliFailure::Usage`]
pub(super) fn read_authorities(trust: &TimestampTrustArguments) -> Result<Authorities, CliFailure> {
    let wrong = |text| CliFailure::Usage(format!("--ca {text}"));
    Authorities::read_files(&trust.authorities).map_err(wrong)
}

/// Reads the digests of all checkpoints' notes by number.
///
/// # Errors
///
/// A checkpoint is not as zeef wrote it: nothing is asked for then.
fn read_notes(
    reader: &LedgerReader<'_>,
    trust: &TimestampTrustArguments,
) -> anyhow::Result<BTreeMap<u64, NoteDigest>> {
    let keys = verifier_keys(reader.loaded, &trust.keys)?;
    let origin = reader.loaded.daemon.ledger.checkpoints.origin.as_str();
    let mut checkpoints = CheckpointVerifier::new(origin, &keys, None);
    reader.for_each_checkpoint(&mut |place, bytes| checkpoints.add_message(place, bytes))?;
    if let Some(ChainProblem { place, text }) = checkpoints.problems.first() {
        anyhow::bail!("{place}: {text}; see `zeef ledger verify`");
    }
    Ok(checkpoints.notes)
}

fn request(arguments: &TimestampRequestArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let authorities = read_authorities(&arguments.trust)?;
    let authority = arguments.url.as_deref().map(parse_url).transpose()?;
    LedgerReader::with_reader(&arguments.source, |reader| {
        let notes = read_notes(reader, &arguments.trust)?;
        let newest = notes.last_key_value();
        let (&checkpoint, digest) = newest.context("there is no checkpoint yet")?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| anyhow::anyhow!("no random bytes"))?;
        let kept = KeptRequest { checkpoint, request: TimestampRequest::new(*digest, random) };
        record_audit(reader, "ledger timestamp request", checkpoint)?;
        reader.append_timestamp(&kept.to_message(None))?;
        let Some(authority) = authority else {
            let default = || PathBuf::from(format!("checkpoint-{checkpoint}.tsq"));
            let path = arguments.out.clone().unwrap_or_else(default);
            replace_file(&path, FileMode::for_file(false), &kept.request.to_der())?;
            let path = path.display();
            writeln!(screen, "{path}: the request for checkpoint {checkpoint}")?;
            return Ok(Exit::Success);
        };
        let answer = ask_authority(authority, &kept.request)?;
        let verifier = TimestampVerifier::new(&notes, &authorities);
        let timestamp = verifier.verify(&kept, &answer).context("the authority's answer")?;
        reader.append_timestamp(&kept.to_message(Some(&answer)))?;
        write_kept(&KeptTimestamp { checkpoint, timestamp, answer }, screen)
    })
}

fn record_audit(reader: &LedgerReader<'_>, words: &str, checkpoint: u64) -> anyhow::Result<()> {
    let subject = checkpoint.to_string();
    reader.record_audit(AuditedAction { words, subject: Some(&subject), patron: None })
}

fn parse_url(text: &str) -> Result<ServerUrl, CliFailure> {
    // Not quoted: it may hold a password.
    let wrong = || "--url: expected http:// or https://, without a login or a query".to_owned();
    ServerUrl::parse(text).ok_or_else(|| CliFailure::Usage(wrong()))
}

/// Sends a request. The answer is signed, so that TLS is not needed.
fn ask_authority(url: ServerUrl, request: &TimestampRequest) -> anyhow::Result<Vec<u8>> {
    let server = ServerSettings { url, login: None, ca_file: None, timeout: AUTHORITY_TIMEOUT };
    let client = HttpClient::new(server);
    let content = Some((QUERY, request.to_der()));
    let answer = client.ask(HttpRequest { path: "", accepted: REPLY, content });
    let failed = match answer {
        Ok(answer) if answer.status == 200 => return Ok(answer.body),
        Ok(answer) => describe_status(answer.status, "whom it serves"),
        Err(why) => why,
    };
    anyhow::bail!("{}: {failed}", client.address())
}

fn answer(arguments: &TimestampAnswerArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let authorities = read_authorities(&arguments.trust)?;
    let path = arguments.answer.as_path();
    let answer = std::fs::read(path);
    let answer = answer.with_context(|| format!("failed to read {}", path.display()))?;
    LedgerReader::with_reader(&arguments.source, |reader| {
        let shown = || path.display().to_string();
        let notes = read_notes(reader, &arguments.trust)?;
        let asked = find_request(reader, &answer).with_context(shown)?;
        let kept = asked.with_context(shown)?;
        let verifier = TimestampVerifier::new(&notes, &authorities);
        let timestamp = verifier.verify(&kept.request, &answer).with_context(shown)?;
        let checkpoint = kept.request.checkpoint;
        if kept.answers.contains(&answer) {
            writeln!(screen, "{}: it is kept already", path.display())?;
            return Ok(Exit::Success);
        }
        record_audit(reader, "ledger timestamp answer", checkpoint)?;
        reader.append_timestamp(&kept.request.to_message(Some(&answer)))?;
        write_kept(&KeptTimestamp { checkpoint, timestamp, answer: answer.clone() }, screen)
    })
}

/// A request, and the answers to it that are kept.
struct AskedTimestamp {
    request: KeptRequest,
    answers: Vec<Vec<u8>>,
}

/// Finds the request that an answer claims to be of.
fn find_request(
    reader: &LedgerReader<'_>,
    answer: &[u8],
) -> anyhow::Result<anyhow::Result<AskedTimestamp>> {
    let nonce = match claimed_nonce(answer) {
        Ok(nonce) => nonce.unwrap_or_default(),
        Err(error) => return Ok(Err(error.into())),
    };
    let (mut request, mut answers) = (None, Vec::new());
    reader.for_each_timestamp(&mut |_, bytes| {
        if let Some((kept, answer)) = KeptRequest::read_message(bytes)
            && kept.request.nonce() == nonce
        {
            answers.extend(answer);
            request.get_or_insert(kept);
        }
    })?;
    let found = request.map(|request| AskedTimestamp { request, answers });
    Ok(found.context("it answers no request of this ledger"))
}

fn write_kept(kept: &KeptTimestamp, screen: &mut Screen) -> anyhow::Result<Exit> {
    writeln!(screen, "{}", describe(kept))?;
    Ok(Exit::Success)
}

/// Says what a timestamp proves.
pub(super) fn describe(kept: &KeptTimestamp) -> String {
    let KeptTimestamp { checkpoint, timestamp, .. } = kept;
    let Timestamp { time, authority, .. } = timestamp;
    let time = format_time(*time, TIME_FORMAT);
    let known = match timestamp.is_of_known_authority {
        true => "",
        false => " (whose certificate is not verified without --ca)",
    };
    format!("checkpoint {checkpoint} was there at {time}, by {authority}{known}")
}

/// A timestamp as JSON.
pub(super) fn to_json(kept: &KeptTimestamp) -> Value {
    let KeptTimestamp { checkpoint, timestamp, answer } = kept;
    json!({
        "checkpoint": checkpoint,
        "time": format_time(timestamp.time, "%Y-%m-%dT%H:%M:%SZ"),
        "authority": timestamp.authority,
        "certificate": timestamp.certificate,
        "serial": timestamp.serial,
        "policy": timestamp.policy,
        "authority_verified": timestamp.is_of_known_authority,
        "answer": STANDARD.encode(answer),
    })
}

fn list(arguments: &TimestampListArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let authorities = read_authorities(&arguments.trust)?;
    LedgerReader::with_reader(&arguments.source, |reader| {
        let notes = read_notes(reader, &arguments.trust)?;
        let mut verifier = TimestampVerifier::new(&notes, &authorities);
        reader.for_each_timestamp(&mut |place, bytes| verifier.add_message(place, bytes))?;
        match arguments.source.json {
            true => write_json(&verifier, screen)?,
            false => write_table(&verifier, screen)?,
        }
        Ok(if verifier.problems.is_empty() { Exit::Success } else { Exit::Failed })
    })
}

fn write_json(verifier: &TimestampVerifier<'_>, screen: &mut Screen) -> anyhow::Result<()> {
    let problem = |one: &ChainProblem| json!({ "place": one.place, "problem": one.text });
    let open = |one: &KeptRequest| json!({ "checkpoint": one.checkpoint, "request": STANDARD.encode(one.request.to_der()) });
    let answer = json!({
        "timestamps": verifier.timestamps.iter().map(to_json).collect::<Vec<_>>(),
        "open": verifier.open.iter().map(open).collect::<Vec<_>>(),
        "problems": verifier.problems.iter().map(problem).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *screen, &answer)?;
    writeln!(screen)?;
    Ok(())
}

fn write_table(verifier: &TimestampVerifier<'_>, screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = TextTable::new(&["CHECKPOINT", "TIME", "AUTHORITY", "VERIFIED", "SERIAL"]);
    for KeptTimestamp { checkpoint, timestamp, .. } in &verifier.timestamps {
        let is_verified = if timestamp.is_of_known_authority { "yes" } else { "no" };
        table.add_row([
            checkpoint.to_string().into(),
            format_time(timestamp.time, TIME_FORMAT).into(),
            timestamp.authority.clone().into(),
            is_verified.into(),
            timestamp.serial.clone().into(),
        ]);
    }
    for KeptRequest { checkpoint, .. } in &verifier.open {
        let cells = [checkpoint.to_string(), "no answer yet".to_owned()];
        let empty = std::iter::repeat_n(String::new(), 3);
        table.add_row(cells.into_iter().chain(empty).map(Into::into));
    }
    let width = screen.width();
    table.write(screen, width)?;
    for ChainProblem { place, text } in &verifier.problems {
        writeln!(screen, "{} {place}: {text}", styled(BAD, "broken"))?;
    }
    Ok(())
}
