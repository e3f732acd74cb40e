//! Pushing, releasing, promoting and rolling back over gRPC: what a pipeline and an SRE do, and the answers they get.

use std::path::Path;
use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::harness::{Copy, Server, rank_request, sample_workspace, wire};
use super::management::{Management, chunk, marked, parts_of};

async fn management(server: &Server) -> Management {
    Management::over(server.channel().await)
}

/// The release that answers, and the version of the propensity model that it used.
async fn serving(server: &Server) -> (u64, u64) {
    let request = rank_request("app_home", &["C000001"]);
    let answer = server.client().await.rank(request).await.unwrap().into_inner();
    let factors = answer.results[0].offers.iter().filter_map(|offer| offer.factors.as_ref());
    let versions: Vec<u64> = factors
        .filter(|factors| factors.model == "propensity")
        .map(|factors| factors.model_version)
        .collect();
    assert!(!versions.is_empty() && versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    (answer.release, versions[0])
}

fn refused(result: Result<impl std::fmt::Debug, Status>, code: Code, words: &str) -> String {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(words), "{words:?} is not in {:?}", status.message());
    status.message().to_owned()
}

#[tokio::test]
async fn a_new_version_is_pushed_released_promoted_and_rolled_back() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    let pushed = client.push("propensity", 0, marked("propensity", "new").path()).await.unwrap();
    assert_eq!((pushed.version, pushed.created), (2, true));
    let verdict = pushed.verdict.unwrap();
    assert!(verdict.passed, "{verdict:#?}");
    let gates: Vec<&str> = verdict.gates.iter().map(|gate| gate.gate.as_str()).collect();
    let all = [
        "checksums",
        "loads",
        "signature",
        "calibration",
        "finite",
        "golden",
        "latency",
        "distribution",
        "engine",
        "process",
    ];
    assert_eq!(gates, all);
    assert_eq!(serving(&server).await, (1, 1), "a push changes nothing that serves");

    let release = client.create(&[("propensity", 2)]).await.unwrap();
    assert_eq!((release, serving(&server).await), (2, (1, 1)));
    let promoted = client.promote_over(2, Some(1)).await.unwrap();
    let current = promoted.current.unwrap();
    assert_eq!((current.release, current.previous, current.sequence), (2, 1, 2));
    assert_eq!((promoted.overtaken_by, promoted.warm), (0, false));
    assert_eq!(serving(&server).await, (2, 2));

    let back = client.rollback().await.unwrap();
    assert_eq!(back.current.unwrap().release, 1);
    assert!(back.warm, "the release before is still in memory");
    assert_eq!(serving(&server).await, (1, 1));
    refused(client.rollback().await, Code::FailedPrecondition, "nothing to roll back to");
}

#[tokio::test]
async fn rolling_back_twice_goes_two_releases_back() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    for release in 2..=3 {
        assert_eq!(client.create(&[]).await.unwrap(), release);
        client.promote(release).await.unwrap();
    }
    assert_eq!(client.rollback().await.unwrap().current.unwrap().release, 2);
    assert_eq!(client.rollback().await.unwrap().current.unwrap().release, 1);
    refused(client.rollback().await, Code::FailedPrecondition, "nothing to roll back to");
    // Promoting the current release again changes nothing; in particular, a rollback still goes to the release before.
    client.promote(3).await.unwrap();
    let again = client.promote(3).await.unwrap().current.unwrap();
    assert_eq!((again.release, again.previous), (3, 1));
}

#[tokio::test]
async fn the_same_bytes_may_be_pushed_again_and_other_bytes_may_not() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    let (one, other) = (marked("propensity", "one"), marked("propensity", "other"));
    let first = client.push("propensity", 7, one.path()).await.unwrap();
    let again = client.push("propensity", 7, one.path()).await.unwrap();
    assert_eq!((first.created, again.created), (true, false));
    assert_eq!(first.verdict, again.verdict);
    refused(client.push("propensity", 7, other.path()).await, Code::AlreadyExists, "versions never change");
    assert_eq!(client.push("propensity", 0, other.path()).await.unwrap().version, 8);
}

#[tokio::test]
async fn uploads_that_differ_from_their_header_leave_nothing_behind() {
    let server = Server::start(&sample_workspace(), &[("limits.upload", "1MiB")]);
    let mut client = management(&server).await;
    let directory = marked("propensity", "x");
    let parts = || parts_of("propensity", 0, directory.path());
    let header = |change: &dyn Fn(&mut wire::PushHeader)| {
        let mut parts = parts();
        let Some(wire::push_model_version_request::Part::Header(header)) = &mut parts[0].part else {
            panic!("the header comes first");
        };
        change(header);
        parts
    };
    let mut cut = parts();
    cut.pop();
    let mut long = parts();
    long.push(chunk(b"more"));
    let mut damaged = parts();
    let last = damaged.len() - 1;
    let Some(wire::push_model_version_request::Part::Chunk(bytes)) = &mut damaged[last].part else {
        panic!("the last part is a chunk");
    };
    bytes.data[0] ^= 1;
    let cases: Vec<(Vec<wire::PushModelVersionRequest>, &str)> = vec![
        (cut, "bytes of model.onnx arrived"),
        (long, "chunk.data: 4 bytes more than the header announces"),
        (damaged, ".sha256: the SHA-256 of model.onnx is"),
        (header(&|header| header.name = "../x".to_owned()), "header.name: must be 1 to 64 letters"),
        (header(&|header| header.files[0].name = "../model.onnx".to_owned()), "header.files[0].name:"),
        (header(&|header| header.files[0].name = "/etc/passwd".to_owned()), "header.files[0].name:"),
        (header(&|header| header.files[0].name = "model.toml".to_owned()), "goes into `manifest`"),
        (header(&|header| header.files[0].sha256 = "abc".to_owned()), "64 hexadecimal digits"),
        (header(&|header| header.files[0].size = 3 << 30), "header.files[0].size: with "),
        (header(&|header| header.manifest = "kind = 'nonsense'".to_owned()), "header.manifest: model.toml:1"),
        (
            header(&|header| {
                let wrong: Vec<String> = header
                    .files
                    .iter()
                    .map(|file| format!("\"{}\" = \"{}\"\n", file.name, "0".repeat(64)))
                    .collect();
                header.manifest = format!("{}\n[checksums]\n{}", header.manifest, wrong.concat());
            }),
            "header.manifest: [checksums] has another SHA-256 for ",
        ),
        (parts()[1..].to_vec(), "part: the first message must be a header"),
        (parts().iter().chain(&parts()).cloned().collect(), "part: "),
        (Vec::new(), "part: "),
    ];
    for (parts, words) in cases {
        let answer = client.models.push_model_version(tokio_stream::iter(parts)).await;
        refused(answer, Code::InvalidArgument, words);
    }
    // A caller that disconnects during the upload.
    let begun = parts().into_iter().take(2).collect::<Vec<_>>();
    let endless = tokio_stream::iter(begun).chain(tokio_stream::pending());
    let mut other = management(&server).await;
    let push = other.models.push_model_version(endless);
    assert!(tokio::time::timeout(Duration::from_millis(300), push).await.is_err());
    drop(other);

    let models = client.models.list_models(wire::ListModelsRequest::default()).await.unwrap().into_inner();
    let propensity = models.models.iter().find(|model| model.name == "propensity").unwrap();
    assert_eq!(propensity.versions.len(), 1);
    for _ in 0..200 {
        if staged(&server.store) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("an aborted upload is still there");
}

/// The number of staging directories.
fn staged(store: &Path) -> usize {
    std::fs::read_dir(store.join(".staging"))
        .map_or(0, |entries| entries.flatten().filter(|entry| entry.path().is_dir()).count())
}

#[tokio::test]
async fn a_release_is_checked_completely_before_it_exists() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    refused(
        client.create(&[("propensity", 9)]).await,
        Code::NotFound,
        "no version 9 of a model `propensity`",
    );
    refused(client.create(&[("propensity", 0)]).await, Code::FailedPrecondition, "has no model `propensity`");
    let offers = std::fs::read_to_string(sample_workspace().join("offers.toml")).unwrap();
    let broken =
        offers.replacen("placements = [\"", "placements = [\"nowhere", 1) + "\n[[offer]]\nid = 'x'\n";
    let request = wire::CreateReleaseRequest { offers_toml: Some(broken), ..Default::default() };
    let words =
        refused(client.releases.create_release(request).await, Code::FailedPrecondition, "offers.toml:");
    assert!(words.contains("`nowhere") && words.lines().count() > 3, "all problems are reported: {words}");
    let request = wire::CreateReleaseRequest { base: 5, ..Default::default() };
    refused(client.releases.create_release(request).await, Code::NotFound, "no release 5");
    assert_eq!(client.list().await.releases.len(), 1);

    let note = wire::CreateReleaseRequest { note: "x".repeat(5000), ..Default::default() };
    refused(client.releases.create_release(note).await, Code::InvalidArgument, "note");
}

#[tokio::test]
async fn a_release_that_cannot_be_loaded_is_rejected_and_nothing_changes() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    client.push("propensity", 2, marked("propensity", "damaged").path()).await.unwrap();
    let release = client.create(&[("propensity", 2)]).await.unwrap();
    let file = server.store.join("models/propensity/2/model.onnx");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).unwrap();
    refused(
        client.promote(release).await,
        Code::FailedPrecondition,
        "propensity/2/model.onnx: its SHA-256 is",
    );
    refused(client.promote(99).await, Code::NotFound, "no release 99");
    assert_eq!(serving(&server).await, (1, 1));
    let listed = client.list().await;
    assert_eq!(listed.current.unwrap().sequence, 1);
    let serving = listed.serving.unwrap();
    assert_eq!((serving.release, serving.refused.len(), serving.refused[0].release), (1, 1, release));
    assert!(serving.refused[0].reason.contains("was changed or damaged"), "{serving:?}");
    let metrics = server.admin_get("/metrics").unwrap();
    assert!(metrics.contains("proffer_release_load_failures_total 1"), "{metrics}");
}

#[tokio::test]
async fn two_promoters_race_and_exactly_one_wins() {
    let server = Server::start(&sample_workspace(), &[]);
    let (mut one, mut other) = (management(&server).await, management(&server).await);
    for release in 2..=3 {
        assert_eq!(one.create(&[]).await.unwrap(), release);
    }
    let mut current = 1;
    let mut wins = [0, 0];
    for round in 0..200 {
        // Each promotes a release other than the current one.
        let wanted: Vec<u64> = (1..=3).filter(|release| *release != current).collect();
        let (first, second) = if round % 2 == 0 { (wanted[0], wanted[1]) } else { (wanted[1], wanted[0]) };
        let results =
            tokio::join!(one.promote_over(first, Some(current)), other.promote_over(second, Some(current)));
        let (winner, won, lost) = match results {
            (Ok(won), Err(lost)) => (0, won, lost),
            (Err(lost), Ok(won)) => (1, won, lost),
            both => panic!("round {round}: {both:?}"),
        };
        wins[winner] += 1;
        let now = won.current.unwrap();
        assert_eq!(lost.code(), Code::Aborted, "{lost:?}");
        assert!(lost.message().contains(&format!("release {} is current", now.release)), "{lost:?}");
        assert_eq!((now.previous, now.sequence), (current, round + 2));
        current = now.release;
        assert_eq!(serving(&server).await.0, current);
    }
    assert_eq!(wins[0] + wins[1], 200);
}

#[tokio::test]
async fn a_version_that_a_release_pins_is_not_deleted() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    let delete = |version| wire::DeleteModelVersionRequest { name: "propensity".to_owned(), version };
    refused(client.models.delete_model_version(delete(1)).await, Code::FailedPrecondition, "release 1");
    refused(client.models.delete_model_version(delete(2)).await, Code::NotFound, "2");
    client.push("propensity", 2, marked("propensity", "short-lived").path()).await.unwrap();
    client.models.delete_model_version(delete(2)).await.unwrap();
    assert!(!server.store.join("models/propensity/2").exists());
    // Its number is never reused for other bytes.
    let other = marked("propensity", "other");
    refused(client.push("propensity", 2, other.path()).await, Code::AlreadyExists, "deleted");
    assert_eq!(client.push("propensity", 0, other.path()).await.unwrap().version, 3);
}

#[tokio::test]
async fn a_diff_shows_the_changes_of_a_release() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    client.push("propensity", 0, marked("propensity", "x").path()).await.unwrap();
    let offers = std::fs::read_to_string(sample_workspace().join("offers.toml")).unwrap();
    let changed = offers.replacen("value = ", "value = 1", 1);
    let request = wire::CreateReleaseRequest {
        models: [("propensity".to_owned(), 2)].into(),
        offers_toml: Some(changed.clone()),
        note: "dearer".to_owned(),
        ..Default::default()
    };
    client.releases.create_release(request).await.unwrap();
    let request = wire::DiffReleasesRequest { from: 1, to: 2 };
    let diff = client.releases.diff_releases(request).await.unwrap().into_inner();
    assert_eq!(diff.models, [wire::ModelChange { name: "propensity".to_owned(), from: 1, to: 2 }]);
    assert_eq!((diff.files.len(), diff.offers_changed.len()), (1, 1));
    assert!(diff.files[0].diff.contains("\n+value = 1"), "{}", diff.files[0].diff);
    let got = client.releases.get_release(wire::GetReleaseRequest { release: 2 }).await.unwrap().into_inner();
    assert_eq!((got.offers_toml, got.release.unwrap().note), (changed, "dearer".to_owned()));
    let version = wire::GetModelVersionRequest { name: "propensity".to_owned(), version: 0 };
    let version = client.models.get_model_version(version).await.unwrap().into_inner();
    assert_eq!((version.version, version.releases), (2, vec![2]));
    assert!(version.verdict.unwrap().passed && version.manifest.contains("mark = \"x\""));
}

#[tokio::test]
async fn a_watcher_sees_every_publication() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    let mut watched =
        client.releases.watch_releases(wire::WatchReleasesRequest {}).await.unwrap().into_inner();
    let seen = |answer: Option<Result<wire::WatchReleasesResponse, Status>>| {
        answer.unwrap().unwrap().serving.unwrap().release
    };
    assert_eq!(seen(watched.next().await), 1);
    client.create(&[]).await.unwrap();
    client.promote(2).await.unwrap();
    while seen(watched.next().await) != 2 {}
    client.rollback().await.unwrap();
    while seen(watched.next().await) != 1 {}
    server.shut_down();
    let end = loop {
        match watched.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break Some(status.code()),
            None => break None,
        }
    };
    assert_eq!(end, Some(Code::Unavailable));
}

#[tokio::test]
async fn offers_change_without_a_new_model() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = management(&server).await;
    let before =
        server.client().await.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    let best = before.results[0].offers[0].offer_id.clone();
    let workspace = Copy::new();
    workspace.replace(
        "offers.toml",
        &format!("id = \"{best}\"\n"),
        &format!("id = \"{best}\"\nvalid_until = 2020-01-01\n"),
    );
    let offers = std::fs::read_to_string(workspace.path().join("offers.toml")).unwrap();
    let offers = remove_first_validity(&offers, &best);
    let request = wire::CreateReleaseRequest { offers_toml: Some(offers), ..Default::default() };
    let release = client.releases.create_release(request).await.unwrap().into_inner().release.unwrap().number;
    client.promote(release).await.unwrap();
    let after =
        server.client().await.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert_eq!(after.release, release);
    assert!(after.results[0].offers.iter().all(|offer| offer.offer_id != best));
    let withheld = after.results[0].rejected.iter().find(|rejected| rejected.offer_id == best).unwrap();
    assert_eq!(withheld.reason, "EXPIRED");
}

/// The offer may already have an end date, which must not appear twice.
fn remove_first_validity(offers: &str, id: &str) -> String {
    let start = offers.find(&format!("id = \"{id}\"\nvalid_until = 2020-01-01\n")).unwrap();
    let end = offers[start..].find("[[offer]]").map_or(offers.len(), |at| start + at);
    let block: Vec<&str> = offers[start..end]
        .lines()
        .enumerate()
        .filter(|(index, line)| *index < 2 || !line.starts_with("valid_"))
        .map(|(_, line)| line)
        .collect();
    format!("{}{}\n{}", &offers[..start], block.join("\n"), &offers[end..])
}
