//! One request and its reply.

use super::{Client, REPLY_BYTES_MAX};
use crate::failure::{Failure, Kind};
use crate::schema::Schema;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;
use tokio::net::UnixStream;

/// The content type of all but blobs.
pub(super) const JSON: &str = "application/json";

impl Client {
    pub(super) async fn get<T>(&self, path: &str, patience: Duration) -> Result<T, Failure>
    where
        T: Schema + DeserializeOwned,
    {
        within(patience, async {
            let response = self.send(Method::GET, path, Bytes::new(), JSON, JSON).await?;
            reply(response).await
        })
        .await
    }

    pub(super) async fn post<T>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Failure>
    where
        T: Schema + DeserializeOwned,
    {
        let body = serde_json::to_vec(body)
            .expect("a request encodes, because its maps have text for keys and its types never fail");
        self.post_body(path, body.into(), JSON, patience).await
    }

    /// Posts a body of this content type.
    pub(super) async fn post_body<T>(
        &self,
        path: &str,
        body: Bytes,
        content: &str,
        patience: Duration,
    ) -> Result<T, Failure>
    where
        T: Schema + DeserializeOwned,
    {
        within(patience, async {
            let response = self.send(Method::POST, path, body, content, JSON).await?;
            reply(response).await
        })
        .await
    }

    /// Asks for a body that is no JSON, of at most `bytes_max` bytes.
    pub(super) async fn get_body(
        &self,
        path: &str,
        accept: &str,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Bytes, Failure> {
        within(patience, async {
            let response = self.send(Method::GET, path, Bytes::new(), JSON, accept).await?;
            if response.status().is_success() {
                whole(response.into_body(), bytes_max).await
            } else {
                Err(refusal(response).await)
            }
        })
        .await
    }

    /// Opens a stream of server-sent events. Only the opening has a time limit.
    pub(super) async fn open(&self, path: &str) -> Result<Incoming, Failure> {
        within(self.timeout, async {
            let response = self.send(Method::GET, path, Bytes::new(), JSON, "text/event-stream").await?;
            if response.status().is_success() {
                Ok(response.into_body())
            } else {
                Err(refusal(response).await)
            }
        })
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content: &str,
        accept: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| gone(&e))?;
        // It ends by itself when the reply has been read or dropped; how it ended shows in the reply.
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, "chinwag").header(ACCEPT, accept);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content);
        }
        let request = request.body(Full::new(body)).map_err(|e| {
            Failure::new(Kind::BadRequest, format!("cannot ask for {path}")).because(e.to_string())
        })?;
        sender.send_request(request).await.map_err(|e| gone(&e))
    }
}

/// The daemon ended, or closed the connection, before it had answered.
pub(super) fn gone(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Gone, "chinwagd went away while it was asked").because(error.to_string())
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Kind::Timeout,
            format!("chinwagd did not answer within {} s", patience.as_secs_f64()),
        ))
    })
}

async fn reply<T: Schema + DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    parse(&whole(response.into_body(), REPLY_BYTES_MAX).await?)
}

/// The daemon's refusal, or what can be told of a reply that is none.
async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    match whole(response.into_body(), REPLY_BYTES_MAX).await {
        Err(failure) => failure,
        Ok(body) => parse::<Failure>(&body).unwrap_or_else(|_| {
            Failure::new(Kind::Incompatible, "the reply is not chinwagd's")
                .because(format!("HTTP status {status}"))
        }),
    }
}

async fn whole(body: Incoming, bytes_max: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::new(Kind::TooLarge, format!("the reply has more than {bytes_max} bytes")))
        }
        Err(error) => Err(gone(&error)),
    }
}

/// A body that must be of `T`'s schema.
pub(super) fn parse<T: Schema + DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        schema: Cow<'a, str>,
    }
    let foreign =
        |why: String| Failure::new(Kind::Incompatible, "the reply is not what was asked for").because(why);
    let Named { schema } = serde_json::from_slice(body).map_err(|e| foreign(e.to_string()))?;
    if schema != T::SCHEMA {
        let shown = chinwag_base::key::printable(&schema).into_owned();
        return Err(foreign(format!("it is {shown}, and {} was expected", T::SCHEMA))
            .hint("chinwag version    to compare this program with the daemon"));
    }
    serde_json::from_slice(body).map_err(|e| foreign(e.to_string()))
}
