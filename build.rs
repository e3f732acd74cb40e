//! Compiles the protocol definitions without `protoc`, and keeps their descriptors for the reflection service.

use std::error::Error;
use std::path::PathBuf;

use protox::prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto};

/// Its messages are those of the crate `event`, which compiles it.
const RECORDS: &str = "proffer/v1/record.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let protos = [
        "proto/proffer/v1/features.proto",
        "proto/proffer/v1/decision.proto",
        "proto/proffer/v1/model.proto",
        "proto/proffer/v1/release.proto",
        "proto/proffer/v1/shadow.proto",
        "proto/proffer/v1/experiment.proto",
        "proto/proffer/v1/analysis.proto",
        "proto/proffer/v1/record_service.proto",
        "proto/proffer/v1/feedback.proto",
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
    let descriptors = compiler.file_descriptor_set();
    for file in descriptors.file.iter().filter(|file| file.name() == RECORDS) {
        let messages_of_file = file.message_type.iter().map(DescriptorProto::name);
        for name in messages_of_file.chain(file.enum_type.iter().map(EnumDescriptorProto::name)) {
            messages.extern_path(format!(".{}.{name}", file.package()), format!("::event::proto::{name}"));
        }
    }
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .codec_path("crate::grpc::codec::Codec")
        .compile_fds_with_config(descriptors, messages)?;
    Ok(())
}
