//! The peer CLI.
