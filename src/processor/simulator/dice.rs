//! Chance, by seed.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// All chance of one schedule comes from one of these, in one order: the same seed makes the same schedule.
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Less than `n`, which is not 0. The bias is of no account for the small numbers here.
    pub fn below(&mut self, n: usize) -> usize {
        let high = self.0.next_u64() >> 32;
        ((high * n as u64) >> 32) as usize
    }

    /// From `from` on, and less than `to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from) as usize) as i64
    }

    pub fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
