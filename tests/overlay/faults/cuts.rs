//! Five machines and a network that delays, loses, and breaks in one direction or in two.

use super::net::{ALL, MACHINES, NAMES, Net};
use super::phase::{Load, agree_on, declared_dead};
use super::witness::Witness;
use crate::harness::{Daemon, Ground, PATIENCE, eventually, eventually_within, register, set, so};
use crate::history::{Answer, History};
use crate::settings::is_long;
use chinwag_api::{CellQuery, Kind, MemberState, ReachAnswer};
use chinwag_sim::observation::Host;
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_millis(20);

fn slow_and_lossy(net: &Net) {
    net.change_all(|link| {
        link.delay = DELAY;
        link.loss_permille = 50;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_converge_over_links_that_delay_and_lose() {
    let Some(net) = Net::new(1) else { return };
    slow_and_lossy(&net);
    let (ground, witness) = (Ground::new(), Witness::default());
    let begun = Instant::now();
    let daemons = net.overlay(&ground, &witness).await;
    let met = begun.elapsed();
    let load = Load::begin("all", &daemons, &witness);
    tokio::time::sleep(Duration::from_secs(if is_long() { 12 } else { 4 })).await;
    let history = load.end().await;
    let equal = agree_on(&history, &daemons).await;
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    let (seen, writes) = (net.seen(), history.count(Answer::Acknowledged));
    eprintln!("met after {met:?}; {writes} writes, equal {equal:?} after the last; {seen:?}");
    assert!(writes > 0 && seen.lost > 0, "{seen:?}");
    assert!(seen.tcp > 0 && seen.udp > 0, "both transports: {seen:?}");
    assert_eq!(declared_dead(&daemons), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_known_to_everybody_over_links_that_delay_and_lose() {
    let Some(net) = Net::new(5) else { return };
    slow_and_lossy(&net);
    let (ground, witness) = (Ground::new(), Witness::default());
    let mut daemons = net.overlay(&ground, &witness).await;
    let (lost, others) = daemons.split_last_mut().unwrap();
    let load = Load::begin("all", others, &witness);
    lost.kill_9();
    witness.killed(Host(others.len() as u32));
    let killed = Instant::now();
    // It hangs up on nobody (QUIC), so its silence alone decides. Members forgive as long a silence as the others' stalls
    // have taught them to, which on a busy machine is long.
    eventually_within(3 * PATIENCE, "all know of the crash", async || {
        for daemon in others.iter() {
            let seen = daemon.sees(&lost.name).await.map(|member| member.state);
            so(seen == Some(MemberState::Down), || format!("{} sees {seen:?}", daemon.name))?;
        }
        Ok(())
    })
    .await;
    let known = killed.elapsed();
    let history = load.end().await;
    agree_on(&history, others).await;
    // All that is said of the time is that all knew before it was looked at.
    witness.judges(&daemons.each_ref(), &[MACHINES - 1], known).await;
    eprintln!("known to all {known:?} after kill -9");
    let dead = declared_dead(&daemons);
    assert!(dead.iter().all(|(_, whom)| whom == NAMES[MACHINES - 1]), "{dead:?}");
}

/// A write at each of the two reaches the other one.
async fn hear_of_each_other(one: &Daemon, other: &Daemon, history: &mut History) {
    let begun = Instant::now();
    for (from, to) in [(one, other), (other, one)] {
        let key = format!("around/{}/{}", from.name, to.name);
        from.write(vec![set(&key, "v")]).await.unwrap();
        history.wrote(&key, Some("v"), Answer::Acknowledged);
        eventually("it goes around the cut", async || match to.get(&key).await {
            Ok(content) if content == register("v") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    eprintln!("{} and {} heard of each other's write by {:?}", one.name, other.name, begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_cut_between_two_of_five_costs_nobody_its_life() {
    let Some(net) = Net::new(2) else { return };
    net.change_all(|link| link.delay = DELAY);
    let (ground, witness) = (Ground::new(), Witness::default());
    let daemons = net.overlay(&ground, &witness).await;
    let mut history = History::default();
    let lasts = Duration::from_secs(if is_long() { 20 } else { 8 });
    // Two that are connected by TCP, and two by QUIC.
    for (from, to) in [(1, 2), (3, 4)] {
        let load = Load::begin(NAMES[from], &daemons, &witness);
        let before = net.seen().cut;
        net.cut(&[from], &[to], &witness);
        let mut around = History::default();
        let until = tokio::time::sleep(lasts);
        tokio::join!(until, hear_of_each_other(&daemons[from], &daemons[to], &mut around));
        assert!(net.seen().cut > before, "the cut was real");
        // Asked of one beside the cut, and of both ends.
        for asked in [0, from, to] {
            is_found_by_reach(&daemons[asked], [NAMES[from], NAMES[to]]).await;
        }
        net.mend(&[from], &[to], &witness);
        history.follow(load.end().await);
        history.follow(around);
        let equal = agree_on(&history, &daemons).await;
        eprintln!("all agree {equal:?} after the cut from {} to {}", NAMES[from], NAMES[to]);
    }
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    // Three others hear both, and say so when they are asked.
    assert_eq!(declared_dead(&daemons), []);
}

/// All answer, and these two alone do not hear each other, one way or both: TCP and QUIC end a connection over which
/// no acknowledgements come.
async fn is_found_by_reach(daemon: &Daemon, ends: [&str; 2]) {
    let reach = daemon.client.reach().await.unwrap();
    assert_eq!((reach.answers.len(), &reach.missing[..]), (NAMES.len(), &[][..]), "{reach:?}");
    let unheard = |answer: &ReachAnswer| {
        answer.unheard.iter().map(|u| [answer.name.clone(), u.name.clone()]).collect::<Vec<_>>()
    };
    let pairs: Vec<_> = reach.answers.iter().flat_map(unheard).collect();
    let is_theirs = |pair: &[String; 2]| ends.iter().all(|end| pair.iter().any(|name| name == end));
    assert!(!pairs.is_empty() && pairs.iter().all(is_theirs), "cut between {ends:?}, and found: {reach:?}");
    eprintln!("reach found {pairs:?} after {:.0} ms", reach.after_ms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_with_writes_on_both_sides_loses_none_of_them() {
    let Some(net) = Net::new(3) else { return };
    net.change_all(|link| link.delay = DELAY);
    let (ground, witness) = (Ground::new(), Witness::default());
    let daemons = net.overlay(&ground, &witness).await;
    let load = Load::begin("all", &daemons, &witness);
    let (few, many) = ([0, 1], [2, 3, 4]);
    net.cut(&few, &many, &witness);
    net.cut(&many, &few, &witness);
    tokio::time::sleep(Duration::from_secs(if is_long() { 40 } else { 20 })).await;
    let history = load.end().await;
    let digests = [daemons[0].status().await.digest, daemons[4].status().await.digest];
    assert_ne!(digests[0], digests[1], "both sides wrote");
    net.mend(&few, &many, &witness);
    net.mend(&many, &few, &witness);
    let equal = agree_on(&history, &daemons).await;
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    let writes = history.count(Answer::Acknowledged);
    eprintln!("{writes} writes in the partition; all equal {equal:?} after it; {:?}", net.seen());
    assert!(net.seen().cut > 0, "the cut was real");
    let dead = declared_dead(&daemons);
    let side = |name: &str| NAMES.iter().position(|n| *n == name).is_some_and(|n| n < few.len());
    assert!(dead.iter().all(|(by, whom)| side(by) != side(whom)), "only across the partition: {dead:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spikes_of_delay_kill_nobody() {
    let Some(net) = Net::new(4) else { return };
    net.change_all(|link| link.delay = DELAY);
    let (ground, witness) = (Ground::new(), Witness::default());
    let daemons = net.overlay(&ground, &witness).await;
    let load = Load::begin("all", &daemons, &witness);
    for spike in 0..if is_long() { 10 } else { 4 } {
        // One member's links, in both directions, and another one's next time.
        let one = [spike % MACHINES];
        for (from, to) in [(&one[..], &ALL[..]), (&ALL[..], &one[..])] {
            net.change(from, to, |link| link.delay = Duration::from_millis(400));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        net.change_all(|link| link.delay = DELAY);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let history = load.end().await;
    let equal = agree_on(&history, &daemons).await;
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    eprintln!("{} writes; equal {equal:?} after the last", history.count(Answer::Acknowledged));
    assert_eq!(declared_dead(&daemons), []);
}

/// A client that writes on one side of a cut and reads on the other waits for its write, is told when that takes too long,
/// and has it as soon as the cut is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_follows_a_write_across_a_cut() {
    let Some(net) = Net::new(7) else { return };
    let (ground, witness) = (Ground::new(), Witness::default());
    let daemons = net.overlay(&ground, &witness).await;
    let (here, there) = (&ALL[..1], &ALL[1..]);
    net.cut(here, there, &witness);
    net.cut(there, here, &witness);
    let token = daemons[0].write(vec![set("k", "from beyond")]).await.unwrap().token;
    let read = async |timeout_ms| {
        let query =
            CellQuery { after: Some(token.clone()), timeout_ms: Some(timeout_ms), ..CellQuery::default() };
        daemons[3].client.cell("k", &query).await
    };
    let late = read(200).await.unwrap_err();
    assert_eq!(late.kind, Kind::Timeout, "{late}");
    assert!(late.because[0].contains("alpha"), "{late}");
    assert_eq!(daemons[3].get("k").await.unwrap_err().kind, Kind::NoSuchKey, "the cut was real");
    let patience = 3 * PATIENCE;
    let (found, ()) = tokio::join!(read(patience.as_millis() as u64), async {
        net.mend(here, there, &witness);
        net.mend(there, here, &witness);
    });
    assert_eq!(found.unwrap().content, register("from beyond"));
}
