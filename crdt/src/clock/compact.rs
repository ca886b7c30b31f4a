//! A clock as members tell it to each other, for `serde(with)`: each node once, and its generations as differences, so that a
//! life takes some 13 bytes instead of 45.

use super::track::Track;
use super::{Clock, grouped, sorted};
use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX};
use chinwag_base::{Generation, NodeId, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A generation less the one before, a base, and islands as in the other form.
type Life = (u64, u64, Vec<(u64, u64)>);

/// Rounded down as the other form is.
pub fn serialize<S: Serializer>(clock: &Clock, serializer: S) -> Result<S::Ok, S::Error> {
    let mut told: Vec<(NodeId, Vec<Life>)> = Vec::new();
    let mut before = 0;
    for (ReplicaId { node, generation }, track) in clock.tracks().take(CLOCK_REPLICAS_MAX) {
        if told.last().is_none_or(|(last, _)| *last != node) {
            told.push((node, Vec::new()));
            before = 0;
        }
        let life = (generation.get() - before, track.base(), track.skips(CLOCK_GAPS_MAX));
        before = generation.get();
        told.last_mut().expect("a node, because one was put there").1.push(life);
    }
    told.serialize(serializer)
}

/// The clock, in its normal form.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Clock, D::Error> {
    let mut tracks = Vec::new();
    for (node, lives) in Vec::<(NodeId, Vec<Life>)>::deserialize(deserializer)? {
        let mut before = 0_u64;
        for (more, base, skips) in lives.into_iter().take(CLOCK_REPLICAS_MAX - tracks.len()) {
            let track = Track::of_skips(base, skips.into_iter().take(CLOCK_GAPS_MAX));
            let (Some(track), Some(generation)) = (track, before.checked_add(more)) else {
                return Err(de::Error::custom("an island or a generation of a clock is out of range"));
            };
            before = generation;
            if track.last() > 0 {
                tracks.push((ReplicaId { node, generation: Generation::new(generation) }, track));
            }
        }
    }
    Ok(Clock { nodes: grouped(sorted(tracks)) })
}
