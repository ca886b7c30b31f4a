use super::Context;
use crate::text::{self, Side, UNKNOWN};
use crate::{End, output::Tone};
use chinwag_api::{Exit, Member, MemberState};
use chinwag_base::Tag;
use chinwag_base::key::printable;

/// Show who is alive
///
/// The daemon that answers comes first, with an asterisk. What only others can know of it is a dash. With --state or --tag
/// the exit status is 1 if no member is like that.
#[derive(Debug, clap::Args)]
pub(crate) struct MembersArgs {
    /// Only those in this state; may be repeated
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateName>,
    /// Only those that say this of themselves, such as role=db; of several, all
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Vec<Tag>,
    /// Show also after how long a ping counts as lost, the stalls that each admits, and its id
    #[arg(long)]
    verbose: bool,
}

/// A state, as people type it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StateName {
    /// It answers.
    Alive,
    /// It may be dead.
    Suspect,
    /// It is dead, as far as anyone can tell.
    Down,
    /// It said goodbye.
    Left,
}

impl From<MemberState> for StateName {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Alive => StateName::Alive,
            MemberState::Suspect => StateName::Suspect,
            MemberState::Down => StateName::Down,
            MemberState::Left => StateName::Left,
        }
    }
}

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

const MORE_COLUMNS: [(&str, Side); 3] = [("RTO", Side::Right), ("STALLS", Side::Right), ("ID", Side::Left)];

impl MembersArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let mut members = context.client()?.members().await?;
        members.members.retain(|member| self.is_meant(member));
        members.members.sort_by(|a, b| (!a.is_self, &a.name, a.id).cmp(&(!b.is_self, &b.name, b.id)));
        let exit = if members.members.is_empty() { Exit::No } else { Exit::Yes };
        if context.out.is_json() {
            context.out.json(&members)?;
            return Ok(exit);
        }
        // A table of nobody would be a heading alone.
        if exit == Exit::No {
            context.out.say("no member is like that")?;
            return Ok(exit);
        }
        let with_tags = members.members.iter().any(|member| !member.tags.is_empty());
        let mut columns = COLUMNS.to_vec();
        columns.extend(with_tags.then_some(("TAGS", Side::Left)));
        columns.extend(self.verbose.then_some(MORE_COLUMNS).into_iter().flatten());
        let rows: Vec<Vec<String>> = members.members.iter().map(|m| self.row(m, with_tags)).collect();
        let tones = members.members.iter().map(|m| match m.state {
            MemberState::Alive => None,
            MemberState::Suspect => Some(Tone::Warning),
            MemberState::Down => Some(Tone::Bad),
            MemberState::Left => Some(Tone::Faint),
        });
        let tones = std::iter::once(Some(Tone::Heading)).chain(tones);
        for (line, tone) in text::table(&columns, &rows).iter().zip(tones) {
            let line = tone.map_or_else(|| line.clone(), |tone| context.out.paint(tone, line));
            context.out.line(&line)?;
        }
        for note in members.members.iter().filter_map(note) {
            context.out.say(&note)?;
        }
        if let Some(loss) = members.probe_loss.filter(|_| self.verbose) {
            context
                .out
                .say(&format!("Of this daemon's pings to live members {:.1} % fail.", loss * 100.0))?;
        }
        Ok(exit)
    }

    fn is_meant(&self, member: &Member) -> bool {
        (self.state.is_empty() || self.state.contains(&member.state.into()))
            && self.tag.iter().all(|tag| tag.is_in(&member.tags))
    }

    fn row(&self, member: &Member, with_tags: bool) -> Vec<String> {
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.into());
        let name = printable(&member.name);
        let mut row = vec![
            if member.is_self { format!("{name} *") } else { name.into_owned() },
            if member.unverified { format!("{} ?", member.state) } else { member.state.to_string() },
            or_unknown(member.phi.map(|phi| format!("{phi:.1}"))),
            member.incarnation.to_string(),
            or_unknown(member.rtt_ms.map(text::time_ms)),
            or_unknown(member.heard_ms.map(|ms| text::time_ms(ms as f64))),
            or_unknown(member.behind.map(text::thousands)),
            or_unknown(member.digest.as_ref().map(text::digest)),
            text::address(&member.addresses),
        ];
        if with_tags {
            let tags = member.tags.iter().map(|(name, value)| format!("{name}={value}"));
            row.push(printable(&tags.collect::<Vec<_>>().join(" ")).into_owned());
        }
        if self.verbose {
            row.push(or_unknown(member.rto_ms.map(text::time_ms)));
            row.push(or_unknown(member.stall_ms.map(|ms| text::time_ms(ms as f64))));
            row.push(member.id.to_string());
        }
        row
    }
}

/// What the table has no room for.
pub(super) fn note(member: &Member) -> Option<String> {
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
