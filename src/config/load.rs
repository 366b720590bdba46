//! Sensors, rate and interval: any two of them fix the third.

use std::cmp::Ordering;

use super::error::UsageError;
use super::layers::{Effective, Given};
use super::settings::ProduceConfig;
use super::value::Seconds;

const SENSORS: &str = "produce.sensors";
const RATE: &str = "produce.rate";
const INTERVAL: &str = "produce.interval";

/// Relative difference up to which rate, interval and sensors agree: people round.
const TOLERANCE: f64 = 0.01;

/// Makes the three agree. Of rate and interval the one from the higher layer wins and the other follows; given in one
/// layer, sensors from a lower layer follow, and sensors from the same layer or a higher one must agree with them.
/// At rate 0 (as fast as possible) the interval is the readings' own and agrees with everything.
pub(super) fn settle(effective: &mut Effective) -> Result<(), UsageError> {
    let ProduceConfig {
        sensors,
        rate,
        interval,
        ..
    } = ProduceConfig::read(effective)?;
    let origin = |effective: &Effective, key| effective.get(key).origin.clone();
    let Some(Seconds(interval_s)) = interval else {
        let (sensors_from, rate_from) = (origin(effective, SENSORS), origin(effective, RATE));
        let (interval_s, from) = match rate > 0.0 {
            true if sensors_from.layer() > rate_from.layer() => (f64::from(sensors) / rate, sensors_from),
            true => (f64::from(sensors) / rate, rate_from),
            false => (1.0, rate_from),
        };
        effective.set(INTERVAL, Given::new(interval_s.to_string(), from));
        return check_interval(effective, interval_s);
    };
    check_interval(effective, interval_s)?;
    let agree = (rate * interval_s - f64::from(sensors)).abs() <= TOLERANCE * f64::from(sensors);
    if rate == 0.0 || agree {
        return Ok(());
    }
    let (sensors_from, rate_from, interval_from) = (
        origin(effective, SENSORS),
        origin(effective, RATE),
        origin(effective, INTERVAL),
    );
    match rate_from.layer().cmp(&interval_from.layer()) {
        Ordering::Less => {
            let follows = f64::from(sensors) / interval_s;
            effective.set(RATE, Given::new(follows.to_string(), interval_from));
            Ok(())
        }
        Ordering::Greater => {
            let follows = f64::from(sensors) / rate;
            effective.set(INTERVAL, Given::new(follows.to_string(), rate_from));
            check_interval(effective, follows)
        }
        Ordering::Equal if sensors_from.layer() < rate_from.layer() => {
            let follows = (rate * interval_s).round().max(1.0);
            effective.set(SENSORS, Given::new(format!("{follows:.0}"), rate_from));
            Ok(())
        }
        Ordering::Equal => Err(UsageError(format!(
            "{}, {} and {} contradict each other: {sensors} sensors every {interval_s} s are {} records/s, not {rate}",
            sensors_from.subject(SENSORS),
            rate_from.subject(RATE),
            interval_from.subject(INTERVAL),
            f64::from(sensors) / interval_s,
        ))),
    }
}

/// Readings of one sensor less than a millisecond apart would share a key.
fn check_interval(effective: &Effective, interval_s: f64) -> Result<(), UsageError> {
    match (0.001..=366.0 * 86_400.0).contains(&interval_s) {
        true => Ok(()),
        false => Err(effective.wrong(
            INTERVAL,
            &format!("a sensor's interval of {interval_s} s is not in 1ms..=366d (it is sensors / rate where not set)"),
        )),
    }
}
