use super::{Context, members};
use crate::text::{self, Side};
use crate::{End, complete, output::Tone};
use chinwag_api::{Clue, ClueKind, Exit, Explained, Member, MemberState};
use chinwag_base::key::printable;
use clap::builder::NonEmptyStringValueParser;

/// Show why a member is held for alive, suspect or down
///
/// In the order of time: who could not reach it, who was asked, and what each of them found, as the daemon that answers knows it. The
/// evidence is that of one daemon; another may have its own.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The name or the id of a member
    #[arg(value_name = "MEMBER", add = complete::members(), value_parser = NonEmptyStringValueParser::new())]
    member: String,
}

impl ExplainArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let explained = context.client()?.explain(&self.member).await?;
        if context.out.is_json() {
            context.out.json(&explained)?;
            return Ok(Exit::Yes);
        }
        context.out.line(&verdict(&explained))?;
        let rows: Vec<Vec<String>> =
            explained.evidence.iter().map(|clue| vec![when(clue), what(clue)]).collect();
        if rows.is_empty() {
            context.out.say("Nothing has counted for or against it of late.")?;
            return Ok(Exit::Yes);
        }
        let columns = [("AGO", Side::Right), ("WHAT", Side::Left)];
        let tones = std::iter::once(Some(Tone::Heading)).chain(explained.evidence.iter().map(tone));
        for (line, tone) in text::table(&columns, &rows).iter().zip(tones) {
            let line = tone.map_or_else(|| line.clone(), |tone| context.out.paint(tone, line));
            context.out.line(&line)?;
        }
        Ok(Exit::Yes)
    }
}

fn verdict(explained: &Explained) -> String {
    let Explained { member, phi_down, .. } = explained;
    let name = printable(&member.name);
    let phi = member.phi.map_or_else(String::new, |phi| format!(" φ is {phi:.1}, at {phi_down} it is down."));
    match member.state {
        MemberState::Alive if member.is_self => format!("{name} is the daemon that answers."),
        MemberState::Alive => format!("{name} is alive{}.{phi}", heard(member)),
        MemberState::Suspect | MemberState::Down => match members::note(member) {
            Some(note) => note + &phi,
            None => format!("{name} is down{}.", heard(member)),
        },
        MemberState::Left => format!("{name} has left."),
    }
}

fn heard(member: &Member) -> String {
    let ago = member.heard_ms.map(|ms| format!(", heard {} ago", text::time_ms(ms as f64)));
    ago.unwrap_or_else(|| ", by what others say".into())
}

/// When it was last so, and since when if that was before.
fn when(clue: &Clue) -> String {
    let (first, last) = (text::time_ms(clue.first_ms as f64), text::time_ms(clue.last_ms as f64));
    if clue.times < 2 || first == last { last } else { format!("{first} to {last}") }
}

fn what(clue: &Clue) -> String {
    let said = words(&clue.what);
    if clue.times < 2 { said } else { format!("{said}, {} times", text::thousands(clue.times.into())) }
}

fn words(what: &ClueKind) -> String {
    match what {
        ClueKind::Unanswered { rto_ms } => format!("did not answer a ping within {}", text::time_ms(*rto_ms)),
        ClueKind::Broken => "the connection broke".into(),
        ClueKind::NotReached { why } => match why.as_str() {
            "refused" => "nothing listens at its address".into(),
            "timed_out" => "its address does not answer".into(),
            "denied" => "would not let this daemon in".into(),
            _ => "could not be dialled".into(),
        },
        ClueKind::Asked { members } => {
            let names: Vec<String> = members.iter().map(|name| printable(name).into_owned()).collect();
            let were = if names.len() == 1 { "was" } else { "were" };
            format!("{} {were} asked to ping it", text::list(&names))
        }
        ClueKind::Found { by, found } => {
            let by = printable(by);
            match found.as_str() {
                "life" => format!("{by} had an answer from it"),
                "silent" => format!("{by} had no answer from it"),
                "refused" => format!("{by} found that nothing listens at its address"),
                other => format!("{by} found: {}", printable(other)),
            }
        }
        ClueKind::Told { by, phi } => {
            format!("{} says that it is down (φ {phi:.1}); this daemon looks for itself", printable(by))
        }
        ClueKind::Accused { state: MemberState::Suspect, by, phi } => {
            format!("suspected by {} (φ {phi:.1})", printable(by))
        }
        ClueKind::Accused { by, phi, .. } => format!("held for down by {} (φ {phi:.1})", printable(by)),
        ClueKind::GivenUp { silent_ms } => {
            let silent = text::time_ms(*silent_ms as f64);
            format!("given up after {silent} of silence, because too few others can be asked")
        }
        ClueKind::Voided => "this daemon did not run for a while: what it had found counts no more".into(),
        ClueKind::Answered => "was heard".into(),
        ClueKind::Alive { incarnation } => format!("said that it is alive (incarnation {incarnation})"),
        ClueKind::Vouched => "others hold it for alive".into(),
        ClueKind::Left => "said goodbye".into(),
        _ => "something that this program does not know; is it older than the daemon?".into(),
    }
}

fn tone(clue: &Clue) -> Option<Tone> {
    match &clue.what {
        ClueKind::Accused { state: MemberState::Suspect, .. } => Some(Tone::Warning),
        ClueKind::Accused { .. } | ClueKind::GivenUp { .. } => Some(Tone::Bad),
        _ => None,
    }
}
