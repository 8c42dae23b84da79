//! Repeatable randomness by seed, patron and stream. Never uses the system's randomness or clock.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Independent streams of one patron.
#[derive(Clone, Copy, Debug)]
pub(super) enum RngStream {
    Person = 1,
    Patron,
    Consent,
    Objection,
    Loan,
    Reservation,
    IllRequest,
    Debt,
    Erasure,
    Settlement,
    Demand,
    Referral,
    Participation,
    Question,
    Family,
    FamilyConsent,
}

#[derive(Clone, Debug)]
pub(super) struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// Creates the generator of one patron and stream.
    pub(super) fn new(seed: u64, index: u64, stream: RngStream) -> Rng {
        let mixed =
            mix_bits(mix_bits(mix_bits(seed).wrapping_add(index)).wrapping_add(stream as u64));
        Rng(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Returns 0 if `limit` is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(limit);
        (wide >> 64) as u64
    }

    /// Inclusive.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = i64::from(high).abs_diff(i64::from(low)) + 1;
        low.saturating_add(self.below(span) as i32)
    }

    pub(super) fn chance_per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// Uniform.
    pub(super) fn choose<T: Copy>(&mut self, table: &[T]) -> T {
        table[self.below(table.len() as u64) as usize]
    }

    /// Earlier entries are more likely.
    pub(super) fn choose_front_weighted<T: Copy>(&mut self, table: &[T]) -> T {
        let length = table.len() as u64;
        table[self.below(length).min(self.below(length)) as usize]
    }

    /// By the weights before the values.
    pub(super) fn choose_weighted<T: Copy>(&mut self, table: &[(u64, T)]) -> T {
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

    /// Returns a number with the given mean.
    pub(super) fn draw_count(&mut self, mean: f32) -> u64 {
        let unit = self.below(1 << 24) as f32 / (1 << 24) as f32;
        let drawn = (mean.clamp(0.0, 10_000.0)) * 2.0 * unit;
        let rest = (drawn.fract() * 1000.0) as u64;
        drawn as u64 + u64::from(self.chance_per_mille(rest))
    }

    /// Appends `count` digits to `out`.
    pub(super) fn push_digits(&mut self, count: usize, out: &mut String) {
        for _ in 0..count {
            out.push(char::from(b'0' + self.below(10) as u8));
        }
    }
}

/// The finisher of MurmurHash3, so that neighbouring counters share nothing.
fn mix_bits(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rng_stream_is_the_same_on_every_machine() {
        let mut rng = Rng::new(1, 2, RngStream::Loan);
        let draws: Vec<u64> = (0..6).map(|_| rng.below(1000)).collect();
        assert_eq!(draws, EXPECTED_DRAWS);
    }

    const EXPECTED_DRAWS: [u64; 6] = [222, 883, 227, 395, 393, 738];

    #[test]
    fn rng_draws_stay_within_their_limits() {
        let mut rng = Rng::new(0, 0, RngStream::Person);
        for _ in 0..10_000 {
            assert!(rng.below(7) < 7);
            assert!((-3..=3).contains(&rng.between(-3, 3)));
            assert!(rng.draw_count(1.5) <= 4);
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.draw_count(0.0), 0);
        assert_eq!(rng.draw_count(f32::NAN), 0);
    }

    #[test]
    fn rng_draw_count_has_the_given_mean() {
        let mut rng = Rng::new(3, 0, RngStream::Person);
        let total: u64 = (0..20_000).map(|_| rng.draw_count(0.6)).sum();
        assert!((11_000..13_000).contains(&total), "{total}");
    }
}
