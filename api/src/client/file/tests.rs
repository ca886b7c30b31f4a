//! Files through a daemon that keeps blobs in a map.

use super::add::Adding;
use super::cat::Walk;
use super::manifest::{CHILDREN_MAX, Child, Manifest};
use super::*;
use crate::client::Client;
use crate::client::fake::{Asked, Fake, Says};
use crate::dht::{BlobHash, DhtBlob};
use crate::paths;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Blobs = Arc<Mutex<BTreeMap<BlobHash, Vec<u8>>>>;

fn says(blobs: &Blobs, asked: &Asked) -> Says {
    if asked.method == "POST" {
        let hash = BlobHash::of(&asked.bytes);
        blobs.lock().unwrap().insert(hash, asked.bytes.clone());
        return Says::yes(&DhtBlob { hash, holders: 1, owners: 1, took_ms: 0.1, expires_unix_ms: Some(9) });
    }
    let hash = asked.path.strip_prefix(paths::DHT_BLOBS).unwrap().trim_start_matches('/').parse().unwrap();
    match blobs.lock().unwrap().get(&hash) {
        Some(bytes) => Says::Bytes(bytes.clone()),
        None => Says::no(&Failure::new(Kind::NoSuchKey, "no such blob")),
    }
}

struct World {
    _dir: tempfile::TempDir,
    client: Client,
    blobs: Blobs,
    fake: Fake,
}

fn world(wrong: impl Fn(&Asked) -> Option<Says> + Send + Sync + 'static) -> World {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::default();
    let kept = blobs.clone();
    let fake =
        Fake::listen(&dir.path().join("s"), move |asked| wrong(asked).unwrap_or_else(|| says(&kept, asked)));
    World { client: Client::new(dir.path().join("s")), _dir: dir, blobs, fake }
}

fn noise(len: usize) -> Vec<u8> {
    let mut x = 1u32;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn put(world: &World, bytes: &[u8]) -> Added {
    add(&world.client, &mut &bytes[..], &AddOptions::default(), |_| {}).await.unwrap()
}

async fn get(world: &World, hash: BlobHash) -> Result<(Vec<u8>, Written), Failure> {
    let mut out = Vec::new();
    let written = cat(&world.client, hash, &mut out, None, |_, _| {}).await?;
    Ok((out, written))
}

#[tokio::test]
async fn files_of_all_sizes_come_back() {
    let world = world(|_| None);
    for (len, chunks) in [(0, 0), (1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (20 * CHUNK_BYTES + 7, 21)]
    {
        let file = noise(len);
        let added = put(&world, &file).await;
        assert_eq!((added.len, added.chunks, added.manifests), (len as u64, chunks, 1));
        assert_eq!(added.expires_unix_ms, Some(9));
        assert_eq!(put(&world, &file).await.hash, added.hash, "one file, one name");
        let (out, written) = get(&world, added.hash).await.unwrap();
        assert!(out == file && written.is_file && written.chunks == chunks, "{len}");
    }
}

/// A tree of two heights, without its gigabyte: all its full chunks are one and the same.
#[tokio::test]
async fn a_file_above_one_manifest_has_a_tree() {
    let world = world(|_| None);
    let chunk = Child { hash: BlobHash::of(&[0; CHUNK_BYTES]), len: CHUNK_BYTES as u64 };
    let last = Child { hash: BlobHash::of(b"!"), len: 1 };
    let tree = async |children: &mut dyn Iterator<Item = Child>| {
        let mut adding = Adding::new(&world.client, Default::default(), |_| {});
        for child in children {
            adding.append(0, child).await.unwrap();
        }
        adding.finish().await.unwrap()
    };
    let all = || std::iter::repeat_n(chunk, CHILDREN_MAX);
    let full = tree(&mut all()).await;
    let len = chunk.len * CHILDREN_MAX as u64;
    assert_eq!((full.len, full.manifests), (len, 1), "exactly one manifest's worth");
    let more = tree(&mut all().chain([last])).await;
    assert_eq!((more.len, more.manifests), (len + 1, 3));

    let root = Manifest::from_blob(&world.blobs.lock().unwrap()[&more.hash]).unwrap();
    assert_eq!((root.height(), root.len()), (1, len + 1));
    assert_eq!(root.clone().into_children()[0], Child { hash: full.hash, len });
    let mut walk = Walk::new(&world.client, None, root);
    for expected in all().chain([last]) {
        assert_eq!(walk.next_chunk().await.unwrap(), Some(expected));
    }
    assert_eq!(walk.next_chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_that_is_no_file_is_itself_and_a_file_never_is() {
    let world = world(|_| None);
    for blob in [&b"hello"[..], manifest::MAGIC, b"chinwag file 1\nis how my letter begins"] {
        let hash = world.client.dht_put_blob(blob.to_vec(), &Default::default()).await.unwrap().hash;
        let (out, written) = get(&world, hash).await.unwrap();
        assert_eq!((out.as_slice(), written.is_file), (blob, false));
    }
    // A file that is word for word a manifest.
    let inner = put(&world, b"inner").await;
    let letter = world.blobs.lock().unwrap()[&inner.hash].clone();
    let outer = put(&world, &letter).await;
    assert_eq!(get(&world, outer.hash).await.unwrap().0, letter);
}

#[tokio::test]
async fn a_chunk_that_fails_for_a_moment_is_tried_again() {
    let failed = AtomicUsize::new(0);
    let world = world(move |_| {
        let busy = || Says::no(&Failure::new(Kind::Busy, "too many requests"));
        (failed.fetch_add(1, Ordering::Relaxed) % 5 == 1).then(busy)
    });
    let file = noise(6 * CHUNK_BYTES);
    let added = put(&world, &file).await;
    assert!(get(&world, added.hash).await.unwrap().0 == file);
    assert!(world.fake.asked().len() > 14);
}

#[tokio::test]
async fn what_cannot_be_held_or_found_is_told_and_nothing_wrong_is_written() {
    let refusing = world(|_| Some(Says::no(&Failure::new(Kind::ReadOnly, "a reader may not put records"))));
    let refused = add(&refusing.client, &mut &b"x"[..], &AddOptions::default(), |_| {}).await.unwrap_err();
    assert_eq!((refused.kind, refusing.fake.asked().len()), (Kind::ReadOnly, 1), "not tried again");

    let world = world(|_| None);
    let file = noise(3 * CHUNK_BYTES);
    let added = put(&world, &file).await;
    let second = BlobHash::of(&file[CHUNK_BYTES..2 * CHUNK_BYTES]);
    world.blobs.lock().unwrap().get_mut(&second).unwrap()[7] ^= 1;
    let mut out = Vec::new();
    let failure = cat(&world.client, added.hash, &mut out, None, |_, _| {}).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Incompatible, "{failure}");
    assert!(out == file[..CHUNK_BYTES], "a true beginning");
    world.blobs.lock().unwrap().remove(&second);
    let failure = get(&world, added.hash).await.unwrap_err();
    assert_eq!(failure.kind, Kind::NoSuchKey);
    assert!(failure.because[0].contains("of 786432 bytes"), "{failure}");

    // A tree whose parts do not fit each other.
    let chunk = Child { hash: BlobHash::of(&file[..CHUNK_BYTES]), len: 5 };
    let lying = Manifest::new(0, vec![chunk]).unwrap().to_blob();
    let hash = world.client.dht_put_blob(lying, &Default::default()).await.unwrap().hash;
    assert_eq!(get(&world, hash).await.unwrap_err().kind, Kind::Incompatible);
}
