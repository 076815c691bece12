//! What a commit's tree only points to: submodules, contents that lie in large-file storage, and contents
//! that this copy of the repository does not have.

use super::super::Lack;
use crate::source::git::{Entry, EntryKind, GitError, Repository};

/// How every pointer of git-lfs begins.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// Sizes between which a pointer's lies.
const POINTER_BYTES: std::ops::RangeInclusive<u64> = 100..=200;
/// Most things that are listed.
const LISTED_MAX: usize = 8;
const ATTRIBUTES_BYTES_MAX: u64 = 256 << 10;

/// What is missing in the files of a commit.
pub(super) async fn of(repository: &Repository, commit: &str) -> Result<Vec<Lack>, GitError> {
    let entries = repository.entries(commit).await?;
    let submodules = entries.iter().filter(|entry| entry.kind == EntryKind::Submodule);
    let mut lacks: Vec<Lack> = submodules.map(|entry| Lack::Submodule(entry.path.clone())).collect();
    let files: Vec<_> = entries.iter().filter(|entry| entry.kind != EntryKind::Submodule).collect();
    let sizes = repository.sizes(&files.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>()).await?;
    let missing = files.iter().zip(sizes).filter(|(_, size)| size.is_none());
    lacks.extend(missing.map(|(entry, _)| Lack::Content(entry.path.clone())));
    lacks.extend(pointers(repository, &entries).await?.into_iter().map(Lack::LargeFile));
    lacks.truncate(LISTED_MAX);
    Ok(lacks)
}

async fn pointers(repository: &Repository, entries: &[Entry]) -> Result<Vec<String>, GitError> {
    let is_attributes = |entry: &&Entry| entry.path.rsplit('/').next() == Some(".gitattributes");
    let ids: Vec<_> = entries.iter().filter(is_attributes).map(|entry| entry.id.as_str()).collect();
    let attributes = repository.objects(&ids, ATTRIBUTES_BYTES_MAX).await?;
    let speaks = |text: &Vec<u8>| text.windows(b"filter=lfs".len()).any(|part| part == b"filter=lfs");
    if !attributes.iter().flatten().any(speaks) {
        return Ok(Vec::new());
    }
    let files: Vec<_> = entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable)).collect();
    let sizes = repository.sizes(&files.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>()).await?;
    let small = files.iter().zip(sizes).filter(|(_, size)| size.is_some_and(|size| POINTER_BYTES.contains(&size)));
    let small: Vec<_> = small.map(|(entry, _)| entry).collect();
    let ids: Vec<_> = small.iter().map(|entry| entry.id.as_str()).collect();
    let contents = repository.objects(&ids, *POINTER_BYTES.end()).await?;
    let is_pointer = |content: &Option<Vec<u8>>| content.as_ref().is_some_and(|content| content.starts_with(POINTER));
    Ok(small.iter().zip(contents).filter(|(_, content)| is_pointer(content)).map(|(entry, _)| entry.path.clone()).collect())
}
