//! Whether the server can take requests: one state, which the admin address and gRPC health both follow.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// What the server can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No release is loaded yet.
    Starting,
    /// Requests are answered from this release.
    Ready {
        /// The number of the release.
        release: u64,
    },
    /// The server is about to go away: it says that it is not ready, so that nobody sends it more, and still answers whoever has not
    /// heard of that.
    Leaving,
    /// The server is going away: what it has begun it finishes, and it takes nothing new.
    Draining,
}

impl State {
    /// Why the server is not ready; `None` where it is.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("no release is loaded yet"),
            Self::Ready { .. } => None,
            Self::Leaving | Self::Draining => Some("the server is shutting down"),
        }
    }

    /// The release that answers, if one does.
    #[must_use]
    pub fn release(self) -> Option<u64> {
        match self {
            Self::Ready { release } => Some(release),
            Self::Starting | Self::Leaving | Self::Draining => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready { .. } => "ready",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        })
    }
}

/// The state that all parts of a server share; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<State>>);

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// A server that starts.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Starting)))
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.0.borrow()
    }

    /// A release answers from now on, unless the server is already going away.
    pub fn ready(&self, release: u64) {
        let ready = State::Ready { release };
        self.0.send_if_modified(|state| {
            let changes = !matches!(state, State::Leaving | State::Draining) && *state != ready;
            if changes {
                *state = ready;
            }
            changes
        });
    }

    /// The server goes away before it was ever ready; `false`, and nothing changes, where a release answers already or the server is
    /// going away.
    #[must_use]
    pub fn abort_start(&self) -> bool {
        self.0.send_if_modified(|state| {
            let starts = *state == State::Starting;
            if starts {
                *state = State::Draining;
            }
            starts
        })
    }

    /// The server will go away and says so, but still answers; there is no way back from here.
    pub fn leave(&self) {
        self.0.send_if_modified(|state| {
            let changes = !matches!(state, State::Leaving | State::Draining);
            if changes {
                *state = State::Leaving;
            }
            changes
        });
    }

    /// The server goes away; there is no way back from here.
    pub fn drain(&self) {
        self.0.send_replace(State::Draining);
    }

    /// Follows the state: `changed` waits for the next one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_becomes_ready_and_drains_for_good() {
        let readiness = Readiness::new();
        let mut follower = readiness.subscribe();
        assert_eq!(readiness.state(), State::Starting);
        readiness.ready(3);
        follower.changed().await.unwrap();
        assert_eq!(follower.borrow_and_update().release(), Some(3));
        readiness.ready(3);
        assert!(!follower.has_changed().unwrap());
        readiness.leave();
        readiness.ready(4);
        assert_eq!(*follower.borrow_and_update(), State::Leaving);
        assert_eq!((State::Leaving.release(), State::Leaving.reason().is_some()), (None, true));
        readiness.drain();
        readiness.leave();
        readiness.ready(4);
        assert_eq!(*follower.borrow_and_update(), State::Draining);
    }

    #[test]
    fn a_start_is_aborted_only_until_a_release_answers() {
        let readiness = Readiness::new();
        readiness.ready(3);
        assert!(!readiness.abort_start());
        assert_eq!(readiness.state(), State::Ready { release: 3 });
        let readiness = Readiness::new();
        assert!(readiness.abort_start());
        readiness.ready(3);
        assert_eq!(readiness.state(), State::Draining);
        assert!(!readiness.abort_start());
    }
}
