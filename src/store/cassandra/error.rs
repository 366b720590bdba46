//! The driver's errors sorted into what may pass and what will not, each as one line.

use std::fmt::Display;

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, DeserializationError,
    ExecutionError, FirstRowError, IntoRowsResultError, MaybeFirstRowError, MetadataError, NewSessionError,
    NextPageError, NextRowError, PagerExecutionError, PrepareError, RequestAttemptError, RequestError, RowsError,
    SchemaAgreementError, TypeCheckError, UseKeyspaceError,
};

use crate::store::StoreError;
use crate::tls::TlsSettings;

const RUN_INIT_SCHEMA: &str = "run `iotpipe init-schema`";
const CHECK_CREDENTIALS: &str = "check the store's user and password";
const CHECK_TLS: &str = "check that Cassandra runs there and speaks TLS (store.tls); if it wants a client certificate, set \
                         store.certificate_file and store.key_file";
const CHECK_IDENTITY: &str =
    "check that Cassandra runs there and speaks TLS (store.tls), and that it trusts store.certificate_file";
const CHECK_PLAIN: &str = "check that Cassandra runs there, or set --store (IOTPIPE_STORE); if it wants TLS, store.tls";
const CHECK_GRANTS: &str = "grant the user SELECT and MODIFY on the keyspace (init-schema: CREATE and ALTER too)";

/// Why a request failed.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cause {
    is_permanent: bool,
    why: String,
    /// What to do about it, where that is known.
    hint: Option<&'static str>,
}

impl Cause {
    pub(super) fn transient(why: impl Display) -> Cause {
        Cause {
            is_permanent: false,
            why: one_line(why),
            hint: None,
        }
    }

    pub(super) fn permanent(why: impl Display) -> Cause {
        Cause {
            is_permanent: true,
            why: one_line(why),
            hint: None,
        }
    }

    /// At the start, when nothing worked yet: whether the other end speaks TLS is the first thing to doubt.
    pub(super) fn at_start(mut self, tls: Option<&TlsSettings>) -> Cause {
        if self.hint.is_some() {
            return self;
        }
        if self.why.contains("Connection broken") {
            // The driver says by which of its parts that was noticed.
            self.why = "the other end closed the connection".to_owned();
        }
        self.hint(match tls {
            None => CHECK_PLAIN,
            Some(TlsSettings { identity: None, .. }) => CHECK_TLS,
            Some(_) => CHECK_IDENTITY,
        })
    }

    fn hint(mut self, hint: &'static str) -> Cause {
        self.hint = Some(hint);
        self
    }

    /// The error that the caller sees: what was attempted, on what, why it failed, what to do.
    pub(super) fn into_error(self, place: &str, attempted: impl Display) -> StoreError {
        let hint = self.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let text = format!("{place}: cannot {attempted}: {}{hint}", self.why);
        if self.is_permanent {
            StoreError::Permanent(text)
        } else {
            StoreError::Transient(text)
        }
    }
}

/// Some of the driver's texts run over several lines, and some repeat themselves.
fn one_line(text: impl Display) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a failure that the server reported may pass. What is unknown may: the caller tries again and says so.
fn from_server(error: &DbError, message: &str) -> Cause {
    let text = if message.is_empty() {
        error.to_string()
    } else {
        format!("{error}: {message}")
    };
    match error {
        DbError::Invalid | DbError::ConfigError if is_missing(message) => {
            Cause::permanent(message).hint(RUN_INIT_SCHEMA)
        }
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::ConfigError
        | DbError::AlreadyExists { .. }
        | DbError::FunctionFailure { .. }
        | DbError::ProtocolError => Cause::permanent(text),
        // The node could not look the user up: its peers that know are away, or it has just started.
        DbError::AuthenticationError if message.contains("Unable to perform authentication") => Cause::transient(text),
        DbError::AuthenticationError => Cause::permanent(text).hint(CHECK_CREDENTIALS),
        DbError::Unauthorized => Cause::permanent(text).hint(CHECK_GRANTS),
        _ => Cause::transient(text),
    }
}

/// Cassandra has no code of its own for what is not there.
fn is_missing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "unconfigured table",
        "does not exist",
        "undefined column name",
        "unknown identifier",
        "unknown keyspace",
    ]
    .iter()
    .any(|text| message.contains(text))
}

impl From<RequestAttemptError> for Cause {
    fn from(error: RequestAttemptError) -> Cause {
        match &error {
            RequestAttemptError::DbError(db, message) => from_server(db, message),
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
                Cause::permanent(error)
            }
            _ => Cause::transient(error),
        }
    }
}

impl From<ConnectionPoolError> for Cause {
    fn from(error: ConnectionPoolError) -> Cause {
        match error {
            ConnectionPoolError::Broken { last_connection_error } => last_connection_error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<ConnectionError> for Cause {
    fn from(error: ConnectionError) -> Cause {
        match error {
            ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
                ConnectionSetupRequestErrorKind::DbError(db, message) => from_server(db, message),
                ConnectionSetupRequestErrorKind::MissingAuthentication => {
                    Cause::permanent("the server asks for a user and a password").hint(CHECK_CREDENTIALS)
                }
                ConnectionSetupRequestErrorKind::StartAuthSessionError(_)
                | ConnectionSetupRequestErrorKind::AuthChallengeEvaluationError(_)
                | ConnectionSetupRequestErrorKind::AuthFinishError(_) => {
                    Cause::permanent(setup).hint(CHECK_CREDENTIALS)
                }
                _ => Cause::transient(setup),
            },
            ConnectionError::UseKeyspaceError(error) => error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<UseKeyspaceError> for Cause {
    fn from(error: UseKeyspaceError) -> Cause {
        match error {
            UseKeyspaceError::RequestError(error) => error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<PrepareError> for Cause {
    fn from(error: PrepareError) -> Cause {
        match error {
            PrepareError::ConnectionPoolError(error) => error.into(),
            PrepareError::AllAttemptsFailed { first_attempt } => first_attempt.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<RequestError> for Cause {
    fn from(error: RequestError) -> Cause {
        error.into_execution_error().into()
    }
}

impl From<ExecutionError> for Cause {
    fn from(error: ExecutionError) -> Cause {
        match error {
            ExecutionError::BadQuery(_) => Cause::permanent(error),
            ExecutionError::PrepareError(error) => error.into(),
            ExecutionError::ConnectionPoolError(error) => error.into(),
            ExecutionError::LastAttemptError(error) => error.into(),
            ExecutionError::RequestTimeout(after) => {
                Cause::transient(format!("no answer within {} ms", after.as_millis()))
            }
            // Every node that may be asked is down.
            ExecutionError::EmptyPlan => Cause::transient("no node can be asked"),
            ExecutionError::UseKeyspaceError(error) => error.into(),
            ExecutionError::SchemaAgreementError(error) => error.into(),
            ExecutionError::MetadataError(error) => error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<SchemaAgreementError> for Cause {
    fn from(error: SchemaAgreementError) -> Cause {
        Cause::transient(error)
    }
}

impl From<MetadataError> for Cause {
    fn from(error: MetadataError) -> Cause {
        match error {
            MetadataError::ConnectionPoolError(error) => error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<NewSessionError> for Cause {
    fn from(error: NewSessionError) -> Cause {
        match error {
            // Names may be known again later: a container that is being started.
            NewSessionError::FailedToResolveAnyHostname(names) => {
                Cause::transient(format!("no address is known for {}", names.join(", ")))
            }
            NewSessionError::MetadataError(error) => error.into(),
            NewSessionError::UseKeyspaceError(error) => error.into(),
            _ => Cause::permanent(error),
        }
    }
}

impl From<PagerExecutionError> for Cause {
    fn from(error: PagerExecutionError) -> Cause {
        match error {
            PagerExecutionError::PrepareError(error) => error.into(),
            PagerExecutionError::SerializationError(_) => Cause::permanent(error),
            PagerExecutionError::NextPageError(error) => error.into(),
            _ => Cause::transient(error),
        }
    }
}

impl From<NextPageError> for Cause {
    fn from(error: NextPageError) -> Cause {
        match error {
            NextPageError::RequestFailure(error) => error.into(),
            _ => Cause::permanent(error),
        }
    }
}

impl From<NextRowError> for Cause {
    fn from(error: NextRowError) -> Cause {
        match error {
            NextRowError::NextPageError(error) => error.into(),
            _ => Cause::permanent(error),
        }
    }
}

/// Answers that cannot be read: other columns than were asked for will not turn into them.
macro_rules! unreadable_answers {
    ($($error:ty),+) => {
        $(impl From<$error> for Cause {
            fn from(error: $error) -> Cause {
                Cause::permanent(error)
            }
        })+
    };
}
unreadable_answers!(
    TypeCheckError,
    DeserializationError,
    IntoRowsResultError,
    RowsError,
    FirstRowError
);
unreadable_answers!(MaybeFirstRowError);

#[cfg(test)]
mod tests {
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    use super::*;

    fn error_of(cause: impl Into<Cause>) -> StoreError {
        cause
            .into()
            .into_error("cassandra db:9042", "write 3 readings to k.sensor_readings")
    }

    fn from_db(error: DbError, message: &str) -> StoreError {
        error_of(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            error,
            message.to_owned(),
        )))
    }

    #[test]
    fn what_time_may_heal_is_transient() {
        let timeout = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::Simple,
        };
        let unavailable = DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        };
        for error in [
            timeout,
            unavailable,
            DbError::Overloaded,
            DbError::IsBootstrapping,
            DbError::ServerError,
        ] {
            assert!(from_db(error, "").is_transient());
        }
        assert!(error_of(ExecutionError::RequestTimeout(std::time::Duration::from_secs(1))).is_transient());
        assert!(error_of(ExecutionError::EmptyPlan).is_transient());
    }

    #[test]
    fn a_missing_table_and_a_wrong_password_say_what_to_do() {
        let missing = from_db(DbError::Invalid, "unconfigured table sensor_readings");
        assert_eq!(
            missing.to_string(),
            "cassandra db:9042: cannot write 3 readings to k.sensor_readings: unconfigured table sensor_readings; \
             run `iotpipe init-schema`"
        );
        assert!(!missing.is_transient());
        let refused = from_db(
            DbError::AuthenticationError,
            "Provided username x and/or password are incorrect",
        );
        assert!(
            !refused.is_transient() && refused.to_string().ends_with(CHECK_CREDENTIALS),
            "{refused}"
        );
        assert!(!from_db(DbError::Unauthorized, "").is_transient());
        let unknown = "Unable to perform authentication: Cannot achieve consistency level LOCAL_ONE";
        assert!(from_db(DbError::AuthenticationError, unknown).is_transient());
    }

    #[test]
    fn errors_are_one_line() {
        let text = Cause::transient("a\n        b")
            .into_error("cassandra db:9042", "connect")
            .to_string();
        assert_eq!(text, "cassandra db:9042: cannot connect: a b");
    }
}
