//! What is refused, what is warned about, and what the clients are told.

use std::fs;

use super::*;
use crate::config::tests::{CANARY, error_of, resolve};

/// A file with that mode, and its path.
fn file(directory: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

const LOGIN: [(&str, &str); 3] = [
    ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
    ("IOTPIPE_KAFKA_USERNAME", "iot"),
    ("IOTPIPE_KAFKA_PASSWORD", CANARY),
];

#[test]
fn nothing_said_is_in_the_open() {
    let config = Config::default();
    assert!(config.kafka().properties.is_empty());
    assert_eq!(config.store().tls, None);
}

#[test]
fn a_login_by_plain_works_in_every_build() {
    let plain = [("IOTPIPE_KAFKA_SASL_MECHANISM", "PLAIN")];
    let config = resolve("", &[&LOGIN[..], &plain].concat(), &[]).unwrap();
    let properties = config.kafka().properties;
    let get = |name: &str| properties.get(name).map(String::as_str);
    assert_eq!(get("security.protocol"), Some("sasl_plaintext"));
    assert_eq!(get("sasl.mechanism"), Some("PLAIN"));
    assert_eq!(
        (get("sasl.username"), get("sasl.password")),
        (Some("iot"), Some(CANARY))
    );
    assert_eq!(get("ssl.ca.location"), None);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[cfg(feature = "tls")]
#[test]
fn each_mechanism_is_told_to_the_client_as_it_was_named() {
    for (said, told) in [
        ("scram-sha-512", "SCRAM-SHA-512"),
        ("scram-sha-256", "SCRAM-SHA-256"),
        ("plain", "PLAIN"),
    ] {
        let mechanism = [("IOTPIPE_KAFKA_SASL_MECHANISM", said)];
        let properties = resolve("", &[&LOGIN[..], &mechanism].concat(), &[])
            .unwrap()
            .kafka()
            .properties;
        assert_eq!(properties["sasl.mechanism"], told);
    }
}

#[test]
fn a_login_without_a_user_or_a_password_is_refused() {
    let no_password = error_of("", &LOGIN[..2], &[]);
    assert!(
        no_password.starts_with("IOTPIPE_KAFKA_SECURITY_PROTOCOL: ") && no_password.contains("IOTPIPE_KAFKA_PASSWORD"),
        "{no_password}"
    );
    let no_user = error_of("[kafka]\nsecurity_protocol = \"sasl_plaintext\"\n", &LOGIN[2..], &[]);
    assert_eq!(
        no_user,
        "iotpipe.toml:2: kafka.security_protocol: sasl_plaintext is a login, and kafka.username is not set"
    );
}

#[cfg(feature = "tls")]
#[test]
fn one_authority_serves_all_and_each_may_have_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let [all, own] = ["all.pem", "own.pem"].map(|name| file(&directory, name, "", 0o644));
    let text = format!(
        "[kafka]\nsecurity_protocol = \"ssl\"\n[store]\ntls = true\n[tls]\nca_file = {all:?}\n[registry]\n\
         url = \"https://r\"\nca_file = {own:?}\n"
    );
    let config = resolve(&text, &[], &[]).unwrap();
    assert_eq!(config.kafka().properties["ssl.ca.location"], all);
    assert_eq!(config.store().tls.unwrap().ca_file, Some(all.into()));
    assert_eq!(config.registry().unwrap().tls.ca_file, Some(own.into()));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[cfg(feature = "tls")]
#[test]
fn properties_of_librdkafka_win_over_settings() {
    let text = "[kafka]\nsecurity_protocol = \"plaintext\"\n[kafka.properties]\nsecurity.protocol = \"SSL\"\n\
                ssl.ca.location = \"mine.pem\"\n";
    let properties = resolve(text, &[], &[]).unwrap().kafka().properties;
    assert_eq!(properties["security.protocol"], "SSL");
    assert_eq!(properties["ssl.ca.location"], "mine.pem");
}

#[cfg(feature = "tls")]
#[test]
fn a_laboratory_is_warned_at_each_start() {
    let config = resolve("", &[], &[("tls.insecure_skip_verify", "true")]).unwrap();
    assert!(
        matches!(&config.warnings[..], [warning] if warning.starts_with("--insecure-skip-verify: no certificate")),
        "{:?}",
        config.warnings
    );
    let secure = [
        ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("IOTPIPE_STORE_TLS", "true"),
    ];
    let config = resolve("", &secure, &[("tls.insecure_skip_verify", "true")]).unwrap();
    assert_eq!(
        config.kafka().properties["enable.ssl.certificate.verification"],
        "false"
    );
    assert!(config.store().tls.unwrap().insecure_skip_verify);
}

#[test]
fn a_file_that_is_missing_or_alone_is_named() {
    let missing = error_of("", &[("IOTPIPE_TLS_CA_FILE", "gone.pem")], &[]);
    assert!(
        missing.starts_with("IOTPIPE_TLS_CA_FILE: cannot read gone.pem: "),
        "{missing}"
    );
    let directory = tempfile::tempdir().unwrap();
    let key = file(&directory, "a.key", "", 0o600);
    let alone = error_of("", &[("IOTPIPE_STORE_KEY_FILE", &key)], &[]);
    assert_eq!(
        alone,
        "IOTPIPE_STORE_KEY_FILE: belongs together with store.certificate_file, which is not set"
    );
}

#[test]
fn secrets_that_others_can_read_are_warned_about_once() {
    let directory = tempfile::tempdir().unwrap();
    let warnings = |mode: u32| {
        let password = file(&directory, "password", CANARY, mode);
        let key = file(&directory, "a.key", CANARY, mode);
        let certificate = file(&directory, "a.crt", "", 0o644);
        let environment = [
            ("IOTPIPE_CASSANDRA_PASSWORD_FILE", password.as_str()),
            ("IOTPIPE_TLS_KEY_FILE", &key),
            ("IOTPIPE_TLS_CERTIFICATE_FILE", &certificate),
        ];
        resolve("", &environment, &[]).unwrap().warnings
    };
    assert!(warnings(0o600).is_empty() && warnings(0o400).is_empty());
    for (mode, who) in [(0o640, "its group"), (0o604, "everybody"), (0o644, "everybody")] {
        let warnings = warnings(mode);
        let [password, key] = &warnings[..] else {
            panic!("{mode:o}: {warnings:?}")
        };
        assert!(password.starts_with("IOTPIPE_CASSANDRA_PASSWORD_FILE: ") && key.starts_with("IOTPIPE_TLS_KEY_FILE: "));
        assert!(
            password.contains(&format!("can be read by {who}: chmod 600 ")),
            "{password}"
        );
        assert!(!password.contains(CANARY) && !key.contains(CANARY));
    }
}

#[test]
fn what_protects_nothing_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let ca = file(&directory, "ca.pem", "", 0o644);
    let environment = [
        ("IOTPIPE_KAFKA_USERNAME", "iot"),
        ("IOTPIPE_STORE_CA_FILE", &ca),
        ("IOTPIPE_KAFKA_CA_FILE", &ca),
    ];
    let warnings = resolve("", &environment, &[]).unwrap().warnings;
    let expected = [
        "IOTPIPE_KAFKA_USERNAME: has no effect: kafka.security_protocol is plaintext",
        "IOTPIPE_KAFKA_CA_FILE: has no effect: kafka.security_protocol is plaintext",
        "IOTPIPE_STORE_CA_FILE: has no effect: store.tls is false",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn no_secret_is_in_what_the_configuration_shows() {
    let names = super::super::environment::PASSWORDS.map(|(_, name)| name);
    let environment = names.map(|name| (name, CANARY));
    let config = resolve("", &[&environment[..], &LOGIN[1..2]].concat(), &[]).unwrap();
    let shown = format!(
        "{config:?} {config:#?} {:?} {:?} {:?}",
        config.kafka(),
        config.store(),
        config.tls_settings(
            (&None, &Some("c".into()), &Some("k".into())),
            config.passwords.kafka_key.as_ref()
        )
    );
    assert!(shown.contains("***") && !shown.contains(CANARY), "{shown}");
    let masked = config.listing.iter().filter(|it| it.key.ends_with("password"));
    assert_eq!(masked.map(|it| it.value.as_str()).collect::<Vec<_>>(), ["***"; 5]);
}

#[test]
fn passwords_properties_and_keys_are_secrets_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let key = file(&directory, "a.key", CANARY, 0o600);
    let [password_file, certificate] = ["password", "a.crt"].map(|name| file(&directory, name, CANARY, 0o600));
    let holds = |text: &str, environment: &[(&str, &str)]| resolve(text, environment, &[]).unwrap().holds_secrets();
    assert!(!Config::default().holds_secrets());
    assert!(!holds(
        "[kafka.properties]\nclient.rack = \"a\"\n",
        &[("IOTPIPE_KAFKA_USERNAME", "iot")]
    ));
    for (_, name) in super::super::environment::PASSWORDS {
        assert!(holds("", &[(name, CANARY)]), "{name}");
        assert!(holds("", &[(&format!("{name}_FILE"), &password_file)]), "{name}_FILE");
    }
    assert!(holds("[kafka.properties]\nsasl.password = \"x\"\n", &[]));
    for section in ["TLS", "KAFKA", "STORE"] {
        let names = ["KEY", "CERTIFICATE"].map(|name| format!("IOTPIPE_{section}_{name}_FILE"));
        assert!(holds("", &[(&names[0], &key), (&names[1], &certificate)]), "{section}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_says_so() {
    let cases = [
        ("IOTPIPE_KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("IOTPIPE_STORE_TLS", "true"),
        ("IOTPIPE_REGISTRY_URL", "https://registry"),
    ];
    for (name, text) in cases {
        let error = error_of("", &[(name, text)], &[]);
        assert!(
            error.starts_with(&format!("{name}: ")) && error.contains("the feature tls"),
            "{error}"
        );
    }
    let scram = error_of("", &LOGIN, &[]);
    assert!(scram.contains("needs TLS"), "{scram}");
}
