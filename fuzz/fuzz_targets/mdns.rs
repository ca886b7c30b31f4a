//! Datagrams: what anybody on the same network can send. A packet of multicast discovery is a question, an announcement
//! or nothing; one that is understood, announced again, is understood the same. And the doctor's answer from a QUIC port.
#![no_main]

use chinwag_base::OverlayId;
use chinwag_base::limits::LAN_ADDRESSES_MAX;
use chinwag_daemon::fuzzing;
use chinwag_fuzz::samples;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::quic_answer(bytes, b"8 bytes.");
    let overlay = samples::overlay();
    let other = OverlayId::from_bytes([0; 16]);
    match fuzzing::mdns(overlay, bytes) {
        None => {}
        Some(None) => assert_eq!(fuzzing::mdns(overlay, &fuzzing::mdns_question(overlay)), Some(None)),
        Some(Some((peer, addresses))) => {
            assert!((1..=LAN_ADDRESSES_MAX).contains(&addresses.len()));
            for address in &addresses {
                assert!(!address.is_loopback() && !address.is_link_local() && address.socket.port() != 0);
            }
            let packet = fuzzing::mdns_announcement(overlay, peer, addresses.clone());
            assert_eq!(fuzzing::mdns(overlay, &packet), Some(Some((peer, addresses))));
            assert_eq!(fuzzing::mdns(other, &packet), None, "each overlay hears its own");
        }
    }
});
