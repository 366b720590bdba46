//! The TOML file: settings by section and key, and the free table `[kafka.properties]`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{UsageError, suggestion};
use super::layers::{Given, Layer, Origin};
use super::rules::{self, RuleTable};
use super::settings::{SETTINGS, setting};
use super::value::Shape;

/// What a file gives.
#[derive(Default)]
pub(super) struct FileLayer {
    pub settings: Layer,
    /// librdkafka's properties, by name. Never to be printed without a mask.
    pub properties: BTreeMap<String, Given>,
    /// Tables `[rules.NAME]`, by name.
    pub rules: BTreeMap<String, RuleTable>,
}

/// Reads the text of a file; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<FileLayer, UsageError> {
    let file = File {
        text,
        path: path.display().to_string(),
    };
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        file.wrong(at, &error.message().replace('\n', ", "))
    })?;
    let mut layer = FileLayer::default();
    for (section, content) in root.get_ref() {
        let (name, at) = (section.get_ref().as_ref(), section.span().start);
        if let Some(setting) = setting(name) {
            let text = file.text_of(content.get_ref(), setting.shape, setting.key, at)?;
            layer.settings.insert(setting.key, Given::new(text, file.origin(at)));
            continue;
        }
        if !SETTINGS.iter().any(|setting| setting.section == name) && name != rules::SECTION {
            let sections = SETTINGS.iter().map(|setting| setting.section).chain([rules::SECTION]);
            let near = suggestion(name, sections);
            return Err(file.wrong(at, &format!("unknown section {name}{near}")));
        }
        let DeValue::Table(keys) = content.get_ref() else {
            return Err(file.wrong(at, &format!("{name} is a section: write [{name}]")));
        };
        if name == rules::SECTION {
            layer.rules = file.rules(keys)?;
            continue;
        }
        for (key, value) in keys {
            let (full, at) = (format!("{name}.{}", key.get_ref()), key.span().start);
            match (setting(&full), value.get_ref()) {
                (Some(setting), value) => {
                    let text = file.text_of(value, setting.shape, setting.key, at)?;
                    layer.settings.insert(setting.key, Given::new(text, file.origin(at)));
                }
                (None, DeValue::Table(table)) if full == "kafka.properties" => {
                    layer.properties = file.properties(table)?;
                }
                (None, _) if full.ends_with("password") => {
                    let why = "a password comes from the environment or a file of its own: see IOTPIPE_KAFKA_PASSWORD";
                    return Err(file.wrong(at, &format!("{full}: {why}, IOTPIPE_CASSANDRA_PASSWORD")));
                }
                (None, _) if setting(key.get_ref()).is_some() => {
                    let why = "stands before the first section, not in one";
                    return Err(file.wrong(at, &format!("{full}: {} {why}", key.get_ref())));
                }
                (None, _) => {
                    let near = suggestion(
                        &full,
                        SETTINGS.iter().map(|setting| setting.key).chain(["kafka.properties"]),
                    );
                    return Err(file.wrong(at, &format!("unknown key {full}{near}")));
                }
            }
        }
    }
    Ok(layer)
}

struct File<'a> {
    text: &'a str,
    path: String,
}

impl File<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: self.line(at),
        }
    }

    fn wrong(&self, at: usize, error: &str) -> UsageError {
        UsageError(format!("{}:{}: {error}", self.path, self.line(at)))
    }

    /// The value as a flag would give it. Messages do not repeat it: it may be a secret in the wrong place.
    fn text_of(&self, value: &DeValue<'_>, shape: Shape, key: &str, at: usize) -> Result<String, UsageError> {
        let text = scalar(value);
        match (shape, value, text) {
            (Shape::Text | Shape::NumberOrText, DeValue::String(_), Some(text)) => Ok(text),
            (Shape::Number | Shape::NumberOrText, DeValue::Integer(_) | DeValue::Float(_), Some(text)) => Ok(text),
            (Shape::Bool, DeValue::Boolean(_), Some(text)) => Ok(text),
            (Shape::List, DeValue::Array(elements), _) => {
                let texts = elements.iter().map(|element| match element.get_ref() {
                    DeValue::String(text) if !text.contains(',') => Ok(text.to_string()),
                    _ => Err(self.wrong(at, &format!("{key}: an element is no string without commas"))),
                });
                Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
            }
            _ => {
                let wanted = match shape {
                    Shape::Text => "text in quotes",
                    Shape::Number => "a number",
                    Shape::NumberOrText => "a number or text in quotes",
                    Shape::Bool => "true or false",
                    Shape::List => "an array of strings",
                };
                Err(self.wrong(at, &format!("{key}: {wanted} is wanted, not {}", value.type_str())))
            }
        }
    }

    /// Their keys and the shapes of their values; what they mean is for [`rules::resolve`].
    fn rules(&self, tables: &DeTable<'_>) -> Result<BTreeMap<String, RuleTable>, UsageError> {
        let mut found = BTreeMap::new();
        for (name, content) in tables {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            let DeValue::Table(keys) = content.get_ref() else {
                return Err(self.wrong(at, &format!("rules.{name} is no rule: write [rules.{name}]")));
            };
            rules::check_name(name).map_err(|error| self.wrong(at, &error))?;
            let mut table = RuleTable::new(self.origin(at));
            for (key, value) in keys {
                let at = key.span().start;
                let (key, shape) = rules::key(name, key.get_ref()).map_err(|error| self.wrong(at, &error))?;
                let text = self.text_of(value.get_ref(), shape, &format!("rules.{name}.{key}"), at)?;
                table.keys.insert(key, Given::new(text, self.origin(at)));
            }
            found.insert(name.to_owned(), table);
        }
        Ok(found)
    }

    fn properties(&self, table: &DeTable<'_>) -> Result<BTreeMap<String, Given>, UsageError> {
        let mut properties = BTreeMap::new();
        for (name, value) in table {
            self.property(name.get_ref(), name.span().start, value, &mut properties)?;
        }
        Ok(properties)
    }

    /// A dot in a name that is not quoted makes a table in TOML: `sasl.username = "x"` is `sasl = { username = "x" }`.
    fn property(
        &self,
        name: &str,
        at: usize,
        value: &Spanned<DeValue<'_>>,
        properties: &mut BTreeMap<String, Given>,
    ) -> Result<(), UsageError> {
        if let DeValue::Table(inner) = value.get_ref() {
            for (key, value) in inner {
                self.property(
                    &format!("{name}.{}", key.get_ref()),
                    key.span().start,
                    value,
                    properties,
                )?;
            }
            return Ok(());
        }
        let text = scalar(value.get_ref()).ok_or_else(|| {
            self.wrong(
                at,
                &format!("kafka.properties.{name}: text, a number, true or false is wanted"),
            )
        })?;
        properties.insert(name.to_owned(), Given::new(text, self.origin(at)));
        Ok(())
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        parse(text, Path::new("f.toml")).err().expect(text).0
    }

    #[test]
    fn keys_are_read_with_their_lines() {
        let text = "[kafka]\ntopic = \"t\"\npartitions = 1_000\n\n[fields]\nid = [\"a\", \"b\"]\n";
        let layer = parse(text, Path::new("f.toml")).unwrap().settings;
        let at = |line| Origin::File {
            path: "f.toml".into(),
            line,
        };
        assert_eq!(layer["kafka.topic"], Given::new("t", at(2)));
        assert_eq!(layer["kafka.partitions"], Given::new("1000", at(3)));
        assert_eq!(layer["fields.id"], Given::new("a,b", at(6)));
    }

    #[test]
    fn one_key_stands_before_all_sections() {
        let layer = parse("profile = \"cluster\"\n[kafka]\n", Path::new("f.toml")).unwrap();
        assert_eq!(layer.settings["profile"].text, "cluster");
        assert_eq!(
            error_of("[log]\nlevel = \"info\"\nprofile = \"cluster\"\n"),
            "f.toml:3: log.profile: profile stands before the first section, not in one"
        );
        assert_eq!(
            error_of("profile = 3\n"),
            "f.toml:1: profile: text in quotes is wanted, not integer"
        );
    }

    #[test]
    fn properties_are_free_and_dots_need_no_quotes() {
        let text = "[kafka.properties]\nsasl.mechanism = \"PLAIN\"\n\"linger.ms\" = 5\nenable.idempotence = true\n";
        let properties = parse(text, Path::new("f.toml")).unwrap().properties;
        let texts: Vec<(&str, &str)> = properties.iter().map(|(name, given)| (&**name, &*given.text)).collect();
        assert_eq!(
            texts,
            [
                ("enable.idempotence", "true"),
                ("linger.ms", "5"),
                ("sasl.mechanism", "PLAIN")
            ]
        );
        assert!(error_of("[kafka.properties]\na = [1]\n").starts_with("f.toml:2: kafka.properties.a: "));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(
            error_of("\n[kafka]\ntopik = 1\n"),
            "f.toml:3: unknown key kafka.topik; did you mean kafka.topic?"
        );
        assert_eq!(
            error_of("[kafak]\n"),
            "f.toml:1: unknown section kafak; did you mean kafka?"
        );
        assert_eq!(error_of("kafka = 1\n"), "f.toml:1: kafka is a section: write [kafka]");
        let wanted = "f.toml:2: kafka.topic: text in quotes is wanted, not integer";
        assert_eq!(error_of("[kafka]\ntopic = 5\n"), wanted);
        let wanted = "f.toml:2: fields.id: an array of strings is wanted, not string";
        assert_eq!(error_of("[fields]\nid = \"a\"\n"), wanted);
        assert!(error_of("[kafka]\ntopic = \"a\"\ntopic = \"b\"\n").starts_with("f.toml:3: "));
        assert!(error_of("[kafka\n").starts_with("f.toml:1: "));
        assert!(error_of("[kafka]\npassword = \"canary\"\n").contains("IOTPIPE_KAFKA_PASSWORD"));
        assert!(!error_of("[kafka]\npassword = \"canary\"\n").contains("canary"));
    }
}
