//! HTTP/1.1 on connections that stay open, for servers that many clients ask one thing after the other.

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

type Sender = SendRequest<Full<Bytes>>;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On loopback.
    Tcp(SocketAddr),
}

/// Connections to one server: as many as there were ever requests under way at once.
#[derive(Debug)]
pub struct Connections {
    endpoint: Endpoint,
    idle: Mutex<Vec<Sender>>,
}

impl Connections {
    /// None yet.
    pub fn to(endpoint: Endpoint) -> Self {
        Connections { endpoint, idle: Mutex::new(Vec::new()) }
    }

    async fn connect(&self) -> Result<Sender> {
        match &self.endpoint {
            Endpoint::Unix(path) => speak(UnixStream::connect(path).await?).await,
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                speak(stream).await
            }
        }
    }

    /// Asks, on a connection that is idle or else a new one, and says what was answered.
    ///
    /// # Errors
    /// If the server cannot be asked, or refuses.
    pub async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sender = match idle.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let request = Request::builder().method(method).uri(path);
        let request = request.header(HOST, "bench").header(CONTENT_TYPE, "application/json");
        let response = sender.send_request(request.body(Full::new(body.into()))?).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&answer).trim());
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(answer)
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// Those of [`Connections::ask`].
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Bytes> {
        self.ask(Method::POST, path, body).await
    }

    /// Gets something.
    ///
    /// # Errors
    /// Those of [`Connections::ask`].
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        self.ask(Method::GET, path, Vec::new()).await
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("it speaks no HTTP")?;
    // How it ended shows in the next answer.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers each request with the number of its connection, and from the third request on with a refusal.
    async fn serve(listener: TcpListener) {
        let mut requests = 0;
        for connection in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut buffer = [0; 4_096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                requests += 1;
                let status = if requests < 3 { "200 OK" } else { "503 Busy" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 1\r\n\r\n{connection}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_a_refusal_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Connections::to(Endpoint::Tcp(listener.local_addr().unwrap()));
        tokio::spawn(serve(listener));
        for _ in 0..2 {
            assert_eq!(connections.get("/").await.unwrap(), "0");
        }
        let refusal = connections.post("/x", b"{}".to_vec()).await.unwrap_err().to_string();
        assert!(refusal.contains("/x: 503") && refusal.ends_with(": 0"), "{refusal}");
    }
}
