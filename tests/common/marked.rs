//! Invented patrons of whom every value can be recognised, wherever it turns up.
//!
//! A mark stands in every text that may have any form. Where a form or a mask
//! leaves no room for it, the value is one that only this patron has.

use jiff::civil::Date;

/// A patron by number, below 60, with records of every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked(pub(crate) usize);

/// A message of a source; no value is a null.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) source: &'static str,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

impl Line {
    fn new(source: &'static str, key: &str, value: String) -> Self {
        Line {
            source,
            key: key.to_owned(),
            value: Some(value),
        }
    }

    /// As a directory's source has it; what is no JSON stands there as a text.
    #[allow(dead_code, reason = "only one program writes files")]
    pub(crate) fn text(&self) -> String {
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

impl Marked {
    /// The word that stands in the patron's values.
    pub(crate) fn mark(self) -> String {
        format!("zqx1p{:02}p", self.0)
    }

    pub(crate) fn id(self) -> String {
        format!("{}-id", self.mark())
    }

    fn letter(self) -> char {
        char::from_u32(u32::try_from(usize::from(b'a') + self.0 % 26).unwrap()).unwrap()
    }

    /// What nobody else has, as it stands in records and in outputs.
    pub(crate) fn marks(self) -> Vec<String> {
        let n = self.0;
        let (low, high) = (self.letter(), self.letter().to_ascii_uppercase());
        vec![
            self.mark(),
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
    pub(crate) fn patron(self) -> Line {
        self.patron_named("")
    }

    /// The same, with another surname.
    pub(crate) fn patron_named(self, name: &str) -> Line {
        let (n, m) = (self.0, self.mark());
        let (low, high) = (self.letter(), self.letter().to_ascii_uppercase());
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
        Line::new("patron", &self.id(), value)
    }

    /// The patron is erased.
    pub(crate) fn erased(self) -> Line {
        Line {
            source: "patron",
            key: self.id(),
            value: None,
        }
    }

    /// Records of every other kind, each of which some recipient gets, and some
    /// that nobody can read.
    pub(crate) fn records(self, today: Date) -> Vec<Line> {
        let mut lines = self.said(today);
        lines.extend(self.outstanding(today));
        lines.extend(self.damaged(today));
        lines
    }

    fn head(self, id: &str) -> String {
        let m = self.mark();
        format!(r#""{id}_id":"{m}-{id}","patron_id":"{m}-id","library":"NL-AmrBKW""#)
    }

    fn said(self, today: Date) -> Vec<Line> {
        let (id, m) = (self.id(), self.mark());
        let at = before(today, 20);
        let consent = format!(
            concat!(
                r#"{{{head},"purpose":"online-library","decision":"granted","manner":"written","#,
                r#""at":"{at}T10:00:00Z","employee":"{m}","signature_ref":"{m}/1"}}"#
            ),
            head = self.head("consent"),
            at = at,
            m = m,
        );
        let objection = format!(
            concat!(
                r#"{{{head},"kind":"direct_marketing","purpose":"newsletter","status":"lodged","#,
                r#""at":"{at}T10:00:00Z","decided_by":"{m}"}}"#
            ),
            head = self.head("objection"),
            at = at,
            m = m,
        );
        vec![
            Line::new("consent", &id, consent),
            Line::new("objection", &id, objection),
        ]
    }

    /// A loan; `more` is what stands at its end.
    pub(crate) fn loan(self, number: usize, status: &str, today: Date, more: &str) -> Line {
        let m = self.mark();
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
            from = before(today, 10),
            more = more,
        );
        Line::new("loan", &self.id(), value)
    }

    fn outstanding(self, today: Date) -> Vec<Line> {
        let (id, m) = (self.id(), self.mark());
        let (debt, volume) = (777_200_000_000 + self.0, 777_300_000_000 + self.0);
        let soon = before(today, -10);
        let due = format!(r#","due_on":"{soon}""#);
        let reservation = format!(
            concat!(
                r#"{{{head},"item":{{"barcode":"{m}","title":"{m} titel","author":"{m}","#,
                r#""material":"{m}","isbn":"{m}"}},"pickup_branch":"{m} Zuid","#,
                r#""status":"ready_for_pickup","expires_on":"{soon}","note":"{m}"}}"#
            ),
            head = self.head("reservation"),
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
            head = self.head("debt"),
            m = m,
            debt = debt,
            due = before(today, 90),
            later = before(today, 60),
            last = before(today, 30),
        );
        let request = format!(
            concat!(
                r#"{{{head},"supplying_library":"BE-Zqx1p{n:02}p","item":{{"title":"{m} titel","#,
                r#""author":"{m}","isbn":"{m}","issn":"{m}","volume":{volume},"pages":"{m}"}},"#,
                r#""service":"loan","needed_by":"{soon}","status":"sent","note":"{m}"}}"#
            ),
            head = self.head("request"),
            m = m,
            n = self.0,
            volume = volume,
            soon = soon,
        );
        vec![
            self.loan(0, "open", today, &due),
            self.loan(1, "returned", today, &due),
            Line::new("reservation", &id, reservation),
            Line::new("debt", &id, debt),
            Line::new("ill_request", &id, request),
        ]
    }

    fn damaged(self, today: Date) -> Vec<Line> {
        let (id, m) = (self.id(), self.mark());
        vec![
            self.loan(2, "open", today, &format!(r#","due_on":["{m}"]"#)),
            self.loan(3, "open", today, &format!(r#","status":"{m}""#)),
            Line::new("loan", &id, format!("{m} is no JSON")),
            Line::new("loan", &id, format!(r#"{{"{m}":"{m}"}}"#)),
            Line::new("debt", &id, format!(r#"["{m}"]"#)),
            Line::new(
                "loan",
                &format!("{m}-other"),
                self.loan(4, "open", today, "").value.unwrap(),
            ),
        ]
    }
}

fn before(today: Date, days: i64) -> Date {
    today.saturating_add(jiff::Span::new().days(-days))
}

/// Expects that `text` has nothing of the patron.
#[track_caller]
pub(crate) fn expect_nothing(what: &str, text: &str, of: Marked) {
    if let Some(mark) = of.marks().iter().find(|mark| text.contains(*mark)) {
        let line = text.lines().find(|line| line.contains(mark)).unwrap();
        let shown: String = line.chars().take(400).collect();
        panic!("{what} has {mark} of patron {}: {shown}", of.0);
    }
}
