//! Schemas for records in Avro: asks the registry on a thread of its own, while the consumer's thread goes on polling.
//!
//! A registry that does not answer is asked until it does. A schema that it does not know may still be on its way there:
//! it is asked for again for a while. Until either is settled the record waits, and its partition with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::codec::{Decoder, SchemaId};
use crate::kafka::consumer::Verdict;
use crate::model::Reason;
use crate::registry::{Registry, RegistryError, RegistrySettings};
use crate::telemetry::events;

/// How long an answer is waited for before the partition is paused: registries usually take milliseconds, and pausing
/// throws away what was fetched ahead.
const BRIEFLY: Duration = Duration::from_millis(250);
/// Between two questions for a schema that the registry does not know.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// First and longest pause between two questions to a registry that does not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A schema that stayed unknown is asked for once more where a record comes with it so long after: it may have come late.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Bound of what is remembered of unknown schemas.
const REFUSED_MAX: usize = 10_000;

struct Question {
    id: SchemaId,
    /// How long it is asked again where the registry does not know it.
    wait: Duration,
}

enum Answer {
    Schema(String),
    /// Unknown, after all that time.
    Unknown,
    /// What no further question mends.
    Failed(RegistryError),
}

/// The consumer's thread's hand on the registry.
pub struct Schemas {
    ask: Sender<Question>,
    answers: Receiver<(SchemaId, Answer)>,
    unknown_schema_wait: Duration,
    failing: Arc<AtomicBool>,
    asked: HashMap<SchemaId, Instant>,
    /// Schemas that stayed unknown, and since when.
    refused: HashMap<SchemaId, Instant>,
}

impl Schemas {
    /// Starts the thread that asks. It ends with this.
    pub fn start(settings: &RegistrySettings) -> std::io::Result<Schemas> {
        let (ask, questions) = unbounded(); // one for each schema that is not known, at most once at a time
        let (tell, answers) = unbounded(); // one for each question
        let failing = Arc::new(AtomicBool::new(false));
        let asker = Asker {
            registry: Registry::new(settings),
            failing: failing.clone(),
            failing_since: None,
            pause: BACKOFF.0,
            open: Vec::new(),
            tell,
        };
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || asker.run(&questions))?;
        Ok(Schemas {
            ask,
            answers,
            unknown_schema_wait: settings.unknown_schema_wait,
            failing,
            asked: HashMap::new(),
            refused: HashMap::new(),
        })
    }

    /// Raised while the registry does not answer.
    pub fn failing(&self) -> Arc<AtomicBool> {
        self.failing.clone()
    }

    /// Makes sure that the decoder knows a schema, or that no record with it can be read.
    pub fn prepare(&mut self, decoder: &mut Decoder, id: SchemaId) -> Verdict {
        if !self.refused.is_empty() {
            self.doubt(decoder, id);
        }
        if decoder.knows(id) {
            return Verdict::Taken;
        }
        if !self.asked.contains_key(&id) {
            self.ask(id, self.unknown_schema_wait);
            if !self.failing.load(Ordering::Relaxed) {
                let until = Instant::now() + BRIEFLY;
                while self.asked.contains_key(&id) {
                    let Ok((id, answer)) = self.answers.recv_deadline(until) else {
                        break;
                    };
                    if let Some(failure) = self.take(decoder, id, answer) {
                        return Verdict::Failed(failure);
                    }
                }
            }
        }
        while let Ok((id, answer)) = self.answers.try_recv() {
            if let Some(failure) = self.take(decoder, id, answer) {
                return Verdict::Failed(failure);
            }
        }
        match decoder.knows(id) {
            true => Verdict::Taken,
            false => Verdict::Later,
        }
    }

    fn ask(&mut self, id: SchemaId, wait: Duration) {
        self.asked.insert(id, Instant::now());
        // The thread ends with this struct, not before.
        let _ = self.ask.send(Question { id, wait });
    }

    /// A schema that has been unknown for some time is asked for once more, and its record waits for that answer.
    fn doubt(&mut self, decoder: &mut Decoder, id: SchemaId) {
        let is_old = |since: &Instant| since.elapsed() >= REFUSED_FOR;
        if self.refused.get(&id).is_some_and(is_old) {
            self.refused.remove(&id);
            decoder.forget(id);
            self.ask(id, Duration::ZERO);
        }
    }

    fn take(&mut self, decoder: &mut Decoder, id: SchemaId, answer: Answer) -> Option<String> {
        let since = self.asked.remove(&id);
        match answer {
            Answer::Schema(schema) => {
                events::schema_learned(id);
                decoder.learn(id, &schema);
            }
            Answer::Unknown => {
                let asked_for = since.map_or(Duration::ZERO, |since| since.elapsed());
                let detail = format!(
                    "the registry does not know schema {id}, asked for {:.1} s",
                    asked_for.as_secs_f64()
                );
                decoder.learn_unusable(id, Reason::UnknownSchema, detail);
                if self.refused.len() >= REFUSED_MAX {
                    self.refused.clear();
                }
                self.refused.insert(id, Instant::now());
            }
            Answer::Failed(error) => return Some(error.to_string()),
        }
        None
    }
}

/// A question that is not settled.
struct Open {
    question: Question,
    /// When the registry first said that it does not know it.
    unknown_since: Option<Instant>,
    due: Instant,
}

/// The thread that asks.
struct Asker {
    registry: Registry,
    failing: Arc<AtomicBool>,
    failing_since: Option<Instant>,
    pause: Duration,
    open: Vec<Open>,
    tell: Sender<(SchemaId, Answer)>,
}

impl Asker {
    fn run(mut self, questions: &Receiver<Question>) {
        loop {
            let due = self.open.iter().map(|open| open.due).min();
            let question = match due {
                None => questions.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => questions.recv_deadline(due),
            };
            match question {
                Ok(question) => self.open.push(Open {
                    question,
                    unknown_since: None,
                    // While the registry is down a new question waits for its turn like the others.
                    due: due
                        .filter(|_| self.failing_since.is_some())
                        .unwrap_or_else(Instant::now),
                }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            for mut open in std::mem::take(&mut self.open) {
                if open.due > now {
                    self.open.push(open);
                } else if let Some(answer) = self.ask(&mut open) {
                    let _ = self.tell.send((open.question.id, answer));
                } else {
                    self.open.push(open);
                }
            }
        }
    }

    /// Asks once; `None` where it has to be asked again.
    fn ask(&mut self, open: &mut Open) -> Option<Answer> {
        let id = open.question.id;
        match self.registry.schema(id) {
            Ok(found) => {
                self.succeeded();
                let Some(schema) = found else { return unknown(open) };
                Some(Answer::Schema(schema))
            }
            Err(error) if error.is_transient() => {
                self.failed(&error);
                open.due = Instant::now() + self.pause;
                None
            }
            Err(error) => Some(Answer::Failed(error)),
        }
    }

    fn failed(&mut self, error: &RegistryError) {
        self.pause = match self.failing_since {
            None => {
                events::registry_unavailable(error);
                self.failing_since = Some(Instant::now());
                self.failing.store(true, Ordering::Relaxed);
                BACKOFF.0
            }
            Some(_) => (self.pause * 2).min(BACKOFF.1),
        };
    }

    fn succeeded(&mut self) {
        if let Some(since) = self.failing_since.take() {
            events::registry_recovered(since.elapsed());
            self.failing.store(false, Ordering::Relaxed);
        }
    }
}

/// Only an answer decides: the time that the registry was away does not count against a schema for longer than it must.
fn unknown(open: &mut Open) -> Option<Answer> {
    let Question { id, wait } = open.question;
    let since = *open.unknown_since.get_or_insert_with(|| {
        if !wait.is_zero() {
            events::schema_unknown(id, wait);
        }
        Instant::now()
    });
    let left = wait.saturating_sub(since.elapsed());
    if left.is_zero() {
        return Some(Answer::Unknown);
    }
    open.due = Instant::now() + left.min(ASK_AGAIN);
    None
}
