//! Questions to the brokers that the safe client does not offer: `DescribeTopics`, for ids of topics, and who the brokers are.
#![allow(unsafe_code, reason = "topic ids are not wrapped")]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use super::c_name;

/// What the brokers say about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// Its id, 22 characters of base64; empty where brokers are too old to have ids (before Kafka 2.8).
    pub topic_id: String,
    /// Its partitions, rising.
    pub partitions: Vec<i32>,
}

/// Frees a thing of librdkafka when it goes out of scope.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by the constructor that belongs to this destructor, and freed once.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// Asks one broker about a topic (`DescribeTopics`). Never creates the topic. Blocks up to `timeout`. Every broker can answer;
/// librdkafka itself would ask the controller, which need not be in reach.
pub(super) fn describe_topic<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    topic: &str,
    timeout: Duration,
) -> Result<Description, (Code, String)> {
    let deadline = Instant::now() + timeout;
    let client = client.native_ptr();
    let topic = c_name(topic);
    let mut names = [topic.as_ptr()];
    // SAFETY: the client is alive; every object is freed by its own destructor after its last use, the queue last.
    unsafe {
        let queue = Owned(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy);
        let names = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let names = Owned(names, sys::rd_kafka_TopicCollection_destroy);
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Owned(sys::rd_kafka_AdminOptions_new(client, operation), sys::rd_kafka_AdminOptions_destroy);
        let mut problem = [0; 256];
        let milliseconds = timeout.as_millis().clamp(1, 3_600_000) as i32;
        // Both fail only for values out of range; then the defaults hold, and the wait below is bounded anyway.
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, milliseconds, problem.as_mut_ptr(), problem.len());
        sys::rd_kafka_AdminOptions_set_broker(options.0, broker, problem.as_mut_ptr(), problem.len());
        sys::rd_kafka_DescribeTopics(client, names.0, options.0, queue.0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let reply = sys::rd_kafka_queue_poll(queue.0, left.as_millis() as i32);
            let reply = Owned(reply, sys::rd_kafka_event_destroy);
            if reply.0.is_null() {
                if left.is_zero() {
                    return Err((Code::OperationTimedOut, "no answer in time".to_owned()));
                }
                continue;
            }
            let code = sys::rd_kafka_event_error(reply.0);
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err((code.into(), text(sys::rd_kafka_event_error_string(reply.0))));
            }
            return description(sys::rd_kafka_event_DescribeTopics_result(reply.0));
        }
    }
}

/// The ids of the brokers; one that answers comes first. To be asked before the client has seen a topic: librdkafka asks for
/// the topics that it knows, too, and allows brokers to create those that are gone.
pub(super) fn ids<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<Vec<i32>, (Code, String)> {
    let mut metadata = ptr::null();
    let milliseconds = timeout.as_millis().max(1) as i32;
    // SAFETY: the client is alive. The answer's array has the length that comes with it, and the answer is freed here.
    unsafe {
        let code = sys::rd_kafka_metadata(client.native_ptr(), 0, ptr::null_mut(), &raw mut metadata, milliseconds);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let code: Code = code.into();
            return Err((code, code.to_string()));
        }
        let answered = (*metadata).orig_broker_id;
        let mut ids: Vec<i32> =
            (0..(*metadata).broker_cnt).map(|index| (*(*metadata).brokers.add(index as usize)).id).collect();
        sys::rd_kafka_metadata_destroy(metadata);
        ids.sort_unstable_by_key(|id| (*id != answered, *id));
        if ids.is_empty() { Err((Code::AllBrokersDown, "no broker is known".to_owned())) } else { Ok(ids) }
    }
}

/// # Safety
/// The result must be null or alive.
unsafe fn description(result: *const sys::rd_kafka_DescribeTopics_result_t) -> Result<Description, (Code, String)> {
    let unexpected = || (Code::Fail, "an answer without a topic".to_owned());
    if result.is_null() {
        return Err(unexpected());
    }
    // SAFETY: all pointers belong to the result, which the caller keeps; arrays have the lengths that come with them.
    unsafe {
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count != 1 {
            return Err(unexpected());
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err((code.into(), text(sys::rd_kafka_error_string(error))));
            }
        }
        let infos = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let mut partitions: Vec<i32> =
            (0..count).map(|index| sys::rd_kafka_TopicPartitionInfo_partition(*infos.add(index))).collect();
        partitions.sort_unstable();
        Ok(Description { topic_id: topic_id(sys::rd_kafka_TopicDescription_topic_id(topic)), partitions })
    }
}

/// # Safety
/// The id must be null or alive.
unsafe fn topic_id(id: *const sys::rd_kafka_Uuid_t) -> String {
    // SAFETY: the caller's promise.
    unsafe {
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0 && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return String::new();
        }
        text(sys::rd_kafka_Uuid_base64str(id))
    }
}

/// # Safety
/// Null or a C string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
