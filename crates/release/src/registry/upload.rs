//! The upload of a version: its files are announced, streamed to disk, and hashed as they arrive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::invalid;
use crate::store::Staging;
use crate::{PushHeader, RegistryError, VersionFile};
use model::{Manifest, alike, hex};

/// The manifest's name, which no other file may have.
const MANIFEST: &str = "model.toml";
/// The most files of a version.
const FILES: usize = 4096;
/// The most bytes of a manifest.
const MANIFEST_BYTES: usize = 1 << 20;
/// The most bytes of a model's name and of a file's path.
const NAME_BYTES: usize = 64;
const PATH_BYTES: usize = 512;
/// The most bytes of one part of a path: the limit of file systems (`NAME_MAX`).
const PART_BYTES: usize = 255;

/// A version that is being uploaded. Dropping it leaves nothing behind.
pub struct Upload {
    staged: Staging,
    header: PushHeader,
    /// The index of the file that the next bytes belong to; all files before it are complete.
    at: usize,
    open: Option<Open>,
}

/// The file that is being written.
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

    /// Takes the next bytes of the files, in the order of the header; they may cross the boundary between files.
    ///
    /// # Errors
    /// More bytes than announced, a file that differs from its announced checksum, or a disk error.
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

    /// Closes the file, which has all its bytes.
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

    /// Completes files of size zero, for which no bytes arrive.
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

/// Checks everything about the header.
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
    if let Some(message) = alike(names.iter().copied()) {
        return Err(invalid("header.files", message));
    }
    if let Some(both) = names.iter().find(is_folder) {
        return Err(invalid("header.files", format!("{both} is a file and a folder")));
    }
    Ok(())
}

fn check_path(name: &str) -> Result<(), String> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    // A second spelling of a path would be another name for the same file.
    let canonical = !name.is_empty() && !name.contains("//") && !name.ends_with('/') && !name.contains("/./");
    let hidden = name.split('/').any(|part| part.starts_with('.'));
    let too_long = name.len() > PATH_BYTES || name.split('/').any(|part| part.len() > PART_BYTES);
    if too_long {
        let (begin, bytes) = (&name[..name.floor_char_boundary(64)], name.len());
        return Err(format!(
            "{begin:?}… has {bytes} bytes: a path has at most {PATH_BYTES}, and each part of it at most {PART_BYTES}"
        ));
    }
    let odd = name.chars().any(|letter| letter.is_control() || letter == '\\');
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
        let checksums = files.collect::<model::Checksums>();
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
        // A missing file has size 0 here; loading reports it.
        size: fs::metadata(directory.join(name)).map_or(0, |file| file.len()),
        sha256: sha256.to_owned(),
    };
    manifest.checksums.iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_longer_than_file_systems_take_in_whole_and_in_part() {
        let long = |bytes| "x".repeat(bytes);
        for name in [long(255), format!("{}/{}", long(255), long(255)), format!("a/{}.onnx", long(250))] {
            assert_eq!(check_path(&name), Ok(()), "{} bytes", name.len());
        }
        for name in [
            long(256),
            format!("a/{}", long(256)),
            format!("{}/a", long(300)),
            format!("{}ä", long(254)),
            format!("{0}/{0}/{0}", long(200)),
            long(100_000),
        ] {
            let refused = check_path(&name).unwrap_err();
            assert!(refused.contains("at most 512, and each part of it at most 255"), "{refused}");
            assert!(refused.len() < 300, "{refused}");
        }
    }
}
