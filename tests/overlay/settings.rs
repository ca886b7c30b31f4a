//! What the environment asks of the tests, and what it does not let them do.

/// Whether `CHINWAG_LONG=1` asks for the long forms.
pub(crate) fn is_long() -> bool {
    is_one("CHINWAG_LONG", "1")
}

/// Whether nothing may be skipped that this machine could do: root's tests, by root, in CI.
pub(crate) fn is_strict() -> bool {
    is_one("CI", "true") && rustix::process::geteuid().is_root()
}

/// Says why a test is skipped.
///
/// # Panics
///
/// If it must not be skipped.
#[track_caller]
pub(crate) fn skip(why: &str, must_not: bool) {
    assert!(!must_not, "this may not be skipped here: {why}");
    eprintln!("SKIPPED: {why}");
}

fn is_one(variable: &str, value: &str) -> bool {
    std::env::var_os(variable).is_some_and(|v| v == value)
}
