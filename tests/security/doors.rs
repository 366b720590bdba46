//! What may stand in a client's way: a relay that counts connections, and somebody who shows a certificate of their choice.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

use super::site::file;

/// A listener on a free port that counts who came.
pub struct Listener {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    /// `serve` gets each connection on a thread of its own. Its threads end with their connections.
    fn start(host: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Listener {
        Listener::start_on(host, 0, serve)
    }

    fn start_on(host: &str, port: u16, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Listener {
        let listener = TcpListener::bind((host, port)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let connections = Arc::<AtomicUsize>::default();
        let (count, serve) = (connections.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(client));
            }
        });
        Listener {
            address: format!("{host}:{port}"),
            connections,
        }
    }

    /// To the server at `host:port`, byte for byte.
    pub fn to(server: &str) -> Listener {
        Listener::at("127.0.0.1", server)
    }

    /// The same on another address of this machine, for which the server's certificate is not.
    pub fn at(host: &str, server: &str) -> Listener {
        let server = server.to_owned();
        Listener::start(host, move |client| drop(relay(&client, &server)))
    }

    /// The same on the server's own port: Cassandra's driver asks nodes by their own addresses on the port that it began with.
    pub fn on_same_port(host: &str, server: &str) -> Listener {
        let (_, port) = server.rsplit_once(':').expect("a port");
        let (port, server) = (port.parse().expect("a port"), server.to_owned());
        Listener::start_on(host, port, move |client| drop(relay(&client, &server)))
    }

    /// Shows a certificate and says nothing more.
    pub fn showing(certificate: &str) -> Listener {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("a context");
        let chain = file(&format!("{certificate}.crt"));
        acceptor.set_certificate_chain_file(chain).expect("a certificate");
        let key = file(&format!("{certificate}.key"));
        acceptor.set_private_key_file(key, SslFiletype::PEM).expect("a key");
        let acceptor = acceptor.build();
        Listener::start("127.0.0.1", move |client| {
            if let Ok(mut stream) = acceptor.accept(client) {
                let _ = stream.read(&mut [0; 64]);
            }
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn relay(client: &TcpStream, server: &str) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (mut client_in, mut server_out) = (client.try_clone()?, server.try_clone()?);
    let there = std::thread::spawn(move || {
        let _ = io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let (mut server_in, mut client_out) = (server, client);
    let _ = io::copy(&mut server_in, &mut client_out);
    let _ = client.shutdown(Shutdown::Both);
    let _ = there.join();
    Ok(())
}
