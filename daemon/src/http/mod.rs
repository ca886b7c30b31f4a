//! The API: HTTP/JSON and server-sent events on a Unix socket. The contract is the crate `chinwag-api`.
//!
//! The socket has mode 0600 in a directory of mode 0700, and whoever connects is asked by the kernel who they are.

mod dht;
mod diff;
mod doctor;
mod forget;
mod members;
mod metrics;
mod overlay;
pub(crate) mod read;
mod store;
mod stream;
mod trace;
mod write;

pub(crate) use dht::ask_failure;
pub(crate) use overlay::make_invite;
pub(crate) use read::parse_key;
pub(crate) use write::write_failure;

use crate::daemon::Shared;
use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chinwag_api::schema::{Schema, to_json};
use chinwag_api::{Failure, Kind, paths};
use chinwag_base::limits::API_BODY_BYTES_MAX;
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// Binds the API's socket.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, Failure> {
    let failed = |e: io::Error| {
        Failure::new(Kind::Permission, format!("cannot listen on {}", path.display())).because(e.to_string())
    };
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves the API until the task is aborted.
pub(crate) async fn serve(shared: Arc<Shared>, listener: UnixListener) {
    let router = Router::new()
        .route(paths::VERSION, get(read::version))
        .route(paths::STATUS, get(read::status))
        .route(paths::MEMBERS, get(members::members))
        .route(&format!("{}/{{*name}}", paths::EXPLAIN), get(members::explain))
        .route(paths::REACH, get(members::reach))
        .route(&format!("{}/{{*key}}", paths::CELLS), get(read::cell))
        .route(paths::CELLS, get(read::cells))
        .route(paths::KEYS, get(read::keys))
        .route(paths::WRITE, post(write::write))
        .route(paths::WATCH, get(stream::watch))
        .route(paths::EVENTS, get(stream::events))
        .route(paths::INIT, post(overlay::init))
        .route(paths::INVITE, post(overlay::invite))
        .route(paths::JOIN, post(overlay::join))
        .route(paths::LEAVE, post(overlay::leave))
        .route(paths::DOCTOR, get(doctor::doctor))
        .route(paths::CHECK, get(store::check))
        .route(paths::COMPACT, post(store::compact))
        .route(paths::FORGET, post(forget::forget))
        .route(&format!("{}/{{*name}}", paths::DIFF), get(diff::diff))
        .route(&format!("{}/{{*key}}", paths::TRACE), get(trace::trace))
        .route(paths::DHT_WRITE, post(dht::write))
        .route(&format!("{}/{{*key}}", paths::DHT_CELLS), get(dht::cell))
        .route(&format!("{}/{{*key}}", paths::DHT_FIND_CELL), get(dht::find_cell))
        .route(&format!("{}/{{hash}}", paths::DHT_FIND_BLOB), get(dht::find_blob))
        .route(paths::DHT_BLOBS, post(dht::put_blob))
        .route(&format!("{}/{{hash}}", paths::DHT_BLOBS), get(dht::blob))
        .route(paths::DHT_RECORDS, get(dht::records))
        .route(paths::HEALTHZ, get(read::health))
        .route(paths::READYZ, get(read::health))
        .route(paths::METRICS, get(metrics::metrics))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX))
        .layer(middleware::from_fn(told))
        .with_state(shared);
    // Never returns but with an error that no retry would mend.
    if let Err(error) = axum::serve(OwnUser(listener), router).await {
        tracing::error!(target: "chinwag", event = "api.stopped", why = %error);
    }
}

/// Accepts the user's own programs and root's, by the kernel's word.
struct OwnUser(UnixListener);

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            let me = rustix::process::geteuid().as_raw();
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == me || peer.uid() == 0 => return (stream, address),
                _ => tracing::warn!(target: "chinwag", event = "api.refused", why = "another user"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn told(request: Request, next: Next) -> Response {
    let call = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    tracing::debug!(target: "chinwag", event = "api.call", call, status = response.status().as_u16());
    response
}

async fn nothing_here(request: Request) -> Refused {
    Failure::new(Kind::NotFound, format!("the API has no {} {}", request.method(), request.uri().path()))
        .into()
}

/// A reply: one JSON object with its schema.
struct Reply<T>(T);

impl<T: Schema> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], to_json(&self.0) + "\n").into_response()
    }
}

/// A refusal, with the status that its kind has.
struct Refused(Failure);

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Refused(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Reply(self.0)).into_response()
    }
}

type Answered<T> = Result<Reply<T>, Refused>;

/// Members by state.
pub(crate) async fn members(shared: &Shared) -> Result<chinwag_api::Counts, Failure> {
    Ok(read::seen(shared).await?.members)
}

/// A request's body, whole. One that is too large is refused in the API's own words.
struct Text(Body);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        Body::from_request(request, state).await.map(Text).map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let kind = if too_large { Kind::TooLarge } else { Kind::BadRequest };
            Failure::new(kind, "the request's body is refused").because(rejection.body_text()).into()
        })
    }
}

/// Parses a request's body.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|e| {
        Failure::new(Kind::BadRequest, "the request's body is not understood").because(e.to_string())
    })
}

/// A request's query.
pub(crate) fn parse_query<T: DeserializeOwned>(request: &axum::http::Uri) -> Result<T, Failure> {
    axum::extract::Query::try_from_uri(request)
        .map(|axum::extract::Query(query)| query)
        .map_err(|e| Failure::new(Kind::BadRequest, "the query is not understood").because(e.to_string()))
}

type Daemon = State<Arc<Shared>>;
