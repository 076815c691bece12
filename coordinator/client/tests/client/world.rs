//! Five operators, a coordinator with a log, and the command in an empty home.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use quorate_proto::bundle::{BUNDLE_FORMAT, Bundle, BundledItem};
use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, SecretKey, Timestamp};
use quorate_tally::{Circumstances, Confirmation, Policy, Verdict, Verifier, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, policy};
use quorate_tlog::merkle::root_over;
use quorate_tlog::{Checkpoint, InclusionProof, Signer, TlogProof, TreeHead, leaf_hash};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::{Reply, serve};

/// The published file's bytes.
pub(crate) const CONTENT: &[u8] = b"the published wheel";

/// The log's origin.
pub(crate) const ORIGIN: &str = "quorate.example/log";

/// Everything that a test starts from.
pub(crate) struct World {
    /// Five operators; the policy asks for three.
    pub(crate) members: Vec<Member>,
    /// The published file.
    pub(crate) artifact: ArtifactId,
    /// What the coordinator hands over.
    pub(crate) items: Vec<FeedItem>,
    /// Checks that the coordinator hands over.
    pub(crate) checks: Vec<FeedItem>,
    /// What people have declared, as the coordinator hands it over.
    pub(crate) declarations: Vec<Vec<u8>>,
    /// Pairs that the coordinator hands over.
    pub(crate) pairs: Vec<[FeedItem; 2]>,
    /// The user's home.
    pub(crate) home: TempDir,
}

/// What the command did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// Nobody has said anything yet.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let artifact = artifact("click", "8.1.8", CONTENT);
        let (items, checks, declarations, pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let world = Self { members: (1..=5).map(Member::new).collect(), artifact, items, checks, declarations, pairs, home };
        world.file("policy.toml", world.policy().as_bytes());
        world.file("logged.toml", world.policy_with_log().as_bytes());
        world.file("click-8.1.8-py3-none-any.whl", CONTENT);
        world
    }

    /// The first members each say one of `outcomes`.
    pub(crate) fn with(outcomes: impl IntoIterator<Item = quorate_proto::result::Outcome>) -> Self {
        let mut world = Self::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let item = world.members[index].says(&world.artifact.clone(), outcome);
            world.items.push(item);
        }
        world
    }

    /// The user's policy without a log.
    pub(crate) fn policy(&self) -> String {
        policy(3, &self.members)
    }

    /// The user's policy with a log.
    pub(crate) fn policy_with_log(&self) -> String {
        format!("{}\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{}\"\n", self.policy(), log(ORIGIN, 7).verifier())
    }

    /// A file in the home.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    /// The published file.
    pub(crate) fn wheel(&self) -> String {
        self.home.path().join("click-8.1.8-py3-none-any.whl").display().to_string()
    }

    /// The verdict that follows from what is handed over, under `policy`.
    pub(crate) fn verdict(&self, policy: &str) -> Verdict {
        let policy = Policy::parse(policy).expect("a policy");
        let verified = |item: &FeedItem| VerifiedStatement::verify_item(item, policy.enrolled()).ok();
        let statements: Vec<_> = self.items.iter().filter_map(verified).collect();
        let proof = |[a, b]: &[FeedItem; 2]| EquivocationProof::verify(a.clone(), b.clone(), policy.enrolled()).ok();
        let proofs: Vec<_> = self.pairs.iter().filter_map(proof).collect();
        let check = |item: &FeedItem| VerifiedEntry::verify_item(item, policy.enrolled()).ok()?.check().cloned();
        let checks: Vec<_> = self.checks.iter().filter_map(check).collect();
        let confirmations = Confirmation::among(&checks, &statements);
        let declared = |envelope: &Vec<u8>| Arc::new(VerifiedDeclaration::verify(envelope).expect("signed"));
        let declarations: Vec<_> = self.declarations.iter().map(declared).collect();
        let known = Circumstances { equivocations: &proofs, confirmations: &confirmations, ..Circumstances::default() };
        let when = Circumstances { declarations: &declarations, ..known };
        tally_as_of(&policy, &self.artifact, &statements, when)
    }

    /// An honest bundle under the policy with a log.
    pub(crate) fn bundle(&self) -> Bundle {
        self.bundle_of(&sign(&self.verdict(&self.policy_with_log())))
    }

    /// A bundle with this verdict, logged.
    pub(crate) fn bundle_of(&self, verdict: &str) -> Bundle {
        let item = |item: &FeedItem| BundledItem::try_from(item).expect("text");
        Bundle {
            format: BUNDLE_FORMAT.to_owned(),
            artifact: self.artifact.clone(),
            verdict: verdict.to_owned(),
            proof: prove(verdict.as_bytes(), &log(ORIGIN, 7)),
            results: self.items.iter().map(item).collect(),
            commitments: Vec::new(),
            checks: self.checks.iter().map(item).collect(),
            declarations: self.declarations.iter().map(|envelope| text(envelope)).collect(),
            equivocations: self.pairs.iter().map(|[a, b]| [item(a), item(b)]).collect(),
        }
    }

    /// What an honest coordinator with the user's own policy answers.
    pub(crate) fn routes(&self) -> BTreeMap<String, Reply> {
        let policy = self.policy();
        let mut routes = self.routes_saying(&sign(&self.verdict(&policy)));
        routes.insert("/api/v1/policy".to_owned(), Reply::Bytes(policy.into_bytes()));
        routes
    }

    /// What a coordinator answers that says `verdict`.
    pub(crate) fn routes_saying(&self, verdict: &str) -> BTreeMap<String, Reply> {
        let at = |part: &str| format!("/api/v1/artifacts/{}{part}", self.artifact.digest);
        let item = |item: &FeedItem| json!({"certificate": text(&item.certificate), "envelope": text(&item.envelope)});
        let pairs: Vec<_> = self.pairs.iter().map(|[a, b]| json!([item(a), item(b)])).collect();
        let [results, checks] = [&self.items, &self.checks].map(|items| items.iter().map(item).collect::<Vec<_>>());
        let declarations: Vec<_> = self.declarations.iter().map(|envelope| text(envelope)).collect();
        let results =
            json!({"artifact": self.artifact, "results": results, "checks": checks, "declarations": declarations, "equivocations": pairs});
        let list = json!({"artifacts": [self.artifact], "truncated": false});
        BTreeMap::from([
            (at(""), reply(&list)),
            (at("/verdict"), reply(&json!({"envelope": verdict, "logIndex": 1, "logSize": 1}))),
            (at("/results"), reply(&results)),
            (at("/bundle"), Reply::Bytes(self.bundle_of(verdict).to_bytes())),
            ("/api/v1/packages".to_owned(), reply(&list)),
        ])
    }

    /// Runs the command with the policy of the home, without a log, against `routes`.
    pub(crate) fn ask(&self, routes: BTreeMap<String, Reply>, arguments: &[&str]) -> Ran {
        let server = serve(routes);
        self.run(&[arguments, &["--server", &server, "--policy", &self.path("policy.toml")]].concat())
    }

    /// The same under the policy that names a log.
    pub(crate) fn ask_logged(&self, routes: BTreeMap<String, Reply>, arguments: &[&str]) -> Ran {
        let server = serve(routes);
        self.run(&[arguments, &["--server", &server, "--policy", &self.path("logged.toml")]].concat())
    }

    /// Verifies a bundle's bytes offline, under the policy that names a log.
    pub(crate) fn check_bundle(&self, bytes: &[u8]) -> Ran {
        let bundle = self.file("some.bundle", bytes).display().to_string();
        self.run(&["verify", "--bundle", &bundle, "--policy", &self.path("logged.toml")])
    }

    /// A path in the home.
    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("the command runs").into()
    }

    /// The command in its home, knowing nothing of the machine around it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code().expect("not killed"), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// The first line of the answer.
    pub(crate) fn first(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

/// A verdict in the coordinator's envelope.
pub(crate) fn sign(verdict: &Verdict) -> String {
    let verifier = Verifier { id: ORIGIN.to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size: 1 };
    let payload = verdict.to_statement(&verifier).to_payload();
    text(Envelope::sign(payload, &SecretKey::from_seed(&[99; 32])).bytes())
}

/// A log's key.
pub(crate) fn log(origin: &str, seed: u8) -> Signer {
    Signer::from_seed(origin.parse().expect("a name"), &[seed; 32])
}

/// The proof that `entry` is number 1 of a log with two entries.
pub(crate) fn prove(entry: &[u8], log: &Signer) -> String {
    let before = leaf_hash(b"another entry");
    let head = TreeHead { size: 2, root: root_over(&[before, leaf_hash(entry)]) };
    let origin = log.verifier().name().as_str().parse().expect("an origin");
    let checkpoint = Checkpoint::new(origin, head).and_then(|checkpoint| checkpoint.sign(log)).expect("signed");
    TlogProof::new(InclusionProof { index: 1, path: vec![before] }, checkpoint).expect("a proof").to_string()
}

/// A JSON answer.
pub(crate) fn reply(value: &Value) -> Reply {
    Reply::Bytes(value.to_string().into_bytes())
}

/// The route of a content-addressed file.
pub(crate) fn blob(bytes: &[u8]) -> (String, Reply) {
    (format!("/api/v1/blobs/{}", Digest::of(bytes)), Reply::Bytes(bytes.to_vec()))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Without digests, keys and commits, which depend on the harness.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut hex = String::new();
    for c in text.chars().chain(['\n']) {
        if matches!(c, '0'..='9' | 'a'..='f') {
            hex.push(c);
            continue;
        }
        masked.push_str(if hex.len() >= 12 { "<hex>" } else { &hex });
        hex.clear();
        masked.push(c);
    }
    masked.pop();
    masked
}

/// JSON that a reader can follow, in the order of its keys.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(&sorted(value)).expect("JSON")
}

/// The same whether or not some crate of the build asks `serde_json` to keep the order of keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let by_key: BTreeMap<_, _> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            by_key.into_iter().collect()
        }
        _ => value.clone(),
    }
}
