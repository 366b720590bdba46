//! Topic ids. rdkafka's safe interface has none, so this asks librdkafka itself: the one place with unsafe calls of it.

use std::ffi::CString;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka_sys as sys;
use uuid::Uuid;

use super::KafkaError;
use crate::model::TopicId;

/// Owns a librdkafka object and frees it with its own function.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `pointer` must be an object that nobody else frees, and `destroy` the function that frees it.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(pointer).map(|pointer| Owned { pointer, destroy })
    }

    fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the constructor's contract: the object is ours, and is freed only here.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// Asks the brokers for a topic's id; [`TopicId::UNKNOWN`] from brokers that have none. Blocks up to `timeout`.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<TopicId, KafkaError> {
    let what = || format!("reading the id of topic {topic}");
    let failed = |why: &str| KafkaError(format!("{} failed: {why}", what()));
    let name = CString::new(topic).map_err(|_| failed("its name has a zero byte"))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`. Every object made here is owned by an `Owned` and freed once. The request
    // copies names and options before the call returns; the result, its topics and their ids belong to the event and are
    // read only while it lives. Null is checked wherever librdkafka may answer it.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let topics = Owned::new(topics, sys::rd_kafka_TopicCollection_destroy).ok_or_else(|| failed("no memory"))?;
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(rk, operation),
            sys::rd_kafka_AdminOptions_destroy,
        )
        .ok_or_else(|| failed("no memory"))?;
        sys::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), timeout_ms, std::ptr::null_mut(), 0);
        let queue =
            Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy).ok_or_else(|| failed("no memory"))?;
        sys::rd_kafka_DescribeTopics(rk, topics.as_ptr(), options.as_ptr(), queue.as_ptr());
        let event = sys::rd_kafka_queue_poll(queue.as_ptr(), timeout_ms.saturating_add(1000));
        let event = Owned::new(event, sys::rd_kafka_event_destroy).ok_or_else(|| failed("no answer in time"))?;
        let code = sys::rd_kafka_event_error(event.as_ptr());
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(&rdkafka::types::RDKafkaErrorCode::from(code).to_string()));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            return Err(failed("the answer is of another kind"));
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if described.is_null() || count == 0 {
            return Err(failed("the answer is empty"));
        }
        let topic = *described;
        let code = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(&rdkafka::types::RDKafkaErrorCode::from(code).to_string()));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(TopicId::UNKNOWN);
        }
        let high = sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        Ok(TopicId(Uuid::from_u64_pair(high, low)))
    }
}
