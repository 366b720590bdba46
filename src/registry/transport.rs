//! HTTP over TLS: ureq's connections, encrypted by the same OpenSSL that all others use, which none of ureq's own choices
//! does without a second library or four more crates.

use std::fmt;
use std::io::{self, Read, Write};

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};

use crate::tls::{self, HandshakeError, TlsError, TlsSettings, TlsStream};

/// An agent whose connections to https addresses are encrypted and verified.
pub fn agent(config: &Config, settings: &TlsSettings) -> Result<Agent, TlsError> {
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(Encrypt(tls::Connector::new(settings)?));
    Ok(Agent::with_parts(config.clone(), connector, DefaultResolver::default()))
}

/// Why the server's certificate was refused, where that is what failed.
pub fn refusal(error: &ureq::Error) -> Option<String> {
    let ureq::Error::Io(error) = error else { return None };
    match error.get_ref()?.downcast_ref::<HandshakeError>()? {
        HandshakeError::Refused(why) => Some(why.clone()),
        HandshakeError::Io(_) | HandshakeError::Failed(_) => None,
    }
}

/// The last link of the chain that makes a connection.
struct Encrypt(tls::Connector);

impl fmt::Debug for Encrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encrypt")
    }
}

impl<In: Transport> Connector<In> for Encrypt {
    type Out = Either<In, Encrypted>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let mut below = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        below.set_timeout(details.timeout);
        let stream = self.0.connect(host, below).map_err(|error| match error {
            HandshakeError::Io(error) => unwrapped(error),
            error => io::Error::other(error).into(),
        })?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Encrypted { buffers, stream })))
    }
}

/// ureq's own errors, a timeout for example, come back through the stream as input and output errors.
fn unwrapped(error: io::Error) -> ureq::Error {
    match error.downcast::<ureq::Error>() {
        Ok(error) => error,
        Err(error) => error.into(),
    }
}

struct Encrypted {
    buffers: LazyBuffers,
    stream: TlsStream<TransportAdapter>,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encrypted")
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(unwrapped)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input).map_err(unwrapped)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
