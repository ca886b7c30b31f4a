//! Input of one JSON object a line, from a file or from standard input.

use chinwag_api::{Failure, Kind};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Lines of a file or of standard input, numbered from 1. Empty ones are passed over.
pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    number: u64,
    line_bytes_max: usize,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Which, from 1.
    pub(crate) number: u64,
    /// Its bytes, without the end of the line.
    pub(crate) bytes: Vec<u8>,
}

impl Lines {
    /// The lines of a file; without one, or with `-`, those of standard input.
    pub(crate) fn open(file: Option<&Path>, line_bytes_max: usize) -> Result<Self, Failure> {
        let file = file.filter(|file| *file != Path::new("-"));
        let (input, name): (Box<dyn BufRead>, _) = match file {
            None => (Box::new(std::io::stdin().lock()), "standard input".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|e| unreadable(&name, &e))?;
                (Box::new(BufReader::new(file)), name)
            }
        };
        Ok(Lines { input, name, number: 0, line_bytes_max })
    }

    /// The next line that is not empty.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let mut bytes = Vec::new();
            // One byte more than fits, so that what is too long is noticed and not held.
            let most = self.line_bytes_max as u64 + 1;
            let read = self.input.by_ref().take(most).read_until(b'\n', &mut bytes);
            if read.map_err(|e| unreadable(&self.name, &e))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if bytes.len() > self.line_bytes_max {
                return Err(at_line(self.number, Failure::new(Kind::TooLarge, "the line is too long"))
                    .because(format!("a line has at most {} bytes", self.line_bytes_max)));
            }
            let text = bytes.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(Line { number: self.number, bytes: text.to_vec() }));
            }
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::BadRequest, format!("cannot read {name}")).because(error.to_string())
}

/// The failure, told to be about this line.
pub(crate) fn at_line(number: u64, mut failure: Failure) -> Failure {
    failure.message = format!("line {number}: {}", failure.message);
    failure
}

/// The value of a flag or argument that names a file; `-` is standard input.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a file, or - for standard input".into()) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static [u8], max: usize) -> Lines {
        Lines { input: Box::new(text), name: "it".into(), number: 0, line_bytes_max: max }
    }

    #[test]
    fn lines_are_numbered_and_empty_ones_passed_over() {
        let mut lines = lines(b"{}\n\n  \t\r\n {\"a\":1}\r\nlast", 99);
        let line = |number, bytes: &[u8]| Some(Line { number, bytes: bytes.to_vec() });
        assert_eq!(lines.next(), Ok(line(1, b"{}")));
        assert_eq!(lines.next(), Ok(line(4, b"{\"a\":1}")));
        assert_eq!(lines.next(), Ok(line(5, b"last")), "the last line needs no end");
        assert_eq!(lines.next(), Ok(None));
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let mut lines = lines(b"ab\n0123456789", 4);
        assert_eq!(lines.next().unwrap().unwrap().number, 1);
        let failure = lines.next().unwrap_err();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (Kind::TooLarge, "line 2: the line is too long")
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(failure) = Lines::open(Some(Path::new("/nowhere/x")), 9) else { panic!("it opened") };
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::BadRequest, "cannot read /nowhere/x"));
    }
}
