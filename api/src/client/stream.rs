//! What a daemon tells as it happens.

use super::request::{gone, parse};
use super::{Client, sse};
use crate::cell::Cell;
use crate::event::{self, Change, NodeEvent, Position, Ready, Reset, Watched};
use crate::failure::{Failure, Kind};
use crate::paths;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// What may arrive on a stream.
pub trait Told: Sized {
    /// Reads the server-sent event of this name; `None` for a name that this build does not know.
    ///
    /// # Errors
    /// If the data is not of the name's schema.
    fn read(name: &str, data: &str) -> Result<Option<Self>, Failure>;
}

impl Told for Watched {
    fn read(name: &str, data: &str) -> Result<Option<Self>, Failure> {
        Ok(Some(match name {
            event::READY => Watched::Ready(parse::<Ready>(data.as_bytes())?),
            event::CHANGE => Watched::Change(parse::<Change>(data.as_bytes())?),
            event::RESET => Watched::Reset(parse::<Reset>(data.as_bytes())?),
            event::CELL => Watched::Cell(parse::<Cell>(data.as_bytes())?),
            _ => return Ok(None),
        }))
    }
}

/// What `GET /v1/events` sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// From here on nothing is missed.
    Ready(Ready),
    /// Something happened.
    Event(NodeEvent),
    /// Events were left out.
    Reset(Reset),
}

impl Told for Heard {
    fn read(name: &str, data: &str) -> Result<Option<Self>, Failure> {
        Ok(Some(match name {
            event::READY => Heard::Ready(parse::<Ready>(data.as_bytes())?),
            event::EVENT => Heard::Event(parse::<NodeEvent>(data.as_bytes())?),
            event::RESET => Heard::Reset(parse::<Reset>(data.as_bytes())?),
            _ => return Ok(None),
        }))
    }
}

/// A stream of server-sent events. Dropping it closes it.
#[derive(Debug)]
pub struct Stream<T> {
    body: Incoming,
    parser: sse::Parser,
    waiting: VecDeque<sse::Event>,
    told: PhantomData<fn() -> T>,
}

/// The changes of some keys.
pub type Watch = Stream<Watched>;
/// The events of a node.
pub type Events = Stream<Heard>;

impl Client {
    /// Watches the keys that match `pattern`, or all.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn watch(&self, pattern: Option<&str>) -> Result<Watch, Failure> {
        self.watch_after(pattern, None).await
    }

    /// The same, from a position on: first what came after it, or a reset.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn watch_after(
        &self,
        pattern: Option<&str>,
        after: Option<&Position>,
    ) -> Result<Watch, Failure> {
        let after = after.map(|position| position.0.as_str());
        let path = paths::WATCH.to_owned() + &paths::query(&[("pattern", pattern), ("after", after)]);
        Ok(Stream::of(self.open(&path).await?))
    }

    /// Listens to the node's events.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn events(&self) -> Result<Events, Failure> {
        Ok(Stream::of(self.open(paths::EVENTS).await?))
    }
}

impl<T: Told> Stream<T> {
    fn of(body: Incoming) -> Self {
        Stream { body, parser: sse::Parser::new(), waiting: VecDeque::new(), told: PhantomData }
    }

    /// The next that is told. Cancelling it loses nothing.
    ///
    /// # Errors
    /// `gone` when the stream ends, because a daemon that lives does not end it.
    pub async fn next(&mut self) -> Result<T, Failure> {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if let Some(told) = T::read(&event.name, &event.data)? {
                    return Ok(told);
                }
            }
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(gone(&error)),
                None => return Err(gone(&"it closed the stream")),
            };
            if let Some(bytes) = frame.data_ref() {
                let events = self.parser.feed(bytes).map_err(|e| {
                    Failure::new(Kind::Incompatible, "the stream is not chinwagd's").because(e.to_string())
                })?;
                self.waiting.extend(events);
            }
        }
    }
}
