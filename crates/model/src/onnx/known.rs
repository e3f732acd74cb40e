//! What is known of models by their bytes, learned by this process or by the judge. So a release that returns is not
//! compared again, and a server never runs a graph to repeat a judge's comparison.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Signature;
use crate::{hex, unhex};
use work::priority::yield_if_due;

/// The most models to remember. Beyond, all are forgotten.
const MOST: usize = 4096;

/// The SHA-256 of the bytes of a model's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for piece in bytes.chunks(1 << 16) {
            digest.update(piece);
            yield_if_due();
        }
        Self(digest.finalize().into())
    }
}

/// The result of comparing the native engine with ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// They agree.
    Equal,
    /// They differ: the row and both answers, as text.
    Differs(String),
}

/// Facts that follow from the bytes of a graph: its signature, and how the native engine compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphFacts {
    /// The SHA-256 of the file in lower-case hexadecimal.
    pub sha256: String,
    /// The signature in ONNX Runtime.
    pub signature: Signature,
    /// From the SHA-256 of what the answers depend on besides the bytes, to the result. That includes the engine's
    /// revision.
    pub compared: BTreeMap<String, Compared>,
}

/// What is known of models that the native engine may serve.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<Digest, GraphFacts>>);

/// `asked`: what the answers depend on besides the bytes.
fn key(asked: &str) -> String {
    hex(&Digest::of(asked.as_bytes()).0)
}

impl Known {
    fn models(&self) -> MutexGuard<'_, HashMap<Digest, GraphFacts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signature(&self, digest: Digest) -> Option<Signature> {
        self.models().get(&digest).map(|facts| facts.signature.clone())
    }

    /// The result for these bytes, if they were compared.
    pub(crate) fn compared(&self, digest: Digest, asked: &str) -> Option<Compared> {
        self.models().get(&digest)?.compared.get(&key(asked)).cloned()
    }

    pub(crate) fn learn(&self, digest: Digest, signature: &Signature, asked: &str, found: Compared) {
        let compared = BTreeMap::from([(key(asked), found)]);
        let signature = signature.clone();
        self.add(digest, GraphFacts { sha256: hex(&digest.0), signature, compared });
    }

    /// Takes the facts that another process returned from [`Known::facts`]. Facts with an invalid digest are ignored.
    pub(super) fn trust(&self, facts: GraphFacts) {
        if let Some(digest) = unhex(&facts.sha256) {
            self.add(Digest(digest), facts);
        }
    }

    /// The facts of the bytes with this SHA-256, for another process.
    pub(super) fn facts(&self, sha256: &str) -> Option<GraphFacts> {
        self.models().get(&Digest(unhex(sha256)?)).cloned()
    }

    fn add(&self, digest: Digest, facts: GraphFacts) {
        let mut models = self.models();
        if models.len() >= MOST && !models.contains_key(&digest) {
            models.clear();
        }
        match models.get_mut(&digest) {
            Some(known) => known.compared.extend(facts.compared),
            None => _ = models.insert(digest, facts),
        }
    }
}
