//! What this process has learned of models by their bytes, so that a release which comes back is not asked again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Signature;
use crate::priority::pause;

/// Models that are remembered; beyond, all are forgotten and learned anew.
const MOST: usize = 4096;

/// The SHA-256 of the bytes of a model's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::model) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(in crate::model) fn of(bytes: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for piece in bytes.chunks(1 << 16) {
            digest.update(piece);
            pause();
        }
        Self(digest.finalize().into())
    }
}

/// Models that an engine of ours serves: facts that follow from their bytes, this build and this machine. Only what went well is
/// kept: what failed is tried again.
#[derive(Debug, Default)]
pub(in crate::model) struct Known(Mutex<HashMap<Digest, Facts>>);

#[derive(Debug)]
struct Facts {
    /// As ONNX Runtime has it.
    signature: Signature,
    /// What an engine of ours answered as ONNX Runtime did.
    verified: HashSet<String>,
}

impl Known {
    fn models(&self) -> MutexGuard<'_, HashMap<Digest, Facts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signature(&self, digest: Digest) -> Option<Signature> {
        self.models().get(&digest).map(|facts| facts.signature.clone())
    }

    /// `asked`: whatever the answers depend on beside the bytes.
    pub(in crate::model) fn is_verified(&self, digest: Digest, asked: &str) -> bool {
        self.models().get(&digest).is_some_and(|facts| facts.verified.contains(asked))
    }

    pub(in crate::model) fn learn(&self, digest: Digest, signature: &Signature, asked: String) {
        let mut models = self.models();
        if models.len() >= MOST && !models.contains_key(&digest) {
            models.clear();
        }
        let signature = signature.clone();
        let facts = models.entry(digest).or_insert_with(|| Facts { signature, verified: HashSet::new() });
        facts.verified.insert(asked);
    }
}
