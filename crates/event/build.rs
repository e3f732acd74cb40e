//! Compiles the definition of events without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto/proffer/v1/record.proto");
    let descriptors = protox::compile(["proffer/v1/record.proto"], ["../../proto"])?;
    let mut config = prost_build::Config::new();
    for kind in ["decision", "outcome", "shadow"] {
        config.boxed(format!(".proffer.v1.Event.event.{kind}"));
    }
    // Sorted, so that a record has the same bytes whenever it is encoded.
    config.btree_map([".proffer.v1"]);
    config.compile_fds(descriptors)?;
    Ok(())
}
