//! Which part of an address that metadata names is a repository. Pure.

/// Hosts that repositories are cloned from. Anybody can name a host of their own `gitlab.`.
const FORGES: [&str; 8] = [
    "github.com",
    "gitlab.com",
    "codeberg.org",
    "bitbucket.org",
    "gitlab.gnome.org",
    "gitlab.freedesktop.org",
    "salsa.debian.org",
    "invent.kde.org",
];
/// Most bytes of an owner's or a repository's name.
const SEGMENT_BYTES_MAX: usize = 200;

/// `https://forge/owner/name` out of an address below it; `None` where no forge is recognised.
pub fn repository(url: &str) -> Option<String> {
    let url = url::Url::parse(url.trim_start_matches("git+")).ok()?;
    let host = url.host_str()?.trim_start_matches("www.").to_lowercase();
    let is_forge = FORGES.contains(&host.as_str());
    let mut segments = url.path_segments()?.filter(|segment| !segment.is_empty());
    let (owner, name) = (segments.next()?, segments.next()?);
    let name = name.trim_end_matches(".git");
    let plain = |text: &str| {
        (1..=SEGMENT_BYTES_MAX).contains(&text.len())
            && !text.starts_with(['-', '.'])
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    (is_forge && plain(owner) && plain(name) && owner != "sponsors").then(|| format!("https://{host}/{owner}/{name}"))
}
