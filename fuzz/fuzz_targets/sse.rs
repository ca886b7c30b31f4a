//! The client's parser of server-sent events. Where the bytes are cut does not matter: the first byte says into pieces of
//! which length.
#![no_main]

use chinwag_api::client::sse::Parser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let whole = Parser::new().feed(bytes).expect("too short to be too large");
    let mut parser = Parser::new();
    let mut pieces = Vec::new();
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        pieces.extend(parser.feed(piece).expect("too short to be too large"));
    }
    assert_eq!(pieces, whole);
    let told: usize = whole.iter().map(|event| event.data.len()).sum();
    // A byte that is no text is shown as a character of three.
    assert!(told <= 3 * bytes.len());
    for event in &whole {
        assert!(!event.name.is_empty() && !event.name.contains(['\n', '\r']) && !event.data.contains('\r'));
        // What was understood, said again, is understood the same.
        let lines: String = event.data.split('\n').map(|line| format!("data: {line}\n")).collect();
        let again = Parser::new().feed(format!("event: {}\n{lines}\n", event.name).as_bytes());
        assert_eq!(again.expect("too short to be too large").as_slice(), std::slice::from_ref(event));
    }
});
