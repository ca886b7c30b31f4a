//! Records through real daemons: put at one, read at another, whoever is killed in between.

use crate::harness::{Daemon, Ground, agree, eventually, register, so};
use crate::settings::is_long;
use chinwag_api::client::file::{self, AddOptions};
use chinwag_api::{
    BlobHash, Bytes, Content, DhtCellQuery, DhtKind, DhtOp, DhtRecordsQuery, DhtRow, DhtVerdict, DhtWrite,
    Kind,
};
use chinwag_base::limits::RECORD_BYTES_MAX;
use redb::{Database, ReadableTable, TableDefinition};
use std::path::Path;
use std::time::Instant;

const BLOBS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blobs");
/// Requests under way at once.
const AT_ONCE: usize = 16;

async fn put(daemon: &Daemon, key: &str, value: &str) {
    let op = DhtOp::Set { value: value.into() };
    let put = daemon.client.dht_write(&DhtWrite::new(key, op)).await;
    put.unwrap_or_else(|e| panic!("{} does not put {key}: {e}", daemon.name));
}

async fn get(daemon: &Daemon, key: &str) -> Result<Content, Kind> {
    let cell = daemon.client.dht_cell(key, &DhtCellQuery::default()).await;
    cell.map(|cell| cell.content).map_err(|failure| failure.kind)
}

/// All that a daemon holds.
async fn held(daemon: &Daemon) -> Vec<DhtRow> {
    let mut query = DhtRecordsQuery::default();
    let mut rows = Vec::new();
    loop {
        let page = daemon.client.dht_records(&query).await.unwrap();
        rows.extend(page.records);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return rows,
        }
    }
}

/// Bytes that do not repeat, the same for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What the process holds in memory at most, so far.
fn peak_memory_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).map_or(0, |kib: u64| kib * 1024)
}

#[tokio::test]
async fn what_one_puts_every_other_reads() {
    let ground = Ground::new();
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    for writer in &daemons {
        let key = format!("from/{}", writer.name);
        put(writer, &key, "hello").await;
        for reader in &daemons {
            assert_eq!(get(reader, &key).await, Ok(register("hello")), "{} reads {key}", reader.name);
        }
    }
    let told = ground.type_in("-n alpha dht put app/config blue --w 3 --trace").await.exits(0);
    assert!(told.out.starts_with("app/config = \"blue\" · on 3 of 3 owners after "), "{told:?}");
    assert_eq!(told.err.matches("stored").count(), 3, "{told:?}");
    assert_eq!(ground.type_in("-n gamma dht get app/config").await.exits(0).out, "blue\n");

    // Sets.
    ground.type_in("-n alpha dht put fruit apple --element").await.exits(0);
    ground.type_in("-n beta dht put fruit pear --element").await.exits(0);
    assert_eq!(ground.type_in("-n gamma dht get fruit").await.exits(0).out, "apple\npear\n");
    ground.type_in("-n gamma dht del fruit --element apple").await.exits(0);
    assert_eq!(ground.type_in("-n alpha dht get fruit").await.exits(0).out, "pear\n");

    // Who holds it.
    let told = ground.type_in("-n beta dht find app/config").await.exits(0);
    assert!(told.out.starts_with("app/config is on 3 of 3 owners: "), "{told:?}");
    let told = ground.type_in("-n beta dht find app/config --trace").await.exits(0);
    assert_eq!((told.out.matches("holds").count(), told.out.lines().count()), (3, 5), "{told:?}");
    let json = ground.type_in("-n beta dht find app/config --json").await.exits(0).json();
    assert_eq!(json["record"], "/chinwag/cell/app/config");
    let ranks: Vec<u64> =
        json["asked"].as_array().unwrap().iter().map(|a| a["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks, [0, 1, 2]);
    let told = ground.type_in("-n alpha dht ls app/").await.exits(0);
    assert!(told.out.lines().nth(1).unwrap().ends_with("app/config"), "{told:?}");
    let told = ground.type_in("-n alpha status").await.exits(0);
    assert!(told.out.contains("dht      3 members can own · 5 records here"), "{told:?}");

    // And deleted.
    ground.type_in("-n gamma dht del app/config").await.exits(0);
    for daemon in &daemons {
        assert_eq!(get(daemon, "app/config").await, Err(Kind::NoSuchKey), "{}", daemon.name);
    }
    ground.type_in("-n alpha dht find app/config").await.exits(1);
    ground.type_in("-n alpha dht del app/config").await.exits(1);
    ground.type_in("-n alpha dht get from/alpa").await.exits(1).says("try: chinwag dht get from/alpha");
    ground.type_in("-n alpha dht put k v --w 9").await.exits(2);
    ground.type_in("-n alpha dht put fruit v").await.exits(4).says("set");
    ground.type_in("-n alpha dht cat 12").await.exits(2);
}

#[tokio::test]
async fn concurrent_puts_are_both_kept() {
    let ground = Ground::new();
    let [alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    // Neither has seen the key. If one answers before the other asks, they were not concurrent: another key then.
    for n in 0..100 {
        let key = format!("k{n}");
        tokio::join!(put(&alpha, &key, "one"), put(&beta, &key, "two"));
        let query = DhtCellQuery { siblings: true, ..DhtCellQuery::default() };
        let cell = alpha.client.dht_cell(&key, &query).await.unwrap();
        let Content::Register { siblings, value } = cell.content else { panic!("{cell:?}") };
        if siblings.len() < 2 {
            continue;
        }
        let mut origins: Vec<&str> = siblings.iter().map(|s| s.origin.as_str()).collect();
        origins.sort_unstable();
        assert_eq!(origins, ["alpha", "beta"]);
        assert_eq!(siblings[0].value, value, "the winner first");
        // Whoever puts after having seen both, replaces both.
        put(&beta, &key, "three").await;
        let cell = beta.client.dht_cell(&key, &query).await.unwrap();
        let Content::Register { siblings, .. } = cell.content else { panic!("{cell:?}") };
        let values: Vec<&Bytes> = siblings.iter().map(|s| &s.value).collect();
        assert_eq!(values, [&Bytes::from("three")]);
        return;
    }
    panic!("of 100 pairs of puts none was concurrent");
}

/// As many as a program that does not wait makes at once; the CLI never does.
#[tokio::test]
async fn a_burst_of_requests_is_answered_in_full() {
    let ground = Ground::new();
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    const BURST: usize = 400;
    let client = &daemons[0].client;
    for reads in [false, true] {
        let mut burst = tokio::task::JoinSet::new();
        for n in 0..BURST {
            let (client, key) = (client.clone(), format!("burst/{n}"));
            burst.spawn(async move {
                if reads {
                    client.dht_cell(&key, &DhtCellQuery::default()).await.err()
                } else {
                    let op = DhtOp::Set { value: "x".into() };
                    client.dht_write(&DhtWrite::new(key, op)).await.err()
                }
            });
        }
        let failed: Vec<_> = burst.join_all().await.into_iter().flatten().collect();
        assert!(failed.is_empty(), "reads: {reads}, {} of {BURST} failed: {}", failed.len(), failed[0]);
    }
}

#[tokio::test]
async fn a_daemon_alone_has_records_of_its_own() {
    let ground = Ground::new();
    let mut alpha = ground.start("alpha").await;
    ground.type_in("dht put k v").await.exits(0).out.contains("on 1 of 1 owner").then_some(()).unwrap();
    let hash = alpha.client.dht_put_blob(b"hello".to_vec(), &Default::default()).await.unwrap().hash;
    assert_eq!(hash, BlobHash::of(b"hello"));
    let too_large = vec![0; RECORD_BYTES_MAX + 1];
    let refused = alpha.client.dht_put_blob(too_large, &Default::default()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::TooLarge);
    let dying = DhtWrite { expires_ms: Some(1), ..DhtWrite::new("short", DhtOp::Set { value: "v".into() }) };
    let _ = alpha.client.dht_write(&dying).await;
    eventually("it expires", async || {
        let found = get(&alpha, "short").await;
        so(found == Err(Kind::NoSuchKey), || format!("{found:?}"))
    })
    .await;
    alpha.kill_9();
    alpha.start_again().await;
    assert_eq!(get(&alpha, "k").await, Ok(register("v")));
    assert_eq!(alpha.client.dht_blob(hash, None).await.unwrap(), b"hello");
    assert_eq!(alpha.client.dht_blob(BlobHash::of(b"x"), None).await.unwrap_err().kind, Kind::NoSuchKey);
}

#[tokio::test]
async fn a_file_survives_an_owner() {
    let len = if is_long() { 100_000_000 } else { 8_000_000 };
    let ground = Ground::new();
    let [alpha, mut beta, gamma, delta, epsilon] =
        ground.overlay(["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    let bytes = noise(len, 1);
    let begun = Instant::now();
    let options = AddOptions { expires_ms: Some(3_600_000), ..AddOptions::default() };
    let added = file::add(&alpha.client, &mut bytes.as_slice(), &options, |_| {}).await.unwrap();
    eprintln!("{len} bytes in after {:?}, {} chunks", begun.elapsed(), added.chunks);
    assert_eq!(added.len, len as u64);

    beta.kill_9();
    let out = ground.path().join("out");
    let begun = Instant::now();
    let line = format!("-n epsilon dht cat {} -o {}", added.hash, out.display());
    ground.type_in(&line).await.exits(0);
    eprintln!("out after {:?}, an owner killed in between", begun.elapsed());
    assert!(std::fs::read(&out).unwrap() == bytes, "the same bytes");

    let told = ground.type_in(&format!("-n gamma dht find {}", added.hash)).await.exits(0);
    assert!(told.out.contains(" owners: "), "{told:?}");
    for daemon in [&alpha, &gamma, &delta, &epsilon] {
        eprintln!("{}: {} MiB at most", daemon.name, peak_memory_bytes(daemon.pid()) >> 20);
    }
}

/// Turns one bit of the first blob of this length. Returns how many were found.
fn flip(records: &Path, len: usize) -> usize {
    let db = Database::open(records).unwrap();
    let txn = db.begin_write().unwrap();
    let found = {
        let mut blobs = txn.open_table(BLOBS).unwrap();
        let rows = blobs.iter().unwrap().map(|row| row.unwrap());
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            rows.map(|(place, bytes)| (place.value().to_vec(), bytes.value().to_vec())).collect();
        let mut found = 0;
        for (place, mut bytes) in rows.into_iter().filter(|(_, bytes)| bytes.len() == len) {
            bytes[len / 2] ^= 1;
            blobs.insert(place.as_slice(), bytes.as_slice()).unwrap();
            found += 1;
        }
        found
    };
    txn.commit().unwrap();
    found
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_told_and_repaired() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    let bytes = noise(70_001, 2);
    let hash = alpha.client.dht_put_blob(bytes.clone(), &Default::default()).await.unwrap().hash;
    eventually("gamma holds it", async || {
        let rows = held(&gamma).await;
        so(rows.iter().any(|row| row.hash == Some(hash)), || format!("{rows:?}"))
    })
    .await;
    gamma.terminate();
    gamma.ended().await;
    assert_eq!(flip(&gamma.data.join("records.redb"), bytes.len()), 1);
    gamma.start_again().await;
    agree(&[&alpha, &beta, &gamma]).await;
    assert_eq!(gamma.client.dht_blob(hash, None).await.unwrap(), bytes, "never the wrong bytes");
    eventually("gamma has told and repaired it", async || {
        let (damaged, repaired) = (gamma.told("record.damaged").len(), gamma.told("record.repaired").len());
        // A read of it is enough to notice, and if another owner was quicker, the scrub comes to it.
        let _ = gamma.client.dht_blob(hash, None).await;
        so(damaged > 0 && repaired > 0, || format!("damaged {damaged}, repaired {repaired}"))
    })
    .await;
    drop((alpha, beta));
}

/// Calls `work` for each of `0..count`, [`AT_ONCE`] at a time.
async fn each<F: Future<Output = ()> + Send + 'static>(count: usize, work: impl Fn(usize) -> F) {
    let mut running = tokio::task::JoinSet::new();
    for n in 0..count {
        if running.len() >= AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(work(n));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn two_of_five_may_die_and_another_come() {
    let count = if is_long() { 1_000 } else { 200 };
    let ground = Ground::new();
    let mut daemons = ground.overlay(["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    let clients = daemons.each_ref().map(|daemon| daemon.client.clone());
    let begun = Instant::now();
    each(count, |n| {
        let client = clients[n % clients.len()].clone();
        async move {
            let op = DhtOp::Set { value: format!("v{n}").as_str().into() };
            client.dht_write(&DhtWrite::new(format!("k{n}"), op)).await.unwrap();
        }
    })
    .await;
    eprintln!("{count} records put after {:?}", begun.elapsed());

    // A put is on three of five when it is acknowledged: two may die at once.
    daemons[1].kill_9();
    daemons[3].kill_9();
    let token = daemons[0].invite().await;
    let zeta = ground.start_with("zeta", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    let readers = [&daemons[0], &daemons[2], &daemons[4], &zeta];
    eventually("zeta has joined", async || {
        let status = zeta.status().await;
        so(status.dht.is_some_and(|dht| dht.owners >= 4), || format!("{:?}", status.dht))
    })
    .await;
    for reader in readers {
        let begun = Instant::now();
        each(count, |n| {
            let (client, name) = (reader.client.clone(), reader.name.clone());
            async move {
                let query = DhtCellQuery { timeout_ms: Some(20_000), ..DhtCellQuery::default() };
                let cell = client.dht_cell(&format!("k{n}"), &query).await;
                let content = cell.unwrap_or_else(|e| panic!("{name} reads k{n}: {e}")).content;
                assert_eq!(content, register(&format!("v{n}")), "{name} reads k{n}");
            }
        })
        .await;
        eprintln!("all read through {} after {:?}", reader.name, begun.elapsed());
    }
    // Who is new becomes an owner and is handed what is its own: all of it, where there are no more than five.
    eventually("zeta holds every record", async || {
        let rows = held(&zeta).await;
        let live = rows.iter().filter(|row| row.kind == DhtKind::Register).count();
        so(live == count, || format!("{live} of {count}"))
    })
    .await;
    let found = zeta.client.dht_find_cell("k0", None).await.unwrap();
    assert!(found.asked.iter().all(|asked| asked.verdict != DhtVerdict::Refused), "{found:?}");
}
