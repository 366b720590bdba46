//! A relay between one program and Cassandra that knows enough of the protocol to say which states were written through it
//! and which of these writes the server acknowledged, and at which consistency what was asked, and that can hold back what
//! is sent: a network that delays.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use uuid::Uuid;

/// Opcodes of the native protocol, version 4.
const EXECUTE: u8 = 0x0a;
const BATCH: u8 = 0x0d;
const RESULT: u8 = 0x08;

/// Version, flags, stream, opcode, length.
const HEADER_BYTES: usize = 9;

/// Version of the state's encoding, its first byte; the offset of the last record follows.
const STATE_VERSION: u8 = 1;

/// A state cell that was sent to the server.
#[derive(Clone, PartialEq, Debug)]
pub struct StateWrite {
    pub sensor: Uuid,
    pub source: String,
    pub last_offset: i64,
}

/// What a request is about, told by the number and the lengths of its values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum About {
    Readings,
    Windows,
    /// One batch of both.
    ReadingsAndWindows,
    State,
    /// A question for readings.
    ReadingsAsked,
}

/// The protocol's numbers of consistencies.
pub const ONE: u16 = 1;
pub const QUORUM: u16 = 4;

/// Requests by what they were about and their consistency.
pub type Levels = BTreeMap<(About, u16), usize>;

/// What passed so far.
#[derive(Default)]
struct Passed {
    levels: Levels,
    holding: bool,
    /// State cells in frames that were held back, whether they were let go or not.
    held: usize,
    /// Requests on their way, by connection and stream.
    asked: HashMap<(usize, u16), Vec<StateWrite>>,
    /// State cells that the server acknowledged.
    acknowledged: Vec<StateWrite>,
}

pub struct Relay {
    port: u16,
    passed: Arc<(Mutex<Passed>, Condvar)>,
}

impl Relay {
    /// To the server at `host:port`. Its threads end with their connections.
    pub fn to(server: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let passed = Arc::<(Mutex<Passed>, Condvar)>::default();
        let (server, shared) = (server.to_owned(), passed.clone());
        std::thread::spawn(move || {
            for (connection, client) in listener.incoming().enumerate() {
                let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(&server)) else {
                    continue;
                };
                let (Ok(client_back), Ok(upstream_back)) = (client.try_clone(), upstream.try_clone()) else {
                    continue;
                };
                let (there, back) = (shared.clone(), shared.clone());
                std::thread::spawn(move || pump(client, upstream, |frame| request(&there, connection, frame)));
                std::thread::spawn(move || pump(upstream_back, client_back, |frame| answer(&back, connection, frame)));
            }
        });
        Relay { port, passed }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on no state reaches the server, and nothing that follows one on its connection, until released.
    pub fn hold(&self) {
        lock(&self.passed.0).holding = true;
    }

    /// How many state cells are held back.
    pub fn held(&self) -> usize {
        lock(&self.passed.0).held
    }

    pub fn release(&self) {
        lock(&self.passed.0).holding = false;
        self.passed.1.notify_all();
    }

    /// Requests that were sent so far.
    pub fn levels(&self) -> Levels {
        lock(&self.passed.0).levels.clone()
    }

    /// State cells that the server acknowledged so far, in the order of its answers.
    pub fn acknowledged(&self) -> Vec<StateWrite> {
        lock(&self.passed.0).acknowledged.clone()
    }
}

fn lock(passed: &Mutex<Passed>) -> MutexGuard<'_, Passed> {
    passed.lock().expect("no thread of the relay panics")
}

/// Carries frames until one side closes. Each is shown before it is sent on.
fn pump(mut from: TcpStream, mut to: TcpStream, mut show: impl FnMut(&[u8])) {
    let mut carry = || -> io::Result<()> {
        loop {
            let mut frame = vec![0; HEADER_BYTES];
            from.read_exact(&mut frame)?;
            let length = u32::from_be_bytes(frame[5..].try_into().expect("four bytes"));
            frame.resize(HEADER_BYTES + length as usize, 0);
            from.read_exact(&mut frame[HEADER_BYTES..])?;
            show(&frame);
            to.write_all(&frame)?;
        }
    };
    let _ = carry();
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn stream_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[2], frame[3]])
}

/// Waits with a state while the relay holds, then enters what the frame is about to write.
fn request((passed, released): &(Mutex<Passed>, Condvar), connection: usize, frame: &[u8]) {
    let body = &frame[HEADER_BYTES..];
    let asked = match frame[4] {
        EXECUTE => statement_of_execute(body),
        BATCH => statements_of_batch(body),
        _ => None,
    };
    let Some((statements, consistency)) = asked else { return };
    let states: Vec<StateWrite> = statements.iter().filter_map(|values| state_of(values)).collect();
    let mut passed = lock(passed);
    if let Some(about) = about(&statements) {
        *passed.levels.entry((about, consistency)).or_default() += 1;
    }
    if states.is_empty() {
        return;
    }
    if passed.holding {
        passed.held += states.len();
        passed = released
            .wait_while(passed, |passed| passed.holding)
            .expect("no thread of the relay panics");
    }
    passed.asked.insert((connection, stream_of(frame)), states);
}

fn answer((passed, _): &(Mutex<Passed>, Condvar), connection: usize, frame: &[u8]) {
    let mut passed = lock(passed);
    if let Some(states) = passed.asked.remove(&(connection, stream_of(frame)))
        && frame[4] == RESULT
    {
        passed.acknowledged.extend(states);
    }
}

/// Values of each statement of a request, and its consistency.
type Asked<'a> = (Vec<Vec<&'a [u8]>>, u16);

/// Id of the prepared statement, consistency, flags, values.
fn statement_of_execute(body: &[u8]) -> Option<Asked<'_>> {
    let mut body = Body(body);
    body.short_bytes()?;
    let consistency = body.u16()?;
    let has_values = body.take(1)?[0] & 1 != 0;
    let values = if has_values { body.values()? } else { Vec::new() };
    Some((vec![values], consistency))
}

/// Kind of batch, then for each statement: kind, id or text, values; then the consistency.
fn statements_of_batch(body: &[u8]) -> Option<Asked<'_>> {
    let mut body = Body(body);
    body.take(1)?;
    let count = body.u16()?;
    let mut statements = Vec::new();
    for _ in 0..count {
        match body.take(1)?[0] {
            0 => body.bytes().map(drop)?,
            _ => body.short_bytes().map(drop)?,
        }
        statements.push(body.values()?);
    }
    Some((statements, body.u16()?))
}

/// Readings are inserted with six values, windows with eight, both after a sensor's id and a day of four bytes; readings are
/// asked for by a sensor's id, a day and two times.
fn about(statements: &[Vec<&[u8]>]) -> Option<About> {
    let has = |values: usize| {
        let is_one = |of: &Vec<&[u8]>| of.len() == values && of[0].len() == 16 && of[1].len() == 4;
        statements.iter().any(is_one)
    };
    let is_question = |of: &Vec<&[u8]>| of.len() == 4 && of[1..].iter().map(|value| value.len()).eq([4, 8, 8]);
    match (has(6), has(8)) {
        (true, true) => Some(About::ReadingsAndWindows),
        (true, false) => Some(About::Readings),
        (false, true) => Some(About::Windows),
        (false, false) if statements.iter().any(is_question) => Some(About::ReadingsAsked),
        (false, false) => statements
            .iter()
            .any(|values| state_of(values).is_some())
            .then_some(About::State),
    }
}

/// Values of `INSERT INTO sensor_state (sensor_id, source, state) … USING TIMESTAMP`: nothing else has a blob before the
/// write timestamp that begins with the version and the offset that the timestamp follows from.
fn state_of(values: &[&[u8]]) -> Option<StateWrite> {
    let [sensor, source, state, timestamp] = values else {
        return None;
    };
    let sensor = Uuid::from_slice(sensor).ok()?;
    let (version, rest) = state.split_first()?;
    let last_offset = i64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let timestamp = i64::from_be_bytes((*timestamp).try_into().ok()?);
    (*version == STATE_VERSION && timestamp == last_offset + 1).then(|| StateWrite {
        sensor,
        source: String::from_utf8_lossy(source).into_owned(),
        last_offset,
    })
}

/// The rest of a frame's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn short_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Empty where it is null or not set: the length is negative then.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).unwrap_or(0))
    }

    fn values(&mut self) -> Option<Vec<&'a [u8]>> {
        let values = self.u16()?;
        (0..values).map(|_| self.bytes()).collect()
    }
}
