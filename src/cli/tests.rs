//! The definition is sound, its flags reach the settings, and the help reads as it was reviewed.

use std::path::Path;

use super::*;

fn settings_of(line: &str) -> Vec<(&'static str, String)> {
    let invocation = parse(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    invocation
        .settings
        .into_iter()
        .map(|given| (given.key, given.text))
        .collect()
}

fn error_of(line: &str) -> String {
    one_line(&parse(line.split(' ')).expect_err(line))
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn every_flag_of_a_setting_is_taken_by_its_commands() {
    for setting in SETTINGS {
        for name in setting.flags {
            let commands = if setting.commands == EVERY_COMMAND {
                &["consume", "query", "config"]
            } else {
                setting.commands
            };
            for command in commands.iter().chain(&["config"]) {
                let extra = match *command {
                    "query" => " --sensors",
                    "verify" => " run.json",
                    _ => "",
                };
                let (value, text) = setting.switch.map_or((" x", "x"), |switch| ("", switch.text));
                let given = settings_of(&format!("iotpipe {command} {name}{value}{extra}"));
                assert_eq!(given, [(setting.key, text.to_owned())], "{command} {name}");
            }
        }
    }
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let expected = [("kafka.topic", "t".to_owned())];
    assert_eq!(settings_of("iotpipe --topic t consume"), expected);
    assert_eq!(settings_of("iotpipe dlq list --topic t"), expected);
    let invocation = parse(["iotpipe", "consume", "--config", "x.toml"]).unwrap();
    assert_eq!(invocation.config_file, Some(PathBuf::from("x.toml")));
}

#[test]
fn what_is_not_given_is_no_setting() {
    assert_eq!(settings_of("iotpipe produce"), []);
    assert_eq!(settings_of("iotpipe demo --rate 10"), [], "the demo's rate is its own");
}

#[test]
fn questions_take_relative_times() {
    let Command::Query(query) = parse("iotpipe query --sensor s --from -2h --to now".split(' '))
        .unwrap()
        .command
    else {
        panic!("another command");
    };
    assert_eq!(query.from, Some(TimePoint::Ago(Duration::from_secs(7200))));
    assert_eq!(query.to, Some(TimePoint::Ago(Duration::ZERO)));
    assert_eq!((query.order, query.format), (Order::NewestFirst, Format::Table));
}

#[test]
fn contradicting_questions_are_refused() {
    for wrong in [
        "query",
        "query --sensors --sensor s",
        "query --sensor s --last 1h --from -2h",
        "query --latest --from -2h",
        "query --sensors --plot",
        "query --sensor s --limit 0",
        "query --sensors --order oldest",
        "query --latest --order newest",
        "query --alerts --order oldest",
        "query --window 1m",
        "query --window 1m --latest",
        "query --window 1m --sensor s --latest",
        "query --window 1m --sensor s --alerts",
        "query --window 7m1s --sensor s",
        "query --window 2d --sensor s",
        "query --active --sensor s",
        "query --alerts --sensors",
        "query --alerts --latest",
        "query --alerts --sensor s --plot",
        "query --silent --latest",
        "query --sensor s --alerting",
        "query --latest --silent-after 1m",
        "query --sensors --active",
        "consume --no-windows=false",
        "produce --no-windows",
        "dlq replay",
        "dlq replay 0:1 --all",
        "dlq replay 0:-1",
        "dlq show",
        "dlq list --reason nonsense",
        "dlq list --format csv",
        "produce --duration soon",
        "bench",
        "bench produce --records 5 --duration 3s",
        "bench produce --rate 5",
        "bench store --no-windows",
        "bench drain --repetitions 0",
        "bench e2e --records 5",
        "bench max --rate 5",
        "bench compare a.json",
        "bench compare a.json b.json --threshold five",
        "bench compare a.json b.json --force",
    ] {
        let error = error_of(&format!("iotpipe {wrong}"));
        assert!(!error.contains('\n') && !error.is_empty(), "{error}");
    }
    assert!(parse("iotpipe dlq replay --reason expired --limit 3".split(' ')).is_ok());
    assert!(parse("iotpipe dlq replay 0:17 1:4".split(' ')).is_ok());
}

#[test]
fn what_belongs_together_is_taken() {
    for right in [
        "query --sensor s --window 5m --order oldest --plot",
        "query --sensor s --window 1d --last 7d --limit 3 --format csv",
        "query --alerts --active --sensor s --from -2h",
        "query --sensors --silent --alerting --silent-after 1m",
        "query --sensors",
        "query --sensor s --order oldest",
        "query --sensor s --type temperature",
        "demo --no-windows --no-alerts",
        "bench drain --records 5 --no-windows --no-alerts --writers 8 --repetitions 5 --out x.json",
        "bench e2e --rate 100000 --sensors 1000 --duration 5m",
        "bench compare a.json b.json --threshold 5%",
    ] {
        let line = format!("iotpipe {right}");
        assert!(parse(line.split(' ')).is_ok(), "{}", error_of(&line));
    }
}

#[test]
fn errors_are_one_line_that_names_the_flag() {
    assert_eq!(
        error_of("iotpipe produce --rat 5"),
        "unexpected argument '--rat' found tip: a similar argument exists: '--rate'"
    );
    assert!(error_of("iotpipe produce --duration soon").contains("--duration"));
}

/// The help of every command, at a fixed width. `UPDATE_SNAPSHOTS=1` writes it anew.
#[test]
fn the_help_is_as_reviewed() {
    let mut differing = Vec::new();
    let mut root = definition().term_width(100);
    root.build();
    let mut commands = vec![("iotpipe".to_owned(), root)];
    while let Some((name, command)) = commands.pop() {
        let subcommands = command.get_subcommands().filter(|inner| inner.get_name() != "help");
        commands.extend(subcommands.map(|inner| (format!("{name}-{}", inner.get_name()), inner.clone())));
        let help = command.term_width(100).render_help().to_string();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/help-{name}.txt"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != help {
            differing.push(path.file_name().unwrap().to_owned());
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} in tests/snapshots/ differ: UPDATE_SNAPSHOTS=1 writes them, git diff shows"
    );
}
