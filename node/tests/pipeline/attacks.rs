//! Publishers who own the release, its source and a build requirement, and what they can no longer do.

use flate2::Compression;
use flate2::write::GzEncoder;
use quorate_node::attest::Finding;
use quorate_proto::result::{Outcome, Phase, SourceKind};

use crate::index::{Answer, Index, UPLOADED};
use crate::release::{self, COPY, SDIST, WHEEL, sdist_requiring, wheel};
use crate::{Bench, KEY};

const HELPER: &str = "helper-1.0.tar.gz";
const EARLIER: &str = "2024-01-01T00:00:00Z";
/// An upload time that no index gives: an empty one cannot be read.
const NO_TIME: &str = "";

/// Writes the helper's wheel; `steal` runs first and may set `stolen` and `more` members.
const HELPER_BACKEND: &str = "
import json, os, urllib.request, zipfile
def build_wheel(out, *_):
    stolen, more = b'', {}
STEAL
    name = 'helper-1.0-py3-none-any.whl'
    info = 'helper-1.0.dist-info/'
    with zipfile.ZipFile(os.path.join(out, name), 'w') as wheel:
        wheel.writestr('helper.py', 'stolen = ' + repr(stolen))
        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: helper\\nVersion: 1.0\\n')
        wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x 1\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        for path, content in more.items():
            wheel.writestr(path, content)
        wheel.writestr(info + 'RECORD', '')
    return name
";

/// A requirement that is built by pip, with the proxy in reach.
fn helper(steal: &str) -> Vec<u8> {
    let steal = format!("    {}\n", steal.replace('\n', "\n    "));
    let pyproject = "[build-system]\nrequires = []\nbuild-backend = \"back\"\nbackend-path = [\".\"]\n[project]\nname = \"helper\"\nversion = \"1.0\"\n";
    let members = [
        ("pyproject.toml", pyproject.to_owned()),
        ("back.py", HELPER_BACKEND.replace("STEAL\n", &steal)),
        ("PKG-INFO", "Metadata-Version: 2.1\nName: helper\nVersion: 1.0\n".to_owned()),
    ];
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("helper-1.0/{name}"), content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A backdoored wheel beside an honest source that needs the helper; the helper and the release are listed
/// with these times.
async fn helped(steal: &str, backend: &str, released: &str, helped: &str) -> Finding {
    let published = wheel("import os; BACKDOOR = 1\n");
    let source = sdist_requiring(backend, &wheel("BACKDOOR = 0\n"), &["helper"]);
    let mut index = Index::new(Vec::new());
    index.add(WHEEL, released, Answer::Bytes(published));
    index.add(SDIST, released, Answer::Bytes(source));
    index.add(HELPER, helped, Answer::Bytes(helper(steal)));
    let index = index.start().await;
    Bench::new(Some(&index)).rebuild().await.unwrap()
}

#[tokio::test]
async fn a_build_that_fetches_the_published_file_itself_is_not_identical() {
    let steal = "index = 'http://127.0.0.1:3141'
try:
    page = urllib.request.Request(index + '/simple/demo/', headers={'Accept': 'application/vnd.pypi.simple.v1+json'})
    files = json.load(urllib.request.urlopen(page))['files']
    url = [file['url'] for file in files if file['filename'].endswith('.whl')][0]
    stolen = urllib.request.urlopen(index + '/' + url.replace('../', '')).read()
except Exception as error:
    print(error)";
    let replay = "import shutil
def build_wheel(out, *_):
    import helper
    name = '/demo-1.0-py3-none-any.whl'
    if helper.stolen:
        open(out + name, 'wb').write(helper.stolen)
    else:
        shutil.copy('payload.bin', out + name)
    return name[1:]
";
    let finding = helped(steal, replay, NO_TIME, NO_TIME).await;
    assert!(matches!(finding.outcome, Outcome::Different { .. }), "{:?}", finding.outcome);
    assert!(finding.assists.iter().any(|assist| assist.name == "unfiltered-registry"), "{:?}", finding.assists);
    assert!(finding.toolchain.iter().any(|tool| tool.name == "helper"), "the helper did run");
}

#[tokio::test]
async fn a_requirement_that_peeks_while_it_is_fetched_is_a_violation_and_no_retry() {
    let finding = helped(&format!("open('{KEY}').close()\nraise SystemExit(1)"), COPY, UPLOADED, EARLIER).await;
    assert!(matches!(finding.outcome, Outcome::SandboxViolation { phase: Phase::Fetch, .. }), "{:?}", finding.outcome);
}

#[tokio::test]
async fn a_requirement_that_breaks_the_interpreter_fails_the_build_and_not_the_machine() {
    let finding = helped("more['helper-1.0.data/scripts/python'] = 'no program'", COPY, UPLOADED, EARLIER).await;
    let Outcome::BuildFailed { summary, .. } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert!(summary.contains("could not be started"), "{summary}");
}

#[tokio::test]
async fn a_later_attempt_that_cannot_be_made_does_not_hide_a_difference() {
    let mut index = Index::new(vec![(WHEEL, Answer::Bytes(wheel("import os; BACKDOOR = 1\n")))]);
    index.add("needed-1.5-py3-none-any.whl", EARLIER, Answer::Failing(release::wheel_of("needed", "1.5", "")));
    let index = index.start().await;
    let mut bench = Bench::new(Some(&index));
    let backend = format!("{COPY}def get_requires_for_build_sdist(*_):\n    return ['needed']\n");
    release::repository(&bench.folder.path().join("example+demo"), &backend, &wheel("BACKDOOR = 0\n"));
    bench.config.git.mirrors = vec![format!("https://github.com/={}/{{owner}}+{{name}}", bench.folder.path().display()).parse().unwrap()];
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Different { .. }), "{:?}", finding.outcome);
    assert_eq!(finding.source.unwrap().kind, SourceKind::Git);
}
