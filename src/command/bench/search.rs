//! The search of the highest rate that holds: up by factors, then by halves. Pure.

/// Factor between the first tries.
const STEP: f64 = 2.0;

/// Where a search stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Search {
    next: f64,
    /// The highest that held.
    good: Option<f64>,
    /// The lowest that did not.
    bad: Option<f64>,
    /// No more than this is tried, and no less than 1.
    limit: f64,
    /// Ends when the two are so close, as a share of the lower one.
    precision: f64,
}

impl Search {
    pub fn new(start: f64, limit: f64, precision: f64) -> Search {
        Search {
            next: start.min(limit),
            good: None,
            bad: None,
            limit,
            precision,
        }
    }

    /// What to try next; `None` at the end.
    pub fn next(&self) -> Option<f64> {
        let is_open = match (self.good, self.bad) {
            (Some(good), Some(bad)) => bad > good * (1.0 + self.precision),
            (Some(good), None) => good < self.limit,
            (None, Some(bad)) => bad > 1.0,
            (None, None) => true,
        };
        is_open.then_some(self.next)
    }

    /// What became of it.
    pub fn take(&mut self, held: bool) {
        match held {
            true => self.good = Some(self.next),
            false => self.bad = Some(self.next),
        }
        self.next = match (self.good, self.bad) {
            // The middle of a range that was found by factors.
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => (good * STEP).min(self.limit),
            (None, Some(bad)) => (bad / STEP).max(1.0),
            (None, None) => self.next,
        };
    }

    /// The highest that held.
    pub fn found(&self) -> Option<f64> {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where all up to `capacity` holds, and in how many tries.
    fn found(start: f64, limit: f64, capacity: f64) -> (Option<f64>, u32) {
        let mut search = Search::new(start, limit, 0.05);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            assert!(tries < 100 && (1.0..=limit).contains(&rate), "{rate}");
            search.take(rate <= capacity);
        }
        (search.found(), tries)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for start in [1000.0, 123_456.0, 5e6] {
            let (rate, tries) = found(start, 1e7, 123_456.0);
            let rate = rate.expect("one holds");
            assert!((123_456.0 / 1.05..=123_456.0).contains(&rate), "{rate}");
            assert!(tries < 20, "{tries}");
        }
    }

    #[test]
    fn a_limit_ends_it_and_so_does_a_store_that_takes_nothing() {
        assert_eq!(found(1000.0, 3000.0, 1e9).0, Some(3000.0));
        assert_eq!(found(5000.0, 3000.0, 1e9), (Some(3000.0), 1));
        assert_eq!(found(1000.0, 1e6, 0.0).0, None);
    }
}
