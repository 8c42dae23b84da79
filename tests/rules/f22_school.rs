//! F22: a school sees its own pupils, each on a topic of its own; a school that is not listed sees
//! nobody.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f22_pupil_goes_to_the_listed_school_only() {
    let pupil = r#"{"surname":"Berg","class":"7B"}"#;
    for (school, kind, want) in [
        ("De Regenboog", "school", pupil),
        ("Het Kompas", "school_class", pupil),
        ("De Vlinder", "school", "party_unlisted"),
        ("De Regenboog", "jeugd", "condition"),
    ] {
        let patron = format!(
            r#""surname":"Berg","card_number":"20013004567890","membership":{{"id":"M","status":"active","type":"{kind}","school":"{school}","class":"7B"}}"#
        );
        check_records(&SHIPPED, "school", &[("patron", &patron)], want);
    }
}
