use super::Context;
use crate::End;
use crate::args::Cli;
use crate::daemon;
use chinwag_api::Exit;
use clap::CommandFactory as _;
use std::path::{Path, PathBuf};

/// Write the manual pages, one a command
///
/// For whoever makes a package. They are made from the same text as `--help`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write them into this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ManArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        write(&self.out).map_err(|error| {
            chinwag_api::Failure::new(
                chinwag_api::Kind::Permission,
                format!("cannot write the manual pages to {}", self.out.display()),
            )
            .because(error.to_string())
            .hint("--out with a directory of yours")
        })?;
        context.out.say(&format!("The manual pages are in {}.", self.out.display()))?;
        Ok(Exit::Yes)
    }
}

fn write(out: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    // Without the groups of `--help`: a page lists the commands by itself.
    clap_mangen::generate_to(Cli::command(), out)?;
    clap_mangen::generate_to(daemon::command(), out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_has_a_page_that_says_what_its_help_says() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("man");
        write(&out).unwrap();
        let written: BTreeSet<String> = std::fs::read_dir(&out)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        for sub in shown {
            let page = format!("chinwag-{}.1", sub.get_name());
            assert!(written.contains(&page), "{page} is missing from {written:?}");
            let text = std::fs::read_to_string(out.join(&page)).unwrap();
            let about = sub.get_about().unwrap().to_string();
            let first = about.split(['-', '.', '\'']).next().unwrap();
            assert!(text.contains(first), "{first:?} is missing from {page}: {text}");
        }
        assert!(written.contains("chinwag.1") && written.contains("chinwagd.1"), "{written:?}");
        assert!(!written.contains("chinwag-man.1"), "a hidden command has none");
        let daemon = std::fs::read_to_string(out.join("chinwagd.1")).unwrap();
        assert!(daemon.contains("CHINWAG_DATA"), "{daemon}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(write(&file).is_err());
    }
}
