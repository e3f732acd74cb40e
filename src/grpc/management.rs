//! What the two services of management share: who may write, whose time bounds a call, and where its work is done.
//!
//! The work blocks (it reads and writes files, loads models, runs gates), so it is done on a blocking thread, and goes on
//! there when its caller goes away; what must not be done for nobody looks at its [`Call`].

use tonic::{Request, Status};

use super::admission::Admitted;
use super::decision::request_id;
use super::status;
use crate::model::Call;
use crate::release::RegistryError;

/// Takes a call on: from now on its caller's deadline alone bounds it.
pub(super) fn take_on<T>(request: &Request<T>) -> Admitted {
    let admitted = Admitted::of(request);
    admitted.take_time();
    admitted
}

/// Whose writes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// Peers on loopback.
    Local,
    /// Everyone who reaches the port.
    Everyone,
}

impl Writers {
    /// [`take_on`] for a call that writes.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for a peer whose writes are not taken.
    pub fn take_on<T>(self, request: &Request<T>) -> Result<Admitted, Status> {
        let local = request.remote_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        if self == Self::Local && !local {
            return Err(Status::permission_denied(
                "only peers on loopback may change anything; `proffer serve --allow-remote-admin` lets everyone who reaches the \
                 port",
            ));
        }
        Ok(take_on(request))
    }
}

/// Does the work of a call on a blocking thread. Its permit goes along, so that work whose caller has gone still counts.
///
/// # Errors
/// What the work refuses; our own faults by request id.
pub(super) async fn blocking<T, F>(admitted: Admitted, work: F) -> Result<T, Status>
where
    T: Send + 'static,
    F: FnOnce(&Call) -> Result<T, RegistryError> + Send + 'static,
{
    let id = request_id("");
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&admitted.call))).await;
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(status::from_registry(&error, &id)),
        Err(panicked) => Err(status::internal(&panicked.to_string(), &id)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tonic::Code;
    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    fn from(peer: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(peer) = peer {
            let remote_addr: SocketAddr = peer.parse().unwrap();
            request
                .extensions_mut()
                .insert(TcpConnectInfo { local_addr: None, remote_addr: Some(remote_addr) });
        }
        request
    }

    #[test]
    fn only_loopback_writes_unless_everyone_may() {
        for peer in ["127.0.0.1:9", "127.1.2.3:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert!(Writers::Local.take_on(&from(Some(peer))).is_ok(), "{peer}");
        }
        for peer in [Some("10.0.0.1:9"), Some("[::ffff:10.0.0.1]:9"), Some("[fe80::1]:9"), None] {
            let Err(refused) = Writers::Local.take_on(&from(peer)) else { panic!("{peer:?}") };
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(refused.message().contains("--allow-remote-admin"), "{refused}");
            assert!(Writers::Everyone.take_on(&from(peer)).is_ok());
        }
    }

    #[tokio::test]
    async fn work_is_done_aside_and_its_panic_is_our_fault() {
        assert_eq!(blocking(Admitted::default(), |_| Ok(7)).await.unwrap(), 7);
        let panicked = blocking::<(), _>(Admitted::default(), |_| panic!("on purpose")).await.unwrap_err();
        assert_eq!(panicked.code(), Code::Internal);
        assert!(!panicked.message().contains("purpose"));
    }

    #[tokio::test]
    async fn work_goes_on_when_its_caller_goes_away() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        let admitted = Admitted::default();
        let call = admitted.call.clone();
        let waiting = tokio::spawn(async move {
            let _gone = call.abandon_on_drop();
            blocking(admitted, move |call| {
                wait.recv().unwrap();
                let _ = tell.send(call.check());
                Ok(())
            })
            .await
        });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        // Whether the work had begun or not, it is done, and knows that nobody waits.
        go.send(()).unwrap();
        assert!(told.await.unwrap().is_err());
    }
}
