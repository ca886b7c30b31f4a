use super::Context;
use crate::End;
use crate::output::Tone;
use crate::text::{self, Side, count};
use chinwag_api::{Exit, Hindrance, MemberState, Reach, ReachMember};
use chinwag_base::NodeId;
use chinwag_base::key::printable;

/// How many of the down are named.
const NAMED_MAX: usize = 8;

/// Ask all members to answer, and show who cannot reach whom
///
/// Every member that is not down is called, pings those to whom it is connected, and says whom it hears. Takes some round
/// trips if all is well, and up to 4 s if somebody does not answer. Exits 1 unless all who are called answer and hear all whom they should.
#[derive(Debug, clap::Args)]
pub(crate) struct ReachArgs {}

impl ReachArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let reach = context.client()?.reach().await?;
        let (silent, pairs) = (silent(&reach), pairs(&reach));
        let exit = if silent.is_empty() && pairs.is_empty() { Exit::Yes } else { Exit::No };
        if context.out.is_json() {
            context.out.json(&reach)?;
            return Ok(exit);
        }
        context.out.line(&summary(&reach, exit))?;
        let of = [("MEMBER", Side::Left), ("WHAT", Side::Left)];
        show(context, &of, &silent)?;
        let between = [("FROM", Side::Left), ("TO", Side::Left), ("WHAT", Side::Left)];
        show(context, &between, &pairs)?;
        Ok(exit)
    }
}

fn summary(reach: &Reach, exit: Exit) -> String {
    let (answers, after) = (reach.answers.len(), text::time_ms(reach.after_ms));
    let all = answers + reach.missing.len();
    let down: Vec<String> = reach.down.iter().map(|member| printable(&member.name).into_owned()).collect();
    let down = match down.as_slice() {
        [] => String::new(),
        [one] => format!(" {one} is down, and was not called."),
        [first, .., last] if down.len() > NAMED_MAX => {
            format!(
                " {} are down, and were not called: {first} to {last}.",
                count(down.len() as u64, "member")
            )
        }
        _ => format!(" {} are down, and were not called.", text::list(&down)),
    };
    if all == 1 {
        return format!("There is no other member to call.{down}");
    }
    let well = if exit == Exit::Yes { ", and each hears all whom it should" } else { "" };
    format!("{answers} of {} answered within {after}{well}.{down}", count(all as u64, "member"))
}

/// Those that did not answer.
fn silent(reach: &Reach) -> Vec<Vec<String>> {
    let line = |member: &ReachMember| {
        let deaf = |id: NodeId| reach.answers.iter().filter(|a| a.unheard.iter().any(|u| u.id == id)).count();
        let (deaf, all) = (deaf(member.id), reach.answers.len());
        let state = if member.state == MemberState::Suspect { ", suspect" } else { "" };
        // In a large overlay only some listen to it.
        let heard = match deaf {
            n if n == all => "; nobody hears it".to_owned(),
            0 => "; nobody else misses it".to_owned(),
            1 => "; 1 member does not hear it".to_owned(),
            n => format!("; {n} members do not hear it"),
        };
        vec![printable(&member.name).into_owned(), format!("no answer{state}{heard}")]
    };
    reach.missing.iter().map(line).collect()
}

/// What does not arrive although both ends have answered.
fn pairs(reach: &Reach) -> Vec<Vec<String>> {
    let has_answered = |id: &NodeId| reach.answers.iter().any(|answer| answer.id == *id);
    let mut rows = Vec::new();
    for answer in &reach.answers {
        let by = printable(&answer.name).into_owned();
        for unheard in answer.unheard.iter().filter(|unheard| has_answered(&unheard.id)) {
            let of = printable(&unheard.name).into_owned();
            rows.push(match unheard.why {
                Hindrance::Silent => {
                    vec![of, by.clone(), format!("connected, and nothing arrives, says {by}")]
                }
                Hindrance::Unconnected => vec![by.clone(), of, "cannot be connected to".to_owned()],
                Hindrance::Down => vec![of.clone(), by.clone(), format!("{by} holds {of} for down")],
                _ => vec![of, by.clone(), "hindered; is this program older than the daemon?".to_owned()],
            });
        }
        if answer.more > 0 {
            let more = format!("{} more that it does not hear", text::thousands(answer.more.into()));
            rows.push(vec!["…".to_owned(), by, more]);
        }
    }
    rows
}

fn show(context: &mut Context, columns: &[(&str, Side)], rows: &[Vec<String>]) -> std::io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    for (n, line) in text::table(columns, rows).iter().enumerate() {
        let tone = if n == 0 { Tone::Heading } else { Tone::Warning };
        let line = context.out.paint(tone, line);
        context.out.line(&line)?;
    }
    Ok(())
}
