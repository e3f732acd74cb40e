//! Whether the server can take requests: one state, followed by the admin address and gRPC health.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// The state of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No release is loaded yet.
    Starting,
    /// Requests are answered from this release.
    Ready {
        /// The number of the release.
        release: u64,
    },
    /// The server is about to shut down. It reports that it is not ready, so that clients go elsewhere, and still
    /// answers new requests.
    Leaving,
    /// The server is shutting down: it finishes running requests and takes no new ones.
    Draining,
}

impl State {
    /// Why the server is not ready; `None` if it is.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("no release is loaded yet"),
            Self::Ready { .. } => None,
            Self::Leaving | Self::Draining => Some("the server is shutting down"),
        }
    }

    /// The serving release, if any.
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

/// The state shared by all parts of a server; clones share it.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<State>>);

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// The readiness of a server that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Starting)))
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.0.borrow()
    }

    /// A release serves from now on. Ignored if the server is shutting down.
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

    /// Ends a server that was never ready. Returns `false` and changes nothing if a release serves or the server is
    /// shutting down.
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

    /// The server will shut down: it reports that, but still answers. This is final.
    pub fn leave(&self) {
        self.0.send_if_modified(|state| {
            let changes = !matches!(state, State::Leaving | State::Draining);
            if changes {
                *state = State::Leaving;
            }
            changes
        });
    }

    /// The server shuts down. This is final.
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
