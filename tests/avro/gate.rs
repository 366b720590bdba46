//! A relay in front of a registry that can be shut, can hide schemas and can ask for a password: what registries do at times.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
struct Rules {
    shut: bool,
    hidden: HashSet<u32>,
    /// Value of the header that is asked for.
    authorization: Option<String>,
    /// First lines of the requests that came in, also of those that were turned away.
    asked: Vec<String>,
}

pub struct Gate {
    url: String,
    rules: Arc<Mutex<Rules>>,
}

impl Gate {
    /// In front of the registry at `url`. Its threads end with their connections.
    pub fn to(url: &str) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_else(|| panic!("no address with a path: {url}"));
        let (host, rules) = (host.to_owned(), Arc::<Mutex<Rules>>::default());
        let shared = rules.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (host, rules) = (host.clone(), shared.clone());
                std::thread::spawn(move || serve(client, &host, &rules));
            }
        });
        Gate {
            url: format!("http://127.0.0.1:{port}/{path}"),
            rules,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections are closed without an answer.
    pub fn shut(&self) {
        lock(&self.rules).shut = true;
    }

    pub fn open(&self) {
        lock(&self.rules).shut = false;
    }

    /// The registry says that it does not know this schema.
    pub fn hide(&self, id: u32) {
        lock(&self.rules).hidden.insert(id);
    }

    pub fn show(&self, id: u32) {
        lock(&self.rules).hidden.remove(&id);
    }

    /// From now on only requests with this header are let through.
    pub fn ask_for(&self, authorization: &str) {
        lock(&self.rules).authorization = Some(authorization.to_owned());
    }

    /// Requests so far whose first line contains the text.
    pub fn asked(&self, text: &str) -> usize {
        let rules = lock(&self.rules);
        rules.asked.iter().filter(|line| line.contains(text)).count()
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().expect("no thread panicked")
}

/// One request, one answer, and the end of the connection. What fails is a connection that ends early.
fn serve(mut client: TcpStream, host: &str, rules: &Mutex<Rules>) {
    let Ok((head, body)) = request(&mut client) else { return };
    let first = head.lines().next().unwrap_or_default().to_owned();
    let turned_away = {
        let mut rules = lock(rules);
        rules.asked.push(first.clone());
        if rules.shut {
            return;
        }
        let has_password = rules.authorization.as_ref().is_none_or(|wanted| {
            let headers = head.lines().filter_map(|line| line.split_once(": "));
            { headers }.any(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == wanted)
        });
        let is_hidden = rules
            .hidden
            .iter()
            .any(|id| first.contains(&format!("/schemas/ids/{id} ")));
        match (has_password, is_hidden) {
            (false, _) => Some(("401 Unauthorized", r#"{"error_code":401,"message":"who are you?"}"#)),
            (_, true) => Some(("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#)),
            _ => None,
        }
    };
    if let Some((status, body)) = turned_away {
        let length = body.len();
        let _ = write!(
            client,
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        return;
    }
    let _ = relay(&mut client, host, &head, &body);
}

fn relay(client: &mut TcpStream, host: &str, head: &str, body: &[u8]) -> io::Result<()> {
    let mut server = TcpStream::connect(host)?;
    let kept = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = kept
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\r\n"))
        .collect();
    write!(server, "{head}connection: close\r\n\r\n")?;
    server.write_all(body)?;
    io::copy(&mut server, client)?;
    Ok(())
}

fn request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| {
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
        });
    let mut body = body;
    let length = length.unwrap_or(0);
    while body.len() < length {
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => body.extend_from_slice(&buffer[..count]),
        }
    }
    Ok((head, body))
}
