//! A Debian root made by mmdebstrap from a signed archive, once for all nodes that share a cache.
//!
//! apt, driven by mmdebstrap, checks the archive's signature against the given keyring. As root the packages'
//! own scripts run as root in the new system: they are trusted as far as the archive's signature, like those
//! of any installed package. As an ordinary user they run in a user namespace, which needs `newuidmap` and a
//! range in `/etc/subuid`. Builds never write a root: they see it through `sandbox::Root::Folder`. What a
//! build requires is therefore part of the root that it asks for (`include`), and part of its name.

mod extension;
mod scratch;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorate_proto::Digest;
use quorate_proto::result::{Environment, EnvironmentClass};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use self::extension::Extension;
use self::scratch::Scratch;
use super::inventory::{self, Inventory};
use super::shelf::Shelf;
use super::{EnvironmentError, clipped_tail};
use crate::cache::{Cache, CacheLock};
use crate::proxy::FetchedFile;
use crate::resolve::debian::Debian;
use crate::sandbox::{find_in_path, remove_tree};
use crate::traffic;

/// Part of every name: to be changed with the way roots are made.
const RECIPE: u32 = 1;
/// A minute on a fast machine; a slow mirror takes longer.
const MAKING_MAX: Duration = Duration::from_mins(45);
/// Files that tell of the machine that made the root, and not of the archive.
const FORGET: &str = r#"--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/machine-id" "$1/var/lib/dbus/machine-id""#;
/// The end of what mmdebstrap says that an error carries.
const WORDS_BYTES_MAX: u64 = 256 << 10;

/// Which root is wanted. Equal values name the same root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootfsSpec {
    /// The suite, such as `bookworm`.
    pub suite: String,
    /// The archives in apt's one-line form; every one must be signed.
    pub archives: Vec<String>,
    /// The keys that may sign them, and no others; a line may name its own by `signed-by`.
    pub keyring: PathBuf,
    /// Packages besides the essential ones and `build-essential`, as apt takes them: `debhelper`, `dh-python=5.20`.
    pub include: BTreeSet<String>,
    /// The day of the archive's state, `2026-03-01`: with the archive of today a root is made anew each day,
    /// and a snapshot's root for ever once.
    pub day: String,
}

/// A root that lies in the cache, and stays there for as long as this value lives.
#[derive(Debug)]
pub struct Rootfs {
    /// The system. Never to be written.
    pub folder: PathBuf,
    /// What a result says of the environment.
    pub environment: Environment,
    /// The inventory: canonical JSON whose digest is the environment's.
    pub inventory: Vec<u8>,
    _in_use: CacheLock,
}

/// A root that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// Not installed.
    #[error("mmdebstrap is not in PATH (apt-get install mmdebstrap)")]
    NoMmdebstrap,
    /// A suite, package or archive that could be mistaken for something else.
    #[error("`{0}` is no suite, package, day or archive line")]
    Refused(String),
    /// No archive or no keys.
    #[error("{0}")]
    NoArchive(String),
    /// mmdebstrap gave up, for instance because a signature, a version or the mirror is missing.
    #[error("mmdebstrap could not make {suite}: {message}")]
    Failed {
        /// The suite.
        suite: String,
        /// The end of what it said.
        message: String,
    },
    /// Packages that cannot be installed upon a root.
    #[error("packages cannot be installed: {message}")]
    Unmet {
        /// The end of what was said.
        message: String,
    },
    /// The root was made and cannot be listed.
    #[error("listing the packages of the root")]
    Inventory(#[from] EnvironmentError),
    /// The disk, or a process that could not be started.
    #[error("{activity}")]
    Host {
        /// What was done.
        activity: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl RootfsError {
    fn host(activity: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { activity, source }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Host { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

impl RootfsSpec {
    /// The suite's `main` from the archive that apt uses on this machine, as it is on `day`.
    pub fn of_this_machine(suite: &str, day: &str) -> Result<Self, RootfsError> {
        let debian = Debian::of_this_machine().map_err(|error| RootfsError::NoArchive(error.to_string()))?;
        let archive = format!("deb {} {suite} main", debian.mirror.as_str().trim_end_matches('/'));
        Ok(Self {
            suite: suite.to_owned(),
            archives: vec![archive],
            keyring: debian.keyring,
            include: BTreeSet::new(),
            day: day.to_owned(),
        })
    }

    /// Arguments and apt lines are built from these: nothing that could be an option, a path or a second line.
    fn check(&self) -> Result<(), RootfsError> {
        let plain = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let refused = |text: &String| Err(RootfsError::Refused(text.clone()));
        match () {
            () if !plain(&self.suite, "-._") => refused(&self.suite),
            () if !plain(&self.day, "-:TZ") => refused(&self.day),
            () if !self.keyring.to_str().is_some_and(|path| path.starts_with('/') && plain(&path[1..], "-._/+")) => {
                refused(&self.keyring.display().to_string())
            }
            () => {
                let package = self.include.iter().find(|package| !plain(package, "+-.:=~"));
                let archive = self.archives.iter().find(|line| {
                    !line.starts_with("deb ")
                        || line.contains(['\n', '\r'])
                        || ["trusted=", "allow-insecure=", "allow-weak="].iter().any(|option| line.contains(option))
                });
                package.or(archive).map_or(Ok(()), refused)
            }
        }
    }

    /// The digest of all that decides the content.
    pub fn key(&self) -> Digest {
        let text = serde_json::to_vec(&(RECIPE, std::env::consts::ARCH, self)).expect("text and lists of text always serialise");
        Digest::of(&text)
    }
}

impl Rootfs {
    /// Takes the root from the cache, or makes it. Nodes of one machine wait for each other.
    pub async fn make(cache: &Cache, spec: &RootfsSpec) -> Result<Self, RootfsError> {
        spec.check()?;
        Self::kept(cache, &Wish::Suite(spec)).await
    }

    /// The same for a root with more packages, which were chosen and checked elsewhere; `self` is what `spec`
    /// made.
    pub async fn extend(&self, cache: &Cache, spec: &RootfsSpec, debs: &[(FetchedFile, PathBuf)]) -> Result<Self, RootfsError> {
        Self::kept(cache, &Wish::More(Extension { spec, base: self, debs })).await
    }

    async fn kept(cache: &Cache, wish: &Wish<'_>) -> Result<Self, RootfsError> {
        let shelf = Shelf::new(cache, &wish.key().to_hex());
        let _lock = off(&shelf, "waiting for the root's lock", Shelf::lock_for_making).await?;
        if let Some(found) = Self::open(&shelf)? {
            return Ok(found);
        }
        let clear = |shelf: &Shelf| remove_tree(&shelf.partial()).and_then(|()| remove_tree(&shelf.whole()));
        off(&shelf, "removing half a root", clear).await?;
        make_private(&shelf.partial()).map_err(RootfsError::host("making a folder in the cache"))?;
        if let Err(error) = fill(wish, &shelf.partial()).await {
            let _ = off(&shelf, "removing half a root", clear).await;
            return Err(error);
        }
        fs::rename(shelf.partial(), shelf.whole()).map_err(RootfsError::host("keeping the root"))?;
        let made = Self::open(&shelf)?;
        if let Err(error) = off(&shelf, "removing old roots", Shelf::tidy).await {
            tracing::warn!(%error, "the cache keeps more roots than it should");
        }
        made.ok_or_else(|| RootfsError::Host { activity: "reading the root", source: io::ErrorKind::NotFound.into() })
    }

    /// A whole root that this user alone could have made.
    fn open(shelf: &Shelf) -> Result<Option<Self>, RootfsError> {
        use std::os::unix::fs::MetadataExt as _;
        let dir = shelf.whole();
        let is_own = fs::symlink_metadata(&dir)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0);
        let inventory = if is_own { fs::read(dir.join("inventory.json")).unwrap_or_default() } else { Vec::new() };
        let Ok(parsed) = Inventory::parse(&inventory) else { return Ok(None) };
        let in_use = shelf.use_it().map_err(RootfsError::host("keeping the root in use"))?;
        Ok(Some(Self { folder: dir.join("root"), environment: parsed.environment(), inventory, _in_use: in_use }))
    }
}

/// Work that blocks, off the runtime's own threads.
async fn off<T: Send + 'static>(
    shelf: &Shelf,
    activity: &'static str,
    work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
) -> Result<T, RootfsError> {
    let shelf = shelf.clone();
    let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
    done.map_err(io::Error::other).and_then(|outcome| outcome).map_err(RootfsError::host(activity))
}

/// Set-user programs of the root are nobody's business on the host.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(dir)?;
    fs::create_dir(dir.join("root"))
}

/// A root that is to be made.
enum Wish<'a> {
    Suite(&'a RootfsSpec),
    More(Extension<'a>),
}

impl Wish<'_> {
    fn key(&self) -> Digest {
        match self {
            Self::Suite(spec) => spec.key(),
            Self::More(extension) => extension.key(),
        }
    }

    /// A command that writes the root as a tar stream.
    fn maker(&self, dir: &Path) -> Result<Command, RootfsError> {
        match self {
            Self::Suite(spec) => arguments(spec),
            Self::More(extension) => extension.maker(dir),
        }
    }

    fn failed(&self, message: String) -> RootfsError {
        match self {
            Self::Suite(spec) => RootfsError::Failed { suite: spec.suite.clone(), message },
            Self::More(_) => RootfsError::Unmet { message },
        }
    }
}

async fn fill(wish: &Wish<'_>, dir: &Path) -> Result<(), RootfsError> {
    let root = dir.join("root");
    let scratch = Scratch::in_memory();
    let mut unpacked = unpack(wish, dir, &root, scratch.as_ref()).await;
    if scratch.is_some() && unpacked.as_ref().is_err_and(RootfsError::is_full) {
        // More than memory takes; the disk may.
        drop(scratch);
        let clear = || [&root, &dir.join(extension::DEBS)].into_iter().try_for_each(|folder| remove_tree(folder));
        clear().and_then(|()| fs::create_dir(&root)).map_err(RootfsError::host("removing half a root"))?;
        unpacked = unpack(wish, dir, &root, None).await;
    }
    unpacked?;
    let _ = fs::remove_dir_all(dir.join(extension::DEBS));
    let packages = inventory::packages(&root).await?;
    let inventory = Inventory::new(EnvironmentClass::Rootfs, inventory::system(&root), packages, Vec::new());
    fs::write(dir.join("inventory.json"), inventory.to_bytes()).map_err(RootfsError::host("keeping the inventory"))
}

/// mmdebstrap's tar stream into `tar`: so owners are right as root, and all is ours as an ordinary user.
async fn unpack(wish: &Wish<'_>, dir: &Path, root: &Path, scratch: Option<&Scratch>) -> Result<(), RootfsError> {
    let mut maker = wish.maker(dir)?;
    if let Some(scratch) = scratch {
        maker.env("TMPDIR", scratch.path());
    }
    if matches!(wish, Wish::Suite(_)) {
        traffic::root();
    }
    let mut maker =
        maker.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(RootfsError::host("starting mmdebstrap"))?;
    let words = maker.stderr.take();
    let stream: Stdio = match maker.stdout.take().map(TryInto::try_into) {
        Some(Ok(stream)) => stream,
        _ => return Err(RootfsError::Host { activity: "reading from mmdebstrap", source: io::ErrorKind::BrokenPipe.into() }),
    };
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--numeric-owner", "--exclude=./dev/*", "--directory"]).arg(root);
    let mut tar = tar.stdin(stream).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    if rustix::process::geteuid().is_root() {
        tar = tar.args(["--preserve-permissions", "--same-owner"]);
    } else {
        tar = tar.arg("--no-same-owner");
    }
    let mut tar = tar.spawn().map_err(RootfsError::host("starting tar"))?;
    let both = (said(words), said(tar.stderr.take()));
    let ended = tokio::time::timeout(MAKING_MAX, async { tokio::join!(both.0, both.1, maker.wait(), tar.wait()) }).await;
    let failed = |message: String| Err(wish.failed(message));
    let host = |source| Err(RootfsError::Host { activity: "writing a root", source });
    match ended {
        Err(_) => failed(format!("it took over {} minutes", MAKING_MAX.as_secs() / 60)),
        Ok((_, _, Ok(made), Ok(unpacked))) if made.success() && unpacked.success() => Ok(()),
        // A full disk is nobody's fault but this machine's, and says nothing about any package.
        Ok((ref words, ref more, ..)) if [words, more].iter().any(|said| said.contains("No space left on device")) => {
            host(io::ErrorKind::StorageFull.into())
        }
        Ok((words, _, Ok(made), _)) if !made.success() => failed(clipped_tail(&telling(&words))),
        Ok((_, more, ..)) => host(io::Error::other(clipped_tail(&more))),
    }
}

/// Without mmdebstrap's own words that something has failed: what the failed program said stands before them.
fn telling(words: &str) -> String {
    const OWN: &[&str] = &["I: ", "E: setup failed", "E: command failed", "E: mmdebstrap failed", "E: run_chroot failed"];
    words.lines().filter(|line| !OWN.iter().any(|own| line.starts_with(own))).collect::<Vec<_>>().join("\n")
}

fn arguments(spec: &RootfsSpec) -> Result<Command, RootfsError> {
    let mut command = mmdebstrap()?;
    command.args(["--variant=buildd", FORGET]);
    if !spec.include.is_empty() {
        command.arg(format!("--include={}", spec.include.iter().map(String::as_str).collect::<Vec<_>>().join(",")));
    }
    // A snapshot's index is long past its day.
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    command.args([spec.suite.as_str(), "-"]).args(spec.archives.iter().map(|line| signed_by(line, &spec.keyring)));
    Ok(command)
}

/// The program with nothing of this process's environment but what leads to the archive.
fn mmdebstrap() -> Result<Command, RootfsError> {
    let mut command = Command::new(find_in_path("mmdebstrap").ok_or(RootfsError::NoMmdebstrap)?);
    command.args(["--mode=unshare", "--format=tar"]);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    for passed in ["HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(passed) {
            command.env(passed, value);
        }
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// The line with the keys that alone may sign it: an option such as `--keyring` would *add* to what this
/// machine trusts.
fn signed_by(line: &str, keyring: &Path) -> String {
    let rest = line.trim_start_matches("deb").trim_start();
    match rest.strip_prefix('[') {
        Some(_) if rest.contains("signed-by=") => line.to_owned(),
        Some(rest) => format!("deb [signed-by={} {rest}", keyring.display()),
        None => format!("deb [signed-by={}] {rest}", keyring.display()),
    }
}

/// The first part of what is said, and the rest drained: a full pipe would stop the speaker.
async fn said(from: Option<tokio::process::ChildStderr>) -> String {
    let mut words = Vec::new();
    if let Some(mut from) = from {
        let mut chunk = vec![0; 8192];
        while let Ok(count) = from.read(&mut chunk).await
            && count > 0
        {
            words.extend_from_slice(&chunk[..count]);
            let excess = words.len().saturating_sub(usize::try_from(WORDS_BYTES_MAX).unwrap_or(usize::MAX));
            words.drain(..excess);
        }
    }
    String::from_utf8_lossy(&words).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RootfsSpec {
        RootfsSpec {
            suite: "bookworm".to_owned(),
            archives: vec!["deb http://debian.example/debian bookworm main".to_owned()],
            keyring: "/k.gpg".into(),
            include: ["debhelper".to_owned(), "dh-python=5.20230130+deb12u1".to_owned(), "gcc:amd64".to_owned()].into(),
            day: "2026-03-01".to_owned(),
        }
    }

    #[test]
    fn every_part_of_the_wish_names_another_root() {
        let keys: BTreeSet<Digest> = [
            spec(),
            RootfsSpec { suite: "trixie".to_owned(), ..spec() },
            RootfsSpec { day: "2026-03-02".to_owned(), ..spec() },
            RootfsSpec { include: BTreeSet::new(), ..spec() },
            RootfsSpec { archives: Vec::new(), ..spec() },
        ]
        .iter()
        .map(RootfsSpec::key)
        .collect();
        assert_eq!(keys.len(), 5);
        assert_eq!(spec().key(), spec().key());
    }

    #[test]
    fn only_the_given_keys_may_sign() {
        let line = |given: &str| signed_by(given, Path::new("/k.gpg"));
        assert_eq!(line("deb http://x y main"), "deb [signed-by=/k.gpg] http://x y main");
        assert_eq!(line("deb [arch=amd64] http://x y main"), "deb [signed-by=/k.gpg arch=amd64] http://x y main");
        assert_eq!(line("deb [signed-by=/o.gpg] http://x y main"), "deb [signed-by=/o.gpg] http://x y main");
    }

    #[test]
    fn a_wish_that_is_an_option_a_path_or_an_unsigned_archive_is_refused() {
        assert!(spec().check().is_ok());
        let refused = |change: fn(&mut RootfsSpec)| {
            let mut wish = spec();
            change(&mut wish);
            wish.check().is_err()
        };
        assert!(refused(|wish| wish.suite = "--mode=root".to_owned()));
        assert!(refused(|wish| wish.suite = "../etc".to_owned()));
        assert!(refused(|wish| wish.include = ["--setup-hook".to_owned()].into()));
        assert!(refused(|wish| wish.include = ["./evil.deb".to_owned()].into()));
        assert!(refused(|wish| wish.include = ["a,b".to_owned()].into()));
        assert!(refused(|wish| wish.archives = vec!["deb [trusted=yes] http://x y main".to_owned()]));
        assert!(refused(|wish| wish.archives = vec!["deb http://x y main\ndeb [trusted=yes] http://z y main".to_owned()]));
        assert!(refused(|wish| wish.archives = vec!["/etc/apt/sources.list".to_owned()]));
        assert!(refused(|wish| wish.keyring = "k.gpg] http://x y main".into()));
    }
}
