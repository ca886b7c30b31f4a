//! One overlay node as a single state machine, and the one codec.
