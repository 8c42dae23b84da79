//! What happened to some records, in numbers: a table of a [`Tally`].

use std::io::{self, Write};

use crate::engine::lane::Lane;
use crate::engine::tally::{RecipientTally, Tally};
use crate::policy::reason::Reason;

use super::table::{Cell, Table, grouped};

/// Writes, per recipient, what was released and what was withheld for what; and
/// what was taken back, where anything was.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn recipients(
    out: &mut impl Write,
    lanes: &[(&Lane, &Tally)],
    width: Option<usize>,
) -> io::Result<()> {
    let all = || lanes.iter().flat_map(|(_, tally)| &tally.recipients);
    let retracted = all().any(|counts| taken_back(counts) > 0);
    let column: &[&str] = if retracted { &["RETRACTED"] } else { &[] };
    let heads = [&["RECIPIENT", "RELEASED"], column, &["WITHHELD", "BECAUSE"]];
    let mut table = Table::new(&heads.concat());
    for (lane, tally) in lanes {
        for (program, counts) in lane.recipients.iter().zip(&tally.recipients) {
            let mut row = vec![
                program.name.clone().into(),
                Cell::number(counts.published() - taken_back(counts)),
            ];
            if retracted {
                row.push(Cell::number(taken_back(counts)));
            }
            let withheld = counts.withheld.iter().sum::<u64>();
            row.push(Cell::number(withheld + counts.refused + counts.held));
            row.push(because(counts).into());
            table.row(row);
        }
    }
    table.write(out, width)
}

fn taken_back(counts: &RecipientTally) -> u64 {
    counts.retractions().sum()
}

/// The reasons, the most frequent first.
fn because(counts: &RecipientTally) -> String {
    let mut reasons: Vec<(u64, &str)> = Reason::ALL
        .iter()
        .map(|reason| (counts.withheld[*reason as usize], reason.as_str()))
        .chain([
            (counts.refused, "refused whole"),
            (counts.held, "patron not known yet"),
        ])
        .filter(|(count, _)| *count > 0)
        .collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let texts: Vec<_> = reasons
        .iter()
        .map(|(count, reason)| format!("{reason} {}", grouped(*count)))
        .collect();
    texts.join(", ")
}
