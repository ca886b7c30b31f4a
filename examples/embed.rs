//! Two members of an overlay inside one program: what a service does that wants shared state without a server.
//!
//! It teaches the embedding API: a home, `Daemon::start`, an invite, a write that waits for the other member, a
//! counter that both increment at once, and a graceful end.
//!
//! ```console
//! $ cargo run --release --example embed
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use chinwag_base::Key;
use chinwag_daemon::config::{JoinBy, Listen};
use chinwag_daemon::{Config, Daemon, Op, Read, Wait};
use std::error::Error;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let homes = tempfile::tempdir()?;
    let here: Listen = "127.0.0.1:0".parse()?;

    // The first member founds the overlay in its home, before its daemon starts.
    let ada = Config { listen: vec![here], ..Config::new(homes.path().join("ada"), "ada".parse()?) };
    chinwag_daemon::found(&ada.data, "demo".parse()?)?;
    let ada = Daemon::start(ada).await?;

    // The second one is let in by an invite, like anyone.
    let invite = ada.invite(1, Duration::from_secs(60)).await?;
    let bob = Config {
        listen: vec![here],
        join: Some(JoinBy::Invite(invite)),
        ..Config::new(homes.path().join("bob"), "bob".parse()?)
    };
    let bob = Daemon::start(bob).await?;
    while ada.members().await?.alive < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // A write is durable at ada when this returns, and at bob too, because it waits for two members.
    let greeting = Op::Set { key: "greeting".parse()?, value: b"hello".to_vec().try_into()? };
    let written = ada.write(vec![greeting], Wait::Count(2), PATIENCE).await?;
    println!("greeting is on {} of {} members after {:?}", written.holders, written.of, written.after);
    match bob.get(&"greeting".parse()?).await? {
        Some(Read::Register { value, .. }) => println!("bob reads {value:?}"),
        other => return Err(format!("bob reads {other:?}").into()),
    }

    // Both increment at the same time, and nothing is lost.
    let visits: Key = "visits".parse()?;
    let visit = || vec![Op::Increment { key: visits.clone(), by: 1 }];
    let (a, b) = tokio::join!(
        ada.write(visit(), Wait::All, PATIENCE), //
        bob.write(visit(), Wait::All, PATIENCE)
    );
    a?;
    b?;
    match ada.get(&visits).await? {
        Some(Read::Counter(2)) => println!("ada counts 2 visits"),
        other => return Err(format!("ada counts {other:?}").into()),
    }

    bob.leave().await;
    ada.leave().await;
    Ok(())
}
