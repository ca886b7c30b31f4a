//! Disks that lose, refuse or change what they hold, under an overlay that goes on.

use super::luck::Luck;
use crate::full_disk::Disk;
use crate::harness::{Daemon, Ground, add, agree, eventually, incr, register, set};
use crate::settings::is_long;
use chinwag_api::{Bytes, Content, Count, Kind, MemberState, Wait, WriteRequest};
use std::collections::BTreeSet;

/// Writes that end up everywhere.
async fn fill(daemons: &[&Daemon], round: usize) {
    for daemon in daemons {
        let ops = vec![
            set(format!("k/{}/{round}", daemon.name), "a value"),
            incr("n", 1),
            add("s", &[&format!("{}-{round}", daemon.name)]),
        ];
        daemon.write_everywhere(ops).await;
    }
}

/// Each has what `fill` wrote through so many daemons in so many rounds.
async fn is_full(daemons: &[&Daemon], fills: usize) {
    agree(daemons).await;
    for daemon in daemons {
        let Ok(Content::Set { elements }) = daemon.get("s").await else { panic!("a set") };
        assert_eq!(elements.len(), fills, "{}", daemon.name);
        let count = Content::Counter { count: Count(fills as i128) };
        assert_eq!(daemon.get("n").await, Ok(count), "{}", daemon.name);
        assert_eq!(daemon.status().await.keys as usize, fills + 2, "{}", daemon.name);
    }
}

/// With its directory it has lost its key, so it is somebody new, who needs an invite; the others' state is untouched.
#[tokio::test]
async fn a_member_whose_data_directory_was_deleted_joins_anew_and_gets_everything() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    fill(&[&alpha, &beta, &gamma], 0).await;
    let id = gamma.status().await.id;

    // Under it, while it runs.
    std::fs::remove_dir_all(&gamma.data).unwrap();
    alpha.write(vec![set("meanwhile", "v")]).await.unwrap();
    assert_eq!(alpha.get("meanwhile").await, Ok(register("v")));
    gamma.kill_9();
    for daemon in [&alpha, &beta] {
        daemon.comes_to_see("gamma", MemberState::Down).await;
    }
    drop(gamma);

    // It finds no home, and does not take itself for the one that it was.
    let token = alpha.invite().await;
    let gamma = ground.start_with("gamma", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    assert_ne!(gamma.status().await.id, id);
    agree(&[&alpha, &beta, &gamma]).await;
    assert_eq!(gamma.get("meanwhile").await, Ok(register("v")));
    alpha.write_everywhere(vec![chinwag_api::WriteOp::Del { key: "meanwhile".into(), kind: None }]).await;
    is_full(&[&alpha, &beta, &gamma], 3).await;
}

/// What was written through members of which one may stop at any moment.
#[derive(Default)]
struct Written {
    /// These are everywhere.
    surely: BTreeSet<Bytes>,
    /// Of these nobody was told.
    perhaps: BTreeSet<Bytes>,
}

impl Written {
    /// A register, a count and an element through `daemon`. Whether they are then everywhere: one member that has stopped
    /// spoils it.
    async fn write(&mut self, daemon: &Daemon, is_damaged: bool, round: usize) -> bool {
        let name = format!("{}-{round}", daemon.name);
        let ops =
            [set(format!("k/{name}"), "a value"), incr("n", 1), add("s", &[&name])].map(Into::into).to_vec();
        let request = WriteRequest { ops, wait: Some(Wait::All), timeout_ms: Some(10_000) };
        let reply = daemon.client.write(&request).await;
        let is_everywhere = reply.as_ref().is_ok_and(|reply| reply.met);
        // One whose store is damaged may lose it before anybody else has heard.
        let is_kept = is_everywhere || reply.is_ok() && !is_damaged;
        if is_kept { &mut self.surely } else { &mut self.perhaps }.insert(name.as_str().into());
        is_everywhere
    }

    async fn is_in(&self, daemon: &Daemon) {
        let Ok(Content::Set { elements }) = daemon.get("s").await else { panic!("a set") };
        let elements = BTreeSet::from_iter(elements);
        assert!(self.surely.is_subset(&elements), "{} lacks {:?}", daemon.name, &self.surely - &elements);
        let strange = &(&elements - &self.surely) - &self.perhaps;
        assert!(strange.is_empty(), "{} has {strange:?}", daemon.name);
        let count = Content::Counter { count: Count(elements.len() as i128) };
        assert_eq!(daemon.get("n").await, Ok(count), "what one write changes is there together");
        for name in elements {
            let key = format!("k/{}", String::from_utf8_lossy(name.as_bytes()));
            assert_eq!(daemon.get(&key).await, Ok(register("a value")), "{}", daemon.name);
        }
    }
}

/// Whatever bytes are wrong, the member comes back with everything: by itself, or once its store is out of the way, as
/// it says itself. It may say so at its start, or later, when it first wants a page of which wrong things are noted.
#[tokio::test]
async fn flipped_bytes_in_one_store_cost_the_overlay_nothing() {
    let rounds = if is_long() { 20 } else { 3 };
    let mut luck = Luck::of_this_run();
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    let mut written = Written::default();
    let (mut refused, mut stopped) = (0, 0);
    for round in 0..rounds {
        let (data, store) = (gamma.data.clone(), gamma.data.join("store.redb"));
        let move_aside = |n: usize| std::fs::rename(&store, data.join(format!("store.{round}.{n}")));
        let says_so = |gamma: &Daemon| assert!(gamma.log().contains("try: "), "{}", gamma.log());
        if round > 0 {
            gamma.kill_9();
            let mut bytes = std::fs::read(&store).unwrap();
            for _ in 0..64 {
                let at = luck.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << luck.below(8);
            }
            std::fs::write(&store, bytes).unwrap();
            // Meanwhile the others go on.
            alpha.write(vec![set("meanwhile", &round.to_string())]).await.unwrap();
            if gamma.try_start_again().await.is_err() {
                refused += 1;
                says_so(&gamma);
                move_aside(0).unwrap();
                gamma.start_again().await;
            }
        }
        for n in 0..3 {
            if !written.write([&alpha, &beta, &gamma][n], n == 2, round).await {
                // It is why.
                gamma.ended().await;
                stopped += 1;
                says_so(&gamma);
                move_aside(1 + n).unwrap();
                gamma.start_again().await;
            }
        }
        agree(&[&alpha, &beta, &gamma]).await;
        for daemon in [&alpha, &beta, &gamma] {
            written.is_in(daemon).await;
        }
    }
    let damaged = rounds - 1;
    eprintln!("of {damaged} damaged stores {refused} were refused, and {stopped} given up later");
}

#[tokio::test]
async fn a_member_that_is_killed_while_its_disk_is_full_has_all_that_it_acknowledged() {
    let ground = Ground::new();
    let Some(_disk) = Disk::mount(&ground.data("beta"), "12m") else { return };
    let filler = ground.data("beta").join("filler");
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    std::fs::write(&filler, vec![0; 7 * 1024 * 1024]).unwrap();
    let value = "v".repeat(30_000);
    let mut acknowledged = 0;
    let refusal = loop {
        match beta.write(vec![set(format!("k{acknowledged}"), &value)]).await {
            Ok(_) => acknowledged += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(refusal.kind, Kind::Storage, "{refusal}");
    alpha.write(vec![set("meanwhile", &value)]).await.unwrap();
    beta.kill_9();

    // On a disk without room for a new life it may refuse to start, and must not spoil what is there.
    let started = beta.try_start_again().await.is_ok();
    eprintln!("{acknowledged} writes fitted; a start on the full disk: {started}");
    std::fs::remove_file(&filler).unwrap();
    if !started {
        assert!(beta.log().contains("try: "), "{}", beta.log());
        beta.start_again().await;
    }
    eventually("beta takes writes again", async || {
        beta.write(vec![set("more", &value)]).await.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    agree(&[&alpha, &beta]).await;
    for daemon in [&alpha, &beta] {
        for n in 0..acknowledged {
            assert_eq!(daemon.get(&format!("k{n}")).await, Ok(register(&value)), "{} of {}", n, daemon.name);
        }
        assert_eq!(daemon.get("meanwhile").await, Ok(register(&value)));
    }
    drop(beta);
}
