//! What a person sees: progress, the table, the commands to try; and the JSON lines.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use quorate_proto::dsse::Envelope;
use quorate_proto::result::{Outcome, RESULT_ENVELOPE_BYTES_MAX, RebuildResult};
use quorate_proto::statement::Statement;
use serde_json::{Value, json};

use crate::cases::{Case, Expected};
use crate::network::Network;
use quorate_devnet::process;

/// How often the coordinator is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long witnesses may take to cosign what is logged.
const COSIGNED_WITHIN: Duration = Duration::from_secs(30);

/// One artifact with its verdict.
#[derive(Debug)]
pub(crate) struct Row {
    case: Case,
    verdict: Value,
    liar: Option<String>,
    outcomes: Vec<Outcome>,
    /// What `quorate verify --bundle` says, which believes nobody.
    recomputed: Option<String>,
}

/// A line for people.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// The folder to work in: a new one.
pub(crate) fn new_folder(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("quorate-devnet-{}", std::process::id())));
    if dir.exists() {
        bail!("`{}` is there already: name a folder that is not, with --dir", dir.display());
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("making `{}`", dir.display()))?;
    let dir = dir.canonicalize()?;
    dir.to_str().map(PathBuf::from).with_context(|| format!("`{}` is not text: name another folder with --dir", dir.display()))
}

/// Waits until every operator has voted on every case; answers the rows and the seconds it took.
pub(crate) async fn until_all_have_voted(network: &Network, cases: &[Case], within: Duration) -> anyhow::Result<(Vec<Row>, f64)> {
    let (started, client) = (Instant::now(), reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?);
    let bar = ProgressBar::new((cases.len() * network.operators) as u64);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} votes  {msg}")?);
    loop {
        let mut rows = Vec::new();
        for case in cases {
            rows.push(Row::look(&client, network, case).await?);
        }
        bar.set_position(rows.iter().map(|row| row.voted() as u64).sum());
        bar.set_message(rows.iter().map(Row::short).collect::<Vec<_>>().join("  "));
        if rows.iter().all(|row| row.voted() == network.operators) {
            bar.finish_and_clear();
            let seconds = started.elapsed().as_secs_f64();
            for row in &mut rows {
                row.recompute(network).await?;
            }
            return Ok((rows, seconds));
        }
        if started.elapsed() > within {
            bar.finish_and_clear();
            print_table(&rows);
            bail!("not every operator has voted after {} s; the nodes' logs are in the folder above", within.as_secs());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Opens the drill, and looks whom a monitor, who reads nothing but the log, names for agreeing with it. Whether that
/// is the operator that lies and nobody else.
pub(crate) async fn until_drill_names_the_liar(network: &Network) -> anyhow::Result<bool> {
    let Some(drill) = &network.drill else { return Ok(true) };
    let opened = network.open(drill).await?;
    let policy = network.policy.to_str().context("the folder's name was checked to be text")?;
    let monitor = ["monitor", "--once", "--format", "json", "--server", &network.address, "--policy", policy];
    let started = Instant::now();
    let named = loop {
        let (code, printed) = process::ask("quorate", &monitor).await?;
        let said: Value = serde_json::from_str(&printed).context("reading what `monitor` prints")?;
        let drills = said["marks"].as_array().into_iter().flatten().filter(|mark| mark["kind"] == "drill");
        let named: Vec<_> = drills.filter_map(|mark| mark["name"].as_str().map(str::to_owned)).collect();
        // The opening may not yet be under a checkpoint that enough witnesses have cosigned.
        if code == Some(0) && !named.is_empty() || started.elapsed() > COSIGNED_WITHIN {
            break named;
        }
        tokio::time::sleep(ASK_EVERY).await;
    };
    say(&format!("drill {}: agreed with the backdoor, by the log alone: {}", opened["status"], named.join(", ")));
    Ok(named.iter().eq(&network.liar))
}

/// The verdicts as a table.
pub(crate) fn print_table(rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{:<40} {:<14} {:>5} {:>6} {:>6}  {:<14} NOTE", "ARTIFACT", "STATE", "AGREE", "DIFFER", "FAILED", "EXPECTED");
    for row in rows {
        let number = |field: &str| row.verdict[field].to_string();
        let mark = if row.is_as_expected() { "yes" } else { "NO" };
        let expected = format!("{} {mark}", row.case.expected.state());
        let _ = writeln!(
            out,
            "{:<40} {:<14} {:>5} {:>6} {:>6}  {:<14} {}",
            row.case.file,
            row.state(),
            number("agree"),
            number("differ"),
            number("failed"),
            expected,
            row.note()
        );
    }
    let _ = writeln!(out);
}

/// Where to look, and what to type.
pub(crate) fn print_what_to_try(network: &Network, rows: &[Row]) {
    let client = process::program("quorate").map_or_else(|_| "quorate".to_owned(), |path| path.display().to_string());
    say(&format!("dashboard   {}/", network.address));
    say("try         (in another terminal; Ctrl-C here ends the network)");
    say(&format!("  export QUORATE_SERVER={} QUORATE_POLICY={}", network.address, network.policy.display()));
    for row in rows {
        say(&format!("  {client} verify {}", row.case.digest));
    }
    if let Some(row) = rows.iter().find(|row| row.state() == "suspect") {
        say(&format!("  {client} explain {}", row.case.digest));
        say(&format!("  {client} bundle {} -o suspect.quorate && {client} verify --bundle suspect.quorate", row.case.digest));
    }
    if let Some(witness) = network.witnesses.first() {
        say(&format!("  {client} monitor --once --witness {}", witness.url));
    }
    say(&format!("  {client} affected --tool flit_core"));
}

impl Row {
    async fn look(client: &reqwest::Client, network: &Network, case: &Case) -> anyhow::Result<Self> {
        let base = format!("{}/api/v1/artifacts/{}", network.address, case.digest);
        let verdict = get(client, &format!("{base}/verdict")).await?.map_or(Value::Null, |answer| answer["verdict"].clone());
        let results = get(client, &format!("{base}/results")).await?.unwrap_or(Value::Null);
        let outcomes = results["results"].as_array().into_iter().flatten().filter_map(outcome_of).collect();
        let liar = network.liar.clone().filter(|_| matches!(case.expected, Expected::Backdoor { .. }));
        Ok(Self { case: case.clone(), verdict, liar, outcomes, recomputed: None })
    }

    /// Asks the client, which verifies every signature and proof and tallies under the policy: once over the
    /// network into a bundle, then from the bundle alone.
    async fn recompute(&mut self, network: &Network) -> anyhow::Result<()> {
        let (digest, package) = (self.case.digest.to_string(), self.case.package.to_string());
        let bundle = network.policy.with_file_name(format!("{}.quorate", self.case.digest.to_hex()));
        let bundle = bundle.to_str().context("the folder's name was checked to be text")?;
        let policy = network.policy.to_str().context("the folder's name was checked to be text")?;
        let online = ["bundle", &digest, "--package", &package, "--server", &network.address, "--policy", policy, "-o", bundle];
        let offline = ["verify", "--bundle", bundle, "--policy", policy];
        let mut states = Vec::new();
        let started = Instant::now();
        for args in [&online[..], &offline[..]] {
            let (code, state, expected) = loop {
                let (code, printed) = process::ask("quorate", args).await?;
                let state = printed.split_whitespace().next().unwrap_or_default().to_owned();
                let expected = match state.as_str() {
                    "reproduced" | "equivalent" => 0,
                    "pending" | "unbuildable" => 3,
                    _ => 1,
                };
                // There, but not yet under a checkpoint that enough witnesses have cosigned.
                if code != Some(3) || expected == 3 || started.elapsed() > COSIGNED_WITHIN {
                    break (code, state, expected);
                }
                tokio::time::sleep(ASK_EVERY).await;
            };
            if code != Some(expected) {
                bail!("quorate {}: exit code {code:?} for `{state}`", args.join(" "));
            }
            states.push(state);
        }
        self.recomputed = states.pop().filter(|state| states.iter().all(|other| other == state));
        Ok(())
    }

    fn state(&self) -> &str {
        self.verdict["state"].as_str().unwrap_or("none yet")
    }

    fn votes(&self) -> impl Iterator<Item = (&str, &str)> {
        let votes = self.verdict["votes"].as_array().into_iter().flatten();
        votes.map(|vote| (vote["name"].as_str().unwrap_or_default(), vote["ballot"]["says"].as_str().unwrap_or_default()))
    }

    fn voted(&self) -> usize {
        self.votes().filter(|(_, says)| *says != "absent").count()
    }

    fn short(&self) -> String {
        format!("{} {}", self.case.package.name(), self.state())
    }

    /// Nobody who tried could get at the source or the artifact: that says nothing about the network.
    pub(crate) fn is_skipped(&self) -> bool {
        let unavailable = |outcome: &Outcome| matches!(outcome, Outcome::SourceUnavailable { .. } | Outcome::ArtifactUnavailable { .. });
        let liars = usize::from(self.liar.is_some());
        let tried = self.outcomes.len().saturating_sub(liars);
        tried > 0 && self.outcomes.iter().filter(|outcome| unavailable(outcome)).count() == tried
    }

    /// Whether what came out is what must come out.
    pub(crate) fn is_as_expected(&self) -> bool {
        match &self.case.expected {
            _ if self.recomputed.as_deref() != Some(self.state()) => false,
            Expected::Any => true,
            _ if self.is_skipped() => true,
            Expected::State(state) => self.state() == *state,
            Expected::Backdoor { member } => {
                self.state() == "suspect" && self.names(member) && self.dissenter().as_ref() == self.liar.as_ref()
            }
        }
    }

    /// Whether everybody who built names the member.
    fn names(&self, member: &str) -> bool {
        self.outcomes.iter().all(|outcome| match outcome {
            Outcome::Different { differences, .. } => differences.members.iter().any(|difference| difference.member == member),
            other => matches!(other, Outcome::Identical { .. }),
        })
    }

    /// The one operator that says `identical` of a suspect release.
    fn dissenter(&self) -> Option<String> {
        let mut identical = self.votes().filter(|(_, says)| *says == "identical").map(|(name, _)| name.to_owned());
        identical.next().filter(|_| identical.next().is_none())
    }

    fn note(&self) -> String {
        if self.is_skipped() {
            return "SKIPPED: source or artifact cannot be had here".to_owned();
        }
        match (&self.case.expected, self.dissenter()) {
            (Expected::Backdoor { member }, Some(liar)) if self.names(member) => format!("added {member}; {liar} dissents"),
            _ => String::new(),
        }
    }

    /// One line of JSON.
    pub(crate) fn print_json(&self) -> anyhow::Result<()> {
        let line = json!({
            "schemaVersion": 1,
            "package": self.case.package,
            "artifact": self.case.file,
            "digest": self.case.digest,
            "state": self.state(),
            "operators": self.verdict["enrolled"],
            "agree": self.verdict["agree"],
            "differ": self.verdict["differ"],
            "expected": self.case.expected.state(),
            "recomputed": self.recomputed,
            "asExpected": self.is_as_expected(),
            "skipped": self.is_skipped(),
            "note": self.note(),
        });
        writeln!(std::io::stdout(), "{line}").context("printing")
    }
}

/// The outcome that an item's envelope carries.
fn outcome_of(item: &Value) -> Option<Outcome> {
    let envelope = Envelope::parse(item["envelope"].as_str()?.as_bytes(), RESULT_ENVELOPE_BYTES_MAX).ok()?;
    Some(Statement::<RebuildResult>::parse(envelope.payload()).ok()?.predicate.outcome)
}

/// A JSON answer; none while there is nothing under this name.
async fn get(client: &reqwest::Client, url: &str) -> anyhow::Result<Option<Value>> {
    let answer = client.get(url).send().await.with_context(|| format!("asking {url}"))?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    Ok(Some(answer.error_for_status()?.json().await?))
}
