//! The exact text of each reply and request. A change here is a change of the contract.

use crate::event::Level;
use crate::*;
use chinwag_base::{Generation, NodeId, Role};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const ID: &str = "12D3KooWAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn id() -> NodeId {
    NodeId::from_bytes([7; 32])
}

fn overlay() -> Overlay {
    Overlay { name: "home".parse().unwrap(), id: "0123456789abcdef0123456789abcdef".parse().unwrap() }
}

/// The reply's text is `expected`, and reads as the reply.
fn holds<T: Schema + DeserializeOwned + PartialEq + Debug>(reply: &T, expected: &str) {
    let text = to_json(reply);
    let shown = text.replace(&id().to_string(), ID);
    assert_eq!(shown, expected);
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), reply);
    let mut newer: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    newer.insert("of_a_later_version".into(), serde_json::json!([1]));
    let newer = serde_json::to_string(&newer).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&newer).unwrap(), reply, "new fields are passed over");
}

#[test]
fn status_and_version() {
    let version = Version { version: "0.1.0".into(), protocol: 1, protocol_min: 1 };
    holds(&version, r#"{"schema":"chinwag.version/1","version":"0.1.0","protocol":1,"protocol_min":1}"#);
    let status = Status {
        name: "alpha".into(),
        id: id(),
        generation: Generation::new(0xabc),
        overlay: Some(overlay()),
        role: Some(Role::Admin),
        pid: 7,
        version: "0.1.0".into(),
        protocol: 1,
        uptime_ms: 252_000,
        healthy: false,
        problems: vec![Problem { kind: "storage".into(), message: "the disk is full".into() }],
        members: Counts { alive: 2, suspect: 1, down: 0, left: 0 },
        phi_highest: Some(Phi { name: "gamma".into(), phi: 5.1, down_at: 8.0 }),
        keys: 1204,
        digest: "9c1fa07e000000000000000000000000".parse().unwrap(),
        in_step: InStep { peers: 1, of: 2 },
        coming: Some(Coming { from: "beta".into(), cells: 7, of: Some(9) }),
        gossip: Gossip { queue: 0, queue_max: 256, rounds_per_s: Some(5.0), ..Gossip::default() },
        dht: Some(DhtStatus { records: 3, bytes: 12_288, owners: 3, handing_off: 0 }),
        addresses: vec!["/ip4/127.0.0.1/tcp/41731".parse().unwrap()],
        door: Some(OpenDoor {
            peer: "12D3KooW".into(),
            addresses: vec!["/ip4/127.0.0.1/tcp/7172/p2p/12D3KooW".into()],
            connections: 1,
            records: 3,
            bytes: 900,
            refused: [("hash".to_owned(), 2)].into(),
        }),
        socket: "/run/alpha.sock".into(),
        data: "/data".into(),
    };
    holds(
        &status,
        &format!(
            "{}{}{}{}{}{}{}{}",
            r#"{"schema":"chinwag.status/1","name":"alpha","id":""#,
            ID,
            r#"","generation":"abc","overlay":{"name":"home","id":"0123456789abcdef0123456789abcdef"},"role":"admin","pid":7,"version":"0.1.0","protocol":1,"uptime_ms":252000,"healthy":false,"problems":[{"kind":"storage","message":"the disk is full"}],"#,
            r#""members":{"alive":2,"suspect":1,"down":0,"left":0},"phi_highest":{"name":"gamma","phi":5.1,"down_at":8.0},"keys":1204,"digest":"9c1fa07e000000000000000000000000","in_step":{"peers":1,"of":2},"coming":{"from":"beta","cells":7,"of":9},"#,
            r#""gossip":{"queue":0,"queue_max":256,"rounds_per_s":5.0,"in_bytes_per_s":null,"out_bytes_per_s":null},"#,
            r#""dht":{"records":3,"bytes":12288,"owners":3,"handing_off":0},"addresses":["/ip4/127.0.0.1/tcp/41731"],"#,
            r#""door":{"peer":"12D3KooW","addresses":["/ip4/127.0.0.1/tcp/7172/p2p/12D3KooW"],"connections":1,"records":3,"bytes":900,"refused":{"hash":2}},"#,
            r#""socket":"/run/alpha.sock","data":"/data"}"#
        ),
    );
    holds(&Health { ok: true, problems: vec![] }, r#"{"schema":"chinwag.health/1","ok":true,"problems":[]}"#);
}

#[test]
fn members() {
    let member = suspect();
    let json = format!(
        r#"{{"name":"gamma","id":"{ID}","self":false,"state":"suspect","phi":5.1,"incarnation":3,"generation":"10","rtt_ms":0.5,"heard_ms":2900,"behind":12,"digest":null,"addresses":[],"tags":{{"role":"db"}},"rto_ms":21.5,"suspected_by":["beta"],"down_in_ms":1800}}"#
    );
    let members = format!(r#"{{"schema":"chinwag.members/1","members":[{json}],"probe_loss":0.01}}"#);
    holds(&Members { members: vec![member.clone()], probe_loss: Some(0.01) }, &members);
    let clue = |times, what| Clue { first_ms: 900, last_ms: 20, times, what };
    let evidence = vec![
        clue(9, ClueKind::Found { by: "beta".into(), found: "silent".into() }),
        clue(1, ClueKind::Accused { state: MemberState::Suspect, by: "beta".into(), phi: 1.5 }),
        clue(1, ClueKind::Voided),
    ];
    holds(
        &Explained { member, phi_down: 8.0, evidence },
        &format!(
            r#"{{"schema":"chinwag.explain/1","member":{json},"phi_down":8.0,"evidence":[{{"first_ms":900,"last_ms":20,"times":9,"what":"found","by":"beta","found":"silent"}},{{"first_ms":900,"last_ms":20,"times":1,"what":"accused","state":"suspect","by":"beta","phi":1.5}},{{"first_ms":900,"last_ms":20,"times":1,"what":"voided"}}]}}"#
        ),
    );
    let unheard = |why| Unheard { name: "beta".into(), id: id(), why };
    let answer = ReachAnswer {
        name: "alpha".into(),
        id: id(),
        after_ms: 0.5,
        hears: 3,
        unheard: vec![unheard(Hindrance::Silent), unheard(Hindrance::Unconnected)],
        more: 0,
    };
    let missing = vec![ReachMember { name: "gamma".into(), id: id(), state: MemberState::Suspect }];
    holds(
        &Reach { after_ms: 4000.5, answers: vec![answer], down: missing.clone(), missing },
        &format!(
            r#"{{"schema":"chinwag.reach/1","after_ms":4000.5,"answers":[{{"name":"alpha","id":"{ID}","after_ms":0.5,"hears":3,"unheard":[{{"name":"beta","id":"{ID}","why":"silent"}},{{"name":"beta","id":"{ID}","why":"unconnected"}}],"more":0}}],"missing":[{{"name":"gamma","id":"{ID}","state":"suspect"}}],"down":[{{"name":"gamma","id":"{ID}","state":"suspect"}}]}}"#
        ),
    );
    assert_eq!(serde_json::from_str::<Hindrance>(r#""tired""#).unwrap(), Hindrance::Unknown);
    let later: Clue =
        serde_json::from_str(r#"{"first_ms":1,"last_ms":1,"times":1,"what":"dreamt","of":2}"#).unwrap();
    assert_eq!(later.what, ClueKind::Unknown);
}

fn suspect() -> Member {
    Member {
        name: "gamma".into(),
        id: id(),
        is_self: false,
        state: MemberState::Suspect,
        unverified: false,
        phi: Some(5.1),
        incarnation: 3,
        generation: Generation::new(16),
        rtt_ms: Some(0.5),
        heard_ms: Some(2900),
        behind: Some(12),
        digest: None,
        addresses: vec![],
        tags: [("role".to_owned(), "db".to_owned())].into(),
        rto_ms: Some(21.5),
        stall_ms: None,
        suspected_by: vec!["beta".into()],
        down_in_ms: Some(1800),
    }
}

#[test]
fn cells_of_every_type() {
    let cell = |content| Cell::new("k", content);
    let register = |value: Bytes, siblings| Content::Register { value, siblings };
    holds(
        &cell(register("hi".into(), vec![])),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"register","value":"hi"}"#,
    );
    holds(
        &cell(register(
            vec![0xff].into(),
            vec![Sibling {
                value: "b".into(),
                origin: "beta".into(),
                at_unix_ms: 5,
                dot: "12D3…q7Vf.19a0:7".into(),
            }],
        )),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"register","value_base64":"/w==","siblings":[{"value":"b","origin":"beta","at_unix_ms":5,"dot":"12D3…q7Vf.19a0:7"}]}"#,
    );
    holds(
        &cell(Content::Counter { count: Count(-3) }),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"counter","count":-3}"#,
    );
    holds(
        &cell(Content::Counter { count: Count(i128::MAX) }),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"counter","count":"170141183460469231731687303715884105727"}"#,
    );
    let set = Content::Set { elements: vec!["a".into(), vec![0xff].into()] };
    holds(
        &cell(set.clone()),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"set","elements":["a",{"base64":"/w=="}]}"#,
    );
    holds(
        &cell(Content::Conflict { contents: vec![register("hi".into(), vec![]), set] }),
        r#"{"schema":"chinwag.cell/1","key":"k","kind":"conflict","contents":[{"kind":"register","value":"hi"},{"kind":"set","elements":["a",{"base64":"/w=="}]}]}"#,
    );
    holds(
        &Cells { cells: vec![cell(Content::Counter { count: Count(1) })], next: Some("k".into()) },
        r#"{"schema":"chinwag.cells/1","cells":[{"key":"k","kind":"counter","count":1}],"next":"k"}"#,
    );
    let line = br#"{"key":"k","kind":"counter","count":"-9223372036854775809"}"#;
    let count = Count(-9_223_372_036_854_775_809);
    assert_eq!(from_json::<Cell>(line), Ok(cell(Content::Counter { count })), "a schema may be left out");
    let foreign = from_json::<Cell>(br#"{"schema":"chinwag.keys/1","keys":[]}"#).unwrap_err();
    assert_eq!(foreign, "it is chinwag.keys/1, and chinwag.cell/1 was expected");
    holds(
        &Keys { keys: vec![KeyRow { key: "k".into(), kind: CellKind::Set }], next: None },
        r#"{"schema":"chinwag.keys/1","keys":[{"key":"k","kind":"set"}],"next":null}"#,
    );
}

#[test]
fn writes() {
    let request = WriteRequest {
        ops: [
            WriteOp::Set { key: "a".into(), value: "1".into() },
            WriteOp::Set { key: "a".into(), value: vec![0xff].into() },
            WriteOp::Del { key: "a".into(), kind: None },
            WriteOp::Del { key: "a".into(), kind: Some(CellKind::Counter) },
            WriteOp::Incr { key: "n".into(), by: -2 },
            WriteOp::Add { key: "s".into(), elements: vec!["x".into()] },
            WriteOp::Rm { key: "s".into(), elements: vec![vec![0xff].into()] },
            WriteOp::Enable { key: "f".into() },
            WriteOp::Disable { key: "f".into() },
        ]
        .map(Into::into)
        .to_vec(),
        wait: Some(Wait::Members(2)),
        timeout_ms: Some(500),
    };
    let text = r#"{"ops":[{"op":"set","key":"a","value":"1"},{"op":"set","key":"a","value_base64":"/w=="},{"op":"del","key":"a"},{"op":"del","key":"a","kind":"counter"},{"op":"incr","key":"n","by":-2},{"op":"add","key":"s","elements":["x"]},{"op":"rm","key":"s","elements":[{"base64":"/w=="}]},{"op":"enable","key":"f"},{"op":"disable","key":"f"}],"wait":2,"timeout_ms":500}"#;
    assert_eq!(serde_json::to_string(&request).unwrap(), text);
    assert_eq!(serde_json::from_str::<WriteRequest>(text).unwrap(), request);

    let refused = |text: &str| serde_json::from_str::<WriteRequest>(text).unwrap_err().to_string();
    assert!(refused(r#"{"ops":[],"wiat":"all"}"#).contains("wiat"), "a typo in a request is not passed over");
    assert!(refused(r#"{"ops":[{"op":"set","key":"a"}]}"#).contains("missing field `value`"));
    assert!(refused(r#"{"ops":[{"op":"jump","key":"a"}]}"#).contains("jump"));
    assert!(refused(r#"{"ops":[],"wait":"some"}"#).contains("majority"));
    assert!(refused(r#"{"ops":[],"wait":-1}"#).contains("majority"));
    for (text, wait) in [("null", None), ("\"all\"", Some(Wait::All)), ("\"majority\"", Some(Wait::Majority))]
    {
        let parsed: WriteRequest = serde_json::from_str(&format!(r#"{{"ops":[],"wait":{text}}}"#)).unwrap();
        assert_eq!(parsed.wait, wait);
    }

    let results = vec![
        Outcome::Set { key: "a".into(), value: "1".into() },
        Outcome::Del { key: "a".into() },
        Outcome::Incr { key: "n".into(), by: 2, count: Count(9) },
        Outcome::Add { key: "s".into(), added: 1, size: 4 },
        Outcome::Rm { key: "s".into(), removed: 0, size: 4 },
        Outcome::Enable { key: "f".into() },
        Outcome::Disable { key: "f".into() },
    ];
    let reply =
        WriteReply { token: Token("t".into()), holders: 2, of: 3, met: false, after_ms: 1.5, results };
    holds(
        &reply,
        r#"{"schema":"chinwag.write/1","token":"t","holders":2,"of":3,"met":false,"after_ms":1.5,"results":[{"op":"set","key":"a","value":"1"},{"op":"del","key":"a"},{"op":"incr","key":"n","by":2,"count":9},{"op":"add","key":"s","added":1,"size":4},{"op":"rm","key":"s","removed":0,"size":4},{"op":"enable","key":"f"},{"op":"disable","key":"f"}]}"#,
    );
}

#[test]
fn what_is_told_as_it_happens() {
    let change = |what, was: Vec<Bytes>, concurrent| Change {
        at_unix_ms: 9,
        key: "k".into(),
        field: vec![],
        what,
        origin: "gamma".into(),
        age_ms: 63,
        was,
        concurrent,
        position: None,
    };
    holds(
        &change(What::Merge { value: "hi".into() }, vec!["hello".into()], true),
        r#"{"schema":"chinwag.change/1","at_unix_ms":9,"key":"k","what":"merge","value":"hi","origin":"gamma","age_ms":63,"was":["hello"],"concurrent":true}"#,
    );
    holds(
        &change(What::Del {}, vec![], false),
        r#"{"schema":"chinwag.change/1","at_unix_ms":9,"key":"k","what":"del","origin":"gamma","age_ms":63,"was":[],"concurrent":false}"#,
    );
    holds(
        &change(What::Incr { by: Count(2), count: Count(3) }, vec![], false),
        r#"{"schema":"chinwag.change/1","at_unix_ms":9,"key":"k","what":"incr","by":2,"count":3,"origin":"gamma","age_ms":63,"was":[],"concurrent":false}"#,
    );
    for (what, name) in [
        (What::Set { value: "x".into() }, "set"),
        (What::Add { value: vec![0xff].into() }, "add"),
        (What::Rm { value: "x".into() }, "rm"),
    ] {
        assert_eq!(what.name(), name);
        let change = change(what, vec![], false);
        let text = to_json(&change);
        assert!(text.contains(&format!(r#""what":"{name}""#)), "{text}");
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
    let position = Some(Position("00000000000000a7.9".into()));
    holds(
        &Ready { name: "alpha".into(), position: position.clone() },
        r#"{"schema":"chinwag.ready/1","name":"alpha","position":"00000000000000a7.9"}"#,
    );
    holds(&Ready { name: "alpha".into(), position: None }, r#"{"schema":"chinwag.ready/1","name":"alpha"}"#);
    holds(
        &Change { position, ..change(What::Del {}, vec![], false) },
        r#"{"schema":"chinwag.change/1","at_unix_ms":9,"key":"k","what":"del","origin":"gamma","age_ms":63,"was":[],"concurrent":false,"position":"00000000000000a7.9"}"#,
    );
    holds(&Reset { message: "too slow".into() }, r#"{"schema":"chinwag.reset/1","message":"too slow"}"#);
    let fields = [("phi".to_owned(), serde_json::json!(1.5))].into_iter().collect();
    holds(
        &NodeEvent { at_unix_ms: 9, level: Level::Info, event: "member.suspect".into(), fields },
        r#"{"schema":"chinwag.event/1","at_unix_ms":9,"level":"info","event":"member.suspect","fields":{"phi":1.5}}"#,
    );
}

#[test]
fn overlays() {
    holds(
        &InitReply { overlay: overlay(), name: "ada".into(), id: id() },
        &format!(
            r#"{{"schema":"chinwag.init/1","overlay":{{"name":"home","id":"0123456789abcdef0123456789abcdef"}},"name":"ada","id":"{ID}"}}"#
        ),
    );
    let invite = InviteReply {
        token: "cw1home-X".into(),
        overlay: overlay(),
        uses: 1,
        role: Role::Member,
        expires_unix_ms: 600_000,
        expires_in_s: 600,
        addresses: vec![],
    };
    holds(
        &invite,
        r#"{"schema":"chinwag.invite/1","token":"cw1home-X","overlay":{"name":"home","id":"0123456789abcdef0123456789abcdef"},"uses":1,"role":"member","expires_unix_ms":600000,"expires_in_s":600,"addresses":[]}"#,
    );
    let join = JoinReply {
        overlay: overlay(),
        through: Through { name: "ada".into(), address: Some("/ip4/192.168.1.20/tcp/7171".parse().unwrap()) },
        after_ms: 400,
        members: 2,
        keys: 14,
    };
    holds(
        &join,
        r#"{"schema":"chinwag.join/1","overlay":{"name":"home","id":"0123456789abcdef0123456789abcdef"},"through":{"name":"ada","address":"/ip4/192.168.1.20/tcp/7171"},"after_ms":400,"members":2,"keys":14}"#,
    );
    holds(&LeaveReply { name: "ada".into(), pid: 7 }, r#"{"schema":"chinwag.leave/1","name":"ada","pid":7}"#);
    let empty: InviteRequest = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, InviteRequest::default());
    let join: JoinRequest = serde_json::from_str(r#"{"token":"t"}"#).unwrap();
    assert_eq!(join, JoinRequest { token: "t".into(), merge: false, timeout_ms: None });
    assert!(serde_json::from_str::<InitRequest>(r#"{"name":"Not a name"}"#).is_err());
}

#[test]
fn the_dht() {
    let asked = DhtAsked {
        name: "beta".into(),
        id: id(),
        rank: 1,
        owner: true,
        after_us: 12,
        took_us: None,
        verdict: DhtVerdict::Refused,
        why: Some("its disk is busy".into()),
    };
    let row = format!(
        r#"{{"name":"beta","id":"{ID}","rank":1,"owner":true,"after_us":12,"took_us":null,"verdict":"refused","why":"its disk is busy"}}"#
    );
    let write = |op| DhtWrite { expires_ms: Some(5), quorum: Some(2), trace: true, ..DhtWrite::new("k", op) };
    for (op, text) in [
        (DhtOp::Set { value: "v".into() }, r#""op":"set","value":"v","#),
        (DhtOp::Add { value: vec![0xff].into() }, r#""op":"add","value_base64":"/w==","#),
        (DhtOp::Rm { value: "v".into() }, r#""op":"rm","value":"v","#),
        (DhtOp::Del {}, r#""op":"del","#),
    ] {
        let text = format!(r#"{{"key":"k",{text}"expires_ms":5,"quorum":2,"trace":true}}"#);
        assert_eq!(serde_json::to_string(&write(op.clone())).unwrap(), text);
        assert_eq!(DhtWrite::from_json(text.as_bytes()), Ok(write(op)));
    }
    let written = DhtWritten {
        key: "k".into(),
        holders: 2,
        owners: 3,
        took_ms: 1.5,
        expires_unix_ms: Some(9),
        trace: vec![asked.clone()],
    };
    holds(
        &written,
        &format!(
            r#"{{"schema":"chinwag.dht_write/1","key":"k","holders":2,"owners":3,"took_ms":1.5,"expires_unix_ms":9,"trace":[{row}]}}"#
        ),
    );
    let cell = DhtCell {
        key: "k".into(),
        content: Content::Register { value: "v".into(), siblings: vec![] },
        expires_unix_ms: None,
        took_ms: 1.5,
        trace: vec![],
    };
    holds(
        &cell,
        r#"{"schema":"chinwag.dht_cell/1","key":"k","kind":"register","value":"v","expires_unix_ms":null,"took_ms":1.5}"#,
    );
    let record = "/chinwag/cell/k".into();
    holds(
        &DhtFound { record, owners: 3, holders: 1, took_ms: 1.5, asked: vec![asked] },
        &format!(
            r#"{{"schema":"chinwag.dht_find/1","record":"/chinwag/cell/k","owners":3,"holders":1,"took_ms":1.5,"asked":[{row}]}}"#
        ),
    );
    let hash = BlobHash::from_bytes([0xab; 32]);
    let digits = "ab".repeat(32);
    holds(
        &DhtBlob { hash, holders: 3, owners: 5, took_ms: 1.5, expires_unix_ms: None },
        &format!(
            r#"{{"schema":"chinwag.dht_blob/1","hash":"{digits}","holders":3,"owners":5,"took_ms":1.5}}"#
        ),
    );
    let row = DhtRow {
        key: Some("k".into()),
        hash: None,
        kind: DhtKind::Set,
        bytes: 7,
        rank: Some(0),
        expires_unix_ms: None,
        publisher: "ada".into(),
    };
    let blob = DhtRow { key: None, hash: Some(hash), kind: DhtKind::Blob, rank: None, ..row.clone() };
    holds(
        &DhtRecords { records: vec![row, blob], next: Some("c".into()) },
        &format!(
            r#"{{"schema":"chinwag.dht_records/1","records":[{{"key":"k","kind":"set","bytes":7,"rank":0,"expires_unix_ms":null,"publisher":"ada"}},{{"hash":"{digits}","kind":"blob","bytes":7,"rank":null,"expires_unix_ms":null,"publisher":"ada"}}],"next":"c"}}"#
        ),
    );
}

proptest::proptest! {
    /// Whatever a client sends as a request, a daemon as a reply or anybody as a file: read or refused.
    #[test]
    fn any_json_is_read_or_refused(
        noise in ".{0,60}",
        op in "(set|del|incr|add|rm|x)",
        field in "(value|value_base64|by|kind|elements|k)",
        value in "(1|-7|null|\"\"|\"/w==\"|\"?\"|\\[\"a\",\\{\"base64\":\"/w==\"\\}\\]|\\[\\[\\]\\]|1e999|18446744073709551616)",
    ) {
        let request = format!(r#"{{"ops":[{{"op":"{op}","key":"k","{field}":{value}}}],"wait":{value}}}"#);
        let write = format!(r#"{{"op":"{op}","key":"k","{field}":{value},"quorum":{value}}}"#);
        for text in [&noise, &request, &write] {
            if let Ok(request) = WriteRequest::from_json(text.as_bytes()) {
                let again = serde_json::to_vec(&request).unwrap();
                assert_eq!(WriteRequest::from_json(&again), Ok(request));
            }
            if let Ok(request) = crate::DhtWrite::from_json(text.as_bytes()) {
                let again = serde_json::to_vec(&request).unwrap();
                assert_eq!(crate::DhtWrite::from_json(&again), Ok(request));
            }
            let _ = serde_json::from_str::<crate::runtime::Entry>(text);
            let _ = (text.parse::<Hex>(), text.parse::<crate::BlobHash>(), text.parse::<Wait>());
        }
    }
}
