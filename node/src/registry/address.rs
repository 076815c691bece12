//! Addresses of registries: what is one, and what it means that there is none.
//!
//! Order everywhere: the package URL's `repository_url`, the configuration, then what the machine's own
//! package client answers. No registry's address stands in this program.

use quorate_proto::Purl;
use url::Url;

/// No registry is known.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A text that is no address.
    #[error("registry address `{text}` (from {origin}) is not an http or https URL")]
    Malformed {
        /// The text.
        text: String,
        /// Who said it.
        origin: &'static str,
    },
    /// A name that could be no suite.
    #[error("`{0}` is no suite of a Debian archive")]
    Suite(String),
    /// Nothing names one and the package client could not be asked.
    #[error("no registry address: none is configured and `{client}` names none")]
    Unknown {
        /// The client that was asked.
        client: String,
    },
}

/// The registry that a package URL names.
pub fn named_by(package: &Purl) -> Option<Result<Url, AddressError>> {
    package.qualifier("repository_url").map(|text| parse(text, "the package URL"))
}

/// Reads an address that `origin` states.
pub fn parse(text: &str, origin: &'static str) -> Result<Url, AddressError> {
    let url = text.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| AddressError::Malformed { text: text.chars().take(200).collect(), origin })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_package_url_can_name_its_registry() {
        let package: Purl = "pkg:pypi/a@1?repository_url=http://registry.example/simple".parse().unwrap();
        assert_eq!(named_by(&package).unwrap().unwrap().as_str(), "http://registry.example/simple");
        let package: Purl = "pkg:pypi/a@1?repository_url=file:///etc".parse().unwrap();
        assert!(named_by(&package).unwrap().is_err());
    }
}
