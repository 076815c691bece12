//! A root with more packages: the tree of one root, and package files that were chosen and checked elsewhere.
//!
//! mmdebstrap does this too, so that an ordinary user can: the tree goes in as a tar stream, apt installs the
//! files and nothing else (it has no lists to find more in), and the new tree comes out as a stream.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorate_proto::Digest;
use tokio::process::Command;

use super::{FORGET, Rootfs, RootfsError, RootfsSpec, mmdebstrap};
use crate::proxy::FetchedFile;

/// Part of every name: to be changed with the way roots are extended.
const RECIPE: u32 = 1;
/// Where the files lie while they are installed, at the top of the new root.
pub(super) const DEBS: &str = "quorate-debs";
const UNPACK: &str = r#"--setup-hook=tar --extract --numeric-owner --directory "$1""#;
const INSTALL: &str = r#"--customize-hook=chroot "$1" sh -c 'apt-get --quiet --yes --no-install-recommends --allow-downgrades -o Acquire::http::Proxy=http://127.0.0.1:9 -o Dpkg::Options::=--force-unsafe-io install /quorate-debs/*.deb'"#;
const TIDY: &str = r#"--customize-hook=rm -rf "$1/quorate-debs""#;

/// What is added to what.
pub(super) struct Extension<'a> {
    /// How the base was made.
    pub(super) spec: &'a RootfsSpec,
    /// The base.
    pub(super) base: &'a Rootfs,
    /// Package files on this machine.
    pub(super) debs: &'a [(FetchedFile, PathBuf)],
}

impl Extension<'_> {
    /// The digest of all that decides the content.
    pub(super) fn key(&self) -> Digest {
        let mut digests: Vec<_> = self.debs.iter().map(|(file, _)| file.digest).collect();
        digests.sort();
        let text = serde_json::to_vec(&(RECIPE, self.spec.key(), self.base.environment.digest, digests));
        Digest::of(&text.expect("numbers and digests always serialise"))
    }

    /// The command that makes it, with the base on the way into its input.
    pub(super) fn maker(&self, dir: &Path) -> Result<Command, RootfsError> {
        self.gather(&dir.join(DEBS)).map_err(RootfsError::host("gathering packages"))?;
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--directory"]).arg(&self.base.folder).arg(".").arg("--directory").arg(dir).arg(DEBS);
        if !rustix::process::geteuid().is_root() {
            tar.args(["--owner=0", "--group=0"]);
        }
        let tar = tar.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let stream = tar.map_err(RootfsError::host("starting tar"))?.stdout.map(TryInto::<Stdio>::try_into);
        let mut command = mmdebstrap()?;
        command.args(["--variant=custom", "--skip=update", UNPACK, INSTALL, TIDY, FORGET, "", "-"]);
        command.stdin(stream.transpose().map_err(RootfsError::host("reading from tar"))?.unwrap_or_else(Stdio::null));
        Ok(command)
    }

    /// Under names that sort as they came and that no package chose.
    fn gather(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir(folder)?;
        for (number, (_, path)) in self.debs.iter().enumerate() {
            fs::copy(path, folder.join(format!("{number:04}.deb")))?;
        }
        Ok(())
    }
}
