use super::Context;
use crate::{End, text};
use chinwag_api::{Exit, InviteRequest};
use chinwag_base::Role;
use chinwag_base::limits::INVITE_USES_MAX;

/// Print an invite to the overlay
///
/// The invite is a secret: whoever has it can join until it is used up or expires.
#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    /// How many machines may join by it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=INVITE_USES_MAX as i64))]
    uses: u32,
    /// For how long: 600, 90s, 10m, 2h or 7d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = life)]
    expires: u64,
    /// As what they join
    #[arg(long, value_enum, value_name = "ROLE", default_value_t = RoleArg::Member)]
    role: RoleArg,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RoleArg {
    /// Reads and replicates
    Reader,
    /// Reads and writes
    Member,
    /// Reads, writes and invites
    Admin,
}

/// A life in seconds: of an invite, or of a record.
pub(crate) fn life(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("expected seconds, or a number with s, m, h or d".into()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    seconds.filter(|s| (1..=365 * 86_400).contains(s)).ok_or_else(|| "expected one second to 365 days".into())
}

impl InviteArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let role = match self.role {
            RoleArg::Reader => Role::Reader,
            RoleArg::Member => Role::Member,
            RoleArg::Admin => Role::Admin,
        };
        let request =
            InviteRequest { uses: Some(self.uses), expires_s: Some(self.expires), role: Some(role) };
        let reply = context.client()?.invite(&request).await?;
        if context.out.is_json() {
            context.out.json(&reply)?;
            return Ok(Exit::Yes);
        }
        let uses = if reply.uses == 1 { "one use".to_owned() } else { format!("{} uses", reply.uses) };
        let life = text::time_ms(reply.expires_in_s as f64 * 1_000.0);
        context.out.say(&format!(
            "Good for {uses} within {life}, as {}. Type this on the other machine:",
            reply.role
        ))?;
        context.out.line(&format!("  chinwag join {}", chinwag_base::key::printable(&reply.token)))?;
        if reply.addresses.iter().all(|a| a.is_loopback()) {
            context.out.say("This daemon listens on loopback only, so only this machine can join by it.")?;
        }
        Ok(Exit::Yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_have_units_and_bounds() {
        for (text, s) in [("600", 600), ("90s", 90), ("10m", 600), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(life(text), Ok(s));
        }
        for bad in ["", "m", "0", "-1", "1w", "366d", "99999999999999999999", "1.5h", "10 m"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
