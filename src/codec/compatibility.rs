//! Whether one schema of Avro may follow on another.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

/// BACKWARD compatibility: whether a reader with the new schema reads what was written with the old one. The error names
/// what it could not read.
pub fn reads_what_was_written(old: &str, new: &str) -> Result<(), String> {
    let parse = |which: &str, text: &str| {
        Schema::parse_str(text).map_err(|error| format!("the {which} schema is no Avro schema: {error}"))
    };
    let (old, new) = (parse("registered", old)?, parse("new", new)?);
    // Names of records are compared first: this library resolves records of other names, Java's does not.
    if let (Schema::Record(old), Schema::Record(new)) = (&old, &new)
        && old.name.name() != new.name.name()
    {
        return Err(format!("record {} cannot be read as record {}", old.name, new.name));
    }
    match SchemaCompatibility::can_read(&old, &new) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => Err("some of what was written could not be read".to_owned()),
        Err(error) => Err(causes(&error)),
    }
}

/// Whether two texts are the same schema, whatever their spaces and documentation.
pub fn is_same_schema(one: &str, other: &str) -> bool {
    let canonical = |text: &str| Schema::parse_str(text).map(|schema| schema.canonical_form());
    matches!((canonical(one), canonical(other)), (Ok(one), Ok(other)) if one == other)
}

/// The error and what led to it, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{fields}]}}"#)
    }

    const ID: &str = r#"{"name":"id","type":"string"}"#;

    #[test]
    fn a_field_may_be_added_with_a_default_and_removed() {
        let with_unit = record(&format!(
            r#"{ID},{{"name":"unit","type":["null","string"],"default":null}}"#
        ));
        assert_eq!(reads_what_was_written(&record(ID), &with_unit), Ok(()));
        assert_eq!(reads_what_was_written(&with_unit, &record(ID)), Ok(()));
    }

    #[test]
    fn a_field_without_a_default_and_another_type_are_refused_by_name() {
        let with_unit = record(&format!(r#"{ID},{{"name":"unit","type":"string"}}"#));
        let why = reads_what_was_written(&record(ID), &with_unit).unwrap_err();
        assert!(why.contains("'unit'"), "{why}");
        let why = reads_what_was_written(&record(ID), &record(r#"{"name":"id","type":"long"}"#)).unwrap_err();
        assert!(why.contains("'id'"), "{why}");
        let other = record(ID).replace("\"R\"", "\"Q\"");
        let why = reads_what_was_written(&record(ID), &other).unwrap_err();
        assert!(why.contains("n.R") && why.contains("n.Q"), "{why}");
        assert!(reads_what_was_written("\"int\"", "nonsense").is_err());
    }

    #[test]
    fn documentation_makes_no_other_schema_and_a_field_does() {
        let documented = record(r#"{"name":"id", "type":"string", "doc":"x"}"#);
        assert!(is_same_schema(&record(ID), &documented));
        assert!(!is_same_schema(
            &record(ID),
            &record(r#"{"name":"it","type":"string"}"#)
        ));
        assert!(!is_same_schema("nonsense", "nonsense"));
    }
}
