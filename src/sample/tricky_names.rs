//! Names and numbers that masks are likely to get wrong.
//!
//! Each row is a way in which real systems are surprising; all are valid.

use super::locations::Country;

#[derive(Clone, Copy, Debug)]
pub(super) struct TrickyName {
    /// Only for libraries of this country, if any.
    pub(super) country: Option<Country>,
    pub(super) prefix: &'static str,
    pub(super) surname: &'static str,
    pub(super) initials: &'static str,
    pub(super) given_name: &'static str,
    /// If empty, the patron keeps its own.
    pub(super) card_number: &'static str,
}

const NL: Option<Country> = Some(Country::Netherlands);
const BE: Option<Country> = Some(Country::Belgium);

const fn make_tricky_name(
    country: Option<Country>,
    prefix: &'static str,
    surname: &'static str,
    initials: &'static str,
    given_name: &'static str,
    card_number: &'static str,
) -> TrickyName {
    TrickyName { country, prefix, surname, initials, given_name, card_number }
}

pub(super) const TRICKY_NAMES: &[TrickyName] = &[
    // Particles: in the field, in the surname, in capitals, in pieces.
    make_tricky_name(NL, "van der", "Berg", "", "IJsbrand", "20013004567890"),
    make_tricky_name(NL, "", "van der Berg", "", "Jan", ""),
    make_tricky_name(BE, "", "Van den Broeck", "", "An", ""),
    make_tricky_name(BE, "Van den", "Broeck", "A.", "An", ""),
    make_tricky_name(NL, "", "van\u{a0}der\u{a0}Berg", "J.", "", ""),
    make_tricky_name(NL, "", "VAN DER BERG", "J.P.", "", ""),
    make_tricky_name(NL, "", "'t Hooft", "G.", "", ""),
    make_tricky_name(NL, "", "’t Hooft", "G.", "", ""),
    make_tricky_name(NL, "van", "'t Hoff", "J.H.", "", ""),
    make_tricky_name(NL, "VAN DEN", "", "P.", "Piet", ""),
    make_tricky_name(None, "", "Jansen-de Vries", "J.P.", "", ""),
    make_tricky_name(None, "", "'s-Gravesande", "W.J.", "", ""),
    make_tricky_name(None, "", "d'Hondt", "", "Jan-Willem", "0470012"),
    make_tricky_name(None, "", "O'Brien", "Th.O.", "", "123456789X"),
    make_tricky_name(None, "", "O\u{2bc}Brien", "Ph.", "", ""),
    make_tricky_name(None, "", "van", "V.", "Van", ""),
    // IJ as one or two letters, in one or more characters.
    make_tricky_name(None, "", "IJzerman", "", "Ijeoma", ""),
    make_tricky_name(None, "", "\u{132}zerman", "\u{132}.", "", ""),
    make_tricky_name(None, "", "IJ", "", "(IJsbrand)", ""),
    make_tricky_name(None, "", "ij", "", "(IJsbrand)", ""),
    make_tricky_name(None, "", "\u{133}", "I.J.", "\u{133}sbrand", ""),
    make_tricky_name(None, "", "Li", "", "", "12345"),
    make_tricky_name(None, "", "O", "", "Li", "1234"),
    make_tricky_name(None, "", ".", ".", ".", "A20013004567B"),
    make_tricky_name(None, "", "1e Lezer", "-", "?", "---"),
    // Combining marks, and scripts without capitals.
    make_tricky_name(None, "", "O\u{308}zdemir", "", "S\u{327}eyma", ""),
    make_tricky_name(None, "", "Özdemir", "Ş.", "", ""),
    make_tricky_name(None, "", "Nguye\u{302}\u{303}n", "T\u{323}.", "", ""),
    make_tricky_name(None, "", "Иванов", "", "Ирина", ""),
    make_tricky_name(None, "", "王", "", "伟", ""),
    make_tricky_name(None, "", "الحسن", "", "أحمد", ""),
    make_tricky_name(None, "", "क्षेत्री", "", "प्रिया", ""),
    make_tricky_name(None, "", "\u{1c5}urić", "", "Nj\u{200d}egoš", ""),
    // Invisible characters.
    make_tricky_name(None, "", "Ja\u{200d}n\u{200b}sen", "J\u{200c}.", "", ""),
    make_tricky_name(None, "", "\u{feff}Bos\u{ad}man", "", "\u{200e}Karel", ""),
    make_tricky_name(
        NL,
        "\u{a0}van\u{2009} der ",
        "  Meer\u{3000}",
        " A. B. ",
        "  Anna  ",
        " 20013000000017 ",
    ),
    make_tricky_name(None, "", "de\tWit\n", "\tK.", "", ""),
    make_tricky_name(None, "\u{a0}", "\u{200d}", "\u{200b}", " ", "\u{200b}"),
    make_tricky_name(None, "", "De \"Smet\" \\ C\u{327}elik", "É.", "Émile/Zoë", ""),
    // Digits of other scripts, and long ones.
    make_tricky_name(None, "", "Bakker", "B.", "", "２００１３００４５６７８９０"),
    make_tricky_name(None, "", "Visser", "V.", "", "٢٠٠١٣٠٠٤٥٦٧"),
    make_tricky_name(None, "", "Smit", "S.", "", "2001 3004 5678 90"),
    make_tricky_name(None, "", "Mulder", "M.", "", "00000000000000"),
    make_tricky_name(
        None,
        "",
        "Zeefmans van Bovenkerspel tot Benedenkerspel-Zonder-Einde en Nog Verder dan Dat",
        "A.B.C.D.E.F.G.H.I.J.K.",
        "",
        "200130000000000000000000000000000000000042",
    ),
];
