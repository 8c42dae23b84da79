//! The rules of docs/rules.md, a file for each: what recipients are told by the engine
//! and by the model, and what they have after restarts.
//!
//! A file's name begins with the id of its rule, and so does the name of each test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod conditions;
mod consent_unreadable;
mod demands;
mod driver;
mod f01_shelf_slip;
mod f02_ill_slip;
mod f05_account;
mod f06_network;
mod f07_other_library;
mod f08_debt;
mod f09_national_number;
mod f10_settled_debt;
mod f11_channel;
mod f12_stages;
mod f13_direct_debit;
mod f15_payment_terminal;
mod f16_summaries;
mod f17_provincial;
mod f18_agreement;
mod f19_statistics;
mod f20_city_monitoring;
mod f22_school;
mod f23_scopes;
mod f24_newsletter;
mod f26_service_message;
mod f27_marketing;
mod f28_panel;
mod f29_contest;
mod f32_family_access;
mod f36_legal_demand;
mod f37_demand_report;
mod f39_referral;
mod f40_referral_by_phone;
mod f41_anonymous_question;
mod f45_erasure;
mod f50_new_recipient;
mod g01_consent_elements;
mod g02_consent_is_not_passed_on;
mod g03_refusal_any_time;
mod g04_oral_grants_nothing;
mod g05_explicit_where_basis;
mod g06_special_circumstances;
mod g07_marketing;
mod g08_legal_basis;
mod g09_nothing_unlisted;
mod g10_purpose;
mod g11_loan_history;
mod gone;
mod minors;
mod national_card;
mod other_library;
mod patron;
mod r01_patron_term;
mod record_refusals;
mod s01_bsn;
mod thinned;
