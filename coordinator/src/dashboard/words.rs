//! Words and numbers as people read them, and strangers' texts made harmless.

use quorate_proto::comparison::{AnomalyKind, DifferenceClass, Executable, Level, Risk, Side};
use quorate_proto::result::{FoundBy, SourceKind};
use quorate_proto::{Purl, Timestamp};
use quorate_tally::{Ballot, Flag, Grade, MarkKind, State, Verdict};
use serde::Serialize;

/// A stranger's text: at most `max` characters, without control and bidi characters. Escaping is maud's.
pub(super) fn plain(text: &str, max: usize) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text.chars().take(max).map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

/// `1234567` as `1 234 567`, with spaces that do not break.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits are text")).collect();
    groups.join("\u{202f}")
}

/// A size in bytes.
pub(super) fn bytes(value: u64) -> String {
    match value {
        0..10_000 => format!("{}\u{a0}B", number(value)),
        10_000..10_000_000 => format!("{}\u{a0}kB", number(value / 1_000)),
        _ => format!("{}\u{a0}MB", number(value / 1_000_000)),
    }
}

/// To the minute, in UTC.
pub(super) fn time(time: Timestamp) -> String {
    let text = time.whole_seconds().to_string();
    text.get(..16).map_or(text.clone(), |minute| minute.replace('T', " "))
}

/// A package as `name version`.
pub(super) fn package(purl: &Purl) -> (String, String) {
    let namespace = purl.namespace();
    let name = if namespace.is_empty() { purl.name().to_owned() } else { format!("{namespace}/{}", purl.name()) };
    (plain(&name, 120), plain(purl.version().unwrap_or_default(), 60))
}

/// Where a package came from if not from its type's usual registry: host and path, as text.
pub(super) fn origin(purl: &Purl) -> Option<String> {
    let url = purl.qualifier("repository_url")?;
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let host_at = address.find('/').unwrap_or(address.len());
    // A name before `@` is no host, whatever it looks like.
    let user = address[..host_at].rfind('@').map_or(0, |at| at + 1);
    Some(plain(address[user..].trim_end_matches('/'), 80))
}

/// The first digits of a hash, for the eye only.
pub(super) fn short(hash: &str) -> String {
    let hex = hash.rsplit(':').next().unwrap_or(hash);
    plain(hex, 200).chars().take(12).collect()
}

/// A word of a closed list as it stands in the JSON.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// One sentence on a state.
pub(super) fn meaning(state: State) -> &'static str {
    match state {
        State::Compromised => "People have said, in an advisory, that it is compromised",
        State::Contested => "Independent rebuilders disagree with each other",
        State::Reproduced => "Independent rebuilders got exactly the published bytes",
        State::Equivalent => "Independent rebuilders got the published contents; only the packaging around them differs",
        State::Explained => "Rebuilds differ from the registry in a way that was looked at and found harmless",
        State::Suspect => "Independent rebuilders agree with each other, but not with the registry",
        State::EnvironmentDependent => "What comes out of a rebuild depends on the environment that it is built in",
        State::Unreproducible => "Rebuilds differ from the registry and from each other",
        State::Unbuildable => "It could not be built",
        State::Inconclusive => "Everybody who could decide it has answered, and too few of them say the same",
        State::Pending => "Too few operators have answered",
    }
}

/// A mark that goes before the word, so that colour is never alone.
pub(super) fn mark(state: State) -> &'static str {
    match state {
        State::Compromised => "☠",
        State::Contested => "⇄",
        State::Reproduced => "✓",
        State::Equivalent => "≈",
        State::Explained => "∼",
        State::Suspect => "!",
        State::EnvironmentDependent => "÷",
        State::Unreproducible => "≠",
        State::Unbuildable => "×",
        State::Inconclusive => "?",
        State::Pending => "…",
    }
}

/// One sentence on a flag.
pub(super) fn alarm(flag: Flag) -> &'static str {
    match flag {
        Flag::Equivocation => "A node that voted here has signed two histories. Its operator's vote does not count.",
        Flag::RegistrySplit => "Operators were served different bytes under the same name.",
        Flag::Mutated => "One node was served different bytes under the same name, one after the other.",
        Flag::SourceSplit => "One name of a source, such as a tag, led operators to different contents.",
        Flag::Withheld => "An operator committed to a result and did not reveal it.",
        Flag::Drill => {
            "A drill: the coordinator's operator had announced that this file is wrong, and published it on a registry of its own to see who agrees with it. No release is affected."
        }
    }
}

/// How grave a difference is, and how surprising for the package.
pub(super) fn severity(verdict: &Verdict) -> Option<String> {
    let (severity, alarm) = (verdict.severity?, verdict.alarm()?);
    let raised = if alarm > severity { format!(", which makes it {alarm}") } else { String::new() };
    let history = verdict.history.map_or(String::new(), |history| format!(" In the log {history}{raised}."));
    Some(format!("Severity: {severity}.{history}"))
}

/// How a ballot is shown: style, mark, word.
pub(super) fn ballot(ballot: &Ballot) -> (&'static str, &'static str, &'static str) {
    match ballot {
        Ballot::Identical => ("agree", "✓", "Identical"),
        Ballot::Equivalent { .. } => ("agree", "≈", "Equivalent"),
        Ballot::Different { .. } => ("differ", "≠", "Differs"),
        Ballot::NotBuilt { .. } => ("failed", "×", "Not built"),
        Ballot::NotCounted { .. } => ("failed", "–", "Not counted"),
        Ballot::Pending { .. } => ("absent", "·", "Waits for a grade"),
        Ballot::Split => ("differ", "⇄", "Contradicts itself"),
        Ballot::Equivocated => ("differ", "‼", "Two histories"),
        Ballot::Absent => ("absent", "·", "Not yet"),
    }
}

/// More about a ballot.
pub(super) fn ballot_detail(ballot: &Ballot) -> Option<String> {
    match ballot {
        Ballot::Equivalent { level } => Some(level_text(*level).to_owned()),
        Ballot::Different { rebuilt } => Some(format!("rebuilt to {}", short(rebuilt))),
        Ballot::NotBuilt { class } => Some(plain(&class.replace('-', " "), 60)),
        Ballot::NotCounted { reason } | Ballot::Pending { reason } => Some(plain(reason, 160)),
        Ballot::Identical | Ballot::Split | Ballot::Equivocated | Ballot::Absent => None,
    }
}

/// What a grade means.
pub(super) fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Blind => "bound to it before there was anything to copy",
        Grade::Witnessed => "another operator confirms that it was built",
        Grade::Follower => "there was something to copy",
    }
}

/// What a mark means.
pub(super) fn broken(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Premature => "revealed a result before the time it had promised",
        MarkKind::SecondCommitment => "committed twice to one task",
        MarkKind::FalseReveal => "revealed another result than it had committed to",
        MarkKind::Open => "did not reveal a result that it had committed to",
        MarkKind::Drill => "agreed with a file that a drill had announced to be wrong",
    }
}

pub(super) fn level_text(level: Level) -> &'static str {
    match level {
        Level::Byte => "same bytes",
        Level::Stream => "same once decompressed",
        Level::Normal => "same contents",
        Level::Manifest => "same but for generated files",
        Level::Different => "different",
    }
}

pub(super) fn source_kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Git => "git",
        SourceKind::SourceArchive => "source archive",
        SourceKind::SourceDistribution => "source distribution",
    }
}

pub(super) fn found_by(found: FoundBy) -> &'static str {
    match found {
        FoundBy::PublisherCommit => "commit named by the publisher",
        FoundBy::Tag => "tag of this version",
        FoundBy::ArchiveCommit => "commit named in a signed archive",
        FoundBy::Archive => "signed archive of this version",
        FoundBy::ManifestHistory => "commit that set this version",
        FoundBy::Content => "commit that holds the contents",
        FoundBy::Definition => "reviewed definition",
        FoundBy::Index => "listed beside it on the registry",
    }
}

pub(super) fn difference(class: DifferenceClass) -> &'static str {
    match class {
        DifferenceClass::OnlyPublished => "only in the published file",
        DifferenceClass::OnlyRebuilt => "missing from the published file",
        DifferenceClass::Content => "other contents",
        DifferenceClass::Metadata => "other type, link or mode",
        DifferenceClass::Opaque => "other bytes",
        DifferenceClass::Anomaly => "structural fault",
    }
}

pub(super) fn executable(kind: Executable) -> &'static str {
    match kind {
        Executable::Code => "code",
        Executable::Data => "data",
    }
}

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Published => "published",
        Side::Rebuilt => "rebuilt",
    }
}

pub(super) fn anomaly(kind: AnomalyKind) -> String {
    word(&kind).replace('-', " ")
}

pub(super) fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::None => "nothing",
        Risk::Low => "metadata without code",
        Risk::Medium => "content of generated files",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_texts_are_cut_and_lose_what_could_mislead() {
        assert_eq!(plain("a\u{202e}b\u{1b}c", 10), "a\u{fffd}b\u{fffd}c");
        assert_eq!(plain("abcdef", 3), "abc…");
    }

    #[test]
    fn another_registry_is_shown_by_host_and_path_and_cannot_pose_as_another() {
        let shown = |url: &str| origin(&Purl::pypi("x", "1").expect("a package URL").in_repository(url));
        assert_eq!(shown("https://mirror.example/simple/").as_deref(), Some("mirror.example/simple"));
        assert_eq!(shown("https://good.example@evil.example/a?b#c").as_deref(), Some("evil.example/a"));
        assert_eq!(shown(&format!("mirror.example/{}", "a".repeat(200))).map(|text| text.chars().count()), Some(81));
        assert_eq!(origin(&Purl::pypi("x", "1").expect("a package URL")), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(12), "12");
    }
}
