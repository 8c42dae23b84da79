//! Names and numbers that a mask gets wrong if it can.
//!
//! Each row is a way in which real systems differ from what a programmer
//! expects; none of them is an error, and no record with one is refused.

use super::place::Country;

/// One row: surname, prefix, initials, given name, card number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tricky {
    /// Only for libraries of this country, where one is named.
    pub(super) country: Option<Country>,
    pub(super) prefix: &'static str,
    pub(super) surname: &'static str,
    pub(super) initials: &'static str,
    pub(super) given_name: &'static str,
    /// Empty: the patron keeps its own.
    pub(super) card_number: &'static str,
}

const NL: Option<Country> = Some(Country::Netherlands);
const BE: Option<Country> = Some(Country::Belgium);

const fn row(
    country: Option<Country>,
    prefix: &'static str,
    surname: &'static str,
    initials: &'static str,
    given_name: &'static str,
    card_number: &'static str,
) -> Tricky {
    Tricky {
        country,
        prefix,
        surname,
        initials,
        given_name,
        card_number,
    }
}

pub(super) const TRICKY: &[Tricky] = &[
    // Particles: in the field, in the surname, with capitals, in pieces.
    row(NL, "van der", "Berg", "", "IJsbrand", "20013004567890"),
    row(NL, "", "van der Berg", "", "Jan", ""),
    row(BE, "", "Van den Broeck", "", "An", ""),
    row(BE, "Van den", "Broeck", "A.", "An", ""),
    row(NL, "", "van\u{a0}der\u{a0}Berg", "J.", "", ""),
    row(NL, "", "VAN DER BERG", "J.P.", "", ""),
    row(NL, "", "'t Hooft", "G.", "", ""),
    row(NL, "", "’t Hooft", "G.", "", ""),
    row(NL, "van", "'t Hoff", "J.H.", "", ""),
    row(NL, "VAN DEN", "", "P.", "Piet", ""),
    row(None, "", "Jansen-de Vries", "J.P.", "", ""),
    row(None, "", "'s-Gravesande", "W.J.", "", ""),
    row(None, "", "d'Hondt", "", "Jan-Willem", "0470012"),
    row(None, "", "O'Brien", "Th.O.", "", "123456789X"),
    row(None, "", "O\u{2bc}Brien", "Ph.", "", ""),
    row(None, "", "van", "V.", "Van", ""),
    // One letter or two, in one sign or several.
    row(None, "", "IJzerman", "", "Ijeoma", ""),
    row(None, "", "\u{132}zerman", "\u{132}.", "", ""),
    row(None, "", "IJ", "", "(IJsbrand)", ""),
    row(None, "", "ij", "", "(IJsbrand)", ""),
    row(None, "", "\u{133}", "I.J.", "\u{133}sbrand", ""),
    row(None, "", "Li", "", "", "12345"),
    row(None, "", "O", "", "Li", "1234"),
    row(None, "", ".", ".", ".", "A20013004567B"),
    row(None, "", "1e Lezer", "-", "?", "---"),
    // Combining marks, and scripts without capitals.
    row(None, "", "O\u{308}zdemir", "", "S\u{327}eyma", ""),
    row(None, "", "Özdemir", "Ş.", "", ""),
    row(None, "", "Nguye\u{302}\u{303}n", "T\u{323}.", "", ""),
    row(None, "", "Иванов", "", "Ирина", ""),
    row(None, "", "王", "", "伟", ""),
    row(None, "", "الحسن", "", "أحمد", ""),
    row(None, "", "क्षेत्री", "", "प्रिया", ""),
    row(None, "", "\u{1c5}urić", "", "Nj\u{200d}egoš", ""),
    // What cannot be seen.
    row(None, "", "Ja\u{200d}n\u{200b}sen", "J\u{200c}.", "", ""),
    row(None, "", "\u{feff}Bos\u{ad}man", "", "\u{200e}Karel", ""),
    row(
        NL,
        "\u{a0}van\u{2009} der ",
        "  Meer\u{3000}",
        " A. B. ",
        "  Anna  ",
        " 20013000000017 ",
    ),
    row(None, "", "de\tWit\n", "\tK.", "", ""),
    row(None, "\u{a0}", "\u{200d}", "\u{200b}", " ", "\u{200b}"),
    row(
        None,
        "",
        "De \"Smet\" \\ C\u{327}elik",
        "É.",
        "Émile/Zoë",
        "",
    ),
    // Digits of other scripts, and long ones.
    row(None, "", "Bakker", "B.", "", "２００１３００４５６７８９０"),
    row(None, "", "Visser", "V.", "", "٢٠٠١٣٠٠٤٥٦٧"),
    row(None, "", "Smit", "S.", "", "2001 3004 5678 90"),
    row(None, "", "Mulder", "M.", "", "00000000000000"),
    row(
        None,
        "",
        "Zeefmans van Bovenkerspel tot Benedenkerspel-Zonder-Einde en Nog Verder dan Dat",
        "A.B.C.D.E.F.G.H.I.J.K.",
        "",
        "200130000000000000000000000000000000000042",
    ),
];
