//! Exports of what recipients have: each format of the same outputs, by the built binary from
//! a directory, and by the library from the golden cases.
//!
//! `UPDATE_SCHEMAS=1 cargo test --test export` writes the schemas of `tests/export` anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use zeef::config::LoadedConfig;
use zeef::export::pdf::{PdfHeading, render_pdf};
use zeef::export::{ExportProfile, ExportRecord, export_profile, read_record, xml, xsd};
use zeef_test_kit::config::{copy_shipped_config, enable_all_recipients, load_shipped_config};
use zeef_test_kit::golden::read_cases;
use zeef_test_kit::process::{self, CommandOutput};

fn run_zeef(arguments: &[&str]) -> CommandOutput {
    CommandOutput::of(&mut process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments))
}

/// Returns whether `xmllint` is there; in CI it has to be.
fn has_xmllint() -> bool {
    let found = Command::new("xmllint").arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "xmllint is missing");
    found
}

/// Fails unless the file is valid by the schema.
#[track_caller]
fn validate(schema: &Path, file: &Path) {
    if !has_xmllint() {
        return;
    }
    let mut command = Command::new("xmllint");
    let result = command.args(["--noout", "--nonet", "--schema"]).arg(schema).arg(file).output();
    let result = result.unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

/// A directory in which `sources` were run, with its config.
struct Deployment {
    config: TempDir,
    root: TempDir,
}

impl Deployment {
    fn new(sources: &[(&str, &[Value])]) -> Deployment {
        Deployment::with_config(copy_shipped_config(), sources)
    }

    fn with_config(config: TempDir, sources: &[(&str, &[Value])]) -> Deployment {
        let deployment = Deployment { config, root: tempfile::tempdir().unwrap() };
        deployment.zeef(&["keys", "new", "--all"]).check(0, &[]);
        fs::create_dir(deployment.root.path().join("in")).unwrap();
        for (source, records) in sources {
            deployment.append(source, records);
        }
        deployment.run();
        deployment
    }

    /// Appends records, each keyed by its patron; a string erases the patron with that id.
    fn append(&self, source: &str, records: &[Value]) {
        let lines = records.iter().map(|record| match record.as_str() {
            Some(patron) => json!({ "key": patron, "value": null }).to_string() + "\n",
            None => json!({ "key": record["patron_id"], "value": record }).to_string() + "\n",
        });
        let path = self.root.path().join(format!("in/{source}.ndjson"));
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + &lines.collect::<String>()).unwrap();
    }

    fn run(&self) {
        let directory = self.root.path().to_str().unwrap();
        self.zeef(&["run", "--admin", "none", "--directory", directory]).check(0, &[]);
    }

    fn zeef(&self, arguments: &[&str]) -> CommandOutput {
        let config = self.config.path().to_str().unwrap();
        run_zeef(&[arguments, &["--config", config]].concat())
    }

    fn export(&self, arguments: &[&str]) -> CommandOutput {
        let directory = self.root.path().to_str().unwrap();
        self.zeef(&[&["export"], arguments, &["--directory", directory]].concat())
    }
}

fn patron(id: &str, surname: &str) -> Value {
    json!({
        "patron_id": id, "library": "NL-AmrBKW", "country": "NL", "kind": "person",
        "card_number": "20013004567890", "initials": "IJ.M.", "surname_prefix": "van der",
        "surname": surname, "birth_date": "1985-07-30", "email": "ij@example.org",
        "phone": "+31 6 00000000",
        "address": { "street": "Dorpsstraat", "house_number": 12, "postcode": "1811 AB",
            "city": "Alkmaar" },
        "membership": { "id": format!("M-{id}"), "status": "active" },
    })
}

fn debt(id: &str, patron: &str, title: &str, cents: i64) -> Value {
    json!({
        "debt_id": id, "patron_id": patron, "library": "NL-AmrBKW", "kind": "late",
        "items": [
            { "title": title, "due_on": "2025-06-01", "amount_cents": cents - 100 },
            { "title": "Nog een boek", "due_on": "2025-06-08", "amount_cents": 100 },
        ],
        "amount_cents": cents, "currency": "EUR", "stage": "collection",
        "reminded_at": "2026-07-01T08:00:00Z", "invoiced_at": "2026-08-01T08:00:00Z",
        "referred_at": "2026-10-01T08:00:00+02:00", "status": "open",
    })
}

fn debts() -> Deployment {
    Deployment::new(&[
        ("patron", &[patron("p-1", "Berg"), patron("p-2", "Жуковски & Zn <b>")]),
        (
            "debt",
            &[
                debt("d-1", "p-1", "=SUM(A1)\u{1b}", 1_250),
                debt("d-2", "p-2", "字典, \"deel 2\"", 123_450),
                debt("d-3", "p-2", "Betaald", 500),
            ],
        ),
    ])
}

#[test]
fn export_has_the_last_version_of_what_was_not_taken_back() {
    let deployment = debts();
    let names = |output: &CommandOutput| {
        let all: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
        let mut ids: Vec<_> = all.iter().map(|one| one["debt_id"].to_string()).collect();
        ids.sort();
        ids.join(" ")
    };
    let all = deployment.export(&["deurwaarder", "--as", "json"]);
    all.check(0, &[]);
    assert_eq!(names(&all), r#""d-1" "d-2" "d-3""#);
    let mut settled = debt("d-3", "p-2", "Betaald", 500);
    settled["status"] = json!("settled");
    deployment.append("debt", &[settled, debt("d-1", "p-1", "Titel", 1_300)]);
    deployment.append("patron", &[json!("p-2")]);
    deployment.run();
    let left = deployment.export(&["deurwaarder", "--as", "ndjson"]);
    left.check(0, &[]);
    assert_eq!(left.stdout.lines().count(), 1, "{}", left.stdout);
    let one: Value = serde_json::from_str(&left.stdout).unwrap();
    assert_eq!((&one["debt_id"], &one["amount_cents"]), (&json!("d-1"), &json!(1_300)));
    // Nothing was ever written of this one.
    let none = deployment.export(&["ill-library", "--as", "json"]);
    none.check(0, &[]);
    assert_eq!(none.stdout, "[\n]\n");
}

#[test]
fn csv_export_can_be_read_back_and_holds_no_formula() {
    let deployment = debts();
    let csv = deployment.export(&["deurwaarder"]).stdout;
    let mut lines = csv.split("\r\n");
    assert_eq!(
        lines.next().unwrap(),
        "name,birth_date,address.street,address.house_number,address.house_number_suffix,\
         address.postcode,address.city,address.country,email,phone,card_number,debt_id,kind,\
         items.title,items.due_on,items.amount_cents,amount_cents,currency,referred_at"
    );
    for want in [
        "'=SUM(A1)",
        "'+31 6 00000000",
        "\"字典, \"\"deel 2\"\" | Nog een boek\",2025-06-01 | 2025-06-08,123350 | 100,123450,EUR",
    ] {
        assert!(csv.contains(want), "no {want} in {csv}");
    }
    let excel = deployment.export(&["deurwaarder", "--excel"]).stdout;
    assert!(excel.starts_with("\u{feff}name;birth_date;"), "{excel}");
}

#[test]
fn xml_export_is_valid_by_the_schema_beside_it() {
    let deployment = debts();
    let folder = tempfile::tempdir().unwrap();
    let [file, schema] = ["out.xml", "out.xsd"].map(|name| folder.path().join(name));
    let paths = [&file, &schema].map(|path| path.to_str().unwrap());
    let words = ["deurwaarder", "--as", "xml", "--out", paths[0], "--xsd", paths[1]];
    deployment.export(&words).check(0, &["3 outputs in "]);
    let text = fs::read_to_string(&file).unwrap();
    for want in ["Жуковски &amp; Zn &lt;b&gt;", "<amount_cents>123450</amount_cents>", "字典"]
    {
        assert!(text.contains(want), "no {want} in {text}");
    }
    assert!(!text.contains('\u{1b}'));
    validate(&schema, &file);
    for path in [&file, &schema] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn export_is_written_through_no_link() {
    let deployment = debts();
    let folder = tempfile::tempdir().unwrap();
    let [kept, link] = ["kept", "link"].map(|name| folder.path().join(name));
    fs::write(&kept, "kept").unwrap();
    symlink(&kept, &link).unwrap();
    let refused = deployment.export(&["deurwaarder", "--out", link.to_str().unwrap()]);
    refused.check(1, &["it is a link"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
}

#[test]
fn slips_export_is_for_recipients_with_slips() {
    let reservation = json!({
        "reservation_id": "r-1", "patron_id": "p-1", "library": "NL-AmrBKW",
        "status": "ready_for_pickup", "pickup_branch": "Centrum", "expires_on": "2099-01-01",
        "item": { "title": "De geschiedenis van de stad en haar bewoners, deel 2" },
    });
    let deployment =
        Deployment::new(&[("patron", &[patron("p-1", "Berg")]), ("reservation", &[reservation])]);
    let slips = deployment.export(&["reservation-slip", "--as", "slips"]);
    slips.check(0, &[]);
    assert_eq!(
        slips.stdout,
        "Be\nBe IJ\n67890\nDe geschiedenis van de stad en haar\nbewoners, deel 2\nCentrum\n\
         2099-01-01\n"
    );
    deployment.export(&["deurwaarder", "--as", "slips"]).check(2, &["deurwaarder has no slips"]);
}

#[test]
fn export_refuses_what_it_cannot_do() {
    let deployment = debts();
    let check = |arguments: &[&str], code: i32, want: &str| {
        let result = deployment.export(arguments);
        result.check(code, &[want]);
        assert_eq!(result.stdout, "");
    };
    check(&["deurwarder"], 2, "did you mean `deurwaarder`?");
    check(&["deurwaarder", "--as", "json", "--excel"], 2, "--excel is for csv");
    check(&["deurwaarder", "--xsd", "x"], 2, "--xsd is for xml");
    check(
        &["deurwaarder", "--library", "NL-AmrBKW"],
        2,
        "the outputs of deurwaarder do not say of which library they are",
    );
    let path = deployment.config.path().join("recipients/deurwaarder.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("enabled = false\n{text}")).unwrap();
    check(&["deurwaarder"], 2, "recipient `deurwaarder` is switched off");
    // Another policy than that of the outputs, which no run has rewritten yet.
    fs::write(&path, text.replace("kind         = { from = \"kind\" }\n", "")).unwrap();
    check(&["deurwaarder"], 1, "a field that the recipient's file does not name");
    fs::write(&path, text).unwrap();
    let file = deployment.root.path().join("out/deurwaarder/out.deurwaarder.ndjson");
    let lines = fs::read(&file).unwrap();
    fs::write(&file, &lines[..lines.len() - 10]).unwrap();
    check(&["deurwaarder"], 1, "out.deurwaarder.ndjson");
}

#[test]
fn library_is_selected_by_field() {
    let other = |id: &str, library: &str| {
        let mut patron = patron(id, "Berg");
        patron["library"] = json!(library);
        patron["online_account"] = json!({ "created_at": "2025-04-01T09:30:00Z" });
        patron
    };
    let deployment = Deployment::new(&[(
        "patron",
        &[other("p-1", "NL-AmrBKW"), other("p-2", "NL-0800070000"), other("p-3", "NL-AmrBKW")],
    )]);
    let count = |arguments: &[&str]| {
        let result =
            deployment.export(&[&["kb-recognition", "--as", "ndjson"], arguments].concat());
        result.check(0, &[]);
        result.stdout.lines().count()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--library", "NL-AmrBKW"]), 2);
    assert_eq!(count(&["--library", "NL-0800070000"]), 1);
    assert_eq!(count(&["--library", "NL-0000000000"]), 0);
}

/// A member whose fee is due in some days, to be collected of a holder, or else of the member.
fn debtor(id: &str, holder: Option<&str>, due_in_days: i64) -> Value {
    let mut debtor = patron(id, "Berg");
    debtor["mandate"] =
        json!({ "id": format!("MND-{id}"), "signed_on": "2024-02-29", "holder": holder });
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let due_on = today.checked_add(jiff::Span::new().days(due_in_days)).unwrap().to_string();
    debtor["iban"] = json!("NL91 ABNA 0417 1643 00");
    debtor["membership"]["fee_cents"] = json!(4_950);
    debtor["membership"]["currency"] = json!("EUR");
    debtor["membership"]["fee_due_on"] = json!(due_on);
    debtor
}

#[test]
fn direct_debits_are_valid_by_the_schema_of_iso_20022() {
    let config = copy_shipped_config();
    enable_all_recipients(config.path());
    let deployment = Deployment::with_config(
        config,
        &[(
            "patron",
            &[
                debtor("p-1", Some("Zoë Ø. Đorđević"), 7),
                debtor("p-2", Some("Жуковски & Zn <b>"), 21),
                debtor("p-3", None, 7),
                debtor("p-4", None, 40),
            ],
        )],
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.xml");
    let words = ["direct-debit", "--as", "pain008", "--out", file.to_str().unwrap()];
    deployment.export(&words).check(78, &["zeef.toml has no [export.sepa]"]);
    let settings = deployment.config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let sepa = "[export]\n[export.sepa]\ncreditor_name = \"Bibliotheek Voorbeeld\"\n\
                creditor_id = \"DE98ZZZ09999999999\"\niban = \"NL91ABNA0417164300\"\n\
                description = \"Contributie\"\n";
    for bic in ["", "bic = \"ABNANL2A\"\n"] {
        fs::write(&settings, text.replace("[export]\n", &format!("{sepa}{bic}"))).unwrap();
        deployment.export(&words).check(0, &["3 outputs in "]);
        let order = fs::read_to_string(&file).unwrap();
        for want in [
            "<CtrlSum>148.50</CtrlSum>",
            "<Nm>Zoe O. Dordevic</Nm>",
            "<Nm>IJ.M. van der Berg</Nm>",
            "MND-p-2",
        ] {
            assert!(order.contains(want), "no {want} in {order}");
        }
        assert_eq!(order.matches("<PmtInf>").count(), 2);
        validate(Path::new("tests/export/pain.008.001.08.xsd"), &file);
    }
    let mut wrong = debtor("p-3", Some("Berg"), 7);
    wrong["mandate"]["id"] = json!("MND_geheim");
    deployment.append("patron", &[wrong]);
    deployment.run();
    let refused = deployment.export(&words);
    refused.check(1, &["1 of 3 outputs cannot be collected", "`mandate_id` of 1"]);
    assert!(!refused.stderr.contains("geheim"));
    deployment.export(&["deurwaarder", "--as", "pain008"]).check(2, &["has no direct debits"]);
    fs::write(&settings, text.replace("[export]\n", &sepa.replace("DE98", "DE97"))).unwrap();
    deployment
        .zeef(&["check"])
        .check(78, &["zeef.toml:", "`creditor_id` is \"DE97ZZZ09999999999\"", "check digits"]);
}

/// Ten thousand debts are a PDF in seconds, also unoptimised.
#[test]
fn pdf_of_ten_thousand_outputs_takes_seconds() {
    let loaded = load_shipped_config();
    let recipient = loaded.policy.recipient("deurwaarder").unwrap();
    let profile = export_profile(recipient, &loaded.policy);
    let outputs = (0..10_000).map(|number: usize| {
        let items = [0, 1].map(|item| {
            json!({ "title": format!("Titel {number}, deel {item}"), "due_on": "2025-06-01",
                "amount_cents": 125 })
        });
        json!({
            "name": format!("IJ.M. van der Berg-{number}"), "birth_date": "1985-07-30",
            "address": { "street": "Dorpsstraat", "house_number": number, "postcode": "1811 AB",
                "city": "Alkmaar" },
            "email": format!("patron{number}@example.org"), "phone": "06-00000000",
            "card_number": "20013004567890", "debt_id": format!("d-{number}"), "kind": "late",
            "items": items, "amount_cents": 250, "currency": "EUR",
            "referred_at": "2025-10-01T08:00:00+02:00",
        })
        .to_string()
    });
    let read = |output: String| read_record(&profile, 1, output.as_bytes()).unwrap();
    let records: Vec<ExportRecord> = outputs.map(read).collect();
    let heading = PdfHeading {
        title: recipient.title.clone(),
        library: None,
        date: "2026-11-30".to_owned(),
        legal_basis: String::new(),
        purpose: String::new(),
        controller: String::new(),
    };
    let mut records_done = 0;
    let started = thread_time();
    let all: Vec<&ExportRecord> = records.iter().collect();
    let pdf = render_pdf(&profile, &heading, &all, &mut || records_done += 1).unwrap();
    let spent = thread_time() - started;
    assert_eq!(records_done, 10_000);
    assert!(pdf.len() > 100_000 && pdf.starts_with(b"%PDF-"), "{}", pdf.len());
    assert!(spent < Duration::from_secs(60), "{spent:?}");
    eprintln!("10,000 rows in {spent:?}, {} bytes", pdf.len());
}

/// The processor time of this thread: other tests do not count.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn pdf_export_is_a_private_file_with_heading_and_sum() {
    let deployment = debts();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.pdf");
    let words = ["deurwaarder", "--as", "pdf", "--out", file.to_str().unwrap()];
    deployment.export(&words).check(0, &["3 outputs in "]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output();
    let Ok(text) = text else {
        assert!(std::env::var_os("CI").is_none(), "pdftotext is missing");
        return;
    };
    // It writes an unbreakable space as a plain one.
    let text = String::from_utf8(text.stdout).unwrap().replace('\u{a0}', " ");
    for want in [
        "Deurwaarderslijst voor de financiële dienst",
        "uitvoering van een overeenkomst (art. 6 lid 1 onder b AVG)",
        "€ 1.252,00",
        "pagina 1 van 1",
        "字典",
    ] {
        assert!(text.contains(want), "no {want} in {text}");
    }
}

/// The profile and the golden outputs of each shipped recipient.
fn golden_outputs(loaded: &LoadedConfig) -> Vec<(ExportProfile, Vec<ExportRecord>)> {
    let cases = read_cases();
    let mut all = Vec::new();
    for recipient in &loaded.policy.recipients {
        let profile = export_profile(recipient, &loaded.policy);
        let own = cases.iter().filter(|case| case.recipient == recipient.name);
        let records =
            own.flat_map(|case| case.output.lines().map(str::to_owned).collect::<Vec<_>>());
        let records = records.filter_map(|line| {
            let message: Value = serde_json::from_str(&line).unwrap();
            let start = line.find("\"value\":").unwrap() + "\"value\":".len();
            let value = &line[start..line.len() - 1];
            (!message["value"].is_null())
                .then(|| read_record(&profile, 1, value.as_bytes()).unwrap())
        });
        let records = records.collect();
        all.push((profile, records));
    }
    all
}

#[test]
fn schema_of_each_shipped_recipient_holds_for_its_golden_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let mut outputs = 0;
    for (profile, records) in golden_outputs(&load_shipped_config()) {
        let name = &profile.recipient;
        let [file, schema] = ["xml", "xsd"].map(|end| folder.path().join(format!("{name}.{end}")));
        let (mut text, mut schema_text) = (Vec::new(), Vec::new());
        xml::write_xml(&profile, records.iter(), &mut text).unwrap();
        xsd::write_xsd(&profile, &mut schema_text).unwrap();
        fs::write(&file, &text).unwrap();
        fs::write(&schema, &schema_text).unwrap();
        validate(&schema, &file);
        outputs += records.len();
    }
    assert!(outputs > 50, "{outputs}");
}

/// A partner builds on its schema: a change has to be seen.
#[test]
fn schemas_are_as_they_were() {
    let folder = Path::new("tests/export");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    for (profile, _) in golden_outputs(&load_shipped_config()) {
        let mut schema = Vec::new();
        xsd::write_xsd(&profile, &mut schema).unwrap();
        let path = folder.join(format!("{}.xsd", profile.recipient));
        if update {
            fs::write(&path, &schema).unwrap();
        }
        let name = path.display();
        let shipped = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shipped.as_bytes(), schema, "{name}");
    }
}
