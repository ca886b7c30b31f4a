//! The frames that wait to be written to one connection, by lane: what is dropped, and what is refused, when a peer is slow.
//!
//! Pure, and used by everybody who carries frames: the daemon's connections, and a simulator's.

use chinwag_base::Lane;
use chinwag_base::limits::{
    BULK_QUEUE_BYTES_MAX, BULK_QUEUE_FRAMES_MAX, GOSSIP_QUEUE_BYTES_MAX, GOSSIP_QUEUE_FRAMES_MAX,
};
use std::collections::VecDeque;

/// The frames that wait for one connection.
#[derive(Debug, Clone, Default)]
pub struct LaneQueues {
    /// In the order in which the slots were first filled, each with its newest frame. At most 256 slots.
    probe: VecDeque<(u8, Vec<u8>)>,
    gossip: VecDeque<Vec<u8>>,
    gossip_bytes: usize,
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
}

/// The bulk lane takes no further frame. The frame is not queued, and what waits is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bulk lane to this peer is full")]
pub struct BulkFull;

impl LaneQueues {
    /// Queues a frame. On the probe lane it takes the place of one with the same slot, on the gossip lane the oldest
    /// frames give way.
    ///
    /// # Errors
    /// [`BulkFull`].
    pub fn push(&mut self, lane: Lane, slot: u8, frame: Vec<u8>) -> Result<(), BulkFull> {
        match lane {
            Lane::Probe => match self.probe.iter_mut().find(|(taken, _)| *taken == slot) {
                Some((_, waiting)) => *waiting = frame,
                None => self.probe.push_back((slot, frame)),
            },
            Lane::Gossip => {
                self.gossip_bytes += frame.len();
                self.gossip.push_back(frame);
                while self.gossip.len() > GOSSIP_QUEUE_FRAMES_MAX
                    || self.gossip_bytes > GOSSIP_QUEUE_BYTES_MAX
                {
                    let oldest = self.gossip.pop_front().expect("a frame, because one was just pushed");
                    self.gossip_bytes -= oldest.len();
                }
            }
            Lane::Bulk => {
                let bytes = self.bulk_bytes + frame.len();
                if self.bulk.len() >= BULK_QUEUE_FRAMES_MAX || bytes > BULK_QUEUE_BYTES_MAX {
                    return Err(BulkFull);
                }
                self.bulk_bytes = bytes;
                self.bulk.push_back(frame);
            }
        }
        Ok(())
    }

    /// The next frame of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<Vec<u8>> {
        match lane {
            Lane::Probe => self.probe.pop_front().map(|(_, frame)| frame),
            Lane::Gossip => {
                let frame = self.gossip.pop_front()?;
                self.gossip_bytes -= frame.len();
                Some(frame)
            }
            Lane::Bulk => {
                let frame = self.bulk.pop_front()?;
                self.bulk_bytes -= frame.len();
                Some(frame)
            }
        }
    }

    /// The length of the next frame of a lane, in bytes.
    pub fn next_len(&self, lane: Lane) -> Option<usize> {
        match lane {
            Lane::Probe => self.probe.front().map(|(_, frame)| frame.len()),
            Lane::Gossip => self.gossip.front().map(Vec::len),
            Lane::Bulk => self.bulk.front().map(Vec::len),
        }
    }

    /// Whether nothing waits on any lane.
    pub fn is_empty(&self) -> bool {
        self.probe.is_empty() && self.gossip.is_empty() && self.bulk.is_empty()
    }

    /// Frames and bytes that wait on the gossip and the bulk lane.
    pub fn usage(&self) -> [(usize, usize); 2] {
        [(self.gossip.len(), self.gossip_bytes), (self.bulk.len(), self.bulk_bytes)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_probes_the_newest_of_each_kind_waits() {
        let mut queues = LaneQueues::default();
        for i in 0..100u8 {
            queues.push(Lane::Probe, i % 2, vec![i]).unwrap();
        }
        assert_eq!(queues.pop(Lane::Probe), Some(vec![98]));
        assert_eq!(queues.next_len(Lane::Probe), Some(1));
        assert_eq!(queues.pop(Lane::Probe), Some(vec![99]));
        assert_eq!(queues.pop(Lane::Probe), None);
        assert!(queues.is_empty());
    }

    #[test]
    fn gossip_drops_its_oldest_and_bulk_refuses() {
        let mut queues = LaneQueues::default();
        for i in 0..GOSSIP_QUEUE_FRAMES_MAX + 10 {
            queues.push(Lane::Gossip, 0, (i as u32).to_be_bytes().to_vec()).unwrap();
        }
        assert_eq!(queues.pop(Lane::Gossip), Some(10u32.to_be_bytes().to_vec()));
        for _ in 0..GOSSIP_QUEUE_BYTES_MAX / 100_000 + 5 {
            queues.push(Lane::Gossip, 0, vec![7; 100_000]).unwrap();
        }
        let bytes: usize = std::iter::from_fn(|| queues.pop(Lane::Gossip)).map(|frame| frame.len()).sum();
        assert!((GOSSIP_QUEUE_BYTES_MAX - 100_000..=GOSSIP_QUEUE_BYTES_MAX).contains(&bytes), "{bytes}");
        for _ in 0..BULK_QUEUE_FRAMES_MAX {
            queues.push(Lane::Bulk, 0, vec![1]).unwrap();
        }
        assert_eq!(queues.push(Lane::Bulk, 0, vec![1]), Err(BulkFull));
        while queues.pop(Lane::Bulk).is_some() {}
        let large = vec![1; 1_000_000];
        let taken = (0..20).filter(|_| queues.push(Lane::Bulk, 0, large.clone()).is_ok()).count();
        assert_eq!(taken, BULK_QUEUE_BYTES_MAX / large.len());
        queues.pop(Lane::Bulk);
        queues.push(Lane::Bulk, 0, large).unwrap();
    }
}
