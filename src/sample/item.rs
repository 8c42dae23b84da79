//! Works of the collection, with invented titles and authors.

use super::json_writer::JsonWriter;
use super::number;
use super::rng::Rng;

#[derive(Clone, Debug)]
pub(super) struct LibraryItem {
    pub(super) title: &'static str,
    pub(super) author: &'static str,
    pub(super) material: &'static str,
    pub(super) isbn: String,
}

impl LibraryItem {
    /// The same title always has the same author and number.
    pub(super) fn random(rng: &mut Rng) -> LibraryItem {
        let number = rng.below(TITLES.len() as u64);
        let index = number as usize;
        LibraryItem {
            title: TITLES[index],
            author: AUTHORS[index * 7 % AUTHORS.len()],
            material: MATERIALS[index * 5 % MATERIALS.len()],
            isbn: number::make_isbn(number * 61_543),
        }
    }

    /// Writes the `item` of a loan or reservation.
    pub(super) fn write(&self, json: &mut JsonWriter, rng: &mut Rng) {
        let has_isbn =
            matches!(self.material, "boek" | "grootletterboek" | "strip" | "luisterboek");
        json.write_object("item", |json| {
            json.write_string("barcode", &random_barcode(rng));
            json.write_string("title", self.title);
            json.write_string("author", self.author);
            json.write_string("material", self.material);
            json.write_optional_string("isbn", has_isbn.then_some(&self.isbn));
        });
    }
}

/// Returns a barcode, which looks like a card number.
pub(super) fn random_barcode(rng: &mut Rng) -> String {
    let mut out = String::with_capacity(14);
    out.push_str("3001300");
    rng.push_digits(7, &mut out);
    out
}

const MATERIALS: &[&str] = &[
    "boek",
    "boek",
    "boek",
    "boek",
    "boek",
    "dvd",
    "strip",
    "luisterboek",
    "grootletterboek",
    "tijdschrift",
    "game",
    "bladmuziek",
    "boek",
];

const AUTHORS: &[&str] = &[
    "Ardenne, Lotte van",
    "Zeefmans, P.",
    "Boterbloem, K.L.",
    "Vandeweide, Griet",
    "Oosterlicht, M.",
    "d'Averij, Jérôme",
    "Kruidnagel, B. & Peper, Z.",
    "Yıldızoğlu, Selin",
    "El Bahri, Nadia",
    "Winterkoning, H.",
    "IJsvogel, T.",
    "Van der Kiezel, Bas",
    "Łąkowska, Ola",
    "Meerkoet, A.",
    "'t Roodborstje, S.",
    "Anoniem",
    "Redactie De Zeef",
    "Ramsoekh, Indra",
    "Dorpelinck, Tuur",
    "Грабенко, О.",
    "林小雨",
    "Struikrover, J.J.M.",
    "Vuurdoorn, Ellis",
    "Zonderland, Jan",
    "Hazelnoot, Pim",
    "Quist-Maan, Vera",
    "Van Achterbergen, Lien",
    "O'Zeefe, Niall",
    "Gruttohof, Sietske",
    "Tamisier, Inès",
    "Blauwvoet, W.",
];

const TITLES: &[&str] = &[
    // Titles that are names.
    "Anna van de Overkant",
    "Meneer Jansen ziet ze vliegen",
    "Willem Bos & zonen",
    "Mevrouw De Wit",
    "Jan Visser",
    "De zaak Van den Berg",
    "Lieve Fatima",
    "Ömer en de maan",
    "Brieven aan Els Peeters",
    "Het dagboek van Saar Mulder",
    "Bakker, smid en koster",
    "De Groot",
    "Dokter Vos",
    "Tante Li",
    "O, Brien!",
    "Kees de Jong, schipper",
    "Zuster Maria",
    "Prins",
    "Meneer X",
    "De jonge Dekker",
    // Quotes, accents, signs.
    "\"Ja,\" zei de \"burgemeester\"",
    "Café Coördinatie",
    "Coöperatie & Co",
    "Eén dag in mei",
    "Zoë's zomer",
    "'t Is weer voorbij",
    "Het 'echte' verhaal",
    "Crème brûlée voor beginners",
    "Ça va? Frans voor thuis",
    "C\\: een inleiding",
    "Rood/Blauw",
    "50% water",
    "Thee <met> suiker",
    "De Ĳssel in kaart",
    "Ruïnes",
    "Le petit tamis",
    "Übermorgen",
    "100 € per dag",
    "Naïef; of niet?",
    "Ящик с книгами",
    "雨的声音",
    "كتاب المطر",
    "Kruimels \u{1f35e} en korsten",
    "Hé!",
    "?",
    // Numbers in titles.
    "1953: het water",
    "06-nummers van toen",
    "Lijn 3",
    "De 12 van Deventer",
    "3000 Leuven, enkel",
    "2001300 sterren",
    "24 uur Gent",
    "Halte 7 bis",
    "Kamer 101a",
    "999 recepten",
    "0 graden",
    // Ordinary titles.
    "De stille polder",
    "Het huis aan de dijk",
    "Een jaar in Drenthe",
    "Vlinders in november",
    "De laatste veerman",
    "Wat de wind vergat",
    "Brood zonder haast",
    "Moestuin op het balkon",
    "De sleutel van zolder",
    "Noorderlicht boven Sneek",
    "Het geheim van de gracht",
    "Koud vuur",
    "De klokkenmaker van Lier",
    "Regen op de Korenmarkt",
    "Fietsen langs de Schelde",
    "Nachttrein",
    "De appelboom",
    "Zout en as",
    "Onder de kastanjes",
    "Het zesde zintuig van opa",
    "Stadsgezichten",
    "De kaart van morgen",
    "Wolkenatlas voor kinderen",
    "Handboek zolder opruimen",
    "Zilverdraad",
    "De uitvinder van stilte",
    "Een beer op de trap",
    "Kikker zoekt kwaak",
    "Dag, meneer de maan",
    "Het muizenhotel",
    "Tien kleine tractors",
    "Waarom slapen vissen?",
    "De draak die niet durfde",
    "Rekenen met taart",
    "Programmeren zonder tranen",
    "Databanken in de praktijk",
    "Recht voor leken",
    "De wet van de plank",
    "Belasting in gewone taal",
    "Nederlands voor anderstaligen",
    "Taal in zicht",
    "Leven met weinig slaap",
    "Als eten pijn doet",
    "Rouw is een reis",
    "Scheiden en dan",
    "Goed gesprek",
    "Schulden? Zo kom je eruit",
    "Omgaan met angst",
    "Geloven na vandaag",
    "Bidden in de bus",
    "Vakbond van de wind",
    "Links, rechts, rechtdoor",
    "De stemmer",
    "Twee vaders",
    "Anders verliefd",
    "Het dorp dat bleef",
    "De bibliothecaris",
    "Moord in de leeszaal",
    "De verdwenen lener",
    "Te laat",
    "De boete",
    "Verboden boeken",
    "Stof",
    "De index",
    "Achter slot",
    "Zand erover",
    "Drie dagen dooi",
    "De overkant",
    "Wintergasten",
    "Het eiland zonder klok",
    "Licht op hout",
    "De grens bij Essen",
    "Hoogwater",
    "Kermis in de hel",
    "De mosselman",
    "Heide",
    "Veen",
    "Klei",
    "Duinpan",
    "Bruggen bouwen",
    "Breien voor twee",
    "Haken, maar dan anders",
    "Vogels van de stad",
    "Bomen op straat",
    "Paddenstoelen",
    "Sterren kijken",
    "De tuin van Babs",
    "Naaien met restjes",
    "Koken op een pit",
    "Soep",
    "Taart!",
    "Piano voor volwassenen 2",
    "Liederen uit de Kempen",
    "Jazz in de kelder",
    "De fluit van Floor",
    "Het orgel zwijgt",
    "Schaken in tien lessen",
    "Voetbal is een feest",
    "De Ronde",
    "Elf dorpen",
    "Wandelen met een ezel",
    "Met de trein naar Riga",
    "Istanbul op zondag",
    "Thuis in Paramaribo",
    "Marrakech - Mechelen",
    "Warschau in de winter",
    "Kiev, een herinnering",
    "Groeten uit Oostende",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_titles_are_many_and_distinct() {
        let mut titles = TITLES.to_vec();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), TITLES.len());
        assert!(titles.len() >= 150, "{}", titles.len());
    }
}
