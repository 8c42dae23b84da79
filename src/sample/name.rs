//! Names of people in the Netherlands and Flanders.
//!
//! Random combinations of given names and surnames. Dutch particles go into the prefix field,
//! Flemish ones stay in the surname.

use super::locations::Country;
use super::rng::Rng;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PersonName {
    pub(super) initials: Option<String>,
    pub(super) given_name: Option<&'static str>,
    pub(super) prefix: Option<&'static str>,
    pub(super) surname: Option<String>,
}

impl PersonName {
    /// Draws the name of a patron of a library in `country`.
    pub(super) fn random(country: Country, is_woman: bool, rng: &mut Rng) -> PersonName {
        let origin = rng.choose_weighted(match country {
            Country::Netherlands => DUTCH_ORIGINS,
            Country::Belgium => FLEMISH_ORIGINS,
        });
        let given_names = if is_woman { origin.women } else { origin.men };
        let given = rng.choose_front_weighted(given_names);
        let (prefix, surname) = rng.choose_front_weighted(origin.surnames);
        let mut surname = surname.to_owned();
        if is_woman && origin.has_double_surnames && rng.chance_per_mille(60) {
            let (own_prefix, own) = rng.choose_front_weighted(origin.surnames);
            let space = if own_prefix.is_empty() { "" } else { " " };
            surname = format!("{surname}-{own_prefix}{space}{own}");
        }
        let additional_names = rng.choose_weighted(&[(55, 0), (33, 1), (12, 2)]);
        let mut initials = initials_of(given);
        for _ in 0..additional_names {
            initials.push_str(&initials_of(rng.choose(given_names)));
        }
        let known_parts_draw = rng.below(100);
        PersonName {
            initials: (known_parts_draw >= 6).then_some(initials),
            given_name: (known_parts_draw < 86).then_some(given),
            prefix: (!prefix.is_empty()).then_some(prefix),
            surname: Some(surname),
        }
    }

    /// Returns prefix and surname.
    pub(super) fn family_name(&self) -> String {
        let surname = self.surname.as_deref().unwrap_or("de lener");
        match self.prefix {
            Some(prefix) => format!("{prefix} {surname}"),
            None => surname.to_owned(),
        }
    }

    /// Returns given name or initials, prefix and surname.
    pub(super) fn full_name(&self) -> String {
        let first = self.given_name.or(self.initials.as_deref());
        match first {
            Some(first) => format!("{first} {}", self.family_name()),
            None => self.family_name(),
        }
    }

    /// Returns a local part of ASCII letters and dots.
    pub(super) fn email_local_part(&self) -> String {
        let mut out = String::with_capacity(32);
        push_ascii_letters(
            self.given_name.or(self.initials.as_deref()).unwrap_or_default(),
            &mut out,
        );
        if !out.is_empty() {
            out.push('.');
        }
        push_ascii_letters(self.surname.as_deref().unwrap_or_default(), &mut out);
        if out.is_empty() || out.ends_with('.') {
            out.push_str("lener");
        }
        out
    }
}

/// Appends the ASCII letters of `name` in lower case, without their accents.
fn push_ascii_letters(name: &str, out: &mut String) {
    use unicode_normalization::UnicodeNormalization as _;
    if name.is_ascii() {
        out.extend(name.chars().filter(char::is_ascii_alphabetic));
    } else {
        out.extend(name.nfd().filter(char::is_ascii_alphabetic));
    }
    out.make_ascii_lowercase();
}

/// Returns initials: `J.`, `Th.`, `IJ.`, `J.W.` for a double name.
fn initials_of(given: &str) -> String {
    let mut out = String::with_capacity(8);
    for part in given.split('-') {
        let long = ["IJ", "Th", "Chr", "Ph"].into_iter().find(|start| part.starts_with(start));
        match long {
            Some(long) => out.push_str(long),
            None => out.extend(part.chars().next()),
        }
        out.push('.');
    }
    out
}

#[derive(Clone, Copy, Debug)]
struct NameOrigin {
    women: &'static [&'static str],
    men: &'static [&'static str],
    /// Prefix and surname, most frequent first.
    surnames: &'static [(&'static str, &'static str)],
    /// Married women may carry both surnames.
    has_double_surnames: bool,
}

type WeightedOrigin = (u64, &'static NameOrigin);

const DUTCH_ORIGINS: &[WeightedOrigin] = &[
    (720, &DUTCH),
    (20, &FRISIAN),
    (8, &FLEMISH),
    (45, &TURKISH),
    (45, &MOROCCAN),
    (48, &SURINAMESE),
    (36, &POLISH),
    (16, &CHINESE),
    (3, &CHINESE_NATIVE_SCRIPT),
    (26, &ARABIC),
    (2, &ARABIC_NATIVE_SCRIPT),
    (14, &UKRAINIAN),
    (5, &UKRAINIAN_NATIVE_SCRIPT),
    (30, &IBERIAN),
    (10, &VIETNAMESE),
];

const FLEMISH_ORIGINS: &[WeightedOrigin] = &[
    (730, &FLEMISH),
    (45, &DUTCH),
    (50, &TURKISH),
    (65, &MOROCCAN),
    (36, &POLISH),
    (10, &CHINESE),
    (2, &CHINESE_NATIVE_SCRIPT),
    (24, &ARABIC),
    (2, &ARABIC_NATIVE_SCRIPT),
    (12, &UKRAINIAN),
    (4, &UKRAINIAN_NATIVE_SCRIPT),
    (20, &IBERIAN),
];

const DUTCH: NameOrigin = NameOrigin {
    women: &[
        "Anna",
        "Maria",
        "Johanna",
        "Emma",
        "Julia",
        "Sophie",
        "Lotte",
        "Tess",
        "Eva",
        "Sanne",
        "Femke",
        "Iris",
        "Marieke",
        "Anouk",
        "Esther",
        "Ingrid",
        "Theodora",
        "Christina",
        "Catharina",
        "Wilhelmina",
        "Hendrika",
        "Fleur",
        "Noor",
        "Saar",
        "Roos",
        "Zoë",
        "Chloë",
        "Anne-Marie",
        "Elise",
        "Renée",
        "Thea",
        "Philippa",
        "Yfke",
        "Quirine",
    ],
    men: &[
        "Jan",
        "Pieter",
        "Johannes",
        "Daan",
        "Sem",
        "Lucas",
        "Bram",
        "Thijs",
        "Willem",
        "Kees",
        "Hendrik",
        "Gerrit",
        "Theo",
        "Thomas",
        "Christiaan",
        "Philip",
        "Sander",
        "Joost",
        "Ruben",
        "Niels",
        "Jeroen",
        "Jan-Willem",
        "IJsbrand",
        "Mats",
        "Luuk",
        "Floris",
        "Olivier",
        "René",
        "Koen",
        "Wouter",
        "Cornelis",
        "Jan-Peter",
        "Xander",
        "Daniël",
    ],
    surnames: &[
        ("", "Jansen"),
        ("de", "Jong"),
        ("de", "Vries"),
        ("van den", "Berg"),
        ("van", "Dijk"),
        ("", "Bakker"),
        ("", "Janssen"),
        ("", "Visser"),
        ("", "Smit"),
        ("", "Meijer"),
        ("de", "Boer"),
        ("", "Mulder"),
        ("de", "Groot"),
        ("", "Bos"),
        ("", "Vos"),
        ("", "Peters"),
        ("", "Hendriks"),
        ("van", "Leeuwen"),
        ("", "Dekker"),
        ("", "Brouwer"),
        ("de", "Wit"),
        ("", "Dijkstra"),
        ("", "Smits"),
        ("de", "Graaf"),
        ("van der", "Meer"),
        ("van der", "Linden"),
        ("", "Kok"),
        ("", "Jacobs"),
        ("de", "Haan"),
        ("", "Vermeulen"),
        ("van den", "Heuvel"),
        ("van der", "Veen"),
        ("van den", "Broek"),
        ("de", "Bruijn"),
        ("de", "Bruin"),
        ("van der", "Heijden"),
        ("", "Schouten"),
        ("van", "Beek"),
        ("", "Willems"),
        ("van", "Vliet"),
        ("van de", "Ven"),
        ("", "Hoekstra"),
        ("", "Maas"),
        ("", "Verhoeven"),
        ("", "Koster"),
        ("van", "Dam"),
        ("", "Prins"),
        ("", "Blom"),
        ("", "Huisman"),
        ("", "Peeters"),
        ("de", "Jonge"),
        ("", "Kuiper"),
        ("ter", "Horst"),
        ("van 't", "Hof"),
        ("", "IJzerman"),
        ("ten", "Brink"),
        ("te", "Velde"),
        ("in 't", "Veld"),
        ("'t", "Hart"),
        ("van der", "Berg"),
        ("", "Li"),
        ("op den", "Kamp"),
        ("van het", "Meer"),
        ("", "'t Hooft"),
        ("", "'s-Gravesande"),
        ("von", "Berg"),
        ("du", "Pont"),
        ("", "Cramer"),
        ("den", "Ouden"),
        ("", "d'Ancona"),
        ("uit de", "Weerd"),
        ("", "Oei"),
        ("van", "IJperen"),
        ("de la", "Haye"),
        ("van 't", "Zand"),
        ("", "Ruijgrok"),
        ("", "Coëlho"),
        ("", "Zwaan"),
    ],
    has_double_surnames: true,
};

const FRISIAN: NameOrigin = NameOrigin {
    women: &["Fenna", "Sjoukje", "Nynke", "Tjitske", "Jildou", "Froukje", "Hiske"],
    men: &["Sjoerd", "Wytse", "Jelle", "Tjeerd", "Douwe", "Hylke", "Ype"],
    surnames: &[
        ("", "Hoekstra"),
        ("", "Bouma"),
        ("", "Terpstra"),
        ("", "Postma"),
        ("", "Zijlstra"),
        ("van der", "Wal"),
        ("", "Sytsma"),
        ("", "Ypma"),
        ("", "IJpma"),
        ("", "Wiarda"),
        ("", "Hiemstra"),
        ("", "Jorritsma"),
    ],
    has_double_surnames: true,
};

const FLEMISH: NameOrigin = NameOrigin {
    women: &[
        "An",
        "Els",
        "Marie",
        "Lien",
        "Griet",
        "Hilde",
        "Katrien",
        "Veerle",
        "Charlotte",
        "Marie-Louise",
        "Louise",
        "Elke",
        "Ann-Sofie",
        "Joke",
        "Sofie",
        "Godelieve",
        "Julie",
        "Camille",
        "Thérèse",
        "Inès",
        "Liesbeth",
        "Rita",
    ],
    men: &[
        "Jef",
        "Luc",
        "Marc",
        "Bart",
        "Wim",
        "Stijn",
        "Pieter-Jan",
        "Jan",
        "Dirk",
        "Koen",
        "Joris",
        "Arthur",
        "Jules",
        "Lowie",
        "Kobe",
        "Wannes",
        "Jean-Pierre",
        "Geert",
        "Filip",
        "Tuur",
        "Théo",
        "Jérôme",
    ],
    surnames: &[
        ("", "Peeters"),
        ("", "Janssens"),
        ("", "Maes"),
        ("", "Jacobs"),
        ("", "Mertens"),
        ("", "Willems"),
        ("", "Claes"),
        ("", "Goossens"),
        ("", "Wouters"),
        ("", "De Smet"),
        ("", "Van den Broeck"),
        ("", "Vermeulen"),
        ("", "De Clercq"),
        ("", "Hermans"),
        ("", "Aerts"),
        ("", "Van Damme"),
        ("", "Michiels"),
        ("", "Desmet"),
        ("", "De Backer"),
        ("", "Martens"),
        ("", "Van de Velde"),
        ("", "Vandenberghe"),
        ("", "Pauwels"),
        ("", "Lambrechts"),
        ("", "Van Hove"),
        ("", "Hendrickx"),
        ("", "De Vos"),
        ("", "Coppens"),
        ("", "Segers"),
        ("", "Van den Bossche"),
        ("", "Dubois"),
        ("", "De Meyer"),
        ("", "Van der Auwera"),
        ("", "Verhaeghe"),
        ("", "Declercq"),
        ("", "D'hondt"),
        ("", "d'Hondt"),
        ("", "Van 't Veld"),
        ("", "de Borman"),
        ("", "T'Jampens"),
        ("", "Vandersmissen"),
        ("", "Van Eeckhout"),
        ("", "'t Kindt"),
        ("", "Lefèvre"),
        ("", "de le Court"),
        ("", "Van Overstraeten-Claes"),
        ("", "Ysebaert"),
        ("", "Op de Beeck"),
    ],
    has_double_surnames: false,
};

const TURKISH: NameOrigin = NameOrigin {
    women: &["Ayşe", "Fatma", "Elif", "Zeynep", "Emine", "Hatice", "Şeyma", "İrem", "Büşra"],
    men: &["Mehmet", "Mustafa", "Ahmet", "Ali", "Emre", "Çağlar", "Ömer", "İbrahim", "Yiğit"],
    surnames: &[
        ("", "Yılmaz"),
        ("", "Kaya"),
        ("", "Demir"),
        ("", "Şahin"),
        ("", "Çelik"),
        ("", "Öztürk"),
        ("", "Aydın"),
        ("", "Özdemir"),
        ("", "Arslan"),
        ("", "Doğan"),
        ("", "Kılıç"),
        ("", "Ünal"),
        ("", "Öz"),
    ],
    has_double_surnames: false,
};

const MOROCCAN: NameOrigin = NameOrigin {
    women: &["Fatima", "Khadija", "Naima", "Samira", "Yasmina", "Hanae", "Salma", "Fatima-Zahra"],
    men: &["Mohamed", "Youssef", "Hassan", "Rachid", "Bilal", "Omar", "Anass", "M'hamed"],
    surnames: &[
        ("el", "Amrani"),
        ("", "El Idrissi"),
        ("", "Bouazza"),
        ("", "Benali"),
        ("", "Ait Lahcen"),
        ("el", "Khattabi"),
        ("", "Ouali"),
        ("", "Aït Bella"),
        ("", "Bouzid"),
        ("", "El-Fassi"),
        ("", "Tahiri"),
        ("", "Ziani"),
        ("", "Ben Haddou"),
        ("", "M'Barek"),
    ],
    has_double_surnames: false,
};

const SURINAMESE: NameOrigin = NameOrigin {
    women: &["Shanti", "Priya", "Cheryl", "Merlien", "Indra", "Muriël", "Soraya", "Gladys"],
    men: &["Radjesh", "Winston", "Stanley", "Anand", "Humphrey", "Soewarto", "Lesley", "Vinod"],
    surnames: &[
        ("", "Ramdin"),
        ("", "Mohan"),
        ("", "Kartosen"),
        ("", "Pengel"),
        ("", "Soekhoe"),
        ("", "Ramsaran-Bhola"),
        ("", "Tjon A Fat"),
        ("", "Lieuw"),
        ("", "Wijngaarde"),
        ("", "Karijodimedjo"),
        ("", "Pinas"),
        ("", "Sital"),
        ("van", "Eer"),
        ("", "Sno"),
    ],
    has_double_surnames: false,
};

const POLISH: NameOrigin = NameOrigin {
    women: &["Agnieszka", "Katarzyna", "Małgorzata", "Żaneta", "Zofia", "Łucja", "Ewa"],
    men: &["Piotr", "Krzysztof", "Paweł", "Łukasz", "Michał", "Stanisław", "Jan"],
    surnames: &[
        ("", "Nowak"),
        ("", "Kowalska"),
        ("", "Wiśniewski"),
        ("", "Wójcik"),
        ("", "Zieliński"),
        ("", "Szymańska"),
        ("", "Woźniak"),
        ("", "Żak"),
        ("", "Łęcki"),
        ("", "Śliwa"),
        ("", "Nowak-Kowalczyk"),
    ],
    has_double_surnames: false,
};

const CHINESE: NameOrigin = NameOrigin {
    women: &["Mei", "Xiaoling", "Yan", "Li", "Jing", "Hui Min"],
    men: &["Wei", "Jian", "Ming", "Bo", "Ka Wai", "Zhiyuan"],
    surnames: &[
        ("", "Wang"),
        ("", "Li"),
        ("", "Zhang"),
        ("", "Chen"),
        ("", "Liu"),
        ("", "Wu"),
        ("", "Lam"),
        ("", "O"),
        ("", "Ng"),
        ("", "Cheung"),
        ("", "Lü"),
    ],
    has_double_surnames: false,
};

const CHINESE_NATIVE_SCRIPT: NameOrigin = NameOrigin {
    women: &["美", "小玲", "静", "丽华"],
    men: &["伟", "建国", "明", "志远"],
    surnames: &[("", "王"), ("", "李"), ("", "张"), ("", "陈"), ("", "欧阳")],
    has_double_surnames: false,
};

const ARABIC: NameOrigin = NameOrigin {
    women: &["Amira", "Layla", "Noor", "Rania", "Hiba", "Dua"],
    men: &["Ahmad", "Khaled", "Mahmoud", "Samer", "Yazan", "Abd al-Rahman"],
    surnames: &[
        ("al", "Hassan"),
        ("", "Al-Masri"),
        ("", "Haddad"),
        ("", "Khalil"),
        ("", "Al Ahmad"),
        ("", "al-Ḥalabī"),
        ("", "Darwish"),
        ("", "Abu Zaid"),
        ("", "Issa"),
    ],
    has_double_surnames: false,
};

const ARABIC_NATIVE_SCRIPT: NameOrigin = NameOrigin {
    women: &["ليلى", "أميرة", "هبة"],
    men: &["أحمد", "خالد", "سامر"],
    surnames: &[("", "الحسن"), ("", "حداد"), ("", "المصري"), ("", "خليل")],
    has_double_surnames: false,
};

const UKRAINIAN: NameOrigin = NameOrigin {
    women: &["Oksana", "Olena", "Iryna", "Yuliia", "Natalia", "Kateryna"],
    men: &["Oleksandr", "Andrii", "Serhii", "Dmytro", "Ihor", "Yevhen"],
    surnames: &[
        ("", "Kovalenko"),
        ("", "Bondarenko"),
        ("", "Shevchuk"),
        ("", "Melnyk"),
        ("", "Tkachenko"),
        ("", "Lysenko"),
        ("", "Yarema"),
        ("", "Hryhor'iev"),
    ],
    has_double_surnames: false,
};

const UKRAINIAN_NATIVE_SCRIPT: NameOrigin = NameOrigin {
    women: &["Оксана", "Олена", "Ірина", "Юлія", "Їванна"],
    men: &["Олександр", "Андрій", "Сергій", "Дмитро", "Євген"],
    surnames: &[
        ("", "Коваленко"),
        ("", "Бондаренко"),
        ("", "Шевчук"),
        ("", "Мельник"),
        ("", "Їжак"),
        ("", "Лук'янець"),
    ],
    has_double_surnames: false,
};

const IBERIAN: NameOrigin = NameOrigin {
    women: &["Maria José", "Lucía", "Inês", "Beatriz", "Concepción", "Ángela"],
    men: &["João", "José", "Iñaki", "Ángel", "Nuno", "Luis Miguel"],
    surnames: &[
        ("da", "Silva"),
        ("", "García López"),
        ("dos", "Santos"),
        ("", "Martina"),
        ("", "Muñoz"),
        ("de la", "Cruz"),
        ("", "de la Rosa"),
        ("", "Ruiz-Peña"),
        ("", "Núñez"),
        ("del", "Río"),
        ("", "Conceição"),
    ],
    has_double_surnames: false,
};

const VIETNAMESE: NameOrigin = NameOrigin {
    women: &["Thị Hoa", "Ngọc", "Linh", "Mai"],
    men: &["Văn Minh", "Đức", "Huy", "Tuấn"],
    surnames: &[("", "Nguyễn"), ("", "Trần"), ("", "Lê"), ("", "Phạm"), ("", "Võ"), ("", "Ô")],
    has_double_surnames: false,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::rng::RngStream;

    #[test]
    fn initials_follow_the_given_name() {
        for (given, want) in [
            ("Jan", "J."),
            ("Theodora", "Th."),
            ("Christina", "Chr."),
            ("Jan-Willem", "J.W."),
            ("IJsbrand", "IJ."),
            ("Çağlar", "Ç."),
            ("伟", "伟."),
        ] {
            assert_eq!(initials_of(given), want);
        }
    }

    #[test]
    fn email_local_part_is_lowercase_ascii_and_dots() {
        let mut rng = Rng::new(1, 0, RngStream::Person);
        for round in 0..5_000 {
            let name = PersonName::random(Country::Netherlands, round % 2 == 0, &mut rng);
            let mailbox = name.email_local_part();
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
            assert!(mailbox.bytes().all(plain), "{mailbox}");
            assert!(!mailbox.ends_with('.') && !mailbox.starts_with('.'), "{mailbox}");
        }
    }

    #[test]
    fn surname_prefix_field_is_dutch_and_rarely_flemish() {
        let mut rng = Rng::new(1, 0, RngStream::Person);
        let mut with_prefix = |country| {
            (0..10_000)
                .filter(|round| {
                    PersonName::random(country, round % 2 == 0, &mut rng).prefix.is_some()
                })
                .count()
        };
        let (dutch, flemish) = (with_prefix(Country::Netherlands), with_prefix(Country::Belgium));
        assert!((2_000..4_500).contains(&dutch), "{dutch}");
        assert!(flemish < 600, "{flemish}");
    }
}
