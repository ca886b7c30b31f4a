//! Writes the seeds in `corpus/` anew, from real values: small files, a few for each target, the same each time.
//!
//! It takes away no file that it did not write: inputs that a run has found, and that were worth keeping, stay.

use chinwag_base::{Lane, Moment, NodeId, codec};
use chinwag_crdt::{Dot, Hlc};
use chinwag_dht::{Cell, Edit, Held, Record, RecordKey};
use chinwag_fuzz::samples::{self, ME, NOW, PEERS, value};
use chinwag_fuzz::script::{self, START, Step};
use chinwag_gossip::Spans;
use chinwag_node::{Input, Node, Output, wire};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() {
    let scenes = scenes();
    frames(&scenes);
    for (name, (script, _)) in &scenes {
        write("node", name, script);
    }
    dictionary();
    codec_types();
    replicated();
    records();
    texts();
    json();
    #[cfg(feature = "daemon")]
    daemon::seeds();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = folder().join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder for the seeds");
    std::fs::write(folder.join(name), bytes).expect("a seed is written");
}

/// A seed of a target whose first byte chooses.
fn choose(target: &str, name: &str, which: u8, bytes: &[u8]) {
    write(target, name, &[&[which], bytes].concat());
}

/// What one frame of a scene is, so that one of each kind becomes a seed.
type Seen = BTreeMap<String, Vec<u8>>;

/// Short lives of an overlay of three, as the scripts that make its first node live them again.
fn scenes() -> Vec<(&'static str, (Vec<u8>, Seen))> {
    let quiet = |scene: &mut Scene| scene.run(600);
    let writes = |scene: &mut Scene| {
        scene.run(100);
        scene.does(Step::Write(0, 0, 2));
        scene.others_write();
        scene.run(400);
    };
    let records = |scene: &mut Scene| {
        scene.run(100);
        for what in [0, 4, 1, 5, 7] {
            scene.does(Step::Ask(what, 1, 0));
            scene.run(50);
        }
        scene.others_ask();
        scene.run(200);
    };
    let broken = |scene: &mut Scene| {
        scene.run(50);
        scene.does(Step::Disk(1));
        scene.does(Step::Write(3, 1, 1));
        scene.does(Step::Ask(0, 2, 1));
        scene.others_write();
        scene.run(150);
        scene.does(Step::Disk(2));
        scene.run(100);
        scene.does(Step::Disk(0));
        scene.run(100);
    };
    let lonely = |scene: &mut Scene| {
        for step in [
            Step::Connect(0),
            Step::Record(0, 3, 1, 0),
            Step::Record(1, 3, 1, 8),
            Step::Seed(2),
            Step::Echo(0, 0, 3, 1),
            Step::Pass(500),
            Step::Disconnect(0, 0),
            Step::DialFailed(0, 0),
            Step::Pass(60_000),
            Step::Record(0, 3, 2, 1),
            Step::Wall(3),
            Step::Stall(90),
            Step::Refuse(0, 2, 1),
            Step::Pass(5_000),
            Step::Leave,
            Step::Pass(100),
        ] {
            scene.does(step);
        }
    };
    let scenes: [(&str, &dyn Fn(&mut Scene)); 5] = [
        ("quiet", &quiet),
        ("writes", &writes),
        ("records", &records),
        ("broken", &broken),
        ("lonely", &lonely),
    ];
    scenes
        .into_iter()
        .map(|(name, act)| {
            let mut scene = Scene::new(name != "lonely");
            act(&mut scene);
            // It must be a life that a target accepts.
            script::run(&scene.script);
            (name, (scene.script, scene.seen))
        })
        .collect()
}

/// Three nodes in virtual time, of which the first is written down.
struct Scene {
    now: Moment,
    nodes: BTreeMap<NodeId, Node>,
    /// Frames under way: when they come, from whom, to whom, on which lane.
    frames: VecDeque<(Moment, NodeId, NodeId, Lane, Vec<u8>)>,
    links: BTreeSet<(NodeId, NodeId)>,
    script: Vec<u8>,
    /// Up to when the script has come.
    told: Moment,
    seen: Seen,
    request: u64,
}

const OTHERS: [u8; 2] = [PEERS[0], PEERS[1]];

impl Scene {
    fn new(connected: bool) -> Self {
        let nodes = [ME].into_iter().chain(OTHERS).map(|n| (samples::id(n), script::node(n, START)));
        let mut scene = Scene {
            now: START,
            nodes: nodes.collect(),
            frames: VecDeque::new(),
            links: BTreeSet::new(),
            script: Vec::new(),
            told: START,
            seen: Seen::new(),
            request: 0,
        };
        if connected {
            for (position, n) in OTHERS.into_iter().enumerate() {
                Step::Connect(position as u8).write(&mut scene.script);
                scene.connect(samples::id(ME), samples::id(n));
            }
            scene.connect(samples::id(OTHERS[0]), samples::id(OTHERS[1]));
        }
        scene
    }

    fn connect(&mut self, a: NodeId, b: NodeId) {
        self.links.extend([(a, b), (b, a)]);
        self.handle(a, Input::Connected { peer: b });
        self.handle(b, Input::Connected { peer: a });
    }

    /// A step of the first node. The scene does what the script will do, as far as the others see it.
    fn does(&mut self, step: Step) {
        self.catch_up();
        step.write(&mut self.script);
        let me = samples::id(ME);
        match step {
            Step::Pass(ms) => {
                self.told += Duration::from_millis(ms.into());
                self.now = self.told;
            }
            Step::Write(..) | Step::Ask(..) => {
                // What it sends is not needed: the others' answers are, and those come of what they do themselves.
                self.request += 1;
                let key = "k0".parse().expect("a key");
                let op = chinwag_crdt::Op::Set { key, value: value("v0") };
                let request = chinwag_gossip::RequestId(1_000 + self.request);
                let wait = chinwag_gossip::Wait::All;
                self.handle(me, Input::Write { request, ops: vec![op], wait, wait_until: None });
            }
            _ => {}
        }
    }

    fn others_write(&mut self) {
        for (n, text) in OTHERS.into_iter().zip(["one", "two"]) {
            let key = "k1".parse().expect("a key");
            let ops = vec![
                chinwag_crdt::Op::Set { key, value: value(text) },
                chinwag_crdt::Op::Increment { key: "k2".parse().expect("a key"), by: 5 },
            ];
            let request = chinwag_gossip::RequestId(1);
            let wait = chinwag_gossip::Wait::All;
            self.handle(samples::id(n), Input::Write { request, ops, wait, wait_until: None });
        }
    }

    fn others_ask(&mut self) {
        use chinwag_dht::Ask;
        let until = self.now + Duration::from_secs(2);
        let key = || "r3".parse().expect("a key");
        let asks = [
            Ask::Put { key: key(), edit: Edit::Set(value("theirs")), expires: None, quorum: Some(3) },
            Ask::PutBlob { bytes: b"a blob"[..].into(), expires: None, quorum: Some(2) },
            Ask::Get { key: RecordKey::Cell(key()), quorum: Some(3) },
            Ask::Find { key: RecordKey::Cell(key()) },
        ];
        for (n, ask) in asks.into_iter().enumerate() {
            let request = chinwag_dht::RequestId(n as u64 + 1);
            self.handle(samples::id(OTHERS[0]), Input::Ask { request, ask, until });
            self.run(30);
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let timer = self.nodes.iter().filter_map(|(id, n)| n.next_deadline().map(|at| (at, *id))).min();
            match (self.frames.front().map(|frame| frame.0), timer) {
                (Some(at), timer) if at <= end && timer.is_none_or(|(t, _)| at <= t) => {
                    self.now = self.now.max(at);
                    let Some((_, from, to, lane, bytes)) = self.frames.pop_front() else { break };
                    self.deliver(from, to, lane, bytes);
                }
                (_, Some((at, id))) if at <= end => {
                    self.now = self.now.max(at);
                    self.handle(id, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
        self.catch_up();
    }

    fn catch_up(&mut self) {
        let passed = self.now.since(self.told).as_millis() as u16;
        if passed > 0 {
            Step::Pass(passed).write(&mut self.script);
            self.told += Duration::from_millis(passed.into());
        }
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, lane: Lane, bytes: Vec<u8>) {
        if to == samples::id(ME) {
            self.catch_up();
            let position = OTHERS.iter().position(|n| samples::id(*n) == from).unwrap_or(0) as u8;
            Step::Frame(position, lane, bytes.clone()).write(&mut self.script);
        }
        self.seen.entry(kind(lane, &bytes)).or_insert_with(|| bytes.clone());
        self.handle(to, Input::Frame { from, lane, bytes });
    }

    fn handle(&mut self, id: NodeId, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(node) = self.nodes.get_mut(&id) else { return };
            node.handle(self.now, input);
            while let Some(output) = node.poll_output() {
                match output {
                    Output::Send { to, lane, bytes, .. } if self.links.contains(&(id, to)) => {
                        let at = self.now + Duration::from_millis(3);
                        self.frames.push_back((at, id, to, lane, bytes));
                    }
                    Output::Persist { batch, .. } => inputs.push_back(Input::Persisted { batch }),
                    Output::Checkpoint { .. } => inputs.push_back(Input::Checkpointed),
                    Output::PersistRecords { batch, .. } => {
                        inputs.push_back(Input::RecordsPersisted { batch })
                    }
                    Output::LoadBlob { load, .. } => {
                        inputs.push_back(Input::BlobLoaded { load, blob: Ok(Some(b"a blob"[..].into())) });
                    }
                    _ => {}
                }
            }
        }
    }
}

/// `gossip-push` and the like.
fn kind(lane: Lane, bytes: &[u8]) -> String {
    let frame = wire::decode(lane, bytes).expect("a node's own frame decodes");
    let shown = match &frame {
        wire::Frame::Membership(message) => format!("membership-{message:?}"),
        wire::Frame::Gossip(message) => format!("gossip-{}", message.name()),
        wire::Frame::Dht(message) => format!("dht-{message:?}"),
    };
    shown.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>().to_lowercase()
}

fn frames(scenes: &[(&'static str, (Vec<u8>, Seen))]) {
    let mut seen = Seen::new();
    for (_, (_, frames)) in scenes {
        for (kind, bytes) in frames {
            seen.entry(kind.clone()).or_insert_with(|| bytes.clone());
        }
    }
    assert!(seen.len() >= 12, "the scenes say much: {:?}", seen.keys());
    for (kind, bytes) in seen {
        write("wire", &kind, &bytes);
    }
}

/// Words that no mutation would find: ids, and their first bytes.
fn dictionary() {
    let mut lines = String::from(
        "# The ids of the nodes in the scripts, and the overlay's. Made by examples/seeds.rs.\n",
    );
    let quoted = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    for n in [ME].into_iter().chain(PEERS) {
        lines.push_str(&format!("node_{n}=\"{}\"\n", quoted(samples::id(n).as_bytes())));
    }
    lines.push_str(&format!("overlay=\"{}\"\n", quoted(samples::overlay().as_bytes())));
    for (name, number) in
        [("u16", &[251, 255, 255][..]), ("u32", &[252, 255, 255, 255, 255]), ("u64", &[253; 9])]
    {
        let mut bytes = number.to_vec();
        bytes[1..].fill(0xff);
        lines.push_str(&format!("{name}_max=\"{}\"\n", quoted(&bytes)));
    }
    std::fs::write(folder().join("ids.dict"), lines).expect("the dictionary is written");
}

fn codec_types() {
    let nested = BTreeMap::from([("key".to_owned(), Some(vec![1_u64, 300, 1 << 40])), (String::new(), None)]);
    choose("codec", "nested", 0, &codec::encode(&nested));
    choose("codec", "value", 1, &codec::encode(&value("hello")));
    choose("codec", "key", 2, &codec::encode(&"app/greeting"));
    choose("codec", "name", 3, &codec::encode(&"ada-laptop"));
    choose("codec", "overlay-name", 4, &codec::encode(&"home2"));
    choose("codec", "address", 5, &codec::encode(&samples::address(2)));
    let six: chinwag_base::Address = "/ip6/fd00::2/tcp/7171".parse().expect("an address");
    choose("codec", "address-6", 5, &codec::encode(&six));
    choose("codec", "grant-of-root", 6, &codec::encode(&samples::grant(ME)));
    choose("codec", "grant-of-admin", 6, &codec::encode(&samples::grant(2)));
    let ids = (samples::replica(2), NOW, chinwag_base::Role::Member, Some(samples::digest(1)));
    choose("codec", "ids", 7, &codec::encode(&ids));
    let signed = (samples::id(2), samples::overlay(), samples::keypair(2).sign(b"words"));
    choose("codec", "signature", 8, &codec::encode(&signed));
    let rows = vec![("a".to_owned(), Some(7_u64), vec![value("x"), value("")]); 3];
    choose("codec", "rows", 9, &codec::encode(&rows));
}

fn replicated() {
    choose("crdt", "clock", 0, &codec::encode(&samples::clock()));
    let (entries, replica) = samples::entries();
    choose("crdt", "clock-of-one", 0, &codec::encode(replica.clock()));
    let dots: chinwag_crdt::Dots =
        [1, 2, 3, 900].into_iter().map(|counter| Dot::new(samples::replica(2), counter)).collect();
    choose("crdt", "dots", 1, &codec::encode(&dots));
    let mut spans = Spans::default();
    for counter in [1, 2, 3, 9, 10, 700] {
        spans.insert(Dot::new(samples::replica(2), counter));
    }
    choose("crdt", "spans", 2, &codec::encode(&spans));
    let mut all = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let bytes = codec::encode(entry);
        choose("crdt", &format!("entry-{n}"), 3, &bytes);
        all.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        all.extend_from_slice(&bytes);
    }
    choose("crdt", "replica", 4, &all);
}

fn some_cells() -> [Cell; 3] {
    let dot = |n, counter| Dot::new(samples::replica(n), counter);
    let plan = |cell: &Cell, edit: Edit, dot, expires| {
        let change = cell.plan(&edit, dot, Hlc::new(NOW.unix_ms(), 0), expires).expect("the edits fit");
        let mut cell = cell.clone();
        cell.join(&change).expect("small cells");
        cell
    };
    let register = plan(&Cell::new(), Edit::Set(value("blue")), dot(2, 1), None);
    let set = plan(&Cell::new(), Edit::Add(value("apple")), dot(3, 1), Some(NOW.plus_ms(9_000)));
    let set = plan(&set, Edit::Add(value("pear")), dot(2, 7), None);
    let deleted = plan(&register, Edit::Delete, dot(3, 4), None);
    [register, set, deleted]
}

fn some_records() -> Vec<Record> {
    let key = || "app/config".parse().expect("a key");
    let cells = some_cells().into_iter().map(|cell| Record::cell(key(), cell, samples::id(2), NOW));
    cells.chain([Record::blob(*b"a blob's bytes", samples::id(2), NOW)]).collect()
}

fn held(record: Record) -> Held {
    Held::of(record.validate(NOW).expect("a sample is valid")).0
}

fn records() {
    for (n, record) in some_records().into_iter().enumerate() {
        choose("records", &format!("key-{n}"), 0, &record.key.to_bytes());
        choose("records", &format!("record-{n}"), 3, &codec::encode(&record));
        let put = chinwag_dht::Message::Put {
            question: chinwag_dht::Question(7),
            record: record.clone(),
            passed_on: n % 2 == 0,
        };
        choose("records", &format!("message-{n}"), 5, &codec::encode(&put));
        choose("records", &format!("held-{n}"), 4, &codec::encode(&held(record)));
    }
    let cells = some_cells();
    choose("records", "context", 1, &codec::encode(cells[1].context()));
    for (n, (one, other)) in [(0, 1), (0, 2), (1, 1)].into_iter().enumerate() {
        let (one, other) = (codec::encode(&cells[one]), codec::encode(&cells[other]));
        let both = [&(one.len() as u16).to_le_bytes()[..], &one, &other].concat();
        choose("records", &format!("cells-{n}"), 2, &both);
    }
}

fn texts() {
    for (name, text) in [
        ("name", "ada-laptop"),
        ("overlay", "home2"),
        ("key", "app/größe"),
        ("id", &samples::id(2).to_string()),
        ("hash", &chinwag_dht::BlobHash::of(b"x").to_string()),
        ("digest", &samples::digest(1).to_string()),
        ("address", "/ip4/192.168.1.20/udp/7171/quic-v1"),
        ("address-6", "/ip6/fd00::2/tcp/7171"),
        ("wait", "majority"),
        ("number", "17"),
        ("controls", "a\u{1b}[2J\u{202e}\"\\\n"),
    ] {
        write("text", name, text.as_bytes());
    }
    let token = samples::invite().to_string();
    write("invite", "token", token.as_bytes());
    write("invite", "typed", token.to_lowercase().replace('0', "o").as_bytes());
    // What stands behind the checksum, in the encoding of the codec.
    let places: Vec<(std::net::SocketAddr, bool, bool)> = vec![
        (([192, 168, 1, 20], 7171).into(), true, true),
        ((std::net::Ipv6Addr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]), 7171).into(), false, true),
    ];
    let payload = (samples::overlay(), samples::id(ME), [5_u8; 16], NOW, places);
    write("invite", "payload", &codec::encode(&payload));

    write(
        "sse",
        "event",
        b"\x05event: change\ndata: {\"key\":\"k\"}\n\n: alive\n\ndata: a\r\ndata:b\r\rid: 7\n\n",
    );
    write("sse", "mark", "\u{1}\u{feff}data:  two\n\ndata\n\n".as_bytes());
    for (n, (pattern, key)) in
        [("greet*", "greeting"), ("app/*/na?e", "app/a/b/name"), ("*a*b?", "aaabbb"), ("größe", "größe")]
            .into_iter()
            .enumerate()
    {
        write("glob", &format!("pattern-{n}"), format!("{pattern}\n{key}").as_bytes());
    }

    use chinwag_api::client::file::manifest::{Child, MAGIC, Manifest, full};
    let child = |n: u8, len| Child { hash: chinwag_api::BlobHash::from_bytes([n; 32]), len };
    for (name, height, children) in [
        ("empty", 0, vec![]),
        ("chunk", 0, vec![child(1, 5)]),
        ("chunks", 0, vec![child(1, full(0)), child(2, full(0)), child(3, 77)]),
        ("tall", 2, vec![child(1, full(2)), child(2, 1)]),
    ] {
        let blob = Manifest::new(height, children).expect("a manifest").to_blob();
        write("manifest", name, &blob[MAGIC.len()..]);
    }
}

fn json() {
    let id = samples::id(2);
    let texts: &[(u8, &str, &str)] = &[
        (
            0,
            "write",
            r#"{"ops":[{"op":"set","key":"k","value":"v"},{"op":"set","key":"b","value_base64":"/wA="},{"op":"del","key":"k","kind":"set"},{"op":"incr","key":"c","by":-3},{"op":"add","key":"s","elements":["a",{"base64":"/w=="}]},{"op":"rm","key":"s","elements":[]}],"wait":"majority","timeout_ms":500}"#,
        ),
        (0, "write-two", r#"{"ops":[],"wait":2}"#),
        (
            1,
            "dht-set",
            r#"{"op":"set","key":"app/config","value":"blue","expires_ms":9000,"quorum":2,"trace":true}"#,
        ),
        (1, "dht-del", r#"{"op":"del","key":"app/config"}"#),
        (2, "init", r#"{"name":"home"}"#),
        (3, "invite", r#"{"uses":3,"expires_s":600,"role":"reader"}"#),
        (4, "join", r#"{"token":"cw1home-AAAA","merge":true,"timeout_ms":9}"#),
        (
            6,
            "failure",
            r#"{"schema":"chinwag.error/1","kind":"not_found","message":"there is no key k","because":["why"],"try":["this"],"exit":1}"#,
        ),
        (7, "cell", r#"{"key":"k","kind":"register","value":"v","siblings":[]}"#),
        (8, "keys", r#"{"keys":[{"key":"k","kind":"register","value":"v"}],"next":"k"}"#),
        (22, "bytes", r#"["a",{"base64":"/w=="}]"#),
        (23, "hex", r#""9c1fa07e9c1fa07e9c1fa07e9c1fa07e""#),
    ];
    for (which, name, text) in texts {
        choose("json", name, *which, text.as_bytes());
    }
    let written = chinwag_api::WriteReply {
        token: chinwag_api::Token("00".into()),
        holders: 2,
        of: 3,
        met: true,
        after_ms: 1.25,
        results: vec![
            chinwag_api::Outcome::Set { key: "k".into(), value: "v".into() },
            chinwag_api::Outcome::Add { key: "s".into(), added: 1, size: 2 },
        ],
    };
    choose("json", "written", 14, chinwag_api::to_json(&written).as_bytes());
    let failure = chinwag_api::Failure::new(chinwag_api::Kind::BadRequest, "no").because("why").hint("this");
    choose("json", "failure-real", 6, chinwag_api::to_json(&failure).as_bytes());
    let entry = chinwag_api::runtime::Entry {
        name: "ada".parse().expect("a name"),
        pid: 7,
        socket: "/run/chinwag/ada.sock".into(),
        data: "/var/lib/chinwag".into(),
        overlay: Some(samples::overlay().into()),
        id,
        addresses: vec![samples::address(2)],
    };
    choose("json", "entry", 21, chinwag_api::to_json(&entry).as_bytes());
    let joined = chinwag_api::JoinReply {
        overlay: chinwag_api::Overlay {
            name: "home".parse().expect("a name"),
            id: samples::overlay().into(),
        },
        through: chinwag_api::Through { name: "ada".into(), address: Some(samples::address(2)) },
        after_ms: 4,
        members: 2,
        keys: 0,
    };
    choose("json", "joined", 16, chinwag_api::to_json(&joined).as_bytes());
}

#[cfg(feature = "daemon")]
mod daemon {
    use super::*;
    use chinwag_base::WallTime;
    use chinwag_daemon::fuzzing;
    use chinwag_membership::Standing;

    pub(super) fn seeds() {
        let grant = samples::grant(2);
        // Versions, overlay, instance, proof, clock; and an answer. Both types are the daemon's own.
        let hello = codec::encode(&(1_u16, 1_u16, samples::overlay(), 7_u64, (0_u8, &grant), Some(NOW)));
        write("admission", "hello", &hello);
        let joiner =
            codec::encode(&(1_u16, 1_u16, samples::overlay(), 7_u64, (1_u8, [5_u8; 16]), None::<WallTime>));
        write("admission", "joiner", &joiner);
        let welcome = codec::encode(&(0_u8, 1_u16, 7_u64, &grant, Some(&grant), NOW));
        write("admission", "welcome", &welcome);
        write("admission", "refused", &codec::encode(&(1_u8, 7_u8, 1_u16, 9_u16)));
        write("admission", "other", b"\x13/multistream/1.0.0\n");
        for (name, bytes) in [("hello", &hello), ("joiner", &joiner), ("welcome", &welcome)] {
            let head = [&(bytes.len() as u32 + 8).to_be_bytes()[..], b"chinwag\x01", bytes].concat();
            assert!(fuzzing::admission(&head).iter().any(Option::is_some), "{name} is one");
        }

        let frames = [&[3, 0, 0, 0, 2][..], b"ab", &[0, 0, 0, 1, 7], &[0; 4]].concat();
        write("lane", "frames", &frames);
        write("lane", "long", &[&[200, 0, 0, 2, 0][..], &[9; 512], &[0, 0, 0, 9, 1]].concat());

        let addresses = vec![samples::address(2), "/ip4/192.168.1.2/tcp/7171".parse().expect("an address")];
        write(
            "mdns",
            "announcement",
            &fuzzing::mdns_announcement(samples::overlay(), samples::id(2), addresses),
        );
        write("mdns", "question", &fuzzing::mdns_question(samples::overlay()));
        write("mdns", "quic", b"\x80\0\0\0\0\x088 bytes.\0\0\0\x01");

        for (n, entry) in samples::entries().0.iter().enumerate().step_by(3) {
            choose("rows", &format!("entry-{n}"), 0, &codec::encode(entry));
            let row = chinwag_crdt::Row::Write(std::sync::Arc::new(entry.clone()));
            choose("rows", &format!("log-{n}"), 6, &codec::encode(&(n as u64 + 1, row)));
        }
        choose("rows", "member", 1, &codec::encode(&samples::record(2, 3, 1, Standing::Alive)));
        let invite = (chinwag_base::Role::Member, NOW, 3_u32, vec![samples::id(3)]);
        choose("rows", "invite", 2, &codec::encode(&invite));
        for (n, record) in some_records().into_iter().enumerate() {
            choose("rows", &format!("record-{n}"), 3, &codec::encode(&held(record)));
        }
        let peer = samples::id(2).to_peer_id_bytes();
        let guest =
            [&NOW.unix_ms().to_be_bytes()[..], &[peer.len() as u8], &peer, &[4, 10, 0, 0, 1], b"a blob"]
                .concat();
        choose("rows", "guest", 4, &guest);
        let papers = fuzzing::Papers { name: "home".parse().expect("a name"), grant };
        choose("rows", "papers", 5, fuzzing::papers_text(&papers).as_bytes());

        let text = "name = 'ada'\nlisten = ['[::1]:0', '/ip4/127.0.0.1/tcp/7171']\nopen = ['127.0.0.1']\n\
                    profile = 'fast'\nmdns = false\nlog = 'info'\nlog_format = 'json'\n";
        choose("config", "file", 0, text.as_bytes());
        choose("config", "typo", 0, b"lisen = 7\n");
        for (n, text) in ["127.0.0.1:0", "[::1]", "9000", "/ip4/127.0.0.1/tcp/7171", "info,chinwag=debug"]
            .into_iter()
            .enumerate()
        {
            choose("config", &format!("listen-{n}"), 1, text.as_bytes());
        }
        let named = Some((samples::replica(2), 3_u64, 9_u64));
        let token: String = codec::encode(&named).iter().map(|byte| format!("{byte:02x}")).collect();
        choose("config", "token", 2, token.as_bytes());
        choose(
            "config",
            "query",
            3,
            b"pattern=gr*&limit=5&after=a%2Fb&siblings&trace=true&quorum=2&timeout_ms=9",
        );
    }
}
