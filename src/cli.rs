//! The command line's definition. Only `main` and `command/` see clap.
//!
//! Flags that are settings are made from the table in `config/settings.rs`, so that a setting's name, help, default and
//! variables are written down once; they are no fields here, since commands read [`crate::config::Config`]. The structs hold
//! what belongs to one call alone.

mod bench;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{
    EVERY_COMMAND, FlagSetting, SETTINGS, Setting, TimePoint, parse_duration, parse_time, parse_time_point,
    parse_window_size,
};
use crate::model::{Order, Reason, TimeMs};
use crate::report::Format;
use bench::BENCH_EXAMPLES;
pub use bench::{
    BenchArgs, BenchCommand, BenchCompareArgs, BenchDrainArgs, BenchE2eArgs, BenchMaxArgs, BenchProduceArgs,
    BenchShowArgs, BenchStoreArgs,
};

/// Readings of IoT sensors from Apache Kafka into Apache Cassandra: nothing lost, nothing doubled, proven
#[derive(Parser, Debug)]
#[command(name = "iotpipe", version, after_help = TOP_EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// TOML file of settings [env: IOTPIPE_CONFIG] [default: iotpipe.toml if it exists]
    #[arg(long = "config", id = "config-file", value_name = "FILE", global = true, help_heading = EVERYWHERE)]
    pub config_file: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

const EVERYWHERE: &str = "Global settings (flag > environment > file > default)";

const TOP_EXAMPLES: &str = "\
Examples:
  iotpipe demo                                     everything in one process, no server needed
  iotpipe init-schema                              make topics and tables
  iotpipe produce --rate 3500                      a simulated fleet
  iotpipe consume                                  Kafka into the store
  iotpipe verify run.json                          prove a produced run
  iotpipe query --sensor SENSOR_001 --last 1h      ask
  iotpipe config                                   the settings in effect and where each came from
  iotpipe doctor                                   what is wrong with the servers, and what to do

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done but with dead letters or differences,
4 slower than the baseline, 130 interrupted twice.";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make the topics, the keyspace and the tables; what is there already is checked, never changed
    #[command(after_help = INIT_SCHEMA_EXAMPLES)]
    InitSchema(InitSchemaArgs),
    /// Send the readings of a simulated fleet to Kafka
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(ProduceArgs),
    /// Store the readings that Kafka holds, until told to stop
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(ConsumeArgs),
    /// Prove that the store holds exactly what a produced run must have left in it
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Ask the store for readings, windows, alerts and sensors
    #[command(after_help = QUERY_EXAMPLES)]
    Query(QueryArgs),
    /// List, show and replay dead letters
    #[command(subcommand, after_help = DLQ_EXAMPLES)]
    Dlq(DlqCommand),
    /// Measure: throughput, latency, CPU and memory, on servers of yours, in topics and a keyspace of its own
    #[command(subcommand, after_help = BENCH_EXAMPLES)]
    Bench(BenchCommand),
    /// Show everything in one process: embedded broker, SQLite, no server needed; ends with a proof
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Show the settings in effect and where each came from
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(ConfigArgs),
    /// Look at the configuration and the servers, and say what is wrong and what to do; changes nothing
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
}

const INIT_SCHEMA_EXAMPLES: &str = "\
Examples:
  iotpipe init-schema --dry-run
  iotpipe init-schema --partitions 24 --replication-factor 3 --min-insync-replicas 2
  iotpipe init-schema --store-replication dc1=3,dc2=2 --readings-ttl 90d
  iotpipe init-schema --registry http://127.0.0.1:8081          and the schemas of records in Avro
  iotpipe init-schema --registry http://127.0.0.1:8081 --check  whether the registry would take them";

#[derive(Args, Debug)]
pub struct InitSchemaArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only check that the schemas in the registry may be followed by ours; a change that is not BACKWARD compatible is
    /// named, and the exit code is 1
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
}

const PRODUCE_EXAMPLES: &str = "\
Sensors, rate and interval fix each other: give two of them, or fewer.

Examples:
  iotpipe produce --sensors 1000 --rate 3500 --duration 10m
  iotpipe produce --rate 0 --count 1000000               a million records, as fast as possible
  iotpipe produce --sensors 10 --interval 1 --anomaly-probability 0.01 --late-probability 0.05
  iotpipe produce --count 100000 --manifest run.json     and later: iotpipe verify run.json
  iotpipe produce --count 5 --stdout                     look at the records
  iotpipe produce --replay plant.csv --id-column machine --value-column rpm,load --speed 60";

#[derive(Args, Debug)]
pub struct ProduceArgs {
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after so long, for example 90s or 10m
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Event time of the first reading, RFC 3339 [default: now; with --count at rate 0 so that the last lies at now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start_time: Option<TimeMs>,
    /// Print the records instead of sending them, a line each
    #[arg(long)]
    pub stdout: bool,
    /// Write down at the end what was sent, for verify: into this file and, where a store is set (by flag, variable or file),
    /// into its table of runs
    #[arg(long, value_name = "FILE", conflicts_with = "stdout")]
    pub manifest: Option<PathBuf>,
    #[command(flatten)]
    pub replay: ReplayArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Recorded data instead of a simulated fleet")]
pub struct ReplayArgs {
    /// Send the rows of this CSV file, whose first row names the columns; each value becomes a record
    #[arg(long = "replay", value_name = "FILE", conflicts_with_all = ["manifest", "start_time"])]
    pub file: Option<PathBuf>,
    /// Column of the event times: RFC 3339 or numbers since 1970
    #[arg(long, value_name = "NAME", default_value = "timestamp", requires = "file")]
    pub time_column: String,
    /// Unit of times that are numbers
    #[arg(
        long,
        value_name = "s|ms",
        default_value = "ms",
        hide_possible_values = true,
        requires = "file"
    )]
    pub time_unit: TimeUnit,
    /// Columns of values; each is a measure of its column's name. Empty cells are no readings
    #[arg(
        long = "value-column",
        value_name = "A,B,…",
        default_value = "value",
        value_delimiter = ',',
        requires = "file"
    )]
    pub value_columns: Vec<String>,
    /// Another name of the measure, where there is one column of values
    #[arg(long, value_name = "NAME", requires = "file")]
    pub kind: Option<String>,
    /// Column of the sensors' ids
    #[arg(long, value_name = "NAME", conflicts_with = "sensor", requires = "file")]
    pub id_column: Option<String>,
    /// The sensor of all rows [default: the file's name without its ending]
    #[arg(long, value_name = "ID", requires = "file")]
    pub sensor: Option<String>,
    /// Move all times so that the first reading lies at now
    #[arg(long, requires = "file")]
    pub shift_to_now: bool,
    /// Times faster than it was recorded; 0 is as fast as possible
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed, requires = "file")]
    pub speed: f64,
}

/// Of times that are numbers.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    S,
    Ms,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text
        .parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && *speed >= 0.0);
    speed.ok_or_else(|| "it must be a number, 0 or more".to_owned())
}

const CONSUME_EXAMPLES: &str = "\
SIGTERM or Ctrl-C finishes the writes in flight, commits and leaves; a second one stops at once.

Examples:
  iotpipe consume --group g1
  iotpipe consume --until-end                            store what is there now, then exit
  iotpipe consume --instance-id $(hostname)              keep the partitions over a restart";

#[derive(Args, Default, Debug)]
pub struct ConsumeArgs {
    /// Stop where the partitions ended when the program started
    #[arg(long)]
    pub until_end: bool,
    /// Stop after about so many records, all of them stored
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_records: Option<u64>,
    /// Stop after so long, for example 90s or 10m
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

const VERIFY_EXAMPLES: &str = "\
Computes again what the run sent and compares every reading and window of it with the
store's, to the bit. Give it when all records are consumed, with the same [windows]
settings. Rows of other sensors and of other times are not looked at; a window that another
run of the same sensors fell into as well differs (give runs seeds of their own).

Exit codes: 0 equal, 3 something is missing, unexpected or different, 1 it could not be found out.

Examples:
  iotpipe produce --count 100000 --manifest run.json
  iotpipe consume --until-end
  iotpipe verify run.json";

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The run: the file that produce --manifest wrote, or the run's id in the store
    #[arg(value_name = "FILE|ID")]
    pub run: String,
    /// Tell so many differences one by one
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub differences: usize,
    /// How the outcome is printed; json is one object
    #[arg(long, value_parser = formats(&["table", "json"]), default_value = "table")]
    pub format: Format,
}

const QUERY_EXAMPLES: &str = "\
Examples:
  iotpipe query --sensors                                which sensors there are
  iotpipe query --latest                                 the newest values of all
  iotpipe query --sensor SENSOR_001 --last 1h --kind temperature --plot
  iotpipe query --sensor SENSOR_001 --from 2025-11-05T00:00:00Z --to 2025-11-06T00:00:00Z
  iotpipe query --sensor SENSOR_001 --from -2h --to -1h --format csv
  iotpipe query --sensor SENSOR_001 --window 5m          its newest day in windows of five minutes
  iotpipe query --sensor SENSOR_001 --window 1h --kind temperature --last 7d --plot
  iotpipe query --alerts                                 what the rules found lately, all sensors
  iotpipe query --alerts --active                        what is wrong now
  iotpipe query --sensors --silent                       who has stopped sending";

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("question").args(["sensor", "latest", "sensors", "alerts"]).multiple(true).required(true))]
pub struct QueryArgs {
    /// Readings of this sensor: its UUID, or its id as it stands in the records
    #[arg(long, value_name = "ID", help_heading = "Question")]
    pub sensor: Option<String>,
    /// With --sensor: its windows of this size, for example 1m, 5m, 1h or 1d, and their totals; without a range those of its
    /// newest day. Sizes that are not stored are put together from those that are. A window is open until the sensor has a
    /// reading past its end
    #[arg(long, value_name = "SIZE", value_parser = parse_window_size, requires = "sensor", conflicts_with_all = ["latest", "sensors", "alerts"], help_heading = "Question")]
    pub window: Option<u32>,
    /// Alerts, newest first; with --sensor of that one, else of all. Without a range: of one sensor the newest of all its
    /// days, of all the 24 hours up to the fleet's newest reading
    #[arg(long, conflicts_with_all = ["latest", "sensors"], help_heading = "Question")]
    pub alerts: bool,
    /// The newest value of each kind; with --sensor of that one, else of all
    #[arg(long, help_heading = "Question")]
    pub latest: bool,
    /// The sensors themselves
    #[arg(long, conflicts_with_all = ["sensor", "latest"], help_heading = "Question")]
    pub sensors: bool,
    /// With --alerts: only those that are active, whenever they were raised
    #[arg(long, requires = "alerts", conflicts_with_all = ["latest", "sensors"], help_heading = "Selection")]
    pub active: bool,
    /// With --sensors: only those that are silent
    #[arg(long, requires = "sensors", conflicts_with_all = ["sensor", "latest", "alerts"], help_heading = "Selection")]
    pub silent: bool,
    /// With --sensors: only those with active alerts
    #[arg(long, requires = "sensors", conflicts_with_all = ["sensor", "latest", "alerts"], help_heading = "Selection")]
    pub alerting: bool,
    /// With --sensors: so far behind the newest reading of all, a sensor counts as silent
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5m", requires = "sensors", conflicts_with_all = ["sensor", "latest", "alerts"], help_heading = "Selection")]
    pub silent_after: Duration,
    /// Event times of the last so long, for example 15m, 1h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["from", "to", "latest", "sensors"], help_heading = "Selection")]
    pub last: Option<Duration>,
    /// From this event time on: RFC 3339, -2h or now. Alerts count by the time they were raised at, windows where any of
    /// their time is in the range
    #[arg(long, value_name = "TIME", value_parser = parse_time_point, allow_hyphen_values = true, conflicts_with_all = ["latest", "sensors"], help_heading = "Selection")]
    pub from: Option<TimePoint>,
    /// Before this event time: RFC 3339, -2h or now
    #[arg(long, value_name = "TIME", value_parser = parse_time_point, allow_hyphen_values = true, conflicts_with_all = ["latest", "sensors"], help_heading = "Selection")]
    pub to: Option<TimePoint>,
    /// Only this measure, for example temperature
    #[arg(long, visible_alias = "type", help_heading = "Selection")]
    pub kind: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Selection")]
    pub limit: Option<u64>,
    /// Which readings or windows come first, by event time
    #[arg(long, value_parser = one_of(&["newest", "oldest"]).map(|word| order(&word)), default_value = "newest", conflicts_with_all = ["latest", "sensors", "alerts"], help_heading = "Output")]
    pub order: Order,
    /// How rows are printed; jsonl is one JSON object a line
    #[arg(long, value_parser = formats(&Format::NAMES), default_value = "table", help_heading = "Output")]
    pub format: Format,
    /// Draw the readings instead of listing them; of windows the means as a line, between minimum and maximum as a band
    #[arg(long, requires = "sensor", conflicts_with_all = ["format", "latest", "sensors", "alerts"], help_heading = "Output")]
    pub plot: bool,
}

const DLQ_EXAMPLES: &str = "\
Examples:
  iotpipe dlq list --reason invalid_json --limit 20
  iotpipe dlq show 0:17
  iotpipe dlq replay --reason time_in_future --dry-run
  iotpipe dlq replay 0:17 0:18";

#[derive(Subcommand, Debug)]
pub enum DlqCommand {
    /// List dead letters, newest first
    List(DlqListArgs),
    /// Show dead letters whole: reason, headers, payload
    Show(DlqShowArgs),
    /// Send the original records to their topic again
    Replay(DlqReplayArgs),
}

#[derive(Args, Debug)]
pub struct DlqListArgs {
    #[command(flatten)]
    pub filter: DlqFilter,
    /// How letters are printed; jsonl is one JSON object a line
    #[arg(long, value_parser = formats(&["table", "json", "jsonl"]), default_value = "table")]
    pub format: Format,
}

#[derive(Args, Debug)]
pub struct DlqShowArgs {
    /// Where the letter lies in the dead-letter topic
    #[arg(value_name = "PARTITION:OFFSET", required = true)]
    pub positions: Vec<Position>,
    /// How letters are printed; jsonl is one JSON object a line
    #[arg(long, value_parser = formats(&["table", "json", "jsonl"]), default_value = "table")]
    pub format: Format,
}

#[derive(Args, Debug)]
pub struct DlqReplayArgs {
    /// Where the letters lie in the dead-letter topic
    #[arg(value_name = "PARTITION:OFFSET", conflicts_with_all = ["all", "reason", "limit"])]
    #[arg(required_unless_present_any = ["all", "reason"])]
    pub positions: Vec<Position>,
    /// All letters
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: DlqFilter,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave letters alone that were replayed so often before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 5)]
    pub max_attempts: u32,
    /// How the outcome is printed; jsonl is one JSON object a line
    #[arg(long, value_parser = formats(&["table", "json", "jsonl"]), default_value = "table")]
    pub format: Format,
}

#[derive(Args, Debug)]
pub struct DlqFilter {
    /// Only letters with this reason, for example invalid_json
    #[arg(long, hide_possible_values = true, value_parser = reasons())]
    pub reason: Option<Reason>,
    /// At most so many letters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// A place in the dead-letter topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let position = text.split_once(':').and_then(|(partition, offset)| {
            Some(Position {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        });
        position
            .filter(|position| position.partition >= 0 && position.offset >= 0)
            .ok_or_else(|| format!("{text:?} is no place in a topic: write for example 0:17"))
    }
}

const DEMO_EXAMPLES: &str = "\
Examples:
  iotpipe demo
  iotpipe demo --duration 1m --sensors 1000 --rate 20000
  iotpipe demo --dir demo-data && iotpipe query --store sqlite:demo-data/iotpipe.db --sensors";

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How long
    #[arg(long, value_parser = parse_duration, default_value = "20s")]
    pub duration: Duration,
    /// Sensors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 100)]
    pub sensors: u32,
    /// Records per second, all sensors together; 0 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub rate: u32,
    /// The same seed makes the same fleet
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// Keep the database in this directory [default: a temporary one, removed at the end]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

const CONFIG_EXAMPLES: &str = "\
Takes the flags of all other commands that are settings, to see what they would do.

Examples:
  iotpipe config
  iotpipe config --sensors 50 --interval 2
  KAFKA_TOPIC_NAME=readings iotpipe config --format json";

#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// How settings are printed
    #[arg(long, value_parser = formats(&["table", "json"]), default_value = "table")]
    pub format: Format,
}

const DOCTOR_EXAMPLES: &str = "\
Exit codes: 0 nothing is wrong (warnings are no failure), 1 something is.

Examples:
  iotpipe doctor
  iotpipe doctor --format json";

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// How findings are printed; jsonl is one JSON object a line
    #[arg(long, value_parser = formats(&["table", "json", "jsonl"]), default_value = "table")]
    pub format: Format,
}

fn one_of(words: &'static [&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(words)
}

fn order(word: &str) -> Order {
    if word == "oldest" {
        Order::OldestFirst
    } else {
        Order::NewestFirst
    }
}

fn formats(words: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    one_of(words).try_map(|word| word.parse())
}

fn reasons() -> impl TypedValueParser<Value = Reason> {
    let find = |word: &str| {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .ok_or("no reason")
    };
    PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)).try_map(move |word| find(&word))
}

/// What a command line says.
#[derive(Debug)]
pub struct Invocation {
    pub command: Command,
    pub config_file: Option<PathBuf>,
    /// The settings among the flags.
    pub settings: Vec<FlagSetting>,
}

/// Reads a command line, the program's name first. The error is also what `--help` and `--version` answer.
pub fn parse<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Invocation, clap::Error> {
    let matches = definition().try_get_matches_from(arguments)?;
    let mut leaf = &matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    let settings = SETTINGS.iter().filter_map(|setting| given(leaf, setting)).collect();
    let Cli { config_file, command } = Cli::from_arg_matches(&matches)?;
    Ok(Invocation {
        command,
        config_file,
        settings,
    })
}

fn given(matches: &ArgMatches, setting: &'static Setting) -> Option<FlagSetting> {
    let text = match setting.switch {
        Some(switch) => matches.try_get_one::<bool>(setting.key).ok()?.map(|_| switch.text)?,
        None => matches.try_get_one::<String>(setting.key).ok()??,
    };
    let on_command_line = matches.value_source(setting.key) == Some(ValueSource::CommandLine);
    on_command_line.then(|| FlagSetting {
        key: setting.key,
        text: text.to_owned(),
    })
}

/// The whole command line: the derived part and the flags of the settings.
pub fn definition() -> clap::Command {
    let mut definition = Cli::command();
    for setting in SETTINGS.iter().filter(|setting| setting.flag().is_some()) {
        if setting.commands == EVERY_COMMAND {
            definition = definition.arg(flag(setting).global(true).help_heading(EVERYWHERE));
            continue;
        }
        for path in setting.commands {
            definition = with_flag(definition, path, setting);
        }
        definition = definition.mut_subcommand("config", |command| command.arg(flag(setting).hide(true)));
    }
    // Recorded data have what a fleet is told, but for how it is encoded.
    let is_of_fleet = |setting: &&Setting| {
        let section = setting.key.starts_with("produce.") || setting.key.starts_with("faults.");
        section && setting.key != "produce.codec" && setting.flag().is_some() && setting.commands.contains(&"produce")
    };
    let of_fleet = SETTINGS.iter().filter(is_of_fleet).map(|setting| setting.key);
    definition.mut_subcommand("produce", |produce| {
        produce.mut_arg("file", |file| file.conflicts_with_all(of_fleet))
    })
}

/// Adds a setting's flag to a subcommand, named as it is called: `bench drain`.
fn with_flag(command: clap::Command, path: &'static str, setting: &'static Setting) -> clap::Command {
    match path.split_once(' ') {
        Some((name, rest)) => command.mut_subcommand(name, |inner| with_flag(inner, rest, setting)),
        None => command.mut_subcommand(path, |inner| inner.arg(flag(setting))),
    }
}

fn flag(setting: &'static Setting) -> clap::Arg {
    let long = |flag: &'static str| flag.trim_start_matches('-');
    let arg = clap::Arg::new(setting.key)
        .long(long(setting.flags[0]))
        .visible_aliases(setting.flags[1..].iter().map(|alias| long(alias)))
        .help_heading(setting.section_about.trim());
    if let Some(switch) = setting.switch {
        return arg.action(ArgAction::SetTrue).help(switch.help);
    }
    let mut help = setting
        .about
        .iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .replace('`', "");
    if help.ends_with('.') {
        help.pop();
    }
    if let Some(name) = setting.variables.first() {
        help.push_str(&format!(" [env: {name}]"));
    }
    if !matches!(setting.default, "" | "none") {
        let of_cluster = setting.cluster.map(|text| format!("; in profile cluster {text}"));
        help.push_str(&format!(
            " [default: {}{}]",
            setting.default,
            of_cluster.unwrap_or_default()
        ));
    }
    arg.value_name(setting.placeholder)
        .help(help)
        // A wrong value such as -1 gets the setting's own message.
        .allow_negative_numbers(true)
        .action(ArgAction::Set)
}

/// An error of clap's as one line, for stderr.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let kept: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    kept.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
