//! Who is alive: SWIM on ring observers with phi-accrual, as a pure state machine.
//!
//! SWIM (Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership", 2002)
//! separates failure detection, at constant cost for each member, from the spreading of what was detected. It probes
//! a given pair only once in N periods, though, so a detector of the accrual kind (Hayashibara and others, 2004),
//! which wants a history for each pair, starves on it; and heartbeats for everybody's sake cost O(N) bytes. Here:
//!
//! - **Observers** (`rings`): each member observes its successors on eight hash rings, so pairs are few and last.
//! - **Turns** (`spacing`): the *subject* spaces its observers. It is pinged about once a period, evenly.
//! - **Verified silence** (`investigation`, `verification`): a missed time-out opens an investigation. Rounds of an own
//!   probe and three fresh verifiers collect signs of life, which end it, and NACKs of distinct members, without which
//!   nobody is suspected or convicted. So a node that is itself cut off convicts nobody.
//! - **One phi** (`estimate`): `-log10(p^n + S(t))` of measured loss and of the stalls that the subject itself admits.
//! - **Refusal is not silence**: a host that answers "nothing listens here" proves a dead process, which a stopped
//!   process does not do; so a killed one is down within a second, and a stopped one has its time.
//! - **Signed records** (`record`): a member is announced, changed, refuted and retired by its own signature only.
//! - **Rumours** ([`rumour`]): what is believed of what is heard, as pure rules.
//! - **News** (`news`) rides on probes and is pushed while hot; **digests** (`exchange`) find what news missed.
//! - **Claims are checked** (`checking`): who says that a member is down is believed at once only by those who have no
//!   connection to it; the others look for themselves first, and begin so early that the claim finds them ready.
//! - **Healing** (`dialing`, `away`): whoever is down is dialled again, from a second to a minute apart, and up to ten
//!   minutes apart once it is no longer shown. Whoever comes back is told of its death, and refutes it.
//! - **Connections** (`mesh`): everybody to everybody in a small overlay, about 2K + 8 for each in a large one.
//! - **The roll** (`reach`) is called for people: who answers, and who cannot reach whom, asked of everybody at once.
//! - **Know thyself** (`ourselves`): a process that did not run voids the evidence that it was collecting, and tells
//!   others how long it is known to stall.
//!
//! # How to drive it
//!
//! One [`Membership::handle`], then [`Membership::poll_output`] until it is empty, then sleep until
//! [`Membership::next_deadline`] (then [`Input::Tick`]) or the next input. Hand in what has arrived before a `Tick`
//! that is late: only `Tick` runs timers, so that a process that was asleep reads its post before it judges.
//! Time is a [`chinwag_base::Moment`] that never goes back; randomness is the seed.
//!
//! - `Connected` comes for the first connection to a peer, `Disconnected` for the last; in between, `Send` reaches it.
//! - `Dial` ends in `Connected`, or in `DialFailed` with what the *host* did: [`DialFailure::Refused`] is evidence.
//! - Frames of other protocols are signs of life too: [`Input::Heard`].
//!
//! ```
//! # use chinwag_membership::*;
//! # use chinwag_base::*;
//! let root = Keypair::from_secret([1; 32]); // of the overlay
//! let keypair = Keypair::from_secret([2; 32]); // ours
//! let grant = Grant::by_root(&root, keypair.id(), Role::Member, WallTime::from_unix_ms(4_000_000_000_000));
//! let me = Identity {
//!     keypair,
//!     grant,
//!     name: "alpha".parse().unwrap(),
//!     generation: Generation::new(1),
//!     addresses: vec!["/ip4/10.0.0.1/tcp/7171".parse().unwrap()],
//!     tags: Default::default(),
//! };
//! let now = Moment::from_millis(1_000);
//! let config = Config::new(OverlayId::of_root(&root.id()));
//! let mut membership = Membership::new(config, me, Recovered::default(), 42, now);
//! let peer = Keypair::from_secret([3; 32]).id();
//! let addresses: Vec<Address> = vec!["/ip4/10.0.0.2/tcp/7171".parse().unwrap()];
//! membership.handle(now, Input::Seed { peer, addresses: addresses.clone() });
//! let deadline = membership.next_deadline().unwrap();
//! membership.handle(deadline, Input::Tick);
//! assert_eq!(membership.poll_output(), Some(Output::Dial { peer, addresses }));
//! ```

mod agenda;
mod away;
mod book;
mod checking;
mod config;
mod dialing;
mod estimate;
mod event;
mod evidence;
mod exchange;
mod forgetting;
mod investigation;
mod member;
mod membership;
mod merging;
mod mesh;
mod message;
mod news;
mod observation;
mod ourselves;
mod pool;
mod port;
mod reach;
mod record;
mod rings;
pub mod rumour;
mod spacing;
mod verification;
mod version;
mod view;

pub use config::{Config, Identity, Profile, Recovered};
pub use event::Event;
pub use evidence::{Evidence, Noted};
pub use forgetting::{ForgetError, Order};
pub use member::Member;
pub use membership::Membership;
pub use message::{
    Ack, Answer, Brief, Call, Claim, Finding, Found, Hello, Hindrance, Message, PARTS_BITS_MAX, Parts, Ping,
    Purpose, Report, Summary, Unheard, Update, Verdict, Verify,
};
pub use pool::RecordPool;
pub use port::{DialFailure, Input, Lost, Output, Reached};
pub use record::{INCARNATION_MAX, Record, RecordError, Standing, Statement};
pub use version::{State, Version};

#[cfg(test)]
mod harness;
#[cfg(test)]
mod scenarios;
