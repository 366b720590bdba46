//! A fixed number of writers: each takes one request at a time to the store, and again until it is acknowledged.
//!
//! What finds no writer free waits in line. Small writes that stand there together become one request: so requests get larger by
//! themselves when the store is busy, and none waits for company.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;

use super::retry::{StoreHealth, until_done};
use crate::model::{AlertWrite, SensorWrite};
use crate::store::Store;

/// Sensors whose writes may share a request.
pub const SENSORS_TOGETHER: usize = 10;
/// Rows up to which a write is small; a larger one gains nothing by company.
const SMALL_ROWS: usize = 16;

/// What a writer takes to the store.
pub enum ToStore {
    /// Of as many sensors.
    Writes(Vec<SensorWrite>),
    Alerts(Box<AlertWrite>),
}

/// What became of a request: acknowledged, and handed back with the writer that is free again; or refused for good.
pub type Landed = Result<(usize, ToStore), String>;

enum Waiting {
    Write(Box<SensorWrite>),
    Alerts(Box<AlertWrite>),
}

/// The writers, which of them are free, and what waits for one.
pub struct Writers {
    inboxes: Vec<mpsc::Sender<ToStore>>,
    free: Vec<usize>,
    tasks: Vec<JoinHandle<()>>,
    /// Bounded by what the processor lets fly.
    waiting: VecDeque<Waiting>,
}

impl Writers {
    /// Starts `count` writers; `landed` hears of each request once.
    pub fn start<S: Store, M: From<Landed> + Send + 'static>(
        runtime: &Handle,
        count: usize,
        store: &Arc<S>,
        health: &Arc<StoreHealth>,
        landed: &UnboundedSender<M>,
    ) -> Writers {
        let mut writers = Writers {
            inboxes: Vec::new(),
            free: (0..count).collect(),
            tasks: Vec::new(),
            waiting: VecDeque::new(),
        };
        for index in 0..count {
            let (inbox, mut requests) = mpsc::channel::<ToStore>(1);
            let (store, health, landed) = (store.clone(), health.clone(), landed.clone());
            writers.inboxes.push(inbox);
            writers.tasks.push(runtime.spawn(async move {
                while let Some(request) = requests.recv().await {
                    let outcome = match &request {
                        ToStore::Writes(writes) => match &writes[..] {
                            [write] => until_done(&health, || store.write(write)).await,
                            writes => until_done(&health, || store.write_all(writes)).await,
                        },
                        ToStore::Alerts(alerts) => until_done(&health, || store.write_alerts(alerts)).await,
                    };
                    let outcome = outcome.map(|()| (index, request)).map_err(|error| error.to_string());
                    let failed = outcome.is_err();
                    if landed.send(M::from(outcome)).is_err() || failed {
                        return;
                    }
                }
            }));
        }
        writers
    }

    /// Puts a write in line; [`Writers::dispatch`] sends it.
    pub fn write(&mut self, write: Box<SensorWrite>) {
        self.waiting.push_back(Waiting::Write(write));
    }

    /// Puts alerts in line; [`Writers::dispatch`] sends them.
    pub fn write_alerts(&mut self, alerts: Box<AlertWrite>) {
        self.waiting.push_back(Waiting::Alerts(alerts));
    }

    /// Hands what waits to the writers that are free. Called when all that could be put in line now is.
    pub fn dispatch(&mut self) {
        while let Some(&writer) = self.free.last()
            && let Some(request) = self.next_request()
        {
            self.free.pop();
            // A closed inbox means that the writer failed for good and said so: the run is about to end.
            let _ = self.inboxes[writer].try_send(request);
        }
    }

    fn next_request(&mut self) -> Option<ToStore> {
        let first = match self.waiting.pop_front()? {
            Waiting::Alerts(alerts) => return Some(ToStore::Alerts(alerts)),
            Waiting::Write(write) => write,
        };
        let are_small = is_small(&first);
        let mut writes = vec![*first];
        while are_small
            && writes.len() < SENSORS_TOGETHER
            && let Some(Waiting::Write(next)) = self.waiting.front()
            && is_small(next)
            && let Some(Waiting::Write(next)) = self.waiting.pop_front()
        {
            writes.push(*next);
        }
        Some(ToStore::Writes(writes))
    }

    pub fn is_free_again(&mut self, writer: usize) {
        self.free.push(writer);
    }
}

fn is_small(write: &SensorWrite) -> bool {
    write.rows.len() + write.windows.len() <= SMALL_ROWS
}

impl Drop for Writers {
    /// What is in flight may still reach the store: it was to be written anyway.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
