//! Those who listen, and the changes that were told lately, so that a watcher who comes back misses none.
//!
//! Each change has a *position*: in which life of this daemon it was told, and the how many-th it was. A watcher that
//! comes back with a position is told what came after it, if that is still kept; else it must start over.

use crate::observe::Told;
use chinwag_api::event::Position;
use chinwag_api::{Change, Failure, Kind, NodeEvent};
use chinwag_base::limits::{WATCH_KEPT_BYTES_MAX, WATCH_KEPT_MAX, WATCH_QUEUE_MAX};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;

/// What everybody who tells or listens shares. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    sender: broadcast::Sender<Arc<Told>>,
    lately: Arc<Mutex<Lately>>,
}

/// The changes of this life that are still kept.
#[derive(Debug)]
struct Lately {
    life: u64,
    /// How many changes have been told in all: the position of the last.
    count: u64,
    kept: VecDeque<(usize, Arc<Told>)>,
    bytes: usize,
}

/// The changes that came after a position, or why they are not known any more.
pub(crate) type Missed = Result<Vec<Arc<Told>>, String>;

/// A place in what is told, with all that comes after it.
#[derive(Debug)]
pub(crate) struct Listening {
    /// What is told from here on.
    pub(crate) receiver: broadcast::Receiver<Arc<Told>>,
    /// The position here.
    pub(crate) position: Position,
}

impl Listeners {
    /// Nobody listens yet. `life` is drawn anew at each start.
    pub(crate) fn new(life: u64) -> Self {
        let (sender, _) = broadcast::channel(WATCH_QUEUE_MAX);
        let lately = Lately { life, count: 0, kept: VecDeque::new(), bytes: 0 };
        Listeners { sender, lately: Arc::new(Mutex::new(lately)) }
    }

    /// Tells of an event, and of the change that it made visible.
    pub(crate) fn tell(&self, event: NodeEvent, mut change: Option<Change>) {
        let mut lately = self.lately();
        if let Some(change) = &mut change {
            lately.count += 1;
            change.position = Some(lately.position());
        }
        let told = Arc::new(Told { event, change });
        lately.keep(&told);
        // Within the lock, so that whoever looks at what is kept and then listens misses nothing and hears nothing twice.
        // An error means that nobody listens.
        let _ = self.sender.send(told);
    }

    /// Listens from here on.
    pub(crate) fn listen(&self) -> Listening {
        let lately = self.lately();
        Listening { receiver: self.sender.subscribe(), position: lately.position() }
    }

    /// Listens from here on, and returns the changes that came after `position`; or why they are not known any more.
    ///
    /// # Errors
    /// If it is no position.
    pub(crate) fn listen_after(&self, position: &Position) -> Result<(Listening, Missed), Failure> {
        let bad = || Failure::new(Kind::BadRequest, "that is no position in a watch");
        let (life, count) = position.0.split_once('.').ok_or_else(bad)?;
        let is_plain = |text: &str| !text.starts_with('+');
        let life =
            Some(life).filter(|l| l.len() == 16 && is_plain(l)).and_then(|l| u64::from_str_radix(l, 16).ok());
        let count = Some(count).filter(|count| is_plain(count)).and_then(|count| count.parse::<u64>().ok());
        let (life, count) = life.zip(count).ok_or_else(bad)?;
        let lately = self.lately();
        let here = Listening { receiver: self.sender.subscribe(), position: lately.position() };
        Ok((here, lately.after(life, count)))
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Lately {
    fn position(&self) -> Position {
        Position(format!("{:016x}.{}", self.life, self.count))
    }

    fn keep(&mut self, told: &Arc<Told>) {
        let Some(change) = &told.change else { return };
        let bytes = change.bytes();
        self.bytes += bytes;
        self.kept.push_back((bytes, told.clone()));
        while self.kept.len() > WATCH_KEPT_MAX || self.bytes > WATCH_KEPT_BYTES_MAX {
            let Some((bytes, _)) = self.kept.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    fn after(&self, life: u64, count: u64) -> Missed {
        if life != self.life || count > self.count {
            return Err("the position is of another life of this daemon, or of another daemon".into());
        }
        let missed = self.count - count;
        match self.kept.len().checked_sub(usize::try_from(missed).unwrap_or(usize::MAX)) {
            Some(from) => Ok(self.kept.range(from..).map(|(_, told)| told.clone()).collect()),
            None => Err(format!("{missed} changes came since, and {} are kept", self.kept.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::What;
    use chinwag_api::event::Level;

    fn tell(listeners: &Listeners, value: &str) {
        let event = NodeEvent {
            at_unix_ms: 1,
            level: Level::Info,
            event: "write.applied".into(),
            fields: serde_json::Map::new(),
        };
        let change = Change {
            at_unix_ms: 1,
            key: "k".into(),
            field: Vec::new(),
            what: What::Set { value: value.into() },
            origin: "alpha".into(),
            age_ms: 0,
            was: Vec::new(),
            concurrent: false,
            position: None,
        };
        listeners.tell(event.clone(), Some(change));
        // What changes nothing has no position.
        listeners.tell(event, None);
    }

    fn values(told: &[Arc<Told>]) -> Vec<String> {
        let value = |told: &Arc<Told>| match &told.change.as_ref().unwrap().what {
            What::Set { value } => value.as_text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        told.iter().map(value).collect()
    }

    fn after(listeners: &Listeners, position: &Position) -> Result<Vec<String>, String> {
        listeners.listen_after(position).unwrap().1.map(|told| values(&told))
    }

    #[test]
    fn who_comes_back_is_told_what_came_meanwhile_and_nothing_twice() {
        let listeners = Listeners::new(0xabc);
        let start = listeners.listen();
        assert_eq!(start.position.0, "0000000000000abc.0");
        ["a", "b", "c"].iter().for_each(|value| tell(&listeners, value));
        assert_eq!(after(&listeners, &start.position), Ok(vec!["a".into(), "b".into(), "c".into()]));
        let mut heard = start.receiver;
        let mut positions = Vec::new();
        while let Ok(told) = heard.try_recv() {
            positions.extend(told.change.as_ref().and_then(|change| change.position.clone()));
        }
        assert_eq!(after(&listeners, &positions[1]), Ok(vec!["c".into()]));
        let (mut here, missed) = listeners.listen_after(&positions[2]).unwrap();
        assert_eq!((values(&missed.unwrap()), &here.position), (vec![], &positions[2]));
        tell(&listeners, "d");
        assert_eq!(values(&[here.receiver.try_recv().unwrap()]), ["d"]);
    }

    #[test]
    fn what_is_not_kept_any_more_is_told_so() {
        let listeners = Listeners::new(7);
        let start = listeners.listen().position;
        for n in 0..WATCH_KEPT_MAX {
            tell(&listeners, &n.to_string());
        }
        assert_eq!(after(&listeners, &start).unwrap().len(), WATCH_KEPT_MAX);
        tell(&listeners, "one more");
        let why = after(&listeners, &start).unwrap_err();
        assert_eq!(why, format!("{} changes came since, and {WATCH_KEPT_MAX} are kept", WATCH_KEPT_MAX + 1));
        // Large ones are fewer.
        let large = "v".repeat(64 * 1024);
        (0..1_000).for_each(|_| tell(&listeners, &large));
        let kept = listeners.lately().kept.len();
        assert!(kept * 64 * 1024 <= WATCH_KEPT_BYTES_MAX && kept > 100, "{kept}");
    }

    #[test]
    fn another_life_and_nonsense_are_told_apart() {
        let listeners = Listeners::new(7);
        tell(&listeners, "a");
        for foreign in ["0000000000000008.1", "0000000000000007.2", "0000000000000007.18446744073709551615"] {
            assert!(
                after(&listeners, &Position(foreign.into())).unwrap_err().contains("another life"),
                "{foreign}"
            );
        }
        for bad in [
            "",
            ".",
            "7.1",
            "0000000000000007",
            "0000000000000007.",
            "0000000000000007.-1",
            "+000000000000007.1",
        ] {
            assert_eq!(
                listeners.listen_after(&Position(bad.into())).unwrap_err().kind,
                Kind::BadRequest,
                "{bad}"
            );
        }
    }
}
