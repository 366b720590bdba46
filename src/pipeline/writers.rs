//! A fixed number of writers: each takes one request at a time to the store, and again until it is acknowledged.

use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::retry::{StoreHealth, until_done};
use crate::model::{AlertWrite, SensorWrite};
use crate::store::Store;

/// What a writer takes to the store.
pub enum ToStore {
    Write(Box<SensorWrite>),
    Alerts(Box<AlertWrite>),
}

/// What became of a request: acknowledged, and handed back with the writer that is free again; or refused for good.
pub type Landed = Result<(usize, ToStore), String>;

/// The writers and which of them are free.
pub struct Writers {
    inboxes: Vec<mpsc::Sender<ToStore>>,
    free: Vec<usize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts `count` writers; `landed` hears of each request once.
    pub fn start<S: Store, M: From<Landed> + Send + 'static>(
        runtime: &Handle,
        count: usize,
        store: &Arc<S>,
        health: &Arc<StoreHealth>,
        landed: &Sender<M>,
    ) -> Writers {
        let mut writers = Writers {
            inboxes: Vec::new(),
            free: (0..count).collect(),
            tasks: Vec::new(),
        };
        for index in 0..count {
            let (inbox, mut requests) = mpsc::channel::<ToStore>(1);
            let (store, health, landed) = (store.clone(), health.clone(), landed.clone());
            writers.inboxes.push(inbox);
            writers.tasks.push(runtime.spawn(async move {
                while let Some(request) = requests.recv().await {
                    let outcome = match &request {
                        ToStore::Write(write) => until_done(&health, || store.write(write)).await,
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

    /// Hands a request to a free writer. There is one: the processor has no more writes in flight than there are writers.
    pub fn send(&mut self, request: ToStore) {
        let writer = self.free.pop().expect("as many writers as writes in flight");
        // A closed inbox means that the writer failed for good and said so: the run is about to end.
        let _ = self.inboxes[writer].try_send(request);
    }

    pub fn is_free_again(&mut self, writer: usize) {
        self.free.push(writer);
    }
}

impl Drop for Writers {
    /// What is in flight may still reach the store: it was to be written anyway.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
