//! What is told as it happens: server-sent events.

use super::read::{live_keys, parse_pattern, shown};
use super::{Daemon, Refused, parse_query};
use crate::daemon::Shared;
use crate::listeners::{Listening, Missed};
use crate::observe::Told;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use chinwag_api::cell::{CELLS_PAGE_BYTES_MAX, CELLS_PAGE_MAX};
use chinwag_api::event::{CELL, CHANGE, EVENT, Position, READY, RESET};
use chinwag_api::schema::{Schema, to_json};
use chinwag_api::{Cell, Pattern, Ready, Reset, WatchQuery};
use chinwag_base::Key;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

/// A comment this often, so that a client notices a daemon that is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Events of a watch that are made before the connection takes them.
const AHEAD: usize = 64;

type Told0 = Arc<Told>;
type Events = Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

pub(super) async fn watch(State(daemon): Daemon, headers: HeaderMap, uri: Uri) -> Result<Events, Refused> {
    let query: WatchQuery = parse_query(&uri)?;
    let pattern = query.pattern.as_deref().map_or_else(|| Ok(Pattern::all()), parse_pattern)?;
    // What whoever comes back has heard last. A browser says it in a header, by itself.
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let after = query.after.or_else(|| header.map(|id| Position(id.to_owned())));
    let (listening, missed) = match after {
        None => (daemon.listeners.listen(), Ok(Vec::new())),
        Some(position) => daemon.listeners.listen_after(&position)?,
    };
    let (events, told) = mpsc::channel(AHEAD);
    tokio::spawn(Watcher { daemon, pattern, listening, events }.run(missed));
    Ok(serve(ReceiverStream::new(told).boxed()))
}

pub(super) async fn events(State(daemon): Daemon) -> Events {
    let listening = daemon.listeners.listen();
    let ready = Ready { name: daemon.name.to_string(), position: None };
    let ready = stream::once(async move { event(READY, &ready) });
    serve(ready.chain(all(listening.receiver)).boxed())
}

fn serve(events: BoxStream<'static, Event>) -> Events {
    Sse::new(events.map(Ok).boxed()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn all(listening: broadcast::Receiver<Told0>) -> impl Stream<Item = Event> + Send {
    BroadcastStream::new(listening).map(|told| match told {
        Ok(told) => event(EVENT, &told.event),
        Err(BroadcastStreamRecvError::Lagged(missed)) => {
            let message = format!("{missed} events were left out because this reader was too slow");
            event(RESET, &Reset { message })
        }
    })
}

/// Tells one watcher, until it hangs up.
struct Watcher {
    daemon: Arc<Shared>,
    pattern: Pattern,
    listening: Listening,
    events: mpsc::Sender<Event>,
}

/// The watcher has hung up, or the daemon stops.
struct Over;

impl Watcher {
    /// First what it has missed, or why that is not known; then what happens.
    async fn run(mut self, missed: Missed) {
        // However it ends, the stream ends with it.
        let Ok(()) = self.begin(missed).await else { return };
        while let Ok(()) = self.next().await {}
    }

    async fn begin(&mut self, missed: Missed) -> Result<(), Over> {
        match missed {
            Ok(missed) => {
                for told in &missed {
                    self.change(told).await?;
                }
                self.ready().await
            }
            Err(why) => self.start_over(why).await,
        }
    }

    async fn next(&mut self) -> Result<(), Over> {
        let told = tokio::select! {
            told = self.listening.receiver.recv() => told,
            () = self.events.closed() => return Err(Over),
        };
        match told {
            Ok(told) => self.change(&told).await,
            Err(RecvError::Lagged(missed)) => {
                let why = format!("{missed} events were left out because this reader was too slow");
                self.start_over(why).await
            }
            Err(RecvError::Closed) => Err(Over),
        }
    }

    async fn change(&mut self, told: &Told) -> Result<(), Over> {
        let Some(change) = told.change.as_ref().filter(|change| self.pattern.matches(&change.key)) else {
            return Ok(());
        };
        let event = event(CHANGE, change);
        self.say(match &change.position {
            Some(position) => event.id(&position.0),
            None => event,
        })
        .await
    }

    async fn ready(&mut self) -> Result<(), Over> {
        let position = self.listening.position.clone();
        let ready = Ready { name: self.daemon.name.to_string(), position: Some(position) };
        self.say(event(READY, &ready).id(&self.listening.position.0)).await
    }

    /// Says that changes are lost, and what is there now. What changes while it is read follows as a change, whether it is
    /// in what was read or not.
    async fn start_over(&mut self, message: String) -> Result<(), Over> {
        self.listening = self.daemon.listeners.listen();
        self.say(event(RESET, &Reset { message })).await?;
        let mut after: Option<String> = None;
        loop {
            let page = self.page(after.take()).await?;
            for cell in &page.0 {
                self.say(event(CELL, cell)).await?;
            }
            match page.1 {
                Some(next) => after = Some(next),
                None => return self.ready().await,
            }
        }
    }

    /// The cells after a key, and where the next page starts.
    async fn page(&self, after: Option<String>) -> Result<(Vec<Cell>, Option<String>), Over> {
        let engine = self.daemon.running().await.map_err(|_| Over)?;
        let pattern = self.pattern.clone();
        let page = engine.look(move |node, observer, _| {
            let (mut cells, mut bytes, mut last) = (Vec::new(), 0, None::<Key>);
            let keys = live_keys(node, pattern.prefix(), after.as_deref());
            for (looked_at, key) in keys.enumerate() {
                // Keys that do not match cost little, but something.
                let is_full = cells.len() == CELLS_PAGE_MAX as usize || bytes >= CELLS_PAGE_BYTES_MAX;
                if is_full || looked_at == 16 * CELLS_PAGE_MAX as usize {
                    return (cells, last.map(|key| key.to_string()));
                }
                if pattern.matches(key.as_str())
                    && let Some(read) = node.gossip().replica().get(&key)
                {
                    let cell = shown(node, &key, &read, false, observer);
                    bytes += key.as_str().len() + cell.content.bytes();
                    cells.push(cell);
                }
                last = Some(key);
            }
            (cells, None)
        });
        page.await.map_err(|_| Over)
    }

    async fn say(&self, event: Event) -> Result<(), Over> {
        self.events.send(event).await.map_err(|_| Over)
    }
}

fn event<T: Schema>(name: &str, data: &T) -> Event {
    Event::default().event(name).data(to_json(data))
}
