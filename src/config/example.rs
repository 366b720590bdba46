//! `iotpipe.example.toml` is made from the declarations of the settings, and this test keeps it so.

use std::collections::BTreeMap;
use std::path::Path;

use super::file;
use super::layers::Effective;
use super::rules::{self, DEFAULT_RULES, KEYS};
use super::settings::SETTINGS;
use super::value::Shape;

const HEAD: &str = "\
# All settings of iotpipe with their defaults. Copy it to iotpipe.toml, which is read from the current directory, or name
# your copy by --config FILE or IOTPIPE_CONFIG. Flags win over variables, variables over this file; `iotpipe config` shows
# what is in effect and where it came from.
#
# Every setting is also the variable IOTPIPE_SECTION_KEY, for example IOTPIPE_KAFKA_BROKERS. Passwords are variables alone:
# IOTPIPE_KAFKA_PASSWORD, IOTPIPE_CASSANDRA_PASSWORD, IOTPIPE_REGISTRY_PASSWORD and, of keys that are encrypted,
# IOTPIPE_KAFKA_KEY_PASSWORD and IOTPIPE_CASSANDRA_KEY_PASSWORD; or the file that the same name with _FILE holds.
# What has no default, or one that follows from the profile or other settings, is commented out.

";

const PROPERTIES: &str = "
# Properties of librdkafka, for all clients: any of them, as they are. They win over iotpipe's own.
[kafka.properties]
#socket.keepalive.enable = true
#broker.address.family = \"v4\"
#ssl.crl.location = \"revoked.pem\"
";

const RULES: &str = "
# Rules, a table each: [rules.NAME], the name of a-z, 0-9, _ and -. A table with the name of a default rule changes just the
# keys that it gives; enabled = false turns the rule off. Rules may change at any time: they judge what comes from then on.
#   kinds       the measures that it judges; [\"*\"] is all
#   test        high, low      beyond threshold, until hysteresis within it again
#               step           differs from the reading before by more than threshold
#               flatline       the same value in so many readings in a row
#               boolean        not 0
#               zscore         more than threshold times its usual spread away from its usual level, until
#                              threshold - hysteresis times; once warm_up readings are known
#               gap            came after more than times the usual interval; once warm_up intervals are known
#   debounce    so many readings in a row must say so (1)
#   severity    info, warning or critical (warning)
";

const MORE_RULES: &str = "
# Examples of the other tests:
#[rules.stuck]
#kinds = [\"temperature\", \"humidity\"]
#test = \"flatline\"
#readings = 20

#[rules.jump]
#enabled = true
#kinds = [\"voltage\"]
#test = \"step\"
#threshold = 0.5
#debounce = 1
#severity = \"critical\"

#[rules.late-again]
#kinds = [\"*\"]
#test = \"gap\"
#times = 10
#warm_up = 30
#severity = \"info\"
";

fn default_rules() -> String {
    let mut text = RULES.to_owned();
    for (name, keys) in DEFAULT_RULES {
        text += &format!("\n[rules.{name}]\n");
        for (key, value) in *keys {
            let shape = KEYS.iter().find(|(known, ..)| known == key).unwrap().1;
            text += &format!("{key} = {}\n", toml_of(value, shape));
        }
    }
    text + MORE_RULES
}

fn example() -> String {
    let mut effective = Effective::defaults();
    effective.expand_defaults();
    let mut text = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            // A table's own keys come before its inner tables.
            text += &match section {
                "kafka" => PROPERTIES.to_owned(),
                "alerts" => default_rules(),
                _ => String::new(),
            };
            section = setting.section;
            text += &format!("\n#{}\n[{section}]\n", setting.section_about);
        }
        for line in setting.about {
            text += &format!("#{line}\n");
        }
        let names = setting
            .flags
            .iter()
            .chain(setting.variables)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if !names.is_empty() {
            text += &format!("# ({names})\n");
        }
        if let Some(default) = setting.cluster {
            text += &format!("# In profile cluster: {}\n", toml_of(default, setting.shape));
        }
        let is_open = setting.default == "none" || setting.default.contains('{') || setting.cluster.is_some();
        let key = setting.key.split_once('.').map_or(setting.key, |(_, key)| key);
        let value = toml_of(&effective.get(setting.key).text, setting.shape);
        text += &format!("{}{key} = {value}\n", if is_open { "#" } else { "" });
    }
    text
}

fn toml_of(text: &str, shape: Shape) -> String {
    match shape {
        Shape::Number | Shape::Bool => text.to_owned(),
        Shape::NumberOrText if text.parse::<f64>().is_ok() => text.to_owned(),
        Shape::Text | Shape::NumberOrText => format!("{text:?}"),
        Shape::List => format!(
            "{:?}",
            text.split(',')
                .filter(|element| !element.is_empty())
                .collect::<Vec<_>>()
        ),
    }
}

#[test]
fn the_example_file_has_every_setting_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("iotpipe.example.toml");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == example(),
        "iotpipe.example.toml is behind src/config/settings.rs: UPDATE_SNAPSHOTS=1 writes it anew"
    );

    // With the comment signs before keys taken away, every setting is there and means the default.
    let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(is_key).unwrap_or(line).to_owned() + "\n")
        .collect();
    let mut defaults = Effective::defaults();
    defaults.expand_defaults();
    let layer = file::parse(&all, &path).unwrap();
    assert_eq!(layer.settings.len(), SETTINGS.len());
    for (key, given) in &layer.settings {
        assert_eq!(given.text, defaults.get(key).text, "{key}");
    }
    assert_eq!(layer.properties.len(), 3);
    let names: Vec<&str> = layer.rules.keys().map(String::as_str).collect();
    let resolved = rules::resolve(layer.rules.clone()).unwrap().enabled;
    let defaults = rules::resolve(BTreeMap::new()).unwrap().enabled;
    assert_eq!(names.len(), defaults.len() + 3);
    assert!(defaults.iter().all(|rule| resolved.contains(rule)));
}
