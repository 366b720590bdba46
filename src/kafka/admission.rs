//! Whether the cluster lets us in: asked once, before anything else, of clusters that are to be reached by TLS or a login.
//!
//! librdkafka tries again whatever happens, and its requests say no more than that no broker answered in time. A certificate
//! or a password that is wrong stays wrong, so a start ends with the reason, after one or two tries. Not so in the middle
//! of a run: a broker that restarts may refuse logins for a moment, and credentials are exchanged while programs run. Then
//! the client goes on trying, at most every two seconds, and what it says is logged.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::log::forward_log;
use super::{KafkaError, KafkaSettings};

/// Longest wait for a cluster that neither lets us in nor refuses to.
const REACH_TIMEOUT: Duration = Duration::from_secs(6);
/// How long one question waits for an answer: first and longest.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// After a broker has refused, how long another of those that are named has to do better.
const SECOND_CHANCE: Duration = Duration::from_millis(300);

const ROLE: &[(&str, &str)] = &[
    // With the second chance: a broker that refuses is asked once.
    ("reconnect.backoff.ms", "500"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// What a broker's word means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    /// The user, the password or the mechanism.
    Login,
    /// The broker's certificate, or TLS itself.
    Tls,
    /// Our certificate.
    Identity,
    /// Anything else: it may pass.
    Other,
}

#[derive(Default)]
struct Doorkeeper {
    /// The first trouble that will not pass.
    refusal: Mutex<Option<(Trouble, String)>>,
    /// The last other one.
    trouble: Mutex<Option<String>>,
}

impl ClientContext for Doorkeeper {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        match classify(error.rdkafka_error_code(), reason) {
            // That all brokers are down says less than why.
            Trouble::Other if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Trouble::Other => *lock(&self.trouble) = Some(reason.to_owned()),
            trouble => {
                lock(&self.refusal).get_or_insert_with(|| (trouble, reason.to_owned()));
            }
        }
    }
}

impl ProducerContext for Doorkeeper {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn classify(code: Option<RDKafkaErrorCode>, reason: &str) -> Trouble {
    // In TLS 1.3 a client has finished its handshake by the time the server looks at its certificate.
    let is_about_us = [
        "alert certificate",
        "alert bad certificate",
        "alert unknown ca",
        "alert unsupported certificate",
    ]
    .iter()
    .any(|alert| reason.contains(alert));
    match code {
        Some(RDKafkaErrorCode::Authentication) => Trouble::Login,
        _ if is_about_us => Trouble::Identity,
        Some(RDKafkaErrorCode::SSL) => Trouble::Tls,
        _ => Trouble::Other,
    }
}

/// Fails with the reason where the cluster refuses us, and where it cannot be reached. Asks nothing of a cluster that
/// everybody may talk to.
pub fn check(kafka: &KafkaSettings) -> Result<(), KafkaError> {
    if kafka.is_open_to_all() {
        return Ok(());
    }
    let client: BaseProducer<Doorkeeper> = kafka
        .client_config(ROLE)
        .create_with_context(Doorkeeper::default())
        .map_err(|error| KafkaError::client("client", &error))?;
    let named = u32::try_from(kafka.brokers.split(',').count()).unwrap_or(u32::MAX);
    let deadline = Instant::now() + REACH_TIMEOUT;
    let mut patience = PATIENCE.0;
    let mut refused_until = None;
    loop {
        let answered = client.client().fetch_metadata(None, patience).is_ok();
        // What happened meanwhile waits to be asked for.
        client.poll(Duration::from_millis(5));
        if answered {
            return Ok(());
        }
        let now = Instant::now();
        let is_refused = lock(&client.context().refusal).is_some();
        let until = is_refused.then(|| *refused_until.get_or_insert(now + SECOND_CHANCE * (named - 1).min(10)));
        if until.is_some_and(|until| now >= until) || now >= deadline {
            return Err(explain(kafka, client.context()));
        }
        patience = (patience * 2).min(PATIENCE.1).min(deadline - now);
        if is_refused {
            patience = patience.min(SECOND_CHANCE);
        }
    }
}

fn explain(kafka: &KafkaSettings, said: &Doorkeeper) -> KafkaError {
    let brokers = &kafka.brokers;
    let Some((trouble, reason)) = lock(&said.refusal).take() else {
        let why = lock(&said.trouble)
            .take()
            .map_or_else(String::new, |reason| format!(" ({})", plain(&reason)));
        return KafkaError(format!(
            "no broker answers at {brokers}{why}: check that Kafka runs there, and that the listener is one of \
             kafka.security_protocol = {:?}",
            kafka.property("security.protocol").unwrap_or("plaintext")
        ));
    };
    let (address, why) = (address(&reason).unwrap_or(brokers), plain(&reason));
    KafkaError(match trouble {
        Trouble::Login => format!(
            "Kafka at {address} refuses the login of user {}: {why}: check kafka.username, IOTPIPE_KAFKA_PASSWORD and \
             kafka.sasl_mechanism",
            kafka.property("sasl.username").unwrap_or("(none)")
        ),
        Trouble::Identity => format!(
            "Kafka at {address} {} ({}): set kafka.certificate_file and kafka.key_file to ones that it trusts",
            match kafka.property("ssl.certificate.location") {
                Some(_) => "refuses our certificate",
                None => "asks for a certificate of ours",
            },
            alert(why)
        ),
        Trouble::Tls | Trouble::Other => match certificate_trouble(kafka, address) {
            Some(why) => format!("Kafka at {address} is not trusted: {why}"),
            None => format!(
                "Kafka at {address} cannot be reached by TLS: {why}: check kafka.security_protocol and kafka.ca_file"
            ),
        },
    })
}

/// librdkafka says that a certificate could not be verified, not why.
#[cfg(feature = "tls")]
fn certificate_trouble(kafka: &KafkaSettings, address: &str) -> Option<String> {
    crate::tls::why_refused(&kafka.tls(), address, Duration::from_secs(2))
}

#[cfg(not(feature = "tls"))]
fn certificate_trouble(_: &KafkaSettings, _: &str) -> Option<String> {
    None
}

/// The `host:port` in `sasl_ssl://host:port/bootstrap: …`.
fn address(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("://")?;
    rest.split(['/', ' ']).next().filter(|address| address.contains(':'))
}

/// The alert in a line of OpenSSL's: `…:SSL routines::ssl/tls alert bad certificate:SSL alert number 42`.
fn alert(why: &str) -> &str {
    let begin = why.find(" alert ").map_or(0, |at| at + 1);
    why[begin..].split(':').next().unwrap_or(why)
}

/// A reason of librdkafka's without where and after how long.
fn plain(reason: &str) -> &str {
    let rest = match reason.split_once("://") {
        Some((_, rest)) => rest.split_once(": ").map_or(reason, |(_, rest)| rest),
        None => reason,
    };
    rest.split(" (after ").next().unwrap_or(rest)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "sasl_ssl://127.0.0.1:9093/bootstrap: SASL authentication error: Authentication failed \
                           (after 21ms in state AUTH_REQ, 1 identical error(s) suppressed)";

    #[test]
    fn a_reason_is_told_without_where_and_when() {
        assert_eq!(plain(REFUSED), "SASL authentication error: Authentication failed");
        assert_eq!(address(REFUSED), Some("127.0.0.1:9093"));
        assert_eq!(
            (plain("nothing of that"), address("nothing of that")),
            ("nothing of that", None)
        );
    }

    #[test]
    fn an_alert_is_told_without_where_in_openssl() {
        let line = "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42";
        assert_eq!(alert(line), "alert bad certificate");
        assert_eq!(alert("nothing of that"), "nothing of that");
    }

    #[test]
    fn what_will_not_pass_is_told_from_what_may() {
        assert_eq!(
            classify(Some(RDKafkaErrorCode::Authentication), REFUSED),
            Trouble::Login
        );
        assert_eq!(
            classify(Some(RDKafkaErrorCode::SSL), "certificate verify failed"),
            Trouble::Tls
        );
        let alert = "ssl/record/rec_layer_s3.c:918:SSL alert number 116: tlsv13 alert certificate required";
        assert_eq!(
            classify(Some(RDKafkaErrorCode::BrokerTransportFailure), alert),
            Trouble::Identity
        );
        let refused = "Connect to ipv4#127.0.0.1:9093 failed: Connection refused";
        assert_eq!(
            classify(Some(RDKafkaErrorCode::BrokerTransportFailure), refused),
            Trouble::Other
        );
    }
}
