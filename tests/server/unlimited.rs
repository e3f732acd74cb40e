//! The sample workspace without its limits: tests and benches ask for the same customers again and again, and limits
//! would soon withhold what they ask for. Without its shadow, too, which would add events and work. Without its
//! experiment, where a test or a bench has experiments of its own. Also compiled into `benches/serving`.

use std::fs;
use std::path::Path;

/// Where the limits of `policy.toml` begin; only the shadow follows them.
const LIMITS: &str = "\n# --- Limits";

/// Where the experiments begin; without limits, nothing follows them.
const EXPERIMENTS: &str = "\n# --- Experiments";

/// The limits of an offer, each on a line of its own.
const OF_OFFER: [&str; 3] = ["cap_customer = ", "cap_total = ", "budget = "];

/// The version of the shadow. Without the shadow, a release would pin it.
const OF_SHADOW: &str = "network/2";

/// Takes the limits out of `policy.toml` and `offers.toml` of a copy of the sample workspace, and its shadow.
pub(crate) fn remove_limits(workspace: &Path) {
    let edit = |file: &str, change: &dyn Fn(&str) -> String| {
        let path = workspace.join(file);
        let before = fs::read_to_string(&path).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "{file} has no limits");
        fs::write(&path, after).unwrap();
    };
    edit("policy.toml", &|text| text.split(LIMITS).next().unwrap().to_owned());
    fs::remove_dir_all(workspace.join(OF_SHADOW)).unwrap();
    edit("offers.toml", &|text| {
        let is_limit = |line: &&str| OF_OFFER.iter().any(|key| line.starts_with(key));
        text.split_inclusive('\n').filter(|line| !is_limit(line)).collect()
    });
}

/// Takes the experiments out of `policy.toml` of a copy without limits.
pub(crate) fn remove_experiments(workspace: &Path) {
    let path = workspace.join("policy.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once(EXPERIMENTS).unwrap();
    assert!(!after.contains("\n# --- "), "{} has limits", path.display());
    fs::write(&path, before).unwrap();
}
