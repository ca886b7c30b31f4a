//! Concurrent increments through a partition: two members count without hearing each other, and the sum is exact.
//!
//! It teaches what an acknowledgement means and what a counter is. Ada takes increments while bob is away, and bob
//! takes others while ada is away. Each increment is acknowledged once it is on the disk of the one that took it. When the two
//! meet again, every acknowledged increment counts once. Had they kept the number in a register, one of them
//! would have overwritten the other; a *counter* keeps a sum for each process life, and its value is the sum of sums.
//!
//! ```console
//! $ cargo run --example counter
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use chinwag_base::Key;
use chinwag_daemon::{Handle, Op, Read, Wait};
use std::error::Error;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let visits: Key = "visits".parse()?;

    let ada = common::start(dir, "ada", None).await?;
    let bob = common::start(dir, "bob", Some(&ada)).await?;
    increment(&ada, &visits, 10).await?;
    increment(&bob, &visits, 10).await?;
    agree(&ada, &bob, &visits, 20).await?;
    println!("together: 20 increments, and both count 20");

    // The partition: at no time do both run, so neither can hear the other.
    bob.leave().await;
    increment(&ada, &visits, 300).await?;
    println!("bob is away: ada acknowledges 300, and counts {}", count(&ada, &visits).await?);
    ada.leave().await;
    let bob = common::start(dir, "bob", None).await?;
    increment(&bob, &visits, 200).await?;
    println!("ada is away: bob acknowledges 200, and counts {}", count(&bob, &visits).await?);

    // They meet.
    let begun = Instant::now();
    let ada = common::start(dir, "ada", None).await?;
    agree(&ada, &bob, &visits, 520).await?;
    println!("they meet: both count 520");
    println!("(it took {} ms, with the start of ada's daemon)", begun.elapsed().as_millis());

    bob.leave().await;
    ada.leave().await;
    Ok(())
}

/// So many increments, each acknowledged before the next.
async fn increment(member: &Handle, key: &Key, times: usize) -> Outcome<()> {
    for _ in 0..times {
        // Locally, because nobody else may be there.
        member.write(vec![Op::Increment { key: key.clone(), by: 1 }], Wait::Local, PATIENCE).await?;
    }
    Ok(())
}

async fn count(member: &Handle, key: &Key) -> Outcome<i128> {
    match member.get(key).await? {
        Some(Read::Counter(sum)) => Ok(sum),
        None => Ok(0),
        other => Err(format!("{key} holds {other:?}").into()),
    }
}

/// Waits until both count `sum`, and sees that neither ever counts more.
async fn agree(ada: &Handle, bob: &Handle, key: &Key, sum: i128) -> Outcome<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let counts = (count(ada, key).await?, count(bob, key).await?);
        if counts == (sum, sum) {
            return Ok(());
        }
        if counts.0 > sum || counts.1 > sum || Instant::now() > give_up {
            return Err(format!("they count {counts:?}, and {sum} were acknowledged").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
