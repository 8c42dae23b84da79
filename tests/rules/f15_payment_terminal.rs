//! F15: a payment terminal has what is owed by a card, and not by whom.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f15_terminal_has_open_debts_without_names() {
    let patron = r#""kind":"institution","card_number":"20013004567890","surname":"Berg""#;
    let debt = |status: &str| {
        format!(
            r#""debt_id":"d","status":"{status}","amount_cents":250,"currency":"EUR","items":[{{"title":"T"}}],"invoiced_at":"2025-11-01T09:00:00Z""#
        )
    };
    let (open, cancelled) = (debt("open"), debt("cancelled"));
    let output =
        r#"{"card_number":"20013004567890","amount_cents":250,"currency":"EUR","debt_ref":"d"}"#;
    let terminal = "payment-terminal";
    check_records(&SHIPPED, terminal, &[("patron", patron), ("debt", &open)], output);
    check_records(&SHIPPED, terminal, &[("patron", patron), ("debt", &cancelled)], "condition");
    let settled = ("settlement", r#""settlement_id":"s","debt_id":"d""#);
    check_records(&SHIPPED, terminal, &[("patron", patron), settled, ("debt", &open)], "settled");
}
