//! A login that worked and then does not: a consumer that runs waits for it, one that starts does not.

use std::process::Command;

use super::site::Site;
use crate::faults::process::{Process, until};
use crate::servers::Stack;

/// Sets the password of Kafka's user with Kafka's own tool, by the listener that asks nobody.
fn set_password(stack: &Stack, password: &str) {
    let java = std::env::var("JAVA_HOME").map_or_else(|_| "java".to_owned(), |home| format!("{home}/bin/java"));
    let server = format!("127.0.0.1:{}", stack.variable("IOTPIPE_STACK_KAFKA_PORT"));
    let config = format!("SCRAM-SHA-512=[password={password}]");
    let output = Command::new(java)
        .env("CLASSPATH", stack.run(&["jars", "kafka"]).trim())
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.admin.ConfigCommand"])
        .args(["--bootstrap-server", &server, "--alter", "--add-config", &config])
        .args(["--entity-type", "users", "--entity-name", "iot"])
        .output()
        .expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "starts secure servers of its own, kills the broker"]
fn a_login_that_fails_in_the_middle_of_a_run_is_tried_again_until_it_works() {
    let stack = Stack::up_with("secure-own", &["--secure"]);
    let site = Site::on(&stack, "mid_run");
    site.run("init-schema").is_good();
    let produce = |seed: u32| {
        site.run(&format!(
            "produce --rate 0 --count 200 --seed {seed} --manifest run-{seed}.json"
        ))
        .is_good();
    };
    let is_stored = |seed: u32| site.run(&format!("verify run-{seed}.json")).code == Some(0);
    produce(1);
    let more = [site.variables(), vec![("LOG_LEVEL", "debug")]].concat();
    let mut consumer = Process::start_with(&site.place, "consumer", &["consume"], &more);
    until("the first run is stored", 60, || is_stored(1));

    let right = std::fs::read_to_string(site.variable("IOTPIPE_KAFKA_PASSWORD_FILE")).expect("a password");
    set_password(&stack, "another");
    stack.run(&["kill", "kafka"]);
    stack.run(&["start", "kafka"]);
    until("the broker refuses the running consumer", 60, || {
        consumer.said("SASL authentication error") > 0
    });
    site.run("consume").says(&["refuses the login of user iot"]);
    assert!(consumer.is_running(), "{}", consumer.log());

    set_password(&stack, right.trim());
    produce(2);
    until("the second run is stored", 60, || is_stored(2));
    consumer.stop();
}
