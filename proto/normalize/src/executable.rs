//! Whether a member is code: what decides how grave a difference is.
//!
//! By its executable bit, the name of its file, its folder, or its first bytes. Errs towards code:
//! to call data code costs a reader a look, the other way round costs a backdoor.
//! SPEC normal-form: Code and data.

use quorate_proto::comparison::Executable;

use crate::reading::{Kind, Member};

/// Endings of files that are run, loaded, compiled or sourced.
const EXTENSIONS: [&str; 78] = [
    "a", "asm", "asp", "bash", "bat", "beam", "c", "cc", "cjs", "class", "cmake", "cmd", "com", "cpp", "cs", "csh", "cts", "cu", "cxx",
    "dex", "dll", "dylib", "el", "exe", "fish", "fs", "go", "gyp", "gypi", "h", "hpp", "hs", "htm", "html", "inc", "jar", "java", "jl",
    "js", "jsx", "ko", "kt", "lib", "lua", "m", "mjs", "ml", "mts", "node", "o", "php", "pl", "pm", "ps1", "pth", "pxd", "pxi", "py",
    "pyc", "pyd", "pyi", "pyo", "pyw", "pyx", "pyz", "r", "rb", "rs", "s", "scala", "sh", "so", "sql", "svg", "swift", "ts", "tsx", "wasm",
];

/// Whole file names, in lower case, that a tool acts on when it installs, builds or starts.
const FILE_NAMES: [&str; 12] = [
    "binding.gyp",
    "build",
    "cmakelists.txt",
    "configure",
    "dockerfile",
    "entry_points.txt",
    "gemfile",
    "makefile",
    "package.json",
    "rakefile",
    "setup.cfg",
    "wscript",
];

/// First bytes of programs: scripts, ELF, Windows, Mach-O in its four orders and fat, WebAssembly.
const MAGICS: [&[u8]; 9] = [
    b"#!",
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\0asm",
];

/// Code if any of `sides` is.
pub(crate) fn classify<'m, 'a: 'm>(sides: impl IntoIterator<Item = &'m Member<'a>>) -> Executable {
    if sides.into_iter().any(is_code) { Executable::Code } else { Executable::Data }
}

fn is_code(member: &Member<'_>) -> bool {
    match member.kind {
        Kind::Directory | Kind::Archive => false,
        Kind::Special => true,
        Kind::File | Kind::Symlink | Kind::Hardlink => {
            let has_magic = MAGICS.iter().any(|magic| member.content.head.starts_with(magic));
            member.executable || has_magic || is_code_name(&member.name)
        }
    }
}

fn is_code_name(name: &[u8]) -> bool {
    let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
    let (folder, file) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let is_script_folder = folder.split('/').any(|part| part == "bin" || part == "sbin") || folder.ends_with(".data/scripts");
    // `libx.so.1` is a library too.
    let is_versioned_library = file.contains(".so.");
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    is_script_folder || is_versioned_library || EXTENSIONS.contains(&extension) || FILE_NAMES.contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_known_by_name() {
        for name in ["a.py", "x.pth", "lib/a.so", "a.so.1.2", "A.PYD", "bin/tool", "p.data/scripts/t", "x-1.dist-info/entry_points.txt"] {
            assert!(is_code_name(name.as_bytes()), "{name}");
        }
        for name in ["README.md", "LICENSE", "x-1.dist-info/METADATA", "x-1.dist-info/RECORD", "data.json", "Cargo.toml"] {
            assert!(!is_code_name(name.as_bytes()), "{name}");
        }
    }
}
