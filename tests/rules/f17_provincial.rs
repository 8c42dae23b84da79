//! F17: who keeps the membership administration has every person, whatever the membership's status.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f17_administration_has_former_members_until_the_term_is_over() {
    let patron = |status: &str, end: &str| {
        format!(
            r#""kind":"person","iban":"NL91ABNA0417164300","note":"n","membership":{{"id":"M","status":"{status}","ends_on":"{end}"}}"#
        )
    };
    let output = |status: &str, end: &str| {
        format!(r#"{{"membership_id":"M","membership_status":"{status}","valid_until":"{end}"}}"#)
    };
    for (status, end) in [("active", "2020-01-01"), ("ended", "2024-01-16")] {
        let records = [("patron", patron(status, end))];
        let records = records.each_ref().map(|(kind, text)| (*kind, text.as_str()));
        check_records(&SHIPPED, "provincial", &records, &output(status, end));
    }
    let over = patron("ended", "2024-01-15");
    check_records(&SHIPPED, "provincial", &[("patron", &over)], "patron_lapsed");
}
