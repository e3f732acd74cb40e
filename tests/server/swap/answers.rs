//! Checks that everything in an answer belongs to the release that the answer names.

use std::collections::{BTreeMap, HashMap};

use super::questions::Score;
use super::sets::{MARK, Set};
use crate::harness::wire;
use wire::feature_value::Kind;

/// The largest error of a propensity, a lever or a priority, far smaller than the differences between sets.
const TOLERANCE: f64 = 1e-6;

/// The same for scores, which are 32-bit floats on the wire.
const SCORE_TOLERANCE: f32 = 1e-5;

/// Every release of the test.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub sets: Vec<Set>,
    /// By set: the version of each model.
    pub versions: Vec<BTreeMap<String, u64>>,
    pub releases: HashMap<u64, Known>,
}

/// A release that may answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// The number of its set.
    pub set: usize,
    /// The mark that its offers carry.
    pub mark: String,
    /// Its position in the order of publications.
    pub order: usize,
}

impl Catalogue {
    fn find(&self, release: u64) -> Result<&Known, String> {
        self.releases.get(&release).ok_or_else(|| format!("release {release} must never be published"))
    }

    /// The set of a release of the test.
    pub(super) fn set_of(&self, release: u64) -> &Set {
        &self.sets[self.releases[&release].set]
    }

    /// Checks an answer to `Rank`; returns the release that it names.
    ///
    /// # Errors
    /// What does not belong to that release, and all that the answer carries of any release.
    pub(super) fn check_rank(
        &self,
        request: &wire::RankRequest,
        answer: &wire::RankResponse,
    ) -> Result<u64, String> {
        let known = self.find(answer.release)?;
        let error = |why: String| {
            let Known { set, mark, order } = known;
            let carries = carried(answer);
            let release = answer.release;
            format!(
                "release {release} (set {set}, mark {mark}, publication {order}): {why}; the answer carries {carries}"
            )
        };
        if answer.results.len() != request.customers.len() {
            return Err(error(format!(
                "{} results for {} customers",
                answer.results.len(),
                request.customers.len()
            )));
        }
        for (customer, result) in request.customers.iter().zip(&answer.results) {
            let id = &customer.customer_id;
            self.check_result(request, known, id, result)
                .map_err(|why| error(format!("customer {id}: {why}")))?;
        }
        Ok(answer.release)
    }

    fn check_result(
        &self,
        request: &wire::RankRequest,
        known: &Known,
        customer: &str,
        result: &wire::RankResult,
    ) -> Result<(), String> {
        let set = &self.sets[known.set];
        if let Some(error) = &result.error {
            return Err(format!("{error:?}"));
        }
        let segment = result.segment.as_ref().ok_or("no segment")?;
        if set.segments.get(&segment.id) != Some(&segment.name) {
            return Err(format!("segment {} is called {:?}", segment.id, segment.name));
        }
        if result.offers.is_empty() {
            return Err("no offer".to_owned());
        }
        set.experiment.check(&request.placement, customer, result)?;
        for offer in &result.offers {
            let id = &offer.offer_id;
            if mark(offer) != Some(&known.mark) {
                return Err(format!("offer {id} is marked {:?}", mark(offer)));
            }
            match &offer.factors {
                Some(factors) => {
                    self.check_factors(known, offer, factors).map_err(|why| format!("offer {id}: {why}"))?;
                }
                None if offer.fallback || request.explain() == wire::Explain::None => {}
                None => return Err(format!("offer {id} has no factors")),
            }
        }
        Ok(())
    }

    fn check_factors(
        &self,
        known: &Known,
        offer: &wire::RankedOffer,
        factors: &wire::Factors,
    ) -> Result<(), String> {
        let set = &self.sets[known.set];
        let (model, version) = (&factors.model, factors.model_version);
        if self.versions[known.set].get(model) != Some(&version) {
            return Err(format!("scored by version {version} of {model}"));
        }
        let calibration =
            set.calibrations.get(model.as_str()).ok_or("scored by a model without a calibration")?;
        let terms = set.terms.get(&offer.offer_id).ok_or("no such offer in the set")?;
        let product = factors.propensity * factors.context_weight * factors.value * factors.lever;
        for (what, found, expected) in [
            ("propensity", factors.propensity, calibration.propensity(factors.score)),
            ("value", factors.value, terms.value),
            ("cost", factors.cost, terms.cost),
            ("lever", factors.lever, terms.lever),
            ("margin", factors.margin, factors.propensity * factors.value - factors.cost),
            ("priority", offer.priority, product),
        ] {
            if (found - expected).abs() > TOLERANCE * expected.abs().max(1.0) {
                return Err(format!("{what} {found}, not {expected}"));
            }
        }
        Ok(())
    }

    /// Checks an answer to `Score`; returns the release that it names.
    ///
    /// # Errors
    /// What does not belong to that release.
    pub(super) fn check_score(&self, score: &Score, answer: &wire::ScoreResponse) -> Result<u64, String> {
        let known = self.find(answer.release)?;
        let error = |why: String| {
            let Known { set, mark, order } = known;
            format!("release {} (set {set}, mark {mark}, publication {order}): {why}", answer.release)
        };
        let version = self.versions[known.set].get(score.model()).copied();
        if answer.model != score.model() || Some(answer.version) != version {
            return Err(error(format!("scored by version {} of {}", answer.version, answer.model)));
        }
        if !answer.calibrated || !answer.errors.is_empty() || answer.columns != score.request.offer_ids {
            return Err(error(format!("scores are missing: {:?}, {:?}", answer.columns, answer.errors)));
        }
        let expected = &score.expected[known.set];
        let near = |(one, other): (&f32, &f32)| (one - other).abs() <= SCORE_TOLERANCE;
        if answer.values.len() != expected.len() || !answer.values.iter().zip(expected).all(near) {
            return Err(error(format!("scores {:?}, not {expected:?}", answer.values)));
        }
        Ok(answer.release)
    }
}

fn mark(offer: &wire::RankedOffer) -> Option<&String> {
    match offer.attributes.get(MARK)?.kind.as_ref()? {
        Kind::StringValue(mark) => Some(mark),
        Kind::FloatValue(_) | Kind::Int64Value(_) | Kind::BoolValue(_) => None,
    }
}

/// All marks in an answer that identify a release or a set.
fn carried(answer: &wire::RankResponse) -> String {
    let mut marks: Vec<String> = Vec::new();
    for result in &answer.results {
        marks.extend(result.assignments.iter().map(|one| format!("variant {}", one.variant)));
        marks.extend(result.segment.iter().map(|segment| format!("segment {:?}", segment.name)));
        for offer in &result.offers {
            marks.push(format!("mark {}", mark(offer).map_or("none", String::as_str)));
            let model = |factors: &wire::Factors| format!("{} v{}", factors.model, factors.model_version);
            marks.extend(offer.factors.as_ref().map(model));
        }
    }
    marks.sort();
    marks.dedup();
    marks.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{rank_request, sample_workspace};
    use crate::swap::sets::{MODELS, SETS};

    fn catalogue() -> Catalogue {
        let version = |set: usize| MODELS.map(|model| (model.to_owned(), set as u64 + 2));
        let known = |set| Known { set, mark: format!("r{set}"), order: set };
        Catalogue {
            sets: Set::all(&sample_workspace()),
            versions: (0..SETS).map(|set| version(set).into()).collect(),
            releases: (0..SETS).map(|set| (10 + set as u64, known(set))).collect(),
        }
    }

    /// The answer of release 10 + `set` for one customer.
    fn answer(catalogue: &Catalogue, set: usize) -> wire::RankResponse {
        let terms = catalogue.sets[set].terms["travel_gold"];
        let propensity = catalogue.sets[set].calibrations["propensity"].propensity(0.1);
        let factors = wire::Factors {
            score: 0.1,
            propensity,
            context_weight: 1.5,
            value: terms.value,
            lever: terms.lever,
            cost: terms.cost,
            margin: propensity * terms.value - terms.cost,
            model: "propensity".to_owned(),
            model_version: set as u64 + 2,
        };
        let mark = wire::FeatureValue { kind: Some(Kind::StringValue(format!("r{set}"))) };
        let offer = wire::RankedOffer {
            offer_id: "travel_gold".to_owned(),
            rank: 1,
            priority: propensity * 1.5 * terms.value * terms.lever,
            factors: Some(factors),
            selection_probability: 1.0,
            conditional: false,
            mandatory: false,
            fallback: false,
            attributes: HashMap::from([(MARK.to_owned(), mark)]),
        };
        let name = catalogue.sets[set].segments[&3].clone();
        let result = wire::RankResult {
            offers: vec![offer],
            segment: Some(wire::Segment { id: 3, name, ..Default::default() }),
            ..Default::default()
        };
        wire::RankResponse { release: 10 + set as u64, results: vec![result], ..Default::default() }
    }

    #[test]
    fn an_answer_of_one_release_is_accepted() {
        let catalogue = catalogue();
        for set in 0..SETS {
            let request = rank_request("app_home", &["C000001"]);
            assert_eq!(catalogue.check_rank(&request, &answer(&catalogue, set)), Ok(10 + set as u64));
        }
    }

    #[test]
    fn each_part_of_another_release_is_detected() {
        type Mix = fn(&mut wire::RankResponse, &wire::RankResponse);
        let catalogue = catalogue();
        let other = answer(&catalogue, 2);
        let parts: [(&str, Mix); 7] = [
            // The segment is checked first.
            ("segment", |mixed, other| mixed.release = other.release),
            ("marked", |mixed, other| {
                let attributes = other.results[0].offers[0].attributes.clone();
                mixed.results[0].offers[0].attributes = attributes;
            }),
            ("segment", |mixed, other| mixed.results[0].segment.clone_from(&other.results[0].segment)),
            ("version 4", |mixed, other| {
                let version = factors(other).model_version;
                change(mixed, |factors| factors.model_version = version);
            }),
            ("propensity", |mixed, other| {
                let propensity = factors(other).propensity;
                change(mixed, |factors| factors.propensity = propensity);
            }),
            ("value", |mixed, other| {
                let value = factors(other).value;
                change(mixed, |factors| factors.value = value);
            }),
            ("lever", |mixed, other| {
                let lever = factors(other).lever;
                change(mixed, |factors| factors.lever = lever);
            }),
        ];
        let request = rank_request("app_home", &["C000001"]);
        for (word, mix) in parts {
            let mut mixed = answer(&catalogue, 1);
            mix(&mut mixed, &other);
            let why = catalogue.check_rank(&request, &mixed).unwrap_err();
            assert!(why.contains(word) && why.contains("the answer carries"), "{word}: {why}");
        }
    }

    #[test]
    fn a_variant_of_another_release_is_detected() {
        let catalogue = catalogue();
        let (mut same, mut detected) = (0, 0);
        for number in 1..=400 {
            let id = format!("C{number:06}");
            let request = rank_request("call_center", &[&id]);
            let [own, other] =
                [1, 2].map(|set| catalogue.sets[set].experiment.assignments("call_center", &id));
            let mut answer = answer(&catalogue, 1);
            answer.results[0].assignments.clone_from(&own);
            assert_eq!(catalogue.check_rank(&request, &answer), Ok(11));
            answer.results[0].assignments.clone_from(&other);
            if other.is_empty() && own.is_empty() {
                same += 1;
            } else {
                let why = catalogue.check_rank(&request, &answer).unwrap_err();
                assert!(why.contains("in the variants"), "{why}");
                detected += 1;
            }
        }
        // A quarter is in neither.
        assert!((60..140).contains(&same) && detected > 200, "{same} {detected}");
    }

    #[test]
    fn offers_in_the_order_of_another_variant_are_detected() {
        let catalogue = catalogue();
        let experiment = &catalogue.sets[0].experiment;
        let mut ids = (1..).map(|number| format!("C{number:06}"));
        let id = ids.find(|id| !experiment.assignments("call_center", id).is_empty()).unwrap();
        let request = rank_request("call_center", &[&id]);
        let mut answer = answer(&catalogue, 0);
        let result = &mut answer.results[0];
        result.assignments = experiment.assignments("call_center", &id);
        let mut second = result.offers[0].clone();
        // The other variant would show it first.
        let by_margin = result.assignments[0].variant == "by_margin-0";
        let better = second.factors.as_mut().unwrap();
        better.margin += if by_margin { 1.0 } else { -1.0 };
        second.priority += if by_margin { -1.0 } else { 1.0 };
        result.offers.push(second);
        let why = catalogue.check_rank(&request, &answer).unwrap_err();
        assert!(why.contains("not sorted by"), "{why}");
    }

    fn factors(answer: &wire::RankResponse) -> &wire::Factors {
        answer.results[0].offers[0].factors.as_ref().unwrap()
    }

    fn change(answer: &mut wire::RankResponse, change: impl Fn(&mut wire::Factors)) {
        change(answer.results[0].offers[0].factors.as_mut().unwrap());
    }

    #[test]
    fn a_score_of_another_release_is_detected() {
        let catalogue = catalogue();
        let model = Some(wire::ModelRef { name: "network".to_owned(), version: 0 });
        let offer_ids = vec!["travel_gold".to_owned()];
        let request = wire::ScoreRequest { model, offer_ids: offer_ids.clone(), ..Default::default() };
        let score = Score { request, expected: std::array::from_fn(|set| vec![0.1 * set as f32]) };
        let answer = |set: usize| wire::ScoreResponse {
            model: "network".to_owned(),
            version: set as u64 + 2,
            release: set as u64 + 10,
            rows: 1,
            columns: offer_ids.clone(),
            values: vec![0.1 * set as f32],
            calibrated: true,
            ..wire::ScoreResponse::default()
        };
        assert_eq!(catalogue.check_score(&score, &answer(3)), Ok(13));
        for mixed in [
            wire::ScoreResponse { release: 12, ..answer(3) },
            wire::ScoreResponse { version: 4, ..answer(3) },
            wire::ScoreResponse { values: vec![0.2], ..answer(3) },
            wire::ScoreResponse { release: 99, ..answer(3) },
        ] {
            catalogue.check_score(&score, &mixed).unwrap_err();
        }
    }
}
