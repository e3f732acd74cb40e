//! The table of all calls, with what must be known of each before its body is read.
//!
//! A path that is not in it is `UNIMPLEMENTED`, even where a service has it. A new call is therefore entered here, with
//! its permits, its access and its threads.

use super::permits::Pool;

/// One call of a service.
#[derive(Debug)]
pub(super) struct Rpc {
    /// Its path: `/service/method`.
    pub path: &'static str,
    /// The name under which metrics count it.
    pub name: &'static str,
    /// The pool of its permits; `None` for probes, which must be answered above all when the server drains or is full.
    pub pool: Option<Pool>,
    /// What it may do.
    pub access: Access,
    /// How many messages its caller sends. A unary call begins when its message has arrived and the caller's stream has
    /// ended.
    pub requests: Cardinality,
    /// How many messages answer it.
    pub answers: Cardinality,
    /// On which threads it runs.
    pub offload: Offload,
    /// Whether it is taken before a release is loaded.
    pub before_release: bool,
}

/// Whether a call leaves the thread of its connection ([`super::offload`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Offload {
    /// If its message is long.
    #[default]
    IfLong,
    /// Always: a stream, or work on models and releases.
    Always,
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It changes neither models nor releases nor what is served.
    Reads,
    /// It changes models, releases or what is served.
    Writes,
}

/// How many messages go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cardinality {
    /// Exactly one.
    One,
    /// A stream of them.
    Many,
}

impl Rpc {
    const fn new(path: &'static str, name: &'static str, pool: Option<Pool>) -> Self {
        let (requests, answers) = (Cardinality::One, Cardinality::One);
        let (access, offload) = (Access::Reads, Offload::IfLong);
        Self { path, name, pool, access, requests, answers, offload, before_release: false }
    }

    const fn serving(path: &'static str, name: &'static str) -> Self {
        Self::new(path, name, Some(Pool::Serving))
    }

    const fn management(path: &'static str, name: &'static str) -> Self {
        Self::new(path, name, Some(Pool::Management)).offloaded()
    }

    /// A probe of the server's state.
    const fn probe(path: &'static str, name: &'static str) -> Self {
        Self::new(path, name, None)
    }

    /// A call that moves `CURRENT`.
    const fn switching(path: &'static str, name: &'static str) -> Self {
        Self::new(path, name, Some(Pool::Switching)).offloaded().writing()
    }

    const fn writing(self) -> Self {
        Self { access: Access::Writes, ..self }
    }

    const fn offloaded(self) -> Self {
        Self { offload: Offload::Always, ..self }
    }

    /// It is remembered until a release is loaded.
    const fn before_release(self) -> Self {
        Self { before_release: true, ..self }
    }

    /// A stream of requests.
    const fn taking_many(self) -> Self {
        Self { requests: Cardinality::Many, ..self }
    }

    /// A stream of answers.
    const fn giving_many(self) -> Self {
        Self { answers: Cardinality::Many, ..self }
    }

    /// Whether it is one message and one answer, which should take a bounded time. Streams last as long as both sides
    /// want.
    pub(super) fn is_unary(&self) -> bool {
        self.requests == Cardinality::One && self.answers == Cardinality::One
    }

    /// The service and the method, as traces name them.
    pub(super) fn method(&self) -> &'static str {
        self.path.strip_prefix('/').unwrap_or(self.path)
    }
}

/// The name under which other calls are counted: health, reflection, and unknown paths.
pub(super) const OTHER: &str = "other";

/// All calls.
pub(super) const RPCS: [Rpc; 42] = [
    Rpc::serving("/proffer.v1.DecisionService/Rank", "Rank"),
    Rpc::serving("/proffer.v1.DecisionService/RankStream", "RankStream")
        .offloaded()
        .taking_many()
        .giving_many(),
    Rpc::serving("/proffer.v1.DecisionService/Score", "Score"),
    Rpc::serving("/proffer.v1.DecisionService/ScoreStream", "ScoreStream")
        .offloaded()
        .taking_many()
        .giving_many(),
    Rpc::serving("/proffer.v1.DecisionService/AssignSegments", "AssignSegments"),
    Rpc::serving("/proffer.v1.FeedbackService/RecordOutcomes", "RecordOutcomes"),
    Rpc::serving("/proffer.v1.FeedbackService/RecordOutcomesStream", "RecordOutcomesStream")
        .offloaded()
        .taking_many()
        .giving_many(),
    Rpc::management("/proffer.v1.ModelService/PushModelVersion", "PushModelVersion").writing().taking_many(),
    Rpc::management("/proffer.v1.ModelService/ListModels", "ListModels"),
    Rpc::management("/proffer.v1.ModelService/GetModelVersion", "GetModelVersion"),
    Rpc::management("/proffer.v1.ModelService/DeleteModelVersion", "DeleteModelVersion").writing(),
    Rpc::management("/proffer.v1.ReleaseService/CreateRelease", "CreateRelease").writing(),
    Rpc::management("/proffer.v1.ReleaseService/GetRelease", "GetRelease"),
    Rpc::management("/proffer.v1.ReleaseService/ListReleases", "ListReleases"),
    Rpc::switching("/proffer.v1.ReleaseService/PromoteRelease", "PromoteRelease"),
    Rpc::switching("/proffer.v1.ReleaseService/RollbackRelease", "RollbackRelease"),
    Rpc::new("/proffer.v1.ReleaseService/WatchReleases", "WatchReleases", Some(Pool::Watching))
        .offloaded()
        .giving_many(),
    Rpc::management("/proffer.v1.ReleaseService/DiffReleases", "DiffReleases"),
    Rpc::management("/proffer.v1.ReleaseService/ListPromotions", "ListPromotions"),
    Rpc::management("/proffer.v1.ExperimentService/ListExperiments", "ListExperiments"),
    Rpc::management("/proffer.v1.ExperimentService/GetExperiment", "GetExperiment"),
    Rpc::switching("/proffer.v1.ExperimentService/StartExperiment", "StartExperiment"),
    Rpc::switching("/proffer.v1.ExperimentService/RampExperiment", "RampExperiment"),
    Rpc::switching("/proffer.v1.ExperimentService/PauseExperiment", "PauseExperiment"),
    Rpc::switching("/proffer.v1.ExperimentService/StopExperiment", "StopExperiment").before_release(),
    Rpc::management("/proffer.v1.ExperimentService/WithdrawStop", "WithdrawStop").writing().before_release(),
    Rpc::management("/proffer.v1.ExperimentService/ConcludeExperiment", "ConcludeExperiment").writing(),
    Rpc::management("/proffer.v1.ExperimentService/GetShadowReport", "GetShadowReport"),
    Rpc::management("/proffer.v1.AnalysisService/GetExperimentReport", "GetExperimentReport"),
    Rpc::management("/proffer.v1.AnalysisService/GetMetrics", "GetMetrics"),
    Rpc::management("/proffer.v1.RecordService/GetDecision", "GetDecision"),
    Rpc::management("/proffer.v1.RecordService/ListDecisions", "ListDecisions"),
    Rpc::probe("/inference.GRPCInferenceService/ServerLive", "ServerLive"),
    Rpc::probe("/inference.GRPCInferenceService/ServerReady", "ServerReady"),
    Rpc::probe("/inference.GRPCInferenceService/ModelReady", "ModelReady"),
    Rpc::probe("/inference.GRPCInferenceService/ServerMetadata", "ServerMetadata"),
    Rpc::serving("/inference.GRPCInferenceService/ModelMetadata", "ModelMetadata"),
    Rpc::serving("/inference.GRPCInferenceService/ModelInfer", "ModelInfer"),
    Rpc::probe("/grpc.health.v1.Health/Check", OTHER),
    Rpc::probe("/grpc.health.v1.Health/Watch", OTHER).giving_many(),
    Rpc::probe("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", OTHER)
        .taking_many()
        .giving_many(),
    Rpc::probe("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", OTHER)
        .taking_many()
        .giving_many(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// The descriptors of every service: by path, whether requests and answers are streams.
    fn described() -> BTreeMap<String, (bool, bool)> {
        let sets = [
            super::super::proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
        let mut found = BTreeMap::new();
        for file in files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    found.insert(path, (method.client_streaming(), method.server_streaming()));
                }
            }
        }
        found
    }

    #[test]
    fn every_call_of_every_service_is_known_with_the_messages_that_it_takes() {
        let described = described();
        let many = |cardinality| cardinality == Cardinality::Many;
        let table: BTreeMap<String, (bool, bool)> =
            RPCS.iter().map(|rpc| (rpc.path.to_owned(), (many(rpc.requests), many(rpc.answers)))).collect();
        assert_eq!(table, described);
        assert!(RPCS.iter().all(|rpc| rpc.name == OTHER || rpc.path.ends_with(&format!("/{}", rpc.name))));
    }

    #[test]
    fn who_writes_and_whose_permits_are_taken_follows_the_names() {
        for rpc in &RPCS {
            let verb = rpc.path.rsplit('/').next().unwrap();
            let changes = [
                "Push", "Delete", "Create", "Promote", "Rollback", "Start", "Ramp", "Pause", "Stop",
                "Withdraw", "Conclude",
            ];
            let writes = changes.iter().any(|change| verb.starts_with(change));
            assert_eq!(rpc.access == Access::Writes, writes, "{}", rpc.path);
            let pool = match verb {
                "PromoteRelease" | "RollbackRelease" => Some(Pool::Switching),
                "StartExperiment" | "RampExperiment" | "PauseExperiment" | "StopExperiment" => {
                    Some(Pool::Switching)
                }
                "WatchReleases" => Some(Pool::Watching),
                "ServerLive" | "ServerReady" | "ModelReady" | "ServerMetadata" => None,
                _ if rpc.path.starts_with("/grpc.") => None,
                _ if rpc.path.starts_with("/proffer.v1.DecisionService/") => Some(Pool::Serving),
                _ if rpc.path.starts_with("/proffer.v1.FeedbackService/") => Some(Pool::Serving),
                _ if rpc.path.starts_with("/inference.") => Some(Pool::Serving),
                _ => Some(Pool::Management),
            };
            assert_eq!(rpc.pool, pool, "{}", rpc.path);
            assert_eq!(
                rpc.before_release,
                ["StopExperiment", "WithdrawStop"].contains(&verb),
                "{}",
                rpc.path
            );
            // Short unless the message is long.
            let short = ["Rank", "Score", "AssignSegments", "RecordOutcomes"].contains(&verb);
            let always = rpc.path.starts_with("/proffer.v1.") && !short;
            assert_eq!(rpc.offload == Offload::Always, always, "{}", rpc.path);
        }
    }
}
