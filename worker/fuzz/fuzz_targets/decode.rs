//! Any bytes as a record.
#![no_main]

use std::cell::RefCell;

use sluice_fuzz::decode::Decoder;

thread_local! {
    // One for all runs, as a worker has one for all batches: what it remembers must not matter.
    static DECODER: RefCell<Decoder> = RefCell::new(sluice_fuzz::decoder());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| DECODER.with_borrow_mut(|decoder| sluice_fuzz::check(decoder, bytes)));
