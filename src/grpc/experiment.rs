//! `proffer.v1.ExperimentService`: convert in, call one function of the ramps or of the shadows, convert out.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::limits::{check_author, check_id, check_note};
use super::management::{blocking, conceal, take_on, withhold};
use super::proto::proffer::v1 as wire;
use super::shadow::{ShadowReports, ShadowStanding};
use super::status;
use release::{Change, ChangedExperiment, ExperimentSummary, Order, Ramps};

/// The service, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ExperimentService {
    ramps: Ramps,
    shadows: Arc<dyn ShadowReports>,
}

impl ExperimentService {
    /// A service over the ramps of a store, and what the server has found out about its shadows.
    pub(super) fn new(ramps: Ramps, shadows: Arc<dyn ShadowReports>) -> Self {
        Self { ramps, shadows }
    }

    async fn change<T>(
        &self,
        request: &Request<T>,
        change: Result<Change, Status>,
    ) -> Result<Option<wire::ExperimentChange>, Status> {
        let admitted = take_on(request);
        let (change, ramps) = (change?, self.ramps.clone());
        let changed: ChangedExperiment = blocking(admitted, move |call| ramps.change(&change, call)).await?;
        Ok(Some(changed.into()))
    }
}

#[tonic::async_trait]
impl wire::experiment_service_server::ExperimentService for ExperimentService {
    async fn list_experiments(
        &self,
        request: Request<wire::ListExperimentsRequest>,
    ) -> Result<Response<wire::ListExperimentsResponse>, Status> {
        let (admitted, ramps) = (take_on(&request), self.ramps.clone());
        let is_operator = admitted.is_of_operator();
        let mut list = blocking(admitted, move |_| ramps.list()).await?;
        if !is_operator {
            withhold(&mut list.store_error);
            list.experiments.iter_mut().for_each(withhold_pending);
        }
        Ok(Response::new(list.into()))
    }

    async fn get_experiment(
        &self,
        request: Request<wire::GetExperimentRequest>,
    ) -> Result<Response<wire::GetExperimentResponse>, Status> {
        let (admitted, ramps) = (take_on(&request), self.ramps.clone());
        let id = request.into_inner().experiment;
        check_experiment(&id)?;
        let is_operator = admitted.is_of_operator();
        let mut detail = blocking(admitted, move |_| ramps.get(&id)).await?;
        if !is_operator {
            withhold(&mut detail.store_error);
            withhold_pending(&mut detail.experiment);
        }
        Ok(Response::new(detail.into()))
    }

    async fn start_experiment(
        &self,
        request: Request<wire::StartExperimentRequest>,
    ) -> Result<Response<wire::StartExperimentResponse>, Status> {
        let wire::StartExperimentRequest { experiment, reason, author } = request.get_ref();
        let change = self.change(&request, read(experiment, Order::Start, (author, reason))).await?;
        Ok(Response::new(wire::StartExperimentResponse { change }))
    }

    async fn ramp_experiment(
        &self,
        request: Request<wire::RampExperimentRequest>,
    ) -> Result<Response<wire::RampExperimentResponse>, Status> {
        let wire::RampExperimentRequest { experiment, coverage, reason, author } = request.get_ref();
        let order = read_coverage(*coverage).map(|coverage| Order::Ramp { coverage });
        let change = order.and_then(|order| read(experiment, order, (author, reason)));
        let change = self.change(&request, change).await?;
        Ok(Response::new(wire::RampExperimentResponse { change }))
    }

    async fn pause_experiment(
        &self,
        request: Request<wire::PauseExperimentRequest>,
    ) -> Result<Response<wire::PauseExperimentResponse>, Status> {
        let wire::PauseExperimentRequest { experiment, reason, author } = request.get_ref();
        let change = self.change(&request, read(experiment, Order::Pause, (author, reason))).await?;
        Ok(Response::new(wire::PauseExperimentResponse { change }))
    }

    async fn stop_experiment(
        &self,
        request: Request<wire::StopExperimentRequest>,
    ) -> Result<Response<wire::StopExperimentResponse>, Status> {
        let wire::StopExperimentRequest { experiment, reason, author } = request.get_ref();
        let change = read(experiment, Order::Stop, (author, reason));
        let admitted = take_on(&request);
        if admitted.is_before_release() {
            let (change, ramps) = (change?, self.ramps.clone());
            return blocking(admitted, move |_| Err(ramps.stop_later(&change))).await;
        }
        let change = self.change(&request, change).await?;
        Ok(Response::new(wire::StopExperimentResponse { change }))
    }

    async fn withdraw_stop(
        &self,
        request: Request<wire::WithdrawStopRequest>,
    ) -> Result<Response<wire::WithdrawStopResponse>, Status> {
        let (admitted, ramps) = (take_on(&request), self.ramps.clone());
        let wire::WithdrawStopRequest { experiment, author } = request.into_inner();
        check_experiment(&experiment)?;
        check_author(&author)?;
        let is_operator = admitted.is_of_operator();
        let mut stop = blocking(admitted, move |_| ramps.withdraw_stop(&experiment, &author)).await?;
        if !is_operator {
            withhold(&mut stop.error);
        }
        Ok(Response::new(wire::WithdrawStopResponse { stop: Some(stop.into()) }))
    }

    async fn conclude_experiment(
        &self,
        request: Request<wire::ConcludeExperimentRequest>,
    ) -> Result<Response<wire::ConcludeExperimentResponse>, Status> {
        let (admitted, ramps) = (take_on(&request), self.ramps.clone());
        let wire::ConcludeExperimentRequest { experiment, winner, note, author } = request.into_inner();
        check_experiment(&experiment)?;
        check_named("winner", "variant", &winner)?;
        check_note("note", &note)?;
        check_author(&author)?;
        let work = move |call: &_| ramps.conclude((&experiment, &winner), &author, &note, call);
        Ok(Response::new(blocking(admitted, work).await?.into()))
    }

    async fn get_shadow_report(
        &self,
        request: Request<wire::GetShadowReportRequest>,
    ) -> Result<Response<wire::GetShadowReportResponse>, Status> {
        let (admitted, shadows) = (take_on(&request), Arc::clone(&self.shadows));
        let wire::GetShadowReportRequest { shadow, placement } = request.into_inner();
        check_named("shadow", "shadow", &shadow)?;
        check_id("placement", &placement)?;
        let is_operator = admitted.is_of_operator();
        let mut found = blocking(admitted, move |_| shadows.find(&shadow)).await?;
        if let ShadowStanding::Unavailable(why) = &mut found.standing
            && !is_operator
        {
            conceal(why, "the release that serves cannot score it");
        }
        if !placement.is_empty() {
            found.only_at(&placement);
        }
        Ok(Response::new(found.into()))
    }
}

fn withhold_pending(experiment: &mut ExperimentSummary) {
    if let Some(stop) = &mut experiment.pending_stop {
        withhold(&mut stop.error);
    }
}

fn read(experiment: &str, order: Order, (author, reason): (&str, &str)) -> Result<Change, Status> {
    check_experiment(experiment)?;
    check_author(author)?;
    check_note("reason", reason)?;
    let [experiment, author, reason] = [experiment, author, reason].map(str::to_owned);
    Ok(Change { experiment, order, author, reason })
}

fn read_coverage(coverage: f64) -> Result<f64, Status> {
    // NaN is in no range.
    if coverage > 0.0 && coverage <= 1.0 {
        return Ok(coverage);
    }
    Err(status::invalid("coverage", format_args!("must be more than 0 and at most 1, not {coverage}")))
}

pub(super) fn check_experiment(id: &str) -> Result<(), Status> {
    check_named("experiment", "experiment", id)
}

fn check_named(field: &str, kind: &str, id: &str) -> Result<(), Status> {
    if id.is_empty() {
        return Err(status::invalid(field, format_args!("must be the id of one {kind}")));
    }
    check_id(field, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_texts_and_coverages_are_held_against_their_limits() {
        let told = |result: Result<Change, Status>| result.unwrap_err().message().to_owned();
        assert!(told(read("", Order::Stop, ("", ""))).starts_with("experiment: "));
        assert!(told(read(&"x".repeat(257), Order::Stop, ("", ""))).starts_with("experiment: "));
        assert!(told(read("e", Order::Stop, (&"x".repeat(257), ""))).starts_with("author: "));
        assert!(told(read("e", Order::Stop, ("", &"x".repeat(4097)))).starts_with("reason: "));
        assert_eq!(read("e", Order::Stop, ("me", "why")).unwrap().author, "me");
        for coverage in [0.0, -0.1, 1.000_1, f64::NAN, f64::INFINITY] {
            assert!(read_coverage(coverage).unwrap_err().message().starts_with("coverage: "), "{coverage}");
        }
        assert!(read_coverage(1.0).is_ok());
    }
}
