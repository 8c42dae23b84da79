//! One member who has something of everything: an account, a loan, a debt. For the
//! demo, which follows her through a withdrawal and an erasure.
//!
//! Nobody has her name, numbers or addresses.

use super::Message;
use super::day::{Day, Instant};
use super::dice::{Dice, Stream};
use super::number;
use super::sheet::{Manner, Sheet};

/// The member, on a day.
#[derive(Clone, Debug)]
pub struct Member {
    library: String,
    today: Day,
}

impl Member {
    /// What nobody but the library and her partners should have of her.
    pub const TRACES: [&str; 5] = [
        "Proefkamp",
        "20010000098765",
        "fenna.proefkamp@example.org",
        "06-00009912",
        "Voorbeeldlaan",
    ];

    /// A member of `library`; her dates are counted from `today`.
    #[must_use]
    pub fn new(library: &str, today: jiff::civil::Date) -> Member {
        Member {
            library: library.to_owned(),
            today: Day::of(today),
        }
    }

    #[must_use]
    pub fn patron_id(&self) -> String {
        format!("{}:demo", self.library)
    }

    /// Her full name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        "Fenna van der Proefkamp"
    }

    /// All that the library has of her.
    #[must_use]
    pub fn records(&self) -> Vec<Message> {
        vec![
            self.record("patron", Member::patron),
            self.record("consent", |one, sheet| one.consent(sheet, "granted", -200)),
            self.record("loan", Member::loan),
            self.record("reservation", Member::reservation),
            self.record("ill_request", Member::ill_request),
            self.record("debt", Member::debt),
        ]
    }

    /// She withdraws her consent, today.
    #[must_use]
    pub fn withdrawal(&self) -> Message {
        self.record("consent", |one, sheet| one.consent(sheet, "withdrawn", 0))
    }

    /// She is erased.
    #[must_use]
    pub fn erasure(&self) -> Message {
        Message {
            source: "patron",
            key: self.patron_id(),
            value: None,
        }
    }

    fn record(&self, source: &'static str, fill: impl FnOnce(&Member, &mut Sheet)) -> Message {
        let mut sheet = Sheet::new(Manner::PLAIN);
        let id = match source {
            "patron" => None,
            "ill_request" => Some("request_id"),
            "consent" => Some("consent_id"),
            "loan" => Some("loan_id"),
            "reservation" => Some("reservation_id"),
            _ => Some("debt_id"),
        };
        if let Some(id) = id {
            sheet.text(id, &format!("demo-{source}"));
        }
        sheet.text("patron_id", &self.patron_id());
        sheet.text("library", &self.library);
        fill(self, &mut sheet);
        Message {
            source,
            key: self.patron_id(),
            value: Some(sheet.finish(&mut Dice::new(0, 0, Stream::Patron))),
        }
    }

    fn day(&self, days: i32) -> Option<Day> {
        Some(self.today.plus(days))
    }

    /// At night, before anything of that day is decided.
    fn at(&self, days: i32) -> Option<Instant> {
        Some(Instant {
            day: self.today.plus(days),
            second: 0,
            utc: true,
            fraction: None,
        })
    }

    fn patron(&self, sheet: &mut Sheet) {
        sheet.text("kind", "person");
        sheet.text("card_number", Member::TRACES[1]);
        sheet.text("card_kind", "library");
        sheet.text("salutation", "Mevr.");
        sheet.text("initials", "F.M.");
        sheet.text("given_name", "Fenna");
        sheet.text("surname_prefix", "van der");
        sheet.text("surname", Member::TRACES[0]);
        sheet.text("birth_date", "1987-04-12");
        sheet.text("gender", "v");
        sheet.text("email", Member::TRACES[2]);
        sheet.text("phone", "020-0000012");
        sheet.text("mobile", Member::TRACES[3]);
        sheet.object("address", |sheet| {
            sheet.text("street", Member::TRACES[4]);
            sheet.text("house_number", "12");
            sheet.text("postcode", "1234 AB");
            sheet.text("city", "Voorbeeldstad");
        });
        sheet.text("bsn", "111222333");
        sheet.text("iban", "NL23ZEEF0000000000");
        sheet.object("membership", |sheet| {
            sheet.text("id", "LID-DEMO");
            sheet.text("type", "volwassen");
            sheet.date("starts_on", self.day(-900));
            sheet.date("ends_on", self.day(195));
            sheet.text("status", "active");
            sheet.text("home_branch", "Centrale");
            sheet.integer("fee_cents", 4_700);
            sheet.text("currency", "EUR");
        });
        sheet.object("online_account", |sheet| {
            sheet.instant("created_at", self.at(-300));
        });
        sheet.texts("interests", ["koken", "genealogie"]);
        sheet.flag("loan_history", true);
        sheet.text("pin_hash", "$argon2id$v=19$m=19456,t=2,p=1$demo$demo");
        sheet.text("note", "Belt liever dan dat zij mailt.");
        sheet.instant("updated_at", self.at(-9));
    }

    fn consent(&self, sheet: &mut Sheet, decision: &str, days: i32) {
        sheet.text("purpose", "online-library");
        sheet.text("decision", decision);
        sheet.text("manner", "digital");
        sheet.instant("at", self.at(days));
    }

    fn loan(&self, sheet: &mut Sheet) {
        item(sheet, "De stad onder de stad", 1);
        sheet.text("branch", "Centrale");
        sheet.instant("loaned_at", self.at(-60));
        sheet.date("due_on", self.day(-39));
        sheet.text("status", "overdue");
        sheet.integer("renewals", 1);
    }

    fn reservation(&self, sheet: &mut Sheet) {
        item(sheet, "Koken met restjes", 2);
        sheet.text("pickup_branch", "Centrale");
        sheet.text("status", "ready_for_pickup");
        sheet.instant("ready_at", self.at(-1));
        sheet.date("expires_on", self.day(9));
    }

    fn ill_request(&self, sheet: &mut Sheet) {
        sheet.text("supplying_library", "BE-GtB01");
        sheet.object("item", |sheet| {
            sheet.text("title", "Kroniek van een veenkolonie");
            sheet.text("author", "J. Verzonnen");
            sheet.text("isbn", &number::isbn(3));
        });
        sheet.text("service", "loan");
        sheet.date("needed_by", self.day(30));
        sheet.text("status", "sent");
    }

    fn debt(&self, sheet: &mut Sheet) {
        sheet.text("kind", "lost");
        sheet.objects("items", 1, |sheet, _| {
            sheet.text("title", "Reisgids voor thuisblijvers");
            sheet.text("barcode", "30000000000004");
            sheet.date("due_on", self.day(-180));
            sheet.integer("amount_cents", 2_450);
        });
        sheet.integer("amount_cents", 2_450);
        sheet.text("currency", "EUR");
        sheet.instant("reminded_at", self.at(-150));
        sheet.instant("invoiced_at", self.at(-120));
        sheet.instant("referred_at", self.at(-75));
        sheet.text("stage", "collection");
        sheet.text("status", "open");
    }
}

fn item(sheet: &mut Sheet, title: &str, number: u64) {
    sheet.object("item", |sheet| {
        sheet.text("barcode", &format!("3000000000000{number}"));
        sheet.text("title", title);
        sheet.text("author", "A. Verzonnen");
        sheet.text("material", "boek");
        sheet.text("isbn", &number::isbn(number));
    });
}
