//! F01: the slip on a public reservation shelf.

use crate::driver::check_field;

const READY: &str = r#""status":"ready_for_pickup""#;

#[test]
fn f01_shelf_marks_follow_the_rules() {
    for (surname, prefix, country, want) in [
        ("Berg", "van der", "NL", "Be"),
        ("van der Berg", "", "NL", "Be"),
        ("Van den Broeck", "", "BE", "Va"),
        ("Berg", "van der", "BE", "va"),
        ("Berg", "van der", "DE", "va"),
        ("IJzerman", "", "NL", "IJ"),
        ("\u{132}zerman", "", "NL", "IJ"),
        ("O'Brien", "", "NL", "OB"),
        ("d'Hondt", "", "BE", "dH"),
        ("d'Hondt", "", "NL", "dH"),
        ("Jansen-de Vries", "", "NL", "Ja"),
        ("'t Hooft", "", "NL", "Ho"),
        ("\u{2019}t Hooft", "", "NL", "Ho"),
        ("\u{b4}t Hooft", "", "NL", "Ho"),
        ("'s-Gravesande", "", "NL", "sG"),
        ("O\u{308}zdemir", "", "NL", "Öz"),
        ("Иванов", "", "NL", "Ив"),
        ("王", "", "NL", "王"),
        (".", "", "NL", ""),
        (" \u{200b}", "van", "BE", ""),
        (".", "van", "BE", "va"),
        ("Li", "", "NL", "L"),
        ("O", "", "NL", "O"),
        ("IJ", "", "NL", "I"),
        ("ij", "", "NL", "i"),
        ("van\u{a0}der\u{a0}Berg", "", "NL", "Be"),
        ("VAN DER Berg", "", "NL", "Be"),
        ("de la Cruz", "", "NL", "Cr"),
        ("De La", "", "NL", "L"),
        ("van van Dam", "", "NL", "va"),
        ("vander Berg", "", "NL", "va"),
        ("van der", "", "NL", "de"),
        ("van O", "", "NL", "O"),
        ("O", "van", "BE", "va"),
    ] {
        let library = format!("{country}-X");
        let names = format!(r#""surname":"{surname}","surname_prefix":"{prefix}""#);
        let patron = format!(r#""library":"{library}",{names}"#);
        let slip = format!(r#""library":"{library}","status":"ready_for_pickup""#);
        let want = Some(want).filter(|want| !want.is_empty());
        check_field("reservation-slip", &patron, ("reservation", &slip), ("shelf_mark", want));
    }
}

#[test]
fn f01_initials_follow_the_rules() {
    for (initials, given_name, want) in [
        ("", "IJsbrand", "IJ"),
        ("J.P.", "", "J"),
        ("Th.O.", "", "T"),
        ("", "Ijeoma", "I"),
        ("I.J.", "", "I"),
        (".", "Jan-Willem", "J"),
        ("", "S\u{327}eyma", "Ş"),
        (".", "伟", "伟"),
        (".", ".", ""),
        ("", "(IJsbrand)", "IJ"),
        ("\u{133}.", "", "ij"),
        ("I\u{ad}J.", "", "IJ"),
        ("1e", "", "e"),
    ] {
        let patron = format!(r#""initials":"{initials}","given_name":"{given_name}""#);
        let want = Some(want).filter(|want| !want.is_empty());
        check_field("reservation-slip", &patron, ("reservation", READY), ("initial", want));
    }
}

#[test]
fn f01_card_suffixes_follow_the_rules() {
    for (card, want) in [
        ("20013004567890", Some("67890")),
        ("123456789X", Some("56789")),
        ("0470012", None),
        ("A20013004567B", Some("04567")),
        ("12345", None),
        ("1234", None),
        ("12345678", Some("45678")),
        ("٢٠٠١٣٠٠٤٥٦٧", Some("04567")),
        ("𝟠𝟝𝟘𝟟𝟛𝟘𝟘𝟛𝟛𝟚𝟠", Some("03328")),
        ("²³¹²³¹²³¹", None),
    ] {
        let patron = format!(r#""card_number":"{card}""#);
        check_field("reservation-slip", &patron, ("reservation", READY), ("card_suffix", want));
    }
    let suffix = Some("56789");
    for (members, want) in [
        (r#""card_number":"123456789","card_kind":"library""#, suffix),
        (r#""card_number":"123456789","card_kind":"eid""#, None),
        (r#""card_number":"123456789","rijksregisternummer":"12.34.56-789""#, None),
        (r#""card_number":"12345678٩","rijksregisternummer":"12.34.56-789""#, None),
        (r#""card_number":"123456789","rijksregisternummer":"-""#, suffix),
    ] {
        check_field("reservation-slip", members, ("reservation", READY), ("card_suffix", want));
    }
}
