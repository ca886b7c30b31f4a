//! What must hold of several memberships together, told as scenarios.

mod absence;
mod basics;
mod faults;
mod forgetting;
mod hostility;
mod scale;
