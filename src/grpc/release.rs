//! `proffer.v1.ReleaseService`: convert in, call one function of the registry or the deployer, convert out.

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;

use super::admission::Admitted;
use super::decision::request_id;
use super::limits::{check_author, check_count, check_model_name, check_note};
use super::management::{blocking, take_on, withhold};
use super::proto::proffer::v1 as wire;
use super::status;
use release::{Deployer, PromotionRequest, Registry, ReleaseDraft, ServingState};

/// Models that one call may name.
const MAX_MODELS: usize = 10_000;

/// The default length of a list of releases or promotions.
const LISTED: usize = 100;

/// The most releases or promotions of one list.
const MAX_LISTED: usize = 10_000;

/// The service, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ReleaseService {
    registry: Registry,
    deployer: Deployer,
}

impl ReleaseService {
    /// A service over the store and the serving state.
    pub(super) fn new(registry: Registry, deployer: Deployer) -> Self {
        Self { registry, deployer }
    }
}

#[tonic::async_trait]
impl wire::release_service_server::ReleaseService for ReleaseService {
    async fn create_release(
        &self,
        request: Request<wire::CreateReleaseRequest>,
    ) -> Result<Response<wire::CreateReleaseResponse>, Status> {
        let admitted = take_on(&request);
        let draft = read_draft(request.into_inner())?;
        let registry = self.registry.clone();
        let created = blocking(admitted, move |call| registry.create_release(&draft, call)).await?;
        Ok(Response::new(created.into()))
    }

    async fn get_release(
        &self,
        request: Request<wire::GetReleaseRequest>,
    ) -> Result<Response<wire::GetReleaseResponse>, Status> {
        let admitted = take_on(&request);
        let number = request.into_inner().release;
        let registry = self.registry.clone();
        let files = blocking(admitted, move |_| registry.release(number)).await?;
        Ok(Response::new(files.into()))
    }

    async fn list_releases(
        &self,
        request: Request<wire::ListReleasesRequest>,
    ) -> Result<Response<wire::ListReleasesResponse>, Status> {
        let admitted = take_on(&request);
        let wire::ListReleasesRequest { count, before } = request.into_inner();
        let count = if count == 0 { LISTED } else { (count as usize).min(MAX_LISTED) };
        let registry = self.registry.clone();
        let is_operator = admitted.is_of_operator();
        let mut list = blocking(admitted, move |_| registry.releases(count, before)).await?;
        list.serving = Some(told_to(is_operator, self.deployer.state().borrow().clone()));
        Ok(Response::new(list.into()))
    }

    async fn promote_release(
        &self,
        request: Request<wire::PromoteReleaseRequest>,
    ) -> Result<Response<wire::PromoteReleaseResponse>, Status> {
        let admitted = take_on(&request);
        let request = read_promotion(request.into_inner())?;
        let deployer = self.deployer.clone();
        let promotion = blocking(admitted, move |call| deployer.promote(&request, call)).await?;
        Ok(Response::new(promotion.into()))
    }

    async fn rollback_release(
        &self,
        request: Request<wire::RollbackReleaseRequest>,
    ) -> Result<Response<wire::RollbackReleaseResponse>, Status> {
        let admitted = take_on(&request);
        let wire::RollbackReleaseRequest { reason, author } = request.into_inner();
        check_note("reason", &reason)?;
        check_author(&author)?;
        let deployer = self.deployer.clone();
        let promotion = blocking(admitted, move |call| deployer.rollback(&author, &reason, call)).await?;
        Ok(Response::new(promotion.into()))
    }

    type WatchReleasesStream = ReceiverStream<Result<wire::WatchReleasesResponse, Status>>;

    async fn watch_releases(
        &self,
        request: Request<wire::WatchReleasesRequest>,
    ) -> Result<Response<Self::WatchReleasesStream>, Status> {
        let admitted = take_on(&request);
        let (answers, taken) = mpsc::channel(1);
        let state = self.deployer.state();
        let counted = admitted.take_count();
        let reporting = async move {
            let code = tell(state, &answers, &admitted).await;
            if let Some(counted) = counted {
                counted.finish(code.into());
            }
        };
        tokio::spawn(reporting.in_current_span());
        Ok(Response::new(ReceiverStream::new(taken)))
    }

    async fn list_promotions(
        &self,
        request: Request<wire::ListPromotionsRequest>,
    ) -> Result<Response<wire::ListPromotionsResponse>, Status> {
        let admitted = take_on(&request);
        let wire::ListPromotionsRequest { count, before } = request.into_inner();
        let count = if count == 0 { LISTED } else { (count as usize).min(MAX_LISTED) };
        let registry = self.registry.clone();
        let promotions = blocking(admitted, move |_| registry.promotions(count, before)).await?;
        let promotions = promotions.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListPromotionsResponse { promotions }))
    }

    async fn diff_releases(
        &self,
        request: Request<wire::DiffReleasesRequest>,
    ) -> Result<Response<wire::DiffReleasesResponse>, Status> {
        let admitted = take_on(&request);
        let wire::DiffReleasesRequest { from, to } = request.into_inner();
        let registry = self.registry.clone();
        let diff = blocking(admitted, move |_| registry.diff(from, to)).await?;
        Ok(Response::new(diff.into()))
    }
}

/// Sends the state and each change of it; a slow watcher misses intermediate states. Returns how it ended.
async fn tell(
    mut state: watch::Receiver<ServingState>,
    answers: &mpsc::Sender<Result<wire::WatchReleasesResponse, Status>>,
    admitted: &Admitted,
) -> Code {
    let end = loop {
        let now = told_to(admitted.is_of_operator(), state.borrow_and_update().clone());
        tokio::select! {
            sent = answers.send(Ok(now.into())) => if sent.is_err() { return Code::Cancelled },
            ended = admitted.ended() => break ended,
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { break status::draining() },
            ended = admitted.ended() => break ended,
            () = answers.closed() => return Code::Cancelled,
        }
    };
    let end = status::complete(end, || request_id(""));
    let code = end.code();
    // A watcher that does not read learns of it from the end of the connection.
    let _ = answers.send(Err(end)).await;
    code
}

/// The state as its reader may know it: only operators read what the store said.
fn told_to(is_operator: bool, mut state: ServingState) -> ServingState {
    if !is_operator {
        withhold(&mut state.store_error);
    }
    state
}

fn read_draft(request: wire::CreateReleaseRequest) -> Result<ReleaseDraft, Status> {
    check_author(&request.author)?;
    check_note("note", &request.note)?;
    check_count("models", "entries", request.models.len(), MAX_MODELS)?;
    for name in request.models.keys() {
        check_model_name("models", name)?;
    }
    Ok(request.into())
}

fn read_promotion(request: wire::PromoteReleaseRequest) -> Result<PromotionRequest, Status> {
    let wire::PromoteReleaseRequest { release, expected_current, reason, author } = request;
    check_author(&author)?;
    check_note("reason", &reason)?;
    if release == 0 {
        return Err(status::invalid("release", "must be the number of a release, 1 or more"));
    }
    Ok(PromotionRequest { release, expected_current, author, reason })
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[test]
    fn texts_and_numbers_are_held_against_their_limits() {
        let draft = |change: fn(&mut wire::CreateReleaseRequest)| {
            let mut request = wire::CreateReleaseRequest::default();
            change(&mut request);
            read_draft(request).map_err(|status| status.message().to_owned())
        };
        assert!(draft(|request| request.note = "x".repeat(4096)).is_ok());
        assert!(draft(|request| request.note = "x".repeat(4097)).unwrap_err().starts_with("note: "));
        assert!(draft(|request| request.author = "x".repeat(257)).unwrap_err().starts_with("author: "));
        let named = draft(|request| _ = request.models.insert("a/b".to_owned(), 1));
        assert!(named.unwrap_err().starts_with("models: "));
        let request = |release, reason: &str| {
            let reason = reason.to_owned();
            read_promotion(wire::PromoteReleaseRequest { release, reason, ..Default::default() })
                .map_err(|status| status.message().to_owned())
        };
        assert_eq!(request(3, "why").unwrap().expected_current, None);
        assert!(request(0, "").unwrap_err().starts_with("release: "));
        assert!(request(3, &"x".repeat(4097)).unwrap_err().starts_with("reason: "));
    }

    #[tokio::test]
    async fn a_watcher_is_told_of_the_state_its_changes_and_the_end() {
        let readiness = telemetry::Readiness::default();
        let mut admitted = Admitted::default();
        admitted.readiness = Some(readiness.clone());
        let (state, watched) = watch::channel(ServingState { release: 1, ..ServingState::default() });
        let (answers, taken) = mpsc::channel(1);
        let reporting = tokio::spawn(async move { tell(watched, &answers, &admitted).await });
        let mut told = ReceiverStream::new(taken);
        let release = |answer: Option<Result<wire::WatchReleasesResponse, Status>>| {
            answer.unwrap().map(|answer| answer.serving.unwrap().release).map_err(|status| status.code())
        };
        assert_eq!(release(told.next().await), Ok(1));
        state.send_modify(|state| state.release = 2);
        assert_eq!(release(told.next().await), Ok(2));
        readiness.drain();
        assert_eq!(release(told.next().await), Err(Code::Unavailable));
        assert_eq!(reporting.await.unwrap(), Code::Unavailable);
    }

    #[tokio::test]
    async fn only_operators_are_told_what_the_store_said() {
        let said = "/srv/store/CURRENT: permission denied".to_owned();
        let state = ServingState { release: 7, store_error: said.clone(), ..ServingState::default() };
        assert_eq!(told_to(true, state.clone()), state);
        let told = told_to(false, state.clone());
        assert!(told.release == 7 && told.store_error.contains("under request id"), "{told:?}");
        // A caller that did not come from loopback watches.
        let (_state, watched) = watch::channel(state);
        let (answers, taken) = mpsc::channel(1);
        let reporting = tokio::spawn(async move { tell(watched, &answers, &Admitted::default()).await });
        let told = ReceiverStream::new(taken).next().await.unwrap().unwrap().serving.unwrap();
        assert!(!told.store_error.is_empty() && !told.store_error.contains("/srv"), "{told:?}");
        assert_eq!(reporting.await.unwrap(), Code::Cancelled);
    }

    #[tokio::test]
    async fn a_watcher_who_goes_is_told_nothing_more() {
        let (_state, watched) = watch::channel(ServingState::default());
        let (answers, taken) = mpsc::channel(1);
        drop(taken);
        assert_eq!(tell(watched, &answers, &Admitted::default()).await, Code::Cancelled);
    }
}
