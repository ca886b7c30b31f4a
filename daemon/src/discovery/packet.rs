//! The two messages of multicast discovery, in the DNS format: a question, and the answer that announces a member.
//!
//! They follow libp2p's specification of discovery over mDNS (`discovery/mdns.md`), which is DNS-SD (RFC 6763) on
//! multicast DNS (RFC 6762) with a TXT record of multiaddrs. From it we take the name for private networks: the service is
//! `_p2p-FINGERPRINT._udp.local`, with a hash of the overlay's id, so that neither other overlays nor other libp2p
//! programs answer, and none of them needs to be dialled to find that out.
//!
//! Whoever is on the same network can send these bytes. So the reader is total: it follows compression pointers backwards
//! only, reads a bounded number of records, and gives nothing for what it does not understand.

use chinwag_base::limits::{LAN_ADDRESSES_MAX, LAN_RECORDS_MAX};
use chinwag_base::{Address, Digest, NodeId, OverlayId};

const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// In an answer: older records of this name are wrong. In a question: the answer may come by unicast.
const CLASS_FLAG: u16 = 0x8000;
const FLAG_RESPONSE: u16 = 0x8000;
/// A response by whoever owns the name.
const FLAGS_ANSWER: u16 = 0x8400;
/// How long others may believe an answer, in seconds: what RFC 6762, section 10, has for records that name a host.
const TTL_S: u32 = 120;
/// A name has at most so many bytes (RFC 1035, section 3.1).
const NAME_BYTES_MAX: usize = 255;
/// A label and a text have a length of one byte; the two highest bits of a label's mark a pointer.
const LABEL_BYTES_MAX: usize = 63;
const ATTRIBUTE: &str = "dnsaddr=";

/// The service of one overlay, as a DNS name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service(Vec<Vec<u8>>);

impl Service {
    /// The overlay's name on the network: whoever knows the overlay's id can make it, and nobody can tell the id from it.
    pub(crate) fn of(overlay: OverlayId) -> Self {
        let fingerprint = Digest::of("chinwag lan 1", overlay.as_bytes()).to_bytes();
        let first = format!("_p2p-{}", crate::home::hex(&fingerprint));
        Service(vec![first.into_bytes(), b"_udp".to_vec(), b"local".to_vec()])
    }

    /// `_p2p-FINGERPRINT._udp.local`.
    pub(crate) fn name(&self) -> String {
        self.0.iter().map(|label| String::from_utf8_lossy(label)).collect::<Vec<_>>().join(".")
    }
}

/// What a packet of our service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Who is there?
    Question,
    /// This member is, at these addresses.
    Announcement(Announcement),
}

/// A member on this network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) peer: NodeId,
    pub(crate) addresses: Vec<Address>,
}

/// The question for a service's members.
pub(crate) fn question(service: &Service) -> Vec<u8> {
    let mut bytes = header(0, 1, 0, 0);
    push_name(&mut bytes, &service.0);
    push_u16(&mut bytes, TYPE_PTR);
    push_u16(&mut bytes, CLASS_IN);
    bytes
}

/// The answer. `instance` is a word of this process life that says nothing else.
pub(crate) fn announcement(service: &Service, instance: &str, announced: &Announcement) -> Vec<u8> {
    let mut owner = vec![instance.as_bytes().to_vec()];
    owner.extend_from_slice(&service.0);
    let mut target = Vec::new();
    push_name(&mut target, &owner);
    let mut texts = Vec::new();
    for address in announced.addresses.iter().take(LAN_ADDRESSES_MAX) {
        let text = format!("{ATTRIBUTE}{address}/p2p/{}", announced.peer);
        texts.push(u8::try_from(text.len()).expect("short, because an address and an id are"));
        texts.extend_from_slice(text.as_bytes());
    }
    let mut bytes = header(FLAGS_ANSWER, 0, 1, 1);
    push_record(&mut bytes, &service.0, TYPE_PTR, CLASS_IN, &target);
    push_record(&mut bytes, &owner, TYPE_TXT, CLASS_IN | CLASS_FLAG, &texts);
    bytes
}

fn header(flags: u16, questions: u16, answers: u16, additional: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    for word in [0, flags, questions, answers, 0, additional] {
        push_u16(&mut bytes, word);
    }
    bytes
}

fn push_u16(bytes: &mut Vec<u8>, word: u16) {
    bytes.extend_from_slice(&word.to_be_bytes());
}

fn push_name(bytes: &mut Vec<u8>, labels: &[Vec<u8>]) {
    for label in labels {
        debug_assert!(!label.is_empty() && label.len() <= LABEL_BYTES_MAX);
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
}

fn push_record(bytes: &mut Vec<u8>, owner: &[Vec<u8>], kind: u16, class: u16, data: &[u8]) {
    push_name(bytes, owner);
    push_u16(bytes, kind);
    push_u16(bytes, class);
    bytes.extend_from_slice(&TTL_S.to_be_bytes());
    push_u16(bytes, u16::try_from(data.len()).expect("short, because the addresses are few"));
    bytes.extend_from_slice(data);
}

/// What a packet says of this service; nothing if it is about something else, or broken.
pub(crate) fn read(bytes: &[u8], service: &Service) -> Option<Message> {
    let mut reader = Reader { bytes, at: 0 };
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    // A name that is not ours is the usual case, and costs no more than a search of the packet's bytes.
    if !contains_ignoring_case(bytes, &service.0[0]) {
        return None;
    }
    if flags & FLAG_RESPONSE == 0 {
        for _ in 0..usize::from(counts[0]).min(LAN_RECORDS_MAX) {
            let name = reader.name()?;
            let kind = reader.u16()?;
            let class = reader.u16()? & !CLASS_FLAG;
            if name == service.0 && [TYPE_PTR, TYPE_ANY].contains(&kind) && class == CLASS_IN {
                return Some(Message::Question);
            }
        }
        return None;
    }
    for _ in 0..usize::from(counts[0]).min(LAN_RECORDS_MAX) {
        reader.name()?;
        reader.take(4)?;
    }
    let records: usize = counts[1..].iter().map(|&n| usize::from(n)).sum();
    let mut addresses = Vec::new();
    let mut peer = None;
    for _ in 0..records.min(LAN_RECORDS_MAX) {
        let record = reader.record()?;
        // An instance of our service: one label before its name. Time zero takes a name back.
        let ours = record.owner.len() == 4 && record.owner[1..] == service.0[..];
        if record.kind != TYPE_TXT || !ours || record.ttl_s == 0 {
            continue;
        }
        for (of, address) in texts(record.data).filter_map(address_in) {
            // One member speaks for itself only.
            if *peer.get_or_insert(of) == of
                && addresses.len() < LAN_ADDRESSES_MAX
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
    }
    Some(Message::Announcement(Announcement { peer: peer?, addresses }))
}

fn contains_ignoring_case(bytes: &[u8], label: &[u8]) -> bool {
    bytes.windows(label.len()).any(|window| window.eq_ignore_ascii_case(label))
}

/// The strings of a TXT record, as far as they go.
fn texts(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, rest) = data.split_first()?;
        let text = rest.get(..usize::from(len))?;
        data = &rest[usize::from(len)..];
        Some(text)
    })
}

/// `dnsaddr=/ip4/192.168.1.20/tcp/7171/p2p/12D3KooW…`. What no other machine could use is left out.
fn address_in(text: &[u8]) -> Option<(NodeId, Address)> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(ATTRIBUTE)?;
    let (address, peer) = text.rsplit_once("/p2p/")?;
    let (address, peer): (Address, NodeId) = (address.parse().ok()?, peer.parse().ok()?);
    let ip = address.socket.ip();
    let usable = !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !address.is_link_local();
    (usable && address.socket.port() != 0).then_some((peer, address))
}

struct Record<'a> {
    owner: Vec<Vec<u8>>,
    kind: u16,
    ttl_s: u32,
    data: &'a [u8],
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let owner = self.name()?;
        let kind = self.u16()?;
        let _class = self.u16()?;
        let ttl = self.take(4)?;
        let ttl_s = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
        let len = self.u16()?;
        Some(Record { owner, kind, ttl_s, data: self.take(usize::from(len))? })
    }

    /// A name in lower case. Each pointer must lead to before the part that it stands in, so the reading ends.
    fn name(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut labels = Vec::new();
        let mut length = 0;
        let mut part = Reader { bytes: self.bytes, at: self.at };
        let mut start = self.at;
        let mut end = None;
        loop {
            let len = usize::from(part.take(1)?[0]);
            match len {
                0 => break,
                1..=LABEL_BYTES_MAX => {
                    length += len + 1;
                    if length > NAME_BYTES_MAX {
                        return None;
                    }
                    labels.push(part.take(len)?.to_ascii_lowercase());
                }
                0xc0.. => {
                    let target = (len & 0x3f) << 8 | usize::from(part.take(1)?[0]);
                    end.get_or_insert(part.at);
                    if target >= start {
                        return None;
                    }
                    start = target;
                    part.at = target;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(part.at);
        Some(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Keypair;
    use proptest::prelude::*;

    fn service(n: u8) -> Service {
        Service::of(OverlayId::from_bytes([n; 16]))
    }

    fn announced() -> Announcement {
        Announcement {
            peer: Keypair::from_secret([7; 32]).id(),
            addresses: ["/ip4/192.168.1.20/tcp/7171", "/ip4/192.168.1.20/udp/7171/quic-v1"]
                .map(|a| a.parse().unwrap())
                .to_vec(),
        }
    }

    #[test]
    fn what_is_said_is_understood_by_its_own_overlay_alone() {
        let packet = announcement(&service(1), "word", &announced());
        assert_eq!(read(&packet, &service(1)), Some(Message::Announcement(announced())));
        assert_eq!(read(&packet, &service(2)), None);
        assert_eq!(read(&question(&service(1)), &service(1)), Some(Message::Question));
        assert_eq!(read(&question(&service(1)), &service(2)), None);
    }

    #[test]
    fn nothing_but_a_hash_of_the_overlay_is_told() {
        let overlay = OverlayId::from_bytes(*b"an overlay's id.");
        let name = Service::of(overlay).name();
        assert!(name.starts_with("_p2p-") && name.ends_with("._udp.local"), "{name}");
        assert!(!name.contains(&overlay.to_string()), "{name}");
        assert_ne!(Service::of(overlay), service(1));
        let packet = announcement(&Service::of(overlay), "word", &announced());
        let id = overlay.to_string();
        assert!(
            !contains_ignoring_case(&packet, id.as_bytes())
                && !contains_ignoring_case(&packet, overlay.as_bytes())
        );
        assert!(packet.len() < 512, "{} bytes", packet.len());
    }

    #[test]
    fn the_largest_announcement_fits_one_ethernet_frame() {
        let address =
            |n| format!("/ip6/fd00:ffff:ffff:ffff:ffff:ffff:ffff:fff{n}/udp/65535/quic-v1").parse().unwrap();
        let many = Announcement { addresses: (0..9).map(address).collect(), ..announced() };
        let packet = announcement(&service(1), &"i".repeat(32), &many);
        assert!(packet.len() <= 1_400, "{}", packet.len());
        let Some(Message::Announcement(read)) = read(&packet, &service(1)) else { panic!("not read") };
        assert_eq!(read.addresses, many.addresses[..LAN_ADDRESSES_MAX]);
    }

    #[test]
    fn pointers_are_followed_backwards_only() {
        // A question whose name is "_p2p-…" and then a pointer, as other programs write it.
        let ours = service(1);
        let mut packet = header(0, 2, 0, 0);
        let at = packet.len();
        push_name(&mut packet, &ours.0);
        packet.extend_from_slice(&[0, 1, 0, 1]);
        let pointer = packet.len();
        packet.extend_from_slice(&[0xc0, at as u8, 0, 12, 0x80, 1]);
        assert_eq!(read(&packet, &ours), Some(Message::Question));
        packet[pointer + 1] = pointer as u8;
        assert_eq!(read(&packet, &ours), None, "to itself");
        packet[pointer + 1] = pointer as u8 + 4;
        assert_eq!(read(&packet, &ours), None, "forwards");
    }

    #[test]
    fn a_member_speaks_for_itself_and_for_addresses_that_others_can_use() {
        let other = Keypair::from_secret([8; 32]).id();
        let me = announced().peer;
        let mut data = Vec::new();
        for text in [
            "something=else".to_owned(),
            format!("dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/{me}"),
            format!("dnsaddr=/ip6/fe80::1/tcp/1/p2p/{me}"),
            format!("dnsaddr=/ip4/10.0.0.1/tcp/0/p2p/{me}"),
            format!("dnsaddr=/ip4/10.0.0.1/tcp/1/p2p/{me}"),
            format!("dnsaddr=/ip4/10.0.0.2/tcp/1/p2p/{other}"),
            "dnsaddr=/ip4/10.0.0.1/tcp/1".to_owned(),
        ] {
            data.push(text.len() as u8);
            data.extend_from_slice(text.as_bytes());
        }
        let mut owner = vec![b"x".to_vec()];
        owner.extend_from_slice(&service(1).0);
        let mut packet = header(FLAGS_ANSWER, 0, 1, 0);
        push_record(&mut packet, &owner, TYPE_TXT, CLASS_IN, &data);
        let expected = Announcement { peer: me, addresses: vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()] };
        assert_eq!(read(&packet, &service(1)), Some(Message::Announcement(expected)));
        // The same, taken back.
        let mut packet = header(FLAGS_ANSWER, 0, 1, 0);
        push_name(&mut packet, &owner);
        packet.extend_from_slice(&[0, 16, 0, 1, 0, 0, 0, 0]);
        push_u16(&mut packet, data.len() as u16);
        packet.extend_from_slice(&data);
        assert_eq!(read(&packet, &service(1)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), ours: bool) {
            if ours {
                // Far enough to pass the search for the name.
                bytes.extend_from_slice(&service(1).0[0]);
            }
            let _ = read(&bytes, &service(1));
        }

        #[test]
        fn a_damaged_announcement_is_read_or_refused(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
            let mut packet = announcement(&service(1), "word", &announced());
            let len = packet.len();
            packet[at % len] = byte;
            packet.truncate(len - cut % len);
            let _ = read(&packet, &service(1));
        }
    }
}
