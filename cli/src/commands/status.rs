use super::Context;
use crate::{End, output::Tone, text};
use chinwag_api::{Exit, Status};
use chinwag_base::key::printable;

/// Show how the daemon is
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {}

impl StatusArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let status = context.client()?.status().await?;
        if context.out.is_json() {
            context.out.json(&status)?;
            return Ok(Exit::Yes);
        }
        let health = match status.healthy {
            true => context.out.paint(Tone::Good, "healthy"),
            false => context.out.paint(Tone::Bad, "not healthy"),
        };
        for line in lines(&status, &health) {
            context.out.line(&line)?;
        }
        for problem in &status.problems {
            let kind = context.out.paint(Tone::Bad, &format!("{:<8}", printable(&problem.kind)));
            context.out.line(&format!("{kind} {}", printable(&problem.message)))?;
        }
        Ok(Exit::Yes)
    }
}

fn lines(status: &Status, health: &str) -> Vec<String> {
    let overlay = status.overlay.as_ref().map_or("no overlay".into(), |o| format!("overlay {}", o.name));
    let uptime = text::time_ms(status.uptime_ms as f64);
    let version = printable(&status.version);
    let protocol = status.protocol;
    let mut lines = vec![format!(
        "{:<8} {health} · up {uptime} · {overlay} · chinwagd {version}, protocol {protocol}",
        printable(&status.name)
    )];

    let counts = &status.members;
    let mut members =
        format!("members  {} alive · {} suspect · {} down", counts.alive, counts.suspect, counts.down);
    if counts.left > 0 {
        members += &format!(" · {} left", counts.left);
    }
    if let Some(phi) = &status.phi_highest {
        members +=
            &format!("     highest φ {:.1} ({}, down at {})", phi.phi, printable(&phi.name), phi.down_at);
    }
    lines.push(members);

    let in_step = &status.in_step;
    let peers = if in_step.of == 1 { "peer" } else { "peers" };
    let step = match in_step.of {
        0 => "nobody to be in step with".to_owned(),
        of => format!("in step with {} of {of} {peers}", in_step.peers),
    };
    let keys = text::count(status.keys, "key");
    lines.push(format!("state    {keys} · digest {} · {step}", text::digest(&status.digest)));
    if let Some(coming) = &status.coming {
        let of = coming.of.map(|of| format!(" of {}", text::thousands(of))).unwrap_or_default();
        let (cells, from) = (text::thousands(coming.cells), printable(&coming.from));
        lines.push(format!("         {cells}{of} cells have come from {from}"));
    }

    if let Some(dht) = &status.dht {
        let owners = match dht.owners {
            1 => "1 member can own".to_owned(),
            n => format!("{} members can own", text::thousands(n)),
        };
        let size = text::bytes(dht.bytes as f64);
        let mut line = format!("dht      {owners} · {} here · {size}", text::count(dht.records, "record"));
        if dht.handing_off > 0 {
            line += &format!(" · {} to compare or hand on", text::thousands(dht.handing_off));
        }
        lines.push(line);
    }

    let gossip = &status.gossip;
    let mut parts = Vec::new();
    parts.extend(gossip.rounds_per_s.map(|n| format!("{n:.0} rounds/s")));
    parts.extend(gossip.in_bytes_per_s.map(|n| format!("in {}/s", text::bytes(n))));
    parts.extend(gossip.out_bytes_per_s.map(|n| format!("out {}/s", text::bytes(n))));
    parts.push(format!("queue {}/{}", gossip.queue, gossip.queue_max));
    lines.push(format!("gossip   {}", parts.join(" · ")));

    let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    lines.push(match addresses.is_empty() {
        true => "address  it does not listen for members".to_owned(),
        false => format!("address  {}", addresses.join("  ")),
    });
    if let Some(door) = &status.door {
        let addresses: Vec<_> = door.addresses.iter().map(|address| printable(address)).collect();
        lines.push(format!(
            "door     {}  {}",
            addresses.join("  "),
            text::count(door.records, "foreign record")
        ));
    }
    lines
}
