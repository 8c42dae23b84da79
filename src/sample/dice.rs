//! Chance that can be repeated: the same seed, patron and stream roll the same.
//!
//! Never asks the machine for randomness or the time.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// What a die is rolled for; streams of one patron do not depend on each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Person = 1,
    Patron,
    Consent,
    Objection,
    Loan,
    Reservation,
    IllRequest,
    Debt,
    Erasure,
}

/// A source of repeatable choices.
#[derive(Clone, Debug)]
pub(super) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Makes the dice of one patron and one stream.
    pub(super) fn new(seed: u64, index: u64, stream: Stream) -> Dice {
        let mixed = mix(mix(mix(seed).wrapping_add(index)).wrapping_add(stream as u64));
        Dice(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// A number below `limit`; 0 where the limit is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(limit);
        (wide >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = i64::from(high).abs_diff(i64::from(low)) + 1;
        low.saturating_add(self.below(span) as i32)
    }

    /// True `share` times in a thousand.
    pub(super) fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// One of `table`, each as likely.
    pub(super) fn pick<T: Copy>(&mut self, table: &[T]) -> T {
        table[self.below(table.len() as u64) as usize]
    }

    /// One of `table`, the first ones more likely than the last ones.
    pub(super) fn pick_early<T: Copy>(&mut self, table: &[T]) -> T {
        let length = table.len() as u64;
        table[self.below(length).min(self.below(length)) as usize]
    }

    /// One of `table`, by the weights that stand before the values.
    pub(super) fn weighted<T: Copy>(&mut self, table: &[(u64, T)]) -> T {
        let total = table.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for &(weight, value) in table {
            if left < weight {
                return value;
            }
            left -= weight;
        }
        table[0].1
    }

    /// How many there are of something of which there are `mean` on average.
    pub(super) fn count(&mut self, mean: f32) -> u64 {
        let unit = self.below(1 << 24) as f32 / (1 << 24) as f32;
        let drawn = (mean.clamp(0.0, 10_000.0)) * 2.0 * unit;
        let rest = (drawn.fract() * 1000.0) as u64;
        drawn as u64 + u64::from(self.per_mille(rest))
    }

    /// Appends `count` digits to `out`.
    pub(super) fn digits(&mut self, count: usize, out: &mut String) {
        for _ in 0..count {
            out.push(char::from(b'0' + self.below(10) as u8));
        }
    }
}

/// Spreads the bits of a counter over the whole word (the finisher of
/// MurmurHash3), so that neighbours share nothing.
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_same_on_every_machine() {
        let mut dice = Dice::new(1, 2, Stream::Loan);
        let rolls: Vec<u64> = (0..6).map(|_| dice.below(1000)).collect();
        assert_eq!(rolls, ROLLS);
    }

    const ROLLS: [u64; 6] = [222, 883, 227, 395, 393, 738];

    #[test]
    fn choices_stay_within_their_limits() {
        let mut dice = Dice::new(0, 0, Stream::Person);
        for _ in 0..10_000 {
            assert!(dice.below(7) < 7);
            assert!((-3..=3).contains(&dice.between(-3, 3)));
            assert!(dice.count(1.5) <= 4);
        }
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.count(0.0), 0);
        assert_eq!(dice.count(f32::NAN), 0);
    }

    #[test]
    fn a_count_has_its_mean() {
        let mut dice = Dice::new(3, 0, Stream::Person);
        let total: u64 = (0..20_000).map(|_| dice.count(0.6)).sum();
        assert!((11_000..13_000).contains(&total), "{total}");
    }
}
