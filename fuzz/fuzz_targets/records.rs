//! Records of the DHT: keys as other programs spell them, cells and their contexts, records and rows of the index.
//! The first byte chooses. A record that is valid stays so when it is written and read; two cells that decode join to
//! the same one both ways, as owners must agree.
#![no_main]

use chinwag_base::codec;
use chinwag_dht::{Cell, Context, Held, Message, Record, RecordKey};
use chinwag_fuzz::{assert_tame, decoded_tightly, samples};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 6 {
        0 => {
            if let Some(key) = RecordKey::from_bytes(bytes) {
                assert_eq!(key.to_bytes(), bytes, "each key has one spelling");
            }
        }
        1 => {
            if let Some(context) = decoded_tightly::<LIMIT, Context>(bytes) {
                let mut joined = context.clone();
                joined.join(&context);
                assert_eq!(joined, context);
                assert!(context.len() >= context.runs() as u64);
            }
        }
        2 => cells(bytes),
        3 => {
            if let Some(record) = decoded_tightly::<LIMIT, Record>(bytes) {
                validate(record);
            }
        }
        4 => {
            if let Some(held) = decoded_tightly::<LIMIT, Held>(bytes) {
                let _ = (held.digest(), held.memory_bytes(), held.blob_bytes(), held.to_record(None));
                let mut joined = held.clone();
                if joined.join(&held, samples::NOW).is_ok() {
                    assert_eq!(joined.digest(), held.digest());
                }
            }
        }
        // A text of a peer is cut to its limit, so a message may be written shorter than it was read.
        _ => drop(chinwag_fuzz::decoded::<LIMIT, Message>(bytes)),
    }
});

fn validate(record: Record) {
    match record.validate(samples::NOW) {
        Err(why) => assert_tame(&why.to_string()),
        Ok(valid) => {
            let bytes = codec::encode(&*valid);
            let again: Record = codec::decode::<LIMIT, _>(&bytes).expect("a valid record decodes");
            assert_eq!(again.validate(samples::NOW).as_ref(), Ok(&valid), "what is valid stays so");
            let (held, blob) = Held::of(valid.clone());
            assert_eq!(held.to_record(blob), Some(valid.into_record()));
        }
    }
}

fn cells(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (one, other) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let one = decoded_tightly::<LIMIT, Cell>(one);
    let other = decoded_tightly::<LIMIT, Cell>(other);
    let (Some(one), Some(other)) = (one, other) else { return };
    let _ = (one.read(), one.expires(), one.entombed(), one.latest(), one.older_than(&other));
    let (mut a, mut b) = (one.clone(), other.clone());
    if a.join(&other).is_ok() && b.join(&one).is_ok() {
        assert_eq!(a, b, "owners agree");
        assert!(a.includes(&one) && a.includes(&other));
        assert!(other.context().runs() == 0 || a.context().runs() > 0);
    }
}
