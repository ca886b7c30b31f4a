//! The exchange that strangers have with a daemon before anything else: a dialler's message and a listener's answer. What
//! is accepted is written again as something that reads the same and is no longer.
#![no_main]

use chinwag_daemon::fuzzing;
use chinwag_fuzz::{alloc, assert_allocation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The head is made for it, so that what is behind it is reached.
    let mut framed = (bytes.len() as u32 + 8).to_be_bytes().to_vec();
    framed.extend_from_slice(b"chinwag\x01");
    framed.extend_from_slice(bytes);
    check(&framed);
});

fn check(stream: &[u8]) {
    let (read, held) = alloc::peak(|| fuzzing::admission(stream));
    // One message's room is made on the word of its length, which is checked first.
    assert_allocation(stream.len() + 2 * chinwag_base::limits::ADMISSION_BYTES_MAX, held);
    for (n, message) in read.into_iter().enumerate() {
        let Some(written) = message else { continue };
        assert!(written.len() <= stream.len());
        assert_eq!(fuzzing::admission(&written)[n].as_ref(), Some(&written));
    }
}
