//! How replicas meet: eager push and the anti-entropy ladder, as a pure state machine.
