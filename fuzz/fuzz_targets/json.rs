//! The API's JSON: requests that a daemon reads, replies and events that a client reads, and what a daemon writes about
//! itself for other programs. The first byte chooses. What is accepted is written as JSON that reads the same, and a
//! refusal cannot steer a terminal.
#![no_main]

use chinwag_api::{
    Bytes, Cell, Change, Check, Compacted, DhtBlob, DhtCell, DhtFound, DhtRecords, DhtWrite, DhtWritten,
    Diff, Doctor, Failure, ForgetRequest, Forgotten, Hex, InitRequest, InviteReply, InviteRequest, JoinReply,
    JoinRequest, Keys, Members, NodeEvent, Status, Trace, WriteReply, WriteRequest,
};
use chinwag_fuzz::assert_tame;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, json)) = bytes.split_first() else { return };
    match which % 30 {
        0 => request(json, WriteRequest::from_json),
        1 => request(json, DhtWrite::from_json),
        2 => read::<InitRequest>(json),
        3 => read::<InviteRequest>(json),
        4 => read::<JoinRequest>(json),
        5 => read::<DhtBlob>(json),
        6 => read::<Failure>(json),
        7 => read::<Cell>(json),
        8 => read::<Keys>(json),
        9 => read::<Members>(json),
        10 => read::<Status>(json),
        11 => read::<Doctor>(json),
        12 => read::<Change>(json),
        13 => read::<NodeEvent>(json),
        14 => read::<WriteReply>(json),
        15 => read::<InviteReply>(json),
        16 => read::<JoinReply>(json),
        17 => read::<DhtCell>(json),
        18 => read::<DhtFound>(json),
        19 => read::<DhtRecords>(json),
        20 => read::<DhtWritten>(json),
        21 => read::<chinwag_api::runtime::Entry>(json),
        22 => read::<Vec<Bytes>>(json),
        23 => read::<Hex>(json),
        24 => read::<Compacted>(json),
        25 => read::<ForgetRequest>(json),
        26 => read::<Forgotten>(json),
        27 => read::<Diff>(json),
        28 => read::<Trace>(json),
        _ => read::<Check>(json),
    }
});

fn request<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    json: &[u8],
    parse: fn(&[u8]) -> Result<T, Failure>,
) {
    match parse(json) {
        Ok(value) => {
            let again = serde_json::to_vec(&value).expect("it encodes");
            assert_eq!(parse(&again).as_ref(), Ok(&value));
        }
        Err(failure) => {
            assert_tame(&failure.message);
            let _ = failure.to_string();
        }
    }
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else { return };
    let again = serde_json::to_vec(&value).expect("it encodes");
    match serde_json::from_slice::<T>(&again) {
        Ok(read) => assert_eq!(read, value),
        Err(why) => panic!("{} does not read: {why}", String::from_utf8_lossy(&again)),
    }
}
