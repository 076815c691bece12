//! A folder as the system of a run: which of its parts are mounted where.
//!
//! The folder itself is never changed, so a mount point that it lacks cannot be made in it. A folder above
//! such a point is therefore *split*: a new folder stands for it, and each of its children is mounted by
//! itself. Links are made again and never followed: who filled the folder chose where they lead.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::{SandboxError, output};

/// Top folders that are the sandbox's own, whatever the root has there.
const OWN: &[&str] = &["dev", "home", "proc", "run", "sys", "tmp"];
/// Files of `/etc` that tell of the machine that made the root.
const ETC_HIDDEN: &[&str] = &["machine-id", "resolv.conf"];
/// A user data base has a few kilobytes.
const ETC_BYTES_MAX: u64 = 1 << 20;

/// One step towards the system, by absolute paths inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A new, empty folder.
    Folder(PathBuf),
    /// What the root has at this place, read-only.
    Bind(PathBuf),
    /// A link.
    Link { at: PathBuf, target: PathBuf },
}

/// What of the root is mounted when `points` are mounted upon it and `written` names files of `/etc` that
/// are replaced.
pub(super) fn lay_out(root: &Path, points: &[&Path], written: &[&str]) -> Result<Vec<Part>, SandboxError> {
    let layout = Layout { root, missing: missing(root, points)?, written };
    let mut parts = Vec::new();
    layout
        .split(Path::new("/"), &mut parts)
        .map_err(|source| SandboxError::Host { activity: format!("reading the root {}", root.display()), source })?;
    Ok(parts)
}

/// A file of `/etc` of the root, with one line more; what a missing or odd one is replaced with, otherwise.
pub(super) fn amended(root: &Path, name: &str, line: &str, otherwise: &str) -> String {
    let own = || -> io::Result<String> {
        let mut text = String::new();
        output::open_output(root, &Path::new("etc").join(name))?.take(ETC_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    match own() {
        Ok(text) => format!("{}\n{line}", text.trim_end()),
        Err(_) => otherwise.to_owned(),
    }
}

/// The points that have no place in the root yet. One that would be reached through a link is refused:
/// where it leads is up to who made the root.
fn missing(root: &Path, points: &[&Path]) -> Result<Vec<PathBuf>, SandboxError> {
    let mut missing = Vec::new();
    for point in points {
        let is_covered = points.iter().any(|other| other != point && point.starts_with(other));
        if is_covered || is_own(point) {
            continue;
        }
        if !exists_without_links(root, point)? {
            missing.push((*point).to_owned());
        }
    }
    Ok(missing)
}

fn exists_without_links(root: &Path, point: &Path) -> Result<bool, SandboxError> {
    let mut place = root.to_owned();
    for name in point.components().filter(|part| matches!(part, Component::Normal(_))) {
        place.push(name);
        match fs::symlink_metadata(&place) {
            Ok(data) if data.is_symlink() => {
                let reason = format!("path inside {} goes through a link of the root", point.display());
                return Err(SandboxError::BadCommand { reason });
            }
            Ok(_) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn is_own(path: &Path) -> bool {
    OWN.iter().any(|name| path.starts_with(Path::new("/").join(name)))
}

struct Layout<'a> {
    root: &'a Path,
    missing: Vec<PathBuf>,
    written: &'a [&'a str],
}

impl Layout<'_> {
    fn split(&self, folder: &Path, parts: &mut Vec<Part>) -> io::Result<()> {
        let place = self.root.join(folder.strip_prefix("/").unwrap_or(folder));
        let mut children = fs::read_dir(place)?.collect::<io::Result<Vec<_>>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let at = folder.join(child.file_name());
            let kind = child.file_type()?;
            if is_own(&at) || self.is_replaced(&at) {
                continue;
            }
            if kind.is_symlink() {
                parts.push(Part::Link { target: fs::read_link(child.path())?, at });
            } else if kind.is_dir() && self.is_split(&at) {
                parts.push(Part::Folder(at.clone()));
                self.split(&at, parts)?;
            } else if kind.is_dir() || kind.is_file() {
                parts.push(Part::Bind(at));
            }
        }
        Ok(())
    }

    fn is_replaced(&self, at: &Path) -> bool {
        at.parent() == Some(Path::new("/etc"))
            && at.file_name().is_some_and(|name| ETC_HIDDEN.iter().chain(self.written).any(|own| name == *own))
    }

    fn is_split(&self, at: &Path) -> bool {
        at == Path::new("/etc") || self.missing.iter().any(|point| point != at && point.starts_with(at))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr/bin", "etc/apt", "proc", "home/other", "var/lib/dpkg", "var/cache", "opt"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        symlink("usr/bin", root.path().join("bin")).unwrap();
        symlink("/run", root.path().join("var/run")).unwrap();
        for file in ["etc/passwd", "etc/resolv.conf", "etc/fstab"] {
            fs::write(root.path().join(file), "x:y\n").unwrap();
        }
        root
    }

    fn said(parts: &[Part]) -> Vec<String> {
        let say = |part: &Part| match part {
            Part::Folder(at) => format!("folder {}", at.display()),
            Part::Bind(at) => format!("bind {}", at.display()),
            Part::Link { at, target } => format!("link {} {}", at.display(), target.display()),
        };
        parts.iter().map(say).collect()
    }

    #[test]
    fn only_what_must_be_split_is_split() {
        let root = root();
        let points = ["/home/build", "/var/lib/quorate/key", "/build", "/opt", "/run/quorate/init"].map(Path::new);
        let expected = [
            "link /bin usr/bin",
            "folder /etc",
            "bind /etc/apt",
            "bind /etc/fstab",
            "bind /opt",
            "bind /usr",
            "folder /var",
            "bind /var/cache",
            "folder /var/lib",
            "bind /var/lib/dpkg",
            "link /var/run /run",
        ];
        assert_eq!(said(&lay_out(root.path(), &points, &["passwd"]).unwrap()), expected);
    }

    #[test]
    fn a_mount_point_behind_a_link_of_the_root_is_refused() {
        let root = root();
        for point in ["/bin/tool", "/var/run/x", "/bin"] {
            assert!(matches!(lay_out(root.path(), &[Path::new(point)], &[]), Err(SandboxError::BadCommand { .. })), "{point}");
        }
    }

    #[test]
    fn a_user_data_base_that_is_a_link_to_the_host_is_not_read() {
        let root = root();
        assert_eq!(amended(root.path(), "passwd", "build", "none"), "x:y\nbuild");
        fs::remove_file(root.path().join("etc/passwd")).unwrap();
        symlink("/etc/shadow", root.path().join("etc/passwd")).unwrap();
        assert_eq!(amended(root.path(), "passwd", "build", "none"), "none");
    }
}
