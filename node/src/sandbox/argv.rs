//! The bubblewrap argument list of a run: which mounts, namespaces and variables the command sees.
//!
//! Pure apart from looking at which system folders this host has. Paths that the host's build user may be
//! unable to reach are left symbolic ([`Arg::Source`]) and resolved by [`super::launch`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::init::{InitSpec, RelaySpec};
use super::root::{self, Part};
use super::{Command, HOME, Mode, Network, Root, SUBCOMMAND, SandboxError, seccomp};

/// Where our own binary is mounted inside.
const INIT_INSIDE: &str = "/run/quorate/init";
/// Where the proxy's socket is mounted inside.
const SOCKET_INSIDE: &str = "/run/quorate/proxy.sock";
/// The user and group inside; fixed, so that archives that record them are the same on every node.
const INSIDE_ID: &str = "1000";
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Parts of `/etc` that hold no secret and no address, and that tools need.
const ETC_SHOWN: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "dpkg/origins",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "lsb-release",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "protocols",
    "python3",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

/// Small files that replace the host's own.
const ETC_WRITTEN: &[(&str, &str)] = &[
    ("passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\nbuild:x:1000:1000:build:/home/build:/bin/sh\n"),
    ("group", "root:x:0:\nbuild:x:1000:\n"),
    ("hosts", "127.0.0.1 localhost build\n::1 localhost build\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
    ("hostname", "build\n"),
];

/// What a root's own user data bases get besides.
const ETC_ADDED: &[(&str, &str)] = &[("passwd", "build:x:1000:1000:build:/home/build:/bin/sh\n"), ("group", "build:x:1000:\n")];

/// One bubblewrap argument, or what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Arg {
    /// Itself.
    Text(String),
    /// A host path, perhaps reachable by root only.
    Source(PathBuf),
    /// What lies below such a path.
    Below(PathBuf, PathBuf),
    /// The number of a file descriptor that holds these bytes.
    Data(Vec<u8>),
}

/// What the builder needs besides the command.
pub(super) struct Setting<'a> {
    pub(super) init_binary: &'a Path,
    /// Host file and path inside of each decoy.
    pub(super) decoys: &'a [(PathBuf, PathBuf)],
}

/// Refuses commands that could not mean what they say.
pub(super) fn check(command: &Command) -> Result<(), SandboxError> {
    let refuse = |reason: String| Err(SandboxError::BadCommand { reason });
    if command.argv.is_empty() {
        return refuse("empty argument list".into());
    }
    let variables = command.env.iter().flat_map(|(name, value)| [name, value]);
    if command.argv.iter().chain(variables).any(|text| text.contains('\0')) {
        return refuse("an argument or variable holds a NUL byte".into());
    }
    if command.env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return refuse("a variable's name is empty or holds '='".into());
    }
    let inside = command.binds.iter().map(|bind| &bind.inside);
    for path in inside.chain(&command.decoys).chain([&command.cwd]) {
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return refuse(format!("path inside {} is not absolute and plain", path.display()));
        }
    }
    if let Some(bind) = command.binds.iter().find(|bind| !bind.host.exists()) {
        return refuse(format!("bound path {} does not exist", bind.host.display()));
    }
    match &command.root {
        Root::Folder(folder) if !folder.is_absolute() || !folder.join("etc").symlink_metadata().is_ok_and(|data| data.is_dir()) => {
            refuse(format!("{} is not the root of a system", folder.display()))
        }
        Root::Folder(_) | Root::Host => Ok(()),
    }
}

/// The whole argument list, the command included.
pub(super) fn build(command: &Command, setting: &Setting<'_>) -> Result<Vec<Arg>, SandboxError> {
    let mut list = List(Vec::new());
    list.isolate();
    match &command.root {
        Root::Host => list.host(),
        Root::Folder(folder) => list.folder(folder, command)?,
    }
    list.scratch(command);
    list.variables(command);
    for bind in &command.binds {
        let option = match bind.mode {
            Mode::ReadOnly => "--ro-bind",
            Mode::ReadWrite => "--bind",
        };
        list.bind(option, &bind.host, &bind.inside)?;
    }
    list.bind("--ro-bind", setting.init_binary, Path::new(INIT_INSIDE))?;
    if let Network::Proxy { socket, .. } = &command.network {
        list.bind("--ro-bind", socket, Path::new(SOCKET_INSIDE))?;
    }
    for (host, inside) in setting.decoys {
        list.bind("--ro-bind", host, inside)?;
    }
    // The root and /dev are tmpfs of bubblewrap's own and stay writable unless it is told otherwise.
    list.text(&["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", utf8(&command.cwd)?]);
    list.text(&["--", INIT_INSIDE, SUBCOMMAND, "init", &init_spec(command)?]);
    list.0.extend(command.argv.iter().cloned().map(Arg::Text));
    Ok(list.0)
}

fn init_spec(command: &Command) -> Result<String, SandboxError> {
    let spec = InitSpec {
        relay: match &command.network {
            Network::None => None,
            Network::Proxy { port, .. } => Some(RelaySpec { socket: SOCKET_INSIDE.into(), port: *port }),
        },
        process_count_max: command.limits.process_count_max,
        file_bytes_max: command.limits.file_bytes_max,
    };
    serde_json::to_string(&spec).map_err(|error| SandboxError::BadCommand { reason: error.to_string() })
}

struct List(Vec<Arg>);

impl List {
    fn text(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| Arg::Text((*word).to_owned())));
    }

    fn bind(&mut self, option: &str, host: &Path, inside: &Path) -> Result<(), SandboxError> {
        utf8(host)?;
        self.text(&[option]);
        self.0.push(Arg::Source(host.to_owned()));
        self.text(&[utf8(inside)?]);
        Ok(())
    }

    /// A private file of bubblewrap's own root, which is read-only once the command runs.
    fn file(&mut self, inside: &str, bytes: &[u8]) {
        self.text(&["--perms", "0444", "--file"]);
        self.0.push(Arg::Data(bytes.to_vec()));
        self.text(&[inside]);
    }

    fn isolate(&mut self) {
        self.text(&["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]);
        self.text(&["--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL"]);
        self.text(&["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "build"]);
        self.text(&["--uid", INSIDE_ID, "--gid", INSIDE_ID]);
        if let Some(filter) = seccomp::filter() {
            self.text(&["--seccomp"]);
            self.0.push(Arg::Data(filter));
        }
    }

    fn host(&mut self) {
        self.text(&["--ro-bind", "/usr", "/usr"]);
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            self.top_folder(name);
        }
        self.text(&["--perms", "0755", "--dir", "/etc"]);
        for name in ETC_SHOWN {
            self.text(&["--ro-bind-try", &format!("/etc/{name}"), &format!("/etc/{name}")]);
        }
        for (name, text) in ETC_WRITTEN {
            self.file(&format!("/etc/{name}"), text.as_bytes());
        }
    }

    fn folder(&mut self, folder: &Path, command: &Command) -> Result<(), SandboxError> {
        let binds = command.binds.iter().map(|bind| &bind.inside);
        let points: Vec<&Path> = binds.chain(&command.decoys).map(PathBuf::as_path).collect();
        let written: Vec<&str> = ETC_WRITTEN.iter().map(|(name, _)| *name).collect();
        utf8(folder)?;
        for part in root::lay_out(folder, &points, &written)? {
            match part {
                Part::Folder(at) => self.text(&["--perms", "0755", "--dir", utf8(&at)?]),
                Part::Link { at, target } => self.text(&["--symlink", utf8(&target)?, utf8(&at)?]),
                Part::Bind(at) => {
                    self.text(&["--ro-bind"]);
                    let below = at.strip_prefix("/").unwrap_or(&at).to_owned();
                    self.0.push(Arg::Below(folder.to_owned(), below));
                    self.text(&[utf8(&at)?]);
                }
            }
        }
        for (name, text) in ETC_WRITTEN {
            let added = ETC_ADDED.iter().find(|(amended, _)| amended == name);
            let text = added.map_or_else(|| (*text).to_owned(), |(_, line)| root::amended(folder, name, line, text));
            self.file(&format!("/etc/{name}"), text.as_bytes());
        }
        Ok(())
    }

    /// `/bin` and its kind are links into `/usr` on a merged system, folders elsewhere.
    fn top_folder(&mut self, name: &str) {
        let path = format!("/{name}");
        match std::fs::read_link(&path) {
            Ok(target) => self.text(&["--symlink", &target.to_string_lossy(), &path]),
            Err(_) => self.text(&["--ro-bind-try", &path, &path]),
        }
    }

    fn scratch(&mut self, command: &Command) {
        // tmpfs pages are memory: a scratch as large as the memory limit would turn "no space" into a kill.
        let size = command.limits.disk_bytes_max.min(command.limits.memory_bytes / 2).max(1 << 20).to_string();
        self.text(&["--proc", "/proc", "--dev", "/dev"]);
        for path in ["/dev/shm", "/tmp"] {
            self.text(&["--perms", "1777", "--size", &size, "--tmpfs", path]);
        }
        self.text(&["--perms", "0755", "--size", &size, "--tmpfs", HOME]);
    }

    fn variables(&mut self, command: &Command) {
        self.text(&["--clearenv"]);
        let fixed = [
            ("HOME", HOME),
            ("LANG", "C.UTF-8"),
            ("LOGNAME", "build"),
            ("PATH", PATH),
            ("TMPDIR", "/tmp"),
            ("TZ", "UTC"),
            ("USER", "build"),
        ];
        for (name, value) in fixed.into_iter().filter(|(name, _)| !command.env.contains_key(*name)) {
            self.text(&["--setenv", name, value]);
        }
        for (name, value) in &command.env {
            self.text(&["--setenv", name, value]);
        }
    }
}

fn utf8(path: &Path) -> Result<&str, SandboxError> {
    path.to_str()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| SandboxError::BadCommand { reason: format!("path {} is not UTF-8", path.display()) })
}
