//! What is told as it happens: server-sent events.

use super::read::parse_pattern;
use super::{Daemon, Refused, parse_query};
use crate::observe::Told;
use axum::extract::State;
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use chinwag_api::event::{CHANGE, EVENT, READY, RESET};
use chinwag_api::schema::{Schema, to_json};
use chinwag_api::{Pattern, Ready, Reset, WatchQuery};
use futures::{Stream, StreamExt, stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// A comment this often, so that a client notices a daemon that is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

type Told0 = Arc<Told>;
type Events =
    Sse<axum::response::sse::KeepAliveStream<stream::BoxStream<'static, Result<Event, Infallible>>>>;

pub(super) async fn watch(State(daemon): Daemon, uri: Uri) -> Result<Events, Refused> {
    let query: WatchQuery = parse_query(&uri)?;
    let pattern = query.pattern.as_deref().map_or_else(|| Ok(Pattern::all()), parse_pattern)?;
    let listening = daemon.listeners.subscribe();
    Ok(serve(daemon.name.to_string(), listening, move |told| {
        let change = told.change.as_ref().filter(|change| pattern.matches(&change.key))?;
        Some(event(CHANGE, change))
    }))
}

pub(super) async fn events(State(daemon): Daemon) -> Events {
    let listening = daemon.listeners.subscribe();
    serve(daemon.name.to_string(), listening, |told| Some(event(EVENT, &told.event)))
}

fn serve(
    name: String,
    listening: broadcast::Receiver<Told0>,
    pick: impl Fn(&Told) -> Option<Event> + Send + 'static,
) -> Events {
    let ready = stream::once(async move { Ok(event(READY, &Ready { name })) });
    let told = picked(listening, pick).map(Ok);
    Sse::new(ready.chain(told).boxed()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn picked(
    listening: broadcast::Receiver<Told0>,
    pick: impl Fn(&Told) -> Option<Event> + Send + 'static,
) -> impl Stream<Item = Event> + Send {
    BroadcastStream::new(listening).filter_map(move |told| {
        let event = match told {
            Ok(told) => pick(&told),
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                let message = format!("{missed} events were left out because this reader was too slow");
                Some(event(RESET, &Reset { message }))
            }
        };
        std::future::ready(event)
    })
}

fn event<T: Schema>(name: &str, data: &T) -> Event {
    Event::default().event(name).data(to_json(data))
}
