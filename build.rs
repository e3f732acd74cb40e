//! Compiles the protocol definitions without `protoc`, and keeps their descriptors for the reflection service.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let protos = [
        "proto/proffer/v1/features.proto",
        "proto/proffer/v1/decision.proto",
        "proto/proffer/v1/model.proto",
        "proto/proffer/v1/release.proto",
        "proto/inference/grpc_predict_v2.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(protos)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // The reflection service reads exactly what the code was generated from.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut messages = prost_build::Config::new();
    messages.enable_type_names();
    // A large part of many requests: decoded by code of our own.
    messages.extern_path(".proffer.v1.DenseFeatures", "crate::grpc::dense::DenseFeatures");
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .codec_path("crate::grpc::codec::Codec")
        .compile_fds_with_config(compiler.file_descriptor_set(), messages)?;
    Ok(())
}
