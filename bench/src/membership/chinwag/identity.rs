//! Who the members are. Keys and grants are made once for all runs of a process: they say nothing about time.

use chinwag_base::{Generation, Grant, Keypair, NodeId, OverlayId, Role, WallTime};
use chinwag_membership::Identity;
use std::collections::{BTreeMap, HashMap};

/// When the grants end, in milliseconds since 1970: after any run.
const GRANT_END_MS: u64 = 1 << 42;

/// All identities of an overlay.
#[derive(Debug)]
pub struct Identities {
    overlay: OverlayId,
    all: Vec<Identity>,
}

impl Identities {
    /// So many of them.
    pub fn new(count: usize) -> Self {
        let root = Keypair::from_secret([255; 32]);
        let identity = |n: usize| {
            let mut secret = [7; 32];
            secret[..8].copy_from_slice(&(n as u64).to_le_bytes());
            let keypair = Keypair::from_secret(secret);
            let address = format!("/ip4/10.0.{}.{}/tcp/7171", n / 256, n % 256);
            Identity {
                grant: Grant::by_root(
                    &root,
                    keypair.id(),
                    Role::Member,
                    WallTime::from_unix_ms(GRANT_END_MS),
                ),
                name: format!("node-{n}").parse().expect("a name, because it is short and plain"),
                generation: Generation::new(1),
                addresses: vec![address.parse().expect("an address, because n is below 65,536")],
                tags: BTreeMap::new(),
                keypair,
            }
        };
        Identities { overlay: OverlayId::of_root(&root.id()), all: (0..count).map(identity).collect() }
    }

    /// The overlay that they are of.
    pub fn overlay(&self) -> OverlayId {
        self.overlay
    }

    /// One of them.
    pub fn identity(&self, member: usize) -> Identity {
        self.all[member].clone()
    }

    /// Its id.
    pub fn id(&self, member: usize) -> NodeId {
        self.all[member].keypair.id()
    }

    /// Which of the first `count` has an id.
    pub fn index(&self, count: usize) -> HashMap<NodeId, usize> {
        (0..count).map(|n| (self.id(n), n)).collect()
    }
}
