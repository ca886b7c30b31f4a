//! What a service manager is told: that the daemon is ready, how it is, that it reloads, that it ends, and that it
//! is alive.
//!
//! The protocol is sd_notify(3): a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Where that
//! variable is not set nothing is sent. The sign of life that a watchdog waits for is an answer of the task that owns
//! the node, not a timer's tick: a daemon whose node hangs is restarted, however well the rest of the process is.

use crate::daemon::Handle;
use chinwag_api::Counts;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Where the service manager listens.
const NOTIFY_SOCKET_ENV: &str = "NOTIFY_SOCKET";
/// How often the status is looked at, and the longest between two signs of life.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Signs of life within a watchdog's limit: one may be late, and the next still comes in time.
const SIGNS_PER_LIMIT: u32 = 3;
/// The shortest between two signs of life, whatever a unit asks for.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
/// How soon a daemon that was too busy to answer is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The daemon is about to start: `what` it does first may take long.
pub(crate) fn starting(what: &str) {
    tell(&[NotifyState::Status(what)]);
}

/// Clients are answered and members are let in.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] says that this is over.
pub(crate) fn reloading() {
    // The time tells the manager which of two reloads this is; without a monotonic clock it has to do without.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon leaves.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("leaving the overlay")]);
}

/// Tells the manager how the daemon is and, if there is a watchdog, that it lives, for as long as it is polled.
pub(crate) async fn attend(daemon: &Handle) {
    if std::env::var_os(NOTIFY_SOCKET_ENV).is_none() {
        return std::future::pending().await;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let how_it_is = async || {
        // The answer comes from the driver's task.
        let counts = daemon.members().await.ok()?;
        let overlay = daemon.overlay().await.ok()?.map(|papers| papers.name.to_string());
        Some(status(overlay.as_deref(), &counts))
    };
    observe(between_signs(watchdog), how_it_is, |sign| match sign {
        Sign::Alive if watchdog.is_some() => tell(&[NotifyState::Watchdog]),
        Sign::Alive => {}
        Sign::Status(status) => tell(&[NotifyState::Status(status)]),
    })
    .await;
}

/// What an answer of the daemon is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign<'a> {
    /// It lives.
    Alive,
    /// It is so now, and was not before.
    Status(&'a str),
}

/// Looks how the daemon is, for ever. Only an answer is a sign of life, and one that is too late is none.
async fn observe(
    every: Duration,
    mut how_it_is: impl AsyncFnMut() -> Option<String>,
    mut sign: impl FnMut(Sign<'_>),
) {
    let mut told = String::new();
    loop {
        let Ok(Some(status)) = timeout(every, how_it_is()).await else {
            sleep(AGAIN_AFTER.min(every)).await;
            continue;
        };
        sign(Sign::Alive);
        if status != told {
            sign(Sign::Status(&status));
            told = status;
        }
        sleep(every).await;
    }
}

fn between_signs(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(LOOK_EVERY, |limit| (limit / SIGNS_PER_LIMIT).clamp(LOOK_EVERY_MIN, LOOK_EVERY))
}

fn status(overlay: Option<&str>, counts: &Counts) -> String {
    match overlay {
        Some(name) => format!(
            "overlay {name}: {} alive, {} suspect, {} down",
            counts.alive, counts.suspect, counts.down
        ),
        None => "no overlay yet: chinwag init NAME, or chinwag join TOKEN".into(),
    }
}

fn tell(what: &[NotifyState<'_>]) {
    // Without a manager there is nobody to tell, and one that has gone away needs no answer.
    let _ = sd_notify::notify(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_come_several_times_within_the_limit() {
        assert_eq!(between_signs(None), LOOK_EVERY);
        assert_eq!(between_signs(Some(Duration::from_secs(3))), Duration::from_secs(1));
        assert_eq!(between_signs(Some(Duration::from_secs(600))), LOOK_EVERY);
        assert_eq!(between_signs(Some(Duration::ZERO)), LOOK_EVERY_MIN);
    }

    /// The signs within ten seconds of a daemon that answers so.
    async fn signs(how_it_is: impl AsyncFnMut() -> Option<String>) -> Vec<String> {
        let mut signs = Vec::new();
        let observed = observe(Duration::from_secs(1), how_it_is, |sign| signs.push(format!("{sign:?}")));
        assert!(timeout(Duration::from_millis(9_500), observed).await.is_err(), "it goes on for ever");
        signs
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_gives_no_sign_of_life() {
        assert_eq!(signs(async || std::future::pending().await).await, [""; 0], "its node hangs");
        assert_eq!(signs(async || None).await, [""; 0], "its node is gone");
        let late = async || {
            sleep(Duration::from_secs(2)).await;
            Some(String::from("late"))
        };
        assert_eq!(signs(late).await, [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_answers_gives_signs_of_life_and_tells_what_is_new() {
        let mut asked = 0;
        let answers = async || {
            asked += 1;
            Some(if asked < 4 { "early" } else { "late" }.to_owned())
        };
        let signs = signs(answers).await;
        let alive = signs.iter().filter(|sign| *sign == "Alive").count();
        assert_eq!(alive, 10, "{signs:?}");
        let told: Vec<&String> = signs.iter().filter(|sign| *sign != "Alive").collect();
        assert_eq!(told, ["Status(\"early\")", "Status(\"late\")"]);
    }

    #[test]
    fn the_status_counts_members() {
        let counts = Counts { alive: 3, suspect: 1, down: 2, left: 9 };
        assert_eq!(status(Some("home"), &counts), "overlay home: 3 alive, 1 suspect, 2 down");
        assert!(status(None, &counts).contains("chinwag init"));
    }
}
