//! The registry's part of `init-schema`: the subjects' schemas, which must be able to follow on those that are there.

use std::io::Write;

use crate::codec::{is_same_schema, reads_what_was_written};
use crate::command::{UsageError, subjects};
use crate::config::Config;
use crate::model::Finding;
use crate::registry::{Compatibility, Registry, RegistryError};
use crate::report::Out;

/// What the registry must hold.
pub struct Contract {
    registry: Registry,
    subjects: Vec<subjects::Subject>,
}

/// How a subject's schema stands to the latest one in the registry.
enum Standing {
    /// There is none yet.
    New,
    Same {
        id: u32,
        version: u32,
    },
    Allowed {
        after: u32,
    },
    Refused {
        after: u32,
        why: String,
    },
}

/// Settings of a subject that refuse at least what BACKWARD refuses: they are left as they are.
const AT_LEAST_BACKWARD: [&str; 4] = ["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"];

impl Contract {
    /// `None` where no registry is set.
    pub fn of(config: &Config) -> Result<Option<Contract>, UsageError> {
        let Some(settings) = config.registry() else {
            return Ok(None);
        };
        Ok(Some(Contract {
            registry: Registry::new(&settings),
            subjects: subjects::all(config).map_err(|error| UsageError(error.to_string()))?,
        }))
    }

    /// Subjects and schemas as text; nobody is asked.
    pub fn print(&self, out: &mut Out) -> std::io::Result<()> {
        out.line(&format!("-- subjects in {}", self.registry.url()))?;
        for subject in &self.subjects {
            out.line(&format!("-- {}: {}", subject.name, Compatibility::Backward.as_str()))?;
            out.line(subject.schema.trim_end())?;
        }
        out.line("")
    }

    /// Compares with what is there, and changes nothing. Answers whether all may follow; says which may not, and why.
    pub fn check(&self, out: &mut Out, tell_all: bool) -> anyhow::Result<bool> {
        let mut allowed = true;
        for subject in &self.subjects {
            let name = &subject.name;
            let standing = match self.standing(subject)? {
                Standing::Refused { after, why } => {
                    allowed = false;
                    out.note(&format!(
                        "error: subject {name}: its schema cannot follow on version {after}: {why}; send under another \
                         topic, or keep to that version's fields"
                    ));
                    continue;
                }
                Standing::New => "would be registered".to_owned(),
                Standing::Same { id, version } => format!("up to date (version {version}, id {id})"),
                Standing::Allowed { after } => format!("may follow on version {after}"),
            };
            if tell_all {
                out.line(&format!("subject {name}: {standing}"))?;
            }
        }
        Ok(allowed)
    }

    /// How each subject stands, with what to do about it.
    pub fn preflight(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for subject in &self.subjects {
            match self.examine(subject) {
                Ok(finding) => findings.push(finding),
                // Most likely all of them would say the same.
                Err(error) => {
                    let remedy = "start the registry, or correct its address, user or password";
                    return vec![Finding::wrong("registry", error.to_string(), remedy)];
                }
            }
        }
        findings
    }

    fn examine(&self, subject: &subjects::Subject) -> Result<Finding, RegistryError> {
        let check = format!("subject {}", subject.name);
        Ok(match self.standing(subject)? {
            Standing::New => Finding::warning(check, "is not registered", "run `iotpipe init-schema`"),
            Standing::Refused { after, why } => Finding::wrong(
                check,
                format!("its schema cannot follow on version {after}: {why}"),
                "send under another topic, or keep to that version's fields",
            ),
            Standing::Allowed { after } => Finding::ok(check, format!("may follow on version {after}")),
            Standing::Same { id, version } => {
                let compatibility = self.registry.compatibility(&subject.name)?;
                let compatibility = compatibility.as_deref().unwrap_or("the registry's own");
                let found = format!("version {version}, id {id}, compatibility: {compatibility}");
                match AT_LEAST_BACKWARD.contains(&compatibility) {
                    true => Finding::ok(check, found),
                    false => Finding::warning(check, found, "run `iotpipe init-schema`: it sets BACKWARD"),
                }
            }
        })
    }

    /// Registers all of them, and sees to their compatibility.
    pub fn register(&self, out: &mut Out) -> anyhow::Result<()> {
        for subject in &self.subjects {
            let name = &subject.name;
            match self.standing(subject)? {
                Standing::Same { id, version } => {
                    self.set_compatibility(name)?;
                    out.line(&format!("subject {name}: up to date (version {version}, id {id})"))?;
                }
                // Not every registry takes the setting of a subject that has no schema.
                Standing::New => {
                    let id = self.registry.register(name, &subject.schema)?;
                    self.set_compatibility(name)?;
                    out.line(&format!("subject {name}: registered (id {id})"))?;
                }
                // Where it is refused after all, the registry says so.
                Standing::Allowed { after } | Standing::Refused { after, .. } => {
                    self.set_compatibility(name)?;
                    let id = self.registry.register(name, &subject.schema)?;
                    out.line(&format!(
                        "subject {name}: registered (id {id}), follows on version {after}"
                    ))?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    fn set_compatibility(&self, subject: &str) -> Result<(), RegistryError> {
        let is = self.registry.compatibility(subject)?;
        match is.is_some_and(|is| AT_LEAST_BACKWARD.contains(&is.as_str())) {
            true => Ok(()),
            false => self.registry.set_compatibility(subject, Compatibility::Backward),
        }
    }

    fn standing(&self, subject: &subjects::Subject) -> Result<Standing, RegistryError> {
        let Some(latest) = self.registry.latest(&subject.name)? else {
            return Ok(Standing::New);
        };
        let version = latest.version;
        if is_same_schema(&latest.schema, &subject.schema) {
            return Ok(Standing::Same { id: latest.id, version });
        }
        Ok(match reads_what_was_written(&latest.schema, &subject.schema) {
            Ok(()) => Standing::Allowed { after: version },
            Err(why) => Standing::Refused { after: version, why },
        })
    }
}
