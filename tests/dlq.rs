//! `iotpipe dlq` as a person runs it: the real binary on librdkafka's in-process cluster.

mod cluster;

use std::process::Command;

use iotpipe::kafka::letters::{LetterSender, Mark, Place, ReplayMarks, TopicReader};
use iotpipe::model::{DeadLetter, Reason};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;

use cluster::{Cluster, DEADLINE, DLQ, Sent, TOPIC, header, letter, letters, outcomes, payloads, summed, told};

#[test]
fn letters_are_listed_newest_first_and_by_reason() {
    let cluster = Cluster::new();
    let (stdout, stderr) = cluster.ok("list --format json");
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("[]\n", "iotpipe: no dead letters in topic readings.dlq\n")
    );

    cluster.write(TOPIC, letters(60));
    cluster.write(TOPIC, [letter(60, Reason::Expired, b"{}")]);
    cluster.write(TOPIC, (61..120).map(|number| letter(number, Reason::InvalidJson, b"{")));

    let offsets = |rows: &[Value]| -> Vec<i64> { rows.iter().map(|row| row["offset"].as_i64().unwrap()).collect() };
    assert_eq!(offsets(&cluster.rows("list")), (70..120).rev().collect::<Vec<_>>());
    assert_eq!(offsets(&cluster.rows("list --limit 2")), [119, 118]);
    // It lies beyond what a list without a reason looks at.
    let rows = cluster.rows("list --reason expired --limit 1");
    assert_eq!(offsets(&rows), [60]);
    assert_eq!(rows[0]["reason"], "expired");
    assert_eq!(rows[0]["source"]["offset"], 1060);
    assert_eq!(rows[0]["source"]["time_ms"], 1_762_344_000_060_i64);
    assert_eq!(rows[0]["key"]["text"], "attic");
    assert_eq!(rows[0]["payload_bytes"], 2);
    assert_eq!(
        offsets(&cluster.rows("list --reason invalid_json --limit 3")),
        [119, 118, 117]
    );

    let (stdout, stderr) = cluster.ok("list");
    assert_eq!(stdout.lines().count(), 52);
    assert!(
        stdout.lines().nth(2).unwrap().ends_with("what is wrong with 119"),
        "{stdout}"
    );
    assert_eq!(stderr, "iotpipe: the newest 50 of 120; --limit asks for more\n");
    let (_, stderr) = cluster.ok("list --reason no_readings");
    assert_eq!(
        stderr,
        "iotpipe: no dead letter with reason no_readings in topic readings.dlq, which holds 120 others\n"
    );
}

#[test]
fn a_letter_is_shown_whole_also_where_it_is_no_text() {
    let cluster = Cluster::new();
    let odd = b"{\xff\x00 caf\xe9";
    cluster.write(
        TOPIC,
        [
            letter(0, Reason::InvalidUtf8, odd),
            letter(1, Reason::InvalidJson, "{\"é\"\x1b".as_bytes()),
        ],
    );
    let partition = cluster.partition_of_letters();

    let (stdout, _) = cluster.ok(&format!("show {partition}:0 {partition}:1"));
    for part in [
        "reason      invalid_utf8",
        "source      readings/1:1000 of 2025-11-05T12:00:00.000Z",
        "header      iotpipe.fault: malformed",
        "00000000  7b ff 00 20 63 61 66 e9                          |{.. caf.|",
        "    {\"é\"\u{fffd}\n",
    ] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let rows = cluster.rows(&format!("show {partition}:0"));
    assert_eq!(rows[0]["payload"]["base16"], "7bff0020636166e9");
    assert_eq!(rows[0]["payload"]["text"], Value::Null);
    assert_eq!(rows[0]["headers"][1]["value"], Value::Null);

    // What is there is shown; what is not is named.
    for absent in [format!("{partition}:2"), "9:0".to_owned()] {
        let (code, stdout, stderr) = cluster.run(&format!("show {partition}:1 {absent}"));
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(&format!("no dead letter at {absent} ")), "{stderr}");
        assert!(stdout.contains("what is wrong with 1"), "{stdout}");
    }
}

#[test]
fn a_replay_sends_the_original_record_and_never_a_second_time() {
    let cluster = Cluster::new();
    let tombstone = DeadLetter {
        key: None,
        payload: None,
        ..letter(1, Reason::EmptyPayload, b"")
    };
    let odd = letter(0, Reason::InvalidUtf8, b"{\xff\x00");
    cluster.write(TOPIC, [odd.clone(), tombstone]);
    let rows = cluster.rows("list");
    let from = |row: &Value| {
        header(
            "iotpipe.replay.from",
            &format!("{}:{}", row["partition"], row["offset"]),
        )
    };

    let (stdout, _) = cluster.ok("replay --all --dry-run");
    assert_eq!(summed(&stdout, "would be replayed"), "2");
    assert_eq!(cluster.records(TOPIC), []);

    let (stdout, stderr) = cluster.ok("replay --all");
    assert_eq!((summed(&stdout, "replayed").as_str(), stderr.as_str()), ("2", ""));
    let mut records = cluster.records(TOPIC);
    records.sort_by_key(|record| record.key.is_none());
    let of = |reason: &str| {
        let headers = [odd.headers.clone(), vec![header("iotpipe.replay.attempts", "1")]].concat();
        let row = rows.iter().find(|row| row["reason"] == reason).unwrap();
        [headers, vec![from(row)]].concat()
    };
    let expected = [
        Sent {
            key: odd.key.clone(),
            payload: odd.payload.clone(),
            headers: of("invalid_utf8"),
        },
        Sent {
            key: None,
            payload: None,
            headers: of("empty_payload"),
        },
    ];
    assert_eq!(records, expected);

    let rows = cluster.rows("replay --all");
    assert_eq!(outcomes(&rows), ["replayed_before"; 2]);
    assert_eq!(cluster.records(TOPIC).len(), 2, "a second replay sent something");
}

#[test]
fn letters_are_chosen_by_position_reason_and_limit() {
    let cluster = Cluster::new();
    cluster.write(TOPIC, letters(4));
    cluster.write(
        TOPIC,
        [
            letter(4, Reason::TimeInFuture, b"later"),
            letter(5, Reason::TimeInFuture, b"much later"),
        ],
    );
    let partition = cluster.partition_of_letters();

    cluster.ok("replay --reason time_in_future --limit 1");
    assert_eq!(payloads(&cluster.records(TOPIC)), ["later"]);
    // The limit is of what is sent: what was before does not count.
    cluster.ok("replay --reason time_in_future --limit 1");
    assert_eq!(payloads(&cluster.records(TOPIC)), ["later", "much later"]);
    // The same position twice is one letter.
    let (code, stdout, stderr) = cluster.run(&format!(
        "replay {partition}:2 {partition}:2 {partition}:4 {partition}:99 --format jsonl"
    ));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!("no dead letter at {partition}:99 ")),
        "{stderr}"
    );
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(outcomes(&rows), ["replayed_before", "replayed"]);
    assert_eq!(payloads(&cluster.records(TOPIC)), ["later", "much later", "{2"]);
}

#[test]
fn letters_that_were_replayed_too_often_or_were_cut_or_are_not_ours_are_not_sent() {
    let cluster = Cluster::new();
    let tried = |number, attempts: &str| DeadLetter {
        headers: vec![
            header("iotpipe.replay.attempts", attempts),
            header("iotpipe.replay.from", "0:0"),
        ],
        ..letter(number, Reason::InvalidJson, attempts.as_bytes())
    };
    cluster.write(TOPIC, [tried(0, "1"), tried(1, "2"), tried(2, "3")]);
    let partition = cluster.partition_of_letters();
    // The broker takes it only smaller.
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.mock.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    cluster.write(TOPIC, [letter(3, Reason::PayloadTooLarge, &[b'x'; 4096])]);
    let stranger: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.mock.bootstrap_servers())
        .create()
        .unwrap();
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(DLQ)
        .key(b"attic".as_slice())
        .payload(b"hello".as_slice());
    stranger
        .send(record.partition(i32::try_from(partition).unwrap()))
        .unwrap();
    stranger.flush(DEADLINE).unwrap();

    let (stdout, stderr) = cluster.ok("replay --all --max-attempts 2");
    assert_eq!(payloads(&cluster.records(TOPIC)), ["1"]);
    assert!(
        cluster.records(TOPIC)[0]
            .headers
            .contains(&header("iotpipe.replay.attempts", "2"))
    );
    assert_eq!(summed(&stdout, "replayed"), "1");
    assert_eq!(summed(&stdout, "left alone"), "2");
    assert_eq!(summed(&stdout, "cannot be replayed"), "2");
    assert!(
        stderr.contains(&format!(
            "letter {partition}:3 cannot be replayed: its payload was cut to 3072 of 4096 bytes"
        )),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!(
            "letter {partition}:4 cannot be replayed: it does not say where"
        )),
        "{stderr}"
    );
}

#[test]
fn a_mark_without_an_end_is_said_and_its_letter_sent_again() {
    let cluster = Cluster::new();
    cluster.write(TOPIC, letters(3));
    let partition = i32::try_from(cluster.partition_of_letters()).unwrap();
    let at = |offset| Place { partition, offset };
    let id = TopicReader::open(&cluster.kafka(), DLQ).unwrap().topic_id().unwrap();
    let mut marks = ReplayMarks::read(&cluster.kafka(), DLQ, id).unwrap();
    let sender = LetterSender::new(&cluster.kafka()).unwrap();
    marks.write(&sender, &[at(0), at(1)], Mark::Sending).unwrap();
    marks.write(&sender, &[at(0)], Mark::Sent).unwrap();

    let doubt = format!("iotpipe: 1 letter may arrive a second time: the replay was interrupted: {partition}:1\n");
    let (stdout, stderr) = cluster.ok("replay --all --dry-run");
    assert_eq!(stderr, doubt);
    assert!(stdout.contains("may arrive a second time"), "{stdout}");
    let (stdout, stderr) = cluster.ok("replay --all");
    assert_eq!(stderr, doubt);
    assert_eq!(summed(&stdout, "replayed"), "2 (1 perhaps a second time)");
    assert_eq!(summed(&stdout, "replayed before"), "1");
    assert_eq!(payloads(&cluster.records(TOPIC)), ["{1", "{2"]);
    assert_eq!(cluster.ok("replay --all").1, "", "nothing is in doubt any more");
}

#[test]
fn a_replay_that_is_killed_goes_on_and_says_what_may_arrive_twice() {
    let cluster = Cluster::new();
    cluster.write(TOPIC, letters(3));
    let mut killed = cluster.start_stuck_replay("replay --all");
    cluster.wait_for_marks(3);
    killed.kill().unwrap();
    killed.wait().unwrap();
    cluster.let_letters_through();

    let rows = cluster.rows("replay --all");
    assert_eq!(outcomes(&rows), ["replayed"; 3]);
    assert!(rows.iter().all(|row| row["maybe_twice"] == true), "{rows:?}");
    assert_eq!(payloads(&cluster.records(TOPIC)), ["{0", "{1", "{2"]);
}

#[test]
fn an_interrupt_finishes_the_chunk_and_the_next_replay_does_the_rest() {
    let cluster = Cluster::new();
    cluster.write(TOPIC, letters(250));
    let mut replay = cluster.start_stuck_replay("replay --all");
    cluster.wait_for_marks(100);
    cluster.interrupt(&mut replay);
    cluster.let_letters_through();
    let (code, stdout, stderr) = told(replay.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(summed(&stdout, "replayed"), "100");
    assert!(stderr.contains("stopped before the end"), "{stderr}");
    assert_eq!(cluster.records(TOPIC).len(), 100);

    let (stdout, stderr) = cluster.ok("replay --all");
    assert_eq!(stderr, "", "nothing is in doubt");
    assert_eq!(
        (summed(&stdout, "replayed"), summed(&stdout, "replayed before")),
        ("150".into(), "100".into())
    );
    let expected: Vec<String> = (0..250).map(|number| format!("{{{number}")).collect();
    assert_eq!(payloads(&cluster.records(TOPIC)), expected);
}

#[test]
fn refused_letters_are_named_and_not_in_doubt() {
    let cluster = Cluster::new();
    cluster.write(TOPIC, letters(2));
    cluster.write("gone", [letter(2, Reason::InvalidJson, b"nowhere to go")]);
    let partition = cluster.partition_of_letters();
    // Marks pass; the batch of letters does not, and neither does the first of them when it is tried alone.
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let fine = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    cluster
        .mock
        .request_errors(RDKafkaApiKey::Produce, &[fine, too_large, too_large]);

    let (code, stdout, stderr) = cluster.run("replay --all");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "letter {partition}:0 refused: topic readings takes no message of 2 bytes"
        )),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!("letter {partition}:2 refused: topic gone does not exist")),
        "{stderr}"
    );
    assert_eq!(
        (summed(&stdout, "replayed"), summed(&stdout, "refused")),
        ("1".into(), "2".into())
    );
    assert_eq!(payloads(&cluster.records(TOPIC)), ["{1"]);

    let (_, stdout, stderr) = cluster.run("replay --all");
    assert!(!stderr.contains("second time"), "{stderr}");
    assert_eq!(
        (summed(&stdout, "replayed"), summed(&stdout, "replayed before")),
        ("1".into(), "1".into())
    );
    assert_eq!(payloads(&cluster.records(TOPIC)), ["{1", "{0"]);
}

#[test]
fn missing_topics_are_one_line_that_says_what_to_do() {
    let cluster = Cluster::without_marks();
    cluster.write(TOPIC, letters(1));
    for arguments in ["replay --all", "replay --all --dry-run"] {
        let (code, stdout, stderr) = cluster.run(arguments);
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{stderr}"
        );
        assert!(
            stderr.contains("readings.dlq.replayed") && stderr.contains("init-schema"),
            "{stderr}"
        );
    }
    assert_eq!(cluster.records(TOPIC), []);
    let none = MockCluster::new(1).unwrap();
    let (code, _, stderr) = told(
        Command::new(env!("CARGO_BIN_EXE_iotpipe"))
            .env_clear()
            .current_dir(cluster.place.path())
            .args(["dlq", "list", "--brokers", &none.bootstrap_servers()])
            .output()
            .unwrap(),
    );
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(
        stderr.contains("iot_sensor_data.dlq") && stderr.contains("init-schema"),
        "{stderr}"
    );
}
