//! Names of people as they live in the Netherlands and Flanders.
//!
//! Given names and surnames are combined at random: no one is meant. Dutch
//! particles go to the prefix field, Flemish ones stay in the surname.

use super::dice::Dice;
use super::place::Country;

/// The name of a person, as a library system keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) initials: Option<String>,
    pub(super) given_name: Option<&'static str>,
    pub(super) prefix: Option<&'static str>,
    pub(super) surname: Option<String>,
}

impl Name {
    /// Rolls the name of a woman or a man who has a card in `country`.
    pub(super) fn roll(country: Country, woman: bool, dice: &mut Dice) -> Name {
        let origin = dice.weighted(match country {
            Country::Netherlands => IN_THE_NETHERLANDS,
            Country::Belgium => IN_FLANDERS,
        });
        let given_names = if woman { origin.women } else { origin.men };
        let given = dice.pick_early(given_names);
        let (prefix, surname) = dice.pick_early(origin.surnames);
        let mut surname = surname.to_owned();
        if woman && origin.doubles && dice.per_mille(60) {
            let (own_prefix, own) = dice.pick_early(origin.surnames);
            let space = if own_prefix.is_empty() { "" } else { " " };
            surname = format!("{surname}-{own_prefix}{space}{own}");
        }
        let more = dice.weighted(&[(55, 0), (33, 1), (12, 2)]);
        let mut initials = initials_of(given);
        for _ in 0..more {
            initials.push_str(&initials_of(dice.pick(given_names)));
        }
        let kept = dice.below(100);
        Name {
            initials: (kept >= 6).then_some(initials),
            given_name: (kept < 86).then_some(given),
            prefix: (!prefix.is_empty()).then_some(prefix),
            surname: Some(surname),
        }
    }

    /// Prefix and surname as they are spoken.
    pub(super) fn family(&self) -> String {
        let surname = self.surname.as_deref().unwrap_or("de lener");
        match self.prefix {
            Some(prefix) => format!("{prefix} {surname}"),
            None => surname.to_owned(),
        }
    }

    /// Given name or initials, prefix and surname.
    pub(super) fn full(&self) -> String {
        let first = self.given_name.or(self.initials.as_deref());
        match first {
            Some(first) => format!("{first} {}", self.family()),
            None => self.family(),
        }
    }

    /// What stands before the `@`: ASCII letters and dots.
    pub(super) fn mailbox(&self) -> String {
        let mut out = String::with_capacity(32);
        fold(
            self.given_name
                .or(self.initials.as_deref())
                .unwrap_or_default(),
            &mut out,
        );
        if !out.is_empty() {
            out.push('.');
        }
        fold(self.surname.as_deref().unwrap_or_default(), &mut out);
        if out.is_empty() || out.ends_with('.') {
            out.push_str("lener");
        }
        out
    }
}

/// Appends the ASCII letters of `name` in lower case, without their accents.
fn fold(name: &str, out: &mut String) {
    use unicode_normalization::UnicodeNormalization as _;
    if name.is_ascii() {
        out.extend(name.chars().filter(char::is_ascii_alphabetic));
    } else {
        out.extend(name.nfd().filter(char::is_ascii_alphabetic));
    }
    out.make_ascii_lowercase();
}

/// The initials of one given name: `J.`, `Th.`, `IJ.`, `J.W.` for a double one.
fn initials_of(given: &str) -> String {
    let mut out = String::with_capacity(8);
    for part in given.split('-') {
        let long = ["IJ", "Th", "Chr", "Ph"]
            .into_iter()
            .find(|start| part.starts_with(start));
        match long {
            Some(long) => out.push_str(long),
            None => out.extend(part.chars().next()),
        }
        out.push('.');
    }
    out
}

/// Names that go together.
#[derive(Clone, Copy, Debug)]
struct Origin {
    women: &'static [&'static str],
    men: &'static [&'static str],
    /// Prefix and surname; the more frequent first.
    surnames: &'static [(&'static str, &'static str)],
    /// Married women may carry both surnames.
    doubles: bool,
}

type Weighted = (u64, &'static Origin);

const IN_THE_NETHERLANDS: &[Weighted] = &[
    (720, &DUTCH),
    (20, &FRISIAN),
    (8, &FLEMISH),
    (45, &TURKISH),
    (45, &MOROCCAN),
    (48, &SURINAMESE),
    (36, &POLISH),
    (16, &CHINESE),
    (3, &CHINESE_AS_WRITTEN),
    (26, &ARABIC),
    (2, &ARABIC_AS_WRITTEN),
    (14, &UKRAINIAN),
    (5, &UKRAINIAN_AS_WRITTEN),
    (30, &IBERIAN),
    (10, &VIETNAMESE),
];

const IN_FLANDERS: &[Weighted] = &[
    (730, &FLEMISH),
    (45, &DUTCH),
    (50, &TURKISH),
    (65, &MOROCCAN),
    (36, &POLISH),
    (10, &CHINESE),
    (2, &CHINESE_AS_WRITTEN),
    (24, &ARABIC),
    (2, &ARABIC_AS_WRITTEN),
    (12, &UKRAINIAN),
    (4, &UKRAINIAN_AS_WRITTEN),
    (20, &IBERIAN),
];

const DUTCH: Origin = Origin {
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
    doubles: true,
};

const FRISIAN: Origin = Origin {
    women: &[
        "Fenna", "Sjoukje", "Nynke", "Tjitske", "Jildou", "Froukje", "Hiske",
    ],
    men: &[
        "Sjoerd", "Wytse", "Jelle", "Tjeerd", "Douwe", "Hylke", "Ype",
    ],
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
    doubles: true,
};

const FLEMISH: Origin = Origin {
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
    doubles: false,
};

const TURKISH: Origin = Origin {
    women: &[
        "Ayşe", "Fatma", "Elif", "Zeynep", "Emine", "Hatice", "Şeyma", "İrem", "Büşra",
    ],
    men: &[
        "Mehmet", "Mustafa", "Ahmet", "Ali", "Emre", "Çağlar", "Ömer", "İbrahim", "Yiğit",
    ],
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
    doubles: false,
};

const MOROCCAN: Origin = Origin {
    women: &[
        "Fatima",
        "Khadija",
        "Naima",
        "Samira",
        "Yasmina",
        "Hanae",
        "Salma",
        "Fatima-Zahra",
    ],
    men: &[
        "Mohamed", "Youssef", "Hassan", "Rachid", "Bilal", "Omar", "Anass", "M'hamed",
    ],
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
    doubles: false,
};

const SURINAMESE: Origin = Origin {
    women: &[
        "Shanti", "Priya", "Cheryl", "Merlien", "Indra", "Muriël", "Soraya", "Gladys",
    ],
    men: &[
        "Radjesh", "Winston", "Stanley", "Anand", "Humphrey", "Soewarto", "Lesley", "Vinod",
    ],
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
    doubles: false,
};

const POLISH: Origin = Origin {
    women: &[
        "Agnieszka",
        "Katarzyna",
        "Małgorzata",
        "Żaneta",
        "Zofia",
        "Łucja",
        "Ewa",
    ],
    men: &[
        "Piotr",
        "Krzysztof",
        "Paweł",
        "Łukasz",
        "Michał",
        "Stanisław",
        "Jan",
    ],
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
    doubles: false,
};

const CHINESE: Origin = Origin {
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
    doubles: false,
};

const CHINESE_AS_WRITTEN: Origin = Origin {
    women: &["美", "小玲", "静", "丽华"],
    men: &["伟", "建国", "明", "志远"],
    surnames: &[("", "王"), ("", "李"), ("", "张"), ("", "陈"), ("", "欧阳")],
    doubles: false,
};

const ARABIC: Origin = Origin {
    women: &["Amira", "Layla", "Noor", "Rania", "Hiba", "Dua"],
    men: &[
        "Ahmad",
        "Khaled",
        "Mahmoud",
        "Samer",
        "Yazan",
        "Abd al-Rahman",
    ],
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
    doubles: false,
};

const ARABIC_AS_WRITTEN: Origin = Origin {
    women: &["ليلى", "أميرة", "هبة"],
    men: &["أحمد", "خالد", "سامر"],
    surnames: &[("", "الحسن"), ("", "حداد"), ("", "المصري"), ("", "خليل")],
    doubles: false,
};

const UKRAINIAN: Origin = Origin {
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
    doubles: false,
};

const UKRAINIAN_AS_WRITTEN: Origin = Origin {
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
    doubles: false,
};

const IBERIAN: Origin = Origin {
    women: &[
        "Maria José",
        "Lucía",
        "Inês",
        "Beatriz",
        "Concepción",
        "Ángela",
    ],
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
    doubles: false,
};

const VIETNAMESE: Origin = Origin {
    women: &["Thị Hoa", "Ngọc", "Linh", "Mai"],
    men: &["Văn Minh", "Đức", "Huy", "Tuấn"],
    surnames: &[
        ("", "Nguyễn"),
        ("", "Trần"),
        ("", "Lê"),
        ("", "Phạm"),
        ("", "Võ"),
        ("", "Ô"),
    ],
    doubles: false,
};

#[cfg(test)]
mod tests {
    use super::super::dice::Stream;
    use super::*;

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
    fn a_mailbox_is_plain() {
        let mut dice = Dice::new(1, 0, Stream::Person);
        for round in 0..5_000 {
            let name = Name::roll(Country::Netherlands, round % 2 == 0, &mut dice);
            let mailbox = name.mailbox();
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
            assert!(mailbox.bytes().all(plain), "{mailbox}");
            assert!(
                !mailbox.ends_with('.') && !mailbox.starts_with('.'),
                "{mailbox}"
            );
        }
    }

    #[test]
    fn particles_stand_where_the_country_puts_them() {
        let mut dice = Dice::new(1, 0, Stream::Person);
        let mut with_prefix = |country| {
            (0..10_000)
                .filter(|round| {
                    Name::roll(country, round % 2 == 0, &mut dice)
                        .prefix
                        .is_some()
                })
                .count()
        };
        let (dutch, flemish) = (
            with_prefix(Country::Netherlands),
            with_prefix(Country::Belgium),
        );
        assert!((2_000..4_500).contains(&dutch), "{dutch}");
        assert!(flemish < 600, "{flemish}");
    }
}
