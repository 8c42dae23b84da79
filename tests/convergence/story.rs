//! Seeded makers of what may happen to a few patrons over some years.
//!
//! One seed always tells the same story. Every string that is of a patron's own
//! carries a mark with the patron's id in it, so that a search finds it. It
//! does not know what is right.

use crate::reference::form::{self, Moment, Term};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message is written to a source.
    Push {
        source: &'static str,
        key: Option<String>,
        value: Option<String>,
        /// When it comes to its source, whenever it is read.
        came_ms: i64,
    },
    /// The time is now this, in milliseconds since 1970.
    Clock(i64),
    /// All that lies on the sources is read, and swept.
    Run,
    /// The process is killed and starts anew.
    Restart,
    /// The process starts anew with another policy, or with the first again.
    Policy(bool),
    /// A source loses all that it has, once that is read.
    Cut(&'static str),
    /// The source of patrons keeps the last message of each.
    Compact,
    /// It loses its nulls too, and the process starts anew.
    Vanish,
}

/// When all stories begin: 2026-01-15T12:00:00Z.
pub const START_MS: i64 = 1_768_478_400_000;

const DAY_MS: i64 = 86_400_000;

/// The mark of what is of a patron's own begins so.
fn mark_of(patron_id: &str) -> String {
    format!("zqx{patron_id}q")
}

/// What would tell of a patron: a mark, a record's own id, the membership's.
pub fn traces_of(patron_id: &str) -> Vec<String> {
    let ids = ["i", "d", "c", "o", "M"].map(|kind| format!("\"{kind}-{patron_id}"));
    [mark_of(patron_id)].into_iter().chain(ids).collect()
}

/// Tells a story of about `length` messages.
pub fn story(seed: u64, length: usize) -> Vec<Step> {
    Teller::new(seed).tell(length)
}

/// The same story, where all is read before the clock goes on.
pub fn punctual(steps: &[Step]) -> Vec<Step> {
    let mut punctual = Vec::new();
    for step in steps {
        if matches!(step, Step::Clock(_)) {
            punctual.push(Step::Run);
        }
        punctual.push(step.clone());
    }
    punctual
}

/// The same story with the sources mixed otherwise, and more often read: what
/// lies on one source stays in its order, and so does all else that happens.
pub fn interleaved(seed: u64, steps: &[Step]) -> Vec<Step> {
    let mut teller = Teller::new(seed ^ 0xface);
    let mut mixed = Vec::new();
    let is_push = |step: &Step| matches!(step, Step::Push { .. });
    for run in steps.chunk_by(|one, next| is_push(one) && is_push(next)) {
        let mut left: Vec<Step> = run.to_vec();
        while !left.is_empty() {
            let source = |step: &Step| match step {
                Step::Push { source, .. } => *source,
                _ => "",
            };
            let wanted = source(&left[teller.below(left.len())]);
            let first = left.iter().position(|step| source(step) == wanted);
            mixed.push(left.remove(first.unwrap_or(0)));
            if !left.is_empty() && teller.chance(30) {
                mixed.push(Step::Run);
            }
        }
    }
    mixed
}

const LIBRARIES: &[&str] = &["NL-AmrBKW", "NL-AmrBKW", "NL-Own", "BE-GntB"];
const PURPOSES: &[&str] = &[
    "online-library",
    "online-library",
    "own-circle",
    "own-circle",
    "own-circle",
    "own-written",
    "own-written",
    "own-marketing",
    "own-marketing",
    "statistics",
    "Own-Circle",
    "other",
];
const AGAINST: &[&str] = &[
    "pickup",
    "interlibrary-loan",
    "kb-recognition",
    "online-library",
    "debt-collection",
    "service-message",
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
const NAMED: &[&str] = &[
    "kb-membership",
    "own-circle",
    "own-written",
    "own-marketing",
    "own-marketing",
    "own_circle",
    "nobody",
];
const NATIONAL: &[&str] = &["85.07.30-033.28", "17.07.30-033.84"];
/// First and later days of the papers in `own`.
const PAPER_EDGES: &[&str] = &[
    "2026-02-01",
    "2026-11-01",
    "2027-01-01",
    "2027-02-01",
    "2028-02-01",
];

/// One patron as the library system has it.
#[derive(Clone, Debug)]
struct Person {
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
    national: Option<&'static str>,
    status: Option<&'static str>,
    starts_on: String,
    ends_on: Option<String>,
    branch: String,
    account: Option<String>,
    loan_history: Option<bool>,
    updated_at: Option<String>,
    note: String,
}

struct Teller {
    state: u64,
    now_ms: i64,
    came_ms: i64,
    marks: usize,
    people: Vec<Person>,
    /// Moments at which time alone may change something.
    edges: Vec<i64>,
    steps: Vec<Step>,
    settled: bool,
}

impl Teller {
    fn new(seed: u64) -> Self {
        let mut teller = Teller {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5e3d,
            now_ms: START_MS,
            came_ms: START_MS,
            marks: 0,
            people: Vec::new(),
            edges: Vec::new(),
            steps: Vec::new(),
            settled: true,
        };
        for edge in PAPER_EDGES {
            teller.edge(Some(edge), Term::days(0));
        }
        for number in 1..=2 + teller.below(3) {
            let person = teller.person(format!("p{number}"));
            teller.people.push(person);
        }
        teller
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn tell(mut self, length: usize) -> Vec<Step> {
        for at in 0..self.people.len() {
            if self.chance(75) {
                self.patron(at);
            }
            if self.chance(50) {
                self.consent(at);
            }
        }
        let mut messages = 0;
        while messages < length {
            let at = self.below(self.people.len());
            match self.below(100) {
                0..=17 => self.change(at),
                18..=19 => self.come_back(at),
                20..=33 => self.consent(at),
                34..=41 => self.objection(at),
                42..=55 => self.loan(at),
                56..=64 => self.reservation(at),
                65..=71 => self.ill_request(at),
                72..=80 => self.debt(at),
                81..=90 => {
                    self.clock();
                    continue;
                }
                91..=93 => {
                    self.run();
                    continue;
                }
                _ => {
                    self.trouble();
                    continue;
                }
            }
            messages += 1;
            if self.chance(12) {
                self.run();
            }
        }
        self.run();
        // What lapses in the end, all of it or some.
        self.clock();
        self.run();
        self.steps
    }

    fn run(&mut self) {
        self.steps.push(Step::Run);
        self.settled = true;
    }

    fn trouble(&mut self) {
        match self.below(7) {
            6 => {
                let changed = self.chance(60);
                self.steps.push(Step::Policy(changed));
            }
            0 | 1 => self.steps.push(Step::Restart),
            2 => {
                // Of a null that nobody read in time nobody can know.
                self.run();
                self.steps.push(Step::Compact);
            }
            3 => {
                if self.chance(50) {
                    let at = self.below(self.people.len());
                    self.erase(at);
                }
                self.run();
                self.steps.push(Step::Vanish);
            }
            _ => {
                if !self.settled {
                    self.run();
                }
                let source = self.pick(&["loan", "reservation", "ill_request", "debt"]);
                self.steps.push(Step::Cut(source));
            }
        }
    }

    fn clock(&mut self) {
        let later: Vec<i64> = self
            .edges
            .iter()
            .copied()
            .filter(|edge| *edge > self.now_ms)
            .collect();
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
        self.steps.push(Step::Clock(self.now_ms));
        if self.chance(75) {
            self.run();
        }
    }

    fn edge(&mut self, from: Option<&str>, term: Term) {
        let midnight = from.and_then(form::date).map(Moment::midnight);
        let instant = from.and_then(form::instant).map(|(_, moment)| moment);
        if let Some(from) = midnight.or(instant) {
            self.edges.push(from.after(term).seconds * 1_000);
        }
    }

    fn date(&mut self, days: std::ops::Range<i64>) -> String {
        let span = usize::try_from(days.end - days.start).unwrap_or(1);
        let days = days.start + i64::try_from(self.below(span)).unwrap_or(0);
        let day = form::day_of(self.now_ms.div_euclid(DAY_MS) + days);
        format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
    }

    fn instant(&mut self, days: std::ops::Range<i64>) -> String {
        let date = self.date(days);
        let time = self.pick(&[
            "T00:00:00Z",
            "T12:00:00Z",
            "T09:30:00.250+01:00",
            "T23:59:59-05:00",
        ]);
        format!("{date}{time}")
    }

    /// A value of a patron's own that no other has.
    fn mark(&mut self, patron_id: &str) -> String {
        self.marks += 1;
        format!("{}{}", mark_of(patron_id), self.marks)
    }

    fn person(&mut self, id: String) -> Person {
        let ends_on = self.date(-200..500);
        let active = self.chance(70);
        let starts_on = self.date(-700..0);
        let (surname, email) = (self.mark(&id), self.mark(&id));
        let branch = self.mark(&id);
        let account = self.chance(40).then(|| self.instant(-300..30));
        let national = self.chance(40).then(|| self.pick(NATIONAL));
        Person {
            library: self.pick(LIBRARIES),
            kind: if self.chance(88) {
                "person"
            } else {
                "institution"
            },
            surname,
            initials: "A.B.",
            email: Some(format!("{email}@example.org")),
            postcode: "1811 AB",
            birth_date: Some("1985-07-30"),
            card_number: format!("{}20013{}", mark_of(&id), self.below(90_000)),
            card_kind: "library",
            national,
            status: Some(if active { "active" } else { "ended" }),
            starts_on,
            ends_on: Some(ends_on),
            branch,
            account,
            loan_history: None,
            updated_at: Some(self.instant(-30..1)),
            note: String::new(),
            id,
        }
    }

    /// Something about a patron changes, or all of it goes.
    fn change(&mut self, at: usize) {
        let id = self.people[at].id.clone();
        let mark = self.mark(&id);
        let (past, soon) = (self.date(-800..0), self.date(-30..60));
        let instant = self.instant(-60..20);
        let (library, national) = (self.pick(LIBRARIES), self.pick(NATIONAL));
        let digit = self.below(10);
        let number = self.below(26);
        let person = &mut self.people[at];
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
            14 => person.account = Some(instant),
            15 => person.account = None,
            16 if person.kind == "person" => person.kind = "institution",
            16 | 17 => person.kind = "person",
            18 => person.loan_history = Some(digit < 3),
            19 => person.national = Some(national),
            20 => person.national = None,
            21 if digit < 5 => person.card_kind = "eid",
            21 => {
                person.card_kind = "library";
                person.card_number = national.replace(['.', '-'], "");
            }
            22 => person.branch = mark,
            23 => person.birth_date = None,
            24 | 25 => return self.erase(at),
            _ => {}
        }
        self.patron(at);
    }

    /// Somebody is erased, and the id is given to another one or the same again:
    /// what lies there of it is of before, and some of it is said anew.
    fn come_back(&mut self, at: usize) {
        self.erase(at);
        if self.chance(30) {
            self.run();
        }
        if self.chance(40) {
            let id = self.people[at].id.clone();
            self.people[at] = self.person(id);
        }
        if self.chance(20) {
            // A record may come before its patron does.
            self.loan(at);
        }
        self.patron(at);
        if self.chance(40) {
            self.consent(at);
        }
        if self.chance(40) {
            self.loan(at);
        }
    }

    /// The patron whose id a record's own id was made with: it may come again under
    /// another one, as where two are merged.
    fn before_merge(&mut self, at: usize) -> usize {
        match self.chance(12) {
            true => self.below(self.people.len()),
            false => at,
        }
    }

    fn erase(&mut self, at: usize) {
        let key = self.people[at].id.clone();
        self.push("patron", Some(key), None);
    }

    fn patron(&mut self, at: usize) {
        let person = self.people[at].clone();
        let mut membership = vec![
            text("id", &format!("M-{}", person.id)),
            text("type", "volwassen"),
            text("starts_on", &person.starts_on),
            text("home_branch", &person.branch),
        ];
        membership.extend(person.status.map(|status| text("status", status)));
        membership.extend(person.ends_on.as_deref().map(|day| text("ends_on", day)));
        let address = format!("{{{}}}", text("postcode", person.postcode));
        let mut fields = vec![
            text("kind", person.kind),
            text("initials", person.initials),
            text("surname", &person.surname),
            text("card_number", &person.card_number),
            text("card_kind", person.card_kind),
            format!("\"address\":{address}"),
            format!("\"membership\":{{{}}}", membership.join(",")),
            text("note", &person.note),
        ];
        let optional = [
            ("birth_date", person.birth_date),
            ("email", person.email.as_deref()),
            ("rijksregisternummer", person.national),
            ("updated_at", person.updated_at.as_deref()),
        ];
        for (name, value) in optional {
            fields.extend(value.map(|value| text(name, value)));
        }
        if let Some(at) = &person.account {
            fields.push(format!("\"online_account\":{{{}}}", text("created_at", at)));
        }
        if let Some(kept) = person.loan_history {
            fields.push(format!("\"loan_history\":{kept}"));
        }
        for years in [1, 2] {
            self.edge(person.ends_on.as_deref(), Term::years(years));
            self.edge(person.updated_at.as_deref(), Term::years(years));
            self.edge(Some(&person.starts_on), Term::years(years));
        }
        self.edge(person.ends_on.as_deref(), Term::days(30));
        self.edge(person.account.as_deref(), Term::days(0));
        let spoilt = [
            "\"surname\":1",
            "\"email\":1",
            "\"kind\":7",
            "\"membership\":[1]",
        ];
        self.record("patron", at, None, fields, &spoilt);
    }

    fn consent(&mut self, at: usize) {
        if self.chance(2) {
            let source = self.pick(&["consent", "consent", "objection"]);
            let id = self.people[at].id.clone();
            return self.push(source, Some(id), None);
        }
        let purpose = self.pick(PURPOSES);
        let mut fields = vec![text("purpose", purpose)];
        if purpose == "own-marketing" && self.chance(70) {
            fields.push(text("recipient", purpose));
        } else if self.chance(20) {
            fields.push(text("recipient", self.pick(NAMED)));
        }
        let decision = match self.below(30) {
            0 => "maybe",
            1..=7 => self.pick(&["refused", "withdrawn"]),
            _ => "granted",
        };
        fields.push(text("decision", decision));
        let manner = self.pick(&[
            "written", "written", "written", "digital", "digital", "oral",
        ]);
        fields.push(text("manner", manner));
        let moment = match self.below(12) {
            0 => None,
            1 => Some("2026-02-30T00:00:00Z".to_owned()),
            2 | 3 => Some(self.instant(0..60)),
            _ => Some(self.instant(-200..1)),
        };
        self.edge(moment.as_deref(), Term::days(0));
        fields.extend(moment.map(|at| text("at", &at)));
        let id = self.own_id("c", at);
        let spoilt = ["\"decision\":1", "\"purpose\":[1]", "\"at\":0"];
        self.record("consent", at, Some(("consent_id", id)), fields, &spoilt);
    }

    fn objection(&mut self, at: usize) {
        let kind = self.pick(&[
            "special_circumstances",
            "special_circumstances",
            "special_circumstances",
            "special_circumstances",
            "direct_marketing",
        ]);
        let kind = if self.chance(3) { "other" } else { kind };
        let status = self.pick(&[
            "dismissed",
            "dismissed",
            "dismissed",
            "dismissed",
            "lodged",
            "upheld",
        ]);
        let status = if self.chance(3) { "maybe" } else { status };
        let mut fields = vec![text("kind", kind), text("status", status)];
        if self.chance(80) {
            fields.push(text("at", &self.instant(-200..1)));
        }
        if self.chance(60) {
            fields.push(text("purpose", self.pick(AGAINST)));
        }
        let id = self.own_id("o", at);
        let spoilt = ["\"kind\":1", "\"status\":{\"x\":1}"];
        self.record("objection", at, Some(("objection_id", id)), fields, &spoilt);
    }

    fn loan(&mut self, at: usize) {
        let status = self.pick(&[
            "open", "open", "overdue", "returned", "returned", "lost", "damaged",
        ]);
        let loaned_at = self.instant(-400..1);
        let due_on = (!self.chance(10)).then(|| self.date(-60..60));
        self.edge(Some(&loaned_at), Term::years(2));
        let month = Term {
            years: 0,
            months: 1,
            days: 0,
        };
        for term in [Term::years(1), month] {
            self.edge(due_on.as_deref(), term);
        }
        let mut fields = vec![
            text("status", status),
            text("loaned_at", &loaned_at),
            text("branch", "centrale"),
        ];
        fields.push(self.item(at));
        fields.extend(due_on.map(|day| text("due_on", &day)));
        let merged = self.before_merge(at);
        let id = self.own_id("l", merged);
        let spoilt = [
            "\"status\":1",
            "\"renewals\":\"x\"",
            "\"item\":1",
            "\"due_on\":5",
        ];
        self.record("loan", at, Some(("loan_id", id)), fields, &spoilt);
    }

    fn reservation(&mut self, at: usize) {
        let status = self.pick(&[
            "placed",
            "ready_for_pickup",
            "ready_for_pickup",
            "collected",
        ]);
        let expires_on = (!self.chance(10)).then(|| self.date(-20..20));
        for term in [Term::days(14), Term::days(30)] {
            self.edge(expires_on.as_deref(), term);
        }
        let mut fields = vec![text("status", status), text("pickup_branch", "noord")];
        fields.push(self.item(at));
        fields.extend(expires_on.map(|day| text("expires_on", &day)));
        let merged = self.before_merge(at);
        let id = self.own_id("r", merged);
        let spoilt = ["\"status\":1", "\"pickup_branch\":[1]", "\"expires_on\":5"];
        self.record(
            "reservation",
            at,
            Some(("reservation_id", id)),
            fields,
            &spoilt,
        );
    }

    fn ill_request(&mut self, at: usize) {
        let status = self.pick(&["requested", "sent", "received", "returned", "closed"]);
        let needed_by = (!self.chance(15)).then(|| self.date(-400..30));
        self.edge(needed_by.as_deref(), Term::years(1));
        let mut fields = vec![text("status", status), text("service", "loan")];
        fields.push(self.item(at));
        fields.extend(needed_by.map(|day| text("needed_by", &day)));
        let id = self.own_id("i", at);
        let spoilt = ["\"status\":1", "\"service\":true"];
        self.record("ill_request", at, Some(("request_id", id)), fields, &spoilt);
    }

    fn debt(&mut self, at: usize) {
        let stage = self.pick(&["collection", "collection", "collection", "invoice"]);
        let status = self.pick(&["open", "open", "open", "settled", "cancelled"]);
        let ago = if self.chance(12) { 1_750 } else { 0 };
        let reminded = self.instant(-600 - ago..-300 - ago);
        let invoiced = self
            .chance(92)
            .then(|| self.instant(-310 - ago..-100 - ago));
        let referred = self.chance(80).then(|| self.instant(-110 - ago..-ago));
        let months = Term {
            years: 0,
            months: 18,
            days: 0,
        };
        self.edge(invoiced.as_deref(), months);
        self.edge(referred.as_deref(), Term::years(5));
        let amount = self.below(9_000);
        let title = self.title(at);
        let mut fields = vec![
            text("stage", stage),
            text("status", status),
            text("reminded_at", &reminded),
            format!("\"amount_cents\":{amount}"),
            format!("\"items\":[{{{}}}]", text("title", &title)),
        ];
        fields.extend(invoiced.map(|at| text("invoiced_at", &at)));
        fields.extend(referred.map(|at| text("referred_at", &at)));
        let id = self.own_id("d", at);
        let spoilt = ["\"amount_cents\":1.5", "\"stage\":1", "\"items\":[1]"];
        self.record("debt", at, Some(("debt_id", id)), fields, &spoilt);
    }

    fn item(&mut self, at: usize) -> String {
        let title = self.title(at);
        let material = text("material", "boek");
        format!("\"item\":{{{},{material}}}", text("title", &title))
    }

    /// A title, in which a national number may stand: its patron's, or one that the
    /// patron gets later.
    fn title(&mut self, at: usize) -> String {
        let title = self.mark(&self.people[at].id.clone());
        match self.chance(10) {
            true => format!("{title} {}", self.pick(NATIONAL)),
            false => title,
        }
    }

    fn own_id(&mut self, letter: &str, at: usize) -> String {
        let number = self.below(3);
        format!("{letter}-{}-{number}", self.people[at].id)
    }

    /// Writes a record; a few of them spoilt, for somebody or for all.
    fn record(
        &mut self,
        source: &'static str,
        at: usize,
        own: Option<(&str, String)>,
        mut fields: Vec<String>,
        spoilt: &[&str],
    ) {
        let person = &self.people[at];
        let (id, home) = (person.id.clone(), person.library);
        let away = source != "patron" && self.chance(8);
        let library = if away { self.pick(LIBRARIES) } else { home };
        fields.push(text("patron_id", &id));
        fields.push(text("library", library));
        fields.extend(own.map(|(name, id)| text(name, &id)));
        let is_said = matches!(source, "consent" | "objection");
        if self.chance(if is_said { 3 } else { 10 }) {
            let field = self.pick(spoilt);
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
        self.push(source, key, Some(value));
    }

    fn push(&mut self, source: &'static str, key: Option<String>, value: Option<String>) {
        self.settled = false;
        self.came_ms = self.now_ms.max(self.came_ms + 1);
        self.steps.push(Step::Push {
            source,
            key,
            value,
            came_ms: self.came_ms,
        });
    }
}

fn text(name: &str, value: &str) -> String {
    format!("\"{name}\":\"{value}\"")
}
