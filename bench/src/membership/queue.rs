//! What is due when. Of two things due at once, the one that was put first comes first, so that one seed makes one run.

use chinwag_base::Moment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue in the order of time. What it holds stays where it is; only small keys are sorted.
#[derive(Debug)]
pub struct Queue<T> {
    due: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    held: Vec<Option<T>>,
    vacant: Vec<usize>,
    serial: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { due: BinaryHeap::new(), held: Vec::new(), vacant: Vec::new(), serial: 0 }
    }
}

impl<T> Queue<T> {
    /// Puts something in.
    pub fn put(&mut self, at: Moment, what: T) {
        self.serial += 1;
        let place = match self.vacant.pop() {
            Some(place) => {
                self.held[place] = Some(what);
                place
            }
            None => {
                self.held.push(Some(what));
                self.held.len() - 1
            }
        };
        self.due.push(Reverse((at, self.serial, place)));
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the next thing out.
    pub fn take(&mut self) -> Option<T> {
        let Reverse((_, _, place)) = self.due.pop()?;
        self.vacant.push(place);
        self.held[place].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_and_then_the_order_of_putting() {
        let mut queue = Queue::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.put(Moment::from_millis(at), what);
        }
        assert_eq!(queue.next(), Some(Moment::from_millis(1)));
        assert_eq!((queue.take(), queue.take()), (Some('a'), Some('b')));
        queue.put(Moment::from_millis(2), 'x');
        assert_eq!(
            [queue.take(), queue.take(), queue.take(), queue.take()],
            [Some('x'), Some('c'), Some('d'), None]
        );
    }
}
