//! Whole DHTs in virtual time.

mod hand_off;
mod operations;
mod random;
mod reading;
mod world;
