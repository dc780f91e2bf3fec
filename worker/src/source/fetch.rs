//! Fetch: how much librdkafka reads ahead, and one call that hands over all that came.
//!
//! Whoever reads sees [`properties`], [`FetchQueue`] and [`Event`]; the pointers behind them stay here.
//! The safe client would not do: its `PartitionEOF` has no offset, and that offset is the only way to see transaction markers at the
//! end of a partition; and reading event by event costs half as much CPU again as reading a queue.
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
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use super::c_name;
use super::context::lock;

/// What librdkafka holds of one broker, in fetches: what is being taken and what has come meanwhile, each as much as the limit
/// of its queue and the fetch that was allowed just below it, each thrice, because around a record of 250 bytes lie 500 of
/// its own; and one fetch that is under way. Every further broker may add a fetch to each; smaller records weigh more.
const FETCHES_IN_MEMORY: u64 = 2 * 2 * 3 + 1;

/// Sizes and pauses of a reader for which librdkafka holds about `prefetch` bytes, however many its partitions are: from 13 MiB (it
/// takes no smaller fetches than a MiB) to 832 MiB.
pub(super) fn properties(prefetch: u64) -> [(&'static str, String); 5] {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    // Large fetches cost the least CPU; a partition never takes more than a quarter of what a fetch may hold. librdkafka
    // refuses less than its `message.max.bytes`, a million.
    let fetch = (prefetch / FETCHES_IN_MEMORY).clamp(MIB, 64 * MIB);
    let per_partition = (fetch / 4).clamp(64 * KIB, 16 * MIB);
    [
        ("fetch.max.bytes", fetch.to_string()),
        ("fetch.message.max.bytes", per_partition.to_string()),
        // Below either of these limits it fetches more.
        ("queued.max.messages.kbytes", (fetch / KIB).to_string()),
        ("queued.min.messages", "20000".to_owned()),
        // The default of a second stalls a reader that is faster or slower than the broker.
        ("fetch.queue.backoff.ms", "5".to_owned()),
    ]
}

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

/// A queue to which fetched partitions of a topic are forwarded.
pub(super) struct FetchQueue<C: ConsumerContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: CString,
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
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>, topic: &str) -> Option<Self> {
        // SAFETY: the client is alive.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self {
            queue,
            topic: c_name(topic),
            waker: Waker(Arc::new(Mutex::new(Some(QueuePointer(queue))))),
            consumer,
        })
    }

    /// Ends a wait from another thread.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sends what is fetched from a partition to this queue, and moves here what lies in the partition's own queue. To be
    /// called before a partition is assigned (then nothing of it reaches the consumer's own queue, ever) and again when nothing
    /// arrives: stopping a partition, which happens in the background, cuts the connection. Calling it too often does no harm.
    pub(super) fn forward(&self, partition: i32) {
        // SAFETY: client, topic and queue are alive; the handle is given back at once, forwarding keeps its own.
        unsafe {
            let handle =
                sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), self.topic.as_ptr(), partition);
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

#[cfg(test)]
impl Headers<'_> {
    /// No headers.
    pub(super) fn none() -> Self {
        Self { list: ptr::null(), next: 0, record: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_stays_within_what_it_may_take() {
        const MIB: u64 = 1 << 20;
        for prefetch in [0, 13 * MIB, 38 * MIB, 100 * MIB, 832 * MIB, 64 << 30] {
            let properties = properties(prefetch);
            let size = |name| -> u64 {
                let (_, value) = properties.iter().find(|(property, _)| *property == name).expect("it is set");
                value.parse().expect("a number")
            };
            let fetch = size("fetch.max.bytes");
            assert!(FETCHES_IN_MEMORY * fetch <= prefetch.clamp(13 * MIB, 832 * MIB), "{prefetch}: {fetch}");
            // librdkafka's own least sizes, and no partition that keeps others out of a fetch.
            assert!(fetch >= 1_000_000 && size("fetch.message.max.bytes") <= fetch / 4, "{prefetch}: {fetch}");
            assert!(size("queued.max.messages.kbytes") * 1024 <= fetch, "{prefetch}: {fetch}");
        }
    }
}
