//! F02: a slip hangs around a work of another library as long as the work is here, and shows as
//! little as a reservation slip.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f02_slip_is_there_while_the_work_is() {
    let patron = r#""surname":"Berg","surname_prefix":"van der","initials":"J.","card_number":"20013004567890""#;
    let slip = r#"{"shelf_mark":"Be","initial":"J","card_suffix":"67890","title":"T","slip":["Be","Be J","67890","T"]}"#;
    for (status, want) in [("received", slip), ("sent", "condition"), ("returned", "condition")] {
        let request = format!(r#""request_id":"i","status":"{status}","item":{{"title":"T"}}"#);
        let records = [("patron", patron), ("ill_request", request.as_str())];
        check_records(&SHIPPED, "ill-slip", &records, want);
    }
}
