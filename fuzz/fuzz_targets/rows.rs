//! Rows of a disk that may be damaged, and the files of a home. The first byte chooses; the checksum of a row is made
//! for it, so that what is behind it is reached. What is accepted is written again as something that reads the same.
#![no_main]

use chinwag_base::codec;
use chinwag_daemon::fuzzing;
use chinwag_dht::{BlobHash, Held};
use chinwag_fuzz::{alloc, assert_allocation, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let row = [&crc32fast::hash(bytes).to_le_bytes(), bytes].concat();
    match which % 8 {
        0 => again(&row, fuzzing::entry_row),
        1 => again(&row, fuzzing::member_row),
        2 => again(&row, fuzzing::invite_row),
        3 => {
            let held = codec::decode::<{ 1 << 20 }, Held>(bytes);
            let place = held.map(|held| *held.key.id().as_bytes()).unwrap_or_default();
            again(&row, |row| fuzzing::record_row(&place, row));
            assert_eq!(fuzzing::record_row(&[7; 32], &row), None, "a row has one place");
        }
        4 => {
            // The place of a guest's blob is its hash, which stands at the row's end.
            for at in 0..=bytes.len() {
                let hash = BlobHash::of(&bytes[at..]);
                if let Some(written) = fuzzing::guest_row(hash.as_bytes(), bytes) {
                    assert_eq!(written, bytes);
                }
            }
        }
        // Places were added behind the others, so that the corpus keeps its meaning.
        6 => again(&row, fuzzing::log_row),
        7 => again(&row, fuzzing::cell_row),
        _ => {
            if let Some(papers) = text(bytes).and_then(|text| fuzzing::papers(text).ok()) {
                let written = fuzzing::papers_text(&papers);
                assert_eq!(fuzzing::papers(&written), Ok(papers));
            }
            // A row whose checksum nobody has made right is one in four thousand million.
            let _ = fuzzing::entry_row(bytes);
        }
    }
});

fn again(row: &[u8], read: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let (written, held) = alloc::peak(|| read(row));
    assert_allocation(2 * row.len(), held);
    let Some(written) = written else { return };
    assert_eq!(read(&written), Some(written));
}
