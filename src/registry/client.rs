//! Requests and answers.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::{RegistryError, RegistrySettings, RegistryUrl};

/// The largest answer that is read: far beyond any schema.
const ANSWER_MAX_BYTES: u64 = 4 << 20;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Which versions of a subject's schema may follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compatibility {
    /// The new schema reads what was written with the latest one.
    Backward,
}

impl Compatibility {
    pub fn as_str(self) -> &'static str {
        match self {
            Compatibility::Backward => "BACKWARD",
        }
    }
}

/// A version of a subject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    pub id: u32,
    pub version: u32,
    pub schema: String,
}

/// A client of the registry.
pub struct Registry {
    agent: Agent,
    url: RegistryUrl,
    /// Value of the header, a secret.
    authorization: Option<String>,
    /// Why nothing may be asked: our own certificates cannot be used.
    unusable: Option<String>,
}

/// Shows where it is, and no secret.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    id: u32,
    version: u32,
    schema: String,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

impl Registry {
    pub fn new(settings: &RegistrySettings) -> Registry {
        let config = Agent::config_builder()
            .timeout_global(Some(settings.request_timeout))
            .http_status_as_error(false)
            // What began in secret is not continued in the open, wherever an answer redirects to.
            .https_only(settings.url.is_secure())
            .user_agent("iotpipe")
            .build();
        let (agent, unusable) = agent(config, settings);
        let password = settings.password.as_ref().map_or("", |password| password.expose());
        let basic = |user: &String| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Registry {
            agent,
            url: settings.url.clone(),
            authorization: settings.username.as_ref().map(basic),
            unusable,
        }
    }

    pub fn url(&self) -> &RegistryUrl {
        &self.url
    }

    /// The schema with an id; `None` where the registry does not know it. A schema in another language than Avro is told as
    /// it is: no parser will take it.
    pub fn schema(&self, id: u32) -> Result<Option<String>, RegistryError> {
        let answer = self.get(&format!("/schemas/ids/{id}"))?;
        let Some(answer) = self.found::<SchemaAnswer>(answer)? else {
            return Ok(None);
        };
        match answer.schema_type.as_deref() {
            None | Some("AVRO") => Ok(Some(answer.schema)),
            Some(other) => Ok(Some(format!("\"{}\"", other.escape_default()))),
        }
    }

    /// The latest version of a subject; `None` where there is none.
    pub fn latest(&self, subject: &str) -> Result<Option<Registered>, RegistryError> {
        let answer = self.get(&format!("/subjects/{}/versions/latest", segment(subject)))?;
        let answer = self.found::<VersionAnswer>(answer)?;
        Ok(answer.map(|answer| Registered {
            id: answer.id,
            version: answer.version,
            schema: answer.schema,
        }))
    }

    /// Registers a schema as the next version of its subject, if it is not one already; answers its id.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{}/versions", segment(subject));
        let (status, body) = self.send_settled("POST", &path, &json!({ "schema": schema }))?;
        if matches!(status, StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) {
            return Err(RegistryError::Refused {
                url: self.url.to_string(),
                subject: subject.to_owned(),
                why: message(&body),
            });
        }
        Ok(self.parsed::<IdAnswer>(status, &body)?.id)
    }

    /// Sets which schemas may follow on a subject's latest.
    pub fn set_compatibility(&self, subject: &str, compatibility: Compatibility) -> Result<(), RegistryError> {
        let body = json!({ "compatibility": compatibility.as_str() });
        let (status, body) = self.send_settled("PUT", &format!("/config/{}", segment(subject)), &body)?;
        self.parsed::<Value>(status, &body).map(drop)
    }

    /// Compatibility of a subject; `None` where the registry's general one holds.
    pub fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let answer = self.get(&format!("/config/{}", segment(subject)))?;
        // Servers disagree about the name.
        let named = |answer: Value| {
            let name = ["compatibilityLevel", "compatibility"]
                .iter()
                .find_map(|name| answer.get(name));
            name.and_then(Value::as_str).map(str::to_owned)
        };
        Ok(self.found::<Value>(answer)?.and_then(named))
    }

    fn get(&self, path: &str) -> Result<(StatusCode, String), RegistryError> {
        self.send("GET", path, None)
    }

    /// Of two that make the same thing at the same moment one may be told of a conflict: asked again, it finds the thing made.
    fn send_settled(&self, method: &str, path: &str, body: &Value) -> Result<(StatusCode, String), RegistryError> {
        let answer = self.send(method, path, Some(body))?;
        match answer.0 {
            StatusCode::CONFLICT => self.send(method, path, Some(body)),
            _ => Ok(answer),
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(StatusCode, String), RegistryError> {
        let unavailable = |error: &dyn fmt::Display| RegistryError::Unavailable {
            url: self.url.to_string(),
            why: error.to_string(),
        };
        let untrusted = |why: String| RegistryError::Untrusted {
            url: self.url.to_string(),
            why,
        };
        if let Some(why) = &self.unusable {
            return Err(untrusted(why.clone()));
        }
        let mut response = self.call(method, path, body).map_err(|error| match refusal(&error) {
            Some(why) => untrusted(why),
            None => unavailable(&error),
        })?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_to_string();
        let body = body.map_err(|error| unavailable(&error))?;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied {
                url: self.url.to_string(),
                status: status.as_u16(),
            }),
            // Answers that speak of this moment, not of the request.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(&status)),
            _ if status.is_server_error() => Err(unavailable(&format_args!("{status} {}", message(&body)))),
            _ => Ok((status, body)),
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("accept", CONTENT_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        match body {
            Some(body) => self
                .agent
                .run(request.header("content-type", CONTENT_TYPE).body(body.to_string())?),
            None => self.agent.run(request.body(())?),
        }
    }

    /// The answer to a question for something that may not be there.
    fn found<T: for<'de> Deserialize<'de>>(&self, answer: (StatusCode, String)) -> Result<Option<T>, RegistryError> {
        let (status, body) = answer;
        // What is no registry says 404 as well: a registry says which of its things it did not find.
        let is_missing = status == StatusCode::NOT_FOUND
            && serde_json::from_str::<Value>(&body).is_ok_and(|answer| answer.get("error_code").is_some());
        if is_missing {
            return Ok(None);
        }
        self.parsed(status, &body).map(Some)
    }

    fn parsed<T: for<'de> Deserialize<'de>>(&self, status: StatusCode, body: &str) -> Result<T, RegistryError> {
        let strange = |why: String| RegistryError::Strange {
            url: self.url.to_string(),
            why,
        };
        if !status.is_success() {
            return Err(strange(format!("{status} {}", message(body))));
        }
        serde_json::from_str(body).map_err(|error| strange(error.to_string()))
    }
}

/// The agent, and why it must not be used if it must not.
fn agent(config: ureq::config::Config, settings: &RegistrySettings) -> (Agent, Option<String>) {
    #[cfg(feature = "tls")]
    if settings.url.is_secure() {
        return match super::transport::agent(&config, &settings.tls) {
            Ok(agent) => (agent, None),
            Err(error) => (config.into(), Some(error.to_string())),
        };
    }
    let _ = settings;
    (config.into(), None)
}

/// Why the registry's certificate was refused, where that is what failed.
fn refusal(error: &ureq::Error) -> Option<String> {
    #[cfg(feature = "tls")]
    return super::transport::refusal(error);
    #[cfg(not(feature = "tls"))]
    {
        let _ = error;
        None
    }
}

/// What a registry's error says, cut short where it is no such error.
fn message(body: &str) -> String {
    let parsed = serde_json::from_str::<Value>(body).ok();
    let told = parsed.as_ref().and_then(|error| error.get("message")?.as_str());
    told.unwrap_or(body).chars().take(300).collect()
}

/// A subject as one segment of a path: names of topics need no escape, others get one.
fn segment(subject: &str) -> String {
    let mut text = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_segment() {
        assert_eq!(segment("iot_sensor_data-value"), "iot_sensor_data-value");
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn an_error_is_its_message_or_the_beginning_of_what_came() {
        assert_eq!(
            message(r#"{"error_code":40403,"message":"Schema not found"}"#),
            "Schema not found"
        );
        assert_eq!(message(&"x".repeat(1000)).len(), 300);
    }
}
