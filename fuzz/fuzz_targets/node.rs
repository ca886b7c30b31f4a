//! A running node under a script of frames from several peers, with time passing, a disk that fails, and clients:
//! see `chinwag_fuzz::script` for the steps and for all that is asserted.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| chinwag_fuzz::script::run(bytes));
