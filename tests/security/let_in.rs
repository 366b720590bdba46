//! Who has the right password or certificate gets in, by every way that there is.

use super::doors::Listener;
use super::site::{Door, Site, file};

/// Sends a run of the fleet, stores it and proves that all of it is there.
fn pass_through(site: &Site, seed: usize, more: &str) {
    let manifest = format!("run-{seed}.json");
    let line = format!("produce --rate 0 --count 100 --sensors 10 --seed {seed} --manifest {manifest} {more}");
    site.run(&line).is_good();
    site.run("consume --until-end").is_good();
    let verified = site.run(&format!("verify {manifest}"));
    verified.is_good();
}

#[test]
fn every_mechanism_and_a_client_certificate_carry_readings_into_a_store_with_tls() {
    let site = Site::ready("let_in");
    let mechanisms = ["scram-sha-512", "scram-sha-256", "plain"];
    for (seed, mechanism) in mechanisms.into_iter().enumerate() {
        pass_through(&site.with(&[("IOTPIPE_KAFKA_SASL_MECHANISM", mechanism)]), seed, "");
    }
    let in_the_open = site.with(&[
        ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("IOTPIPE_KAFKA_SASL_MECHANISM", "scram-sha-256"),
    ]);
    pass_through(&in_the_open.with_kafka(&Door::Sasl.address()), 3, "");
    let by_certificate = site.with(&[
        ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("IOTPIPE_KAFKA_USERNAME", ""),
        ("IOTPIPE_KAFKA_PASSWORD_FILE", ""),
    ]);
    let by_certificate = by_certificate.with_kafka(&Door::Ssl.address());
    pass_through(&by_certificate, 4, "");

    let (key, password) = (file("client-encrypted.key"), file("client.password"));
    let encrypted = by_certificate.with(&[
        ("IOTPIPE_TLS_KEY_FILE", &key),
        ("IOTPIPE_KAFKA_KEY_PASSWORD_FILE", &password),
        ("IOTPIPE_CASSANDRA_KEY_PASSWORD_FILE", &password),
    ]);
    pass_through(&encrypted, 5, "");

    let sensors = site.run("query --sensors --format jsonl");
    assert!(sensors.is_good().stdout.lines().count() >= 60);
}

#[test]
fn a_registry_with_tls_gives_and_takes_schemas() {
    let site = Site::ready("registry_tls");
    assert!(site.variable("IOTPIPE_REGISTRY_URL").starts_with("https://"));
    pass_through(&site, 100, "--codec avro");
    site.run("init-schema --check").is_good();
}

#[test]
fn a_host_name_in_the_stores_address_will_do_where_the_node_has_another_address() {
    let site = Site::ready("by_name");
    // localhost is 127.0.0.1, for which the certificate is as well: the name alone must do on 127.0.0.2.
    let (_, port) = site.place.cassandra.rsplit_once(':').expect("a port");
    let by_name = site.with_cassandra(&format!("localhost:{port}"));
    by_name.run("query --sensors").is_good();
    let elsewhere = Listener::on_same_port("127.0.0.2", &site.place.cassandra);
    site.with_cassandra(elsewhere.address())
        .run("query --sensors")
        .says(&["its certificate is for localhost, 127.0.0.1"]);
    let before = elsewhere.connections();
    // Nobody listens on port 1.
    let both = format!("{},localhost:1", elsewhere.address());
    site.with_cassandra(&both).run("query --sensors").is_good();
    assert!(elsewhere.connections() > before);
}

#[test]
fn a_laboratory_believes_everybody_and_is_told_so() {
    let site = Site::ready("laboratory").with(&[("IOTPIPE_TLS_CA_FILE", &file("other-ca.pem"))]);
    let kafka = Listener::at("127.0.0.3", &site.place.kafka);
    let cassandra = Listener::on_same_port("127.0.0.3", &site.place.cassandra);
    let registry = site.variable("IOTPIPE_REGISTRY_URL");
    let (server, path) = registry["https://".len()..].split_once('/').expect("a path");
    let relay = Listener::at("127.0.0.2", server);
    let url = format!("https://{}/{path}", relay.address());
    let site = site
        .with(&[("IOTPIPE_REGISTRY_URL", &url)])
        .with_kafka(kafka.address())
        .with_cassandra(cassandra.address());
    for line in [
        "init-schema",
        "produce --rate 0 --count 10 --seed 200 --codec avro",
        "consume --until-end",
    ] {
        let outcome = site.run(&format!("{line} --insecure-skip-verify"));
        let warnings = outcome
            .is_good()
            .stderr
            .matches("--insecure-skip-verify: no certificate")
            .count();
        assert_eq!(warnings, 1, "{line}: {}", outcome.stderr);
        assert_ne!(site.run(line).code, Some(0), "{line}");
    }
    for relay in [kafka, cassandra, relay] {
        assert!(relay.connections() > 0, "nobody went by {}", relay.address());
    }
}
