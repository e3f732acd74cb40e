//! Versions of variants in a store on S3: each server fetches those that its release needs, and they are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scene::variant;
use crate::binary::{Ended, Process, command};
use crate::harness::{Copy, rank_request, wire};
use crate::management::{Management, marked};
use crate::records_faults::channel;
use crate::s3::S3;
use crate::unlimited::remove_experiments;
use wire::decision_service_client::DecisionServiceClient;

/// The challenger of the sample's `propensity`, for everyone at one placement.
const EXPERIMENT: &str = "\n[[experiment]]\nid = \"model\"\nplacements = [\"app_home\"]\ncoverage = 1.0\n\
    [[experiment.variant]]\nid = \"champion\"\nweight = 0.5\n\
    [[experiment.variant]]\nid = \"challenger\"\nweight = 0.5\nmodels = { propensity = 2 }\n";

/// A server over a store on S3.
struct OnS3 {
    server: Process,
    mirror: PathBuf,
}

impl OnS3 {
    /// With its mirror in a directory.
    fn start(s3: &S3, location: &str, mirror: &Path) -> Self {
        let mut serve = command();
        serve.envs(s3.variables()).env("PROFFER_SERVER_MIRROR", mirror).env("PROFFER_SERVER_POLL", "100ms");
        Self { server: Process::start(serve, Path::new(location)), mirror: mirror.to_owned() }
    }

    fn has(&self, version: u64) -> bool {
        self.mirror.join(format!("models/propensity/{version}/model.onnx")).is_file()
    }

    async fn management(&self) -> Management {
        Management::over(channel(self.server.address).await)
    }

    /// The release that answers, and its answers to so many customers of the sample.
    async fn rank(&self, customers: usize) -> (u64, Vec<wire::RankResult>) {
        let ids: Vec<String> = (1..=customers).map(|number| format!("C{number:06}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let client = DecisionServiceClient::new(channel(self.server.address).await);
        let mut client = client.max_decoding_message_size(usize::MAX);
        let answer = client.rank(rank_request("app_home", &ids)).await.unwrap().into_inner();
        (answer.release, answer.results)
    }

    /// Checks that the offers of each customer were scored by the version of their arm.
    async fn serves_both_arms(&self, release: u64) {
        let (answering, results) = self.rank(200).await;
        assert_eq!(answering, release);
        let mut scored = [0, 0];
        for result in &results {
            let challenges = match variant(result, "model") {
                Some("champion") => false,
                Some("challenger") => true,
                other => panic!("{other:?}: {result:?}"),
            };
            for factors in result.offers.iter().filter_map(|offer| offer.factors.as_ref()) {
                assert_eq!(
                    (factors.model.as_str(), factors.model_version),
                    ("propensity", 1 + u64::from(challenges))
                );
                scored[usize::from(challenges)] += 1;
            }
        }
        assert!(scored.iter().all(|count| *count > 50), "{scored:?}");
    }
}

/// Polls until `holds`, up to a limit.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("timed out waiting until {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_variants_name_are_fetched_mirrored_and_protected() {
    let Some(s3) = S3::shared() else { return };
    let (location, directory, workspace) = (s3.new_location(), tempfile::tempdir().unwrap(), Copy::new());
    remove_experiments(workspace.path());
    let run = |words: &[&str]| -> Ended {
        command().envs(s3.variables()).args(words).args(["--store", &location]).output().unwrap().into()
    };
    let made = run(&["init", "--from", workspace.path().to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let one = OnS3::start(s3, &location, &directory.path().join("one"));
    let mut management = one.management().await;
    // Not the highest version, which every server has for callers who ask the model itself.
    for version in [2, 3] {
        let challenger = marked("propensity", &format!("challenger {version}"));
        let pushed = management.push("propensity", version, challenger.path()).await.unwrap();
        assert!(pushed.verdict.unwrap().passed);
    }
    let other = OnS3::start(s3, &location, &directory.path().join("other"));
    assert!(other.has(1) && !other.has(2), "nothing needs version 2 yet");

    let current = management.releases.get_release(wire::GetReleaseRequest { release: 0 }).await.unwrap();
    let request = wire::CreateReleaseRequest {
        policy_toml: Some(format!("{}{EXPERIMENT}", current.into_inner().policy_toml)),
        author: "a test".to_owned(),
        ..Default::default()
    };
    let made = management.releases.create_release(request).await.unwrap().into_inner().release.unwrap();
    assert_eq!((made.number, made.models["propensity"]), (2, 1));
    management.promote(2).await.unwrap();
    one.serves_both_arms(2).await;
    // The other server follows, and fetches what the release needs beyond what it pins.
    until("the replica follows", async || other.rank(1).await.0 == 2).await;
    assert!(other.has(1) && other.has(2));
    other.serves_both_arms(2).await;

    // Neither a command nor a server deletes it, and a version that nothing needs goes.
    for version in ["1", "2"] {
        let refused = run(&["model", "delete", "propensity", version]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("release 2") || version == "1", "{refused:?}");
    }
    let deleted = run(&["model", "delete", "propensity", "3"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    let kept = s3.directory(&location).join("models/propensity");
    assert!(kept.join("2/model.onnx").is_file() && !kept.join("3/model.onnx").is_file());
    until("mirrors drop what the store no longer has", async || !one.has(3) && !other.has(3)).await;
    assert!(one.has(2) && other.has(2));
    other.serves_both_arms(2).await;

    // A server with an empty mirror, as in a new container, fetches both.
    assert!(other.server.terminate().success());
    let fresh = OnS3::start(s3, &location, &directory.path().join("fresh"));
    assert!(fresh.has(1) && fresh.has(2));
    fresh.serves_both_arms(2).await;
    assert!(one.server.terminate().success() && fresh.server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_variant_names_a_version_that_the_bucket_lacks_is_refused_with_its_line() {
    let Some(s3) = S3::shared() else { return };
    let (location, directory, workspace) = (s3.new_location(), tempfile::tempdir().unwrap(), Copy::new());
    remove_experiments(workspace.path());
    let mut init = command();
    init.envs(s3.variables()).args(["init", "--store", &location, "--from"]).arg(workspace.path());
    let made: Ended = init.output().unwrap().into();
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = OnS3::start(s3, &location, &directory.path().join("mirror"));
    let mut management = server.management().await;
    let current = management.releases.get_release(wire::GetReleaseRequest { release: 0 }).await.unwrap();
    let policy = format!("{}{EXPERIMENT}", current.into_inner().policy_toml);
    let line = policy.lines().position(|line| line == "models = { propensity = 2 }").unwrap() + 1;
    let request = wire::CreateReleaseRequest { policy_toml: Some(policy), ..Default::default() };
    let refused = management.releases.create_release(request).await.unwrap_err();
    let expected = format!(
        "policy.toml:{line}: experiment `model` variant `challenger`: there is no version 2 of model `propensity`"
    );
    assert!(refused.message().contains(&expected), "{refused:?}");
    assert_eq!(server.rank(1).await.0, 1);
    assert!(server.server.terminate().success());
}
