//! Random scenarios of a few patrons over some years; the same for the same seed.
//!
//! Every text of a patron carries a mark with the patron's id, so that a search finds it.

use crate::model::form::{self, CalendarTerm};
use crate::rng::TestRng;

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioStep {
    /// Write a message to a source.
    PushMessage {
        source: &'static str,
        key: Option<String>,
        value: Option<String>,
        /// When it arrives at its source, whenever it is read.
        arrived_ms: i64,
    },
    /// Set the clock, in milliseconds since 1970.
    SetClock(i64),
    /// Read all sources to their end.
    RunToEnd,
    /// Kill the process and start it again.
    Restart,
    /// Restart with the changed policy, or with the first one.
    SwitchPolicy(bool),
    /// Delete all messages of a source that were read.
    TruncateSource(&'static str),
    /// Compact the source of patrons.
    CompactPatrons,
    /// Compact it, drop its nulls, and restart.
    DropPatronNulls,
}

/// When every scenario begins: 2026-01-15T12:00:00Z.
pub const START_MS: i64 = 1_768_478_400_000;

const DAY_MS: i64 = 86_400_000;

/// How the mark of a patron's texts begins.
fn marker_of(patron_id: &str) -> String {
    format!("zqx{patron_id}q")
}

/// The texts that would reveal a patron: marks, ids of records and of the membership.
pub fn traces_of(patron_id: &str) -> Vec<String> {
    let ids = ["i", "d", "c", "o", "f", "M"].map(|kind| format!("\"{kind}-{patron_id}"));
    [marker_of(patron_id)].into_iter().chain(ids).collect()
}

/// Generates a scenario of about `length` messages.
pub fn generate_scenario(seed: u64, length: usize) -> Vec<ScenarioStep> {
    Scenario::new(seed).generate(length)
}

/// The same scenario with a run before each change of the clock.
pub fn run_before_clock_steps(steps: &[ScenarioStep]) -> Vec<ScenarioStep> {
    let mut punctual = Vec::new();
    for step in steps {
        if matches!(step, ScenarioStep::SetClock(_)) {
            punctual.push(ScenarioStep::RunToEnd);
        }
        punctual.push(step.clone());
    }
    punctual
}

/// The same scenario with the sources interleaved differently and read more often. The
/// order on each source stays, and that of all other steps.
pub fn reinterleave_sources(seed: u64, steps: &[ScenarioStep]) -> Vec<ScenarioStep> {
    let mut scenario = Scenario::new(seed ^ 0xface);
    let mut mixed = Vec::new();
    let is_push = |step: &ScenarioStep| matches!(step, ScenarioStep::PushMessage { .. });
    for run in steps.chunk_by(|one, next| is_push(one) && is_push(next)) {
        let mut left: Vec<ScenarioStep> = run.to_vec();
        while !left.is_empty() {
            let source = |step: &ScenarioStep| match step {
                ScenarioStep::PushMessage { source, .. } => *source,
                _ => "",
            };
            let wanted = source(&left[scenario.below(left.len())]);
            let first = left.iter().position(|step| source(step) == wanted);
            mixed.push(left.remove(first.unwrap_or(0)));
            if !left.is_empty() && scenario.chance(30) {
                mixed.push(ScenarioStep::RunToEnd);
            }
        }
    }
    mixed
}

const LIBRARIES: &[&str] = &["NL-AmrBKW", "NL-AmrBKW", "NL-Own", "BE-GntB"];
const CONSENT_PURPOSES: &[&str] = &[
    "online-library",
    "online-library",
    "own-circle",
    "own-circle",
    "own-circle",
    "own-circle",
    "own-circle",
    "own-written",
    "own-written",
    "own-marketing",
    "own-marketing",
    "ido-referral",
    "contest",
    "newsletter",
    "acquisitions",
    "panel",
    "direct-debit",
    "statistics",
    "Own-Circle",
    "other",
];
const OBJECTION_PURPOSES: &[&str] = &[
    "pickup",
    "interlibrary-loan",
    "kb-recognition",
    "online-library",
    "debt-collection",
    "service-message",
    "ido-referral",
    "ido-referral",
    "statistics",
    "own-circle",
    "own-keeper",
    "own-national",
    "own-marketing",
    "own-marketing",
    "statistics",
    "Statistics",
    "other",
];
const NAMED_RECIPIENTS: &[&str] = &[
    "kb-membership",
    "own-circle",
    "own-written",
    "own-marketing",
    "own-marketing",
    "ido-referral",
    "own_circle",
    "nobody",
];
/// Of adults mostly; of those who reach 13, 16 or 18 years while a scenario lasts.
const BIRTH_DATES: &[&str] =
    &["1985-07-30", "1985-07-30", "1985-07-30", "2008-02-29", "2010-03-01", "2013-04-15"];
const NATIONAL_NUMBERS: &[&str] = &["85.07.30-033.28", "17.07.30-033.84"];
/// First and later days of the papers in `own`.
const PAPER_DATES: &[&str] =
    &["2026-02-01", "2026-11-01", "2027-01-01", "2027-02-01", "2028-02-01"];

/// One patron as the library system has it.
#[derive(Clone, Debug)]
struct ScenarioPatron {
    id: String,
    library: &'static str,
    kind: &'static str,
    surname: String,
    initials: &'static str,
    email: Option<String>,
    postcode: &'static str,
    birth_date: Option<&'static str>,
    card_number: String,
    card_kind: &'static str,
    national_number: Option<&'static str>,
    status: Option<&'static str>,
    starts_on: String,
    ends_on: Option<String>,
    branch: String,
    account_created_at: Option<String>,
    loan_history: Option<bool>,
    loan_history_since: Option<String>,
    /// The membership is one of that school.
    school: Option<&'static str>,
    /// A fee is to be debited on that day.
    fee_due_on: Option<String>,
    updated_at: Option<String>,
    note: String,
}

struct Scenario {
    rng: TestRng,
    /// Of family consents alone: the rest of a story is the same without them.
    family_rng: TestRng,
    now_ms: i64,
    arrived_ms: i64,
    n_markers: usize,
    patrons: Vec<ScenarioPatron>,
    /// Moments at which time alone may change something.
    boundary_times: Vec<i64>,
    steps: Vec<ScenarioStep>,
    is_all_read: bool,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut scenario = Scenario {
            rng: TestRng::from_state(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5e3d),
            family_rng: TestRng::from_state(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xfa32),
            now_ms: START_MS,
            arrived_ms: START_MS,
            n_markers: 0,
            patrons: Vec::new(),
            boundary_times: Vec::new(),
            steps: Vec::new(),
            is_all_read: true,
        };
        for edge in PAPER_DATES {
            scenario.add_boundary(Some(edge), CalendarTerm::days(0));
        }
        for number in 1..=2 + scenario.below(3) {
            let person = scenario.new_patron(format!("p{number}"));
            scenario.patrons.push(person);
        }
        scenario
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.chance(percent)
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        *self.rng.pick(values)
    }

    fn generate(mut self, length: usize) -> Vec<ScenarioStep> {
        for at in 0..self.patrons.len() {
            if self.chance(75) {
                self.push_patron(at);
            }
            if self.chance(50) {
                self.push_consent(at);
            }
        }
        let mut messages = 0;
        while messages < length {
            let at = self.below(self.patrons.len());
            match self.below(100) {
                0..=17 => self.change_patron(at),
                18..=19 => self.erase_and_return(at),
                20..=33 => self.push_consent(at),
                34..=38 => self.push_objection(at),
                39..=41 => self.push_settlement(at),
                42..=54 => self.push_loan(at),
                55..=62 => self.push_reservation(at),
                63..=68 => self.push_ill_request(at),
                69..=75 => self.push_debt(at),
                76..=80 => self.push_gone(at),
                81..=90 => {
                    self.advance_clock();
                    continue;
                }
                91..=93 => {
                    self.push_run();
                    continue;
                }
                _ => {
                    self.push_disturbance();
                    continue;
                }
            }
            messages += 1;
            if self.family_rng.chance(20) {
                self.push_family_consent(at);
            }
            if self.chance(15) {
                self.push_referral(at);
            }
            if self.chance(8) {
                self.push_participation(at);
            }
            if self.chance(15) {
                self.push_demand(at);
            }
            if self.chance(4) {
                self.push_question();
            }
            if self.chance(12) {
                self.push_run();
            }
        }
        self.push_run();
        // What lapses in the end, all of it or some.
        self.advance_clock();
        self.push_run();
        self.steps
    }

    fn push_run(&mut self) {
        self.steps.push(ScenarioStep::RunToEnd);
        self.is_all_read = true;
    }

    fn push_disturbance(&mut self) {
        match self.below(7) {
            6 => {
                let changed = self.chance(60);
                self.steps.push(ScenarioStep::SwitchPolicy(changed));
            }
            0 | 1 => self.steps.push(ScenarioStep::Restart),
            2 => {
                // Of a null that nobody read in time nobody can know.
                self.push_run();
                self.steps.push(ScenarioStep::CompactPatrons);
            }
            3 => {
                if self.chance(50) {
                    let at = self.below(self.patrons.len());
                    self.push_erasure(at);
                }
                self.push_run();
                self.steps.push(ScenarioStep::DropPatronNulls);
            }
            _ => {
                if !self.is_all_read {
                    self.push_run();
                }
                let sources = [
                    "loan",
                    "loan",
                    "reservation",
                    "ill_request",
                    "debt",
                    "referral",
                    "participation",
                    "question",
                    "demand",
                ];
                let source = self.pick(&sources);
                self.steps.push(ScenarioStep::TruncateSource(source));
            }
        }
    }

    fn advance_clock(&mut self) {
        let later: Vec<i64> =
            self.boundary_times.iter().copied().filter(|edge| *edge > self.now_ms).collect();
        let nearest = later.iter().min().copied();
        let step = match self.below(10) {
            0 => 3_600_000,
            1 => DAY_MS,
            2 => 13 * DAY_MS,
            3 => 45 * DAY_MS,
            4 => 190 * DAY_MS,
            5 if self.chance(30) => 800 * DAY_MS,
            _ => 0,
        };
        self.now_ms = match nearest {
            Some(edge) if step == 0 && edge > self.now_ms + 1 && self.chance(30) => edge - 1,
            Some(edge) if step == 0 => edge,
            _ => self.now_ms + step.max(DAY_MS),
        };
        self.steps.push(ScenarioStep::SetClock(self.now_ms));
        if self.chance(75) {
            self.push_run();
        }
    }

    fn add_boundary(&mut self, from: Option<&str>, term: CalendarTerm) {
        if let Some(from) = from.and_then(form::parse_moment) {
            self.boundary_times.push(from.add_term(term).seconds() * 1_000);
        }
    }

    fn date(&mut self, days: std::ops::Range<i64>) -> String {
        let span = usize::try_from(days.end - days.start).unwrap_or(1);
        let days = days.start + i64::try_from(self.below(span)).unwrap_or(0);
        let day = form::day_from_unix_days(self.now_ms.div_euclid(DAY_MS) + days);
        format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
    }

    fn instant(&mut self, days: std::ops::Range<i64>) -> String {
        let date = self.date(days);
        let time =
            self.pick(&["T00:00:00Z", "T12:00:00Z", "T09:30:00.250+01:00", "T23:59:59-05:00"]);
        format!("{date}{time}")
    }

    /// A value of a patron's own that no other has.
    fn new_marker(&mut self, patron_id: &str) -> String {
        self.n_markers += 1;
        format!("{}{}", marker_of(patron_id), self.n_markers)
    }

    fn new_patron(&mut self, id: String) -> ScenarioPatron {
        let ends_on = self.date(-200..500);
        let active = self.chance(70);
        let starts_on = self.date(-700..0);
        let (surname, email) = (self.new_marker(&id), self.new_marker(&id));
        let branch = self.new_marker(&id);
        let account = self.chance(40).then(|| self.instant(-300..30));
        let national = self.chance(40).then(|| self.pick(NATIONAL_NUMBERS));
        ScenarioPatron {
            library: self.pick(LIBRARIES),
            kind: if self.chance(88) { "person" } else { "institution" },
            surname,
            initials: "A.B.",
            email: Some(format!("{email}@example.org")),
            postcode: "1811 AB",
            birth_date: Some(self.pick(BIRTH_DATES)),
            card_number: format!("{}20013{}", marker_of(&id), self.below(90_000)),
            card_kind: "library",
            national_number: national,
            status: Some(if active { "active" } else { "ended" }),
            starts_on,
            ends_on: Some(ends_on),
            branch,
            account_created_at: account,
            loan_history: None,
            loan_history_since: None,
            school: self.chance(25).then(|| self.pick(&["De Regenboog", "Het Kompas"])),
            fee_due_on: self.chance(30).then(|| self.date(-10..50)),
            updated_at: Some(self.instant(-30..1)),
            note: String::new(),
            id,
        }
    }

    /// Changes something of a patron, or erases it.
    fn change_patron(&mut self, at: usize) {
        let id = self.patrons[at].id.clone();
        let mark = self.new_marker(&id);
        let (past, soon) = (self.date(-800..0), self.date(-30..60));
        let instant = self.instant(-60..20);
        let (library, national) = (self.pick(LIBRARIES), self.pick(NATIONAL_NUMBERS));
        let digit = self.below(10);
        let number = self.below(28);
        let person = &mut self.patrons[at];
        match number {
            0 | 1 => person.surname = mark,
            2 => person.email = Some(format!("{mark}@example.org")),
            3 => person.email = None,
            4 | 5 => person.note = mark,
            6 => person.updated_at = Some(instant),
            7 => person.status = Some("ended"),
            8 => person.status = Some("active"),
            9 => person.status = None,
            10 => person.ends_on = Some(past),
            11 => person.ends_on = Some(soon),
            12 => person.ends_on = None,
            13 => person.library = library,
            14 => person.account_created_at = Some(instant),
            15 => person.account_created_at = None,
            16 if person.kind == "person" => person.kind = "institution",
            16 | 17 => person.kind = "person",
            18 => {
                person.loan_history = Some(digit < 5);
                person.loan_history_since = (digit != 0).then_some(instant);
            }
            19 => person.national_number = Some(national),
            20 => person.national_number = None,
            21 if digit < 5 => person.card_kind = "eid",
            21 => {
                person.card_kind = "library";
                person.card_number = national.replace(['.', '-'], "");
            }
            22 => person.branch = mark,
            23 => person.birth_date = None,
            24 | 25 => return self.push_erasure(at),
            26 => person.school = None,
            27 => person.fee_due_on = Some(soon),
            _ => {}
        }
        self.push_patron(at);
    }

    /// Erases a patron and gives the id to another one or the same again, with some of the
    /// earlier records.
    fn erase_and_return(&mut self, at: usize) {
        self.push_erasure(at);
        if self.chance(30) {
            self.push_run();
        }
        if self.chance(40) {
            let id = self.patrons[at].id.clone();
            self.patrons[at] = self.new_patron(id);
        }
        if self.chance(20) {
            // A record may come before its patron does.
            self.push_loan(at);
        }
        self.push_patron(at);
        if self.chance(40) {
            self.push_consent(at);
        }
        if self.chance(40) {
            self.push_loan(at);
        }
    }

    /// The patron whose id a record's own id was made with: it may come again under
    /// another one, as where two are merged.
    fn patron_before_merge(&mut self, at: usize) -> usize {
        match self.chance(12) {
            true => self.below(self.patrons.len()),
            false => at,
        }
    }

    fn push_erasure(&mut self, at: usize) {
        let key = self.patrons[at].id.clone();
        self.push_message("patron", Some(key), None);
    }

    fn push_patron(&mut self, at: usize) {
        let person = self.patrons[at].clone();
        let mut membership = vec![
            string_member("id", &format!("M-{}", person.id)),
            string_member("type", if person.school.is_some() { "school" } else { "volwassen" }),
            string_member("starts_on", &person.starts_on),
            string_member("home_branch", &person.branch),
        ];
        membership.extend(person.status.map(|status| string_member("status", status)));
        membership.extend(person.ends_on.as_deref().map(|day| string_member("ends_on", day)));
        membership.extend(person.school.map(|school| string_member("school", school)));
        if let Some(due_on) = &person.fee_due_on {
            let fee = [string_member("fee_due_on", due_on), string_member("currency", "EUR")];
            membership.extend(fee);
            membership.push("\"fee_cents\":2500".to_owned());
        }
        let address = format!("{{{}}}", string_member("postcode", person.postcode));
        let mut fields = vec![
            string_member("kind", person.kind),
            string_member("initials", person.initials),
            string_member("surname", &person.surname),
            string_member("card_number", &person.card_number),
            string_member("card_kind", person.card_kind),
            format!("\"address\":{address}"),
            format!("\"membership\":{{{}}}", membership.join(",")),
            string_member("note", &person.note),
        ];
        let optional = [
            ("birth_date", person.birth_date),
            ("email", person.email.as_deref()),
            ("rijksregisternummer", person.national_number),
            ("updated_at", person.updated_at.as_deref()),
            ("loan_history_since", person.loan_history_since.as_deref()),
        ];
        for (name, value) in optional {
            fields.extend(value.map(|value| string_member(name, value)));
        }
        if let Some(at) = &person.account_created_at {
            fields.push(format!("\"online_account\":{{{}}}", string_member("created_at", at)));
        }
        if let Some(kept) = person.loan_history {
            fields.push(format!("\"loan_history\":{kept}"));
        }
        if let Some(due_on) = &person.fee_due_on {
            let mandate = [
                string_member("id", &format!("MND-{}", person.id)),
                string_member("signed_on", &person.starts_on),
            ];
            fields.push(format!("\"mandate\":{{{}}}", mandate.join(",")));
            fields.push(string_member("iban", "NL91ABNA0417164300"));
            for days in [-30, 0] {
                self.add_boundary(Some(due_on), CalendarTerm::days(days));
            }
        }
        for years in [1, 2] {
            self.add_boundary(person.ends_on.as_deref(), CalendarTerm::years(years));
            self.add_boundary(person.updated_at.as_deref(), CalendarTerm::years(years));
            self.add_boundary(Some(&person.starts_on), CalendarTerm::years(years));
        }
        self.add_boundary(person.ends_on.as_deref(), CalendarTerm::days(30));
        self.add_boundary(person.ends_on.as_deref(), CalendarTerm::days(1));
        self.add_boundary(person.ends_on.as_deref(), CalendarTerm::years(-1));
        self.add_boundary(person.account_created_at.as_deref(), CalendarTerm::days(0));
        for years in [13, 16, 18] {
            self.add_boundary(person.birth_date, CalendarTerm::years(years));
        }
        let malformed_members =
            ["\"surname\":1", "\"email\":1", "\"kind\":7", "\"membership\":[1]"];
        self.push_record("patron", at, None, fields, &malformed_members);
    }

    fn push_consent(&mut self, at: usize) {
        if self.chance(2) {
            let source = self.pick(&["consent", "consent", "objection"]);
            let id = self.patrons[at].id.clone();
            return self.push_message(source, Some(id), None);
        }
        let purpose = self.pick(CONSENT_PURPOSES);
        let mut fields = vec![string_member("purpose", purpose)];
        if purpose == "ido-referral" && self.chance(70) {
            fields.push(string_member("recipient", purpose));
            fields.extend(["employee", "signature_ref"].map(|name| string_member(name, "e1")));
        } else if purpose == "own-marketing" && self.chance(70) {
            fields.push(string_member("recipient", purpose));
        } else if self.chance(20) {
            fields.push(string_member("recipient", self.pick(NAMED_RECIPIENTS)));
        }
        let decision = match self.below(30) {
            0 => "maybe",
            1..=7 => self.pick(&["refused", "withdrawn"]),
            _ => "granted",
        };
        fields.push(string_member("decision", decision));
        let manner = self.pick(&["written", "written", "written", "digital", "digital", "oral"]);
        fields.push(string_member("manner", manner));
        if self.chance(30) {
            fields.push(string_member("given_by", self.pick(&["guardian", "guardian", "patron"])));
            let witness = self.pick(&["employee", "employee", "signature_ref", "note"]);
            fields.push(string_member(witness, "E1"));
        }
        let moment = match self.below(12) {
            0 => None,
            1 => Some("2026-02-30T00:00:00Z".to_owned()),
            2 | 3 => Some(self.instant(0..60)),
            _ => Some(self.instant(-200..1)),
        };
        self.add_boundary(moment.as_deref(), CalendarTerm::days(0));
        fields.extend(moment.map(|at| string_member("at", &at)));
        let id = self.record_id("c", at);
        let malformed_members = ["\"decision\":1", "\"purpose\":[1]", "\"at\":0"];
        self.push_record("consent", at, Some(("consent_id", id)), fields, &malformed_members);
    }

    /// A consent of a patron about what others of its family may see.
    fn push_family_consent(&mut self, at: usize) {
        let (id, home) = (self.patrons[at].id.clone(), self.patrons[at].library);
        let rng = &mut self.family_rng;
        let number = rng.below(4);
        let mut fields = vec![
            string_member("consent_id", &format!("f-{id}-{number}")),
            string_member("patron_id", &id),
            string_member("library", if rng.one_in(15) { "NL-Own" } else { home }),
            string_member("purpose", if rng.one_in(20) { "family-acces" } else { "family-access" }),
        ];
        let named = rng.pick_str(&["p1", "p2", "kin-1", "kin-1", "kin-2", "", "family-access"]);
        fields.extend((!named.is_empty()).then(|| string_member("recipient", named)));
        let decision = match rng.below(20) {
            0 => "maybe",
            1..=4 => rng.pick_str(&["refused", "withdrawn"]),
            _ => "granted",
        };
        fields.push(string_member("decision", decision));
        let manner = if rng.one_in(8) { "digital" } else { "written" };
        fields.push(string_member("manner", manner));
        if rng.chance(40) {
            fields.extend([string_member("given_by", "guardian"), string_member("employee", "E1")]);
        }
        let days = if rng.one_in(5) { rng.below(40) as i64 } else { -(rng.below(360) as i64) };
        let day = form::day_from_unix_days(self.now_ms.div_euclid(DAY_MS) + days);
        let at = format!("{:04}-{:02}-{:02}T09:30:00.250+01:00", day.year, day.month, day.day);
        if !self.family_rng.one_in(15) {
            fields.push(string_member("at", &at));
            for years in [0, 1] {
                self.add_boundary(Some(&at), CalendarTerm::years(years));
            }
        }
        let value = format!("{{{}}}", fields.join(","));
        self.push_message("consent", Some(id), Some(value));
    }

    fn push_objection(&mut self, at: usize) {
        let kind = self.pick(&[
            "special_circumstances",
            "special_circumstances",
            "special_circumstances",
            "special_circumstances",
            "direct_marketing",
        ]);
        let kind = if self.chance(3) { "other" } else { kind };
        let status =
            self.pick(&["dismissed", "dismissed", "dismissed", "dismissed", "lodged", "upheld"]);
        let status = if self.chance(3) { "maybe" } else { status };
        let mut fields = vec![string_member("kind", kind), string_member("status", status)];
        if self.chance(80) {
            fields.push(string_member("at", &self.instant(-200..1)));
        }
        if self.chance(60) {
            fields.push(string_member("purpose", self.pick(OBJECTION_PURPOSES)));
        }
        let id = self.record_id("o", at);
        let malformed_members = ["\"kind\":1", "\"status\":{\"x\":1}"];
        self.push_record("objection", at, Some(("objection_id", id)), fields, &malformed_members);
    }

    /// A settlement of one of the patron's debts, or of one that is not there.
    fn push_settlement(&mut self, at: usize) {
        let debt = self.record_id("d", at);
        let mut fields = vec![string_member("debt_id", &debt)];
        if self.chance(40) {
            fields.push("\"gone\":true".to_owned());
        }
        let id = self.record_id("s", at);
        let malformed_members = ["\"debt_id\":1", "\"debt_id\":\"\"", "\"gone\":1"];
        self.push_record("settlement", at, Some(("settlement_id", id)), fields, &malformed_members);
    }

    fn push_loan(&mut self, at: usize) {
        let status =
            self.pick(&["open", "open", "overdue", "returned", "returned", "lost", "damaged"]);
        let loaned_at = self.instant(-400..1);
        let due_on = (!self.chance(10)).then(|| self.date(-60..60));
        self.add_boundary(Some(&loaned_at), CalendarTerm::years(2));
        self.add_boundary(Some(&loaned_at), CalendarTerm::days(30));
        self.add_boundary(due_on.as_deref(), CalendarTerm::days(15));
        let month = CalendarTerm { years: 0, months: 1, days: 0 };
        for term in [CalendarTerm::years(1), month] {
            self.add_boundary(due_on.as_deref(), term);
        }
        let mut fields = vec![
            string_member("status", status),
            string_member("loaned_at", &loaned_at),
            string_member("branch", "centrale"),
        ];
        fields.push(self.item_member(at));
        fields.extend(due_on.map(|day| string_member("due_on", &day)));
        if status == "returned" && self.chance(70) {
            let returned_at = self.instant(-100..1);
            for days in [30, 90] {
                self.add_boundary(Some(&returned_at), CalendarTerm::days(days));
            }
            fields.push(string_member("returned_at", &returned_at));
        }
        let merged = self.patron_before_merge(at);
        let id = self.record_id("l", merged);
        let malformed_members =
            ["\"status\":1", "\"renewals\":\"x\"", "\"item\":1", "\"due_on\":5"];
        self.push_record("loan", at, Some(("loan_id", id)), fields, &malformed_members);
    }

    fn push_reservation(&mut self, at: usize) {
        let status = self.pick(&["placed", "ready_for_pickup", "ready_for_pickup", "collected"]);
        let expires_on = (!self.chance(10)).then(|| self.date(-20..20));
        for term in [CalendarTerm::days(14), CalendarTerm::days(30)] {
            self.add_boundary(expires_on.as_deref(), term);
        }
        let mut fields =
            vec![string_member("status", status), string_member("pickup_branch", "noord")];
        fields.push(self.item_member(at));
        fields.extend(expires_on.map(|day| string_member("expires_on", &day)));
        let merged = self.patron_before_merge(at);
        let id = self.record_id("r", merged);
        let malformed_members = ["\"status\":1", "\"pickup_branch\":[1]", "\"expires_on\":5"];
        self.push_record(
            "reservation",
            at,
            Some(("reservation_id", id)),
            fields,
            &malformed_members,
        );
    }

    fn push_ill_request(&mut self, at: usize) {
        let status = self.pick(&["requested", "sent", "received", "returned", "closed"]);
        let needed_by = (!self.chance(15)).then(|| self.date(-400..30));
        self.add_boundary(needed_by.as_deref(), CalendarTerm::years(1));
        let mut fields = vec![string_member("status", status), string_member("service", "loan")];
        fields.push(self.item_member(at));
        fields.extend(needed_by.map(|day| string_member("needed_by", &day)));
        let id = self.record_id("i", at);
        let malformed_members = ["\"status\":1", "\"service\":true"];
        self.push_record("ill_request", at, Some(("request_id", id)), fields, &malformed_members);
    }

    fn push_debt(&mut self, at: usize) {
        let stage = self.pick(&["collection", "collection", "collection", "invoice", "reminder"]);
        let status = self.pick(&["open", "open", "open", "settled", "cancelled"]);
        let ago = if self.chance(12) { 1_750 } else { 0 };
        let reminded = self.instant(-600 - ago..-300 - ago);
        let invoiced = self.chance(92).then(|| self.instant(-310 - ago..-100 - ago));
        let referred = self.chance(80).then(|| self.instant(-110 - ago..-ago));
        let months = CalendarTerm { years: 0, months: 18, days: 0 };
        self.add_boundary(invoiced.as_deref(), months);
        self.add_boundary(referred.as_deref(), CalendarTerm::years(5));
        let amount = self.below(9_000);
        let title = self.new_title(at);
        let mut fields = vec![
            string_member("stage", stage),
            string_member("status", status),
            string_member("reminded_at", &reminded),
            format!("\"amount_cents\":{amount}"),
            format!("\"items\":[{{{}}}]", string_member("title", &title)),
        ];
        fields.extend(invoiced.map(|at| string_member("invoiced_at", &at)));
        fields.extend(referred.map(|at| string_member("referred_at", &at)));
        let id = self.record_id("d", at);
        let malformed_members = ["\"amount_cents\":1.5", "\"stage\":1", "\"items\":[1]"];
        self.push_record("debt", at, Some(("debt_id", id)), fields, &malformed_members);
    }

    /// The source no longer has one of a patron's records, or no longer knows whose it is:
    /// it may come back, or be written under another patron.
    fn push_gone(&mut self, at: usize) {
        let (source, letter, name) = self.pick(&[
            ("loan", "l", "loan_id"),
            ("loan", "l", "loan_id"),
            ("reservation", "r", "reservation_id"),
            ("ill_request", "i", "request_id"),
            ("debt", "d", "debt_id"),
            ("referral", "f", "referral_id"),
            ("participation", "t", "participation_id"),
            ("demand", "v", "demand_id"),
        ]);
        let id = self.record_id(letter, at);
        let fields = vec!["\"gone\":true".to_owned()];
        let malformed_members = ["\"gone\":\"ja\"", "\"gone\":1", "\"gone\":false"];
        self.push_record(source, at, Some((name, id)), fields, &malformed_members);
        if source == "loan" && self.chance(40) {
            let other = self.below(self.patrons.len());
            self.push_loan(other);
        }
    }

    /// Of a patron, or of a visitor who is none, with an id that a patron may have.
    fn push_referral(&mut self, at: usize) {
        let manner = self.pick(&["digital", "digital", "written", "phone", "fax"]);
        let passed_at = (!self.chance(10)).then(|| self.instant(-40..1));
        self.add_boundary(passed_at.as_deref(), CalendarTerm::days(30));
        let mut fields = Vec::new();
        if self.chance(85) {
            fields.push(string_member("manner", manner));
        }
        fields.extend(passed_at.map(|at| string_member("at", &at)));
        let about = self.pick(&["over DigiD", "bij diabetes", "06-00000000"]);
        let malformed_members = ["\"surname\":1", "\"manner\":1", "\"at\":5"];
        if self.chance(60) {
            let marker = self.new_marker(&self.patrons[at].id.clone());
            fields.push(string_member("description", &format!("{about} {marker}")));
            let id = self.record_id("f", at);
            let own_id = Some(("referral_id", id));
            return self.push_record("referral", at, own_id, fields, &malformed_members);
        }
        fields.push(string_member("description", about));
        self.push_visitor_record(("referral", "referral_id"), fields, &malformed_members);
    }

    /// A record of somebody who is no patron, under an id that a patron may have.
    fn push_visitor_record(
        &mut self,
        (source, id_field): (&'static str, &str),
        mut fields: Vec<String>,
        malformed_members: &[&str],
    ) {
        let id = self.pick(&["v1", "v2", "p1"]).to_owned();
        fields.push(string_member("library", self.pick(LIBRARIES)));
        fields.push(string_member(id_field, &id));
        if self.chance(10) {
            let field = self.pick(malformed_members);
            let name = field.split(':').next().unwrap_or_default();
            fields.retain(|other| !other.starts_with(name));
            fields.push(field.to_owned());
        }
        let key = if self.chance(3) { None } else { Some(id) };
        self.push_message(source, key, Some(format!("{{{}}}", fields.join(","))));
    }

    /// Somebody takes part in a contest: a patron of any age, or another.
    fn push_participation(&mut self, at: usize) {
        let ends_on = self.date(-3..6);
        self.add_boundary(Some(&ends_on), CalendarTerm::days(1));
        let sent_at = self.instant(-20..2);
        self.add_boundary(Some(&sent_at), CalendarTerm::days(0));
        let mut fields = vec![
            string_member("contest_ends_on", &ends_on),
            string_member("contest_id", self.pick(&["zomer", "herfst"])),
        ];
        if !self.chance(5) {
            fields.push(string_member("at", &sent_at));
        }
        let given_by = self.pick(&["patron", "patron", "guardian", ""]);
        if !given_by.is_empty() {
            fields.push(string_member("given_by", given_by));
        }
        let adult = self.pick(&["true", "true", "false", ""]);
        if !adult.is_empty() {
            fields.push(format!("\"adult\":{adult}"));
        }
        let malformed_members =
            ["\"given_by\":\"ouder\"", "\"adult\":1", "\"at\":5", "\"contest_ends_on\":1"];
        if self.chance(65) {
            let marker = self.new_marker(&self.patrons[at].id.clone());
            fields.push(string_member("name", &marker));
            let id = self.record_id("t", at);
            let own_id = Some(("participation_id", id));
            return self.push_record("participation", at, own_id, fields, &malformed_members);
        }
        fields.push(string_member("name", "Bezoeker"));
        self.push_visitor_record(("participation", "participation_id"), fields, &malformed_members);
    }

    /// What an authority demands to know of a patron; some lack an element.
    fn push_demand(&mut self, at: usize) {
        let authority = self.pick(&["politie", "politie", "rechtbank", "gemeente"]);
        let days = if self.chance(12) { -380..-350 } else { -40..-1 };
        let decided = self.instant(days.clone());
        self.add_boundary(Some(&decided), CalendarTerm::years(1));
        self.add_boundary(Some(&decided), CalendarTerm::years(5));
        let late = if self.chance(10) { 60 } else { 0 };
        let received = self.instant(days.start - 60 + late..days.start - 20 + late);
        let advised = self.instant(days.start - 20..days.start);
        let decision = self.pick(&["granted", "granted", "granted", "granted", "refused"]);
        let demanded = self.pick(&[
            r#"["surname","email"]"#,
            r#"["surname","membership.ends_on","membership.home_branch"]"#,
            r#"["surname","bsn","note"]"#,
            r#"["email"]"#,
            "[]",
        ]);
        let manner = self.pick(&["written", "written", "written", "written", "oral"]);
        let mut fields = vec![
            string_member("authority", authority),
            string_member("manner", manner),
            string_member("law_article", "126nd Sv"),
            string_member("team_leader", "teamleider"),
            format!("\"fields\":{demanded}"),
            string_member("received_at", &received),
            format!(r#""advice":{{"by":"fg","at":"{advised}","advice":"grant"}}"#),
            format!(
                r#""decision":{{"by":"d","role":"directeur","at":"{decided}","decision":"{decision}","legal_duty":true}}"#
            ),
        ];
        if self.chance(15) {
            fields.remove(self.below(fields.len()));
        }
        let id = self.record_id("v", at);
        let malformed_members = ["\"authority\":1", "\"law_article\":[1]", "\"manner\":5"];
        self.push_record("demand", at, Some(("demand_id", id)), fields, &malformed_members);
    }

    /// Of nobody; a few must not exist.
    fn push_question(&mut self) {
        let id = self.pick(&["q1", "q2"]);
        let date = (!self.chance(10)).then(|| self.date(-800..1));
        self.add_boundary(date.as_deref(), CalendarTerm::years(2));
        let outcome = self.pick(&["geholpen", "geholpen", "doorverwezen", "bel 06-00000000"]);
        let mut fields = vec![
            string_member("question_id", id),
            string_member("library", self.pick(LIBRARIES)),
            string_member("outcome", outcome),
        ];
        fields.extend(date.map(|day| string_member("date", &day)));
        match self.below(12) {
            0 => fields.push("\"note\":null".to_owned()),
            1 | 2 => fields.push("\"place\":1".to_owned()),
            _ => fields.push(string_member("place", "balie")),
        }
        let key = self.chance(8).then(|| "p1".to_owned());
        self.push_message("question", key, Some(format!("{{{}}}", fields.join(","))));
    }

    fn item_member(&mut self, at: usize) -> String {
        let title = self.new_title(at);
        let material = string_member("material", "boek");
        format!("\"item\":{{{},{material}}}", string_member("title", &title))
    }

    /// A title, in which a national number may stand: its patron's, or one that the
    /// patron gets later.
    fn new_title(&mut self, at: usize) -> String {
        let title = self.new_marker(&self.patrons[at].id.clone());
        match self.chance(10) {
            true => format!("{title} {}", self.pick(NATIONAL_NUMBERS)),
            false => title,
        }
    }

    fn record_id(&mut self, letter: &str, at: usize) -> String {
        let number = self.below(3);
        format!("{letter}-{}-{number}", self.patrons[at].id)
    }

    /// Writes a record; a few of them malformed, for some recipients or for all.
    fn push_record(
        &mut self,
        source: &'static str,
        at: usize,
        own_id: Option<(&str, String)>,
        mut fields: Vec<String>,
        malformed_members: &[&str],
    ) {
        let person = &self.patrons[at];
        let (id, home) = (person.id.clone(), person.library);
        let away = source != "patron" && self.chance(8);
        let library = if away { self.pick(LIBRARIES) } else { home };
        fields.push(string_member("patron_id", &id));
        fields.push(string_member("library", library));
        fields.extend(own_id.map(|(name, id)| string_member(name, &id)));
        let is_gate_record = matches!(source, "consent" | "objection");
        if self.chance(if is_gate_record { 3 } else { 10 }) {
            let field = self.pick(malformed_members);
            let name = field.split(':').next().unwrap_or_default();
            fields.retain(|other| !other.starts_with(name));
            fields.push(field.to_owned());
        }
        let mut value = format!("{{{}}}", fields.join(","));
        let mut key = Some(id);
        if self.chance(3) {
            match self.below(5) {
                0 => value.truncate(value.len() / 2),
                1 => value = value.replace("\"library\":\"", "\"library\":\"?"),
                2 => key = self.pick(&[None, Some("p1")]).map(str::to_owned),
                3 => value = "[]".to_owned(),
                _ => value = value.replace("_id\":\"", "_id\":7,\"x\":\""),
            }
        }
        self.push_message(source, key, Some(value));
    }

    fn push_message(&mut self, source: &'static str, key: Option<String>, value: Option<String>) {
        self.is_all_read = false;
        self.arrived_ms = self.now_ms.max(self.arrived_ms + 1);
        self.steps.push(ScenarioStep::PushMessage {
            source,
            key,
            value,
            arrived_ms: self.arrived_ms,
        });
    }
}

fn string_member(name: &str, value: &str) -> String {
    format!("\"{name}\":\"{value}\"")
}
