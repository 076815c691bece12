//! Generates the gRPC server, and the client that tests and benchmarks use. The messages themselves
//! are `quorate_proto::api`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = "../proto/api";
    println!("cargo:rerun-if-changed={api}");
    let descriptors = protox::compile(["quorate/v1/coordinator.proto"], [api])?;
    tonic_prost_build::configure().bytes(".").extern_path(".quorate.v1", "::quorate_proto::api").compile_fds(descriptors)?;
    Ok(())
}
