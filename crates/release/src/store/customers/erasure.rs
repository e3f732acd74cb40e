//! A customer goes from every file of customers, and no file that is loaded meanwhile is lost.
//!
//! In a bucket each object is read, made anew and replaced if it is still the one that was read. Then all are listed
//! again, until each that is listed is known to have nothing of the customer. A load keeps the former file before it
//! places the new one, so what it keeps is listed by the time it has replaced anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{NAMES, Place, Store, StoreError, key, latest};
use crate::fault;
use feature::store::{CustomerSource, ErasedFrom, PREVIOUS, kept_number, write_without};
use objects::{Listed, ObjectsError, Put};

/// How often all objects are listed. Two rounds do, and each load meanwhile takes up to two more.
const ROUNDS: usize = 12;

/// What was read of an object.
enum Read {
    /// So many rows of the customer, and none in the object that has this tag now.
    Rows(u64, String),
    /// It is another one by now, or gone.
    Replaced,
}

impl Store {
    /// Replaces the files that have the customer `id` by files without them: the present one, and those that a load can
    /// be undone to. Returns which those were, by their paths in `customers_dir()`. What a load puts there meanwhile is
    /// searched, too.
    ///
    /// # Errors
    /// When the store cannot be reached or written to, or a file not be read. What was replaced stays, and a
    /// repetition goes on.
    pub fn erase_customer(&self, id: &str) -> Result<Vec<ErasedFrom>, StoreError> {
        match self.0.place {
            Place::Directory(_) => Ok(CustomerSource::new(&self.0.customers).erase(id)?),
            Place::Bucket => self.erase_from_bucket(id),
        }
    }

    fn erase_from_bucket(&self, id: &str) -> Result<Vec<ErasedFrom>, StoreError> {
        let mut erased = Vec::new();
        // Objects that have nothing of them, by name and tag.
        let mut clean: BTreeSet<(String, String)> = BTreeSet::new();
        // The present file that this has made, and what was listed before.
        let mut made: Option<(String, BTreeMap<String, Listed>)> = None;
        for _ in 0..ROUNDS {
            let listed = self.listed_customers()?;
            let present = latest(&listed);
            let kept = listed.iter().filter(|(name, _)| is_kept(name));
            let mut is_clean = true;
            for (name, object) in kept.chain(present) {
                if clean.contains(&(name.clone(), object.tag.clone())) {
                    continue;
                }
                is_clean = false;
                let Read::Rows(rows, tag) = self.erase_from(name, id)? else { continue };
                clean.insert((name.clone(), tag));
                if rows > 0 {
                    erased.push(ErasedFrom { file: self.0.customers.join(name), rows });
                    if !is_kept(name) {
                        made = Some((name.clone(), listed.clone()));
                    }
                }
            }
            if !is_clean {
                continue;
            }
            let is_present = |(name, _): &(&String, &Listed)| NAMES.contains(&name.as_str());
            let mut formats = listed.iter().filter(is_present).filter(|one| Some(*one) != present);
            let (Some((present, _)), Some((other, object))) = (present, formats.next()) else {
                return Ok(erased);
            };
            // The other is left of an interrupted load, unless it has come since the former file was read: then it is
            // of a later load, and this has made the former one anew.
            let is_former = made
                .as_ref()
                .is_some_and(|(name, before)| name == present && before.get(other) != Some(object));
            self.0.objects.delete(&key(if is_former { present } else { other }))?;
        }
        let path = self.0.customers.display().to_string();
        let message = "files of customers keep changing; try again when none are being loaded".to_owned();
        Err(StoreError::Damaged { path, message })
    }

    /// Replaces an object by one without the customer, if it has them.
    fn erase_from(&self, name: &str, id: &str) -> Result<Read, StoreError> {
        let key = key(name);
        let staged = self.stage()?;
        let (file, made) = (staged.path().join("former"), staged.path().join("made"));
        let tag = match self.0.objects.download(&key, &file) {
            Ok(tag) => tag,
            Err(ObjectsError::NotFound { .. }) => return Ok(Read::Replaced),
            Err(error) => return Err(error.into()),
        };
        let rows = write_without(&file, &self.0.objects.shown(&key), id, &made)?;
        if rows == 0 {
            return Ok(Read::Rows(0, tag));
        }
        fault::point("customers.made");
        Ok(match self.0.objects.replace(&key, &made, &tag)? {
            Put::Done(tag) => Read::Rows(rows, tag),
            Put::Taken => Read::Replaced,
        })
    }
}

/// Whether it is the name of a file that a load can be undone to.
fn is_kept(name: &str) -> bool {
    let file = name.strip_prefix(PREVIOUS).and_then(|name| name.strip_prefix('/'));
    file.is_some_and(|file| kept_number(file).is_some())
}
