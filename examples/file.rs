//! A file that is shared by its hash: who adds it may go, and every byte that comes back is checked.
//!
//! It teaches content addressing in the DHT. A file is cut into chunks, each a *blob* whose name is the SHA-256 of its
//! bytes; a manifest lists them, and the manifest's own hash names the file. So the name says what the bytes are, and
//! not where: any member finds the owners by it, takes the chunks from whoever has them, and needs to trust nobody.
//! Nobody keeps a list of names, so equal bytes are equal files, and one other byte makes another file.
//!
//! ```console
//! $ cargo run --example file                 bytes that are made up
//! $ cargo run --example file -- README.md    a file of yours
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use chinwag_api::Client;
use chinwag_api::client::file::{self, AddOptions, Added};
use std::error::Error;
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The length of what is made up: four chunks, the last one not full.
const MADE_UP_BYTES: u64 = 1_000_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => (0..MADE_UP_BYTES).map(|i| (i * i / 1_000) as u8).collect(),
    };

    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let ada = common::start(dir, "ada", None).await?;
    let bob = common::start(dir, "bob", Some(&ada)).await?;
    let cleo = common::start(dir, "cleo", Some(&ada)).await?;
    let [adas, bobs, cleos] = ["ada", "bob", "cleo"].map(|name| common::client(dir, name));
    for client in [&adas, &bobs, &cleos] {
        // Whoever joined last may not know the others yet.
        while client.status().await?.members.alive < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    // Done when a majority of each blob's owners have it on their disks.
    let added = add(&adas, &bytes).await?;
    println!(
        "ada adds {} bytes as {} blobs and {} that lists them",
        added.len, added.chunks, added.manifests
    );
    println!("its name is {}", added.hash);

    ada.leave().await;
    println!("ada leaves");
    let mut read = Vec::new();
    let written = file::cat(&bobs, added.hash, &mut read, None, |_, _| {}).await?;
    println!("bob reads {} bytes by that name, and they are ada's: {}", written.len, read == bytes);

    let again = add(&cleos, &bytes).await?;
    println!("cleo adds the same bytes, and the name is the same: {}", again.hash == added.hash);
    read.push(b'!');
    let other = add(&cleos, &read).await?;
    println!("one byte more, and the name is the same: {}", other.hash == added.hash);

    cleo.leave().await;
    bob.leave().await;
    Ok(())
}

/// Adds bytes as a file that is kept for an hour.
async fn add(client: &Client, mut bytes: &[u8]) -> Outcome<Added> {
    let options = AddOptions { expires_ms: Some(3_600_000), ..AddOptions::default() };
    Ok(file::add(client, &mut bytes, &options, |_| {}).await?)
}
