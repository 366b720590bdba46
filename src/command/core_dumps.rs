//! Memory that holds secrets is written to no disk. Only Linux has a switch for that.

/// From here on the process leaves no core when it crashes, and only root can look into it.
#[cfg(target_os = "linux")]
pub fn prevent() -> anyhow::Result<()> {
    use anyhow::Context;
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot keep the secrets out of core dumps")
}

#[cfg(not(target_os = "linux"))]
pub fn prevent() -> anyhow::Result<()> {
    Ok(())
}
