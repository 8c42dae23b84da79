//! A thousand borrowers with their loans, out of the snapshot and then changed, compared with SQL.

use super::comparison::{Comparison, Counts};
use super::{UpstreamSite, koha};
use crate::harness::LibrarySystem;

pub(super) const CHANGES: &str = include_str!("koha_changes.sql");
const EXPECTED: &str = include_str!("koha_expected.sql");

/// What lies in the database before the connector is there.
pub(super) fn first_rows() -> String {
    [include_str!("koha_rows.sql"), &koha::clock_rows(koha::SNAPSHOT_CLOCKS)].concat()
}

/// Whether a number such as that of `koha-100001` or `NL-AmrBKW:100001` is one of this test.
fn is_own(id: &str) -> bool {
    let number = id.rsplit(['-', ':']).next().and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| (100_001..=102_000).contains(&number))
}

/// Makes the views, and compares with them from then on.
pub(super) fn comparison(site: &UpstreamSite) -> Comparison<'_> {
    site.run_sql(EXPECTED);
    let before_select = "SET time_zone = '+00:00'; ";
    Comparison { site, before_select, is_own, is_own_member: is_own }
}

#[test]
fn upstream_koha_snapshot_then_changes_end_as_sql_says() {
    let Some(koha) = UpstreamSite::new(LibrarySystem::Koha, "koha-snapshot", "") else {
        return;
    };
    let comparison = comparison(&koha);
    let first = comparison.check(&koha.run());
    let want = Counts {
        patrons: 960,
        loans: 1_720,
        reservations: 192,
        debts: 122,
        messages: 960,
        members: 910,
    };
    assert_eq!(first, want);

    let then = comparison.check(&koha.run_after(CHANGES));
    assert!(then.patrons < first.patrons && then.loans < first.loans, "{then:?}");
    assert!(then.reservations < first.reservations && then.messages < first.messages, "{then:?}");
}
