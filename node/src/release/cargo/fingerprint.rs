//! Which versions of cargo can have written an archive. Pure.
//!
//! Measured on published crates: what cargo writes into headers and into the generated manifest changed
//! every few years. Where the change is not known to the version, the bounds are the wider ones.

use std::ops::RangeInclusive;

/// What cargo gives files that it takes over, since it no longer gives them their own time.
const TIMES: [(u64, RangeInclusive<u64>); 3] = [(0, 50..=53), (123_456_789, 54..=63), (1_153_704_088, 64..=u64::MAX)];
/// Members that cargo writes itself.
const GENERATED: [&str; 3] = ["Cargo.toml", "Cargo.lock", ".cargo_vcs_info.json"];

/// What an archive shows of the cargo that wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    taken_over: Times,
    /// The time of the files that cargo wrote itself.
    generated: Option<u64>,
    is_ustar: bool,
    has_lock: bool,
    /// Whether the commit's note says the folder; `None` without a note.
    pub has_path_in_vcs: Option<bool>,
    /// Whether the generated manifest says `autobins`; `None` without one.
    pub has_autobins: Option<bool>,
    /// Whether the generated manifest says `autolib`; `None` without one.
    pub has_autolib: Option<bool>,
    /// Whether the generated manifest describes the library.
    pub has_lib: bool,
    /// Whether the comment above it points to `Cargo.toml.orig`; `None` without a manifest.
    pub names_original: Option<bool>,
}

/// The times of all files that were taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Times {
    #[default]
    NoFile,
    One(u64),
    Several,
}

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The modification time.
    pub time: u64,
    /// Whether the header is GNU's.
    pub is_gnu: bool,
}

impl Fingerprint {
    /// Takes in a member: its name below the archive's folder, empty for those in folders.
    pub fn see(&mut self, name: &str, stamp: Stamp) {
        self.is_ustar |= !stamp.is_gnu;
        self.has_lock |= name == "Cargo.lock";
        if name == "Cargo.toml" {
            self.generated = Some(stamp.time);
        } else if !GENERATED.contains(&name) {
            self.taken_over = match self.taken_over {
                Times::NoFile => Times::One(stamp.time),
                Times::One(time) if time == stamp.time => Times::One(time),
                _ => Times::Several,
            };
        }
    }

    /// The minor versions of cargo 1 that can have written it, as far as it shows.
    pub fn bounds(&self) -> RangeInclusive<u64> {
        let all = [self.by_headers(), self.by_note(), self.by_manifest(), self.by_comment(), self.by_lock()];
        let (from, to) = all.iter().fold((0, u64::MAX), |(from, to), range| (from.max(*range.start()), to.min(*range.end())));
        // An archive that contradicts itself was not written by any cargo that is known here.
        if from <= to { from..=to } else { 0..=u64::MAX }
    }

    /// Whether files have the times that they had on their publisher's disk: no rebuild has those.
    pub fn has_own_times(&self) -> bool {
        match self.taken_over {
            Times::NoFile => false,
            Times::One(time) => TIMES.iter().all(|(known, _)| *known != time),
            Times::Several => true,
        }
    }

    fn by_headers(&self) -> RangeInclusive<u64> {
        let known = match self.taken_over {
            Times::NoFile => return 0..=u64::MAX,
            Times::One(time) => TIMES.iter().find(|(known, _)| *known == time),
            Times::Several => None,
        };
        match known {
            Some((1_153_704_088, _)) if self.generated == Some(1_153_704_088) => 93..=u64::MAX,
            Some((1_153_704_088, _)) if self.generated.is_some() => 64..=92,
            Some((_, range)) if !self.is_ustar => range.clone(),
            _ if self.is_ustar && self.generated == Some(0) => 0..=44,
            _ if self.is_ustar => 40..=45,
            _ => 46..=49,
        }
    }

    /// `path_in_vcs` came with 1.57.
    fn by_note(&self) -> RangeInclusive<u64> {
        match self.has_path_in_vcs {
            Some(true) => 57..=u64::MAX,
            Some(false) => 0..=56,
            None => 0..=u64::MAX,
        }
    }

    /// From 1.80 on every kind of target is described or switched off; `autolib` came with 1.83.
    fn by_manifest(&self) -> RangeInclusive<u64> {
        match (self.has_autobins, self.has_autolib) {
            (Some(true), Some(true)) => 83..=u64::MAX,
            (Some(true), Some(false)) => 80..=82,
            (Some(false), Some(_)) if self.has_lib => 0..=79,
            _ => 0..=u64::MAX,
        }
    }

    /// The comment was rewritten in 1.55.
    fn by_comment(&self) -> RangeInclusive<u64> {
        match self.names_original {
            Some(true) => 55..=u64::MAX,
            Some(false) => 0..=54,
            None => 0..=u64::MAX,
        }
    }

    /// Every crate has its lock file since about 1.90.
    fn by_lock(&self) -> RangeInclusive<u64> {
        if self.has_lock || self.generated.is_none() { 0..=u64::MAX } else { 0..=89 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(file: u64, generated: u64, is_gnu: bool) -> Fingerprint {
        let mut print = Fingerprint::default();
        print.see("Cargo.toml", Stamp { time: generated, is_gnu });
        print.see("", Stamp { time: file, is_gnu });
        print
    }

    #[test]
    fn headers_bound_the_cargo_that_wrote_them() {
        for (file, generated, is_gnu, bounds) in [
            (1_571_008_866, 0, false, 0..=44),
            (1_571_008_866, 1_571_008_900, false, 40..=45),
            (1_571_008_866, 1_571_008_900, true, 46..=49),
            (0, 0, true, 50..=53),
            (123_456_789, 1, true, 54..=63),
            (1_153_704_088, 1, true, 64..=89),
        ] {
            assert_eq!(print(file, generated, is_gnu).bounds(), bounds);
        }
        assert!(print(1_571_008_866, 0, false).has_own_times() && !print(0, 0, true).has_own_times());
        let mut newest = print(1_153_704_088, 1_153_704_088, true);
        newest.see("Cargo.lock", Stamp { time: 1_153_704_088, is_gnu: true });
        assert_eq!(newest.bounds(), 93..=u64::MAX);
    }

    #[test]
    fn the_note_and_the_manifest_bound_it_further() {
        let old = print(123_456_789, 1, true);
        assert_eq!(Fingerprint { has_path_in_vcs: Some(false), ..old.clone() }.bounds(), 54..=56);
        assert_eq!(Fingerprint { has_path_in_vcs: Some(true), ..old.clone() }.bounds(), 57..=63);
        assert_eq!(Fingerprint { names_original: Some(false), ..old.clone() }.bounds(), 54..=54);
        assert_eq!(Fingerprint { names_original: Some(true), has_path_in_vcs: Some(false), ..old }.bounds(), 55..=56);
        let new = Fingerprint { has_autobins: Some(true), has_lib: true, ..print(1_153_704_088, 1, true) };
        assert_eq!(Fingerprint { has_autolib: Some(false), ..new.clone() }.bounds(), 80..=82);
        assert_eq!(Fingerprint { has_autolib: Some(true), ..new.clone() }.bounds(), 83..=89);
        assert_eq!(Fingerprint { has_autobins: Some(false), has_autolib: Some(false), ..new }.bounds(), 64..=79);
    }

    #[test]
    fn an_archive_that_contradicts_itself_bounds_nothing() {
        let print = Fingerprint { has_path_in_vcs: Some(true), ..print(0, 0, true) };
        assert_eq!(print.bounds(), 0..=u64::MAX);
        assert_eq!(Fingerprint::default().bounds(), 0..=u64::MAX);
    }
}
