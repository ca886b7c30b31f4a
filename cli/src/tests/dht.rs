//! The commands of the DHT.

use super::*;
use std::collections::BTreeMap;

fn asked(name: &str, rank: u64, verdict: DhtVerdict) -> DhtAsked {
    DhtAsked {
        name: name.into(),
        id: id(),
        rank,
        owner: true,
        after_us: 0,
        took_us: Some(1_000),
        verdict,
        why: None,
    }
}

fn written(key: &str) -> DhtWritten {
    DhtWritten { key: key.into(), holders: 2, owners: 3, took_ms: 1.2, expires_unix_ms: None, trace: vec![] }
}

#[tokio::test]
async fn a_put_says_how_many_owners_hold_it() {
    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&written("k")));
    let out = |line: &str| ran(0, &format!("{line} · on 2 of 3 owners after 1.2 ms\n"), "");
    assert_eq!(world.chinwag(&["dht", "put", "k", "v", "--w", "2"]).await, out("k = \"v\""));
    assert_eq!(
        world.chinwag(&["dht", "put", "k", "v", "--element", "--expires", "2h"]).await,
        out("k + \"v\"")
    );
    assert_eq!(world.chinwag(&["dht", "del", "k"]).await, out("k deleted"));
    assert_eq!(world.chinwag(&["dht", "del", "k", "--element", "v"]).await, out("k - \"v\""));
    let bodies: Vec<String> = world.fakes[0].asked().into_iter().map(|a| a.body).collect();
    assert_eq!(
        bodies,
        [
            r#"{"key":"k","op":"set","value":"v","quorum":2}"#,
            r#"{"key":"k","op":"add","value":"v","expires_ms":7200000}"#,
            r#"{"key":"k","op":"del"}"#,
            r#"{"key":"k","op":"rm","value":"v"}"#,
        ]
    );
}

#[tokio::test]
async fn a_missing_record_suggests_the_nearest_of_those_here() {
    let mut world = World::new();
    world.daemon("alpha", |asked| match asked.path.starts_with("/v1/dht/records") {
        true => {
            let row = DhtRow {
                key: Some("greeting".into()),
                hash: None,
                kind: DhtKind::Register,
                bytes: 5,
                rank: Some(0),
                expires_unix_ms: None,
                publisher: "alpha".into(),
            };
            Says::yes(&DhtRecords { records: vec![row], next: None })
        }
        false => Says::no(&Failure::new(Kind::NoSuchKey, "no such record: greting")),
    });
    let told = "error: no such record: greting\n  try: chinwag dht get greeting\n";
    assert_eq!(world.chinwag(&["dht", "get", "greting"]).await, ran(1, "", told));
    let far = world.chinwag(&["dht", "del", "weather"]).await;
    assert!(far.err.ends_with("  try: chinwag dht find weather --trace\n"), "{}", far.err);
}

#[tokio::test]
async fn a_find_tells_in_a_line_and_draws_when_asked() {
    let mut world = World::new();
    world.daemon("alpha", |request| {
        let holders = u64::from(!request.path.contains("nothing"));
        let verdict = if holders > 0 { DhtVerdict::Holds } else { DhtVerdict::Absent };
        let asked = vec![asked("alpha", 0, verdict), asked("be\u{1b}[2Jta", 1, DhtVerdict::Late)];
        Says::yes(&DhtFound { record: "/chinwag/cell/k".into(), owners: 2, holders, took_ms: 1.2, asked })
    });
    let line = "k is on 1 of 2 owners: alpha · after 1.2 ms\n";
    assert_eq!(world.chinwag(&["dht", "find", "k"]).await, ran(0, line, ""));
    let drawn = world.chinwag(&["dht", "find", "k", "--trace"]).await;
    assert_eq!(drawn.out.lines().count(), 4);
    assert!(drawn.out.contains("be\\u{1b}[2Jta") && drawn.out.contains('●'), "{}", drawn.out);
    let nobody = world.chinwag(&["dht", "find", "nothing"]).await;
    assert_eq!(nobody, ran(1, "nobody of 2 asked holds nothing · after 1.2 ms\n", ""));
    let hash = "ab".repeat(32);
    world.chinwag(&["dht", "find", &hash]).await;
    assert_eq!(world.fakes[0].asked().pop().unwrap().path, format!("/v1/dht/find/blob/{hash}"));
}

#[tokio::test]
async fn a_list_is_a_table_of_all_pages() {
    let mut world = World::new();
    world.daemon("alpha", |request| {
        let second = request.path.contains("after=");
        let row = |key: Option<&str>, rank| DhtRow {
            key: key.map(Into::into),
            hash: key.is_none().then(|| BlobHash::from_bytes([0xab; 32])),
            kind: if key.is_some() { DhtKind::Register } else { DhtKind::Blob },
            bytes: 2_048,
            rank,
            expires_unix_ms: None,
            publisher: "ada".into(),
        };
        let records = if second { vec![row(Some("a"), Some(1))] } else { vec![row(None, None)] };
        Says::yes(&DhtRecords { records, next: (!second).then(|| "c".into()) })
    });
    let hash = "ab".repeat(32);
    let out = format!(
        "KIND         SIZE   RANK  UNTIL     PUT BY  RECORD\n\
         blob      2.0 KiB  stray  for ever  ada     {hash}\n\
         register  2.0 KiB      1  for ever  ada     a\n"
    );
    assert_eq!(world.chinwag(&["dht", "ls"]).await, ran(0, &out, ""));
    let first = world.chinwag(&["dht", "ls", "--limit", "1"]).await;
    assert!(first.err.starts_with("There are more than 1;"), "{}", first.err);
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_whole_or_not_at_all() {
    let blobs = Arc::new(Mutex::new(BTreeMap::<String, Vec<u8>>::new()));
    let kept = blobs.clone();
    let mut world = World::new();
    world.daemon("alpha", move |asked| {
        let mut blobs = kept.lock().unwrap();
        if asked.method == "POST" {
            assert!(asked.path.contains("expires_ms=2592000000"), "{}", asked.path);
            let hash = BlobHash::of(&asked.bytes);
            blobs.insert(hash.to_string(), asked.bytes.clone());
            let expires_unix_ms = Some(1_700_000_001_234);
            return Says::yes(&DhtBlob { hash, holders: 1, owners: 1, took_ms: 0.1, expires_unix_ms });
        }
        match blobs.get(asked.path.rsplit('/').next().unwrap()) {
            Some(bytes) => Says::Bytes(bytes.clone()),
            None => Says::no(&Failure::new(Kind::BadRequest, "no such blob, and no patience")),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(path("in"), &bytes).unwrap();
    let added = world.chinwag(&["dht", "add", &path("in")]).await;
    assert_eq!(added.exit, "0", "{}", added.err);
    let hash = added.out.trim_end().to_owned();
    assert!(
        added.err.contains("585.9 KiB in 3 chunks") && added.err.contains("kept until 2023-11-14"),
        "{}",
        added.err
    );
    let json = world.chinwag(&["dht", "add", &path("in"), "--json"]).await;
    assert!(
        json.out.starts_with(&format!(r#"{{"schema":"chinwag.dht_add/1","hash":"{hash}","bytes":600000,"#))
    );

    let got = world.chinwag(&["dht", "cat", &hash, "-o", &path("out")]).await;
    assert_eq!((got.exit.as_str(), got.out.as_str()), ("0", ""), "{}", got.err);
    assert!(std::fs::read(path("out")).unwrap() == bytes);

    // Half a file is none.
    let gone = BlobHash::of(&bytes[2 * 262_144..]).to_string();
    blobs.lock().unwrap().remove(&gone);
    std::fs::write(path("out"), "as it was").unwrap();
    let got = world.chinwag(&["dht", "cat", &hash, "-o", &path("out")]).await;
    assert_eq!(got.exit, "2", "{}", got.err);
    assert!(got.err.contains("524288 of 600000 bytes had come"), "{}", got.err);
    assert_eq!(std::fs::read(path("out")).unwrap(), b"as it was");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    // One blob, as it is.
    let one = world.chinwag(&["dht", "cat", &hash, "--blob", "-o", &path("manifest")]).await;
    assert_eq!(one.exit, "0", "{}", one.err);
    assert!(std::fs::read(path("manifest")).unwrap().starts_with(b"chinwag file 1\n"));
    assert_eq!(world.chinwag(&["dht", "cat", &hash, "--json"]).await.exit, "2");
    assert_eq!(world.chinwag(&["dht", "add", dir.path().to_str().unwrap()]).await.exit, "2");
}
