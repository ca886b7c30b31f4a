//! Kademlia among members: who holds a blob is found by asking, and only members that are connected are asked.

use super::harness::{Book, Node, TCP, config, connect, grant_for, key};
use crate::clock;
use crate::kad::Shelf;
use crate::kad::tests::MemoryShelf;
use crate::network::{Happening, start};
use chinwag_dht::{BlobHash, Record, RecordKey, ValidRecord};
use std::sync::Arc;

async fn node(seed: u8, shelf: Arc<dyn Shelf>) -> Node {
    let book = Book::of(grant_for(key(seed).id()));
    let mut config = config(seed, book.clone(), &[TCP]);
    config.records.shelf = shelf;
    let (network, mut inbox) = start(config).await.unwrap();
    let Some(Happening::Listening(addresses)) = inbox.next().await else { panic!("listening comes first") };
    Node { id: key(seed).id(), network, inbox, addresses, book }
}

/// Answers every question with the same blob.
struct Liar;

impl Shelf for Liar {
    fn get(&self, _key: &RecordKey) -> Option<Record> {
        Some(Record::blob(*b"a lie", key(1).id(), clock::wall()))
    }

    fn put(&self, _record: ValidRecord) -> Result<(), String> {
        Err("it takes nothing".into())
    }

    fn fetch(&self, _hash: BlobHash) {}
}

#[tokio::test]
async fn a_walk_finds_what_a_connected_member_holds() {
    let mut ada = node(1, MemoryShelf::holding(&[b"ada's"])).await;
    let mut bob = node(2, MemoryShelf::holding(&[b"bob's"])).await;
    let mut eve = node(3, Arc::new(Liar)).await;
    connect(&mut ada, &mut bob).await;
    connect(&mut ada, &mut eve).await;

    let found = async |node: &Node, blob: &[u8]| node.network.find_blob(BlobHash::of(blob)).await;
    assert_eq!(found(&ada, b"bob's").await.as_deref(), Some(&b"bob's"[..]));
    assert_eq!(found(&ada, b"ada's").await.as_deref(), Some(&b"ada's"[..]), "its own needs nobody");
    assert_eq!(found(&ada, b"nobody's").await, None, "a lie is not believed");
    assert_eq!(found(&bob, b"ada's").await.as_deref(), Some(&b"ada's"[..]));
    // Ada has told bob where eve is, but whom to dial is not for a walk to decide.
    assert_eq!(found(&bob, b"nobody's").await, None);
    assert!(bob.during(300).await.is_empty(), "nobody was dialled");
}
