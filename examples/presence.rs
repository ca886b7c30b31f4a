//! Presence and service discovery: who offers what, and who of them is there.
//!
//! It teaches to put two answers together. A key `presence/NAME` says what a member offers; it is replicated state, so
//! it outlives the process that wrote it. Membership says who is alive, and in which *generation*, the number of a
//! process life. An offer counts while the very generation that wrote it is alive: after a crash it is void as soon
//! as membership knows, and a member that starts anew has to offer anew. Nobody has to clean up.
//!
//! ```console
//! $ cargo run --example presence
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use chinwag_api::{CellQuery, Client, Content, Failure, KeysQuery, MemberState, Wait, WriteOp, WriteRequest};
use std::error::Error;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PREFIX: &str = "presence/";
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    // A runtime for each, so that one can end as a process does that is killed: with all its tasks and sockets.
    let (ada_runs, bob_runs, cleo_runs) = (Runtime::new()?, Runtime::new()?, Runtime::new()?);
    let ada = ada_runs.block_on(common::start(dir, "ada", None))?;
    let bob = bob_runs.block_on(common::start(dir, "bob", Some(&ada)))?;
    let cleo = cleo_runs.block_on(common::start(dir, "cleo", Some(&ada)))?;
    let clients = ["ada", "bob", "cleo"].map(|name| common::client(dir, name));

    ada_runs.block_on(async {
        // Whoever joined last may not know the others yet.
        for client in &clients {
            while client.status().await?.members.alive < 3 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        for (client, service) in clients.iter().zip(["web :8080", "db :5432", "mail :25"]) {
            offer(client, service).await?;
        }
        println!("cleo finds:");
        show(&clients[2], 3).await
    })?;

    println!("bob crashes, without a word");
    let crashed = Instant::now();
    bob_runs.shutdown_timeout(Duration::from_secs(1));
    // Only now, since a handle that is dropped while its tasks run would say goodbye.
    drop(bob);
    cleo_runs.block_on(show(&clients[2], 2))?;
    println!("(it took {} ms to suspect it)", crashed.elapsed().as_millis());
    cleo_runs.block_on(becomes(&clients[2], "bob", MemberState::Down))?;
    println!("(and {} ms to be sure)", crashed.elapsed().as_millis());

    println!("cleo leaves");
    cleo_runs.block_on(cleo.leave());
    ada_runs.block_on(show(&clients[0], 1))?;
    ada_runs.block_on(ada.leave());
    Ok(())
}

/// Offers a service for as long as this process life lasts.
async fn offer(client: &Client, service: &str) -> Result<(), Failure> {
    let status = client.status().await?;
    let value = format!("{} {service}", status.generation);
    let set = WriteOp::Set { key: format!("{PREFIX}{}", status.name), value: value.as_str().into() };
    client
        .write(&WriteRequest { ops: vec![set.into()], wait: Some(Wait::All), timeout_ms: Some(10_000) })
        .await?;
    Ok(())
}

/// What is offered by those who are there, one line each.
async fn present(client: &Client) -> Result<Vec<String>, Failure> {
    let members = client.members().await?.members;
    let mut offers = Vec::new();
    let query = KeysQuery { pattern: Some(format!("{PREFIX}*")), ..KeysQuery::default() };
    for row in client.keys(&query).await?.keys {
        let Content::Register { value, .. } = client.cell(&row.key, &CellQuery::default()).await?.content
        else {
            continue;
        };
        let Some((generation, service)) = value.as_text().and_then(|text| text.split_once(' ')) else {
            continue;
        };
        let name = &row.key[PREFIX.len()..];
        let is_there = members.iter().any(|member| {
            member.name == name
                && member.state == MemberState::Alive
                && member.generation.to_string() == generation
        });
        if is_there {
            offers.push(format!("  {name} offers {service}"));
        }
    }
    Ok(offers)
}

/// Waits until a member is believed to be in this state.
async fn becomes(client: &Client, name: &str, state: MemberState) -> Outcome<()> {
    let give_up = Instant::now() + PATIENCE;
    while !client.members().await?.members.iter().any(|m| m.name == name && m.state == state) {
        if Instant::now() > give_up {
            return Err(format!("{name} does not become {state}").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Shows what is offered, once it is by so many.
async fn show(client: &Client, by: usize) -> Outcome<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let offers = present(client).await?;
        if offers.len() == by {
            println!("{}", offers.join("\n"));
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(format!("{} offer something, not {by}", offers.len()).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
