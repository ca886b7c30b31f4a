use super::Context;
use crate::text::{self, Side, UNKNOWN};
use crate::{End, output::Tone};
use chinwag_api::{Exit, Member, MemberState};
use chinwag_base::key::printable;

/// Show who is alive
///
/// The daemon that answers comes first, with an asterisk. What only others can know of it is a dash.
#[derive(Debug, clap::Args)]
pub(crate) struct MembersArgs {}

const COLUMNS: [(&str, Side); 9] = [
    ("NAME", Side::Left),
    ("STATE", Side::Left),
    ("φ", Side::Right),
    ("INC", Side::Right),
    ("RTT", Side::Right),
    ("HEARD", Side::Right),
    ("BEHIND", Side::Right),
    ("DIGEST", Side::Left),
    ("ADDRESS", Side::Left),
];

impl MembersArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let mut members = context.client()?.members().await?;
        members.members.sort_by(|a, b| (!a.is_self, &a.name, a.id).cmp(&(!b.is_self, &b.name, b.id)));
        if context.out.is_json() {
            context.out.json(&members)?;
            return Ok(Exit::Yes);
        }
        let rows: Vec<Vec<String>> = members.members.iter().map(row).collect();
        let tones = members.members.iter().map(|m| match m.state {
            MemberState::Alive => None,
            MemberState::Suspect => Some(Tone::Warning),
            MemberState::Down => Some(Tone::Bad),
            MemberState::Left => Some(Tone::Faint),
        });
        let tones = std::iter::once(Some(Tone::Heading)).chain(tones);
        for (line, tone) in text::table(&COLUMNS, &rows).iter().zip(tones) {
            let line = tone.map_or_else(|| line.clone(), |tone| context.out.paint(tone, line));
            context.out.line(&line)?;
        }
        for note in members.members.iter().filter_map(note) {
            context.out.say(&note)?;
        }
        Ok(Exit::Yes)
    }
}

fn row(member: &Member) -> Vec<String> {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.into());
    let name = printable(&member.name);
    vec![
        if member.is_self { format!("{name} *") } else { name.into_owned() },
        if member.unverified { format!("{} ?", member.state) } else { member.state.to_string() },
        or_unknown(member.phi.map(|phi| format!("{phi:.1}"))),
        member.incarnation.to_string(),
        or_unknown(member.rtt_ms.map(text::time_ms)),
        or_unknown(member.heard_ms.map(|ms| text::time_ms(ms as f64))),
        or_unknown(member.behind.map(text::thousands)),
        or_unknown(member.digest.as_ref().map(text::digest)),
        text::address(&member.addresses),
    ]
}

/// What the table has no room for.
fn note(member: &Member) -> Option<String> {
    let name = printable(&member.name);
    match member.state {
        MemberState::Suspect => {
            let by: Vec<String> = member.suspected_by.iter().map(|n| printable(n).into_owned()).collect();
            let by = if by.is_empty() { String::new() } else { format!(" by {}", text::list(&by)) };
            let left = member
                .down_in_ms
                .map(|ms| format!("; down in {} unless it answers", text::time_ms(ms as f64)));
            Some(format!("{name} is suspected{by}{}.", left.unwrap_or_default()))
        }
        MemberState::Down if member.unverified => {
            Some(format!("{name} has been silent for too long, and nobody else could be asked about it."))
        }
        _ => None,
    }
}
