//! npm packages.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use quorate_proto::result::{Assist, NotAttemptedReason, Phase};
use quorate_proto::{Digest, FileName, Purl, Timestamp};
use semver::Version;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::{Described, Ecosystem, Facilities, Given, ListError, Listed, ToolchainUse, Tried};
use crate::cache::{Currency, digest_of};
use crate::definition::Field;
use crate::environment::npm::machine;
use crate::fetch::{Inputs, npm as fetch};
use crate::plan::npm::era::{self, Basis, Pair, Zlib};
use crate::plan::npm::packer::{self, Packer};
use crate::plan::npm::{self as plan, Attempt, Held, InstalledBy, Told, View, Work};
use crate::plan::{NEAREST_TOOLCHAIN, assist};
use crate::proxy::npm::{Scope, TimeMachine, Withheld};
use crate::rebuild::Built;
use crate::rebuild::npm::bench::{Bench, Equipment};
use crate::rebuild::npm::{self as rebuild, replay};
use crate::registry::address::{self, AddressError};
use crate::registry::npm::Registry;
use crate::registry::npm::address::default_registry;
use crate::registry::{Download, RegistryError};
use crate::release::Release;
use crate::release::npm::{self as release, Archive, Facts, Published};
use crate::resolve::{Candidate, LaidOut, ResolveError, Rung, npm as resolve};
use crate::source::npm::lock::Pins;
use crate::source::npm::{self as source, Project};
use crate::source::tree;
use crate::toolchain::npm::{Source, ToolchainError, entry_point, tool};
use crate::toolchain::{Kind, Toolchain};
use crate::workshop::{BuildError, Failure, Tools, Workshop};

/// npm packages.
#[derive(Debug)]
pub struct Npm {
    facilities: Facilities,
    registry: OnceCell<Url>,
    /// Lines of zlib that were found already, by the artifact's digest.
    replayed: Mutex<BTreeMap<Digest, Option<Zlib>>>,
}

/// One way of building, in all its details.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    work: Work,
    bench: Bench,
    zlib: Option<Zlib>,
    assists: Vec<Assist>,
    /// The source's commit, which scripts ask git for.
    commit: Option<String>,
}

impl Npm {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        Self { facilities, registry: OnceCell::new(), replayed: Mutex::default() }
    }

    /// The registry that the package URL names, else the usual one.
    async fn registry(&self, package: &Purl) -> Result<Registry, AddressError> {
        let base = match address::named_by(package) {
            Some(named) => named?,
            None => self.default_registry().await?,
        };
        Ok(Registry::new(self.facilities.http.clone(), base))
    }

    async fn default_registry(&self) -> Result<Url, AddressError> {
        let configured = self.facilities.registries.get("npm").map(String::as_str);
        Ok(self.registry.get_or_try_init(|| default_registry(configured)).await?.clone())
    }

    /// The line of zlib that compressed the published bytes, by compressing them again.
    async fn zlib(&self, release: &Release<Facts>, basis: &Basis, source: &Source) -> Result<Option<Zlib>, BuildError> {
        let known = || self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zlib) = known().get(&release.digest).copied() {
            return Ok(zlib);
        }
        let mut found = None;
        if !basis.gzip.is_foreign() && release.registry.size_bytes <= replay::REPLAYED_BYTES_MAX {
            let published = tokio::fs::read(&release.path).await?;
            for version in era::representatives(basis) {
                let node = brought(source.get(Kind::Node, &version).await)?;
                let workshop = self.workshop()?;
                if replay::fits(&workshop, &equipment(&node, &node)?, &published, basis.gzip).await? {
                    found = Some(Zlib::of(&version));
                    break;
                }
            }
        }
        known().insert(release.digest, found);
        Ok(found)
    }

    fn workshop(&self) -> io::Result<Workshop> {
        let Facilities { sandbox, limits, decoys, .. } = &self.facilities;
        Workshop::new(&self.facilities.work_dir, Tools { sandbox: sandbox.clone(), limits: limits.clone(), decoys: decoys.clone() })
    }

    /// The tools of one attempt, and what is to be said of them.
    async fn bench(
        &self,
        release: &Release<Facts>,
        date: Option<i64>,
        rank: usize,
        project: &Project,
    ) -> Result<(Bench, Option<Zlib>, Vec<Assist>), BuildError> {
        let facts = &release.facts;
        let set = |name: &str| release.settings.get(&Field::Tool(name.to_owned())).and_then(|text| text.parse().ok());
        let (npm, node) = (set("npm").or(facts.npm_version.clone()), set("node").or(facts.node_version.clone()));
        let packer = packer::packer(&facts.archive, project, date);
        let basis = Basis { npm, node, zlib: None, gzip: packer::gzip_of_npm(&facts.archive, &packer), date };
        if self.facilities.toolchains == ToolchainUse::Machine {
            let own = machine().await?;
            let words = own.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect::<Vec<_>>().join(", ");
            let said = assist(NEAREST_TOOLCHAIN, &words, "only this machine's own node and npm may be used");
            return Ok((Bench { build: own.clone(), pack: own }, None, vec![said]));
        }
        let base = self.default_registry().await.map_err(|error| BuildError::Registry(error.to_string()))?;
        let source = Source { registry: Registry::new(self.facilities.http.clone(), base), cache: self.facilities.cache.clone() };
        let zlib = self.zlib(release, &basis, &source).await?;
        let pairs = era::pairs(&Basis { zlib, ..basis });
        let pack = pairs.get(rank).ok_or_else(|| Failure::found(Phase::Plan, "no further toolchain is known"))?;
        let build = era::builder(pack, date, project.workspace.is_some());
        let mut assists = Vec::new();
        let mut packing = pair(&source, pack, &mut assists).await?;
        let building = if build == *pack { packing.clone() } else { pair(&source, &build, &mut assists).await? };
        if let Packer::Pnpm(wanted) = &packer {
            packing = with_pnpm(&source, &building, wanted, &mut assists).await?;
        }
        Ok((Bench { build: building, pack: packing }, zlib, assists))
    }

    async fn machine(&self, release: &Release<Facts>, work: &Work) -> Result<TimeMachine, BuildError> {
        let lost = |error: AddressError| BuildError::Registry(error.to_string());
        let (pins, scope) = match &work.install {
            Some(install) if matches!(install.by, InstalledBy::ForeignLock(_)) => (install.pins.clone(), Scope::Pinned),
            Some(install) => (install.pins.clone(), Scope::All),
            None => (Pins::default(), Scope::All),
        };
        let withheld = Withheld { name: release.facts.name.clone(), version: release.facts.version.clone(), digest: release.digest };
        let registry = self.registry(&release.package).await.map_err(lost)?;
        Ok(TimeMachine { registry, cutoff: work.cutoff, pins, scope, withheld, cache: self.facilities.cache.clone() })
    }
}

async fn pair(source: &Source, wanted: &Pair, assists: &mut Vec<Assist>) -> Result<Equipment, BuildError> {
    let node = brought(source.get(Kind::Node, &wanted.node).await)?;
    let npm = brought(source.get(Kind::Npm, &wanted.npm).await)?;
    for (got, wanted) in [(&node, &wanted.node), (&npm, &wanted.npm)] {
        if got.version != wanted.to_string() {
            let reason = format!("the registry has no {} {wanted}", got.kind);
            assists.push(assist(NEAREST_TOOLCHAIN, &format!("{} {}", got.kind, got.version), &reason));
        }
    }
    equipment(&node, &npm).map_err(BuildError::Disk)
}

/// pnpm on the node of the day.
async fn with_pnpm(source: &Source, of_day: &Equipment, wanted: &Version, assists: &mut Vec<Assist>) -> Result<Equipment, BuildError> {
    let pnpm = brought(source.get(Kind::Pnpm, wanted).await)?;
    let script = std::path::absolute(entry_point(&pnpm)).map_err(BuildError::Disk)?;
    let folder = std::path::absolute(&pnpm.folder).map_err(BuildError::Disk)?;
    assists.push(assist("packer", &format!("pnpm {}", pnpm.version), "the published manifest was written anew as pnpm writes it"));
    let node = of_day.tools.iter().filter(|tool| tool.name == Kind::Node.name()).cloned();
    let tools = node.chain([tool(&pnpm)]).collect();
    let folders = of_day.folders.iter().cloned().chain([folder]).collect();
    Ok(Equipment { node: of_day.node.clone(), npm: script, folders, tools })
}

fn equipment(node: &Toolchain, npm: &Toolchain) -> io::Result<Equipment> {
    let folders = [node, npm].map(|toolchain| std::path::absolute(&toolchain.folder));
    let [node_program, npm_script] = [entry_point(node), entry_point(npm)].map(std::path::absolute);
    let mut folders = folders.into_iter().collect::<io::Result<Vec<_>>>()?;
    folders.dedup();
    Ok(Equipment { node: node_program?, npm: npm_script?, folders, tools: vec![tool(node), tool(npm)] })
}

fn brought(got: Result<Toolchain, ToolchainError>) -> Result<Toolchain, BuildError> {
    got.map_err(|error| match error {
        ToolchainError::Registry(error) if error.is_passing() => BuildError::Registry(crate::proxy::describe(&error)),
        ToolchainError::Disk(error) => BuildError::Disk(error),
        error => Failure::found(Phase::Plan, crate::proxy::describe(&error)).into(),
    })
}

/// The files of a published package that the source holds.
fn held(tree: &Path, folder: &Path, archive: &Archive) -> Held {
    let mut held = Held::default();
    for (path, member) in &archive.members {
        let Ok(Some(file)) = tree::open(tree, &folder.join(path)) else { continue };
        held.all.insert(path.clone());
        let is_as_long = file.metadata().is_ok_and(|meta| meta.len() == member.size_bytes);
        if is_as_long && digest_of(file).is_ok_and(|(digest, _)| digest == member.digest) {
            held.same.insert(path.clone());
        }
    }
    held
}

impl Ecosystem for Npm {
    type Listing = Published;
    type Facts = Facts;
    type Manifest = (Project, Held);
    type Attempt = Attempt;
    type Plan = BuildPlan;

    const BUILD_TYPE: &'static str = "urn:quorate:build/npm/v1";
    const LADDER: &'static [Rung] = &[Rung::Git, Rung::Debian];
    const GIVEN: Given = Given::Fetched;

    async fn list(&self, package: &Purl, wanted: Option<&FileName>) -> Result<Listed<Published>, ListError> {
        let registry = self.registry(package).await?;
        let observed_at = Timestamp::from(SystemTime::now());
        let packument = registry.packument(&release::name_of(package)?, Currency::Now).await?;
        let published = release::choose(&packument, wanted, package, registry.base().as_str())?;
        let view = release::registry_view(&published, observed_at);
        let refusal = published.entry.integrity().is_empty().then_some(NotAttemptedReason::UnsupportedKind);
        Ok(Listed { file: published.file.clone(), view, refusal, listing: published })
    }

    async fn download(&self, listed: &Listed<Published>, limit: u64) -> Result<Download, RegistryError> {
        let published = &listed.listing;
        let registry = Registry::new(self.facilities.http.clone(), published.tarball.clone());
        registry.download(&published.tarball, &published.entry.integrity(), limit, &self.facilities.cache).await
    }

    async fn facts(&self, listed: Listed<Published>, download: &Download) -> Facts {
        let path = download.path.clone();
        let archive = tokio::task::spawn_blocking(move || release::read_archive(&path)).await;
        let archive = archive.ok().and_then(Result::ok).unwrap_or_default();
        let name = listed.listing.name.clone();
        release::facts(name, &listed.listing, archive)
    }

    async fn candidates(&self, rung: Rung, release: &Release<Facts>) -> Result<Vec<Candidate>, ResolveError> {
        let Facilities { http, cache, git, debian, .. } = &self.facilities;
        match (rung, debian) {
            (Rung::Git, _) => {
                let later = std::future::ready(release.facts.later_repository.iter().cloned().collect());
                git.candidates_or_later(&resolve::wanted(release).await, later, cache).await
            }
            (Rung::Debian, Some(debian)) => resolve::archived(debian, release, http, cache).await,
            (Rung::Debian, None) => Err(ResolveError::None("Debian source archives are turned off".to_owned())),
            (Rung::Index, _) => Err(ResolveError::None("the registry has no sources".to_owned())),
        }
    }

    fn find(&self, release: &Release<Facts>, candidate: &Candidate, tree: &Path) -> Result<(PathBuf, Self::Manifest), ResolveError> {
        let Facts { name, version, directory, archive, .. } = &release.facts;
        let shown = candidate.directory.as_deref().and_then(Path::to_str).or(directory.as_deref());
        let (folder, project) = source::find(tree, name, version, shown)?;
        let held = held(tree, &folder, archive);
        Ok((folder, (project, held)))
    }

    fn next_attempt(&self, tried: &[Tried<Attempt>], release: &Release<Facts>, _candidate: &Candidate) -> Option<Attempt> {
        plan::next_attempt(tried, &release.facts, self.facilities.toolchains)
    }

    async fn plan(
        &self,
        release: &Release<Facts>,
        candidate: &Candidate,
        laid_out: &LaidOut<Self::Manifest>,
        attempt: &Attempt,
    ) -> Result<BuildPlan, BuildError> {
        let is_foreign = |field: &Field| matches!(field, Field::Epoch | Field::Variable(_));
        if let Some(field) = release.settings.keys().find(|field| is_foreign(field)) {
            return Err(Failure::found(Phase::Plan, format!("the definition sets {field}, which no npm build reads")).into());
        }
        let published_at = release.registry.published_at;
        // A source is at most as old as its artifact, and seldom much older; a mirror's times may be its own.
        let date = candidate.time.or(laid_out.time).into_iter().chain(published_at.map(Timestamp::unix_seconds)).min();
        let (project, held) = &laid_out.manifest;
        let (bench, zlib, assists) = self.bench(release, date, attempt.rank, project).await?;
        if attempt.view == View::TodayLowest && project.lock.is_some() {
            return Err(Failure::found(Phase::Plan, "a lock file says what is installed").into());
        }
        let packer = match self.facilities.toolchains {
            ToolchainUse::Machine => Packer::Npm,
            ToolchainUse::Exact => packer::packer(&release.facts.archive, project, date),
        };
        let told = Told { held, commit: candidate.source.commit.as_deref(), packer, published_at, view: attempt.view };
        let work = plan::work(&release.facts, project, &laid_out.folder, told);
        Ok(BuildPlan { assists: [assists, work.assists.clone()].concat(), work, bench, zlib, commit: candidate.source.commit.clone() })
    }

    fn describe(&self, plan: &BuildPlan) -> Described {
        let BuildPlan { work, bench, zlib, assists, .. } = plan;
        let names = |equipment: &Equipment| {
            equipment.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect::<Vec<_>>().join(", ")
        };
        let steps: Vec<_> = work.steps.iter().map(|step| step.script.as_str()).collect();
        let parameters = json!({
            "packedWith": names(&bench.pack),
            "builtWith": names(&bench.build),
            "scripts": steps,
            "keptFiles": work.kept.len(),
            "installedBy": work.install.as_ref().map(|install| format!("{:?}", install.by)),
            "registryCutoff": work.cutoff,
            "version": work.version,
            "zlib": zlib.map(|zlib| format!("{zlib:?}")),
        });
        let Value::Object(parameters) = parameters else { unreachable!("an object literal") };
        let mut tools = bench.pack.tools.clone();
        tools.extend(bench.build.tools.iter().filter(|_| !work.steps.is_empty()).cloned());
        tools.sort();
        tools.dedup();
        Described {
            words: format!("{}; {}", names(&bench.pack), if steps.is_empty() { "packing alone".to_owned() } else { steps.join(", ") }),
            parameters,
            assists: assists.clone(),
            settings: bench.pack.tools.iter().map(|tool| (Field::Tool(tool.name.clone()), tool.version.clone())).collect(),
            tools,
        }
    }

    async fn fetch(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Inputs, BuildError> {
        let commit = plan.commit.as_deref().filter(|_| !plan.work.steps.is_empty());
        fetch::lay_out(workshop, &plan.bench.build, &plan.work, commit)?;
        match &plan.work.install {
            Some(install) => fetch::install(workshop, &plan.bench, install, self.machine(release, &plan.work).await?).await,
            None => Ok(Inputs::default()),
        }
    }

    async fn rebuild(&self, _release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Built, BuildError> {
        rebuild::rebuild(workshop, &plan.bench, &plan.work, &self.facilities.cache).await
    }
}
