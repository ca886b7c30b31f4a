//! Stores that somebody or something has damaged.

use crate::harness::{Ground, Told, add, agree, eventually, incr, register, rm, set};
use chinwag_api::{Content, Count};
use std::path::Path;

/// A home whose store holds some keys, with its daemon ended.
async fn home(ground: &Ground) -> std::path::PathBuf {
    let mut alpha = ground.start("alpha").await;
    for n in 0..50 {
        alpha.write(vec![set(format!("k{n}"), &format!("value number {n}"))]).await.unwrap();
    }
    alpha.kill_9();
    alpha.data.join("store.redb")
}

/// Starts it on what is there, which must not be usable.
async fn is_refused(ground: &Ground, store: &Path) -> Told {
    let told = ground.chinwagd_ends("alpha", &[]).await.exits(4);
    told.says(&format!("{}", store.file_name().unwrap().display())).says("try: ")
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = Ground::new();
    let store = home(&ground).await;
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&store).is_err() {
        is_refused(&ground, &store).await.says("Permission denied");
    } else {
        eprintln!("SKIPPED: this user may read everything, so mode 000 refuses nothing");
    }
    std::fs::remove_file(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    is_refused(&ground, &store).await.says("the store").says("cannot be used");
    assert!(store.is_dir());
}

#[tokio::test]
async fn a_store_of_other_bytes_is_told_and_left_as_it_is() {
    let ground = Ground::new();
    let store = home(&ground).await;
    let whole = std::fs::read(&store).unwrap();
    let noise: Vec<u8> = (0u32..65_536).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cut = &whole[..whole.len() / 2];
    let headless = [&noise[..512], &whole[512..]].concat();
    for bytes in [&noise[..], &noise[..100], b"SQLite format 3\0", cut, &headless] {
        std::fs::write(&store, bytes).unwrap();
        is_refused(&ground, &store).await.says("cannot be used").says("it has been left as it is");
        assert_eq!(std::fs::read(&store).unwrap(), bytes);
    }
    std::fs::write(&store, whole).unwrap();
    let alpha = ground.start("alpha").await;
    assert_eq!(alpha.get("k49").await, Ok(register("value number 49")));
}

/// Whatever byte is wrong: the daemon refuses to start, or it starts and what it then shows is right.
#[tokio::test]
async fn flipped_bytes_never_show_a_wrong_value() {
    const PLACES: usize = 16;
    let ground = Ground::new();
    let store = home(&ground).await;
    let whole = std::fs::read(&store).unwrap();
    let (mut refused, mut started) = (0, 0);
    for place in 0..PLACES {
        let mut bytes = whole.clone();
        // A few bits in a stretch of bytes, everywhere in the file.
        let at = place * bytes.len() / PLACES + 37 * place;
        bytes[at..at + 64].iter_mut().step_by(5).for_each(|byte| *byte ^= 0x21);
        std::fs::write(&store, &bytes).unwrap();
        let told = ground.try_start("alpha").await;
        match told {
            Err(told) => {
                told.exits(4).says("try: ");
                refused += 1;
            }
            Ok(mut alpha) => {
                for n in 0..50 {
                    if let Ok(content) = alpha.get(&format!("k{n}")).await {
                        assert_eq!(content, register(&format!("value number {n}")), "at {at}");
                    }
                }
                alpha.write(vec![set("after", "v")]).await.unwrap();
                alpha.kill_9();
                started += 1;
            }
        }
    }
    eprintln!("of {PLACES} damaged stores {refused} were refused and {started} used");
}

/// Every place where `text` stands in the file gets one bit wrong. Returns how many there are.
fn flip(file: &Path, text: &str) -> usize {
    let mut bytes = std::fs::read(file).unwrap();
    let found: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    for at in &found {
        bytes[*at] ^= 1;
    }
    std::fs::write(file, bytes).unwrap();
    found.len()
}

#[tokio::test]
async fn a_damaged_row_is_set_aside_and_comes_back_from_the_others() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    alpha.write_everywhere(vec![set("k", "a value that is easy to find")]).await;
    gamma.write_everywhere(vec![set("own", "another that is easy to find")]).await;
    alpha.write_everywhere(vec![set("other", "v")]).await;
    gamma.terminate();
    gamma.ended().await;
    let store = gamma.data.join("store.redb");
    assert!(flip(&store, "a value that is easy") > 0 && flip(&store, "another that is easy") > 0);

    gamma.start_again().await;
    assert!(gamma.told("store.row_quarantined").len() >= 2, "it is told");
    agree(&[&alpha, &beta, &gamma]).await;
    assert_eq!(gamma.get("k").await, Ok(register("a value that is easy to find")));
    assert_eq!(gamma.get("own").await, Ok(register("another that is easy to find")));
    // And it stays: the next start finds nothing amiss.
    let quarantined = gamma.told("store.row_quarantined").len();
    gamma.kill_9();
    gamma.start_again().await;
    agree(&[&alpha, &beta, &gamma]).await;
    assert_eq!(gamma.told("store.row_quarantined").len(), quarantined);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A machine that is restored from a backup: what it wrote since then is elsewhere, and what it writes now is new.
#[tokio::test]
async fn a_disk_that_went_back_in_time_loses_and_confuses_nothing() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    beta.write_everywhere(vec![set("k", "1"), incr("n", 1), add("s", &["old", "kept"])]).await;
    beta.kill_9();
    let backup = ground.path().join("backup");
    copy(&beta.data, &backup);

    beta.start_again().await;
    agree(&[&alpha, &beta]).await;
    let ops = vec![set("k", "2"), set("new", "v"), incr("n", 10), add("s", &["later"]), rm("s", &["old"])];
    beta.write_everywhere(ops).await;
    beta.kill_9();
    std::fs::remove_dir_all(&beta.data).unwrap();
    copy(&backup, &beta.data);

    beta.start_again().await;
    beta.write(vec![set("first", "v"), incr("n", 100)]).await.unwrap();
    agree(&[&alpha, &beta]).await;
    for daemon in [&alpha, &beta] {
        assert_eq!(daemon.get("k").await, Ok(register("2")), "{}", daemon.name);
        assert_eq!(daemon.get("new").await, Ok(register("v")));
        assert_eq!(daemon.get("first").await, Ok(register("v")));
        assert_eq!(daemon.get("n").await, Ok(Content::Counter { count: Count(111) }));
        assert_eq!(daemon.get("s").await, Ok(Content::Set { elements: vec!["kept".into(), "later".into()] }));
    }
}

/// Two processes with one key would write one history twice. At least one of them has to notice and stop.
#[tokio::test]
async fn a_copied_data_directory_does_not_run_twice() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    beta.write_everywhere(vec![set("k", "v")]).await;
    beta.kill_9();
    copy(&ground.data("beta"), &ground.data("twin"));
    beta.start_again().await;
    agree(&[&alpha, &beta]).await;
    let mut twin = ground.spawn("twin", &["--listen", "127.0.0.1:0"], &[]);
    let ended = eventually("one of the two stops", async || match (beta.has_ended(), twin.has_ended()) {
        (None, None) => Err("both run".to_owned()),
        ended => Ok(ended),
    })
    .await;
    let loser = if ended.0.is_some() { &beta } else { &twin };
    assert_eq!(ended.0.or(ended.1).and_then(|status| status.code()), Some(4), "{ended:?}");
    assert!(loser.log().contains("another live process has this node's key"), "{}", loser.log());
    assert!(!loser.told("self.conflict").is_empty());
    let status = alpha.status().await;
    assert!(status.healthy, "{status:?}");
}

#[tokio::test]
async fn a_store_that_was_lost_is_filled_again_by_the_others() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    for n in 0..200 {
        let daemon = if n % 2 == 0 { &alpha } else { &beta };
        daemon.write(vec![set(format!("k{n}"), "v")]).await.unwrap();
    }
    agree(&[&alpha, &beta]).await;
    beta.kill_9();
    std::fs::remove_file(beta.data.join("store.redb")).unwrap();
    beta.start_again().await;
    agree(&[&alpha, &beta]).await;
    assert_eq!(beta.status().await.keys, 200);
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_told_and_left_as_it_is() {
    let ground = Ground::new();
    let store = home(&ground).await;
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let db = redb::Database::open(&store).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(meta).unwrap().insert("format", 1_000).unwrap();
    txn.commit().unwrap();
    drop(db);
    let told = is_refused(&ground, &store).await;
    let told = told.says("was written by a newer chinwagd").says("its format is 1000");
    told.says("try: run the newer chinwagd again");

    // A database of somebody else's.
    std::fs::remove_file(&store).unwrap();
    let db = redb::Database::create(&store).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("colour", 7).unwrap();
    txn.commit().unwrap();
    drop(db);
    is_refused(&ground, &store).await.says("not one of chinwag's");
}
