//! A daemon that says what a test wants, over a true socket. For tests only.

use crate::schema::{Schema, to_json};
use crate::{Failure, paths};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// What the fake daemon was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body as text.
    pub body: String,
    /// The body's bytes.
    pub bytes: Vec<u8>,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// A reply with this status and body.
    Reply(u16, String),
    /// A reply of these bytes, which are no JSON.
    Bytes(Vec<u8>),
    /// These bytes as a stream of server-sent events, and then it goes away.
    Stream(String),
    /// These raw bytes, and then it goes away.
    Raw(Vec<u8>),
    /// Nothing, for as long as the client likes.
    Silence,
}

impl Says {
    /// A reply of the contract.
    pub fn yes<T: Schema>(reply: &T) -> Says {
        Says::Reply(200, to_json(reply))
    }

    /// A refusal of the contract.
    pub fn no(failure: &Failure) -> Says {
        Says::Reply(failure.kind.http_status(), to_json(failure))
    }
}

/// A fake daemon. It ends when it is dropped.
#[derive(Debug)]
pub struct Fake {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// Listens on `socket` and answers each request with what `says` makes of it.
    ///
    /// # Panics
    /// If the socket cannot be listened on.
    pub fn listen(socket: &Path, says: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Fake {
        let listener =
            UnixListener::bind(socket).expect("a free socket, because the test made its directory");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, says) = (asked.clone(), Arc::new(says));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), says.clone()));
            }
        });
        Fake { socket: socket.to_owned(), asked, task }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers `404` to what it does not know, as the daemon does.
pub fn unknown(asked: &Asked) -> Says {
    let known = asked.path.starts_with(paths::CELLS);
    let kind = if known { crate::Kind::NoSuchKey } else { crate::Kind::NotFound };
    Says::no(&Failure::new(kind, format!("nothing at {}", asked.path)))
}

async fn serve(mut stream: UnixStream, log: Arc<Mutex<Vec<Asked>>>, says: Arc<impl Fn(&Asked) -> Says>) {
    let Some(asked) = read(&mut stream).await else { return };
    if let Ok(mut log) = log.lock() {
        log.push(asked.clone());
    }
    let bytes = match says(&asked) {
        Says::Reply(status, body) => format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
        Says::Bytes(body) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ";
            [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        }
        Says::Stream(body) => {
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}").into_bytes()
        }
        Says::Raw(bytes) => bytes,
        Says::Silence => {
            // Until the client hangs up.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut UnixStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        if let Some(asked) = whole(&bytes) {
            return Some(asked);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The request, once all of it is there.
fn whole(bytes: &[u8]) -> Option<Asked> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let at = bytes.windows(END_OF_HEAD.len()).position(|w| w == END_OF_HEAD)?;
    let head = std::str::from_utf8(&bytes[..at]).ok()?;
    let body = &bytes[at + END_OF_HEAD.len()..];
    let mut words = head.lines().next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let asked =
        || Asked { method, path, body: String::from_utf8_lossy(body).into_owned(), bytes: body.to_vec() };
    (body.len() >= length.unwrap_or(0)).then(asked)
}
