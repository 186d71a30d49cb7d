//! What of librdkafka the `rdkafka` crate does not reach: reading many messages at a time, with the offset at which a
//! partition ended; a member's id; and metadata that may be any bytes. All of the crate's unsafe code is here.

#![allow(unsafe_code)]

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

/// How many messages are taken at a time: enough that the queue's lock is cheap, few enough that a batch stays in the cache.
const AT_A_TIME: usize = 1024;

/// A message, or what is said of a partition instead.
pub enum Message<'a> {
    /// A record.
    Record { partition: i32, offset: i64, millis: i64, key: &'a [u8], value: &'a [u8] },
    /// All of the partition before this offset was given.
    End { partition: i32, offset: i64 },
    /// The partition can't be read.
    Error { partition: i32, code: RDKafkaErrorCode },
}

/// A consumer's queue, to be read in batches.
pub struct Queue {
    queue: ptr::NonNull<rd::rd_kafka_queue_t>,
    buffer: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: a queue of librdkafka may be used by any thread; the buffer holds no message between calls.
unsafe impl Send for Queue {}

impl Queue {
    /// The queue of a consumer, which must outlive it. `None` if the client is no consumer.
    pub fn of<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive; the queue is counted by reference, and given back in `drop`.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(client.native_ptr()) };
        Some(Self { queue: ptr::NonNull::new(queue)?, buffer: vec![ptr::null_mut(); AT_A_TIME] })
    }

    /// Waits until there is something, `wait` at most; then gives it and all that is there beside it, up to a limit.
    /// Returns how much it gave.
    pub fn read(&mut self, wait: Duration, mut give: impl FnMut(Message<'_>)) -> usize {
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // librdkafka waits until as many are there as fit: so for the first one alone, and for no others.
        let first = self.fill(millis, 0, 1);
        let count = if first == 0 { 0 } else { 1 + self.fill(0, 1, AT_A_TIME - 1) };
        for slot in &self.buffer[..count] {
            // SAFETY: librdkafka filled the slot with a message that is ours now; what points into it ends with `give`.
            unsafe {
                give(message(&**slot));
                rd::rd_kafka_message_destroy(*slot);
            }
        }
        count
    }

    fn fill(&mut self, millis: i32, from: usize, most: usize) -> usize {
        let slots = &mut self.buffer[from..from + most];
        // SAFETY: the queue lives as long as `self`, and there is room for `most` messages.
        let read =
            unsafe { rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), millis, slots.as_mut_ptr(), slots.len()) };
        usize::try_from(read).unwrap_or(0)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it was counted in `of`.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// SAFETY: the message must be one that librdkafka made.
unsafe fn message(message: &rd::rd_kafka_message_t) -> Message<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut sort = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: as the caller promises.
            unsafe {
                let millis = rd::rd_kafka_message_timestamp(message, &raw mut sort);
                let (key, value) = (bytes(message.key, message.key_len), bytes(message.payload, message.len));
                Message::Record { partition, offset, millis, key, value }
            }
        }
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Message::End { partition, offset },
        code => Message::Error { partition, code: code.into() },
    }
}

/// SAFETY: `start` is null, or `len` bytes can be read there for as long as the result lives.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> &'a [u8] {
    if start.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// The id of a member of a group, as its coordinator gave it; `None` while it has not joined.
pub fn member_id<C: ClientContext>(client: &Client<C>) -> Option<String> {
    // SAFETY: the client is alive; the text is ours, ends with a zero, and is given back.
    unsafe {
        let text = rd::rd_kafka_memberid(client.native_ptr());
        if text.is_null() {
            return None;
        }
        let id = CStr::from_ptr(text).to_string_lossy().into_owned();
        rd::rd_kafka_mem_free(client.native_ptr(), text.cast());
        (!id.is_empty()).then_some(id)
    }
}

/// Gives a client the token that it logs in with from now on.
pub fn set_token<C: ClientContext>(client: &Client<C>, token: &OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "a token has a zero in it".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut said = [0; 512];
    // SAFETY: the client is alive; the texts end with zeros, and are copied; what is said ends with a zero, and fits.
    let (code, said) = unsafe {
        let code = rd::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            said.as_mut_ptr(),
            said.len(),
        );
        (code, CStr::from_ptr(said.as_ptr()))
    };
    match code {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        _ => Err(said.to_string_lossy().into_owned()),
    }
}

/// The metadata of each entry of a list, in its order.
pub fn metadata(list: &TopicPartitionList) -> Vec<Vec<u8>> {
    // SAFETY: the list is alive, and its entries are as many as it says.
    unsafe {
        let list = &*list.ptr();
        let count = usize::try_from(list.cnt).unwrap_or(0);
        let entries = if count == 0 { &[] } else { slice::from_raw_parts(list.elems, count) };
        entries.iter().map(|entry| bytes(entry.metadata, entry.metadata_size).to_vec()).collect()
    }
}
