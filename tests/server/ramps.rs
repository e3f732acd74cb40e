//! Ramps: each step is a release that differs in one experiment, and undoes nothing that a person did.

#![allow(clippy::float_cmp, reason = "a coverage is what was written, digit by digit")]

mod commands;
mod fleet;
mod pending;
mod schedules;
mod stops;

use tonic::transport::Channel;
use tonic::{Code, Status};
use wire::experiment_service_client::ExperimentServiceClient;
use wire::{ExperimentAction, ExperimentState};

use super::harness::{Copy, Server, rank_request, wire};
use super::management::{Management, marked};
use super::unlimited::remove_experiments;

/// An experiment of the sample workspace, of two halves; `lines` go into it.
fn experiment(id: &str, lines: &str) -> String {
    let head = format!("\n[[experiment]]\nid = \"{id}\"   # by margin or not\nplacements = [\"app_home\"]\n");
    let arms = "[[experiment.variant]]\nid = \"as_is\"\nweight = 0.5\n\
                [[experiment.variant]]\nid = \"by_margin\"\nweight = 0.5\nstrategy = \"margin\"\n";
    format!("{head}coverage = 0.05 # of all\n{lines}\n{arms}")
}

/// A server over the sample with a draft called `margins`.
fn server(lines: &str) -> Server {
    Server::start(workspace(lines).path(), &[])
}

fn workspace(lines: &str) -> Copy {
    let copy = without_experiments();
    copy.append("policy.toml", &experiment("margins", lines));
    copy
}

/// The sample workspace without experiments of its own.
fn without_experiments() -> Copy {
    let copy = Copy::new();
    remove_experiments(copy.path());
    copy
}

const DRAFT: &str = "state = \"draft\"";

/// A client of the service.
#[derive(Clone)]
struct Experiments(ExperimentServiceClient<Channel>);

type Changed = Result<wire::ExperimentChange, Status>;

impl Experiments {
    fn over(channel: Channel) -> Self {
        Self(ExperimentServiceClient::new(channel))
    }

    async fn list(&mut self) -> wire::ListExperimentsResponse {
        self.0.list_experiments(wire::ListExperimentsRequest {}).await.unwrap().into_inner()
    }

    async fn get(&mut self, id: &str) -> wire::GetExperimentResponse {
        let request = wire::GetExperimentRequest { experiment: id.to_owned() };
        self.0.get_experiment(request).await.unwrap().into_inner()
    }

    /// Its state and its coverage.
    async fn standing(&mut self, id: &str) -> (ExperimentState, f64) {
        let experiment = self.get(id).await.experiment.unwrap();
        (experiment.state(), experiment.coverage)
    }

    async fn schedule(&mut self, id: &str) -> Option<wire::ExperimentSchedule> {
        self.get(id).await.experiment.unwrap().schedule
    }

    async fn start(&mut self, id: &str) -> Changed {
        let [experiment, reason, author] = [id, "a test", "a tester"].map(str::to_owned);
        let request = wire::StartExperimentRequest { experiment, reason, author };
        Ok(self.0.start_experiment(request).await?.into_inner().change.unwrap())
    }

    async fn ramp(&mut self, id: &str, coverage: f64) -> Changed {
        let [experiment, reason, author] = [id, "a test", "a tester"].map(str::to_owned);
        let request = wire::RampExperimentRequest { experiment, coverage, reason, author };
        Ok(self.0.ramp_experiment(request).await?.into_inner().change.unwrap())
    }

    async fn pause(&mut self, id: &str) -> Changed {
        let [experiment, reason, author] = [id, "a test", "a tester"].map(str::to_owned);
        let request = wire::PauseExperimentRequest { experiment, reason, author };
        Ok(self.0.pause_experiment(request).await?.into_inner().change.unwrap())
    }

    async fn stop(&mut self, id: &str) -> Changed {
        let [experiment, reason, author] = [id, "a test", "a tester"].map(str::to_owned);
        let request = wire::StopExperimentRequest { experiment, reason, author };
        Ok(self.0.stop_experiment(request).await?.into_inner().change.unwrap())
    }

    async fn withdraw(&mut self, id: &str) -> Result<wire::PendingStop, Status> {
        let [experiment, author] = [id, "a tester"].map(str::to_owned);
        let request = wire::WithdrawStopRequest { experiment, author };
        Ok(self.0.withdraw_stop(request).await?.into_inner().stop.unwrap())
    }

    async fn conclude(&mut self, id: &str, winner: &str) -> Result<wire::ConcludeExperimentResponse, Status> {
        let [experiment, winner, author, note] = [id, winner, "a tester", ""].map(str::to_owned);
        let request = wire::ConcludeExperimentRequest { experiment, winner, note, author };
        Ok(self.0.conclude_experiment(request).await?.into_inner())
    }
}

async fn clients(server: &Server) -> (Experiments, Management) {
    let channel = server.channel().await;
    (Experiments::over(channel.clone()), Management::over(channel))
}

async fn release(management: &mut Management, release: u64) -> wire::GetReleaseResponse {
    management.releases.get_release(wire::GetReleaseRequest { release }).await.unwrap().into_inner()
}

/// A person makes a release of the current one, with another text in its policy, and promotes it.
async fn person_replaces(management: &mut Management, from: &str, to: &str) -> u64 {
    let policy = release(management, 0).await.policy_toml;
    assert!(policy.contains(from), "no {from:?} in {policy}");
    let request = wire::CreateReleaseRequest {
        policy_toml: Some(policy.replacen(from, to, 1)),
        author: "a person".to_owned(),
        ..Default::default()
    };
    let made =
        management.releases.create_release(request).await.unwrap().into_inner().release.unwrap().number;
    management.promote(made).await.unwrap();
    made
}

/// Polls until `holds`, up to a limit.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("timed out waiting until {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_a_release_that_differs_in_the_experiment_alone() {
    use ExperimentAction::{Pause, Ramp, Start, Stop};
    let server = server(DRAFT);
    let (mut experiments, mut management) = clients(&server).await;
    let listed = experiments.list().await;
    let [margins] = &listed.experiments[..] else { panic!("{listed:?}") };
    assert_eq!(
        (margins.id.as_str(), margins.state(), listed.release),
        ("margins", ExperimentState::Draft, 1)
    );
    assert_eq!(margins.variants[1].changes, ["strategy = \"margin\""]);

    let started = experiments.start("margins").await.unwrap();
    assert_eq!(
        (started.changed, started.state(), started.current.unwrap().release),
        (true, ExperimentState::Running, 2)
    );
    let again = experiments.start("margins").await.unwrap();
    assert_eq!((again.changed, again.current.unwrap().release), (false, 2));
    let ramped = experiments.ramp("margins", 0.25).await.unwrap();
    assert_eq!((ramped.changed, ramped.coverage, ramped.current.unwrap().release), (true, 0.25, 3));
    assert!(!experiments.ramp("margins", 0.25).await.unwrap().changed);
    experiments.pause("margins").await.unwrap();
    assert!(!experiments.pause("margins").await.unwrap().changed);
    experiments.start("margins").await.unwrap();
    experiments.stop("margins").await.unwrap();
    assert!(!experiments.stop("margins").await.unwrap().changed);

    let texts = [release(&mut management, 1).await, release(&mut management, 6).await];
    let [before, after] = &texts;
    let expected = before.policy_toml.replace(
        "coverage = 0.05 # of all\nstate = \"draft\"",
        "coverage = 0.25 # of all\nstate = \"stopped\"",
    );
    assert_eq!(after.policy_toml, expected);
    assert_eq!((&before.features_toml, &before.offers_toml), (&after.features_toml, &after.offers_toml));
    assert_eq!(before.release.as_ref().unwrap().step, None);
    let step = after.release.as_ref().unwrap().step.clone().unwrap();
    assert_eq!(
        (step.action(), step.base, step.coverage, step.scheduled),
        (ExperimentAction::Stop, 5, 0.25, false)
    );
    assert_eq!(after.release.as_ref().unwrap().note, "experiment margins: stop, coverage 0.25: a test");
    let told = experiments.get("margins").await;
    let actions: Vec<ExperimentAction> = told.steps.iter().map(wire::ExperimentStepRecord::action).collect();
    assert_eq!(actions, [Stop, Start, Pause, Ramp, Start]);
    assert_eq!((told.steps[3].author.as_str(), told.steps[3].reason.as_str()), ("a tester", "a test"));
    let metrics = server.admin_get("/metrics").unwrap();
    assert!(
        metrics.contains("proffer_experiment_steps_total{action=\"start\",by=\"person\"} 2"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_experiment_does_not_allow_is_refused_with_the_reason() {
    let server = server(DRAFT);
    let (mut experiments, mut management) = clients(&server).await;
    let told = |changed: Changed| {
        let status = changed.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let (code, message) = told(experiments.start("margin").await);
    assert_eq!(code, Code::NotFound);
    assert!(message.contains("has no experiment `margin`; did you mean `margins`?"), "{message}");
    for (changed, expected) in [
        (experiments.ramp("margins", 0.5).await, "experiment `margins` is draft: start it first"),
        (
            experiments.pause("margins").await,
            "experiment `margins` is draft: only one that runs can be paused",
        ),
    ] {
        assert_eq!(told(changed), (Code::FailedPrecondition, expected.to_owned()));
    }
    let refused = experiments.conclude("margins", "by_margin").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    experiments.start("margins").await.unwrap();
    let (code, message) = told(experiments.ramp("margins", 0.01).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.starts_with("coverage: must be more than the 0.05 that it has"), "{message}");
    experiments.stop("margins").await.unwrap();
    let (code, message) = told(experiments.start("margins").await);
    assert!(
        code == Code::FailedPrecondition && message.contains("is stopped: that is for good"),
        "{message}"
    );
    assert_eq!(experiments.withdraw("margins").await.unwrap_err().code(), Code::NotFound);
    // Nothing of it made a release.
    assert_eq!(management.list().await.releases.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_winner_is_a_release_that_a_person_promotes() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    experiments.ramp("margins", 0.5).await.unwrap();
    let unknown = experiments.conclude("margins", "by_margins").await.unwrap_err();
    assert!(
        unknown.code() == Code::NotFound && unknown.message().contains("did you mean `by_margin`?"),
        "{unknown:?}"
    );
    let concluded = experiments.conclude("margins", "by_margin").await.unwrap();
    let made = concluded.release.unwrap();
    assert!(concluded.created);
    assert_eq!((made.number, made.step.as_ref().unwrap().action()), (3, ExperimentAction::Conclude));
    assert_eq!(management.list().await.current.unwrap().release, 2);
    let again = experiments.conclude("margins", "by_margin").await.unwrap();
    assert_eq!((again.created, again.release.unwrap().number), (false, 3));
    let policy = release(&mut management, 3).await.policy_toml;
    assert!(policy.contains("count = 3\nstrategy = \"margin\""), "{policy}");
    assert!(policy.contains("coverage = 0.5 # of all\nstate = \"stopped\""), "{policy}");
    management.promote(3).await.unwrap();
    assert_eq!(experiments.standing("margins").await.0, ExperimentState::Stopped);
    // It is a release of a person: a later rollback may go to it, and one from it goes to the person's before.
    assert_eq!(management.create(&[]).await.unwrap(), 4);
    management.promote(4).await.unwrap();
    for expected in [3, 1] {
        assert_eq!(management.rollback().await.unwrap().current.unwrap().release, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_a_winner_is_pinned_unless_another_placement_uses_it() {
    let server = Server::start(without_experiments().path(), &[]);
    let (mut experiments, mut management) = clients(&server).await;
    management.push("propensity", 2, marked("propensity", "a challenger").path()).await.unwrap();
    let challenger =
        experiment("margins", "").replace("strategy = \"margin\"", "models = { propensity = 2 }");
    let before = release(&mut management, 0).await.policy_toml;
    let with_it = format!("{}\n{challenger}", before.trim_end());
    assert_eq!(person_replaces(&mut management, &before, &with_it).await, 2);
    experiments.ramp("margins", 1.0).await.unwrap();
    // The step has the models of release 2; the first release has others, and stays warm beside it.
    assert_eq!(management.list().await.serving.unwrap().warm, [2, 1]);
    let refused = experiments.conclude("margins", "by_margin").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let expected = "changes model `propensity`, which holds at placement `call_center`, too";
    assert!(refused.message().contains(expected), "{refused:?}");
    let (here, both) = ("[\"app_home\"]\ncoverage", "[\"app_home\", \"call_center\"]\ncoverage");
    person_replaces(&mut management, here, both).await;
    let concluded = experiments.conclude("margins", "by_margin").await.unwrap().release.unwrap();
    assert_eq!(concluded.models["propensity"], 2);
    management.promote(concluded.number).await.unwrap();
    let answer =
        server.client().await.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert_eq!(answer.release, concluded.number);
    let factors = answer.results[0].offers[0].factors.as_ref().unwrap();
    assert_eq!((factors.model.as_str(), factors.model_version), ("propensity", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_during_a_ramp_goes_to_the_last_release_of_a_person() {
    let server = server(DRAFT);
    let (mut experiments, mut management) = clients(&server).await;
    let person = person_replaces(&mut management, "count = 3", "count = 2").await;
    experiments.start("margins").await.unwrap();
    for coverage in [0.1, 0.25, 0.5] {
        let ramped = experiments.ramp("margins", coverage).await.unwrap();
        assert_eq!(ramped.current.unwrap().previous, person);
    }
    let back = management.rollback().await.unwrap().current.unwrap();
    assert_eq!((back.release, back.previous), (person, 1));
    assert_eq!(experiments.standing("margins").await, (ExperimentState::Draft, 0.05));
    assert_eq!(management.rollback().await.unwrap().current.unwrap().release, 1);
    assert_eq!(management.rollback().await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_warns_of_experiments_that_run_again() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    experiments.stop("margins").await.unwrap();
    let back = management.rollback().await.unwrap();
    let [warning] = &back.warnings[..] else { panic!("{back:?}") };
    assert_eq!(
        warning,
        "experiment `margins` was stopped, and runs again in release 1: stop it if it must not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_promotion_of_a_release_from_before_a_stop_warns_of_what_runs_again() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    let made = management.create(&[]).await.unwrap();
    let paused = experiments.pause("margins").await.unwrap().current.unwrap().release;
    let started = experiments.start("margins").await.unwrap().current.unwrap().release;
    // Who promotes a start over what it starts from wants just that.
    for step in [paused, started] {
        assert!(management.promote(step).await.unwrap().warnings.is_empty());
    }
    experiments.stop("margins").await.unwrap();
    let promoted = management.promote(made).await.unwrap();
    let [warning] = &promoted.warnings[..] else { panic!("{promoted:?}") };
    assert_eq!(
        *warning,
        format!("experiment `margins` was stopped, and runs again in release {made}: stop it if it must not")
    );
    // It is current already: nothing changes.
    assert!(management.promote(made).await.unwrap().warnings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_release_before_a_ramp_is_warm_after_ten_steps() {
    let server = server(DRAFT);
    let (mut experiments, mut management) = clients(&server).await;
    experiments.start("margins").await.unwrap();
    for step in 1..=9 {
        experiments.ramp("margins", 0.1 * f64::from(step)).await.unwrap();
    }
    let serving = management.list().await.serving.unwrap();
    // Release 11 serves; of those with its models, the latest and the one to go back to stay.
    assert_eq!((serving.release, serving.warm), (11, vec![10, 1]));
    let back = management.rollback().await.unwrap();
    assert!(back.warm);
    assert_eq!(back.current.unwrap().release, 1);
}

async fn channel(address: std::net::SocketAddr) -> Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
