//! One member with an account, a loan and a debt, whom the demo follows through a withdrawal and an
//! erasure.
//!
//! Her name, numbers and addresses are nobody's.

use super::SampleMessage;
use super::day::{Day, SampleTimestamp};
use super::json_writer::{JsonStyle, JsonWriter};
use super::number;
use super::rng::{Rng, RngStream};

#[derive(Clone, Debug)]
pub struct DemoPatron {
    library: String,
    today: Day,
}

impl DemoPatron {
    /// Values that only the library and her partners should have.
    pub const PERSONAL_VALUES: [&str; 5] = [
        "Proefkamp",
        "20010000098765",
        "fenna.proefkamp@example.org",
        "06-00009912",
        "Voorbeeldlaan",
    ];

    /// Dates are relative to `today`.
    #[must_use]
    pub fn new(library: &str, today: jiff::civil::Date) -> DemoPatron {
        DemoPatron { library: library.to_owned(), today: Day::from_date(today) }
    }

    #[must_use]
    pub fn patron_id(&self) -> String {
        format!("{}:demo", self.library)
    }

    #[must_use]
    pub fn full_name(&self) -> &'static str {
        "Fenna van der Proefkamp"
    }

    /// Returns everything that the library has of her.
    #[must_use]
    pub fn initial_messages(&self) -> Vec<SampleMessage> {
        vec![
            self.build_message("patron", DemoPatron::write_patron),
            self.build_consent("online-library", "granted", -200),
            self.build_consent("newsletter", "granted", -200),
            self.build_family_consent(),
            self.build_message("loan", DemoPatron::write_loan),
            self.build_message("reservation", DemoPatron::write_reservation),
            self.build_message("ill_request", DemoPatron::write_ill_request),
            self.build_message("debt", DemoPatron::write_debt),
        ]
    }

    /// Returns what happens today: she withdraws both consents and pays her debt, and the
    /// library's system no longer has her loan.
    #[must_use]
    pub fn changes_of_second_day(&self) -> Vec<SampleMessage> {
        vec![
            self.build_consent("online-library", "withdrawn", 0),
            self.build_consent("newsletter", "withdrawn", 0),
            self.build_message("settlement", |one, json| {
                json.write_string("debt_id", "demo-debt");
                json.write_timestamp("settled_at", one.midnight_after(0));
                json.write_string("source", "financiele-dienst");
            }),
            self.build_message("loan", |_, json| json.write_boolean("gone", true)),
        ]
    }

    #[must_use]
    pub fn erasure_tombstone(&self) -> SampleMessage {
        SampleMessage { source: "patron", key: Some(self.patron_id()), value: None }
    }

    fn build_consent(&self, purpose: &str, decision: &str, days: i32) -> SampleMessage {
        self.build_record(("consent", &format!("demo-{purpose}")), |one, json| {
            json.write_string("purpose", purpose);
            json.write_string("decision", decision);
            json.write_string("manner", "digital");
            json.write_timestamp("at", one.midnight_after(days));
        })
    }

    /// Returns her grant to another member of her family.
    fn build_family_consent(&self) -> SampleMessage {
        self.build_record(("consent", "demo-family-access"), |one, json| {
            json.write_string("purpose", "family-access");
            json.write_string("recipient", &format!("{}:demo-family", one.library));
            json.write_string("decision", "granted");
            json.write_string("manner", "written");
            json.write_timestamp("at", one.midnight_after(-100));
            json.write_string("signature_ref", "archief/demo");
        })
    }

    fn build_message(
        &self,
        source: &'static str,
        fill: impl FnOnce(&DemoPatron, &mut JsonWriter),
    ) -> SampleMessage {
        self.build_record((source, &format!("demo-{source}")), fill)
    }

    fn build_record(
        &self,
        (source, id): (&'static str, &str),
        fill: impl FnOnce(&DemoPatron, &mut JsonWriter),
    ) -> SampleMessage {
        let mut json = JsonWriter::new(JsonStyle::PLAIN);
        match source {
            "patron" => {}
            "ill_request" => json.write_string("request_id", id),
            _ => json.write_string(&format!("{source}_id"), id),
        }
        json.write_string("patron_id", &self.patron_id());
        json.write_string("library", &self.library);
        fill(self, &mut json);
        SampleMessage {
            source,
            key: Some(self.patron_id()),
            value: Some(json.finish(&mut Rng::new(0, 0, RngStream::Patron))),
        }
    }

    fn date_after(&self, days: i32) -> Option<Day> {
        Some(self.today.add_days(days))
    }

    /// At midnight, before anything of that day is decided.
    fn midnight_after(&self, days: i32) -> Option<SampleTimestamp> {
        Some(SampleTimestamp {
            day: self.today.add_days(days),
            second_of_day: 0,
            is_utc: true,
            milliseconds: None,
        })
    }

    fn write_patron(&self, json: &mut JsonWriter) {
        json.write_string("kind", "person");
        json.write_string("card_number", DemoPatron::PERSONAL_VALUES[1]);
        json.write_string("card_kind", "library");
        json.write_string("salutation", "Mevr.");
        json.write_string("initials", "F.M.");
        json.write_string("given_name", "Fenna");
        json.write_string("surname_prefix", "van der");
        json.write_string("surname", DemoPatron::PERSONAL_VALUES[0]);
        json.write_string("birth_date", "1987-04-12");
        json.write_string("gender", "v");
        json.write_string("email", DemoPatron::PERSONAL_VALUES[2]);
        json.write_string("phone", "020-0000012");
        json.write_string("mobile", DemoPatron::PERSONAL_VALUES[3]);
        json.write_object("address", |json| {
            json.write_string("street", DemoPatron::PERSONAL_VALUES[4]);
            json.write_string("house_number", "12");
            json.write_string("postcode", "1234 AB");
            json.write_string("city", "Voorbeeldstad");
        });
        json.write_string("bsn", "111222333");
        json.write_string("iban", "NL23ZEEF0000000000");
        json.write_object("membership", |json| {
            json.write_string("id", "LID-DEMO");
            json.write_string("type", "volwassen");
            json.write_date("starts_on", self.date_after(-900));
            json.write_date("ends_on", self.date_after(195));
            json.write_string("status", "active");
            json.write_string("home_branch", "Centrale");
            json.write_integer("fee_cents", 4_700);
            json.write_string("currency", "EUR");
        });
        json.write_object("online_account", |json| {
            json.write_timestamp("created_at", self.midnight_after(-300));
        });
        json.write_strings("interests", ["koken", "genealogie"]);
        json.write_boolean("loan_history", true);
        json.write_string("pin_hash", "$argon2id$v=19$m=19456,t=2,p=1$demo$demo");
        json.write_string("note", "Belt liever dan dat zij mailt.");
        json.write_timestamp("updated_at", self.midnight_after(-9));
    }

    fn write_loan(&self, json: &mut JsonWriter) {
        write_item(json, "De stad onder de stad", 1);
        json.write_string("branch", "Centrale");
        json.write_timestamp("loaned_at", self.midnight_after(-60));
        json.write_date("due_on", self.date_after(-39));
        json.write_string("status", "overdue");
        json.write_integer("renewals", 1);
    }

    fn write_reservation(&self, json: &mut JsonWriter) {
        write_item(json, "Koken met restjes", 2);
        json.write_string("pickup_branch", "Centrale");
        json.write_string("status", "ready_for_pickup");
        json.write_timestamp("ready_at", self.midnight_after(-1));
        json.write_date("expires_on", self.date_after(9));
    }

    fn write_ill_request(&self, json: &mut JsonWriter) {
        json.write_string("supplying_library", "BE-GtB01");
        json.write_object("item", |json| {
            json.write_string("title", "Kroniek van een veenkolonie");
            json.write_string("author", "J. Verzonnen");
            json.write_string("isbn", &number::make_isbn(3));
        });
        json.write_string("service", "loan");
        json.write_date("needed_by", self.date_after(30));
        json.write_string("status", "sent");
    }

    fn write_debt(&self, json: &mut JsonWriter) {
        json.write_string("kind", "lost");
        json.write_objects("items", 1, |json, _| {
            json.write_string("title", "Reisgids voor thuisblijvers");
            json.write_string("barcode", "30000000000004");
            json.write_date("due_on", self.date_after(-180));
            json.write_integer("amount_cents", 2_450);
        });
        json.write_integer("amount_cents", 2_450);
        json.write_string("currency", "EUR");
        json.write_timestamp("reminded_at", self.midnight_after(-150));
        json.write_timestamp("invoiced_at", self.midnight_after(-120));
        json.write_timestamp("referred_at", self.midnight_after(-75));
        json.write_string("stage", "collection");
        json.write_string("status", "open");
    }
}

fn write_item(json: &mut JsonWriter, title: &str, number: u64) {
    json.write_object("item", |json| {
        json.write_string("barcode", &format!("3000000000000{number}"));
        json.write_string("title", title);
        json.write_string("author", "A. Verzonnen");
        json.write_string("material", "boek");
        json.write_string("isbn", &number::make_isbn(number));
    });
}
