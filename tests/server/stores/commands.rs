//! The commands that open a store accept one on S3 as well as a directory.

use crate::binary::{Ended, command};
use crate::harness::sample_workspace;

use super::*;

fn proffer(s3: &S3, arguments: &[&str]) -> Ended {
    command().envs(s3.variables()).args(arguments).output().unwrap().into()
}

#[test]
fn a_workspace_becomes_a_store_on_s3_and_its_customers_are_replaced() {
    let Some(s3) = S3::shared() else { return };
    let place = Place::on(s3);
    let workspace = sample_workspace();
    let made = proffer(s3, &["init", "--store", &place.location, "--from", workspace.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.starts_with(&format!("{}: release 1 with ", place.location)), "{made:?}");
    let again = proffer(s3, &["init", "--store", &place.location, "--from", workspace.to_str().unwrap()]);
    assert!(again.stderr.contains("already holds release 1"), "{again:?}");

    let replica = place.open().unwrap();
    replica.sync_customers().unwrap();
    let customers = replica.customers_dir().join("customers.csv");
    let sample = fs::read_to_string(workspace.join("customers.csv")).unwrap();
    assert!(fs::read_to_string(&customers).unwrap() == sample);

    let fewer = place.directory.path().join("fewer.csv");
    let lines: Vec<&str> = sample.lines().take(4).collect();
    fs::write(&fewer, lines.join("\n")).unwrap();
    let loaded =
        proffer(s3, &["features", "load", "--store", &place.location, fewer.to_str().unwrap(), "--force"]);
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    replica.sync_customers().unwrap();
    assert_eq!(fs::read_to_string(&customers).unwrap(), lines.join("\n"));

    let undone = proffer(s3, &["features", "load", "--store", &place.location, "--undo"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    replica.sync_customers().unwrap();
    assert!(fs::read_to_string(&customers).unwrap() == sample);
    let again = proffer(s3, &["features", "load", "--store", &place.location, "--undo"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("there is nothing to undo"), "{again:?}");

    let checked = proffer(s3, &["check", "--store", &place.location]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let customers = format!("{} customers", sample.lines().count() - 1);
    assert!(checked.stdout.contains(&customers), "{checked:?}");
}
