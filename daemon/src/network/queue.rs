//! Who waits at the door: incoming connections between their first packet and their admission.
//!
//! There is room for [`ADMISSIONS_MAX`]. An honest peer needs a few round trips, so when all places are taken the one
//! who has had his for longest goes, if that was long enough: idle connections by the thousand cannot keep members out.

use super::ADMISSION_MS_SURE;
use super::connection::lock;
use chinwag_base::limits::ADMISSIONS_MAX;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The places.
#[derive(Default, Clone)]
pub(super) struct Queue {
    places: Arc<Mutex<Places>>,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// Oldest first.
    taken: VecDeque<Place>,
}

struct Place {
    number: u64,
    since: Instant,
    /// Dropped to send its holder away.
    _keep: oneshot::Sender<()>,
}

/// A place, until it is dropped.
pub(super) struct Ticket {
    number: u64,
    sent_away: oneshot::Receiver<()>,
    places: Arc<Mutex<Places>>,
}

impl Queue {
    /// A place, unless all are taken by others who came just now.
    pub(super) fn enter(&self) -> Option<Ticket> {
        let mut places = lock(&self.places);
        if places.taken.len() >= ADMISSIONS_MAX {
            let sure = Duration::from_millis(ADMISSION_MS_SURE);
            places.taken.front().filter(|oldest| oldest.since.elapsed() >= sure)?;
            places.taken.pop_front();
        }
        let number = places.next;
        places.next += 1;
        let (_keep, sent_away) = oneshot::channel();
        places.taken.push_back(Place { number, since: Instant::now(), _keep });
        Some(Ticket { number, sent_away, places: self.places.clone() })
    }
}

impl Ticket {
    /// Resolves when somebody else needs the place.
    pub(super) async fn sent_away(&mut self) {
        let _dropped = (&mut self.sent_away).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.places).taken.retain(|place| place.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_once_it_has_had_its_time() {
        let queue = Queue::default();
        let mut tickets: Vec<Ticket> = (0..ADMISSIONS_MAX).map(|_| queue.enter().unwrap()).collect();
        assert!(queue.enter().is_none(), "all have just come");
        tokio::time::advance(Duration::from_millis(ADMISSION_MS_SURE)).await;
        let late = queue.enter().unwrap();
        assert!(tickets[0].sent_away().now_or_never().is_some());
        assert!(tickets[1].sent_away().now_or_never().is_none());
        drop(late);
        tickets.remove(5);
        let _first = queue.enter().unwrap();
        tickets.remove(0);
        let _second = queue.enter().unwrap();
        assert_eq!(lock(&queue.places).taken.len(), ADMISSIONS_MAX);
    }
}
