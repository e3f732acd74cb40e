//! `CURRENT` and the copies of every earlier one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Place, Staging, Store, StoreError, keys, parse_toml, to_toml};
use crate::fault;
use crate::records::Current;
use objects::{Content, Put, WriteCondition, files};

/// How often a bucket is asked again: to write, after two writers collided; to read, until two reads agree.
const COLLISIONS: usize = 5;

/// Identifies one state of `CURRENT`: the text of a file, the `ETag` of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(String);

/// `CURRENT` as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// Its content.
    pub current: Current,
    /// The state that a later write expects.
    pub stamp: Stamp,
}

/// `CURRENT` with its exact text, for the copy.
pub(super) struct Present {
    pub(super) stamped: Stamped,
    text: String,
}

impl Store {
    /// Reads `CURRENT`.
    ///
    /// # Errors
    /// When it is missing or damaged, or the store cannot be reached.
    pub fn current(&self) -> Result<Stamped, StoreError> {
        self.present()?.map(|present| present.stamped).ok_or_else(|| self.no_current())
    }

    /// Reads `CURRENT` unless it still is `known`. If nothing changed, a bucket answers one request without a body.
    ///
    /// # Errors
    /// As [`Store::current`].
    pub fn current_unless(&self, known: &Stamp) -> Result<Option<Stamped>, StoreError> {
        match &self.0.place {
            Place::Directory(_) => self.current().map(|read| (read.stamp != *known).then_some(read)),
            Place::Bucket => {
                let changed = self.0.objects.has_changed(keys::CURRENT, &known.0)?;
                if changed { self.current().map(Some) } else { Ok(None) }
            }
        }
    }

    /// Replaces `CURRENT` if it still is `expected`; `None` expects that there is none. Keeps a copy of the new
    /// `CURRENT`, and of the replaced one in case its writer died before it could.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when another is there; an error of the operating system or the bucket. After an
    /// error `CURRENT` is the old one or the new one; only [`StoreError::Unreachable`] leaves open which.
    pub fn replace_current(&self, expected: Option<&Stamp>, next: &Current) -> Result<Stamp, StoreError> {
        fault::point("promote.asked");
        let _held = self.lock()?;
        let present = self.present()?;
        if let Some(Present { stamped, text }) = &present {
            if expected != Some(&stamped.stamp) {
                return Err(StoreError::Overtaken { current: Box::new(stamped.current.clone()) });
            }
            if next.sequence <= stamped.current.sequence {
                let present = stamped.current.sequence;
                return Err(StoreError::OutOfOrder { next: next.sequence, present });
            }
            self.keep_copy(stamped.current.sequence, text)?;
        } else if expected.is_some() {
            return Err(self.no_current());
        }
        let text = self.written(next)?;
        let stamp = match &self.0.place {
            Place::Directory(root) => {
                replace(&self.stage()?, &root.join(keys::CURRENT), text.as_bytes())?;
                Stamp(text.clone())
            }
            Place::Bucket => self.swap(expected, &text)?,
        };
        fault::point("promote.moved");
        if let Err(error) = self.keep_copy(next.sequence, &text) {
            // The promotion holds without the copy; the next writer makes it.
            tracing::warn!(%error, sequence = next.sequence, "no copy of CURRENT could be kept");
        }
        fault::point("promote.copied");
        Ok(stamp)
    }

    /// Every `CURRENT` there was, ascending by sequence, the present one included.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn promotions(&self) -> Result<Vec<Current>, StoreError> {
        self.promotions_before(u64::MAX, usize::MAX)
    }

    /// The last `count` states of `CURRENT` with a sequence below `before`, ascending by sequence. Reads no others.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn promotions_before(&self, before: u64, count: usize) -> Result<Vec<Current>, StoreError> {
        self.promotions_through(before, count, |sequences| self.copies(sequences))
    }

    /// As [`Store::promotions_before`]. `copies` reads the copies of promotions with these sequences, ascending, or knows
    /// them: they never change.
    ///
    /// # Errors
    /// As [`Store::promotions_before`]; those of `copies`.
    pub(crate) fn promotions_through(
        &self,
        before: u64,
        count: usize,
        copies: impl FnOnce(&[u64]) -> Result<Vec<Current>, StoreError>,
    ) -> Result<Vec<Current>, StoreError> {
        let number = |name: &str| name.strip_suffix(".toml").and_then(keys::number);
        let names = self.0.objects.list(keys::PROMOTIONS)?.into_keys();
        let mut sequences: Vec<u64> =
            names.filter_map(|name| number(&name)).filter(|sequence| *sequence < before).collect();
        sequences.sort_unstable();
        sequences.drain(..sequences.len().saturating_sub(count));
        let mut found: BTreeMap<u64, Current> =
            copies(&sequences)?.into_iter().map(|copy| (copy.sequence, copy)).collect();
        let present = self.current()?.current;
        if present.sequence < before {
            found.insert(present.sequence, present);
        }
        while found.len() > count {
            found.pop_first();
        }
        Ok(found.into_values().collect())
    }

    /// The copies of promotions with these sequences, as far as they are there.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn copies(&self, sequences: &[u64]) -> Result<Vec<Current>, StoreError> {
        let keys: Vec<String> = sequences.iter().map(|sequence| keys::promotion(*sequence)).collect();
        let texts = keys.iter().zip(self.0.objects.texts(&keys)?);
        let copy = |(key, text): (&String, Option<String>)| {
            text.map(|text| parse_toml::<Current>(self.0.objects.shown(key), &text))
        };
        texts.filter_map(copy).collect()
    }

    /// `CURRENT` with its text, if there is one.
    pub(super) fn present(&self) -> Result<Option<Present>, StoreError> {
        let read = || self.0.objects.get(keys::CURRENT);
        let mut content = read()?;
        if let Place::Bucket = self.0.place {
            // Object servers that keep files have answered with the tag of one state and the content of the next
            // during a replacement. Two equal reads are one state.
            for _ in 0..COLLISIONS {
                let again = read()?;
                if again == content {
                    break;
                }
                content = again;
            }
        }
        content.map(|content| self.read(content)).transpose()
    }

    fn read(&self, content: Content) -> Result<Present, StoreError> {
        let (path, tag) = (self.0.objects.shown(keys::CURRENT), content.tag.clone());
        let text = content.text(&path)?;
        let stamp = Stamp(match self.0.place {
            Place::Directory(_) => text.clone(),
            Place::Bucket => tag,
        });
        let current = parse_toml(path, &text)?;
        Ok(Present { stamped: Stamped { current, stamp }, text })
    }

    /// The text of a `CURRENT`. In a bucket it carries a mark of its writer. With it, a writer whose answer was lost
    /// tells its own text from an equal one of another writer.
    fn written(&self, current: &Current) -> Result<String, StoreError> {
        let text = to_toml(current)?;
        Ok(match self.0.place {
            Place::Directory(_) => text,
            Place::Bucket => format!("{text}# written once as {}\n", telemetry::ids::new_id()),
        })
    }

    fn swap(&self, expected: Option<&Stamp>, text: &str) -> Result<Stamp, StoreError> {
        fault::point("promote.written");
        let condition =
            || expected.map_or(WriteCondition::Absent, |stamp| WriteCondition::Matches(stamp.0.clone()));
        for _ in 0..COLLISIONS {
            let put = self.0.objects.put(keys::CURRENT, text.to_owned(), condition());
            if let Ok(Put::Done(tag)) = &put
                && !tag.is_empty()
            {
                return Ok(Stamp(tag.clone()));
            }
            // The first attempt may have been written and its answer lost; then the repetition was refused.
            let present = self.present()?;
            match (put, present) {
                (_, Some(present)) if present.text == text => return Ok(present.stamped.stamp),
                (Err(error), _) => return Err(error.into()),
                (Ok(_), Some(present)) if Some(&present.stamped.stamp) != expected => {
                    return Err(StoreError::Overtaken { current: Box::new(present.stamped.current) });
                }
                (Ok(_), _) => {}
            }
        }
        let store = self.0.objects.shown(keys::CURRENT);
        Err(StoreError::Unreachable { store, message: "its writers keep colliding".to_owned() })
    }

    fn keep_copy(&self, sequence: u64, text: &str) -> Result<(), StoreError> {
        let key = keys::promotion(sequence);
        if self.0.objects.exists(&key)? {
            return Ok(());
        }
        self.put_new(&key, text.to_owned()).map(|_| ())
    }

    fn no_current(&self) -> StoreError {
        StoreError::NotAStore { path: self.0.location.clone(), reason: "it has no CURRENT".to_owned() }
    }
}

/// Replaces a file atomically. The lock must be held.
fn replace(staging: &Staging, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let made = staging.path().join("file");
    files::write(&made, bytes)?;
    fault::point("promote.written");
    fs::rename(&made, target).map_err(|error| StoreError::io(target, error))?;
    Ok(files::sync(files::parent(target))?)
}
