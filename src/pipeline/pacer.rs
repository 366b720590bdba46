//! When the next records may be sent. Pure: time is an argument, in a duration since the run began.
//!
//! Deadlines are counted from the beginning and not from the last record, so the rate does not drift. What was missed
//! in a stall is made up for, but not at once: in no window of 100 ms is more than 1.55 times the rate sent (or one
//! record, where the rate is so low), because a consumer's own pauses must not be hidden behind a burst of ours. So that the same
//! holds for what arrives, the records that wait for a broker's answer are bounded, too: after a stall of the broker these come at
//! once, and then in no 100 ms more than 1.95 times the rate.

use std::time::Duration;

/// How much faster than the rate a backlog is made up for.
const CATCH_UP: f64 = 1.25;

/// What may be sent at once: with [`CATCH_UP`] it makes up the 1.55 times in 100 ms, and it lets a thread that wakes up
/// late by less than this keep the rate.
const BURST_S: f64 = 0.03;

/// What may be sent and not acknowledged: with [`CATCH_UP`] it makes up the 1.95 times in 100 ms. Several times what a broker takes to
/// answer.
const UNANSWERED_S: f64 = 0.07;

/// Counts in slots of the fleet's schedule.
#[derive(Clone, Debug)]
pub struct Pacer {
    per_s: f64,
    begun: u64,
    /// Allowance for bursts; grows with time up to the burst and shrinks with what is begun.
    tokens: f64,
    tokens_at: Duration,
}

impl Pacer {
    /// `per_s` is positive.
    pub fn new(per_s: f64) -> Pacer {
        Pacer {
            per_s,
            begun: 0,
            tokens: Self::burst(per_s),
            tokens_at: Duration::ZERO,
        }
    }

    fn burst(per_s: f64) -> f64 {
        (per_s * BURST_S).max(1.0)
    }

    /// Slots that may be begun at `now`.
    pub fn allowed(&mut self, now: Duration) -> u64 {
        let since = now.saturating_sub(self.tokens_at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_s * CATCH_UP).min(Self::burst(self.per_s));
        self.tokens_at = self.tokens_at.max(now);
        self.behind(now).min(self.tokens as u64)
    }

    /// Slots that are due at `now` and not begun.
    pub fn behind(&self, now: Duration) -> u64 {
        let due = (now.as_secs_f64() * self.per_s) as u64 + 1;
        due.saturating_sub(self.begun)
    }

    /// Slots that may be begun while so many records are not acknowledged. Where there is no room, those are the burst that is to come:
    /// nothing is saved up for another.
    pub fn room(&mut self, now: Duration, unanswered: u64) -> u64 {
        let bound = (self.per_s * UNANSWERED_S).max(1.0) as u64;
        let room = bound.saturating_sub(unanswered);
        if room == 0 {
            self.tokens = self.tokens.min(0.0);
            self.tokens_at = self.tokens_at.max(now);
        }
        room
    }

    /// So many slots were begun.
    pub fn begin(&mut self, slots: u64) {
        self.begun += slots;
        self.tokens -= slots as f64;
    }

    /// How long nothing more is allowed.
    pub fn wait(&self, now: Duration) -> Duration {
        let due_s = self.begun as f64 / self.per_s - now.as_secs_f64();
        let token_s = (1.0 - self.tokens) / (self.per_s * CATCH_UP);
        Duration::try_from_secs_f64(due_s.max(token_s).max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends all that is allowed at each of the times and returns (time, slots) of every sending.
    fn drive(pacer: &mut Pacer, times: impl Iterator<Item = Duration>) -> Vec<(Duration, u64)> {
        times
            .map(|now| {
                let slots = pacer.allowed(now);
                pacer.begin(slots);
                (now, slots)
            })
            .collect()
    }

    fn most_in_100_ms(sent: &[(Duration, u64)]) -> u64 {
        let (mut most, mut sum, mut from) = (0, 0, 0);
        for &(now, slots) in sent {
            sum += slots;
            while sent[from].0 + 100 * MS <= now {
                sum -= sent[from].1;
                from += 1;
            }
            most = most.max(sum);
        }
        most
    }

    #[test]
    fn an_hour_of_late_wake_ups_does_not_drift() {
        let mut pacer = Pacer::new(3500.0);
        // A loop that wakes up after 1 to 7 ms, in a fixed order that looks random.
        let mut now = Duration::ZERO;
        let times = std::iter::from_fn(|| {
            now += MS * (1 + (now.as_millis() as u32 / 3 % 977 * 7919 / 13) % 7);
            (now <= Duration::from_secs(3600)).then_some(now)
        });
        let sent: u64 = drive(&mut pacer, times).iter().map(|(_, slots)| slots).sum();
        assert!((12_600_000 - 30..=12_600_001).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_stall_the_backlog_is_made_up_for_without_a_burst() {
        let mut pacer = Pacer::new(10_000.0);
        let times = (0..1000).chain(6000..30_000).map(|ms| MS * ms);
        let sent = drive(&mut pacer, times);
        assert_eq!(
            sent.iter().map(|(_, slots)| slots).sum::<u64>(),
            299_991,
            "caught up with the schedule"
        );
        assert!(most_in_100_ms(&sent) <= 1550, "{}", most_in_100_ms(&sent));
        // 50,000 were missed, and a quarter of the rate is to spare.
        let caught_up = sent.iter().rev().find(|(_, slots)| *slots > 11).unwrap().0;
        assert!((25.0..26.5).contains(&caught_up.as_secs_f64()), "{caught_up:?}");
    }

    #[test]
    fn what_a_stalled_broker_lets_through_at_once_is_no_burst() {
        let mut pacer = Pacer::new(10_000.0);
        let (mut sent, mut unanswered, mut arrived) = (0, std::collections::VecDeque::new(), Vec::new());
        for ms in 0..4_000 {
            let now = MS * ms;
            // It answers after 5 ms, but for two seconds not at all.
            let is_stalled = (1_000..3_000).contains(&ms);
            let mut answered = 0;
            while !is_stalled && unanswered.front().is_some_and(|(at, _)| now >= *at + 5 * MS) {
                answered += unanswered.pop_front().map_or(0, |(_, slots): (Duration, u64)| slots);
            }
            arrived.push((now, answered));
            sent -= answered;
            let room = pacer.room(now, sent);
            let slots = pacer.allowed(now).min(room);
            pacer.begin(slots);
            sent += slots;
            unanswered.push_back((now, slots));
        }
        let most = most_in_100_ms(&arrived);
        assert!((1_700..=1_950).contains(&most), "{most} in 100 ms at 10,000/s");
    }

    proptest! {
        #[test]
        fn no_100_ms_ever_get_more_than_1_55_times_the_rate(
            per_s in 0.5f64..2_000_000.0, gaps_ms in prop::collection::vec(prop_oneof![20 => 1u32..20, 1 => 100u32..3000], 1..400),
        ) {
            let mut pacer = Pacer::new(per_s);
            let mut now = Duration::ZERO;
            let times = gaps_ms.iter().map(|gap| { now += MS * *gap; now });
            let sent = drive(&mut pacer, times);
            let bound = (0.155 * per_s + 1.0) as u64;
            prop_assert!(most_in_100_ms(&sent) <= bound, "{} over {bound}", most_in_100_ms(&sent));
        }

        #[test]
        fn after_the_wait_something_is_allowed_and_never_before(per_s in 0.5f64..1_000_000.0, first in 0u64..100_000) {
            let mut pacer = Pacer::new(per_s);
            let now = Duration::from_micros(first);
            let slots = pacer.allowed(now);
            pacer.begin(slots);
            let wait = pacer.wait(now);
            prop_assert!(pacer.clone().allowed(now + wait + Duration::from_nanos(10)) > 0);
            prop_assert!(wait < Duration::from_micros(2) || pacer.clone().allowed(now + wait.mul_f64(0.99)) == 0);
        }
    }
}
