//! What whoever runs a daemon writes, and what its clients put into a path: `config.toml`, addresses to listen on, log
//! filters; queries, tokens of writes. The first byte chooses.
#![no_main]

use chinwag_api::{
    CellQuery, DhtBlobQuery, DhtCellQuery, DhtRecordsQuery, DhtTimeQuery, KeysQuery, WatchQuery,
};
use chinwag_base::limits::BATCH_OPS_MAX;
use chinwag_daemon::config::{Listen, Open};
use chinwag_daemon::fuzzing;
use chinwag_fuzz::{printed, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let Some(text) = text(bytes) else { return };
    match which % 4 {
        0 => {
            if let Err(failure) = fuzzing::config(text) {
                assert!(failure.message.starts_with("config.toml:"));
                let _ = failure.to_string();
            }
        }
        1 => {
            printed::<Listen>(text);
            let _ = text.parse::<Open>();
            let _ = fuzzing::log_filter(text);
        }
        2 => {
            if let Some((writes, token)) = fuzzing::token(text) {
                assert!(writes <= BATCH_OPS_MAX + 1);
                assert_eq!(fuzzing::token(&token), Some((writes, token)));
                assert!(text.bytes().all(|digit| digit.is_ascii_hexdigit()), "{text}");
            }
        }
        _ => {
            let path = format!("/v1/x?{text}");
            let _ = fuzzing::query::<KeysQuery>(&path);
            let _ = fuzzing::query::<CellQuery>(&path);
            let _ = fuzzing::query::<WatchQuery>(&path);
            let _ = fuzzing::query::<DhtCellQuery>(&path);
            let _ = fuzzing::query::<DhtTimeQuery>(&path);
            let _ = fuzzing::query::<DhtBlobQuery>(&path);
            let _ = fuzzing::query::<DhtRecordsQuery>(&path);
        }
    }
});
