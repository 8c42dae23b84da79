//! What happened to some records, in numbers: a table of a [`Tally`].

use std::io::{self, Write};

use crate::engine::lane::Lane;
use crate::engine::tally::{RecipientTally, Tally};
use crate::policy::reason::Reason;

use super::table::{TableCell, TextTable, format_thousands};

/// Writes what was released and withheld for each recipient, with reasons, and what was
/// taken back, if anything.
///
/// # Errors
///
/// Those of `out`.
pub(super) fn write_recipient_counts(
    out: &mut impl Write,
    lanes: &[(&Lane, &Tally)],
    width: Option<usize>,
) -> io::Result<()> {
    let all = || lanes.iter().flat_map(|(_, tally)| &tally.recipients);
    let retracted = all().any(|counts| retracted_count(counts) > 0);
    let column: &[&str] = if retracted { &["RETRACTED"] } else { &[] };
    let heads = [&["RECIPIENT", "RELEASED"], column, &["WITHHELD", "BECAUSE"]];
    let mut table = TextTable::new(&heads.concat());
    for (lane, tally) in lanes {
        for (program, counts) in lane.recipients.iter().zip(&tally.recipients) {
            let mut row = vec![
                program.name.clone().into(),
                TableCell::number(counts.published_messages() - retracted_count(counts)),
            ];
            if retracted {
                row.push(TableCell::number(retracted_count(counts)));
            }
            let withheld = counts.withheld.iter().sum::<u64>();
            row.push(TableCell::number(withheld + counts.refused + counts.held));
            row.push(withheld_reasons(counts).into());
            table.add_row(row);
        }
    }
    table.write(out, width)
}

fn retracted_count(counts: &RecipientTally) -> u64 {
    counts.retraction_counts().sum()
}

/// Returns the reasons, the most frequent first.
fn withheld_reasons(counts: &RecipientTally) -> String {
    let mut reasons: Vec<(u64, &str)> = Reason::ALL
        .iter()
        .map(|reason| (counts.withheld[*reason as usize], reason.as_str()))
        .chain([(counts.refused, "refused whole"), (counts.held, "patron not known yet")])
        .filter(|(count, _)| *count > 0)
        .collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let texts: Vec<_> = reasons
        .iter()
        .map(|(count, reason)| format!("{reason} {}", format_thousands(*count)))
        .collect();
    texts.join(", ")
}
