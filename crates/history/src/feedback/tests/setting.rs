//! A log in a temporary directory, and the release that serves.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use event::keys::Keys;
use event::privacy::{PseudonymMode, Pseudonyms};
use event::proto::{DecisionRecord, RecordedFactors, RecordedOffer, ShadowRecord};
use event::{EventConfig, EventLog, EventReader, EventStore, IntoEvents, Record, SyncPolicy};
use feature::FeatureSchema;
use offer::Catalog;
use telemetry::Metrics;
use uuid::Uuid;

use crate::feedback::{Feedback, FeedbackParts, ReportedOutcome, Serving, Verdict, WhenNoRoom, whole_micros};
use crate::{History, Limits, RecentDecisions};

pub(crate) const RELEASE: u64 = 7;

/// The clock of the server: one moment for all tests, since the writer of a log has a clock of its own.
pub(crate) fn now() -> DateTime<Utc> {
    static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(|| whole_micros(Utc::now()));
    *NOW
}

/// Offers `a`, `b` and `c` at `home`; `a` has a total cap, `b` a budget.
pub(crate) fn catalog() -> Catalog {
    let offer = |id: &str, more: &str| {
        format!(
            "[[offer]]\nid = \"{id}\"\nname = \"{id}\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = 100.0\n\
             cost = 2.5\n{more}\n"
        )
    };
    let cap = "cap_total = { limit = 2, per = \"all\", count = \"accept\", reserve = \"30m\" }";
    let budget = "budget = { amount = 20.0, per = \"month\", count = \"accept\", spends = \"cost\", pacing = \"fast\" }";
    let offers = [offer("a", cap), offer("b", budget), offer("c", "")].concat();
    let policy = "[[category]]\nid = \"cards\"\n[[placement]]\nid = \"home\"\nchannels = [\"app\", \"web\"]\n\
                  count = 3\nmodel = \"m\"\nattribution = { click = \"1h\" }\n\
                  [attribution]\nclick = \"1d\"\nconvert = \"30d\"\n\
                  [[outcome]]\nid = \"called_back\"\nkind = \"positive\"\n\
                  [[contact_limit]]\nid = \"weekly\"\nlimit = 2\nper = \"7d\"\ncount = \"impression\"\n\
                  [[suppression]]\nid = \"dismissed\"\nafter = { outcome = \"dismiss\", times = 2, within = \"30d\" }\n\
                  pause = \"60d\"\nscope = \"offer\"\n";
    offer::read(&FeatureSchema::default(), ("offers.toml", &offers), ("policy.toml", policy))
        .unwrap_or_else(|invalid| panic!("{}", invalid.problems))
}

/// The same placement with one offer and no limit.
pub(crate) fn plain() -> Catalog {
    let offers =
        "[[offer]]\nid = \"c\"\nname = \"c\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = 1.0\n";
    let policy = "[[category]]\nid = \"cards\"\n[[placement]]\nid = \"home\"\nchannels = [\"app\"]\ncount = 1\n\
                  model = \"m\"\n";
    offer::read(&FeatureSchema::default(), ("offers.toml", offers), ("policy.toml", policy)).unwrap()
}

/// A server as far as outcomes need it.
pub(crate) struct Setting {
    pub history: Arc<History>,
    pub limits: Limits,
    pub recent: Arc<RecentDecisions>,
    pub feedback: Feedback,
    pub catalog: Catalog,
    pub metrics: Arc<Metrics>,
    pub log: EventLog,
    pub store: EventStore,
    directory: tempfile::TempDir,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self::with(SyncPolicy::Interval, Pseudonyms::default())
    }

    pub(crate) fn with(sync: SyncPolicy, pseudonyms: Pseudonyms) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let store = EventStore::open(store.to_str().unwrap(), None, Vec::new()).unwrap();
        let config = EventConfig {
            directory: directory.path().join("data"),
            sync,
            interval: Duration::from_millis(1),
            ..EventConfig::reference()
        };
        let metrics = Arc::new(Metrics::new());
        let (log, _) = EventLog::start(&config, "test", &metrics).unwrap();
        let (history, catalog) = (Arc::new(History::default()), catalog());
        let limits = Limits::new(&history, &catalog, now()).unwrap();
        let key = pseudonyms.of("x").key;
        let recent = Arc::new(RecentDecisions::new(&history, 1 << 20, &key));
        let feedback = Feedback::new(FeedbackParts {
            history: Arc::clone(&history),
            recent: Arc::clone(&recent),
            reader: EventReader::new(store.clone()).with_logs(log.log_files()),
            log: log.recorder(),
            pseudonyms,
            metrics: Arc::clone(&metrics),
        });
        Self { history, limits, recent, feedback, catalog, metrics, log, store, directory }
    }

    pub(crate) fn serving(&self) -> Serving<'_> {
        Serving { catalog: &self.catalog, release: RELEASE }
    }

    pub(crate) async fn record(&self, outcomes: Vec<ReportedOutcome>) -> Vec<Verdict> {
        self.feedback.record(outcomes, self.serving(), WhenNoRoom::Waits, now()).await.unwrap()
    }

    pub(crate) async fn record_one(&self, outcome: ReportedOutcome) -> Verdict {
        self.record(vec![outcome]).await.remove(0)
    }

    /// Writes decisions to the log, where they can be read.
    pub(crate) fn log_decisions(&self, records: Vec<DecisionRecord>) {
        let log = self.log.recorder().urgent();
        let room = log.try_reserve(1 << 20).unwrap();
        let receipt = log.record(room, Box::new(Records(records)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || runtime.block_on(receipt.durable()).unwrap()).join().unwrap();
        });
    }

    /// Queues comparisons with a shadow, of decisions for a customer to whom nothing was shown.
    pub(crate) fn log_shadows(&self, customer: &str, count: u64) {
        let compared_at = now().timestamp_micros();
        let record = |number| ShadowRecord {
            format: 1,
            compared_at,
            decision_id: id(number, TimeDelta::zero()).to_string(),
            decided_at: compared_at,
            placement: "home".to_owned(),
            customer_id: customer.to_owned(),
            shadow: "s".to_owned(),
            champion_shown: vec!["a".to_owned()],
            shadow_shown: vec!["b".to_owned()],
            ..ShadowRecord::default()
        };
        let records: Vec<_> = (0..count).map(record).collect();
        let all = records.len();
        assert_eq!(self.log.recorder().record_shadows(records), all);
    }

    /// What is written, read while the server runs.
    pub(crate) fn reader(&self) -> EventReader {
        EventReader::new(self.store.clone()).with_logs(self.log.log_files())
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What is written, read after the log is closed.
    pub(crate) fn close(self) -> (EventReader, tempfile::TempDir) {
        let data = self.data();
        assert_eq!(self.log.close(Duration::from_secs(5)).lost, 0);
        let opened = event::log::open_read_only(&data).unwrap();
        (EventReader::new(self.store).with_opened(opened), self.directory)
    }
}

struct Records(Vec<DecisionRecord>);

impl IntoEvents for Records {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        self.0.into_iter().for_each(|record| emit(record.into()));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The UUIDv7 of a decision that was made so long ago.
pub(crate) fn id(number: u64, ago: TimeDelta) -> Uuid {
    let millis = (now() - ago).timestamp_millis().cast_unsigned();
    Uuid::from_u128(u128::from(millis) << 80 | 7 << 76 | 2 << 62 | u128::from(number))
}

/// A decision for a customer that showed these offers at `home`, by a call that named no channel.
pub(crate) fn decision(id: Uuid, customer: &str, offers: &[&str], ago: TimeDelta) -> DecisionRecord {
    let offer = |id: &&str| RecordedOffer {
        offer_id: (*id).to_owned(),
        factors: Some(RecordedFactors { value: 90.0, cost: 3.5, ..RecordedFactors::default() }),
        ..RecordedOffer::default()
    };
    DecisionRecord {
        format: 1,
        decision_id: id.to_string(),
        decided_at: (now() - ago).timestamp_micros(),
        placement: "home".to_owned(),
        customer_id: customer.to_owned(),
        offers: offers.iter().map(offer).collect(),
        ..DecisionRecord::default()
    }
}

/// A click now.
pub(crate) fn click(event_id: &str) -> ReportedOutcome {
    ReportedOutcome {
        event_id: event_id.to_owned(),
        outcome_type: "click".to_owned(),
        occurred_at: Some(now()),
        ..ReportedOutcome::default()
    }
}

/// The same for a decision.
pub(crate) fn click_on(event_id: &str, decision: Uuid, offer: &str) -> ReportedOutcome {
    ReportedOutcome { decision_id: decision.to_string(), offer_id: offer.to_owned(), ..click(event_id) }
}

/// The same without a decision.
pub(crate) fn click_by(event_id: &str, customer: &str, offer: &str) -> ReportedOutcome {
    ReportedOutcome { customer_id: customer.to_owned(), offer_id: offer.to_owned(), ..click(event_id) }
}

/// Pseudonyms of two keys, of which the second makes new ones.
pub(crate) fn pseudonyms() -> Pseudonyms {
    // Base64 of 32 bytes.
    let secret = |three: &str, two: &str| three.repeat(10) + two;
    let text = format!(
        "[[key]]\nid = \"old\"\nsecret = \"{}\"\nuse = \"pseudonyms\"\nactive = false\n\
         [[key]]\nid = \"new\"\nsecret = \"{}\"\nuse = \"pseudonyms\"\nactive = true\n",
        secret("AQEB", "AQE="),
        secret("AgIC", "AgI=")
    );
    Pseudonyms::new(PseudonymMode::HmacSha256, &Keys::parse("keys", &text).unwrap()).unwrap()
}
