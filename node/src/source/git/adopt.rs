//! Work trees with a repository of their own, for build tools that ask git about the tree that they are in.

use std::ffi::OsStr;
use std::path::Path;

use super::command::{Call, words};
use super::remote::Depth;
use super::{GitError, Repository};

/// Lets a repository hand out a commit that no branch ends in, whoever owns its folder, and leave out
/// contents: the files are there already, and a mirror may lack some.
const UPLOAD_PACK: &str =
    "--upload-pack=git -c safe.directory=* -c uploadpack.allowAnySHA1InWant=true -c uploadpack.allowFilter=true upload-pack";
const FETCH: [&str; 4] = ["fetch", "--quiet", "--no-recurse-submodules", UPLOAD_PACK];
const ALONE: [&str; 2] = ["--depth=1", "--no-tags"];
/// Tags of older commits come with these by themselves, where the commit is given a name.
const WITH_HISTORY: [&str; 1] = ["--update-shallow"];
const NAME: &str = "refs/remotes/origin/master";
const WITHOUT_CONTENTS: &str = "--filter=blob:none";
/// What older readers of repositories understand: nothing of where contents could be had.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
const AUTHOR: [&str; 4] = ["-c", "user.name=quorate", "-c", "user.email=quorate@localhost"];

/// A commit as the head of a work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where it is had from.
    pub repository: Repository,
    /// The commit.
    pub commit: String,
    /// The whole name of a tag that leads to it, where the work tree is to know one.
    pub tag: Option<String>,
    /// Whether it is to know what led to the commit.
    pub depth: Depth,
}

impl Repository {
    /// Makes the tree in `into`, which has the commit's files already, a repository whose head is `commit`,
    /// without history and without contents.
    pub async fn adopt(&self, commit: &str, into: &Path) -> Result<(), GitError> {
        init(into).await?;
        self.fetch_into(into, &[&ALONE[..], &[WITHOUT_CONTENTS]].concat(), &[commit]).await?;
        settle(commit, into).await
    }

    /// Sends a commit, or what a refspec names, to the repository in the tree `into`.
    async fn fetch_into(&self, into: &Path, options: &[&str], wanted: &[&str]) -> Result<(), GitError> {
        let url = format!("file://{}", self.path().display());
        let args = [&FETCH[..], options, &["--", &url], wanted].concat();
        Call::new(&words(&args)).within(&into.join(".git")).reaching_out().text().await.map(drop)
    }
}

impl Head {
    /// Makes the tree in `into`, which has the commit's files already, what a clone would be: with the commit's
    /// contents where the repository has them all, with the tag, and unchanged.
    pub async fn check_out(&self, into: &Path) -> Result<(), GitError> {
        init(into).await?;
        let (options, commit) = match self.depth {
            Depth::Tips => (&ALONE[..], self.commit.clone()),
            Depth::History => (&WITH_HISTORY[..], format!("+{}:{NAME}", self.commit)),
        };
        let tag = self.tag.as_ref().map(|tag| format!("+{tag}:{tag}"));
        let wanted: Vec<&str> = [commit.as_str()].into_iter().chain(tag.as_deref()).collect();
        // A repository that lacks a content cannot send any.
        if let Err(error) = self.repository.fetch_into(into, options, &wanted).await {
            if error.is_passing() {
                return Err(error);
            }
            self.repository.fetch_into(into, &[options, &[WITHOUT_CONTENTS]].concat(), &wanted).await?;
        }
        settle(&self.commit, into).await?;
        let git_dir = into.join(".git");
        let within = [OsStr::new("--work-tree"), into.as_os_str()];
        let listed = Call::new(&words(&["ls-files", "-z"])).within(&git_dir).bytes().await?;
        // A checkout knows its files by their times, which these have not; contents may be missing on purpose.
        let unchanged = [&within[..], &words(&["update-index", "-z", "--assume-unchanged", "--stdin"])].concat();
        Call::new(&unchanged).within(&git_dir).input(&listed).text().await.map(drop)
    }
}

/// Makes a commit that the tree's repository has its head.
async fn settle(commit: &str, into: &Path) -> Result<(), GitError> {
    let git_dir = into.join(".git");
    Call::new(&words(&["update-ref", "--no-deref", "HEAD", commit])).within(&git_dir).text().await?;
    Call::new(&words(&["read-tree", "HEAD"])).within(&git_dir).text().await?;
    std::fs::write(git_dir.join("config"), CONFIG).map_err(|source| GitError::Run { command: "config".to_owned(), source })
}

/// Makes the files of a folder the one commit of a new repository in it.
pub async fn commit_all(folder: &Path) -> Result<(), GitError> {
    init(folder).await?;
    let git_dir = folder.join(".git");
    let within = [OsStr::new("--work-tree"), folder.as_os_str(), OsStr::new("-C"), folder.as_os_str()];
    for step in [&["add", "--all", "."][..], &["commit", "--quiet", "--message=files"]] {
        let args = [&within[..], &words(&AUTHOR), &words(step)].concat();
        Call::new(&args).within(&git_dir).text().await?;
    }
    Ok(())
}

async fn init(folder: &Path) -> Result<(), GitError> {
    let args = ["-c".as_ref(), "init.defaultBranch=master".as_ref(), "init".as_ref(), "--quiet".as_ref(), "--template=".as_ref()];
    let args: Vec<&OsStr> = args.into_iter().chain([folder.as_os_str()]).collect();
    Call::new(&args).text().await.map(drop)
}
