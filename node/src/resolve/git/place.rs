//! Where repositories are to be had: mirrors, forges, and the copies that are kept of the latter.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_proto::Digest;

use super::super::ResolveError;
use super::miss::{self, Miss};
use super::seen::Seen;
use super::{GitAccess, Wanted, tags};
use crate::cache::{Cache, CacheLock, Reuse};
use crate::source::git::remote::{self, Depth};
use crate::source::git::{Repository, Tag};

/// Most bytes of a tag's name.
const TAG_BYTES_MAX: usize = 255;
/// Most tags of a repository that are looked at.
const TAGS_MAX: usize = 6;

/// Whether forges are asked themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direct {
    /// Only mirrors are used.
    #[default]
    Never,
    /// An address with no mirror is cloned.
    Clone,
}

/// A rule that maps repository addresses to another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The beginning of the addresses, such as `https://github.com/`.
    pub prefix: String,
    /// A folder or an address with `{owner}` and `{name}` in it.
    pub template: String,
}

/// A text that is no mirror rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("mirror rule `{0}` is not PREFIX=TEMPLATE")]
pub struct MirrorError(String);

impl std::str::FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.split_once('=') {
            Some((prefix, template)) if !prefix.is_empty() && !template.is_empty() => {
                Ok(Self { prefix: prefix.to_owned(), template: template.to_owned() })
            }
            _ => Err(MirrorError(text.to_owned())),
        }
    }
}

/// Where a repository is to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// At an address.
    Forge(String),
}

/// A repository that can be searched.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) address: String,
    pub(super) repository: Repository,
    /// Tags that may mean the wanted version, best first.
    pub(super) tags: Vec<Tag>,
    /// The address that the repository has now, if it was moved.
    pub(super) moved: Option<String>,
    forge: Option<Forge>,
}

/// The forge behind a copy.
#[derive(Debug)]
struct Forge {
    url: String,
    /// Names what the forge lists now.
    state: String,
    _lock: CacheLock,
}

impl GitAccess {
    /// Where the repository with this address is to be had.
    pub fn place(&self, address: &str) -> Option<Place> {
        let fits = self.mirrors.iter().filter(|mirror| address.starts_with(&mirror.prefix));
        let Some(mirror) = fits.max_by_key(|mirror| mirror.prefix.len()) else {
            return (self.direct == Direct::Clone).then(|| Place::Forge(address.to_owned()));
        };
        let mut path = address[mirror.prefix.len()..].trim_matches('/').rsplit('/');
        let name = path.next()?;
        // The prefix itself may end in the owner.
        let owner = path.next().or_else(|| mirror.prefix.trim_end_matches('/').rsplit('/').next())?;
        let place = mirror.template.replace("{owner}", owner).replace("{name}", name);
        let is_address = ["https://", "http://", "file://"].iter().any(|scheme| place.starts_with(scheme));
        Some(if is_address { Place::Forge(place) } else { Place::Folder(PathBuf::from(place)) })
    }

    /// The repository at an address, ready to be searched.
    pub(super) async fn ground(&self, address: &str, wanted: &Wanted<'_>, cache: &Cache) -> Result<Ground, ResolveError> {
        match self.place(address) {
            None => Err(Miss::NoMirror(address.to_owned()).into()),
            Some(Place::Folder(folder)) => local(address, &folder, wanted).await,
            Some(Place::Forge(url)) => copied(address, url, wanted, cache, self.reuse).await,
        }
    }
}

async fn local(address: &str, folder: &Path, wanted: &Wanted<'_>) -> Result<Ground, ResolveError> {
    let repository = in_any_case(folder).and_then(|folder| Repository::open(&folder));
    let repository = repository.ok_or_else(|| Miss::NoRepository(address.to_owned()))?;
    if repository.references().await.map_err(|error| miss::of(address, error))?.is_empty() {
        return Err(Miss::Empty(address.to_owned()).into());
    }
    let tags = chosen(&repository.tags().await?, wanted);
    let moved = repository.origin().await.and_then(|origin| elsewhere(address, &origin));
    Ok(Ground { address: address.to_owned(), repository, tags, moved, forge: None })
}

/// The folder at a path, whatever the case of the names in it: forges do not tell names apart by it.
fn in_any_case(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in path.components() {
        let next = found.join(part);
        if next.symlink_metadata().is_ok() {
            found = next;
            continue;
        }
        let wanted = part.as_os_str().to_str()?;
        let beside = if found.as_os_str().is_empty() { Path::new(".") } else { &found };
        let names = std::fs::read_dir(beside).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        found.push(names.filter(|name| name.eq_ignore_ascii_case(wanted)).min()?);
    }
    Some(found)
}

/// The copy of a repository: without asking its forge where it was seen late enough and the copy has what is
/// wanted.
async fn copied(address: &str, url: String, wanted: &Wanted<'_>, cache: &Cache, reuse: Reuse) -> Result<Ground, ResolveError> {
    let seen = Seen::kept(&url, cache).filter(|seen| reuse == Reuse::Kept && seen.serves(wanted.published_at));
    if let Some(seen) = seen {
        let ground = opened(address, seen, wanted, cache).await?;
        if ground.has_wanted(wanted).await? {
            return Ok(ground);
        }
    }
    let seen = Seen::ask(address, &url).await?;
    if seen.state.is_empty() {
        return Err(Miss::Empty(address.to_owned()).into());
    }
    seen.keep(cache)?;
    let ground = opened(address, seen, wanted, cache).await?;
    ground.tips(wanted).await?;
    Ok(ground)
}

/// The copy that there is, if only an empty one, for this process alone.
async fn opened(address: &str, seen: Seen, wanted: &Wanted<'_>, cache: &Cache) -> Result<Ground, ResolveError> {
    let name = format!("git-{}", HEXLOWER.encode(&Digest::of(seen.url.as_bytes()).as_bytes()[..16]));
    let lock = {
        let (cache, name) = (cache.clone(), name.clone());
        tokio::task::spawn_blocking(move || cache.lock(&name)).await.map_err(std::io::Error::other)??
    };
    let folder = cache.derived(&name);
    make_private(&folder)?;
    let repository = remote::begin(&folder).await?;
    let tags = chosen(&remote::tags_in(&seen.state), wanted);
    let forge = Some(Forge { url: seen.url, state: Digest::of(seen.state.as_bytes()).to_hex(), _lock: lock });
    Ok(Ground { address: address.to_owned(), repository, tags, moved: seen.moved, forge })
}

impl Ground {
    /// Copies the publisher's commit and the tags, without what led to them.
    async fn tips(&self, wanted: &Wanted<'_>) -> Result<(), ResolveError> {
        let Some(forge) = &self.forge else { return Ok(()) };
        let missing = self.missing_tags().await?;
        if !missing.is_empty() {
            let copied = self.repository.copy_from(&forge.url, &missing, Depth::Tips).await;
            copied.map_err(|error| miss::of(&self.address, error))?;
        }
        if let Some(commit) = self.missing_commit(wanted).await? {
            // A forge that has no such commit refuses; the rung then finds it missing.
            match self.repository.copy_from(&forge.url, &[commit.to_owned()], Depth::Tips).await {
                Err(error) if error.is_passing() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the publisher's commit and all fitting tags are here, and at least one of them is named.
    async fn has_wanted(&self, wanted: &Wanted<'_>) -> Result<bool, ResolveError> {
        let is_named = wanted.commit.is_some() || !self.tags.is_empty();
        Ok(is_named && self.missing_tags().await?.is_empty() && self.missing_commit(wanted).await?.is_none())
    }

    /// What is to be asked for so that all fitting tags are here.
    async fn missing_tags(&self) -> Result<Vec<String>, ResolveError> {
        let held = self.repository.references().await?;
        let is_held = |tag: &&Tag| held.lines().any(|line| line == format!("{} refs/tags/{}", tag.object, tag.name));
        Ok(self.tags.iter().filter(|tag| !is_held(tag)).map(|tag| refspec(&tag.name)).collect())
    }

    /// The publisher's commit, if it is one and is not here.
    async fn missing_commit<'a>(&self, wanted: &Wanted<'a>) -> Result<Option<&'a str>, ResolveError> {
        let Some(commit) = wanted.commit.filter(|commit| crate::source::commit_id::is_commit(commit)) else { return Ok(None) };
        Ok((self.repository.sizes(&[commit]).await? == [None]).then_some(commit))
    }

    /// Brings all history, unless it is there already as the forge has it now.
    pub(super) async fn whole(&self) -> Result<(), ResolveError> {
        let Some(forge) = &self.forge else { return Ok(()) };
        let mark = self.repository.path().join("quorate-history");
        if std::fs::read_to_string(&mark).is_ok_and(|state| state == forge.state) {
            return Ok(());
        }
        let everything = ["+refs/heads/*:refs/heads/*".to_owned(), "+refs/tags/*:refs/tags/*".to_owned()];
        let copied = self.repository.copy_from(&forge.url, &everything, Depth::History).await;
        copied.map_err(|error| miss::of(&self.address, error))?;
        Ok(std::fs::write(mark, &forge.state)?)
    }
}

fn refspec(tag: &str) -> String {
    format!("+refs/tags/{tag}:refs/tags/{tag}")
}

fn chosen(all: &[Tag], wanted: &Wanted<'_>) -> Vec<Tag> {
    let short = all.iter().map(|tag| tag.name.as_str()).filter(|name| name.len() <= TAG_BYTES_MAX);
    let best = tags::matching(short, &wanted.names, &wanted.version, wanted.versions);
    best.into_iter().filter_map(|name| all.iter().find(|tag| tag.name == name).cloned()).take(TAGS_MAX).collect()
}

/// A copy is trusted to be what was fetched only where nobody else could have written to it.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let meta = folder.symlink_metadata()?;
    let is_own = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if is_own { Ok(()) } else { Err(std::io::Error::other(format!("{} is not this user's own", folder.display()))) }
}

/// The address that a mirror was made from, where that is another repository than the one asked for.
/// Names and passwords in it are left out.
pub fn elsewhere(address: &str, origin: &str) -> Option<String> {
    let bare = |text: &str| {
        let url = url::Url::parse(text).ok()?;
        let path = url.path().trim_end_matches('/').trim_end_matches(".git").to_owned();
        Some((url.host_str()?.trim_start_matches("www.").to_lowercase(), path))
    };
    let ((host, path), asked) = (bare(origin)?, bare(address)?);
    let is_same = (host.as_str(), path.to_lowercase()) == (asked.0.as_str(), asked.1.to_lowercase());
    // A host of an odd scheme need not be one of this scheme.
    let moved = format!("https://{host}{path}");
    (!is_same && url::Url::parse(&moved).is_ok()).then_some(moved)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_longest_prefix_names_the_place() {
        let access = GitAccess {
            mirrors: ["https://github.com/=/mirrors/{owner}+{name}/repo", "https://github.com/pallets/=https://git.example/{owner}/{name}"]
                .map(|rule| rule.parse().unwrap())
                .into(),
            ..GitAccess::default()
        };
        assert_eq!(access.place("https://github.com/o/n"), Some(Place::Folder("/mirrors/o+n/repo".into())));
        assert_eq!(access.place("https://github.com/pallets/click"), Some(Place::Forge("https://git.example/pallets/click".into())));
        assert_eq!(access.place("https://gitlab.com/o/n"), None);
        let access = GitAccess { direct: Direct::Clone, ..access };
        assert_eq!(access.place("https://gitlab.com/o/n"), Some(Place::Forge("https://gitlab.com/o/n".into())));
    }

    #[test]
    fn a_rule_without_a_template_is_refused() {
        assert!("https://github.com/".parse::<Mirror>().is_err());
        assert!("=x".parse::<Mirror>().is_err());
    }

    #[test]
    fn a_mirror_of_another_address_says_so_without_its_password() {
        let asked = "https://github.com/old/demo";
        assert_eq!(elsewhere(asked, "https://user:secret@github.com/new/demo.git").as_deref(), Some("https://github.com/new/demo"));
        assert_eq!(elsewhere(asked, "https://github.com/Old/Demo.git"), None);
        assert_eq!(elsewhere(asked, "/srv/mirrors/demo"), None);
        assert_eq!(elsewhere(asked, "odd://f\u{fffd}rge.example/demo"), None);
    }
}
