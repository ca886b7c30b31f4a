use super::Context;
use crate::End;
use crate::complete::REQUEST_ENV;
use chinwag_api::Exit;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use std::path::Path;

/// The name that is completed.
const PROGRAM: &str = "chinwag";

/// Print the script that makes TAB complete commands, keys and names
///
/// bash: source <(chinwag completions bash)    in ~/.bashrc
///
/// zsh:  source <(chinwag completions zsh)     in ~/.zshrc, after compinit
///
/// fish: chinwag completions fish | source     in ~/.config/fish/config.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionsArgs {
    /// Whose
    shell: Shell,
}

/// A shell that can be taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionsArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let called = std::env::args().next().unwrap_or_default();
        let script = script(self.shell, &program(&called))?;
        context.out.raw(&script)?;
        Ok(Exit::Yes)
    }
}

/// What the script runs: the program that is found in `PATH`, unless this one was called by its path.
fn program(called: &str) -> String {
    if !called.contains('/') {
        return PROGRAM.into();
    }
    std::path::absolute(Path::new(called)).map_or(PROGRAM.into(), |path| path.to_string_lossy().into_owned())
}

fn script(shell: Shell, program: &str) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    shell.write_registration(REQUEST_ENV, PROGRAM, PROGRAM, program, &mut script)?;
    if shell.name() == Zsh.name() {
        // A package puts the script among zsh's functions, where it is first read by the TAB that it has to answer.
        let answer = r#"[[ "$funcstack[1]" = "_chinwag" ]] && _clap_dynamic_completer_chinwag "$@""#;
        script.extend_from_slice(format!("{answer}\nreturn 0\n").as_bytes());
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_runs_the_program_with_the_request() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell, "/opt/chinwag").unwrap()).unwrap();
            assert!(script.contains(REQUEST_ENV) && script.contains("/opt/chinwag"), "{shell:?}: {script}");
        }
    }

    #[test]
    fn a_program_in_the_path_is_called_by_its_name() {
        assert_eq!(program("chinwag"), "chinwag");
        assert_eq!(program("/opt/chinwag"), "/opt/chinwag");
        assert!(program("target/release/chinwag").starts_with('/'));
    }
}
