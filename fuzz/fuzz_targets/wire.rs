//! Frames of peers, as bytes of a lane. What is accepted is written again as something that reads the same; it holds
//! no more memory than its lane's bytes allow, and its size by its own account covers what it takes on the wire.
#![no_main]

use chinwag_base::{Lane, PROTOCOL_VERSION};
use chinwag_fuzz::{alloc, assert_frame_allocation, assert_tame};
use chinwag_node::wire::{self, Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for lane in Lane::ALL {
        let (frame, held) = alloc::peak(|| wire::decode(lane, bytes));
        assert_frame_allocation(bytes.len(), held);
        match frame {
            Err(why) => assert_tame(&why.to_string()),
            Ok(frame) => {
                assert!(bytes[0] == PROTOCOL_VERSION as u8 && bytes.len() <= 1 + lane.frame_bytes_max());
                let again = wire::encode(&frame);
                assert_eq!(wire::decode(lane, &again).as_ref(), Ok(&frame));
                let _ = (frame.slot(), Lane::ALL.map(|lane| frame.may_travel_on(lane)));
                if let Frame::Membership(message) = &frame {
                    // An envelope of two bytes stands around it: the version and the kind.
                    assert!(again.len() - 2 <= message.weight(), "{} {}", again.len(), message.weight());
                }
            }
        }
    }
});
