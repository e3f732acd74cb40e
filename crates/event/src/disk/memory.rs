//! A disk in memory for tests. It loses what was not synced when the power goes, can be full, and can fail.
//!
//! It is as unkind as a real one may be. After a sync that failed, what was to be synced is forgotten, and the next
//! sync succeeds without it. Of bytes that were not synced any part may survive, followed by zeros. Names are as lost
//! as bytes unless their directory was synced. A note that was overwritten is the former, the new one, or half of each.

use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, Output};

/// The disk. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Names that were given or taken since names were synced: those of a rename at once.
    changes: Vec<Vec<(PathBuf, Option<usize>)>>,
    files: Vec<Content>,
    faults: Faults,
    /// Operations that changed something or synced.
    steps: u64,
    syncs: u64,
    has_no_power: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// So many of the next writes fail, half done.
    pub(crate) writes: u32,
    /// So many of the next syncs of files fail.
    pub(crate) syncs: u32,
    /// So many of the next cuts and removals fail.
    pub(crate) cuts: u32,
    /// The disk has room for so many bytes.
    pub(crate) capacity: Option<u64>,
    /// Syncs of files hang while somebody has this.
    pub(crate) syncs_hang: Option<Arc<Mutex<()>>>,
    /// The power goes in this step.
    pub(crate) power_until: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// What a sync failed to write, and forgot.
    forgotten: Vec<Range<usize>>,
    /// Whether its bytes are overwritten in place.
    is_note: bool,
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.bytes);
        for range in self.forgotten.drain(..) {
            let end = range.end.min(self.durable.len());
            self.durable[range.start.min(end)..end].fill(0);
        }
    }
}

impl State {
    /// Counts an operation; an error if the power is off, or goes in it.
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        self.has_no_power |= self.faults.power_until.is_some_and(|last| self.steps >= last);
        if self.has_no_power { Err(io::Error::other("no power")) } else { Ok(()) }
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut Content> {
        let found = self.names.get(path).copied();
        found.map(|file| &mut self.files[file]).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].bytes.len() as u64).sum()
    }

    fn name(&mut self, changes: Vec<(PathBuf, Option<usize>)>) {
        name_in(&mut self.names, &changes);
        self.changes.push(changes);
    }
}

fn name_in(names: &mut BTreeMap<PathBuf, usize>, changes: &[(PathBuf, Option<usize>)]) {
    for (path, file) in changes {
        match file {
            Some(file) => names.insert(path.clone(), *file),
            None => names.remove(path),
        };
    }
}

/// Whether one of so many faults is left; takes it.
fn strikes(left: &mut u32) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

impl MemoryDisk {
    pub(crate) fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// Operations that changed something or synced.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Syncs of files.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub(crate) fn has_power(&self) -> bool {
        !self.state().has_no_power
    }

    /// The disk as it may be after a loss of power; `seed` draws what survives of that which was not synced.
    pub(crate) fn after_loss_of_power(&self, seed: u64) -> Self {
        let state = self.state();
        let mut random = Random(seed);
        let mut names = state.durable_names.clone();
        let survive = random.below(state.changes.len() + 1);
        state.changes[..survive].iter().for_each(|changes| name_in(&mut names, changes));
        let after = |content: &Content| {
            let mut bytes = content.durable.clone();
            if content.is_note {
                let new = random.below(3) * content.bytes.len() / 2;
                bytes.truncate(content.bytes.len());
                bytes.splice(..new.min(bytes.len()), content.bytes[..new].iter().copied());
                return Content { durable: bytes.clone(), bytes, is_note: true, ..Content::default() };
            }
            if let Some(unsynced) = content.bytes.get(bytes.len()..) {
                let survive = random.below(unsynced.len() + 1);
                bytes.extend(&unsynced[..survive]);
                let zeros = if random.below(2) == 0 { 0 } else { random.below(unsynced.len() - survive + 1) };
                bytes.resize(bytes.len() + zeros, 0);
            }
            Content { durable: bytes.clone(), bytes, ..Content::default() }
        };
        let files = state.files.iter().map(after).collect();
        let state = State { durable_names: names.clone(), names, files, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// The content of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.state().file(path).unwrap().bytes.clone()
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(Content { bytes: bytes.to_vec(), durable: bytes.to_vec(), ..Content::default() });
        state.names.insert(path.to_owned(), file);
        state.durable_names.insert(path.to_owned(), file);
    }

    /// The names of the files in the folder of the log.
    pub(crate) fn names(&self) -> Vec<String> {
        let listed = self.list(Path::new("/log")).unwrap();
        listed.into_iter().map(|(name, _)| name).collect()
    }

    /// The bytes of the files in the folder of the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.list(Path::new("/log")).unwrap().iter().map(|(_, bytes)| bytes).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if state.faults.capacity.is_some_and(|capacity| state.used() >= capacity) {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = state.files.len();
        state.files.push(Content::default());
        state.name(vec![(path.to_owned(), Some(file))]);
        Ok(Box::new(MemoryFile { disk: self.clone(), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.state().file(path)?.bytes.clone())))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        let entry = |(path, file): (&PathBuf, &usize)| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, state.files[*file].bytes.len() as u64)
        };
        Ok(inside.map(entry).collect())
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if strikes(&mut state.faults.cuts) {
            return Err(io::Error::other("the cut failed"));
        }
        let file = state.file(path)?;
        file.bytes.resize(length as usize, 0);
        file.sync();
        Ok(())
    }

    fn note(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.names.contains_key(path) {
            let file = state.files.len();
            state.files.push(Content { is_note: true, ..Content::default() });
            state.name(vec![(path.to_owned(), Some(file))]);
        }
        let room = state.faults.capacity.map(|capacity| capacity.saturating_sub(state.used()));
        let file = state.file(path)?;
        if room.is_some_and(|room| (bytes.len().saturating_sub(file.bytes.len())) as u64 > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        file.bytes.resize(file.bytes.len().max(bytes.len()), 0);
        file.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.has_no_power {
            return state.step();
        }
        let done = state.step();
        let fails = done.is_err() || strikes(&mut state.faults.writes);
        let file = state.file(path)?;
        let written = if fails { bytes.len() / 2 } else { bytes.len() };
        file.bytes[..written].copy_from_slice(&bytes[..written]);
        // In its place: what is half written may be on the disk.
        file.sync();
        done?;
        if fails { Err(io::Error::other("the write failed")) } else { Ok(()) }
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.file(path)?.sync();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if strikes(&mut state.faults.cuts) {
            return Err(io::Error::other("the removal failed"));
        }
        state.file(path)?;
        state.name(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.file(from)?;
        let file = state.names[from];
        state.name(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        Ok(())
    }

    fn sync_names(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl Output for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.step();
        let room = match state.faults.capacity {
            Some(capacity) => capacity.saturating_sub(state.used()).min(bytes.len() as u64) as usize,
            None => bytes.len(),
        };
        let fails = done.is_err() || strikes(&mut state.faults.writes);
        let written = if fails { room / 2 } else { room };
        state.files[self.file].bytes.extend(&bytes[..written]);
        done?;
        match (fails, written == bytes.len()) {
            (true, _) => Err(io::Error::other("the write failed")),
            (false, false) => Err(ErrorKind::StorageFull.into()),
            (false, true) => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let hangs = self.disk.state().faults.syncs_hang.clone();
        let _held = hangs.as_ref().map(|hangs| hangs.lock().unwrap());
        let mut state = self.disk.state();
        state.step()?;
        let fails = strikes(&mut state.faults.syncs);
        let file = &mut state.files[self.file];
        if fails {
            file.forgotten.push(file.durable.len()..file.bytes.len());
            return Err(io::Error::other("the sync failed"));
        }
        file.sync();
        state.syncs += 1;
        Ok(())
    }
}

/// The generator of <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

mod tests {
    use super::*;

    fn write(disk: &MemoryDisk, name: &str, text: &str) -> Box<dyn Output> {
        let mut output = disk.create(Path::new("/log").join(name).as_path()).unwrap();
        output.append(text.as_bytes()).unwrap();
        output
    }

    #[test]
    fn what_is_synced_survives_and_nothing_else_is_sure() {
        let (mut kept, mut torn, mut unnamed) = (0, 0, 0);
        for seed in 0..200 {
            let disk = MemoryDisk::default();
            let mut synced = write(&disk, "a", "synced ");
            synced.sync().unwrap();
            disk.sync_names(Path::new("/log")).unwrap();
            synced.append(b"unsynced").unwrap();
            write(&disk, "b", "x").sync().unwrap();
            let after = disk.after_loss_of_power(seed);
            let content = after.content(Path::new("/log/a"));
            assert!(content.starts_with(b"synced "));
            kept += i32::from(content == b"synced unsynced");
            torn += i32::from(content == b"synced uns");
            unnamed += i32::from(!after.names().contains(&"b".to_owned()));
        }
        assert!(kept > 0 && torn > 0 && unnamed > 0, "{kept} {torn} {unnamed}");
    }

    #[test]
    fn a_sync_that_failed_is_forgotten_by_the_next() {
        let disk = MemoryDisk::default();
        let mut output = write(&disk, "a", "lost");
        disk.set_faults(|faults| faults.syncs = 1);
        assert!(output.sync().is_err());
        output.append(b"kept").unwrap();
        output.sync().unwrap();
        disk.sync_names(Path::new("/log")).unwrap();
        assert_eq!(disk.content(Path::new("/log/a")), b"lostkept", "as long as it is in memory");
        assert_eq!(disk.after_loss_of_power(1).content(Path::new("/log/a")), b"\0\0\0\0kept");
    }
}
