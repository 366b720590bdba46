//! The way to a cluster: bounded in time, and every failure one line that says what to do.

use std::collections::BTreeSet;
#[cfg(feature = "tls")]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
#[cfg(feature = "tls")]
use scylla::client::session::OpenSsl010Config;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency as DriverConsistency, SerialConsistency};

use super::error::Cause;
use crate::store::settings::{Consistency, ReadingsConsistency};
use crate::store::{StoreError, StoreSettings};
#[cfg(feature = "tls")]
use crate::tls;

/// Where a session goes to, for errors: `cassandra host:port,host:port`.
pub(super) fn place(hosts: &[String]) -> String {
    format!("cassandra {}", hosts.join(","))
}

pub(super) fn driver_consistency(consistency: Consistency) -> DriverConsistency {
    match consistency {
        Consistency::LocalQuorum => DriverConsistency::LocalQuorum,
        Consistency::Quorum => DriverConsistency::Quorum,
        Consistency::All => DriverConsistency::All,
    }
}

/// Of requests for readings alone; nothing where they are as all others.
pub(super) fn readings_consistency(settings: &StoreSettings) -> Option<DriverConsistency> {
    let level = match settings.readings_consistency {
        ReadingsConsistency::One => DriverConsistency::One,
        ReadingsConsistency::LocalOne => DriverConsistency::LocalOne,
        ReadingsConsistency::Majority(level) => driver_consistency(level),
    };
    (level != driver_consistency(settings.consistency)).then_some(level)
}

/// Of compare-and-set: over as many data centres as plain reads and writes.
pub(super) fn serial_consistency(consistency: Consistency) -> SerialConsistency {
    match consistency {
        Consistency::LocalQuorum => SerialConsistency::LocalSerial,
        Consistency::Quorum | Consistency::All => SerialConsistency::Serial,
    }
}

/// Connects without choosing a keyspace: one that is missing is found, and named, by whoever looks for it.
///
/// No retries and no speculation in the driver: the pipeline has one retry loop, which knows how long to go on and logs
/// it once. Compression is off and there is one connection a node: more of either was measured to gain nothing.
pub(super) async fn connect(
    settings: &StoreSettings,
    hosts: &[String],
    keyspace: &str,
    request_timeout: Duration,
) -> Result<Session, StoreError> {
    let place = place(hosts);
    let profile = ExecutionProfile::builder()
        .consistency(driver_consistency(settings.consistency))
        .serial_consistency(Some(serial_consistency(settings.consistency)))
        .request_timeout(Some(request_timeout))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(hosts)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(settings.connect_timeout)
        .hostname_resolution_timeout(Some(settings.connect_timeout))
        .pool_size(PoolSize::PerShard(std::num::NonZeroUsize::MIN))
        .compression(None)
        .write_coalescing(true)
        // Other keyspaces of the cluster are none of our business, and there may be many.
        .keyspaces_to_fetch([keyspace]);
    if let Some(data_centre) = &settings.data_centre {
        builder = builder.prefer_datacenter(data_centre.clone());
    }
    match (&settings.username, &settings.password) {
        (Some(username), Some(password)) => builder = builder.user(username, password.expose()),
        (None, None) => {}
        (Some(_), None) => {
            return Err(Cause::permanent("a user is set without a password").into_error(&place, "connect"));
        }
        (None, Some(_)) => {
            return Err(Cause::permanent("a password is set without a user").into_error(&place, "connect"));
        }
    }
    let (builder, refusal) =
        encrypted(builder, settings, hosts).map_err(|cause| cause.into_error(&place, "connect"))?;
    let session = match tokio::time::timeout(settings.connect_timeout, builder.build()).await {
        Ok(session) => session.map_err(Cause::from),
        Err(_) => {
            let waited = settings.connect_timeout.as_millis();
            Err(Cause::transient(format!("no answer within {waited} ms")))
        }
    };
    let session = session.map_err(|cause| {
        let cause = match refusal() {
            Some(why) => Cause::permanent(why),
            None => cause.at_start(settings.tls.as_ref()),
        };
        cause.into_error(&place, "connect")
    })?;
    check_data_centre(&session, settings, &place)?;
    Ok(session)
}

/// Why the certificate of a node was refused, if one was.
type WhyRefused = Box<dyn Fn() -> Option<String> + Send>;

/// Adds TLS where it is asked for.
///
/// The driver knows nodes by their addresses alone, so a certificate must be for the address, or for one of the names by
/// which the store is known to us.
#[cfg(feature = "tls")]
fn encrypted(
    builder: SessionBuilder,
    settings: &StoreSettings,
    hosts: &[String],
) -> Result<(SessionBuilder, WhyRefused), Cause> {
    let Some(tls) = &settings.tls else {
        return Ok((builder, Box::new(|| None)));
    };
    let bare = |host: &String| host.rsplit_once(':').map_or(host.clone(), |(name, _)| name.to_owned());
    let is_name = |host: &String| host.parse::<IpAddr>().is_err() && !host.starts_with('[');
    let names: Vec<String> = hosts.iter().map(bare).filter(is_name).collect();
    let (context, refusal) = tls::context(tls, &names).map_err(Cause::permanent)?;
    let context = OpenSsl010Config::from_dangerous_builder(context);
    Ok((builder.tls_context(Some(context)), Box::new(move || refusal.take())))
}

#[cfg(not(feature = "tls"))]
fn encrypted(
    builder: SessionBuilder,
    settings: &StoreSettings,
    _: &[String],
) -> Result<(SessionBuilder, WhyRefused), Cause> {
    match settings.tls {
        None => Ok((builder, Box::new(|| None))),
        Some(_) => Err(Cause::permanent("TLS needs a build with the feature tls")),
    }
}

/// Quorums of different data centres do not overlap: a row written in one may be missing in a read of the other.
fn check_data_centre(session: &Session, settings: &StoreSettings, place: &str) -> Result<(), StoreError> {
    let known = data_centres(session);
    let names = || known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let why = match &settings.data_centre {
        Some(wanted) if !known.contains(wanted) => {
            format!("the cluster has no data centre {wanted:?}, it has {}", names())
        }
        None if known.len() > 1 && settings.consistency == Consistency::LocalQuorum => format!(
            "the cluster has data centres {} and LOCAL_QUORUM means one: set the store's data centre, or QUORUM",
            names()
        ),
        _ => return Ok(()),
    };
    Err(Cause::permanent(why).into_error(place, "connect"))
}

fn data_centres(session: &Session) -> BTreeSet<String> {
    let cluster = session.get_cluster_state();
    cluster
        .get_nodes_info()
        .iter()
        .filter_map(|node| node.datacenter.clone())
        .collect()
}
