//! A small bank with two versions of a model, whose experiments a test chooses.

use std::fs;
use std::path::{Path, PathBuf};

use tonic::Status;

use crate::harness::{Server, wire};
use crate::outcomes::workspace;

/// Three cards and a loan. The app shows two of them, letters show one and fall back to help.
const OFFERS: &str = r#"
[[offer]]
id = "black"
name = "Black card"
category = "cards"
placements = ["home", "letter"]
value = 100.0
cost = 20.0
features = { annual_fee = 90.0 }

[[offer]]
id = "gold"
name = "Gold card"
category = "cards"
placements = ["home", "letter"]
value = 60.0
cost = 1.0
features = { annual_fee = 40.0 }

[[offer]]
id = "green"
name = "Green card"
category = "cards"
placements = ["home", "letter"]
value = 50.0
features = { annual_fee = 5.0 }

[[offer]]
id = "loan"
name = "Loan"
category = "loans"
placements = ["home", "letter"]
value = 40.0

[[offer]]
id = "help"
name = "Help"
category = "help"
placements = []
value = 1.0
"#;

const POLICY: &str = r#"
time_zone = "Asia/Tokyo"

[[category]]
id = "cards"

[[category]]
id = "help"

[[category]]
id = "loans"

[[placement]]
id = "home"
channels = ["app"]
count = 2
model = "m"

[[placement]]
id = "letter"
channels = ["email"]
count = 1
model = "m"
fallback = "help"

[[context_weight]]
id = "spring"
when = "true"
percent = 10.0
categories = ["cards"]
"#;

/// A workspace; dropping it removes it.
pub(crate) struct Bank(tempfile::TempDir);

impl Bank {
    /// With experiments at the end of the policy.
    pub(crate) fn new(experiments: &str) -> Self {
        let bank = Self(tempfile::tempdir().unwrap());
        workspace::write(bank.path(), OFFERS, &format!("{POLICY}{experiments}"));
        let (first, second) = (bank.path().join("m/1"), bank.path().join("m/2"));
        fs::create_dir_all(&second).unwrap();
        fs::copy(first.join("model.onnx"), second.join("model.onnx")).unwrap();
        let manifest = fs::read_to_string(first.join("model.toml")).unwrap();
        let flat = format!("{manifest}[calibration]\nmethod = 'platt'\na = 0.5\nb = 0.0\n");
        fs::write(second.join("model.toml"), flat).unwrap();
        // Without an experiment that names it, version 2 would be what the release pins.
        if !experiments.contains("m = 2") {
            fs::remove_dir_all(second).unwrap();
        }
        bank
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces a text of a file.
    pub(crate) fn with(self, file: &str, from: &str, to: &str) -> Self {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
        self
    }

    /// With a calibration of version 1 that changes no score: beside a prior, scores must be propensities.
    pub(crate) fn calibrated(self) -> Self {
        let calibration = "[calibration]\nmethod = 'isotonic'\nx = [0.0, 1.0]\ny = [0.0, 1.0]\n";
        let last = "'annual_fee']\n";
        self.with("m/1/model.toml", last, &format!("{last}{calibration}"))
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self.path(), &[])
    }

    /// A server that lets requests force variants.
    pub(crate) fn serve_forced(&self) -> Server {
        Server::start(self.path(), &[("experiments.forced_variants", "true")])
    }

    /// A new store of the workspace, for servers that share it.
    pub(crate) fn store(&self) -> PathBuf {
        let store = self.path().join("store");
        crate::harness::make_store(&store, self.path()).unwrap();
        store
    }
}

/// An experiment of halves with these lines; `challenger` are those of its second variant.
pub(crate) fn experiment(id: &str, lines: &str, challenger: &str) -> String {
    format!(
        "\n[[experiment]]\nid = \"{id}\"\n{lines}\n[[experiment.variant]]\nid = \"champion\"\nweight = 0.5\n\
         [[experiment.variant]]\nid = \"challenger\"\nweight = 0.5\n{challenger}\n"
    )
}

/// The ids of so many customers.
pub(crate) fn customers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("C{number:05}")).collect()
}

/// A call that explains everything.
pub(crate) fn ask(placement: &str, ids: &[String]) -> wire::RankRequest {
    let customer = |id: &String| wire::Customer { customer_id: id.clone(), consents: Vec::new() };
    wire::RankRequest {
        placement: placement.to_owned(),
        customers: ids.iter().map(customer).collect(),
        explain: wire::Explain::All.into(),
        ..wire::RankRequest::default()
    }
}

pub(crate) async fn try_rank(
    server: &Server,
    request: wire::RankRequest,
) -> Result<Vec<wire::RankResult>, Status> {
    let answered = server.client().await.rank(request).await?;
    Ok(answered.into_inner().results)
}

pub(crate) async fn rank(server: &Server, request: wire::RankRequest) -> Vec<wire::RankResult> {
    let results = try_rank(server, request).await.unwrap();
    assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
    results
}

/// The ids of the offers shown.
pub(crate) fn shown(result: &wire::RankResult) -> Vec<&str> {
    result.offers.iter().map(|offer| offer.offer_id.as_str()).collect()
}

/// The variant of an experiment, if the customer is in one.
pub(crate) fn variant<'r>(result: &'r wire::RankResult, experiment: &str) -> Option<&'r str> {
    let found = result.assignments.iter().find(|one| one.experiment == experiment);
    found.map(|one| one.variant.as_str())
}

/// What forces variants.
pub(crate) fn forcing(request: wire::RankRequest, pairs: &[(&str, &str)]) -> wire::RankRequest {
    let force_variants =
        pairs.iter().map(|(name, variant)| ((*name).to_owned(), (*variant).to_owned())).collect();
    wire::RankRequest { force_variants, ..request }
}
