//! Whole runs: seeds that pass, hashes that stay, mutants that are caught.

mod determinism;
mod mutants;
mod seeds;
