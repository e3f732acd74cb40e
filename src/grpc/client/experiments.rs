//! `ExperimentService` for the command line: the values of `release` in and out.

use super::{Client, ClientError, Unreadable, wire};
use release::{
    Change, ChangedExperiment, ConcludedExperiment, ExperimentDetail, ExperimentList, Order, PendingStop,
};

impl Client {
    /// The experiments of the current release.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn list_experiments(&self) -> Result<ExperimentList, ClientError> {
        let request = wire::ListExperimentsRequest {};
        Ok(self.experiments().list_experiments(request).await?.into_inner().try_into()?)
    }

    /// One experiment, with what was done to it.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn experiment(&self, id: &str) -> Result<ExperimentDetail, ClientError> {
        let request = wire::GetExperimentRequest { experiment: id.to_owned() };
        Ok(self.experiments().get_experiment(request).await?.into_inner().try_into()?)
    }

    /// Changes an experiment.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn change_experiment(&self, change: Change) -> Result<ChangedExperiment, ClientError> {
        let Change { experiment, order, author, reason } = change;
        let mut service = self.experiments();
        let changed = match order {
            Order::Start => {
                let request = wire::StartExperimentRequest { experiment, reason, author };
                service.start_experiment(request).await?.into_inner().change
            }
            Order::Ramp { coverage } => {
                let request = wire::RampExperimentRequest { experiment, coverage, reason, author };
                service.ramp_experiment(request).await?.into_inner().change
            }
            Order::Pause => {
                let request = wire::PauseExperimentRequest { experiment, reason, author };
                service.pause_experiment(request).await?.into_inner().change
            }
            Order::Stop => {
                let request = wire::StopExperimentRequest { experiment, reason, author };
                service.stop_experiment(request).await?.into_inner().change
            }
        };
        let changed = changed.ok_or_else(|| Unreadable("`change` is missing".to_owned()))?;
        Ok(changed.try_into()?)
    }

    /// Gives up a stop that is pending on the server.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn withdraw_stop(&self, id: &str, author: &str) -> Result<PendingStop, ClientError> {
        let request = wire::WithdrawStopRequest { experiment: id.to_owned(), author: author.to_owned() };
        let stop = self.experiments().withdraw_stop(request).await?.into_inner().stop;
        Ok(stop.ok_or_else(|| Unreadable("`stop` is missing".to_owned()))?.into())
    }

    /// Makes the release of a winner.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn conclude_experiment(
        &self,
        (id, winner): (&str, &str),
        author: &str,
        note: &str,
    ) -> Result<ConcludedExperiment, ClientError> {
        let [experiment, winner, author, note] = [id, winner, author, note].map(str::to_owned);
        let request = wire::ConcludeExperimentRequest { experiment, winner, note, author };
        Ok(self.experiments().conclude_experiment(request).await?.into_inner().try_into()?)
    }
}
