//! Connections over TLS on streams that somebody else opened.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{self, Ssl, SslContext};
use thiserror::Error;

use super::context::{context, reason};
use super::refusal::Refusal;
use super::{TlsError, TlsSettings};

/// A stream that is encrypted.
pub type TlsStream<S> = ssl::SslStream<S>;

/// Makes connections of clients.
pub struct Connector {
    context: SslContext,
    refusal: Refusal,
}

/// Why there is no connection.
#[derive(Error, Debug)]
pub enum HandshakeError {
    /// The server's certificate: what is wrong with it, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The stream below failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no TLS: {0}")]
    Failed(String),
}

impl Connector {
    pub fn new(settings: &TlsSettings) -> Result<Connector, TlsError> {
        let (builder, refusal) = context(settings, &[])?;
        Ok(Connector {
            context: builder.build(),
            refusal,
        })
    }

    /// Over a stream to `host`, for which the server's certificate must have been made.
    pub fn connect<S: Read + Write>(&self, host: &str, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        let failed = |error: &ErrorStack| HandshakeError::Failed(reason(error));
        let ssl = self.session(host).map_err(|error| failed(&error))?;
        ssl.connect(stream).map_err(|error| match error {
            ssl::HandshakeError::SetupFailure(error) => failed(&error),
            ssl::HandshakeError::Failure(stream) | ssl::HandshakeError::WouldBlock(stream) => {
                match (self.refusal.take(), stream.into_error()) {
                    (Some(why), _) => HandshakeError::Refused(why),
                    (None, error) => match error.into_io_error() {
                        Ok(error) => HandshakeError::Io(error),
                        Err(error) => match error.ssl_error() {
                            Some(stack) => failed(stack),
                            None => HandshakeError::Failed(error.to_string()),
                        },
                    },
                }
            }
        })
    }

    fn session(&self, host: &str) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => ssl.param_mut().set_ip(address)?,
            Err(_) => {
                ssl.param_mut().set_host(host)?;
                ssl.set_hostname(host)?;
            }
        }
        Ok(ssl)
    }
}

/// Why the certificate of the server at `host:port` would be refused, asked by a connection of its own; `None` where it
/// would not be, or where no server answers in time.
pub fn why_refused(settings: &TlsSettings, address: &str, timeout: Duration) -> Option<String> {
    let (host, _) = address.rsplit_once(':')?;
    let socket = address.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&socket, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    stream.set_write_timeout(Some(timeout)).ok()?;
    match Connector::new(settings).ok()?.connect(host, stream) {
        Err(HandshakeError::Refused(why)) => Some(why),
        _ => None,
    }
}
