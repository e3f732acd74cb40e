//! Compiles the definition of events without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto/proffer/v1/record.proto");
    let descriptors = protox::compile(["proffer/v1/record.proto"], ["../../proto"])?;
    prost_build::Config::new().boxed(".proffer.v1.Event.event.decision").compile_fds(descriptors)?;
    Ok(())
}
