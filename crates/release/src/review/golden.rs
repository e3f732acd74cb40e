//! Models whose answers were never compared with those of the library that trained them.

use super::Release;
use super::lines::Lines;
use document::Problems;
use segment::GOLDEN_FILE as FILE;

/// Compressed files, which are not read.
const COMPRESSED: [&str; 3] = ["gz", "zst", "br"];

/// Warns of each version without golden rows: an export that computes other scores than its library passes all other
/// gates.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    for (name, version) in release.pins() {
        let directory = lines.source().models_dir.join(name).join(version.to_string());
        if directory.join(FILE).is_file() {
            continue;
        }
        let packed = COMPRESSED.iter().map(|ending| format!("{FILE}.{ending}"));
        let packed = packed.into_iter().find(|packed| directory.join(packed).is_file());
        let message = match packed {
            Some(packed) => format!("`{packed}` is not read; unpack it, so that its answers are checked"),
            None => format!(
                "there is no {FILE}, so its answers were never compared with the training library's; push it with \
                 --check-against ROWS.csv"
            ),
        };
        warnings.push(format!("{name}/{version}"), None, message);
    }
}
