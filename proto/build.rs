//! Compiles `api/quorate/v1/*.proto` to Rust without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["api/quorate/v1/mesh.proto", "api/quorate/v1/coordinator.proto"];
    println!("cargo:rerun-if-changed=api");
    let descriptors = protox::compile(files, ["api"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
