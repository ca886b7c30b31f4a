//! Real records with real signatures, so that what a forgery is worth is decided by the daemon's own code.

use chinwag_base::{Generation, Grant, Incarnation, Keypair, OverlayId, PROTOCOL_VERSION, Role, WallTime};
use chinwag_membership::{Record, Standing, State, Statement, Version};
use std::collections::BTreeMap;

/// Who signs a record about the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// The subject itself.
    Subject,
    /// Another member.
    Liar,
}

/// Which records about the subject are accepted.
#[derive(Debug, Clone)]
pub struct Papers {
    overlay: OverlayId,
    grant: Grant,
    subject: Keypair,
    liar: Keypair,
    /// Verified once for all: a checker asks a million times.
    verified: BTreeMap<(Version, Signer), bool>,
}

impl Papers {
    /// The papers of one overlay, with a subject and a liar in it.
    pub fn new() -> Self {
        let [root, subject, liar] = [1, 2, 3].map(|secret| Keypair::from_secret([secret; 32]));
        let not_after = WallTime::from_unix_ms(4_000_000_000_000);
        let grant = Grant::by_root(&root, subject.id(), Role::Member, not_after);
        let overlay = OverlayId::of_root(&root.id());
        let mut papers = Papers { overlay, grant, subject, liar, verified: BTreeMap::new() };
        for (generation, incarnation) in (1..=3).flat_map(|g| (1..=8).map(move |i| (g, i))) {
            for (state, signer) in [State::Alive, State::Left]
                .into_iter()
                .flat_map(|state| [Signer::Subject, Signer::Liar].map(|signer| (state, signer)))
            {
                let (generation, incarnation) = (Generation::new(generation), Incarnation::new(incarnation));
                let version = Version { generation, incarnation, state };
                papers.verified.insert((version, signer), papers.verify(version, signer));
            }
        }
        papers
    }

    /// Whether [`Record::verify`] accepts a record of that version that `signer` signed.
    pub fn are_accepted(&self, version: Version, signer: Signer) -> bool {
        let known = self.verified.get(&(version, signer)).copied();
        known.unwrap_or_else(|| self.verify(version, signer))
    }

    fn verify(&self, version: Version, signer: Signer) -> bool {
        let statement = Statement {
            overlay: self.overlay,
            id: self.subject.id(),
            generation: version.generation,
            incarnation: version.incarnation,
            standing: if version.state == State::Left { Standing::Left } else { Standing::Alive },
            name: "subject".parse().expect("a name, because it is a short word"),
            addresses: Vec::new(),
            tags: BTreeMap::new(),
            stall_mean_ms: 0,
            protocols: (PROTOCOL_VERSION, PROTOCOL_VERSION),
        };
        let keypair = match signer {
            Signer::Subject => &self.subject,
            Signer::Liar => &self.liar,
        };
        Record::sign_statement(keypair, self.grant.clone(), statement).verify(self.overlay).is_ok()
    }
}

impl Default for Papers {
    fn default() -> Self {
        Papers::new()
    }
}
