//! Invented patrons of whom every value can be recognised, wherever it turns up.
//!
//! A mark stands in every text that may have any form. Where a form or a mask
//! leaves no room for it, the value is one that only this patron has.

use jiff::civil::Date;

/// A patron by number, below 60, with records of every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedPatron(pub usize);

/// A message of a source; no value is a null.
#[derive(Clone, Debug)]
pub struct MarkedLine {
    pub source: &'static str,
    pub key: String,
    pub value: Option<String>,
}

impl MarkedLine {
    fn new(source: &'static str, key: &str, value: String) -> Self {
        MarkedLine { source, key: key.to_owned(), value: Some(value) }
    }

    /// As a directory's source has it; what is no JSON stands there as a text.
    #[allow(dead_code, reason = "only one program writes files")]
    pub fn to_ndjson(&self) -> String {
        let key = serde_json::Value::from(self.key.as_str());
        let value = match &self.value {
            Some(value) if serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok() => {
                value.clone()
            }
            Some(value) => serde_json::Value::from(value.as_str()).to_string(),
            None => "null".to_owned(),
        };
        format!("{{\"key\":{key},\"value\":{value}}}\n")
    }
}

impl MarkedPatron {
    /// The word that stands in the patron's values.
    pub fn marker(self) -> String {
        format!("zqx1p{:02}p", self.0)
    }

    pub fn patron_id(self) -> String {
        format!("{}-id", self.marker())
    }

    fn marker_letter(self) -> char {
        char::from_u32(u32::try_from(usize::from(b'a') + self.0 % 26).unwrap()).unwrap()
    }

    /// What nobody else has, as it stands in records and in outputs.
    pub fn distinctive_values(self) -> Vec<String> {
        let n = self.0;
        let (low, high) = (self.marker_letter(), self.marker_letter().to_ascii_uppercase());
        vec![
            self.marker(),
            format!("Zqx1p{n:02}p"),
            format!("\"Q{low}\""),
            format!("\"Q{low} {high}\""),
            format!("\"{n:02}715\""),
            format!("{}-02-03", 1930 + n),
            format!("\"{}\"", 1930 + n),
            format!("020-55501{n:02}"),
            format!("06-555020{n:02}"),
            format!("\"41{n:02}\""),
            format!("41{n:02} AB"),
            format!("{}-05-06", 2000 + n),
            format!("{}-05-07", 2040 + n),
            format!("{}-06-07T08", 1950 + n),
            (777_100_000_000 + n).to_string(),
            (777_200_000_000 + n).to_string(),
            (777_300_000_000 + n).to_string(),
        ]
    }

    /// The patron's own record, with all that a record can have.
    pub fn patron_line(self) -> MarkedLine {
        self.patron_line_with_surname_suffix("")
    }

    /// The same, with another surname.
    pub fn patron_line_with_surname_suffix(self, name: &str) -> MarkedLine {
        let (n, m) = (self.0, self.marker());
        let (low, high) = (self.marker_letter(), self.marker_letter().to_ascii_uppercase());
        let (birth, start, end, account) = (1930 + n, 2000 + n, 2040 + n, 1950 + n);
        let fee = 777_100_000_000 + n;
        let value = format!(
            concat!(
                r#"{{"patron_id":"{m}-id","library":"NL-AmrBKW","country":"NL","kind":"person","#,
                r#""card_number":"2001{m}0040{n:02}715","card_kind":"library","#,
                r#""previous_card_numbers":["1{m}1","2{m}2"],"salutation":"{m} mevrouw","#,
                r#""initials":"{high}.{m}.","given_name":"{high}{m}a","surname_prefix":"{m} van","#,
                r#""surname":"Q{low} {m}{name}","birth_date":"{birth}-02-03","gender":"{m}","#,
                r#""email":"{m}@example.org","phone":"020-55501{n:02}","mobile":"06-555020{n:02}","#,
                r#""address":{{"street":"{m}straat","house_number":"{m}1","#,
                r#""house_number_suffix":"{m}bis","postcode":"41{n:02} AB","city":"{m}dam"}},"#,
                r#""bsn":"{m}","rijksregisternummer":"{m}","iban":"{m}","#,
                r#""mandate":{{"id":"{m}-mandate","signed_on":"{start}-05-06"}},"#,
                r#""membership":{{"id":"{m}-m","type":"{m} adult","starts_on":"{start}-05-06","#,
                r#""ends_on":"{end}-05-07","status":"active","home_branch":"{m} Noord","#,
                r#""fee_cents":{fee},"currency":"EUR"}},"#,
                r#""online_account":{{"created_at":"{account}-06-07T08:09:10Z"}},"#,
                r#""interests":["{m} vogels"],"loan_history":true,"#,
                r#""guarantor":{{"patron_id":"{m}-g","name":"{m} borg","email":"{m}.g@example.org"}},"#,
                r#""pin_hash":"{m}","note":"{m} belt soms","{m}":{{"{m}":"{m}"}}}}"#,
            ),
            m = m,
            n = n,
            low = low,
            high = high,
            name = name,
            birth = birth,
            start = start,
            end = end,
            account = account,
            fee = fee,
        );
        MarkedLine::new("patron", &self.patron_id(), value)
    }

    /// The patron is erased.
    pub fn erasure_line(self) -> MarkedLine {
        MarkedLine { source: "patron", key: self.patron_id(), value: None }
    }

    /// Records of every other kind, each of which some recipient gets, and some
    /// that nobody can read.
    pub fn record_lines(self, today: Date) -> Vec<MarkedLine> {
        let mut lines = self.consent_and_objection_lines(today);
        lines.extend(self.valid_record_lines(today));
        lines.extend(self.unreadable_lines(today));
        lines
    }

    fn common_members(self, id: &str) -> String {
        let m = self.marker();
        format!(r#""{id}_id":"{m}-{id}","patron_id":"{m}-id","library":"NL-AmrBKW""#)
    }

    fn consent_and_objection_lines(self, today: Date) -> Vec<MarkedLine> {
        let (id, m) = (self.patron_id(), self.marker());
        let at = days_before(today, 20);
        let consent = format!(
            concat!(
                r#"{{{head},"purpose":"online-library","decision":"granted","manner":"written","#,
                r#""at":"{at}T10:00:00Z","employee":"{m}","signature_ref":"{m}/1"}}"#
            ),
            head = self.common_members("consent"),
            at = at,
            m = m,
        );
        let objection = format!(
            concat!(
                r#"{{{head},"kind":"direct_marketing","purpose":"newsletter","status":"lodged","#,
                r#""at":"{at}T10:00:00Z","decided_by":"{m}"}}"#
            ),
            head = self.common_members("objection"),
            at = at,
            m = m,
        );
        vec![MarkedLine::new("consent", &id, consent), MarkedLine::new("objection", &id, objection)]
    }

    /// A loan; `more` is what stands at its end.
    pub fn loan_line(
        self,
        number: usize,
        status: &str,
        today: Date,
        extra_members: &str,
    ) -> MarkedLine {
        let m = self.marker();
        let value = format!(
            concat!(
                r#"{{"loan_id":"{m}-l{number}","patron_id":"{m}-id","library":"NL-AmrBKW","#,
                r#""item":{{"barcode":"{m}","title":"{m} titel","author":"{m}","#,
                r#""material":"{m} boek","isbn":"{m}"}},"branch":"{m} Centrum","#,
                r#""loaned_at":"{from}T10:00:00Z","status":"{status}","renewals":1,"#,
                r#""note":"{m}"{more}}}"#
            ),
            m = m,
            number = number,
            status = status,
            from = days_before(today, 10),
            more = extra_members,
        );
        MarkedLine::new("loan", &self.patron_id(), value)
    }

    fn valid_record_lines(self, today: Date) -> Vec<MarkedLine> {
        let (id, m) = (self.patron_id(), self.marker());
        let (debt, volume) = (777_200_000_000 + self.0, 777_300_000_000 + self.0);
        let soon = days_before(today, -10);
        let due = format!(r#","due_on":"{soon}""#);
        let reservation = format!(
            concat!(
                r#"{{{head},"item":{{"barcode":"{m}","title":"{m} titel","author":"{m}","#,
                r#""material":"{m}","isbn":"{m}"}},"pickup_branch":"{m} Zuid","#,
                r#""status":"ready_for_pickup","expires_on":"{soon}","note":"{m}"}}"#
            ),
            head = self.common_members("reservation"),
            m = m,
            soon = soon,
        );
        let debt = format!(
            concat!(
                r#"{{{head},"kind":"late","items":[{{"title":"{m} schuld","barcode":"{m}","#,
                r#""due_on":"{due}","amount_cents":{debt}}}],"amount_cents":{debt},"#,
                r#""currency":"EUR","stage":"collection","reminded_at":"{due}T10:00:00Z","#,
                r#""invoiced_at":"{later}T10:00:00Z","referred_at":"{last}T10:00:00Z","#,
                r#""status":"open","note":"{m}"}}"#
            ),
            head = self.common_members("debt"),
            m = m,
            debt = debt,
            due = days_before(today, 90),
            later = days_before(today, 60),
            last = days_before(today, 30),
        );
        let request = format!(
            concat!(
                r#"{{{head},"supplying_library":"BE-Zqx1p{n:02}p","item":{{"title":"{m} titel","#,
                r#""author":"{m}","isbn":"{m}","issn":"{m}","volume":{volume},"pages":"{m}"}},"#,
                r#""service":"loan","needed_by":"{soon}","status":"sent","note":"{m}"}}"#
            ),
            head = self.common_members("request"),
            m = m,
            n = self.0,
            volume = volume,
            soon = soon,
        );
        vec![
            self.demand_line(today),
            self.loan_line(0, "open", today, &due),
            self.loan_line(1, "returned", today, &due),
            MarkedLine::new("reservation", &id, reservation),
            MarkedLine::new("debt", &id, debt),
            MarkedLine::new("ill_request", &id, request),
        ]
    }

    /// A complete demand. It is about the patron, but what is reported on it is not.
    fn demand_line(self, today: Date) -> MarkedLine {
        let m = self.marker();
        let value = format!(
            concat!(
                r#"{{{head},"authority":"politie","law_article":"126nd Sv","manner":"written","#,
                r#""fields":["surname","email","pin_hash","note"],"team_leader":"{m}","#,
                r#""received_at":"{received}T10:00:00Z","#,
                r#""advice":{{"by":"{m}","at":"{advised}T10:00:00Z","advice":"grant"}},"#,
                r#""decision":{{"by":"{m}","role":"directeur","at":"{decided}T10:00:00Z","#,
                r#""decision":"granted","legal_duty":true}}}}"#
            ),
            head = self.common_members("demand"),
            m = m,
            received = days_before(today, 9),
            advised = days_before(today, 8),
            decided = days_before(today, 7),
        );
        MarkedLine::new("demand", &self.patron_id(), value)
    }

    fn unreadable_lines(self, today: Date) -> Vec<MarkedLine> {
        let (id, m) = (self.patron_id(), self.marker());
        vec![
            self.loan_line(2, "open", today, &format!(r#","due_on":["{m}"]"#)),
            self.loan_line(3, "open", today, &format!(r#","status":"{m}""#)),
            MarkedLine::new("loan", &id, format!("{m} is no JSON")),
            MarkedLine::new("loan", &id, format!(r#"{{"{m}":"{m}"}}"#)),
            MarkedLine::new("debt", &id, format!(r#"["{m}"]"#)),
            MarkedLine::new(
                "loan",
                &format!("{m}-other"),
                self.loan_line(4, "open", today, "").value.unwrap(),
            ),
        ]
    }
}

fn days_before(today: Date, days: i64) -> Date {
    today.saturating_add(jiff::Span::new().days(-days))
}

/// Expects that `text` has nothing of the patron.
#[track_caller]
pub fn assert_no_traces(what: &str, text: &str, of: MarkedPatron) {
    if let Some(mark) = of.distinctive_values().iter().find(|mark| text.contains(*mark)) {
        let line = text.lines().find(|line| line.contains(mark)).unwrap();
        let shown: String = line.chars().take(400).collect();
        panic!("{what} has {mark} of patron {}: {shown}", of.0);
    }
}
