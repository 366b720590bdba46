//! From a writer's schema to the steps that read its records: compiled once for a schema id.
//!
//! Reader and writer are resolved here, by name, as Avro does it: the reader's fields are those of the configuration (each
//! with the other names it may have), a field that the writer does not have is absent, and one that nobody asks for is
//! passed over. A general Avro reader makes a tree of owned values for each record and looks the fields up in it, which
//! costs several times what decoding JSON does here; the steps run over the bytes and allocate nothing. The property test
//! beside this file holds them against such a reader.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, Name, NamesRef, RecordSchema, ResolvedSchema, UuidSchema,
};

use crate::codec::{FieldNames, Interner};
use crate::model::{Kind, MAX_SENSOR_ID_BYTES};

/// How the records of one schema are read.
pub(super) struct Plan {
    /// A root that is a union has a record in some of its branches.
    pub(super) root: Root,
    /// What [`Skip::Named`] stands for.
    pub(super) named: Vec<Skip>,
}

pub(super) enum Root {
    Record(Vec<Step>),
    /// `None` is a branch that is no record.
    OneOf(Vec<Option<Vec<Step>>>),
}

/// What is done about one field of the record, in the writer's order.
pub(super) struct Step {
    /// The field's name, for messages.
    pub(super) name: Box<str>,
    pub(super) action: Action,
}

pub(super) enum Action {
    Pass(Skip),
    Take(Role, Read),
    Place(Place),
}

/// What a field is for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Role {
    /// Position among the names that the id may have: the lowest wins.
    Id(usize),
    Time(usize),
    Kind,
    Value,
    Status,
    Measure(Kind),
}

/// How a value is read that matters.
pub(super) enum Read {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Symbol(Box<[Box<str>]>),
    /// A UUID in 16 bytes.
    Uuid,
    /// Ticks since the epoch, so many a millisecond.
    Time {
        ticks_per_ms: i64,
    },
    OneOf(Box<[Read]>),
    /// There, but nothing that a record of readings could mean.
    Other(Skip),
}

/// How a value is passed over.
#[derive(Clone, Debug)]
pub(super) enum Skip {
    Nothing,
    Fixed(usize),
    Integer,
    Counted,
    /// A union.
    OneOf(Box<[Skip]>),
    /// An array, or a map (whose items are pairs).
    Blocks(Box<Skip>),
    /// All of them, one level further down: a record's fields, a map's key and value.
    All(Box<[Skip]>),
    /// A record: index into [`Plan::named`].
    Named(usize),
}

/// How a location is read.
pub(super) enum Place {
    Record(Vec<PlaceStep>),
    OneOf(Box<[Place]>),
    /// No object of two numbers: says nothing.
    Other(Skip),
}

pub(super) enum PlaceStep {
    Pass(Skip),
    Latitude(Read),
    Longitude(Read),
}

/// Compiles a schema. The error says what no record of that schema could be used for.
pub(super) fn compile(text: &str, fields: &FieldNames, names: &mut Interner) -> Result<Plan, String> {
    let schema = Schema::parse_str(text).map_err(|error| format!("is no Avro schema: {error}"))?;
    let resolved = ResolvedSchema::new(&schema).map_err(|error| format!("has names without a meaning: {error}"))?;
    let mut compiler = Compiler {
        known: resolved.get_names(),
        fields,
        names,
        named: Vec::new(),
        records: HashMap::new(),
    };
    let root = match compiler.resolve(&schema, None)? {
        (Schema::Record(record), namespace) => Root::Record(compiler.record(record, namespace)?),
        (Schema::Union(union), _) => {
            let branches = union
                .variants()
                .iter()
                .map(|branch| match compiler.resolve(branch, None)? {
                    (Schema::Record(record), namespace) => compiler.record(record, namespace).map(Some),
                    _ => Ok(None),
                });
            Root::OneOf(branches.collect::<Result<_, String>>()?)
        }
        _ => return Err("is no record".to_owned()),
    };
    Ok(Plan {
        root,
        named: compiler.named,
    })
}

/// The namespace that names without one belong to.
type Namespace = Option<String>;

struct Compiler<'c> {
    known: &'c NamesRef<'c>,
    fields: &'c FieldNames,
    names: &'c mut Interner,
    named: Vec<Skip>,
    /// Where each record that is passed over lies in `named`, and whether it is known to have no bytes.
    records: HashMap<Name, (usize, bool)>,
}

impl<'c> Compiler<'c> {
    /// What a reference stands for, and the namespace inside of it.
    fn resolve<'s>(&self, schema: &'s Schema, namespace: Option<&str>) -> Result<(&'s Schema, Namespace), String>
    where
        'c: 's,
    {
        let own = |name: &Name| name.fully_qualified_name(namespace).namespace().map(str::to_owned);
        match schema {
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(namespace);
                let found = self.known.get(name.as_ref()).copied();
                let found = found.ok_or_else(|| format!("refers to {name}, which it does not define"))?;
                Ok((found, name.namespace().map(str::to_owned)))
            }
            Schema::Record(record) => Ok((schema, own(&record.name))),
            _ => Ok((schema, namespace.map(str::to_owned))),
        }
    }

    fn record(&mut self, record: &RecordSchema, namespace: Namespace) -> Result<Vec<Step>, String> {
        let namespace = namespace.as_deref();
        let mut steps = Vec::with_capacity(record.fields.len());
        // Numbers beside a measure's name and its value, which are always there, are no measures.
        let is_narrow = record.fields.iter().any(|field| {
            (field.name == self.fields.kind || field.name == self.fields.value)
                && !matches!(field.schema, Schema::Union(_) | Schema::Null)
        });
        for field in &record.fields {
            let action = if field.name == self.fields.location {
                Action::Place(self.place(&field.schema, namespace)?)
            } else {
                match self.role(&field.name)? {
                    Some(Role::Measure(_)) if is_narrow => Action::Pass(self.skip(&field.schema, namespace)?),
                    Some(role) => match self.read(&field.schema, namespace)? {
                        Read::Other(skip) if matches!(role, Role::Measure(_)) => Action::Pass(skip),
                        read => Action::Take(role, read),
                    },
                    None => Action::Pass(self.skip(&field.schema, namespace)?),
                }
            };
            steps.push(Step {
                name: field.name.as_str().into(),
                action,
            });
        }
        Ok(steps)
    }

    fn role(&mut self, name: &str) -> Result<Option<Role>, String> {
        let fields = self.fields;
        let rank = |names: &[String]| names.iter().position(|known| known == name);
        Ok(if let Some(rank) = rank(&fields.id) {
            Some(Role::Id(rank))
        } else if let Some(rank) = rank(&fields.time) {
            Some(Role::Time(rank))
        } else if name == fields.kind {
            Some(Role::Kind)
        } else if name == fields.value {
            Some(Role::Value)
        } else if name == fields.status {
            Some(Role::Status)
        } else if rank(&fields.ignored).is_some() {
            None
        } else if name.len() > MAX_SENSOR_ID_BYTES {
            return Err(format!(
                "has a field whose name is over {MAX_SENSOR_ID_BYTES} bytes long"
            ));
        } else {
            Some(Role::Measure(self.names.kind(name)))
        })
    }

    fn read(&mut self, schema: &Schema, namespace: Option<&str>) -> Result<Read, String> {
        let time = |ticks_per_ms| Read::Time { ticks_per_ms };
        Ok(match schema {
            Schema::Null => Read::Null,
            Schema::Boolean => Read::Boolean,
            Schema::Int => Read::Int,
            Schema::Long => Read::Long,
            Schema::Float => Read::Float,
            Schema::Double => Read::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Read::Text,
            Schema::Enum(symbols) => {
                Read::Symbol(symbols.symbols.iter().map(|symbol| symbol.as_str().into()).collect())
            }
            Schema::Uuid(UuidSchema::Fixed(fixed)) if fixed.size == 16 => Read::Uuid,
            Schema::TimestampMillis | Schema::LocalTimestampMillis => time(1),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => time(1_000),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => time(1_000_000),
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.read(branch, namespace));
                Read::OneOf(branches.collect::<Result<_, _>>()?)
            }
            // A named type of these is an enum or a fixed.
            Schema::Ref { .. } => match self.resolve(schema, namespace)? {
                (found @ (Schema::Enum(_) | Schema::Uuid(_)), inner) => self.read(found, inner.as_deref())?,
                _ => Read::Other(self.skip(schema, namespace)?),
            },
            _ => Read::Other(self.skip(schema, namespace)?),
        })
    }

    fn place(&mut self, schema: &Schema, namespace: Option<&str>) -> Result<Place, String> {
        match self.resolve(schema, namespace)? {
            (Schema::Record(record), inner) => {
                let steps = record.fields.iter().map(|field| {
                    Ok(match field.name.as_str() {
                        "latitude" | "lat" => PlaceStep::Latitude(self.read(&field.schema, inner.as_deref())?),
                        "longitude" | "lon" | "lng" => {
                            PlaceStep::Longitude(self.read(&field.schema, inner.as_deref())?)
                        }
                        _ => PlaceStep::Pass(self.skip(&field.schema, inner.as_deref())?),
                    })
                });
                Ok(Place::Record(steps.collect::<Result<_, String>>()?))
            }
            (Schema::Union(union), _) => {
                let branches = union.variants().iter().map(|branch| self.place(branch, namespace));
                Ok(Place::OneOf(branches.collect::<Result<_, _>>()?))
            }
            _ => Ok(Place::Other(self.skip(schema, namespace)?)),
        }
    }

    fn skip(&mut self, schema: &Schema, namespace: Option<&str>) -> Result<Skip, String> {
        let fixed = |size: usize| if size == 0 { Skip::Nothing } else { Skip::Fixed(size) };
        Ok(match schema {
            Schema::Null => Skip::Nothing,
            Schema::Boolean => Skip::Fixed(1),
            Schema::Float => Skip::Fixed(4),
            Schema::Double => Skip::Fixed(8),
            Schema::Int
            | Schema::Long
            | Schema::Enum(_)
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Skip::Integer,
            Schema::Bytes
            | Schema::String
            | Schema::BigDecimal
            | Schema::Uuid(UuidSchema::String | UuidSchema::Bytes)
            | Schema::Decimal(DecimalSchema {
                inner: InnerDecimalSchema::Bytes,
                ..
            }) => Skip::Counted,
            Schema::Fixed(of)
            | Schema::Duration(of)
            | Schema::Uuid(UuidSchema::Fixed(of))
            | Schema::Decimal(DecimalSchema {
                inner: InnerDecimalSchema::Fixed(of),
                ..
            }) => fixed(of.size),
            Schema::Array(array) => Skip::Blocks(Box::new(self.skip(&array.items, namespace)?)),
            Schema::Map(map) => {
                let value = self.skip(&map.types, namespace)?;
                Skip::Blocks(Box::new(Skip::All([Skip::Counted, value].into())))
            }
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.skip(branch, namespace));
                Skip::OneOf(branches.collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => self.skip_record(record, namespace)?,
            Schema::Ref { .. } => {
                let (found, inner) = self.resolve(schema, namespace)?;
                self.skip(found, inner.as_deref())?
            }
        })
    }

    /// Each record is compiled once, however often it is referred to, also from inside of itself.
    fn skip_record(&mut self, record: &RecordSchema, namespace: Option<&str>) -> Result<Skip, String> {
        let name = record.name.fully_qualified_name(namespace).into_owned();
        if let Some((index, is_empty)) = self.records.get(&name) {
            return Ok(if *is_empty { Skip::Nothing } else { Skip::Named(*index) });
        }
        let index = self.named.len();
        self.named.push(Skip::Nothing);
        let inner = name.namespace().map(str::to_owned);
        self.records.insert(name.clone(), (index, false));
        let parts = record
            .fields
            .iter()
            .map(|field| self.skip(&field.schema, inner.as_deref()));
        let parts = parts.collect::<Result<Box<[Skip]>, String>>()?;
        // A record without bytes is nothing: else a schema could make much work of no bytes.
        if parts.iter().all(|part| matches!(part, Skip::Nothing)) {
            self.records.insert(name, (index, true));
            return Ok(Skip::Nothing);
        }
        self.named[index] = Skip::All(parts);
        Ok(Skip::Named(index))
    }
}
