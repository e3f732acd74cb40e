//! What the two management services share: the deadline of a call, the details that its caller may read, and the thread
//! of its work.
//!
//! The work blocks: it reads and writes files, loads models and runs gates. So it runs on a blocking thread, and goes
//! on there when its caller goes away. Work that is useless without a caller checks its [`Call`].

use tonic::{Request, Status};

use super::admission::Admitted;
use super::decision::request_id;
use super::status::{self, Audience};
use release::RegistryError;
use work::Call;

/// Accepts a call: from now on only its caller's deadline bounds it.
pub(super) fn take_on<T>(request: &Request<T>) -> Admitted {
    let admitted = Admitted::of(request);
    admitted.take_time();
    admitted
}

/// Runs the work of a call on a blocking thread. The work holds the permit, so it still counts after its caller has
/// gone.
///
/// # Errors
/// The error of the work. Faults of the server name only the request id.
pub(super) async fn blocking<T, F>(admitted: Admitted, work: F) -> Result<T, Status>
where
    T: Send + 'static,
    F: FnOnce(&Call) -> Result<T, RegistryError> + Send + 'static,
{
    let id = request_id("");
    let audience = if admitted.is_of_operator() { Audience::Operator } else { Audience::Caller };
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&admitted.call))).await;
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(status::from_registry(&error, &id, audience)),
        Err(panicked) => Err(status::internal(&panicked.to_string(), &id)),
    }
}

/// Replaces what the store said, if it said anything: only operators may know its paths and endpoints.
pub(super) fn withhold(error: &mut String) {
    if !error.is_empty() {
        conceal(error, "the store cannot be used at the moment");
    }
}

/// Replaces details that are for operators. The log gets them under the id that the text has.
pub(super) fn conceal(details: &mut String, instead: &str) {
    let request_id = telemetry::ids::new_id();
    tracing::warn!(%request_id, %details, "an answer leaves out what is for operators");
    *details = format!("{instead}; the log of the server has the details under request id {request_id}");
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn work_is_offloaded_and_its_panic_is_our_fault() {
        assert_eq!(blocking(Admitted::default(), |_| Ok(7)).await.unwrap(), 7);
        let panicked = blocking::<(), _>(Admitted::default(), |_| panic!("on purpose")).await.unwrap_err();
        assert_eq!(panicked.code(), Code::Internal);
        assert!(!panicked.message().contains("purpose"));
    }

    #[test]
    fn what_the_store_said_is_for_operators() {
        let mut error = "/srv/store/CURRENT at http://minio.internal:9000".to_owned();
        withhold(&mut error);
        assert!(!error.contains('/') && !error.contains("minio"), "{error}");
        let id = error.rsplit(' ').next().unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{error}");
        // A store that works has said nothing.
        let mut nothing = String::new();
        withhold(&mut nothing);
        assert!(nothing.is_empty());
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
        // Begun or not, the work runs to its end and knows that the caller has gone.
        go.send(()).unwrap();
        assert!(told.await.unwrap().is_err());
    }
}
