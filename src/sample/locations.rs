//! Libraries, branches and addresses in the Netherlands and Belgium.
//!
//! Towns and postcode ranges are real, addresses random.

use super::rng::Rng;

/// The country whose conventions a library follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Country {
    Netherlands,
    Belgium,
}

impl Country {
    pub(super) fn code(self) -> &'static str {
        match self {
            Country::Netherlands => "NL",
            Country::Belgium => "BE",
        }
    }

    /// Returns the Netherlands for any ISIL except Belgian ones.
    pub(super) fn from_isil(isil: &str) -> Country {
        if isil.starts_with("BE-") { Country::Belgium } else { Country::Netherlands }
    }

    pub(super) fn neighbour(self) -> Country {
        match self {
            Country::Netherlands => Country::Belgium,
            Country::Belgium => Country::Netherlands,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct PostalAddress {
    pub(super) street: &'static str,
    pub(super) house_number: u64,
    pub(super) suffix: Option<&'static str>,
    pub(super) postcode: String,
    pub(super) city: &'static str,
    pub(super) country: Country,
}

impl PostalAddress {
    pub(super) fn random(country: Country, rng: &mut Rng) -> PostalAddress {
        let (streets, suffixes) = match country {
            Country::Netherlands => (DUTCH_STREETS, DUTCH_SUFFIXES),
            Country::Belgium => (FLEMISH_STREETS, FLEMISH_SUFFIXES),
        };
        let (city, postcode) = match country {
            Country::Netherlands => {
                let (city, first, last) = rng.choose_front_weighted(DUTCH_TOWNS);
                let area = first + rng.below(last - first + 1);
                (city, format!("{area} {}", random_postcode_letters(rng)))
            }
            Country::Belgium => {
                let (city, codes) = rng.choose_front_weighted(FLEMISH_TOWNS);
                (city, rng.choose(codes).to_string())
            }
        };
        PostalAddress {
            street: rng.choose_front_weighted(streets),
            house_number: 1 + rng.below(200).min(rng.below(400)),
            suffix: rng.chance_per_mille(150).then(|| rng.choose(suffixes)),
            postcode,
            city,
            country,
        }
    }
}

/// Never F, I, O, Q, U, Y, SA, SD or SS.
fn random_postcode_letters(rng: &mut Rng) -> String {
    const USED: &[u8] = b"ABCDEGHJKLMNPRSTVWXZ";
    let pair = [rng.choose(USED), rng.choose(USED)];
    let pair = match &pair {
        b"SA" | b"SD" | b"SS" => *b"ST",
        _ => pair,
    };
    pair.map(char::from).iter().collect()
}

pub(super) fn branch_names(country: Country) -> &'static [&'static str] {
    match country {
        Country::Netherlands => DUTCH_BRANCHES,
        Country::Belgium => FLEMISH_BRANCHES,
    }
}

/// Libraries that lend to each other, by ISIL.
pub(super) const SUPPLYING_LIBRARIES: &[&str] =
    &["NL-ZeefDepot", "NL-0699990001", "NL-ZfVb3", "BE-ZfDp1", "BE-ZfVb7", "DE-Zf12/3"];

const DUTCH_BRANCHES: &[&str] =
    &["Centrale", "Oost", "Noord", "De Brink", "Zuidwijk", "'t Hofje", "Stadshart", "Bibliobus"];

const FLEMISH_BRANCHES: &[&str] =
    &["Hoofdbibliotheek", "De Kaai", "Wijk Noord", "Sint-Jozef", "'t Schip", "Bibliobus"];

const DUTCH_SUFFIXES: &[&str] = &["A", "B", "C", "bis", "-2", "3 hoog", "hs", "rood", "II"];

const FLEMISH_SUFFIXES: &[&str] = &["A", "bus 1", "bus 3", "bus 0102", "B", "W7"];

const DUTCH_TOWNS: &[(&str, u64, u64)] = &[
    ("Amsterdam", 1011, 1109),
    ("Rotterdam", 3011, 3089),
    ("Den Haag", 2491, 2597),
    ("Utrecht", 3511, 3585),
    ("Eindhoven", 5611, 5658),
    ("Groningen", 9711, 9747),
    ("Tilburg", 5011, 5049),
    ("Nijmegen", 6511, 6546),
    ("Arnhem", 6811, 6846),
    ("Haarlem", 2011, 2037),
    ("Zwolle", 8011, 8045),
    ("'s-Hertogenbosch", 5211, 5237),
    ("Leiden", 2311, 2334),
    ("Maastricht", 6211, 6229),
    ("Leeuwarden", 8911, 8941),
    ("Deventer", 7411, 7433),
    ("Middelburg", 4331, 4341),
    ("IJsselstein", 3401, 3404),
    ("Sneek", 8601, 8608),
    ("Assen", 9401, 9408),
    ("Venlo", 5911, 5928),
    ("Hoorn", 1621, 1628),
];

const FLEMISH_TOWNS: &[(&str, &[u64])] = &[
    ("Antwerpen", &[2000, 2018, 2020, 2030, 2050, 2060]),
    ("Gent", &[9000]),
    ("Brugge", &[8000]),
    ("Leuven", &[3000]),
    ("Mechelen", &[2800]),
    ("Aalst", &[9300]),
    ("Hasselt", &[3500]),
    ("Kortrijk", &[8500]),
    ("Sint-Niklaas", &[9100]),
    ("Oostende", &[8400]),
    ("Genk", &[3600]),
    ("Roeselare", &[8800]),
    ("Turnhout", &[2300]),
    ("Dendermonde", &[9200]),
    ("Brussel", &[1000]),
    ("Sint-Truiden", &[3800]),
    ("Lokeren", &[9160]),
];

const DUTCH_STREETS: &[&str] = &[
    "Dorpsstraat",
    "Kerkstraat",
    "Molenweg",
    "Schoolstraat",
    "Nieuwstraat",
    "Beatrixlaan",
    "Eikenlaan",
    "Stationsweg",
    "Wilgenstraat",
    "Kastanjelaan",
    "Burgemeester Zeefstraat",
    "Lange Nieuwstraat",
    "Oude Gracht",
    "Hoogstraat",
    "Parallelweg",
    "Zonnebloemhof",
    "Laan van de Vrijheid",
    "'t Zand",
    "Sint Jansstraat",
    "Fazantenkamp",
    "Noordeinde",
    "IJsselkade",
    "Achter de Hoven",
    "Plein 1953",
    "2e Dwarsstraat",
    "Buitensingel",
    "Meerkoetpad",
    "Prof. Zeefmanweg",
    "Geert Zeeflaan",
    "Vogelkers",
    "Kromme Elleboog",
    "Gedempte Haven",
];

const FLEMISH_STREETS: &[&str] = &[
    "Kerkstraat",
    "Stationsstraat",
    "Molenstraat",
    "Nieuwstraat",
    "Schoolstraat",
    "Veldstraat",
    "Kapellestraat",
    "Steenweg op Gent",
    "Gentsesteenweg",
    "Dorpstraat",
    "Bosstraat",
    "Hoogstraat",
    "Kasteeldreef",
    "Groenstraat",
    "Sint-Jansplein",
    "Oude Vest",
    "Beekstraat",
    "Zavelstraat",
    "Koning Zeeflaan",
    "Leopold Zeefstraat",
    "Ter Duinen",
    "Hof ten Bos",
    "'s-Hertogenstraat",
    "Rue du Tamis",
    "Vaartkaai",
    "Begijnhof",
    "Weg naar As",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::rng::RngStream;

    #[test]
    fn random_postcode_has_the_form_of_its_country() {
        let mut rng = Rng::new(1, 0, RngStream::Person);
        for _ in 0..20_000 {
            let code = PostalAddress::random(Country::Netherlands, &mut rng).postcode;
            assert_eq!(code.len(), 7, "{code}");
            assert!(!matches!(&code[5..], "SA" | "SD" | "SS"), "{code}");
            let code = PostalAddress::random(Country::Belgium, &mut rng).postcode;
            assert_eq!(code.len(), 4, "{code}");
        }
    }
}
