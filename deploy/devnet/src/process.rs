//! Child processes: started with a log file, waited for by state, ended with the devnet.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a program may take to be ready.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A program that runs until this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    ready: PathBuf,
}

/// The path of a program that was built together with this one.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("`{}` is not there: build it with `cargo build -p {name}`", path.display());
    }
    Ok(path)
}

/// Runs a program to its end; answers what it prints.
pub async fn run(name: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program(name)?).args(args).output().await.with_context(|| format!("running {name}"))?;
    if !output.status.success() {
        bail!("{name} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what {name} prints"))
}

/// Runs a program whose exit code is an answer; answers it and what it prints.
pub async fn ask(name: &str, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    ask_under(&[], name, args).await
}

/// The same under another command, such as `ip netns exec HOST`.
pub async fn ask_under(prefix: &[&str], name: &str, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = command(prefix, name)?.args(args).output().await.with_context(|| format!("running {name}"))?;
    if output.stdout.is_empty() {
        bail!("{name} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn command(prefix: &[&str], name: &str) -> anyhow::Result<Command> {
    let program = program(name)?;
    let Some((first, rest)) = prefix.split_first() else { return Ok(Command::new(program)) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    Ok(command)
}

impl Running {
    /// Starts `name run --config CONFIG`, logging beside the configuration. `data` is its data folder.
    pub fn start(name: &str, config: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::start_under(&[], name, config, data)
    }

    /// The same under another command, which must become the program itself, as `ip netns exec HOST` does.
    pub fn start_under(prefix: &[&str], name: &str, config: &Path, data: &Path) -> anyhow::Result<Self> {
        let log = config.with_extension("log");
        let file = File::create(&log).with_context(|| format!("creating `{}`", log.display()))?;
        let child = command(prefix, name)?
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { child, log, ready: data.join("ready.json") })
    }

    /// What the program says of itself once it listens.
    pub async fn ready(&mut self) -> anyhow::Result<Value> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let said = fs::read(&self.ready).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            if let Some(said) = said.filter(|said| said["pid"].as_u64() == self.child.id().map(u64::from)) {
                return Ok(said);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status} before it was ready; last of `{}`:\n{}", self.log.display(), self.tail());
            }
            if Instant::now() > until {
                bail!("not ready after {READY_WITHIN:?}; last of `{}`:\n{}", self.log.display(), self.tail());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Kills the program and waits for its end.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing a program")
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}
