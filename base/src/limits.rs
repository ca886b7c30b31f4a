//! Every bound that chinwag keeps, by name and with its reason.
//!
//! A queue, map, frame or retry that a peer can feed has its bound here, so that a reader can add up what a
//! hostile peer may cost us.

/// A probe frame carries a ping or an ack with piggybacked news and must fit one Ethernet packet after framing.
pub const PROBE_FRAME_BYTES_MAX: usize = 1_200;
/// A gossip frame carries pushed deltas: one value of the largest size with its key and the dots that it removes.
pub const GOSSIP_FRAME_BYTES_MAX: usize = 128 * 1024;
/// A bulk frame carries one chunk of a reconciliation; small enough that a slow link still answers within seconds.
pub const BULK_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Keys are typed by people and sorted in memory; 512 bytes is far above any path that is still readable.
pub const KEY_BYTES_MAX: usize = 512;
/// Every member holds every value in memory, so values are small; what is larger belongs in the DHT.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// A set keeps its elements in one cell; elements are names and ids rather than documents.
pub const ELEMENT_BYTES_MAX: usize = 4 * 1024;
/// A delete of a whole set names every dot that it removes in one log entry, which must fit a bulk frame.
pub const SET_ELEMENTS_MAX: usize = 10_000;
/// Levels of fields beneath a key: each is one more name in a key's [`KEY_BYTES_MAX`], and a reader's recursion.
pub const MAP_DEPTH_MAX: usize = 8;
/// The longest time, in milliseconds, for which something is written that then goes by itself: ten years. What shall stay
/// longer is not for a time.
pub const TTL_MS_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// Fields of a map, those of its fields included. To delete a map is a batch of one write a field.
pub const MAP_FIELDS_MAX: usize = BATCH_OPS_MAX;
/// One log entry, encoded. It must fit a bulk frame beside the frame's own head.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// Dots of one replica that an encoded removal may name: bounded by the largest set and its concurrent copies.
pub const REMOVED_DOTS_MAX: usize = 4 * SET_ELEMENTS_MAX;
/// Keys, values and metadata of the whole replicated state, held in memory by each daemon. At this size it refuses
/// its own clients' writes, but for deletes. Others' writes it takes up to twice as much, because they are durable
/// elsewhere already; beyond that it takes nothing and falls behind.
pub const STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Writes and received entries that may wait for the disk before new writes are refused.
pub const STAGED_ENTRIES_MAX: usize = 8_192;
/// Bytes of entries that may wait for the disk before new writes are refused.
pub const STAGED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries in one group commit: what a disk takes in one fsync without making everyone wait for it.
pub const COMMIT_ENTRIES_MAX: usize = 4_096;
/// Bytes of entries in one group commit.
pub const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Operations in one client request.
pub const BATCH_OPS_MAX: usize = 1_024;
/// Explicit gaps that a clock has for one replica. An entry that would open a further one is not taken before others
/// have closed; a decoded clock, and what is remembered of a peer's, is rounded down (see `crdt::clock`).
pub const CLOCK_GAPS_MAX: usize = 4_096;
/// Replicas (node, generation) that a decoded clock may list; and of those that are not known here, how many are
/// remembered of one peer's clock at a time: 1.5 MiB. With more no whole cells can be told, because the clock that they are
/// under would not fit a frame; entries are met piece by piece. Twenty machines that are restarted daily have so many
/// in nine years.
pub const CLOCK_REPLICAS_MAX: usize = 65_536;
/// Gaps that are remembered of one peer's clock beyond those in our own.
pub const KNOWN_GAPS_MAX: usize = 16_384;
/// Generations of one node whose writes are taken. Each process life that writes is one, costs 24 bytes in every clock for
/// ever (`crdt::clock` says why), and a crash loop makes them by itself; a daemon that is restarted ten times a day needs four
/// years for these.
pub const GENERATIONS_PER_NODE_MAX: usize = 16_384;
/// A row of the store. The largest is a promise whose clock lists [`CLOCK_REPLICAS_MAX`] replicas: on the disk each has 45
/// bytes, where on the wire all of it fits a bulk frame.
pub const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Removed dots that a replica remembers because what they name has not come. An entry that would exceed it waits until
/// what it removes is here. More than the largest entry names, so that an entry alone always fits.
pub const DOOMED_DOTS_MAX: usize = 65_536;
/// A hybrid logical clock this far ahead of local time is kept but flagged, and does not drag the local one past it.
pub const CLOCK_AHEAD_MS_MAX: u64 = 500;
/// Dots that one read may wait for: the tokens of a few writes of the largest size, or of thousands of small ones.
pub const AWAITED_DOTS_MAX: usize = 2 * BATCH_OPS_MAX;
/// Writes of which a daemon remembers how they came, for `chinwag trace`: about a megabyte.
pub const TRACED_WRITES_MAX: usize = 4_096;
/// Traces that are drawn at once; each waits for its members' answers, two seconds at most.
pub const TRACES_OPEN_MAX: usize = 16;
/// Clients whose `--wait` is still open. Each costs a row and a scan per acknowledgement.
pub const WAITS_MAX: usize = 4_096;

/// Members in one overlay. The view holds them all.
pub const MEMBERS_MAX: usize = 10_000;
/// Verified records that nodes of one process share, so that each is checked and held once: of each member the newest
/// and the three before, which some of them still know.
pub const VERIFIED_RECORDS_MAX: usize = 4 * MEMBERS_MAX;
/// Member names are typed after `-n` and fill a table column.
pub const NAME_BYTES_MAX: usize = 63;
/// Overlay names stand inside invite tokens.
pub const OVERLAY_NAME_BYTES_MAX: usize = 24;
/// A multiaddr with two IPv6 hops and a peer id fits.
pub const ADDRESS_BYTES_MAX: usize = 160;
/// Addresses that a member advertises: two transports on a handful of interfaces.
pub const ADDRESSES_MAX: usize = 16;
/// Members about whom evidence is kept for `explain`: more than are in doubt at a time.
pub const CASES_MAX: usize = 256;
/// Evidence kept about one of them: the rounds before a verdict, and what came after it.
pub const EVIDENCE_PER_CASE_MAX: usize = 48;
/// Calls of the roll (`chinwag reach`) that a member looks into at a time: it pings everybody for each.
pub const CALLS_MAX: usize = 16;
/// The same, of one caller.
pub const CALLS_OF_ONE_MAX: usize = 2;
/// Calls that are remembered for some seconds after they were looked into, so that they are not heard twice.
pub const CALLS_REMEMBERED_MAX: usize = 256;
/// Members that one member names in its report as not heard. How many more there are, it says.
pub const UNHEARD_MAX: usize = 64;
/// Events that wait for the `on-member` command. A larger crowd that comes at once is told in part.
pub const HOOK_QUEUE_MAX: usize = 256;
/// Milliseconds between the starts of two `on-member` commands: no storm of events becomes a storm of processes.
pub const HOOK_SPACING_MS: u64 = 20;
/// Milliseconds after which an `on-member` command is killed, with all that it has started.
pub const HOOK_TIMEOUT_MS: u64 = 10_000;
/// Tags on a member (name and value are each a short word).
pub const TAGS_MAX: usize = 16;
/// Bytes of one tag's name or value.
pub const TAG_BYTES_MAX: usize = 64;
/// By how much one update may raise a member's incarnation; a larger step is refused, so that nobody can exhaust it.
pub const INCARNATION_STEP_MAX: u64 = 1 << 16;
/// Orders to forget a member that are remembered, for three days, and told at each meeting: 100 KiB. Only admins give any.
pub const FORGOTTEN_MAX: usize = 256;
/// Member records or accusations in one frame of news or view exchange; the frame's bytes bound it further.
pub const UPDATES_PER_FRAME_MAX: usize = 1_024;
/// Investigations that one node runs at a time.
pub const INVESTIGATIONS_MAX: usize = 64;
/// Probes that one node makes at a time on behalf of other investigators.
pub const VERIFICATIONS_MAX: usize = 256;
/// Dials under way at once from one node.
pub const DIALS_MAX: usize = 8;

/// Bytes that the admission exchange reads from a stranger.
pub const ADMISSION_BYTES_MAX: usize = 64 * 1024;
/// How long a stranger has to be admitted.
pub const ADMISSION_MS_MAX: u64 = 5_000;
/// Connections that are in the admission exchange at once.
pub const ADMISSIONS_MAX: usize = 32;
/// How long a refuser keeps polling the connection so that its typed refusal arrives.
pub const ADMISSION_LINGER_MS: u64 = 1_000;
/// Established connections in all; members beyond it are reached through others.
pub const CONNECTIONS_MAX: usize = 512;
/// Those of them that others may open: some are kept for members that we ourselves want.
pub const CONNECTIONS_INBOUND_MAX: usize = CONNECTIONS_MAX - CONNECTIONS_MAX / 8;
/// Established connections per peer: two dialled at the same moment, until one is chosen.
pub const CONNECTIONS_PER_PEER_MAX: usize = 3;
/// Gossip frames that wait for a slow peer; the oldest is dropped.
pub const GOSSIP_QUEUE_FRAMES_MAX: usize = 256;
/// Bytes of gossip frames that wait for a slow peer.
pub const GOSSIP_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bulk frames that wait for a slow peer; a further one is refused and the exchange is given up, or another owner is
/// asked. As many as clients' operations that may be open: a burst of small puts is no slow peer.
pub const BULK_QUEUE_FRAMES_MAX: usize = 4_096;
/// Bytes of bulk frames that wait for a slow peer: 32 of the largest records, which a slow link still moves in seconds.
pub const BULK_QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Frames that have arrived and wait for the driver, per node; beyond it reading stops.
pub const INBOX_FRAMES_MAX: usize = 1_024;
/// Frames that could not be decoded, after which the connection that brought them is closed.
pub const BAD_FRAMES_MAX: u32 = 8;

/// Invites that are open at once.
pub const INVITES_MAX: usize = 1_024;
/// Uses of one invite.
pub const INVITE_USES_MAX: u32 = 1_024;
/// A grant's life until renewal exists: one year.
pub const GRANT_LIFE_MS: u64 = 365 * 24 * 3_600 * 1_000;
/// Grants are honoured this long after their end, because clocks differ. (An invite is read by the clock that made it.)
pub const EXPIRY_TOLERANCE_MS: u64 = 5 * 60 * 1_000;

/// Bytes of one HTTP request's body: a batch of operations with its values, in JSON.
pub const API_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests that wait for the driver; beyond it the API answers "busy".
pub const API_QUEUE_MAX: usize = 1_024;
/// Events that a slow watcher may fall behind before it is told so and starts over. A reader that stands still pins
/// them all: 128 MiB if each has a value of the largest size.
pub const WATCH_QUEUE_MAX: usize = 2_048;
/// Changes that a daemon keeps for watchers who come back: some minutes of a busy overlay, hours of a quiet one.
pub const WATCH_KEPT_MAX: usize = 4_096;
/// Their bytes.
pub const WATCH_KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The bytes of a Unix socket's path that every system takes.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// One record of the DHT. What is larger is split.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Owners of one record.
pub const OWNERS_MAX: usize = 20;
/// A record from outside is kept for two days unless it is put again: a day as in Kademlia's paper, and one to miss.
pub const RECORD_LIFE_MS_MAX: u64 = 48 * 3_600 * 1_000;
/// A tombstone outlives the absence of any owner that still has what it deletes, if that is shorter than a month.
pub const TOMBSTONE_LIFE_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// What a record costs its owner beside its value, rounded up: a row of the index, its key and its place.
pub const RECORD_OVERHEAD_BYTES: usize = 256;
/// Records of which one daemon is an owner: their index is held in memory.
pub const RECORDS_MAX: usize = 1_000_000;
/// Bytes of cells and index that one owner holds in memory; a quarter of the replicated state's bound.
pub const RECORD_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of blobs that one owner holds on its disk.
pub const BLOB_STORE_BYTES_MAX: usize = 64 * 1024 * 1024 * 1024;
/// Records of one publisher at one owner: a quarter of what fits, so that nobody fills an owner alone.
pub const PUBLISHER_RECORDS_MAX: usize = RECORDS_MAX / 4;
/// Bytes of one publisher's records at one owner: a quarter of the whole, for the same reason.
pub const PUBLISHER_BYTES_MAX: usize = BLOB_STORE_BYTES_MAX / 4;
/// Live values of one cell: elements of a set, or concurrent values of a register. Each costs a dot at every owner.
pub const CELL_ITEMS_MAX: usize = 4_096;
/// Runs of one cell's causal context: process lives that have put it, and puts that overtook each other.
pub const CONTEXT_RUNS_MAX: usize = 4_096;
/// What owners join may be this many times as large as what a client may put: puts that raced for the last room were both
/// acknowledged, and owners that refused each other's could never agree.
pub const JOINED_FACTOR: usize = 2;
/// Counters that a coordinator keeps, by a key's place. Keys that share one have gaps in their contexts.
pub const COUNTERS_MAX: usize = 65_536;
/// Operations of clients that are open at once. Each holds a record and asks a handful of owners.
pub const DHT_OPERATIONS_MAX: usize = 4_096;
/// Bytes that those operations may hold.
pub const DHT_OPERATION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys whose last seen cell a coordinator remembers, so that the next put of one needs no read.
pub const SEEN_CELLS_MAX: usize = 1_024;
/// Records that wait for an owner's disk; a further put is refused.
pub const STAGED_RECORDS_MAX: usize = 4_096;
/// Bytes of records that wait for an owner's disk.
pub const STAGED_RECORD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Blobs that are being read from the disk at once; further requests are answered "busy".
pub const LOADS_MAX: usize = 256;
/// Records that one `handle` looks at when it compares what two owners share: some microseconds each.
pub const SCAN_RECORDS_MAX: usize = 256;
/// Records in one offer to another owner.
pub const OFFER_RECORDS_MAX: usize = 1_024;
/// Blobs that a Kademlia door asks the overlay for at once.
pub const SHELF_FETCHES_MAX: usize = 16;
/// Blobs that it keeps in memory after having fetched them, for whoever asks again: 8 MiB.
pub const SHELF_FETCHED_BLOBS_MAX: usize = 32;
/// Records under way to one owner in a hand-off, so that they do not fill its bulk lane.
pub const HAND_OFF_RECORDS_MAX: usize = 4;

/// Peers that a writer pushes to by itself, if they are all that there are. In a larger overlay entries travel along a
/// tree, in which no node passes them on to more than these.
pub const PUSH_PEERS_MAX: usize = 32;
/// Connections that begin as the tree's. Fewer make a deep tree, more bring more copies of the first entry.
pub const BRANCHES_AT_FIRST: usize = 12;
/// Entries that were announced and whose coming along the tree is waited for, to learn whether it does its work.
pub const AWAITED_MAX: usize = 256;
/// Peers that are asked at once for what was announced and did not come: a frame has been lost already, and the next may be.
pub const GRAFTS_AT_ONCE_MAX: usize = 3;
/// Entries in one chunk of an exchange: a quarter of a group commit, so that chunks of several peers share an fsync.
pub const CHUNK_ENTRIES_MAX: usize = 1_024;
/// Bytes of entries in one chunk (one entry may exceed it alone), so that a slow link still moves in seconds.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Chunks asked of one peer and not yet durable here: one under way while the other is at the disk.
pub const CHUNKS_PER_PEER_MAX: usize = 2;
/// Entries asked for, or waiting for the disk, beyond which no further chunk is asked for.
pub const PULL_ENTRIES_MAX: usize = 4_096;
/// Whole cells in one slice of the state; as many as an exchange's chunk has entries.
pub const SLICE_CELLS_MAX: usize = CHUNK_ENTRIES_MAX;
/// Symbols of the sketch of all cells: some 2,400 that differ are found with them. They travel in one frame.
pub const CELL_SYMBOLS_MAX: usize = 8_192;
/// Cells whose last id is remembered after they have changed: as many as change while somebody asks for those that differ.
pub const RENAMED_CELLS_MAX: usize = 4_096;
/// Cells that one question names.
pub const NAMED_CELLS_MAX: usize = 512;
/// Symbols of the sketch of a clock, the largest that is told before all of it is: some 2,500 names that differ are found
/// with them. The lives with these names fit one part of a clock, unless they have thousands of gaps; then all of it is told.
pub const NAME_SYMBOLS_MAX: usize = 4_096;
/// Bytes of one part of a clock; a larger clock travels in several parts.
pub const CLOCK_PART_BYTES_MAX: usize = 256 * 1024;
/// Parts of one report of a clock: half of what waits for a slow peer's bulk lane, and some 70,000 replicas. A larger
/// clock is told in turns, a slice in each exchange.
pub const REPORT_PARTS_MAX: usize = BULK_QUEUE_BYTES_MAX / CLOCK_PART_BYTES_MAX / 2;
/// Bytes of one acknowledgement's clock, which shares a gossip frame.
pub const ACK_BYTES_MAX: usize = 64 * 1024;
/// Runs of dots that were refused and are not asked for again for a while.
pub const REFUSED_RUNS_MAX: usize = 4_096;
/// Symbols of one sketch: 1.5 MiB in memory, from which a difference of some 48,000 decodes; a larger one travels as a
/// snapshot. Up to here the arithmetic of `crdt::sketch` fits 64 bits.
pub const SKETCH_SYMBOLS_MAX: usize = 65_536;

// Finding members on the local network.

/// Addresses in one announcement on the local network: both transports on a few ports of one interface, so that it fits
/// one Ethernet frame.
pub const LAN_ADDRESSES_MAX: usize = 8;
/// DNS records that are read of one packet. Ours has two; other programs may put theirs before it.
pub const LAN_RECORDS_MAX: usize = 64;
/// Bytes that are read of one packet: what RFC 6762, section 17, allows.
pub const LAN_PACKET_BYTES_MAX: usize = 9_000;
/// Packets that are read in a second; the system drops what is more. A busy office has some ten.
pub const LAN_PACKETS_PER_SECOND_MAX: u32 = 256;
/// Interfaces on which members are looked for.
pub const LAN_LINKS_MAX: usize = 16;
/// Those heard on the local network that are not connected, and what came of dialling them.
pub const LAN_PEERS_MAX: usize = 256;
/// Dials a minute, in all, to whom we have only heard of: enough for a room of new members, too few to harm anybody.
pub const LAN_STRANGERS_PER_MINUTE_MAX: usize = 16;

// Kademlia, among members and at the open door.
/// Walks that one node makes at a time. Each has at most one request under way on a connection, which is a substream.
pub const KAD_WALKS_MAX: usize = 4;
/// One message of Kademlia: a record of the largest size beside twenty peers with all their addresses.
pub const KAD_MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;
/// Keys of which a node remembers who provides them. At 20 providers with 16 addresses each, some 50 MiB at worst.
pub const KAD_PROVIDED_KEYS_MAX: usize = 1_024;
/// Providers remembered of one key: the k of Kademlia's paper, more than anybody asks.
pub const KAD_PROVIDERS_PER_KEY_MAX: usize = 20;
/// Keys that one peer may say it provides, so that no single peer fills the table.
pub const KAD_PROVIDED_KEYS_PER_PEER_MAX: usize = KAD_PROVIDED_KEYS_MAX / 8;
/// Connections through the open door. With `DOOR_STREAMS_MAX` streams of 576 KiB (a window and a message) each, its
/// guests can make a daemon hold 288 MiB at worst.
pub const DOOR_CONNECTIONS_MAX: usize = 32;
/// Connections at the open door that are still being encrypted: a quarter of the room, so that slow ones do not fill it.
pub const DOOR_PENDING_MAX: usize = 8;
/// Connections of one guest: one, and one that replaces it.
pub const DOOR_CONNECTIONS_PER_PEER_MAX: usize = 2;
/// Connections from one IP address. A key costs a stranger nothing, an address does; a laptop's programs share one.
pub const DOOR_CONNECTIONS_PER_IP_MAX: usize = 8;
/// Substreams of one connection through the open door: identify and ping both ways, and a dozen requests at once.
pub const DOOR_STREAMS_MAX: usize = 16;
/// How long a guest that asks nothing keeps its connection, which others may wait for.
pub const DOOR_IDLE_MS_MAX: u64 = 60_000;
/// Records that came in through the open door.
pub const DOOR_RECORDS_MAX: usize = 4_096;
/// Their bytes, held in memory apart from the members' records. No member wants them, so it is what a laptop does not miss.
pub const DOOR_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records of one guest: an eighth of the room.
pub const DOOR_PEER_RECORDS_MAX: usize = DOOR_RECORDS_MAX / 8;
/// Bytes of one guest's records: an eighth of the room.
pub const DOOR_PEER_BYTES_MAX: usize = DOOR_BYTES_MAX / 8;
/// Puts through the open door within a minute: each may cost a hash of 256 KiB and a write, at twenty a second.
pub const DOOR_PUTS_PER_MINUTE_MAX: u32 = 1_200;
/// Puts of one guest within a minute: a fifth of all, some 1 MiB a second.
pub const DOOR_PEER_PUTS_PER_MINUTE_MAX: u32 = DOOR_PUTS_PER_MINUTE_MAX / 5;
/// Questions of one guest within a minute that its daemon passes on to the overlay: each costs a quorum of members.
pub const DOOR_PEER_FETCHES_PER_MINUTE_MAX: u32 = 60;
/// Questions of all guests within a minute that are passed on: what five busy ones may ask.
pub const DOOR_FETCHES_PER_MINUTE_MAX: u32 = 300;
/// Guests whose puts and questions are counted within one minute; later ones wait for the next.
pub const DOOR_METERED_MAX: usize = 1_024;

// What is asked of the records' disk and of the open door's room.

/// Blobs within a second that a Kademlia door reads from the disk while its swarm waits: at 1 ms for a read and a hash
/// of 256 KiB, a sixteenth of its time. The rest is read beside it, and found by whoever asks again.
pub const SHELF_READS_PER_SECOND_MAX: u32 = 64;
/// Questions of all guests within a minute that the door looks up: a hundred a second.
pub const DOOR_GETS_PER_MINUTE_MAX: u32 = 6_000;
/// Questions of one guest within a minute: a fifth of all.
pub const DOOR_PEER_GETS_PER_MINUTE_MAX: u32 = DOOR_GETS_PER_MINUTE_MAX / 5;
/// Bytes of blobs that go out to all guests within a minute: some 16 MiB a second, what a home's line carries at best.
pub const DOOR_SENT_BYTES_PER_MINUTE_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of blobs that go out to one guest within a minute: a quarter of all.
pub const DOOR_PEER_SENT_BYTES_PER_MINUTE_MAX: u64 = DOOR_SENT_BYTES_PER_MINUTE_MAX / 4;
/// Records of all guests from one address: what two may have. A key costs a stranger nothing, an address does.
pub const DOOR_IP_RECORDS_MAX: usize = 2 * DOOR_PEER_RECORDS_MAX;
/// Bytes of all guests' records from one address: what two may have, and a quarter of the room.
pub const DOOR_IP_BYTES_MAX: usize = 2 * DOOR_PEER_BYTES_MAX;
