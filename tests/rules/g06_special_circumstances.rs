//! G06: an objection for special circumstances stops what rests on a public task or a legitimate interest.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g06_unclear_objection_stops_all_that_objections_can() {
    let head = r#""objection_id":"o""#;
    let clear = format!(r#"{head},"kind":"special_circumstances","status":"dismissed""#);
    for rest in [
        r#""kind":1"#,
        r#""kind":"special_circumstance","status":"lodged""#,
        r#""kind":"special_circumstances","status":"maybe""#,
        r#""kind":"special_circumstances""#,
        r#""kind":"special_circumstances","status":"dismissed","purpose":"Statistics""#,
        r#""status":"lodged""#,
    ] {
        let statements = format!("{head},{rest}");
        check_statistics(&[("objection", &statements)], "objection_unreadable");
        check_statistics(&[("objection", &statements), ("objection", &clear)], "released");
        let other = clear.replace(r#""o""#, r#""p""#);
        let both = [("objection", &*statements), ("objection", &*other)];
        check_statistics(&both, "objection_unreadable");
        check_records(
            &SHIPPED,
            "kb-recognition",
            &[("objection", &statements), ("patron", ACTIVE_MEMBER)],
            "released",
        );
    }
}

#[test]
fn g06_special_circumstances_stop_public_task_until_dismissed() {
    let objection = |id: &str, rest: &str| {
        let kind = r#""kind":"special_circumstances""#;
        format!(r#""objection_id":"{id}",{kind},{rest}"#)
    };
    let lodged = ("o", r#""status":"lodged""#);
    for (statements, want) in [
        (&[lodged][..], "objection"),
        (&[("o", r#""status":"upheld","purpose":"statistics""#)], "objection"),
        (&[("o", r#""status":"lodged","purpose":"pickup""#)], "released"),
        (&[("o", r#""status":"lodged","purpose":"other""#)], "released"),
        (&[("o", r#""status":"lodged","purpose":"""#)], "objection"),
        (&[("o", r#""status":"dismissed""#)], "released"),
        (&[lodged, ("o", r#""status":"dismissed""#)], "released"),
        (&[lodged, ("p", r#""status":"dismissed""#)], "objection"),
    ] {
        let statements: Vec<String> =
            statements.iter().map(|(id, rest)| objection(id, rest)).collect();
        let lines: Vec<_> = statements.iter().map(|line| ("objection", line.as_str())).collect();
        check_statistics(&lines, want);
        // Nobody can object a legal duty or a contract away.
        let lines: Vec<_> = lines.into_iter().chain([("patron", ACTIVE_MEMBER)]).collect();
        check_records(&SHIPPED, "kb-recognition", &lines, "released");
    }
    let marketing = r#""objection_id":"o","kind":"direct_marketing","status":"lodged""#;
    check_statistics(&[("objection", marketing)], "released");
}
