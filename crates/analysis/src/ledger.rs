//! What is kept of customers and decisions: hashes of their ids, and numbers.

use event::rows::{DecisionRow, OutcomeRow};
use hashbrown::{HashMap, HashSet};

use crate::id::{Id, Index, Names};
use crate::plan::{Facts, Plan};
use crate::{AnalysisError, Limits};

/// No pair.
const NONE: u32 = u32::MAX;

/// No segment. Those of models are numbered from 0.
pub(crate) const NO_SEGMENT: i64 = i64::MIN;

/// Customers, their decisions, and what both add up to.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    limits: &'a Limits,
    /// What is added up for each customer.
    pub whole: Plan,
    /// What is added up for each pair of a customer and a part: a placement, an offer, a segment, a day.
    pub parts: Plan,
    pub customers: Vec<Customer>,
    customer_index: Index,
    pub pairs: Vec<Pair>,
    pair_index: HashMap<(u32, u32), u32>,
    pub decisions: Vec<Decision>,
    decision_index: Index,
    links: Vec<Link>,
    offers: Names,
    shown: HashSet<(u32, u32)>,
    shown_in_part: HashSet<(u32, u32)>,
    whole_values: Vec<f64>,
    part_values: Vec<f64>,
}

/// A customer.
#[derive(Debug)]
pub(crate) struct Customer {
    id: Id,
    /// When their first decision was made, in microseconds since 1970.
    pub first_at: i64,
    /// Their segment then.
    pub segment: i64,
    first_pair: u32,
    /// Their arm then.
    pub arm: u16,
    /// Whether they were seen in another arm, too.
    pub is_crossed: bool,
    /// Whether they are among the sums of arms.
    pub is_counted: bool,
}

/// A customer in a part.
#[derive(Debug)]
pub(crate) struct Pair {
    pub customer: u32,
    pub part: u32,
    first_at: i64,
    /// The next pair of the customer.
    next: u32,
}

/// A decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decision {
    id: Id,
    pub at: i64,
    pub customer: u32,
    us: u32,
    first_link: u32,
    new_offers: u8,
    has_offer: bool,
}

/// A decision in a part.
#[derive(Debug, Clone, Copy)]
struct Link {
    pair: u32,
    new_offers: u8,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(whole: Plan, parts: Plan, limits: &'a Limits) -> Self {
        Self {
            limits,
            whole,
            parts,
            customers: Vec::new(),
            customer_index: Index::default(),
            pairs: Vec::new(),
            pair_index: HashMap::new(),
            decisions: Vec::new(),
            decision_index: Index::default(),
            links: Vec::new(),
            offers: Names::default(),
            shown: HashSet::new(),
            shown_in_part: HashSet::new(),
            whole_values: Vec::new(),
            part_values: Vec::new(),
        }
    }

    /// Keeps a decision of a customer in an arm, unless it is kept already.
    pub(crate) fn record(
        &mut self,
        row: &DecisionRow<'_>,
        arm: u16,
        parts: &[u32],
    ) -> Result<(), AnalysisError> {
        let id = Id::of(row.decision_id);
        if self.find(id).is_some() {
            return Ok(());
        }
        if self.decisions.len() >= self.limits.decisions.min(NONE as usize) {
            return Err(AnalysisError::TooMany { what: "decisions", limit: self.limits.decisions });
        }
        let customer = self.customer(row, arm)?;
        let first_link = self.links.len() as u32;
        let mut new_offers = 0;
        if self.whole.counts_offers() {
            new_offers = note(&mut self.shown, customer, row.offers, &mut self.offers);
            self.check_pairs(self.shown.len())?;
        }
        for part in parts {
            let pair = self.pair(customer, *part, row.decided_at)?;
            let mut new_offers = 0;
            if self.parts.counts_offers() {
                new_offers = note(&mut self.shown_in_part, pair, row.offers, &mut self.offers);
                self.check_pairs(self.shown_in_part.len())?;
            }
            if self.links.len() >= NONE as usize {
                return Err(AnalysisError::TooMany { what: "shown offers", limit: NONE as usize });
            }
            self.links.push(Link { pair, new_offers });
        }
        let (at, decisions) = (self.decisions.len(), &self.decisions);
        self.decision_index.insert(id, at, |at| decisions[at].id);
        self.decisions.push(Decision {
            id,
            at: row.decided_at,
            customer,
            us: row.call_us.div_ceil(row.call_customers.max(1)),
            first_link,
            new_offers,
            has_offer: row.offers.len() > usize::from(row.has_fallback),
        });
        Ok(())
    }

    fn check_pairs(&self, pairs: usize) -> Result<(), AnalysisError> {
        if pairs > self.limits.pairs.min(NONE as usize) {
            let what = "pairs of a customer and a placement, offer, segment or day";
            return Err(AnalysisError::TooMany { what, limit: self.limits.pairs });
        }
        Ok(())
    }

    fn customer(&mut self, row: &DecisionRow<'_>, arm: u16) -> Result<u32, AnalysisError> {
        let (id, at) = (Id::of(row.customer_id), row.decided_at);
        let segment = row.segment.unwrap_or(NO_SEGMENT);
        if let Some(number) = self.find_customer(id) {
            let customer = &mut self.customers[number];
            customer.is_crossed |= customer.arm != arm;
            // Rows of a day have no order.
            if (at, arm, segment) < (customer.first_at, customer.arm, customer.segment) {
                (customer.first_at, customer.arm, customer.segment) = (at, arm, segment);
            }
            return Ok(number as u32);
        }
        let number = self.customers.len();
        if number >= self.limits.customers.min(NONE as usize) {
            return Err(AnalysisError::TooMany { what: "customers", limit: self.limits.customers });
        }
        let customers = &self.customers;
        self.customer_index.insert(id, number, |at| customers[at].id);
        let (first_pair, is_crossed, is_counted) = (NONE, false, false);
        self.customers.push(Customer { id, first_at: at, segment, first_pair, arm, is_crossed, is_counted });
        Ok(number as u32)
    }

    fn pair(&mut self, customer: u32, part: u32, at: i64) -> Result<u32, AnalysisError> {
        if let Some(pair) = self.pair_index.get(&(customer, part)) {
            let first_at = &mut self.pairs[*pair as usize].first_at;
            *first_at = at.min(*first_at);
            return Ok(*pair);
        }
        self.check_pairs(self.pairs.len() + 1)?;
        let number = self.pairs.len() as u32;
        let next = std::mem::replace(&mut self.customers[customer as usize].first_pair, number);
        self.pairs.push(Pair { customer, part, first_at: at, next });
        self.pair_index.insert((customer, part), number);
        Ok(number)
    }

    /// All decisions are kept: what they and their outcomes add up to is 0 for each customer.
    pub(crate) fn settle(&mut self) {
        self.whole_values = vec![0.0; self.customers.len() * self.whole.width()];
        self.part_values = vec![0.0; self.pairs.len() * self.parts.width()];
        (self.shown, self.shown_in_part) = (HashSet::new(), HashSet::new());
        self.pair_index = HashMap::new();
    }

    fn find(&self, id: Id) -> Option<usize> {
        self.decision_index.find(id, |at| self.decisions[at].id)
    }

    fn find_customer(&self, id: Id) -> Option<usize> {
        self.customer_index.find(id, |at| self.customers[at].id)
    }

    /// The decision of that id.
    pub(crate) fn decision(&self, id: &str) -> Option<usize> {
        self.find(Id::of(id))
    }

    /// The customer of that id.
    pub(crate) fn customer_called(&self, id: &str) -> Option<usize> {
        self.find_customer(Id::of(id))
    }

    /// What a customer's decisions and outcomes add up to.
    pub(crate) fn values(&self, customer: usize) -> &[f64] {
        let width = self.whole.width();
        &self.whole_values[customer * width..][..width]
    }

    /// The same of a pair.
    pub(crate) fn pair_values(&self, pair: usize) -> &[f64] {
        let width = self.parts.width();
        &self.part_values[pair * width..][..width]
    }

    /// Adds a decision.
    pub(crate) fn add_decision(&mut self, at: usize) {
        let decision = self.decisions[at];
        let facts = Facts { has_offer: decision.has_offer, us: decision.us, new_offers: decision.new_offers };
        let customer = &self.customers[decision.customer as usize];
        let width = self.whole.width();
        let values = &mut self.whole_values[decision.customer as usize * width..][..width];
        self.whole.add_decision(values, facts);
        self.whole.add_return(values, decision.at.saturating_sub(customer.first_at));
        let width = self.parts.width();
        for link in &self.links[self.links_of(at)] {
            let values = &mut self.part_values[link.pair as usize * width..][..width];
            self.parts.add_decision(values, Facts { new_offers: link.new_offers, ..facts });
        }
        if self.parts.counts_returns() {
            // To whatever part they come back, they come back.
            let mut next = customer.first_pair;
            while let Some(pair) = self.pairs.get(next as usize) {
                let values = &mut self.part_values[next as usize * width..][..width];
                self.parts.add_return(values, decision.at.saturating_sub(pair.first_at));
                next = pair.next;
            }
        }
    }

    /// Adds an outcome of a decision: to its customer, and to those parts of the decision that it `is_of`.
    pub(crate) fn add_outcome(&mut self, at: usize, row: &OutcomeRow<'_>, is_of: impl Fn(u32) -> bool) {
        let decision = self.decisions[at];
        let after = row.occurred_at.saturating_sub(decision.at);
        let width = self.whole.width();
        let values = &mut self.whole_values[decision.customer as usize * width..][..width];
        self.whole.add_outcome(values, row, after);
        let width = self.parts.width();
        for link in &self.links[self.links_of(at)] {
            if is_of(self.pairs[link.pair as usize].part) {
                let values = &mut self.part_values[link.pair as usize * width..][..width];
                self.parts.add_outcome(values, row, after);
            }
        }
    }

    fn links_of(&self, at: usize) -> std::ops::Range<usize> {
        let end = self.decisions.get(at + 1).map_or(self.links.len(), |next| next.first_link as usize);
        self.decisions[at].first_link as usize..end
    }
}

/// Notes that offers were shown; how many of them are new.
fn note(shown: &mut HashSet<(u32, u32)>, to: u32, offers: &[&str], names: &mut Names) -> u8 {
    let is_new = |offer: &&&str| shown.insert((to, names.number(offer)));
    u8::try_from(offers.iter().filter(is_new).count()).unwrap_or(u8::MAX)
}

/// The ids of outcomes that were counted: each counts once, however many servers have received it.
#[derive(Debug)]
pub(crate) struct Seen {
    ids: HashSet<Id>,
    limit: usize,
}

impl Seen {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { ids: HashSet::new(), limit: limits.outcomes }
    }

    /// Whether an outcome was not there before.
    pub(crate) fn is_new(&mut self, row: &OutcomeRow<'_>) -> Result<bool, AnalysisError> {
        // Without an id, nothing says that it is the same.
        let is_new = row.event_id.is_empty() || self.ids.insert(Id::of(row.event_id));
        if self.ids.len() > self.limit {
            return Err(AnalysisError::TooMany { what: "outcomes", limit: self.limit });
        }
        Ok(is_new)
    }
}
