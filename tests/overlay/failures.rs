//! Members that die, and members that only pause.

use crate::harness::{Ground, add, agree, eventually, incr, register, set, so};
use crate::history::{Answer, History};
use chinwag_api::client::{Events, Heard};
use chinwag_api::{Content, Count, MemberState, WriteRequest};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Names of the members that `events` tells of, until `name` is told to be down.
async fn accused_until_down(events: &mut Events, name: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let heard = async {
        loop {
            let Heard::Event(event) = events.next().await.unwrap() else { continue };
            if !matches!(event.event.as_str(), "member.suspect" | "member.down") {
                continue;
            }
            let about = event.fields["name"].as_str().unwrap().to_owned();
            let ends = event.event == "member.down" && about == name;
            told.push((event.event, about));
            if ends {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(crate::harness::PATIENCE, heard).await;
    assert!(heard.is_ok(), "nobody told that {name} is down: {told:?}");
    told
}

#[tokio::test]
async fn a_killed_member_is_missed_by_everyone_and_returns_with_all_that_it_acknowledged() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    let generation = gamma.status().await.generation;
    let mut events = [alpha.client.events().await.unwrap(), beta.client.events().await.unwrap()];

    // Acknowledged at the instant before the end, and perhaps nowhere else.
    for n in 0..20 {
        gamma.write(vec![set(format!("last/{n}"), "v"), incr("n", 1)]).await.unwrap();
    }
    gamma.kill_9();
    let killed = Instant::now();
    for events in &mut events {
        let told = accused_until_down(events, "gamma").await;
        let suspect = ("member.suspect".to_owned(), "gamma".to_owned());
        let down = ("member.down".to_owned(), "gamma".to_owned());
        assert_eq!(told, [suspect, down]);
    }
    eprintln!("gamma was down for everyone {:?} after kill -9", killed.elapsed());
    for daemon in [&alpha, &beta] {
        let seen = daemon.sees("gamma").await.unwrap();
        assert_eq!((seen.state, seen.unverified), (MemberState::Down, false), "{seen:?}");
    }
    for name in ["alpha", "beta"] {
        let told = ground.type_in(&format!("-n {name} explain gamma")).await.exits(0);
        assert!(told.out.starts_with("gamma is down, heard "), "{told:?}");
        for words in ["the connection broke", "suspected by", "held for down by"] {
            assert!(told.out.contains(words), "{words} is missing from {told:?}");
        }
    }
    let told = ground.type_in("-n alpha explain nobody").await.exits(1);
    assert!(told.err.contains("no member is called nobody"), "{told:?}");
    // The others go on.
    alpha.write(vec![set("meanwhile", "yes")]).await.unwrap();

    gamma.start_again().await;
    let begun = Instant::now();
    agree(&[&alpha, &beta, &gamma]).await;
    eprintln!("all agreed {:?} after the restart", begun.elapsed());
    let seen = alpha.sees("gamma").await.unwrap();
    assert!(seen.generation > generation, "{} is not after {generation}", seen.generation);
    for daemon in [&alpha, &beta, &gamma] {
        assert_eq!(daemon.get("n").await, Ok(Content::Counter { count: Count(20) }), "{}", daemon.name);
        assert_eq!(daemon.get("last/19").await, Ok(register("v")));
        assert_eq!(daemon.get("meanwhile").await, Ok(register("yes")));
        assert_eq!(daemon.status().await.keys, 22);
    }
    assert_eq!(gamma.accused(), [""; 0], "by gamma");
    assert_eq!((alpha.accused(), beta.accused()), (vec!["gamma".to_owned()], vec!["gamma".to_owned()]));
}

#[tokio::test]
async fn a_paused_member_is_suspected_catches_up_and_accuses_nobody() {
    let ground = Ground::new();
    let [alpha, beta, gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    let incarnation = alpha.sees("gamma").await.unwrap().incarnation;

    gamma.pause();
    let paused = Instant::now();
    for daemon in [&alpha, &beta] {
        eventually("gamma is suspected", async || {
            so(daemon.accused().contains(&"gamma".to_owned()), || format!("{} does not", daemon.name))
        })
        .await;
    }
    eprintln!("gamma was suspected by both {:?} after SIGSTOP", paused.elapsed());
    for n in 0..50 {
        alpha.write(vec![set(format!("a/{n}"), "v")]).await.unwrap();
        beta.write(vec![add("s", &[&n.to_string()])]).await.unwrap();
    }
    gamma.resume();
    let resumed = Instant::now();
    agree(&[&alpha, &beta, &gamma]).await;
    eprintln!("all agreed {:?} after SIGCONT", resumed.elapsed());

    let Ok(Content::Set { elements }) = gamma.get("s").await else { panic!("a set") };
    assert_eq!((elements.len(), gamma.status().await.keys), (50, 51));
    assert_eq!(gamma.accused(), [""; 0], "by gamma, which slept");
    assert_eq!((alpha.accused(), beta.accused()), (vec!["gamma".to_owned()], vec!["gamma".to_owned()]));
    let seen = alpha.sees("gamma").await.unwrap();
    assert!(seen.incarnation > incarnation, "it has refuted: {seen:?}");
    assert!(!gamma.told("self.stalled").is_empty(), "it knows that it slept");
}

/// A lone daemon is ended at whatever instruction it is, again and again, also while it starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_nothing_that_was_acknowledged() {
    const LIVES: u64 = 12;
    let ground = Ground::new();
    let mut solo = ground.start("solo").await;
    let mut history = History::default();
    for life in 0..LIVES {
        let client = solo.client.clone();
        let writer = tokio::spawn(async move {
            let mut history = History::default();
            for n in 0u64.. {
                let ops =
                    [incr("n", 1 << (n % 3)), set("k", &format!("{life}-{n}"))].map(Into::into).to_vec();
                let answer = match client.write(&WriteRequest { ops, ..WriteRequest::default() }).await {
                    Ok(_) => Answer::Acknowledged,
                    Err(_) => Answer::None,
                };
                history.incremented("n", 1 << (n % 3), answer);
                history.wrote("k", Some(&format!("{life}-{n}")), answer);
                if answer == Answer::None {
                    break;
                }
            }
            history
        });
        // Lives of many lengths, none of which is special.
        tokio::time::sleep(Duration::from_millis(5 + life * life * 7 % 61)).await;
        solo.kill_9();
        history.follow(writer.await.unwrap());

        // One that is ended while it starts is nothing but late.
        let mut unborn = ground.spawn("solo", &[], &[]);
        tokio::time::sleep(Duration::from_millis(life * 3)).await;
        unborn.kill_9();
        solo.start_again().await;
        let mut state = BTreeMap::new();
        for key in ["n", "k"] {
            if let Ok(content) = solo.get(key).await {
                state.insert(key.to_owned(), content);
            }
        }
        let violations = history.violations(&state);
        assert!(violations.is_empty(), "after life {life}: {violations:?}");
    }
    let [yes, none] = [Answer::Acknowledged, Answer::None].map(|answer| history.count(answer));
    eprintln!("{yes} acknowledged and {none} unanswered in {LIVES} lives");
    assert!(yes > 0);
}

/// The longest silence of all: the dead do not return to two members that restart as well.
#[tokio::test]
async fn an_overlay_that_was_killed_as_a_whole_is_back_with_everything() {
    let ground = Ground::new();
    let [mut alpha, mut beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    for (n, daemon) in [&alpha, &beta, &gamma].into_iter().enumerate() {
        daemon.write(vec![set(format!("k{n}"), "v"), add("s", &[&n.to_string()])]).await.unwrap();
    }
    for daemon in [&mut alpha, &mut beta, &mut gamma] {
        daemon.kill_9();
    }
    for daemon in [&mut gamma, &mut beta, &mut alpha] {
        daemon.start_again().await;
    }
    agree(&[&alpha, &beta, &gamma]).await;
    for daemon in [&alpha, &beta, &gamma] {
        assert_eq!(daemon.status().await.keys, 4, "{}", daemon.name);
        let Ok(Content::Set { elements }) = daemon.get("s").await else { panic!("a set") };
        assert_eq!(elements.len(), 3);
    }
}
