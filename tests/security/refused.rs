//! Who has not the right ones is refused: one line that says what, on what, why and what to do; exit code 1; in time; and
//! without knocking again and again.

use std::os::unix::fs::PermissionsExt;

use super::doors::Listener;
use super::site::{Door, Site, file};

/// Connections that one start may cost: a client or two, a second look at a certificate, one more try of each.
const KNOCKS_MAX: usize = 4;

const PRODUCE: &str = "produce --rate 0 --count 1";
const ASK_STORE: &str = "query --sensors";
const ASK_REGISTRY: &str = "init-schema --check";

fn few(listener: &Listener, line: &str) {
    let knocks = listener.connections();
    assert!((1..=KNOCKS_MAX).contains(&knocks), "{line}: {knocks} connections");
}

#[test]
fn a_wrong_password_of_kafka_ends_every_command_at_once() {
    let site = Site::ready("kafka_password").with_password("IOTPIPE_KAFKA_PASSWORD", "wrong");
    for line in [PRODUCE, "consume", "consume --until-end", "init-schema", "dlq list"] {
        let relay = Listener::to(&site.place.kafka);
        let outcome = site.with_kafka(relay.address()).run(line);
        outcome.says(&[
            &format!("Kafka at {} refuses the login of user iot", relay.address()),
            "check kafka.username, IOTPIPE_KAFKA_PASSWORD",
        ]);
        few(&relay, line);
    }
    for mechanism in ["scram-sha-256", "plain"] {
        let relay = Listener::to(&site.place.kafka);
        let site = site.with(&[("IOTPIPE_KAFKA_SASL_MECHANISM", mechanism)]);
        site.with_kafka(relay.address())
            .run(PRODUCE)
            .says(&["refuses the login of user iot"]);
        few(&relay, mechanism);
    }
    let nobody = site.with(&[("IOTPIPE_KAFKA_USERNAME", "nobody")]);
    nobody.run(PRODUCE).says(&["refuses the login of user nobody"]);
}

#[test]
fn a_broker_that_does_not_prove_who_it_is_is_refused() {
    let site = Site::ready("kafka_certificate");
    let relay = Listener::to(&site.place.kafka);
    let strange = site.with(&[("IOTPIPE_KAFKA_CA_FILE", &file("other-ca.pem"))]);
    strange.with_kafka(relay.address()).run(PRODUCE).says(&[
        &format!("Kafka at {} is not trusted", relay.address()),
        "comes from iotpipe test ca, which is not trusted here: set ca_file",
    ]);
    few(&relay, "another authority");

    let relay = Listener::at("127.0.0.2", &site.place.kafka);
    let elsewhere = site.with_kafka(relay.address());
    elsewhere
        .run(PRODUCE)
        .says(&["its certificate is for localhost, 127.0.0.1, not for the host that was asked"]);
    few(&relay, "another host");

    for (certificate, why) in [
        ("expired", "the certificate of expired expired on "),
        ("elsewhere", "its certificate is for elsewhere.example, not for"),
        (
            "stranger",
            "its certificate comes from iotpipe test other-ca, which is not trusted",
        ),
    ] {
        let impostor = Listener::showing(certificate);
        for line in [PRODUCE, "consume"] {
            site.with_kafka(impostor.address())
                .run(line)
                .says(&["is not trusted: ", why]);
        }
        assert!(
            impostor.connections() <= 2 * KNOCKS_MAX,
            "{certificate}: {}",
            impostor.connections()
        );
    }
}

#[test]
fn a_client_that_kafka_does_not_know_is_refused() {
    let site = Site::new("kafka_client").with(&[
        ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("IOTPIPE_KAFKA_USERNAME", ""),
        ("IOTPIPE_KAFKA_PASSWORD_FILE", ""),
    ]);
    let site = site.with_kafka(&Door::Ssl.address());
    let (stranger, key) = (file("stranger.crt"), file("stranger.key"));
    for (certificate, key, said) in [
        ("none", "none", "asks for a certificate of ours"),
        (&stranger, &key, "refuses our certificate"),
    ] {
        let relay = Listener::to(&site.place.kafka);
        let site = site.with(&[
            ("IOTPIPE_KAFKA_CERTIFICATE_FILE", certificate),
            ("IOTPIPE_KAFKA_KEY_FILE", key),
        ]);
        site.with_kafka(relay.address()).run(PRODUCE).says(&[
            said,
            "alert",
            "set kafka.certificate_file and kafka.key_file",
        ]);
        few(&relay, certificate);
    }
}

#[test]
fn a_listener_of_another_kind_is_named_as_such() {
    let site = Site::new("kafka_listener");
    let plain = site.with_kafka(&Door::Plaintext.address());
    plain.run(PRODUCE).says(&["kafka.security_protocol"]);
    let without_tls = site.with(&[("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")]);
    without_tls.run(PRODUCE).says(&["kafka.security_protocol"]);
}

#[test]
fn a_wrong_password_of_cassandra_ends_every_command_at_once() {
    let site = Site::new("store_password").with_password("IOTPIPE_CASSANDRA_PASSWORD", "wrong");
    for line in [ASK_STORE, "consume"] {
        let relay = Listener::to(&site.place.cassandra);
        site.with_cassandra(relay.address()).run(line).says(&[
            &format!("cassandra {}: cannot connect: ", relay.address()),
            "check the store's user and password",
        ]);
        few(&relay, line);
    }
    let nobody = site.with(&[("IOTPIPE_STORE_USERNAME", ""), ("IOTPIPE_CASSANDRA_PASSWORD", "")]);
    nobody.run(ASK_STORE).says(&["asks for a user and a password"]);
}

#[test]
fn a_node_that_does_not_prove_who_it_is_is_refused() {
    let site = Site::new("store_certificate");
    let relay = Listener::to(&site.place.cassandra);
    let strange = site.with(&[("IOTPIPE_STORE_CA_FILE", &file("other-ca.pem"))]);
    strange.with_cassandra(relay.address()).run(ASK_STORE).says(&[
        &format!("cassandra {}: cannot connect: ", relay.address()),
        "comes from iotpipe test ca, which is not trusted here: set ca_file",
    ]);
    few(&relay, "another authority");

    let relay = Listener::at("127.0.0.2", &site.place.cassandra);
    let elsewhere = site.with_cassandra(relay.address());
    elsewhere
        .run(ASK_STORE)
        .says(&["its certificate is for localhost, 127.0.0.1, not for the host that was asked"]);
    few(&relay, "another host");

    for (certificate, why) in [
        ("expired", "the certificate of expired expired on "),
        ("elsewhere", "its certificate is for elsewhere.example, not for"),
    ] {
        let impostor = Listener::showing(certificate);
        for line in [ASK_STORE, "consume"] {
            site.with_cassandra(impostor.address()).run(line).says(&[why]);
        }
        assert!(
            impostor.connections() <= 2 * KNOCKS_MAX,
            "{certificate}: {}",
            impostor.connections()
        );
    }
}

#[test]
fn a_client_that_cassandra_does_not_know_is_refused() {
    let site = Site::new("store_client");
    let (stranger, key) = (file("stranger.crt"), file("stranger.key"));
    for (certificate, key) in [("none", "none"), (stranger.as_str(), key.as_str())] {
        let relay = Listener::to(&site.place.cassandra);
        let site = site.with(&[
            ("IOTPIPE_STORE_CERTIFICATE_FILE", certificate),
            ("IOTPIPE_STORE_KEY_FILE", key),
        ]);
        site.with_cassandra(relay.address())
            .run(ASK_STORE)
            .says(&["cannot connect: ", "store.certificate_file"]);
        few(&relay, certificate);
    }
    let without_tls = site.with(&[("IOTPIPE_STORE_TLS", "false")]);
    without_tls.run(ASK_STORE).says(&["cannot connect: ", "store.tls"]);
}

#[test]
fn a_registry_that_does_not_prove_who_it_is_is_refused() {
    let site = Site::new("registry_certificate");
    let url = site.variable("IOTPIPE_REGISTRY_URL").to_owned();
    let (server, path) = url["https://".len()..].split_once('/').expect("a path");
    let with = |listener: &Listener| {
        let url = format!("https://{}/{path}", listener.address());
        site.with(&[("IOTPIPE_REGISTRY_URL", &url)])
    };
    let relay = Listener::to(server);
    with(&relay)
        .with(&[("IOTPIPE_REGISTRY_CA_FILE", &file("other-ca.pem"))])
        .run(ASK_REGISTRY)
        .says(&[
            "the registry at https://",
            "is not trusted: ",
            "comes from iotpipe test ca",
        ]);
    few(&relay, "another authority");
    let relay = Listener::at("127.0.0.2", server);
    with(&relay)
        .run(ASK_REGISTRY)
        .says(&["is not trusted: its certificate is for localhost, 127.0.0.1, not for"]);
    few(&relay, "another host");
    let impostor = Listener::showing("expired");
    with(&impostor)
        .run(ASK_REGISTRY)
        .says(&["is not trusted: the certificate of expired expired on "]);
    few(&impostor, "expired");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let site = Site::new("no_certificates");
    let text = site.directory().join("text.pem");
    std::fs::write(&text, "no certificate\n").expect("writable");
    std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let text = text.display().to_string();
    let (server_key, encrypted) = (file("server.key"), file("client-encrypted.key"));
    for (changes, why) in [
        (
            &[("IOTPIPE_STORE_CA_FILE", text.as_str())][..],
            "no PEM file of certificates of authorities",
        ),
        (&[("IOTPIPE_STORE_KEY_FILE", &text)], "no PEM file of a private key"),
        (
            &[("IOTPIPE_STORE_CERTIFICATE_FILE", &text)],
            "no PEM file of a certificate",
        ),
        (
            &[("IOTPIPE_STORE_KEY_FILE", &server_key)],
            "is not the key of the certificate in ",
        ),
        (
            &[("IOTPIPE_STORE_KEY_FILE", &encrypted)],
            "the key is encrypted and no password for it is set",
        ),
        (
            &[
                ("IOTPIPE_STORE_KEY_FILE", &encrypted),
                ("IOTPIPE_CASSANDRA_KEY_PASSWORD", "wrong"),
            ],
            "the key's password is wrong",
        ),
    ] {
        site.with(changes).run(ASK_STORE).says(&["cannot connect: ", why]);
    }
    let no_ca = site.with(&[("IOTPIPE_KAFKA_CA_FILE", &text)]).run(PRODUCE);
    no_ca.says(&["ssl.ca.location"]);
}
