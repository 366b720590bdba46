//! Partitions whose next record cannot be decoded yet: its schema has to be asked for. They are paused one by one, so that the
//! order within each is kept and no offset passes a record that is undecided, while the others go on.

use std::sync::atomic::Ordering;

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::message::{BorrowedMessage, Message};

use super::{PollThread, RawRecord, Verdict, warn_if_failed};
use crate::model::RecordBatch;

impl<D: FnMut(&RawRecord<'_>, &mut RecordBatch) -> Verdict, W: Fn()> PollThread<D, W> {
    /// Keeps a record that cannot be decoded yet, and reads no more of its partition. The others go on.
    pub(super) fn park(&mut self, message: &BorrowedMessage<'_>) {
        let partition = message.partition();
        self.parked.insert(partition, message.detach());
        self.note_parked();
        let list = self.list([(partition, Offset::Invalid)].into_iter());
        if let Err(error) = self.consumer.pause(&list) {
            self.fail(format!("pausing partition {partition} failed: {error}"));
        }
    }

    pub(super) fn note_parked(&self) {
        self.gauges.parked.store(self.parked.len(), Ordering::Relaxed);
    }

    /// Asks again about records that could not be decoded; the partitions of those that now can be go on behind them.
    pub(super) fn offer_parked(&mut self) {
        if self.parked.is_empty() || self.failed {
            return;
        }
        let (mut decided, mut failure) = (Vec::new(), None);
        for (partition, message) in &self.parked {
            match (self.decode)(&RawRecord::kept(message), &mut self.batch) {
                Verdict::Taken => decided.push(*partition),
                Verdict::Later => {}
                Verdict::Failed(why) => failure = Some(why),
            }
        }
        if let Some(failure) = failure {
            self.fail(failure);
        }
        for partition in &decided {
            if let Some(message) = self.parked.remove(partition) {
                self.count(message.payload().map_or(0, <[u8]>::len));
            }
        }
        self.note_parked();
        if !decided.is_empty() && !self.gauges.is_paused() && !self.stopping {
            let list = self.list(decided.iter().map(|partition| (*partition, Offset::Invalid)));
            warn_if_failed("resume", self.consumer.resume(&list));
        }
    }
}
