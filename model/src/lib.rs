//! Model checks: the rules by which members and replicas decide, in every order of events at three nodes.
//!
//! A simulation draws runs; a model checker ([stateright](https://docs.rs/stateright)) visits *all* of them, within
//! bounds that each model states. All run the daemon's own code, not a copy of it:
//!
//! - [`rumours`]: who is believed about whom ([`chinwag_membership::rumour`]).
//! - [`deltas`]: what replicas make of log entries in any order ([`chinwag_crdt::Replica`]).
//! - [`cells`]: what they make of whole cells among the entries, in sessions that may end in the middle.
//!
//! `cargo test -p chinwag-model -- --nocapture` takes a minute and prints how many states it saw;
//! `-- --ignored --nocapture` tries longer runs, for four minutes more.
//!
//! A check that cannot fail proves nothing. So each model takes its rules as a parameter, and for each rule that
//! matters there is a *mutant*, wrong in that one place, for which the checker must find a way to break a property
//! that the test names. The sound rules pass in the same run.

pub mod cells;
pub mod check;
pub mod deltas;
pub mod papers;
pub mod rumours;
