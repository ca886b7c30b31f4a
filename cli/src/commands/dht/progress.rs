//! A bar for a transfer, on a terminal only.

use crate::commands::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

/// A bar on standard error; nothing where no person looks.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar for so many bytes; a count where nobody knows how many come.
    pub(super) fn new(context: &Context, bytes: Option<u64>) -> Self {
        let seen = !context.out.is_json() && std::io::stderr().is_terminal();
        let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
            None => "{spinner} {binary_bytes} {binary_bytes_per_sec}",
        };
        bar.set_style(
            ProgressStyle::with_template(template).expect("a style, because the two templates are tested"),
        );
        Bar(bar)
    }

    /// So many bytes are done.
    pub(super) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// So many of so many.
    pub(super) fn at_of(&self, bytes: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
