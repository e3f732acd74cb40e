//! Triton's own Python client, as users of other servers know it.

use std::path::Path;
use std::process::Command;

use super::recordings;
use crate::harness::python;

#[test]
fn tritons_own_client_gets_every_recorded_answer() {
    let (Some(folder), Some(python)) = (recordings::folder(), python()) else { return };
    let server = recordings::server(&folder);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/open_inference/check.py");
    let asked = Command::new(python)
        .args([script.as_os_str(), "run".as_ref(), folder.as_os_str(), server.address.to_string().as_ref()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let printed =
        format!("{}{}", String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert!(asked.status.success(), "{printed}");
    // Fewer would mean that the recordings were not all found.
    assert!(printed.contains("32 of 32 checks passed, 21 models"), "{printed}");
}
