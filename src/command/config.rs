//! `iotpipe config`: the settings in effect and where each came from. Secrets are masked before they get here.

use std::io::Write;

use serde_json::json;

use super::Exit;
use crate::cli::ConfigArgs;
use crate::config::{Config, Listed};
use crate::report::{Column, Format, Out, Table};

pub fn run(config: &Config, args: &ConfigArgs) -> anyhow::Result<Exit> {
    let mut out = Out::stdout();
    match args.format {
        Format::Json => out.line(&json(&config.listing)?)?,
        _ => table(&config.listing, &mut out)?,
    }
    out.flush()?;
    Ok(Exit::Ok)
}

fn table(listing: &[Listed], out: &mut Out) -> anyhow::Result<()> {
    let mut table = Table::new(&[Column::left("setting"), Column::left("value"), Column::left("origin")]);
    for Listed { key, value, origin } in listing {
        table.row(out, vec![key.clone(), value.clone(), origin.to_string()])?;
    }
    Ok(table.finish(out)?)
}

fn json(listing: &[Listed]) -> anyhow::Result<String> {
    let settings: Vec<_> = listing
        .iter()
        .map(|it| json!({ "key": it.key, "value": it.value, "origin": it.origin.to_string() }))
        .collect();
    Ok(serde_json::to_string_pretty(&settings)?)
}
