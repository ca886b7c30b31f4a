//! The bytes of a lane, cut into frames. The first byte says how many of them one read gives. Frames are what their
//! lengths say, whatever the steps; none is empty or longer than its lane allows; nothing is skipped.
#![no_main]

use chinwag_base::Lane;
use chinwag_daemon::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((step, bytes)) = bytes.split_first() else { return };
    for lane in Lane::ALL {
        let (frames, goodbye) = fuzzing::lane(lane, bytes, (*step).into());
        assert_eq!(fuzzing::lane(lane, bytes, usize::MAX), (frames.clone(), goodbye));
        let mut written = Vec::new();
        for frame in &frames {
            assert!((1..=lane.frame_bytes_max()).contains(&frame.len()));
            written.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            written.extend_from_slice(frame);
        }
        if goodbye {
            written.extend_from_slice(&[0; 4]);
        }
        assert!(bytes.starts_with(&written));
    }
});
