//! A bar for what takes its time, on a terminal only.

use crate::commands::Context;
use chinwag_base::key::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

const BYTES: &str = "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";
const COUNT: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec}";
const CELLS: &str = "{bar:30} {human_pos}/{human_len} cells from {msg}";

/// A bar on standard error; nothing where no person looks.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for so many bytes; a count where nobody knows how many come.
    pub(crate) fn new(context: &Context, bytes: Option<u64>) -> Self {
        Bar::with(context, bytes, if bytes.is_some() { BYTES } else { COUNT })
    }

    /// A bar for things that come from somebody, of which `at_of` will say how many there are.
    pub(crate) fn of_cells(context: &Context, from: &str) -> Self {
        let bar = Bar::with(context, Some(0), CELLS);
        bar.0.set_message(printable(from).into_owned());
        bar
    }

    fn with(context: &Context, len: Option<u64>, template: &str) -> Self {
        let seen = !context.out.is_json() && std::io::stderr().is_terminal();
        let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(len, target);
        bar.set_style(
            ProgressStyle::with_template(template).expect("a style, because all templates are tested"),
        );
        Bar(bar)
    }

    /// So many are done.
    pub(crate) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// So many of so many.
    pub(crate) fn at_of(&self, bytes: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for template in [BYTES, COUNT, CELLS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
