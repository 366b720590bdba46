//! A measurement of a run that lost something is worth nothing: what the store holds is compared with what was sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::anyhow;

use super::Bench;
use super::place::Place;
use crate::proof::bench_report::Verified;
use crate::proof::manifest::Manifest;
use crate::proof::verify::{Difference, VerifyProgress, VerifySettings, verify};
use crate::report::Out;
use crate::store::AnyStore;

/// Differences that are told one by one.
const DIFFERENCES_MAX: usize = 5;

impl Bench {
    /// Compares a repetition's store with what it must hold; differences are told and make the exit code.
    pub(super) fn verify(
        &mut self,
        place: &Place,
        manifest: &Manifest,
        window_sizes_s: &[u32],
    ) -> anyhow::Result<Verified> {
        let store = place.config.store_that_misses_nothing();
        let store = Arc::new(self.runtime.block_on(AnyStore::open(&store))?);
        let settings = VerifySettings {
            window_sizes_s: window_sizes_s.to_vec(),
            anomaly_rules: None,
            differences_max: DIFFERENCES_MAX,
        };
        let stop = self.stop.clone();
        let stopped = async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let compared = self.runtime.block_on(async {
            let progress = Arc::new(VerifyProgress::default());
            tokio::select! {
                compared = verify(&store, manifest, &settings, &progress) => Some(compared),
                () = stopped => None,
            }
        });
        let report = compared.ok_or_else(|| anyhow!("interrupted: nothing is reported"))??;
        let verified = Verified {
            readings: report.readings.expected,
            readings_wrong: report.readings.wrong(),
            windows: report.windows.expected,
            windows_wrong: report.windows.wrong(),
        };
        self.differences += verified.readings_wrong + verified.windows_wrong;
        let mut out = Out::stdout();
        for difference in &report.differences {
            out.note(&describe(difference));
        }
        Ok(verified)
    }
}

fn describe(difference: &Difference) -> String {
    let Difference {
        sensor,
        time,
        kind,
        row,
        what,
        ..
    } = difference;
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "{} {row}: sensor {sensor}, {kind} at {time}: expected {}, found {}",
        what.as_str(),
        side(&difference.expected),
        side(&difference.found)
    )
}
