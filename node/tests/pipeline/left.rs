//! What a build leaves and nobody publishes, recorded around a real build in the real sandbox.

use quorate_proto::build_witness::{Intermediate, Intermediates};
use quorate_proto::{Digest, result::Outcome};

use crate::release::{COPY, WHEEL};
use crate::{built_by, quick};

/// What the backend below leaves in its source tree.
const OBJECT: &str = "an object that no archive ever holds\n";

/// A backend that leaves an object beside copies of its source and of what is published, and caches.
fn leaving(object: &str) -> String {
    format!(
        "import os, shutil, time, zipfile
def build_wheel(out, *_):
    for folder in ('build', '__pycache__', '.cache'):
        os.makedirs(folder, exist_ok=True)
        with open(folder + '/lib.o', 'w') as file:
            file.write({object})
    shutil.copy('backend.py', 'build/backend.py')
    zipfile.ZipFile('payload.bin').extractall('build/lib')
    with open('build/made.log', 'w') as file:
        file.write(str(time.time_ns()) * 9)
    os.symlink('/etc/passwd', 'build/link')
    shutil.copy('payload.bin', out + '/{WHEEL}')
    return '{WHEEL}'
"
    )
}

#[tokio::test]
async fn two_builds_in_two_places_leave_the_same_and_only_what_is_nowhere_published() {
    let backend = leaving(&format!("{OBJECT:?}"));
    let (one, other) = (built_by(&backend, quick()).await, built_by(&backend, quick()).await);
    assert!(matches!(one.outcome, Outcome::Identical { .. }), "{:?}", one.outcome);
    let expected = Intermediate::of(b"src/build/lib.o", &Digest::of(OBJECT.as_bytes()));
    assert_eq!(one.intermediates, Some(Intermediates::new([expected]).unwrap()));
    assert_eq!(one.intermediates, other.intermediates);
}

#[tokio::test]
async fn another_object_is_another_work() {
    let left = async |object: &str| built_by(&leaving(object), quick()).await.intermediates.unwrap();
    assert_ne!(left("'the object of one build, in full'").await, left("'the object of another build, too'").await);
}

#[tokio::test]
async fn a_build_that_only_packs_leaves_nothing() {
    assert_eq!(built_by(COPY, quick()).await.intermediates, None);
}
