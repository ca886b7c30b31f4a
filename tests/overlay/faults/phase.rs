//! Writers at all daemons for a while, and what must hold once they have ended.

use super::witness::Witness;
use crate::harness::{Daemon, agree};
use crate::history::History;
use crate::writer::{Writer, state};
use chinwag_sim::observation::Host;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A writer at each daemon.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    stops: Vec<Arc<AtomicBool>>,
    tasks: Vec<JoinHandle<Writer>>,
}

impl Load {
    /// Writers of this phase of a test, which nobody continues.
    pub(crate) fn begin(phase: &str, daemons: &[Daemon], witness: &Witness) -> Self {
        let mut load = Load { done: Arc::default(), stops: Vec::new(), tasks: Vec::new() };
        for (host, daemon) in daemons.iter().enumerate() {
            let name = format!("{}-{phase}", daemon.name);
            let writer = Writer::new(name, daemon.client.clone(), load.done.clone());
            let writer = writer.watched(Host(host as u32), witness);
            load.stops.push(writer.stop());
            load.tasks.push(tokio::spawn(writer.run_until_stopped()));
        }
        load
    }

    /// How many writes they have done so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends them, and says what they were told.
    pub(crate) async fn end(self) -> History {
        self.stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
        let mut history = History::default();
        for task in self.tasks {
            history.follow(task.await.unwrap().history().clone());
        }
        history
    }
}

/// All agree, and on what clients were told.
pub(crate) async fn agree_on(history: &History, daemons: &[Daemon]) -> Duration {
    let begun = Instant::now();
    agree(&daemons.iter().collect::<Vec<_>>()).await;
    let took = begun.elapsed();
    for daemon in daemons {
        let violations = history.violations(&state(daemon).await);
        assert!(violations.is_empty(), "{}: {violations:#?}", daemon.name);
    }
    took
}

/// Whom each daemon has declared dead: by whom, and whom.
pub(crate) fn declared_dead(daemons: &[Daemon]) -> Vec<(String, String)> {
    let by = |daemon: &Daemon| {
        let rows = daemon.told("member.down").into_iter();
        rows.map(|row| (daemon.name.clone(), row.field("name").to_owned())).collect::<Vec<_>>()
    };
    daemons.iter().flat_map(by).collect()
}
