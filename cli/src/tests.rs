//! Commands against a daemon that says what the test wants.
