//! Work trees with a repository of their own, for build tools that ask git about the tree that they are in.

use std::ffi::OsStr;
use std::path::Path;

use super::command::{Call, words};
use super::{GitError, Repository};

/// Lets a repository hand out a commit that no branch ends in, whoever owns its folder, and leave out
/// contents: the files are there already, and a mirror may lack some.
const UPLOAD_PACK: &str =
    "--upload-pack=git -c safe.directory=* -c uploadpack.allowAnySHA1InWant=true -c uploadpack.allowFilter=true upload-pack";
const FETCH: [&str; 7] = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--filter=blob:none", UPLOAD_PACK];
/// What older readers of repositories understand: nothing of where contents could be had.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
const AUTHOR: [&str; 4] = ["-c", "user.name=quorate", "-c", "user.email=quorate@localhost"];

impl Repository {
    /// Makes the tree in `into`, which has the commit's files already, a repository whose head is `commit`,
    /// without history and without contents.
    pub async fn adopt(&self, commit: &str, into: &Path) -> Result<(), GitError> {
        let git_dir = into.join(".git");
        init(into).await?;
        let url = format!("file://{}", self.path().display());
        let call = |args: Vec<String>| {
            let git_dir = git_dir.clone();
            async move {
                let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
                Call::new(&args).within(&git_dir).reaching_out().text().await
            }
        };
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        call(owned(&[&FETCH[..], &["--", &url, commit]].concat())).await?;
        call(owned(&["update-ref", "--no-deref", "HEAD", commit])).await?;
        call(owned(&["read-tree", "HEAD"])).await?;
        std::fs::write(git_dir.join("config"), CONFIG).map_err(|source| GitError::Run { command: "config".to_owned(), source })
    }
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
