//! What happened to some records, in numbers: a table of a [`Tally`].

use std::io::{self, Write};

use crate::engine::lane::Lane;
use crate::engine::tally::{RecipientTally, Tally};
use crate::policy::reason::Reason;

use super::table::{Cell, Table, grouped};

/// Writes, per recipient, what was released and what was withheld for what.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn recipients(
    out: &mut impl Write,
    lanes: &[(&Lane, &Tally)],
    width: Option<usize>,
) -> io::Result<()> {
    let mut table = Table::new(&["RECIPIENT", "RELEASED", "WITHHELD", "BECAUSE"]);
    for (lane, tally) in lanes {
        for (program, counts) in lane.recipients.iter().zip(&tally.recipients) {
            table.row([
                program.name.clone().into(),
                Cell::number(counts.released),
                Cell::number(counts.withheld.iter().sum::<u64>() + counts.refused),
                because(counts).into(),
            ]);
        }
    }
    table.write(out, width)
}

/// The reasons, the most frequent first.
fn because(counts: &RecipientTally) -> String {
    let mut reasons: Vec<(u64, &str)> = Reason::ALL
        .iter()
        .map(|reason| (counts.withheld[*reason as usize], reason.as_str()))
        .chain([(counts.refused, "refused whole")])
        .filter(|(count, _)| *count > 0)
        .collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let texts: Vec<_> = reasons
        .iter()
        .map(|(count, reason)| format!("{reason} {}", grouped(*count)))
        .collect();
    texts.join(", ")
}
