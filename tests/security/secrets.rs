//! No secret is in what the program says, whatever it is asked to say.

use super::site::{Site, file};

const CANARY: &str = "canary-7c41f-password";

/// What must not be found: the secret, and it in base64 beside the users that it is sent with.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine;
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let mut forms = vec![secret.to_owned(), encode(secret.to_owned())];
    forms.extend(["iot", "cassandra"].map(|user| encode(format!("{user}:{secret}"))));
    forms
}

fn is_not_in(secret: &str, what: &str, text: &str) {
    for form in forms(secret) {
        assert!(!text.contains(&form), "{what} shows a secret ({form}): {text}");
    }
}

#[test]
fn no_password_is_in_any_log_or_error_however_much_is_logged() {
    let site = Site::ready("canary").with(&[("LOG_LEVEL", "trace"), ("IOTPIPE_LOG_FILE", "all.log")]);
    let kafka = site.with_password("IOTPIPE_KAFKA_PASSWORD", CANARY);
    let store = site.with_password("IOTPIPE_CASSANDRA_PASSWORD", CANARY);
    let key = site.with(&[
        ("IOTPIPE_TLS_KEY_FILE", &file("client-encrypted.key")),
        ("IOTPIPE_KAFKA_KEY_PASSWORD", CANARY),
        ("IOTPIPE_CASSANDRA_KEY_PASSWORD", CANARY),
    ]);
    let registry = site.with(&[
        ("IOTPIPE_REGISTRY_USERNAME", "iot"),
        ("IOTPIPE_REGISTRY_PASSWORD", CANARY),
        ("IOTPIPE_REGISTRY_URL", "https://127.0.0.1:1"),
    ]);
    let lines = [
        "produce --rate 0 --count 1 --codec avro",
        "consume --duration 2s",
        "init-schema",
        "query --sensors",
    ];
    let mut failures = 0;
    for site in [&kafka, &store, &key, &registry] {
        for line in lines {
            let outcome = site.run(line);
            failures += usize::from(outcome.code != Some(0));
            is_not_in(CANARY, line, &(outcome.stdout + &outcome.stderr));
        }
        let log = std::fs::read_to_string(site.directory().join("all.log")).expect("a log");
        assert!(log.contains("DEBUG"), "little was logged: {log}");
        is_not_in(CANARY, "the log file", &log);
    }
    assert!(failures >= 8, "{failures}: the wrong passwords were not used");
}

#[test]
fn the_right_passwords_are_in_no_log_either() {
    let site = Site::ready("right_canary").with(&[("LOG_LEVEL", "trace")]);
    let secret = std::fs::read_to_string(file("kafka.password")).expect("a password");
    for line in [
        "produce --rate 0 --count 10",
        "consume --until-end",
        "dlq list",
        "config",
        "config --format json",
    ] {
        let outcome = site.run(line);
        is_not_in(secret.trim(), line, &outcome.is_good().stderr);
        is_not_in(secret.trim(), line, &outcome.stdout);
    }
}

#[test]
fn config_masks_every_secret() {
    let names = ["KAFKA", "KAFKA_KEY", "CASSANDRA", "CASSANDRA_KEY", "REGISTRY"];
    let mut site = Site::new("config_canary").with(&[("LOG_LEVEL", "trace")]);
    for name in names {
        site = site.with_password(&format!("IOTPIPE_{name}_PASSWORD"), CANARY);
    }
    for line in ["config", "config --format json"] {
        let outcome = site.run(line);
        assert_eq!(
            outcome.is_good().stdout.matches("***").count(),
            names.len(),
            "{}",
            outcome.stdout
        );
        is_not_in(CANARY, line, &(outcome.stdout.clone() + &outcome.stderr));
    }
}
