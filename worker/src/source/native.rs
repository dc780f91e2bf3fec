//! What librdkafka has and the safe client does not offer: a queue of our own for fetched records, and `DescribeTopics`.
//!
//! This is the one module with `unsafe`. The reasons: `PartitionEOF` of the safe client has no offset, and that offset is the
//! only way to see transaction markers at the end of a partition; reading event by event costs half as much CPU again as
//! reading a queue; and topic ids are not wrapped. Everything that leaves this module is safe.
//!
//! The queue is served by callback, not by `rd_kafka_consume_batch_queue`: in this release of librdkafka a batch that holds an end of
//! partition moves the client's own position one record too far (librdkafka #4844), and after the next rebalance that record is lost.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use super::context::lock;

/// What a fetched queue holds. Borrowed for the time of a callback.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A record.
    Message(Message<'a>),
    /// Everything before `offset` was handed over, and there is nothing there yet. Transaction markers are counted.
    Eof { partition: i32, offset: i64 },
    /// Something went wrong; `offset` is where, when that is known.
    Error { partition: i32, offset: i64, code: Code, text: String },
}

/// One record.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where it has none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Go on with the next event, or leave the rest in the queue?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on.
    Continue,
    /// This event is taken; stop behind it.
    Stop,
}

/// The headers of a record, in order.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    list: *const sys::rd_kafka_headers_t,
    next: usize,
    record: PhantomData<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
        // SAFETY: the list belongs to the record, which outlives 'a; librdkafka answers with an error behind the last one.
        let answer =
            unsafe { sys::rd_kafka_header_get_all(self.list, self.next, &raw mut name, &raw mut value, &raw mut size) };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: a name is a C string, a value is null or `size` bytes, and both live as long as the record.
        unsafe { Some((CStr::from_ptr(name).to_str().unwrap_or_default(), bytes(value, size))) }
    }
}

/// A queue to which fetched partitions are forwarded.
pub(super) struct FetchQueue<C: ConsumerContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    waker: Waker,
    // Dropped after the queue is destroyed: a queue must not outlive its client.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ConsumerContext> Send for FetchQueue<C> {}

/// Ends a [`FetchQueue::poll`] that waits, from another thread.
#[derive(Clone)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Waker(Arc<Mutex<Option<QueuePointer>>>);

struct QueuePointer(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: the pointer is only used under the lock, for a call that librdkafka allows from any thread.
unsafe impl Send for QueuePointer {}

impl Waker {
    /// Wakes the thread that waits in `poll`. Nothing happens once the queue is gone.
    pub(super) fn wake(&self) {
        if let Some(QueuePointer(queue)) = lock(&self.0).as_ref() {
            // SAFETY: the queue lives as long as the cell is full.
            unsafe { sys::rd_kafka_queue_yield(queue.as_ptr()) }
        }
    }
}

impl<C: ConsumerContext> FetchQueue<C> {
    /// An empty queue; `None` when librdkafka gives none.
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>) -> Option<Self> {
        // SAFETY: the client is alive.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self { queue, waker: Waker(Arc::new(Mutex::new(Some(QueuePointer(queue))))), consumer })
    }

    /// Ends a wait from another thread.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sends what is fetched from a partition to this queue, and moves here what lies in the partition's own queue. To be
    /// called before a partition is assigned (then nothing of it reaches the consumer's own queue, ever) and again when nothing
    /// arrives: stopping a partition, which happens in the background, cuts the connection. Calling it too often does no harm.
    pub(super) fn forward(&self, topic: &CStr, partition: i32) {
        // SAFETY: client, topic and queue are alive; the handle is given back at once, forwarding keeps its own.
        unsafe {
            let handle =
                sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition);
            if !handle.is_null() {
                sys::rd_kafka_queue_forward(handle, self.queue.as_ptr());
                sys::rd_kafka_queue_destroy(handle);
            }
        }
    }

    /// Hands over what is there, in order, after waiting up to `timeout` for the first event. Returns how many were taken.
    ///
    /// # Panics
    /// With the callback's panic.
    pub(super) fn poll<F: FnMut(Event<'_>) -> Flow>(&self, timeout: Duration, on_event: F) -> usize {
        let mut call = Call { client: self.consumer.client().native_ptr(), on_event, taken: 0, panic: None };
        // SAFETY: `call` outlives the call, and librdkafka calls back on this thread only, while it lasts.
        unsafe {
            sys::rd_kafka_consume_callback_queue(
                self.queue.as_ptr(),
                timeout.as_millis() as i32,
                Some(trampoline::<F>),
                (&raw mut call).cast(),
            );
        }
        if let Some(panic) = call.panic {
            resume_unwind(panic);
        }
        call.taken
    }
}

impl<C: ConsumerContext> Drop for FetchQueue<C> {
    fn drop(&mut self) {
        *lock(&self.waker.0) = None;
        // SAFETY: nobody else holds the queue; the client is still alive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

struct Call<F> {
    client: *mut sys::rd_kafka_t,
    on_event: F,
    taken: usize,
    panic: Option<Box<dyn Any + Send>>,
}

/// Called by librdkafka for each message, which it frees afterwards. A panic must not pass through C: it is kept.
unsafe extern "C" fn trampoline<F: FnMut(Event<'_>) -> Flow>(
    message: *mut sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: `poll` passes its `Call<F>` as the opaque pointer, and a valid message lives until this function returns.
    let (call, message) = unsafe { (&mut *opaque.cast::<Call<F>>(), &*message) };
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as above.
        let event = unsafe { event(message) };
        (call.on_event)(event)
    }));
    call.taken += 1;
    let stop = match result {
        Ok(flow) => flow == Flow::Stop,
        Err(panic) => {
            call.panic = Some(panic);
            true
        }
    };
    if stop {
        // SAFETY: sets a flag of this thread, which librdkafka reads after each callback; the rest goes back to the queue.
        unsafe { sys::rd_kafka_yield(call.client) }
    }
}

/// # Safety
/// The message must be as librdkafka handed it over.
unsafe fn event(message: &sys::rd_kafka_message_t) -> Event<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut list = ptr::null_mut();
            // SAFETY: the message is valid; `list` stays null when it has no headers.
            let (timestamp, key, value) = unsafe {
                sys::rd_kafka_message_headers(message, &raw mut list);
                (
                    sys::rd_kafka_message_timestamp(message, ptr::null_mut()),
                    bytes(message.key, message.key_len),
                    bytes(message.payload, message.len),
                )
            };
            let headers = Headers { list, next: 0, record: PhantomData };
            Event::Message(Message { partition, offset, timestamp, key, value, headers })
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Event::Eof { partition, offset },
        code => {
            // SAFETY: an error's payload is its text.
            let text = unsafe { bytes(message.payload, message.len) }.unwrap_or_default();
            // An error of a whole topic or client names no partition.
            let partition = if message.rkt.is_null() { -1 } else { partition };
            Event::Error { partition, offset, code: code.into(), text: String::from_utf8_lossy(text).into_owned() }
        }
    }
}

/// # Safety
/// `start` must be null or point to `length` bytes that live for 'a.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

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
    topic: &CStr,
    timeout: Duration,
) -> Result<Description, (Code, String)> {
    let deadline = Instant::now() + timeout;
    let client = client.native_ptr();
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
pub(super) fn brokers<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<Vec<i32>, (Code, String)> {
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

/// A name for C. Kafka's topic names have no NUL; a name with one becomes the empty name, which no topic has.
pub(super) fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
impl Headers<'_> {
    /// No headers.
    pub(super) fn none() -> Self {
        Self { list: ptr::null(), next: 0, record: PhantomData }
    }
}
