//! Objects of a repository, many at a time: trees with every file below, blobs, commits in bulk.
//!
//! Everything goes through plumbing with NUL-ended records and one process for many objects, so that a
//! repository of a million objects costs what is asked for and no more.

use std::time::Duration;

use super::command::{Call, GitError, words};
use super::{Repository, fits};

/// What stands at a path of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The object's name.
    pub id: String,
    /// Its path, from the top of the tree.
    pub path: String,
}

/// Kinds of tree entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// A commit as a log lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its name.
    pub id: String,
    /// When it was committed, in Unix seconds.
    pub committed_at: i64,
    /// Its first parent, if it has any.
    pub parent: Option<String>,
}

/// Most bytes of the objects that are read together.
const OBJECTS_BYTES_MAX: u64 = 48 << 20;

impl Repository {
    /// Every file below a commit.
    pub async fn entries(&self, commit: &str) -> Result<Vec<Entry>, GitError> {
        let args = ["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit];
        let listing = Call::new(&words(&args)).within(&self.git_dir).text().await?;
        let entries = listed(&listing);
        fits::entries(entries.len())?;
        Ok(entries)
    }

    /// The sizes of objects; `None` for those that the repository does not have.
    pub async fn sizes(&self, ids: &[&str]) -> Result<Vec<Option<u64>>, GitError> {
        let args = words(&["cat-file", "--batch-check=%(objectsize)", "--buffer"]);
        let text = Call::new(&args).within(&self.git_dir).input(lines(ids).as_bytes()).text().await?;
        let mut sizes: Vec<_> = text.lines().map(|line| line.parse().ok()).collect();
        sizes.resize(ids.len(), None);
        Ok(sizes)
    }

    /// Objects as they are, in the order asked for; `None` for those that are missing or longer than
    /// `limit` bytes, and for those past a bound on all of them.
    pub async fn objects(&self, ids: &[&str], limit: u64) -> Result<Vec<Option<Vec<u8>>>, GitError> {
        let mut left = OBJECTS_BYTES_MAX;
        let is_taken: Vec<bool> = self
            .sizes(ids)
            .await?
            .into_iter()
            .map(|size| {
                let taken = size.is_some_and(|size| size <= limit.min(left));
                left -= if taken { size.unwrap_or(0) } else { 0 };
                taken
            })
            .collect();
        let taken: Vec<&str> = ids.iter().zip(&is_taken).filter(|(_, taken)| **taken).map(|(id, _)| *id).collect();
        let args = words(&["cat-file", "--batch=%(objectsize)", "--buffer"]);
        let answer = Call::new(&args).within(&self.git_dir).input(lines(&taken).as_bytes()).bytes().await?;
        let mut rest = answer.as_slice();
        Ok(is_taken.into_iter().map(|taken| taken.then(|| next_object(&mut rest)).flatten()).collect())
    }

    /// One object as it is, if the repository has it and it is not longer than `limit` bytes.
    pub async fn object(&self, id: &str, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        Ok(self.objects(&[id], limit).await?.pop().flatten())
    }

    /// The commits that `git log` lists for these arguments, within `limit` of time.
    pub async fn log(&self, args: &[&str], limit: Duration) -> Result<Vec<Logged>, GitError> {
        let fixed =
            ["log", "--no-show-signature", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--format=%H %ct %P", "-s"];
        let all = [&fixed[..], args].concat();
        let text = Call::new(&words(&all)).within(&self.git_dir).limit(limit).text().await?;
        Ok(logged(&text))
    }

    /// What all branches and tags point to, as text; equal texts mean that nothing moved.
    pub async fn references(&self) -> Result<String, GitError> {
        Call::new(&words(&["for-each-ref", "--format=%(objectname) %(refname)"])).within(&self.git_dir).text().await
    }

    /// The address that this repository was copied from, if its configuration says one.
    pub async fn origin(&self) -> Option<String> {
        let text = Call::new(&words(&["config", "--local", "--get", "remote.origin.url"])).within(&self.git_dir).text().await.ok()?;
        Some(text.trim().to_owned()).filter(|url| !url.is_empty())
    }
}

fn lines(ids: &[&str]) -> String {
    ids.iter().flat_map(|id| [id, "\n"]).collect()
}

/// The next of the objects in an answer of `cat-file --batch=%(objectsize)`: `size LF content LF`, or
/// `name missing LF`. What is left stays in `rest`.
pub fn next_object(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let size: Option<usize> = std::str::from_utf8(&rest[..end]).ok()?.parse().ok();
    *rest = &rest[end + 1..];
    let size = size?;
    let content = rest.get(..size)?.to_vec();
    *rest = rest.get(size + 1..)?;
    Some(content)
}

/// The entries in an answer of `ls-tree -r -z`.
pub fn listed(listing: &str) -> Vec<Entry> {
    listing.split_terminator('\0').filter_map(entry).collect()
}

/// `mode type object<TAB>path`.
fn entry(record: &str) -> Option<Entry> {
    let (fields, path) = record.split_once('\t')?;
    let mut fields = fields.split(' ');
    let (mode, _, id) = (fields.next()?, fields.next()?, fields.next()?);
    let kind = match mode {
        "100755" => EntryKind::Executable,
        "120000" => EntryKind::Link,
        "160000" => EntryKind::Submodule,
        _ => EntryKind::File,
    };
    Some(Entry { kind, id: id.to_owned(), path: path.to_owned() })
}

/// The commits in an answer of `log --format='%H %ct %P'`.
pub fn logged(text: &str) -> Vec<Logged> {
    text.lines().filter_map(commit).collect()
}

fn commit(line: &str) -> Option<Logged> {
    let mut words = line.split_whitespace();
    Some(Logged { id: words.next()?.to_owned(), committed_at: words.next()?.parse().ok()?, parent: words.next().map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lies_about_its_length_gives_nothing() {
        let mut rest = &b"3\nabc\n0\n\nx missing\n99\nab\n"[..];
        assert_eq!(next_object(&mut rest).as_deref(), Some(&b"abc"[..]));
        assert_eq!(next_object(&mut rest).as_deref(), Some(&b""[..]));
        assert_eq!(next_object(&mut rest), None);
        assert_eq!(next_object(&mut rest), None);
    }
}
