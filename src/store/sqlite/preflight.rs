//! Whether a SQLite store is as the pipeline needs it.

use std::path::Path;

use super::connection::{blocking, open_for_writing};
use super::schema;
use crate::model::Finding;
use crate::store::{StoreError, StoreSettings};

/// With less than this a day of a small fleet may not fit.
const SPACE_SCARCE_BYTES: u64 = 1 << 30;
/// With less than this the write-ahead log may not fit.
const SPACE_GONE_BYTES: u64 = 64 << 20;

pub(in crate::store) async fn preflight(settings: &StoreSettings, path: &Path) -> Vec<Finding> {
    let (settings, path) = (settings.clone(), path.to_owned());
    let looked = blocking(move || Ok(look(&settings, &path))).await;
    looked.unwrap_or_else(|error| vec![Finding::wrong("sqlite", error.to_string(), "try again")])
}

fn look(settings: &StoreSettings, path: &Path) -> Vec<Finding> {
    let mut findings = vec![synchronous(settings.sqlite_synchronous_full), space(path)];
    let checked = open_for_writing(settings, path).and_then(|connection| {
        schema::check(&connection, path)?;
        Ok::<_, StoreError>(Finding::ok(
            "sqlite",
            format!("{} can be written, its tables are as needed", path.display()),
        ))
    });
    let failed = |error: StoreError| {
        Finding::wrong(
            "sqlite",
            error.to_string(),
            "run `iotpipe init-schema`, or do what it says",
        )
    };
    findings.insert(0, checked.unwrap_or_else(failed));
    findings
}

fn synchronous(is_full: bool) -> Finding {
    match is_full {
        true => Finding::ok("durability", "synchronous is full"),
        false => Finding::warning(
            "durability",
            "sqlite_synchronous is normal: a power cut may lose what was acknowledged last",
            "set [store] sqlite_synchronous = \"full\"",
        ),
    }
}

/// Room for what is to come.
fn space(path: &Path) -> Finding {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match rustix::fs::statvfs(folder) {
        Ok(space) => judge_space(space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => Finding::warning(
            "space",
            format!("{}: {error}", folder.display()),
            "correct the store's path",
        ),
    }
}

fn judge_space(free_bytes: u64) -> Finding {
    let found = format!("{} MiB are free", free_bytes >> 20);
    match free_bytes {
        ..SPACE_GONE_BYTES => Finding::wrong("space", found, "make room on this file system"),
        SPACE_GONE_BYTES..SPACE_SCARCE_BYTES => Finding::warning("space", found, "make room on this file system"),
        _ => Finding::ok("space", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;

    #[test]
    fn little_space_is_a_warning_and_none_is_wrong() {
        assert_eq!(judge_space(5 << 30).verdict, Verdict::Ok);
        assert_eq!(judge_space(500 << 20).verdict, Verdict::Warning);
        assert_eq!(judge_space(1 << 20).verdict, Verdict::Wrong);
    }

    #[test]
    fn only_a_full_synchronous_survives_a_power_cut() {
        assert_eq!(synchronous(true).verdict, Verdict::Ok);
        assert_eq!(synchronous(false).verdict, Verdict::Warning);
    }
}
