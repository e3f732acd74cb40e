//! The bytes of a version on their way in: announced, streamed to disk, hashed while they arrive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::invalid;
use crate::model::{Manifest, hex};
use crate::release::store::Staging;
use crate::release::{PushHeader, RegistryError, VersionFile};

/// The manifest's own name, which no other file may have.
const MANIFEST: &str = "model.toml";
/// The most files of a version.
const FILES: usize = 4096;
/// The most bytes of a manifest.
const MANIFEST_BYTES: usize = 1 << 20;
/// The most bytes of a model's name and of a file's path.
const NAME_BYTES: usize = 64;
const PATH_BYTES: usize = 512;

/// A version that is being uploaded. Dropping it leaves nothing behind.
pub struct Upload {
    staged: Staging,
    header: PushHeader,
    /// The position of the file that the next bytes belong to; all before it are complete.
    at: usize,
    open: Option<Open>,
}

/// The file that is not yet complete.
struct Open {
    file: File,
    digest: Sha256,
    written: u64,
}

impl Upload {
    pub(super) fn new(staged: Staging, header: PushHeader, manifest: String) -> Result<Self, RegistryError> {
        let path = staged.path().join(MANIFEST);
        fs::write(path, manifest).map_err(|error| failed(MANIFEST, &error))?;
        let mut upload = Self { staged, header, at: 0, open: None };
        upload.complete_empty()?;
        Ok(upload)
    }

    /// The next bytes of the files, in the order of the header; they may end one file and begin the next.
    ///
    /// # Errors
    /// More bytes than were announced, a file that is not what was announced, or a disk that cannot be written.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), RegistryError> {
        while !bytes.is_empty() {
            let Some(file) = self.header.files.get(self.at) else {
                let message = format!("{} bytes more than the header announces", bytes.len());
                return Err(invalid("chunk.data", message));
            };
            let name = file.name.clone();
            let open = match self.open.take() {
                Some(open) => self.open.insert(open),
                None => self.open.insert(begin(self.staged.path(), &name)?),
            };
            let wanted = usize::try_from(file.size - open.written).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(wanted));
            open.file.write_all(now).map_err(|error| failed(&name, &error))?;
            open.digest.update(now);
            open.written += now.len() as u64;
            if open.written == file.size {
                self.complete()?;
                self.complete_empty()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Closes the file that has all its bytes.
    fn complete(&mut self) -> Result<(), RegistryError> {
        let Some(Open { file, digest, .. }) = self.open.take() else { return Ok(()) };
        let announced = &self.header.files[self.at];
        let found = hex(&digest.finalize());
        if found != announced.sha256 {
            let message = format!(
                "the SHA-256 of {} is {found}, but {} was announced: it was damaged on the way",
                announced.name, announced.sha256
            );
            return Err(invalid(format!("header.files[{}].sha256", self.at), message));
        }
        file.sync_all().map_err(|error| failed(&announced.name, &error))?;
        self.at += 1;
        Ok(())
    }

    /// Files without bytes need no chunk.
    fn complete_empty(&mut self) -> Result<(), RegistryError> {
        while self.header.files.get(self.at).is_some_and(|file| file.size == 0) {
            self.open = Some(begin(self.staged.path(), &self.header.files[self.at].name)?);
            self.complete()?;
        }
        Ok(())
    }

    /// The whole version, staged.
    pub(super) fn finish(self) -> Result<(PushHeader, Staging), RegistryError> {
        if let Some(file) = self.header.files.get(self.at) {
            let written = self.open.map_or(0, |open| open.written);
            let message = format!("{written} of the {} bytes of {} arrived", file.size, file.name);
            return Err(invalid(format!("header.files[{}]", self.at), message));
        }
        Ok((self.header, self.staged))
    }
}

fn begin(directory: &Path, name: &str) -> Result<Open, RegistryError> {
    let path = directory.join(name);
    let create = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create_new(&path)
    };
    let file = create().map_err(|error| failed(name, &error))?;
    Ok(Open { file, digest: Sha256::new(), written: 0 })
}

fn failed(name: &str, error: &std::io::Error) -> RegistryError {
    let message = format!("{name} cannot be written: {error}");
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    if full.contains(&error.kind()) {
        RegistryError::NoSpace(message)
    } else {
        RegistryError::Internal(message)
    }
}

/// Everything that can be wrong with what is announced.
pub(super) fn check(header: &PushHeader, most: u64) -> Result<(), RegistryError> {
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let name = &header.name;
    if name.is_empty() || name.len() > NAME_BYTES || !plain(name) || name.starts_with('.') {
        let message = format!(
            "{name:?} is no name of a model: letters, digits, `_`, `-` and `.`, at most {NAME_BYTES}, not beginning with a dot"
        );
        return Err(invalid("header.name", message));
    }
    if header.manifest.len() > MANIFEST_BYTES {
        return Err(invalid("header.manifest", format!("is larger than {MANIFEST_BYTES} bytes")));
    }
    if header.files.len() > FILES {
        return Err(invalid("header.files", format!("are {}, more than {FILES}", header.files.len())));
    }
    let mut names = BTreeSet::new();
    let mut total: u64 = 0;
    for (index, file) in header.files.iter().enumerate() {
        let field = |part: &str| format!("header.files[{index}].{part}");
        check_path(&file.name).map_err(|message| invalid(field("name"), message))?;
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| b"0123456789abcdef".contains(&byte)) {
            return Err(invalid(field("sha256"), "must be a SHA-256 in 64 hexadecimal digits"));
        }
        if !names.insert(file.name.as_str()) {
            return Err(invalid(field("name"), format!("{} comes twice", file.name)));
        }
        total = total.saturating_add(file.size);
        if total > most {
            let message = format!(
                "with {} the version has more than the {most} bytes that an upload may have (limits.upload)",
                file.name
            );
            return Err(invalid(field("size"), message));
        }
    }
    let is_folder = |name: &&&str| {
        names
            .range(format!("{name}/").as_str()..)
            .next()
            .is_some_and(|next| next.strip_prefix(**name).is_some_and(|rest| rest.starts_with('/')))
    };
    if let Some(both) = names.iter().find(is_folder) {
        return Err(invalid("header.files", format!("{both} is a file and a folder")));
    }
    Ok(())
}

fn check_path(name: &str) -> Result<(), String> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    // A path that is not written the one way would be another name for the same file.
    let canonical = !name.is_empty() && !name.contains("//") && !name.ends_with('/') && !name.contains("/./");
    let hidden = name.split('/').any(|part| part.starts_with('.'));
    let odd = name.len() > PATH_BYTES || name.chars().any(|letter| letter.is_control() || letter == '\\');
    if !plain || !canonical || hidden || odd {
        return Err(format!(
            "{name:?} is no path within the version: folders and a file with `/` between them, none beginning with a dot"
        ));
    }
    if name == MANIFEST {
        return Err(format!("{MANIFEST} goes into `manifest`"));
    }
    Ok(())
}

/// The manifest as it is stored: with the checksum of every file.
pub(super) fn complete_manifest(header: &PushHeader) -> Result<String, RegistryError> {
    let manifest = Manifest::parse(MANIFEST, &header.manifest)
        .map_err(|problems| invalid("header.manifest", problems.to_string()))?;
    if manifest.checksums.is_empty() {
        let files = header.files.iter().map(|file| (file.name.clone(), file.sha256.clone()));
        let checksums = files.collect::<crate::model::Checksums>();
        return Ok(checksums.complete(&header.manifest));
    }
    let announced: Vec<(&str, &str)> = {
        let mut files: Vec<_> =
            header.files.iter().map(|file| (file.name.as_str(), file.sha256.as_str())).collect();
        files.sort_unstable();
        files
    };
    let listed: Vec<(&str, &str)> = manifest.checksums.iter().collect();
    if listed == announced {
        return Ok(header.manifest.clone());
    }
    let differs = |(name, digest): &&(&str, &str)| !announced.contains(&(name, digest));
    let missing = |(name, _): &&(&str, &str)| !listed.iter().any(|(listed, _)| listed == name);
    let what = match (listed.iter().find(differs), announced.iter().find(missing)) {
        (Some((name, _)), _) if announced.iter().any(|(known, _)| known == name) => {
            format!("[checksums] has another SHA-256 for {name} than the file")
        }
        (Some((name, _)), _) => format!("[checksums] lists {name}, which is not among the files"),
        (None, Some((name, _))) => format!("[checksums] does not list {name}"),
        (None, None) => "[checksums] does not agree with the files".to_owned(),
    };
    Err(invalid("header.manifest", format!("{what}; correct the table or leave it out")))
}

/// The files of a version by the checksums of its manifest, with their sizes on disk.
pub(super) fn files_of(directory: &Path, manifest: &str) -> Vec<VersionFile> {
    let Ok(manifest) = Manifest::parse(MANIFEST, manifest) else { return Vec::new() };
    let file = |(name, sha256): (&str, &str)| VersionFile {
        name: name.to_owned(),
        // What is not there has no bytes; loading says that it is missing.
        size: fs::metadata(directory.join(name)).map_or(0, |file| file.len()),
        sha256: sha256.to_owned(),
    };
    manifest.checksums.iter().map(file).collect()
}
