//! Where a run's manifest goes: a file, and the store where one is named. Both are opened before the run starts, so that a
//! run of an hour is not lost to a path that cannot be written.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::command::runtime;
use crate::config::Config;
use crate::proof::manifest::Manifest;
use crate::store::{AnyStore, Store};

/// As a file that a program makes, less what the umask takes away.
const PERMISSIONS: u32 = 0o666;

pub struct RunRecord {
    path: PathBuf,
    /// Beside the file, which it replaces at the end: what is there already stays until then, and after a run that failed.
    file: NamedTempFile,
    store: Option<(Runtime, AnyStore)>,
}

impl RunRecord {
    pub fn open(path: &Path, config: &Config) -> anyhow::Result<RunRecord> {
        let what = || format!("cannot write the manifest {}: choose another file", path.display());
        if path.is_dir() {
            return Err(anyhow!("it is a directory")).with_context(what);
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".iotpipe-manifest-")
            .permissions(Permissions::from_mode(PERMISSIONS))
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .with_context(what)?;
        let store = match config.names_store() {
            true => {
                let runtime = runtime()?;
                let store = runtime.block_on(AnyStore::open(&config.store()))?;
                Some((runtime, store))
            }
            false => None,
        };
        Ok(RunRecord {
            path: path.to_owned(),
            file,
            store,
        })
    }

    /// Writes the manifest. Answers the run's id, and in words where it is.
    pub fn keep(mut self, manifest: &Manifest) -> anyhow::Result<(Uuid, String)> {
        let text = manifest.to_json();
        let path = self.path.display();
        writeln!(self.file, "{text}").with_context(|| format!("cannot write the manifest {path}"))?;
        self.file
            .persist(&self.path)
            .with_context(|| format!("cannot write the manifest {path}"))?;
        let Some((runtime, store)) = self.store else {
            return Ok((manifest.run, path.to_string()));
        };
        let saved = runtime.block_on(store.save_run(manifest.run, &text));
        saved.with_context(|| format!("the run is not in the store, only in {path}: use that to verify it"))?;
        Ok((manifest.run, format!("{path}, and in the store")))
    }
}
