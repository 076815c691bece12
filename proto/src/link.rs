//! In-toto links: a result said once more in the form that `in-toto-verify` reads.
//!
//! A link says what a step made. It knows neither "equivalent" nor "could not be built": links of operators
//! agree if and only if what they rebuilt is the same, bit for bit. So a link is an export for people who
//! already run in-toto, nothing here reads one, and its payload, whose `_type` is `link`, is refused wherever a
//! statement is asked for. `docs/spec/statements.md`, section "Links".

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::result::RebuildResult;
use crate::statement::{DigestSet, Statement};

/// The name of the step that every link is about. A link's file is `rebuild.<first 8 digits of the key id>.link`.
pub const STEP: &str = "rebuild";

/// The payload of a link.
#[derive(Debug, Serialize)]
struct Link<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    name: &'static str,
    // Operators may find the source in different places, and in-toto asks for equal materials.
    materials: Map<String, Value>,
    products: std::collections::BTreeMap<&'a str, DigestSet>,
    byproducts: Value,
    command: [&'static str; 0],
    environment: Map<String, Value>,
}

/// The payload of the link that says what `result` rebuilt; none if it rebuilt nothing.
pub fn payload(result: &Statement<RebuildResult>) -> Option<Vec<u8>> {
    let rebuilt = result.predicate.outcome.rebuilt()?;
    let file = result.subject.first()?.name.as_str();
    let link = Link {
        kind: "link",
        name: STEP,
        materials: Map::new(),
        products: [(file, DigestSet { sha256: rebuilt.digest })].into(),
        byproducts: json!({ "result": result.predicate.outcome.class(), "feed": result.predicate.feed }),
        command: [],
        environment: Map::new(),
    };
    Some(serde_json::to_vec(&link).expect("links hold nothing that JSON cannot say"))
}
