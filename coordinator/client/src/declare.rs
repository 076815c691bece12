//! `quorate declare`: signs what a person or an operator says in their own name, and hands it in.
//!
//! The only command with a secret key, and one that needs no policy: who listens is for others to decide. What is
//! signed has passed the same door that readers have. `docs/spec/declarations.md`.

mod key;

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use quorate_proto::declaration::{Advisory, DECLARATION_BYTES_MAX, Declaration, Retraction, Revocation, VerifiedDeclaration, Vouch};
use quorate_proto::{Digest, SecretKey, SignerId, Timestamp};
use serde::Serialize;

use crate::answer::{Answer, write_file};
use crate::cli::{Declare, DeclareAdvisory, DeclareRetraction, DeclareRevocation, DeclareVouch, Format, Signing};
use crate::exit::Exit;
use crate::render::line;
use crate::server::Server;
use crate::text::{json_line, plain};
use crate::view::SCHEMA_VERSION;

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeclareView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    digest: Digest,
    declaration: &'a Declaration,
    /// Where it stands in the coordinator's log.
    log_index: Option<u64>,
    written: Option<String>,
}

/// The JSON answer of `declare key`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    key: SignerId,
}

/// Signs, and hands in or writes.
pub(crate) fn run(args: &Declare, server: Option<&str>, format: Format) -> anyhow::Result<Answer> {
    match args {
        Declare::Key(args) => Ok(made(key::generate(&args.file)?.signer_id(), format)),
        Declare::Submit(args) => {
            let declared = VerifiedDeclaration::verify(&read(&args.file)?).with_context(|| format!("reading `{}`", args.file.display()))?;
            hand_in(&declared, server, format)
        }
        Declare::Advisory(args) => finish(&args.signing, |by| advisory(args, by), server, format),
        Declare::Vouch(args) => finish(&args.signing, |by| vouch(args, by), server, format),
        Declare::Revocation(args) => finish(&args.signing, |by| revocation(args, by), server, format),
        Declare::Retraction(args) => finish(&args.signing, |by| retraction(args, by), server, format),
    }
}

/// Who signs, and when.
#[derive(Clone, Copy)]
struct By {
    signer: SignerId,
    signed_at: Timestamp,
}

fn advisory(args: &DeclareAdvisory, By { signer, signed_at }: By) -> Declaration {
    let DeclareAdvisory { digest, package, id, signing } = args;
    let (package, reason) = (package.clone(), signing.reason.clone());
    Declaration::Advisory(Advisory { signer, signed_at, id: id.clone(), digest: *digest, package, reason })
}

fn vouch(args: &DeclareVouch, By { signer, signed_at }: By) -> Declaration {
    let DeclareVouch { digest, rebuilt, until, id, signing } = args;
    let (id, rebuilt, until, reason) = (id.clone(), rebuilt.clone(), until.whole_seconds(), signing.reason.clone());
    Declaration::Vouch(Vouch { signer, signed_at, id, digest: *digest, rebuilt, until, reason })
}

fn revocation(args: &DeclareRevocation, By { signer, signed_at }: By) -> Declaration {
    let DeclareRevocation { node, since, signing, .. } = args;
    Declaration::Revocation(Revocation { signer, signed_at, node: *node, since: *since, reason: signing.reason.clone() })
}

fn retraction(args: &DeclareRetraction, By { signer, signed_at }: By) -> Declaration {
    Declaration::Retraction(Retraction { signer, signed_at, statement: args.statement, reason: args.signing.reason.clone() })
}

fn finish(signing: &Signing, said: impl FnOnce(By) -> Declaration, server: Option<&str>, format: Format) -> anyhow::Result<Answer> {
    let key: SecretKey = key::load(&signing.key)?;
    let by = By { signer: key.signer_id(), signed_at: Timestamp::from(SystemTime::now()).whole_seconds() };
    let declared = said(by).sign(&key).context("signing the declaration")?;
    let Some(path) = &signing.output else { return hand_in(&declared, server, format) };
    write_file(path, declared.bytes())?;
    Ok(answer(&declared, None, Some(path), format))
}

fn hand_in(declared: &VerifiedDeclaration, server: Option<&str>, format: Format) -> anyhow::Result<Answer> {
    let server = Server::at(server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let logged = runtime.block_on(server.declare(declared.bytes()))?;
    Ok(answer(declared, Some(logged.log_index), None, format))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    file.take(DECLARATION_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("reading `{}`", path.display()))?;
    Ok(bytes)
}

fn answer(declared: &VerifiedDeclaration, log_index: Option<u64>, written: Option<&Path>, format: Format) -> Answer {
    let (digest, declaration) = (declared.digest(), declared.declaration());
    let written = written.map(|path| path.display().to_string());
    let stdout = match format {
        Format::Human => human(digest, declaration, log_index, written.as_deref()),
        Format::Json => json_line(&DeclareView {
            schema_version: SCHEMA_VERSION,
            command: "declare",
            exit: Exit::Met.code(),
            digest,
            declaration,
            log_index,
            written,
        }),
    };
    Answer { stdout, notes: Vec::new(), exit: Exit::Met }
}

fn human(digest: Digest, declaration: &Declaration, log_index: Option<u64>, written: Option<&str>) -> String {
    let mut text = format!("{}  {digest}\n", declaration.kind());
    line(&mut text, "about", &plain(&declaration.subject().name));
    line(&mut text, "reason", &plain(declaration.reason()));
    line(&mut text, "signer", &declaration.signer().to_string());
    if let Some(index) = log_index {
        line(&mut text, "log index", &index.to_string());
    }
    if let Some(path) = written {
        line(&mut text, "written", path);
    }
    text
}

fn made(key: SignerId, format: Format) -> Answer {
    let stdout = match format {
        Format::Human => format!("{key}\n"),
        Format::Json => json_line(&KeyView { schema_version: SCHEMA_VERSION, command: "declare key", exit: Exit::Met.code(), key }),
    };
    Answer { stdout, notes: Vec::new(), exit: Exit::Met }
}
