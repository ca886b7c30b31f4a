//! Server-sent events, as the HTML standard parses them ("9.2.6 Interpreting an event stream").
//!
//! An event is lines of `field: text` up to an empty line; lines end with CR LF, LF or CR; several `data` lines are
//! joined by line feeds; a line that starts with a colon is a comment, which servers send to keep a stream alive.
//! `id` and `retry` are passed over: a stream that breaks is an error here, and nobody reconnects behind the
//! caller's back.

/// Bytes of one event, its comments included; the largest is a change with a few concurrent values of 64 KiB.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` if it has none.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// An event over [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLarge;

/// Turns bytes, cut anywhere, into events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// Bytes since the last event, so that neither one endless line nor endless lines grow the buffers.
    size: usize,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// A byte order mark may stand before the first line only.
    past_first_line: bool,
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Parser::default()
    }

    /// Takes bytes and returns the events that they complete.
    ///
    /// # Errors
    /// [`TooLarge`], after which the stream is of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for byte in bytes {
            let line_feed_of_crlf = *byte == b'\n' && std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if line_feed_of_crlf => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    events.extend(self.end_of_line());
                }
                other => {
                    self.after_cr = false;
                    self.size += 1;
                    if self.size > EVENT_BYTES_MAX {
                        return Err(TooLarge);
                    }
                    self.line.push(*other);
                }
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        // Each line costs a byte too, or empty data lines would be free.
        self.size += 1;
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let mut line = line.as_ref();
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_of_event();
        }
        let (field, text) = line.split_once(':').unwrap_or((line, ""));
        let text = text.strip_prefix(' ').unwrap_or(text);
        match field {
            "event" => text.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(text);
                }
                None => self.data = Some(text.to_owned()),
            },
            // A comment (an empty field), `id`, `retry`, or what a later standard adds.
            _ => {}
        }
        None
    }

    fn end_of_event(&mut self) -> Option<Event> {
        self.size = 0;
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        Some(Event { name: if name.is_empty() { "message".into() } else { name }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    fn all(text: &str) -> Vec<Event> {
        Parser::new().feed(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_event_is_lines_up_to_an_empty_one() {
        assert_eq!(all("event: change\ndata: {}\n\n"), [event("change", "{}")]);
        assert_eq!(all("data: a\ndata:b\ndata\n\n"), [event("message", "a\nb\n")]);
        assert_eq!(
            all("event: x\n\ndata: y\n\n"),
            [event("message", "y")],
            "no data, no event, no name left"
        );
        assert_eq!(all("data: a\n"), [], "an event that is cut off is none");
        assert_eq!(all("\u{feff}data: a\n\n"), [event("message", "a")]);
        assert_eq!(all("data:  two\n\n"), [event("message", " two")], "one space belongs to the colon");
    }

    #[test]
    fn comments_ids_and_unknown_fields_are_passed_over() {
        assert_eq!(all(": alive\n\nid: 7\nretry: 3\nflux: x\ndata: a\n\n"), [event("message", "a")]);
    }

    #[test]
    fn every_line_end_of_the_standard_is_one() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("event: e{end}data: a{end}{end}data: b{end}{end}");
            assert_eq!(all(&text), [event("e", "a"), event("message", "b")], "{end:?}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let chunk = vec![b'x'; 1024 * 1024];
        let mut parser = Parser::new();
        assert_eq!((0..9).find_map(|_| parser.feed(&chunk).err()), Some(TooLarge), "one line");
        let mut parser = Parser::new();
        let lines = "data: x\n".repeat(128 * 1024);
        assert_eq!((0..12).find_map(|_| parser.feed(lines.as_bytes()).err()), Some(TooLarge), "many lines");
        let mut parser = Parser::new();
        let alive = ": alive\n\n".repeat(128 * 1024);
        assert_eq!(
            (0..12).find_map(|_| parser.feed(alive.as_bytes()).err()),
            None,
            "a long quiet stream is none"
        );
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_does_not_matter(
            text in "(data|event|id|:|: |x|\r|\n|\r\n|\n\n){0,40}",
            cut in 0usize..64,
        ) {
            let cut = cut.min(text.len());
            let mut parser = Parser::new();
            let mut parts = parser.feed(&text.as_bytes()[..cut]).unwrap();
            parts.extend(parser.feed(&text.as_bytes()[cut..]).unwrap());
            prop_assert_eq!(parts, all(&text));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parser::new().feed(&bytes);
        }
    }
}
