//! Meter: how fast each recipient may be fed. Answers *go* or *wait*.
//!
//! A rate holds for a recipient as a whole; a process has the share of it that
//! its partitions are of all. The meter paces a lane and loses nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

pub use crate::config::settings::Rate;

/// The rates of a lane's recipients.
#[derive(Debug)]
pub struct Meter {
    rates: Vec<Option<Rate>>,
    limiters: Vec<Option<RecipientLimiter>>,
    clock: DefaultClock,
}

#[derive(Debug)]
struct RecipientLimiter {
    limiter: DefaultDirectRateLimiter,
    burst: u32,
}

impl Meter {
    /// Takes the rates in the order of the lane's recipients.
    #[must_use]
    pub fn new(rates: Vec<Option<Rate>>) -> Self {
        let gates = rates.iter().map(|_| None).collect();
        let mut meter = Meter { rates, limiters: gates, clock: DefaultClock::default() };
        meter.set_partition_share(1, 1);
        meter
    }

    /// Whether any recipient has a rate.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        self.rates.iter().any(Option::is_some)
    }

    /// Takes the share of the rates that `owned` of `all` partitions are.
    pub fn set_partition_share(&mut self, owned: usize, all: usize) {
        let share = owned as f64 / all.max(1) as f64;
        for (gate, rate) in self.limiters.iter_mut().zip(&self.rates) {
            *gate = rate.and_then(|rate| RecipientLimiter::new(rate, share));
        }
    }

    /// How many outputs of a recipient one batch may have; `None` is no bound.
    #[must_use]
    pub fn batch_outputs_max(&self, recipient: usize) -> Option<u64> {
        self.limiters.get(recipient)?.as_ref().map(|gate| u64::from(gate.burst))
    }

    /// Asks whether `outputs` of a recipient may go now.
    ///
    /// # Errors
    ///
    /// How long to wait before asking again.
    pub fn check_rate(&self, recipient: usize, outputs: u64) -> Result<(), Duration> {
        let Some(Some(gate)) = self.limiters.get(recipient) else {
            return Ok(());
        };
        let outputs = u32::try_from(outputs).unwrap_or(u32::MAX).min(gate.burst);
        let Some(outputs) = NonZeroU32::new(outputs) else {
            return Ok(());
        };
        match gate.limiter.check_n(outputs) {
            Ok(Err(not_yet)) => Err(not_yet.wait_time_from(self.clock.now())),
            // More than the burst cannot be asked: it was capped above.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

impl RecipientLimiter {
    fn new(rate: Rate, share: f64) -> Option<RecipientLimiter> {
        let per_s = (rate.records_per_s * share).max(1e-6);
        let burst = (f64::from(rate.burst) * share).max(1.0) as u32;
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / per_s))?
            .allow_burst(NonZeroU32::new(burst)?);
        Some(RecipientLimiter { limiter: RateLimiter::direct(quota), burst })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_passes_a_burst_then_asks_to_wait() {
        let rate = Rate { records_per_s: 10.0, burst: 5 };
        let meter = Meter::new(vec![Some(rate), None]);
        assert_eq!(meter.batch_outputs_max(0), Some(5));
        assert_eq!(meter.batch_outputs_max(1), None);
        assert_eq!(meter.check_rate(0, 5), Ok(()));
        let wait = meter.check_rate(0, 5).unwrap_err();
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert_eq!(meter.check_rate(1, 1_000_000), Ok(()));
        assert_eq!(meter.check_rate(0, 0), Ok(()));
    }

    #[test]
    fn meter_splits_a_rate_by_owned_partitions() {
        let rate = Rate { records_per_s: 100.0, burst: 100 };
        let mut meter = Meter::new(vec![Some(rate)]);
        meter.set_partition_share(1, 4);
        assert_eq!(meter.batch_outputs_max(0), Some(25));
        assert_eq!(meter.check_rate(0, 25), Ok(()));
        let wait = meter.check_rate(0, 25).unwrap_err();
        assert!(wait > Duration::from_millis(900), "{wait:?}");
    }
}
