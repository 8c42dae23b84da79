//! Where chains begin once a year, and those before it, are forgotten.

use std::collections::BTreeMap;

use super::block::Block;
use super::keys::utc_year;
use crate::message::continuity::{ChainStart, LedgerHead};

/// What forgetting a year removes, found from the blocks in their order.
///
/// Of each partition everything goes that lies before its first block of a later year. What lies
/// behind that stays, of every chain: the blocks of two lanes may lie between each other.
#[derive(Clone, Debug)]
pub struct ForgetPlan {
    year: i16,
    /// The offset of the first block that stays, by partition.
    pub first_kept: BTreeMap<i32, i64>,
    /// Where chains begin then, by name.
    starts: BTreeMap<String, ChainStart>,
    pub blocks_removed: u64,
    pub lines_removed: u64,
}

impl ForgetPlan {
    #[must_use]
    pub fn new(year: i16) -> ForgetPlan {
        ForgetPlan {
            year,
            first_kept: BTreeMap::new(),
            starts: BTreeMap::new(),
            blocks_removed: 0,
            lines_removed: 0,
        }
    }

    /// Adds the next block of a partition.
    pub fn add_block(&mut self, (partition, offset): (i32, i64), block: &Block<'_>) {
        let is_kept = self.first_kept.contains_key(&partition);
        if !is_kept && utc_year(block.time) <= self.year {
            self.blocks_removed += 1;
            self.lines_removed += block.lines.len() as u64;
            return;
        }
        self.first_kept.entry(partition).or_insert(offset);
        let start =
            || ChainStart { sequence: block.sequence, previous: block.previous.to_string() };
        self.starts.entry(block.chain.to_string()).or_insert_with(start);
    }

    /// Writes into the head of a chain where it begins then; one of which nothing stays begins
    /// behind its head. Returns whether that changes anything.
    pub fn move_start(&self, chain: &str, head: &mut LedgerHead) -> bool {
        let behind_head =
            || ChainStart { sequence: head.sequence + 1, previous: head.hash.clone() };
        let start = self.starts.get(chain).cloned().unwrap_or_else(behind_head);
        let start = Some(start).filter(|start| start.sequence > 1);
        std::mem::replace(&mut head.start, start.clone()) != start
    }
}

/// Why a year cannot be forgotten yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetRefusal {
    #[error("{0} is not over yet")]
    NotOver(i16),
    #[error(
        "the lines of {year} are kept until {until}: see `keep_years` in [ledger] of zeef.toml"
    )]
    Kept { year: i16, until: i16 },
}

/// Checks that a year is over, and the years for which its lines are kept.
///
/// # Errors
///
/// [`ForgetRefusal`]
pub fn check_term(year: i16, keep_years: i16, now: i64) -> Result<(), ForgetRefusal> {
    let this_year = utc_year(now);
    if year >= this_year {
        return Err(ForgetRefusal::NotOver(year));
    }
    let until = year.saturating_add(1).saturating_add(keep_years);
    if this_year < until { Err(ForgetRefusal::Kept { year, until }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2028-01-01T00:00:00Z and the second before it.
    const NEW_YEAR: i64 = 1_830_297_600;

    #[test]
    fn year_is_kept_until_its_term_is_over() {
        assert_eq!(check_term(2027, 0, NEW_YEAR), Ok(()));
        assert_eq!(check_term(2027, 0, NEW_YEAR - 1), Err(ForgetRefusal::NotOver(2027)));
        assert_eq!(check_term(2028, 0, NEW_YEAR), Err(ForgetRefusal::NotOver(2028)));
        assert_eq!(check_term(2022, 5, NEW_YEAR), Ok(()));
        let kept = ForgetRefusal::Kept { year: 2022, until: 2028 };
        assert_eq!(check_term(2022, 5, NEW_YEAR - 1), Err(kept));
    }
}
