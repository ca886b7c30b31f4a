//! The one place that writes: data to standard output, prose to standard error.

use anstyle::{AnsiColor, Style};
use chinwag_api::{Failure, Schema, to_json};
use chinwag_base::key::{is_unprintable, printable};
use std::io::{self, IsTerminal as _, Write};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It is as it should be.
    Good,
    /// Somebody should look.
    Warning,
    /// It is broken.
    Bad,
    /// The heading of a table.
    Heading,
    /// It matters less.
    Faint,
    /// One of several sources, told apart by colour.
    Source(usize),
}

impl Tone {
    fn style(self) -> Style {
        const SOURCES: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Magenta,
            AnsiColor::Yellow,
            AnsiColor::Green,
            AnsiColor::Blue,
            AnsiColor::BrightRed,
        ];
        let color = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
        match self {
            Tone::Good => color(AnsiColor::Green),
            Tone::Warning => color(AnsiColor::Yellow),
            Tone::Bad => color(AnsiColor::Red).bold(),
            Tone::Heading => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Source(number) => color(SOURCES[number % SOURCES.len()]),
        }
    }
}

/// Where a command writes.
pub(crate) struct Output {
    data: Box<dyn Write + Send>,
    prose: Box<dyn Write + Send>,
    color_data: bool,
    color_prose: bool,
    json: bool,
}

impl Output {
    /// Standard output and standard error.
    pub(crate) fn standard(json: bool, color: Color) -> Self {
        let colored = |is_terminal: bool, choice: anstream::ColorChoice| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && choice != anstream::ColorChoice::Never,
        };
        let (data, prose) = (io::stdout(), io::stderr());
        Output {
            color_data: colored(data.is_terminal(), anstream::AutoStream::choice(&data)),
            color_prose: colored(prose.is_terminal(), anstream::AutoStream::choice(&prose)),
            data: Box::new(data),
            prose: Box::new(prose),
            json,
        }
    }

    #[cfg(test)]
    pub(crate) fn to(
        data: impl Write + Send + 'static,
        prose: impl Write + Send + 'static,
        json: bool,
    ) -> Self {
        Output { data: Box::new(data), prose: Box::new(prose), color_data: false, color_prose: false, json }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A line of data.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Bytes of data, exactly these.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all(bytes)?;
        self.data.flush()
    }

    /// A reply as one JSON object.
    pub(crate) fn json<T: Schema>(&mut self, reply: &T) -> io::Result<()> {
        self.line(&json(reply))
    }

    /// A line of prose. With `--json` nobody reads it.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.prose(text) }
    }

    /// A line on standard error, whoever reads.
    pub(crate) fn prose(&mut self, text: &str) -> io::Result<()> {
        self.prose.write_all(format!("{text}\n").as_bytes())?;
        self.prose.flush()
    }

    /// Text for [`Self::line`] in its tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        painted(self.color_data, tone, text)
    }

    /// Text for [`Self::say`] in its tone.
    pub(crate) fn paint_prose(&self, tone: Tone, text: &str) -> String {
        painted(self.color_prose, tone, text)
    }

    /// An error: what, why, and what to try.
    pub(crate) fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        if self.json {
            return self.prose(&json(failure));
        }
        let mut text = format!("{} {}", self.paint_prose(Tone::Bad, "error:"), printable(&failure.message));
        for why in &failure.because {
            text += &format!("\n  {}", printable(why));
        }
        if !failure.tries.is_empty() {
            let tries: Vec<String> = failure.tries.iter().map(|t| printable(t).into_owned()).collect();
            text += &format!("\n  {} {}", self.paint_prose(Tone::Heading, "try:"), tries.join("    or: "));
        }
        self.prose(&text)
    }
}

/// A reply as JSON, with all escaped that could steer a terminal. JSON itself asks it of the oldest control characters
/// only. What is to be escaped stands in strings, so it means the same.
pub(crate) fn json<T: Schema>(reply: &T) -> String {
    let text = to_json(reply);
    if !text.contains(is_unprintable) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn painted(color: bool, tone: Tone, text: &str) -> String {
    let style = tone.style();
    if color { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
