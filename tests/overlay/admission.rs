//! Who may come in, and what those are told who may not.

use crate::harness::{Ground, agree, eventually, register, set, so};
use chinwag_api::runtime::{Entry, Runtime};
use chinwag_api::{InviteRequest, JoinRequest, Kind};
use chinwag_base::{Invite, Role};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[tokio::test]
async fn two_homes_that_share_no_directory_meet_by_an_invite() {
    let (here, there) = (Ground::new(), Ground::new());
    let [alpha] = here.overlay(["alpha"]).await;
    alpha.write(vec![set("greeting", "hello")]).await.unwrap();
    let told = here.type_in("invite --json").await.exits(0).json();
    assert_eq!((told["uses"].as_u64(), told["role"].as_str()), (Some(1), Some("member")), "{told}");
    let token = told["token"].as_str().unwrap();

    // No daemon runs there yet: `join` prepares a home and starts one.
    let told = there.cli(["join", token, "--data", "beta", "-n", "beta"]).await;
    let guard = Leave(&there);
    let told = told.exits(0);
    assert!(told.out.starts_with("✓ joined home through alpha (127.0.0.1) in "), "{told:?}");
    assert!(told.out.ends_with(": 2 members, 1 key\n"), "{told:?}");
    assert_eq!(there.type_in("get greeting").await.exits(0).out, "hello\n");
    there.type_in("set answer 42 --wait all").await.exits(0);
    assert_eq!(alpha.get("answer").await, Ok(register("42")));
    let told = there.type_in("status --json").await.exits(0).json();
    assert_eq!((told["name"].as_str(), told["role"].as_str()), (Some("beta"), Some("member")), "{told}");
    there.type_in("leave").await.exits(0);
    drop(guard);
}

/// Ends the daemon that `join` has put into the background, if the test fails before it does.
struct Leave<'a>(&'a Ground);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        for entry in Runtime::at(self.0.runtime()).list().unwrap_or_default().live {
            let pid = rustix::process::Pid::from_raw(entry.pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[tokio::test]
async fn every_bad_invite_is_told_apart() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    let beta = ground.start("beta").await;
    let gamma = ground.start("gamma").await;
    let join = async |name: &str, token: &str| ground.cli(["-n", name, "join", token]).await;

    // Mistyped: one character, cut short, none at all.
    let token = alpha.invite().await;
    let last = if token.ends_with('Z') { "Y" } else { "Z" };
    let typo = format!("{}{last}", &token[..token.len() - 1]);
    let told = join("beta", &typo).await.exits(2);
    told.says("error: the invite is mistyped or cut short: its checksum does not fit")
        .says("try: copy the whole");
    join("beta", &token[..token.len() - 6]).await.exits(2).says("mistyped or cut short");
    join("beta", "hello").await.exits(2).says("not an invite: a token starts with cw1");
    join("beta", &token.replacen("cw1", "cw9", 1)).await.exits(2).says("made by a newer chinwag");

    // Expired.
    let request = InviteRequest { expires_s: Some(1), ..InviteRequest::default() };
    let short = alpha.client.invite(&request).await.unwrap();
    eventually("the invite expires", async || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        so(now > Duration::from_millis(short.expires_unix_ms + 50), || "not yet".into())
    })
    .await;
    join("beta", &short.token)
        .await
        .exits(4)
        .says("the invite has expired")
        .says("try: ask for a new invite");

    // Unknown to the inviter: a secret that it never gave out.
    let mut unknown: Invite = token.parse().unwrap();
    unknown.secret = chinwag_base::invite::Secret::from_bytes([7; 16]);
    let told = join("beta", &unknown.to_string()).await.exits(4);
    told.says("the inviter does not know this invite");

    // Used, by somebody else. A member that joins again is shown the way, and nothing else happens.
    join("beta", &token).await.exits(0);
    join("gamma", &token).await.exits(4).says("the invite has been used already");
    join("beta", &alpha.invite().await).await.exits(0);
    let mut elsewhere: Invite = token.parse().unwrap();
    elsewhere.overlay = chinwag_base::OverlayId::from_bytes([7; 16]);
    let told = join("beta", &elsewhere.to_string()).await.exits(4);
    told.says("this daemon already belongs to overlay home")
        .says("try: a daemon with a data directory of its own");

    // Nobody there.
    let away = alpha.invite().await;
    drop(alpha);
    join("gamma", &away).await.exits(4).says("the inviter could not be reached");
    let status = gamma.status().await;
    assert_eq!((status.overlay, status.members.alive), (None, 1), "after all that gamma is as it was");
    drop(beta);
}

#[tokio::test]
async fn an_invite_of_another_overlay_opens_no_door() {
    let (x, y) = (Ground::new(), Ground::new());
    let [alpha] = x.overlay(["alpha"]).await;
    y.found("yankee", "other").await;
    let yankee = y.start("yankee").await;
    let solo = y.start("solo").await;

    // X's token with Y's addresses: another node answers there.
    let mut token: Invite = alpha.invite().await.parse().unwrap();
    token.addresses = yankee.status().await.addresses;
    let told = y.cli(["-n", "solo", "join", &token.to_string()]).await.exits(4);
    told.says("another node than the inviter answers at the invite's addresses");

    // The same that names Y's node as the inviter: it answers, and belongs to another overlay.
    token.inviter = yankee.status().await.id;
    let told = y.cli(["-n", "solo", "join", &token.to_string()]).await.exits(4);
    told.says("another overlay answers at the invite's addresses");
    let request = JoinRequest { token: token.to_string(), merge: false, timeout_ms: None };
    assert_eq!(solo.client.join(&request).await.unwrap_err().kind, Kind::InviteForeign);
    assert_eq!(solo.status().await.overlay, None);
    assert_eq!(yankee.status().await.members.alive, 1);
}

#[tokio::test]
async fn only_an_admin_invites_and_a_reader_does_not_write() {
    let ground = Ground::new();
    let [alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    let told = ground.type_in("-n beta invite").await.exits(4);
    told.says("error: this node's role in home is member")
        .says("only an admin")
        .says("try: run `chinwag invite` on");

    let request = InviteRequest { role: Some(Role::Reader), ..InviteRequest::default() };
    let token = alpha.client.invite(&request).await.unwrap().token;
    let reader = ground.start_with("reader", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    agree(&[&alpha, &beta, &reader]).await;
    alpha.write_everywhere(vec![set("k", "v")]).await;
    assert_eq!(reader.get("k").await, Ok(register("v")));
    let told = ground.type_in("-n reader set k w").await.exits(4);
    told.says("this node is a reader: its grant does not let it write");

    let solo = ground.start("solo").await;
    ground.type_in("-n solo invite").await.exits(4).says("no overlay yet").says("chinwag init NAME");
    ground.type_in("-n alpha init again").await.exits(4).says("already belongs to overlay home");
    drop(solo);
}

/// One user's daemons of two overlays share a runtime directory, where they find each other, and still do not meet.
#[tokio::test]
async fn daemons_of_two_overlays_on_one_machine_do_not_meet() {
    let ground = Ground::new();
    ground.found("alpha", "home").await;
    ground.found("yankee", "other").await;
    let alpha = ground.start("alpha").await;
    let overlay = read_overlay_id(&ground, "yankee");

    // Somebody lies in the directory: alpha's addresses, under the name of yankee's overlay.
    let socket = ground.runtime().join("liar.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let lie = Entry {
        name: "liar".parse().unwrap(),
        pid: std::process::id(),
        socket,
        data: ground.data("liar"),
        overlay: Some(serde_json::from_value(overlay.into()).unwrap()),
        id: alpha.status().await.id,
        addresses: alpha.status().await.addresses,
    };
    let json = chinwag_api::schema::to_json(&lie);
    std::fs::write(ground.runtime().join("liar.json"), json).unwrap();
    let yankee = ground.start("yankee").await;

    // It dials, and is refused; the honest entry beside the lie it has passed over.
    eventually("alpha refuses a stranger", async || {
        let refused = alpha.told("grant.refused");
        so(!refused.is_empty(), || "it has refused nobody".into())
    })
    .await;
    for daemon in [&alpha, &yankee] {
        let members = daemon.client.members().await.unwrap().members;
        assert_eq!(members.len(), 1, "{members:?}");
    }
    alpha.write(vec![set("k", "v")]).await.unwrap();
    assert_eq!(yankee.status().await.keys, 0);
}

fn read_overlay_id(ground: &Ground, name: &str) -> String {
    let papers = std::fs::read_to_string(ground.data(name).join("overlay.toml")).unwrap();
    let papers: toml::Table = papers.parse().unwrap();
    papers["id"].as_str().unwrap().to_owned()
}

/// A daemon that is to join by a file waits for it, as in a deployment where the invite comes later.
#[tokio::test]
async fn a_daemon_waits_for_the_file_that_holds_its_invite() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    let file = ground.path().join("invite");
    let by_file = format!("@{}", file.display());
    let token = alpha.invite().await;
    let write = async {
        // Half a line is no invite yet.
        std::fs::write(&file, &token[..20]).unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        std::fs::write(&file, format!("{token}\n")).unwrap();
    };
    let flags = ["--listen", "127.0.0.1:0", "--join", &by_file];
    let start = ground.start_with("beta", &flags, &[]);
    let (mut beta, ()) = tokio::join!(start, write);
    agree(&[&alpha, &beta]).await;

    // The same flag does no harm when it has joined already, file or none.
    std::fs::remove_file(&file).unwrap();
    beta.kill_9();
    beta.start_again().await;
    agree(&[&alpha, &beta]).await;
}
