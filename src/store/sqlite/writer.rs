//! The thread that writes: it takes everything that waits, applies it in one transaction, commits and answers all.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::{Connection, Result as SqlResult, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;
use uuid::Uuid;

use super::error::sorted;
use super::{alerts, statements};
use crate::model::{AlertWrite, LedgerEntry, SensorWrite, Source};
use crate::store::StoreError;

/// Jobs that wait. The pipeline has some tens of writes in flight, so it never fills; it bounds what a caller without
/// a limit of its own can pile up in memory.
const QUEUE_JOBS: usize = 1_024;

/// Rows after which a transaction is committed although more wait: some milliseconds, and nobody waits longer for it.
const TRANSACTION_ROWS: usize = 10_000;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Work for the thread, with where to answer.
pub(super) enum Job {
    Write(SensorWrite, Reply<()>),
    WriteAlerts(AlertWrite, Reply<()>),
    OpenLedger(LedgerEntry, Reply<LedgerEntry>),
    AdvanceLedger(Vec<(Source, i64)>, Reply<()>),
    RecordHole(Source, String, Reply<()>),
    SaveRun(Uuid, String, Reply<()>),
}

impl Job {
    fn rows(&self) -> usize {
        match self {
            Job::Write(write, _) => write.rows.len() + write.windows.len() + 2,
            Job::WriteAlerts(write, _) => write.changes.len() + 1,
            Job::OpenLedger(..) | Job::RecordHole(..) | Job::SaveRun(..) => 1,
            Job::AdvanceLedger(sources, _) => sources.len(),
        }
    }
}

/// A job's answer, held back until its transaction is committed.
enum Answer {
    Done(Reply<()>),
    Entry(Reply<LedgerEntry>, LedgerEntry),
}

/// The thread's other side. Dropping it ends the thread when it has done what waits.
pub(super) struct Writer {
    /// `None` only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: &Path) -> Result<Writer, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
        let thread_path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || run(connection, receiver, &thread_path))
            .map_err(|error| {
                StoreError::Permanent(format!("cannot start the thread that writes to SQLite: {error}"))
            })?;
        Ok(Writer {
            jobs: Some(sender),
            thread: Some(thread),
            path: path.to_owned(),
        })
    }

    /// Hands a job over and waits for its answer. A caller that stops waiting leaves the job to be done.
    pub(super) async fn run<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let ended = || {
            StoreError::Permanent(format!(
                "sqlite {}: the thread that writes has ended",
                self.path.display()
            ))
        };
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    /// Waits for the thread, so that the file is whole and closed when the store is gone: a transaction's time.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its hook, and its callers got errors.
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>, path: &Path) {
    let mut group = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        let mut rows = job.rows();
        group.push(job);
        while rows < TRANSACTION_ROWS
            && let Ok(job) = jobs.try_recv()
        {
            rows += job.rows();
            group.push(job);
        }
        let jobs = group.len();
        commit(&mut connection, &mut group, path);
        debug!(jobs, rows, "transaction done");
    }
}

/// One transaction for all jobs. When it fails none of them happened, and all are told so.
fn commit(connection: &mut Connection, group: &mut Vec<Job>, path: &Path) {
    match apply(connection, group) {
        Ok(answers) => {
            for answer in answers {
                // Who has stopped waiting needs no answer.
                match answer {
                    Answer::Done(reply) => drop(reply.send(Ok(()))),
                    Answer::Entry(reply, entry) => drop(reply.send(Ok(entry))),
                }
            }
        }
        Err(error) => {
            for job in group.drain(..) {
                let error = sorted(path, "write", &error);
                match job {
                    Job::Write(_, reply)
                    | Job::WriteAlerts(_, reply)
                    | Job::AdvanceLedger(_, reply)
                    | Job::RecordHole(_, _, reply)
                    | Job::SaveRun(_, _, reply) => drop(reply.send(Err(error))),
                    Job::OpenLedger(_, reply) => drop(reply.send(Err(error))),
                }
            }
        }
    }
}

/// Leaves `group` empty only when everything is committed.
fn apply(connection: &mut Connection, group: &mut Vec<Job>) -> SqlResult<Vec<Answer>> {
    // Immediate: a transaction that begins by reading could not wait for another process's.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut entries = Vec::new();
    for job in group.iter() {
        match job {
            Job::Write(write, _) => statements::apply_write(&transaction, write)?,
            Job::WriteAlerts(write, _) => alerts::apply(&transaction, write)?,
            Job::OpenLedger(entry, _) => entries.push(statements::open_source(&transaction, entry)?),
            Job::RecordHole(source, hole, _) => statements::insert_hole(&transaction, source, hole)?,
            Job::SaveRun(run, manifest, _) => statements::save_run(&transaction, *run, manifest)?,
            Job::AdvanceLedger(sources, _) => {
                for (source, acked_to) in sources {
                    statements::advance_source(&transaction, source, *acked_to)?;
                }
            }
        }
    }
    transaction.commit()?;
    let mut entries = entries.into_iter();
    let answers = group.drain(..).filter_map(|job| match job {
        Job::Write(_, reply)
        | Job::WriteAlerts(_, reply)
        | Job::AdvanceLedger(_, reply)
        | Job::RecordHole(_, _, reply)
        | Job::SaveRun(_, _, reply) => Some(Answer::Done(reply)),
        Job::OpenLedger(_, reply) => entries.next().map(|entry| Answer::Entry(reply, entry)),
    });
    Ok(answers.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Kind, ReadingRow, SensorId, TimeMs, TopicId, WriteId};
    use crate::store::sqlite::{connection, schema};
    use crate::store::{SchemaSettings, StoreSettings, StoreUrl};

    fn write_of(first_time: i64) -> SensorWrite {
        let row = |n| ReadingRow {
            time: TimeMs(first_time + n),
            kind: Kind::new("x"),
            value: 1.5,
            timestamp: TimeMs(0),
        };
        let sensor = SensorId(Uuid::from_u128(1));
        SensorWrite {
            id: WriteId(0),
            partition: 0,
            sensor,
            source: Arc::new(Source {
                topic: Arc::from("t"),
                topic_id: TopicId::UNKNOWN,
                partition: 0,
            }),
            rows: (0..50).map(row).collect(),
            windows: Vec::new(),
            state: None,
            sighting: None,
        }
    }

    #[tokio::test]
    async fn a_full_disk_stops_the_program_and_loses_nothing_acknowledged() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("store.db");
        let settings = StoreSettings::new(StoreUrl::Sqlite { path: path.clone() });
        schema::apply(&settings, &SchemaSettings::default(), &path)
            .await
            .expect("applied");
        let connection = connection::open_for_writing(&settings, &path).expect("opened");
        // To SQLite a limit of pages is what a full disk is.
        connection.pragma_update(None, "max_page_count", 40).expect("limited");
        let writer = Writer::start(connection, &path).expect("started");

        let mut acknowledged = 0;
        let error = loop {
            match writer.run(|reply| Job::Write(write_of(acknowledged), reply)).await {
                Ok(()) => acknowledged += 50,
                Err(error) => break error,
            }
        };

        assert!(
            !error.is_transient() && error.to_string().contains("the disk is full: make room"),
            "{error}"
        );
        drop(writer);
        let left = connection::open_for_writing(&settings, &path).expect("opened again");
        let rows: i64 = left
            .query_row("SELECT count(*) FROM sensor_readings", [], |row| row.get(0))
            .expect("counted");
        assert_eq!(rows, acknowledged, "what was acknowledged, and nothing of what failed");
        assert!(acknowledged > 0);
    }
}
