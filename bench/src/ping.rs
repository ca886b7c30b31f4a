//! A bare TCP echo: what the network costs when nothing is done with it.

use crate::latency::Latencies;
use anyhow::{Context as _, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Bytes there and back.
const BYTES: usize = 64;
/// How long one round trip may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends 64 bytes to an echo at `ip` and back, one after the other, until `count` are back or `at_most` has passed.
///
/// # Errors
/// If there is no such address, or an echo does not come.
pub async fn ping(ip: IpAddr, count: u64, at_most: Duration) -> Result<Latencies> {
    let listener = TcpListener::bind((ip, 0)).await.with_context(|| format!("cannot listen on {ip}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        echo(stream).await
    });
    let pinged = rounds(address, count, at_most).await;
    echo.abort();
    pinged
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; BYTES];
    loop {
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&bytes).await?;
    }
}

async fn rounds(address: SocketAddr, count: u64, at_most: Duration) -> Result<Latencies> {
    let connect = timeout(PATIENCE, TcpStream::connect(address));
    let mut stream = connect.await.context("no connection in time")?.context("cannot connect")?;
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let (begun, mut latencies, mut bytes) = (Instant::now(), Latencies::default(), [7; BYTES]);
    while latencies.count() < count && begun.elapsed() < at_most {
        let started = Instant::now();
        stream.write_all(&bytes).await.context("cannot send")?;
        let back = timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
        back.context("no echo in time")?.context("cannot receive")?;
        latencies.record(started.elapsed());
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_echo_comes_back() {
        let latencies = ping(IpAddr::from([127, 0, 0, 1]), 10, Duration::from_secs(5)).await.unwrap();
        assert_eq!(latencies.count(), 10);
        assert!(latencies.summary().p50_us > 0.0);
    }
}
