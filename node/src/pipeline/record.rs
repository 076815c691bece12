//! What is written down while a rebuild runs, and the provenance that comes of it.

use std::collections::BTreeMap;
use std::time::Instant;

use quorate_proto::provenance::{BuildDefinition, BuildMetadata, Provenance, ProvenanceBuilder, ResourceDescriptor, RunDetails};
use quorate_proto::result::{EnvironmentClass, Outcome, RegistryView, Source, Tool};
use quorate_proto::statement::{DigestSet, Subject};
use quorate_proto::{Digest, FileName, Purl, Timestamp};
use serde_json::{Map, Value, json};

use super::bounds::bounded;
use super::ladder::Trial;
use crate::attest::{Finding, FoundProvenance, builder};
use crate::ecosystem::Surroundings;
use crate::environment::Host;
use crate::rebuild::Built;
use crate::release::Release;
use crate::traffic::Fetched;

/// Most tools that a result lists; the provenance has them all.
const TOOLS_LISTED_MAX: usize = 48;

/// A running rebuild.
#[derive(Debug)]
pub(super) struct Record {
    build_type: &'static str,
    host: Surroundings,
    started_at: Timestamp,
    begin: Instant,
    lap_begin: Instant,
    seconds: BTreeMap<String, f64>,
}

impl Record {
    pub(super) fn begin(now: Timestamp, build_type: &'static str, host: &Host) -> Self {
        let begin = Instant::now();
        Self { build_type, host: host.into(), started_at: now, begin, lap_begin: begin, seconds: BTreeMap::new() }
    }

    /// Ends a phase; a phase may come several times.
    pub(super) fn lap(&mut self, phase: &str) {
        let now = Instant::now();
        *self.seconds.entry(phase.to_owned()).or_default() += (now - self.lap_begin).as_secs_f64();
        self.lap_begin = now;
    }

    /// A finding with nothing built.
    pub(super) fn finding(&self, package: Purl, file: FileName, published: Digest, registry: RegistryView, outcome: Outcome) -> Finding {
        Finding {
            file,
            published,
            package,
            registry,
            source: None,
            outcome,
            anomalies: Vec::new(),
            assists: Vec::new(),
            violations: Vec::new(),
            toolchain: Vec::new(),
            environment: self.host.environment.clone(),
            intermediates: None,
            started_at: self.started_at,
            finished_at: self.started_at,
            provenance: None,
            blobs: vec![self.host.inventory.clone()],
            seconds: BTreeMap::new(),
            fetched: Fetched::default(),
            attempts: Vec::new(),
        }
    }

    /// A finding about a trial.
    pub(super) fn finding_of<F>(&self, release: &Release<F>, trial: Trial, attempts: &[Value], now: Timestamp) -> Finding {
        let surroundings = trial.inputs.surroundings.clone().unwrap_or_else(|| self.host.clone());
        let provenance = trial.built.as_ref().map(|built| FoundProvenance {
            subject: vec![Subject::new(built.name.as_str(), built.digest)],
            predicate: self.provenance(release, &trial, built, &surroundings, attempts, now),
        });
        let blank =
            self.finding(release.package.clone(), release.file.clone(), release.digest, release.registry.clone(), trial.outcome.clone());
        let toolchain = toolchain(&trial);
        Finding {
            source: Some(trial.source),
            anomalies: trial.anomalies,
            assists: trial.assists,
            violations: trial.violations,
            toolchain,
            provenance,
            environment: surroundings.environment,
            intermediates: trial.intermediates,
            blobs: [surroundings.inventory].into_iter().chain(trial.report).collect(),
            attempts: attempts.to_vec(),
            ..blank
        }
    }

    /// The finding with its end and its times.
    pub(super) fn close(mut self, finding: Finding, now: Timestamp) -> Finding {
        let total = self.begin.elapsed().as_secs_f64();
        self.seconds.insert("total".to_owned(), total);
        bounded(Finding { finished_at: now, seconds: self.seconds, ..finding })
    }

    fn provenance<F>(
        &self,
        release: &Release<F>,
        trial: &Trial,
        built: &Built,
        surroundings: &Surroundings,
        attempts: &[Value],
        now: Timestamp,
    ) -> Provenance {
        Provenance {
            build_definition: BuildDefinition {
                build_type: self.build_type.to_owned(),
                external_parameters: object(json!({
                    "package": release.package,
                    "artifact": { "name": release.file, "sha256": release.digest.to_hex() },
                    "registry": release.registry.url,
                })),
                internal_parameters: internal(trial, built, attempts),
                resolved_dependencies: dependencies(trial, surroundings),
            },
            run_details: RunDetails {
                builder: ProvenanceBuilder { id: String::new(), version: [(builder().name, builder().version)].into() },
                metadata: BuildMetadata { started_on: self.started_at.whole_seconds(), finished_on: now.whole_seconds() },
            },
        }
    }
}

fn internal(trial: &Trial, built: &Built, attempts: &[Value]) -> Map<String, Value> {
    let mut parameters = trial.described.parameters.clone();
    parameters.insert("rebuiltName".to_owned(), json!(built.name));
    parameters.insert("attempts".to_owned(), json!(attempts));
    parameters
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn dependencies(trial: &Trial, surroundings: &Surroundings) -> Vec<ResourceDescriptor> {
    let class = match surroundings.environment.class {
        EnvironmentClass::Host => "host",
        EnvironmentClass::Rootfs => "rootfs",
    };
    let mut all = vec![source(&trial.source, trial.fetched_from.as_deref())];
    all.push(ResourceDescriptor::file("environment", format!("urn:quorate:environment/{class}/v1"), surroundings.environment.digest));
    all.extend(trial.described.tools.iter().map(own_tool));
    for file in trial.inputs.files.values() {
        let descriptor = ResourceDescriptor::file(file.name.as_str(), file.uri.clone(), file.digest);
        all.push(
            descriptor.with("fetchedFrom", file.url.as_str()).with("sizeBytes", file.size_bytes).with("version", file.version.as_str()),
        );
    }
    all
}

fn own_tool(tool: &Tool) -> ResourceDescriptor {
    let uri = match tool.name.as_str() {
        "pip" => format!("pkg:pypi/pip@{}", tool.version),
        name => format!("pkg:generic/{name}@{}", tool.version),
    };
    let mut descriptor = bare(&tool.name, uri);
    descriptor.digest = tool.digest.map(|sha256| DigestSet { sha256 });
    descriptor.with("version", tool.version.as_str())
}

fn bare(name: &str, uri: String) -> ResourceDescriptor {
    ResourceDescriptor { name: name.to_owned(), uri: Some(uri), digest: None, annotations: Map::new() }
}

fn source(source: &Source, fetched_from: Option<&str>) -> ResourceDescriptor {
    let mut descriptor = bare("source", source.uri.clone());
    descriptor.digest = source.digest.map(|sha256| DigestSet { sha256 });
    for (key, value) in [("commit", &source.commit), ("tree", &source.tree), ("ref", &source.reference), ("directory", &source.directory)] {
        if let Some(value) = value {
            descriptor = descriptor.with(key, value.as_str());
        }
    }
    if let Some(from) = fetched_from {
        descriptor = descriptor.with("fetchedFrom", from);
    }
    descriptor.with("kind", json!(source.kind)).with("foundBy", json!(source.found_by))
}

/// The tools that a result lists, by name. Those that no registry served for this build come before the others
/// where there are too many.
fn toolchain(trial: &Trial) -> Vec<Tool> {
    let mut tools = trial.described.tools.clone();
    // What has no version is an index.
    let fetched = trial.inputs.files.values().filter(|file| !file.version.is_empty());
    tools.extend(fetched.map(|file| Tool { name: file.project.clone(), version: file.version.clone(), digest: Some(file.digest) }));
    tools.truncate(TOOLS_LISTED_MAX);
    tools.sort();
    tools
}
