//! `Generator:` of a wheel, and the versions that it pins. Pure.

use std::fmt;

use pep440_rs::Version;

use crate::registry::pypi::file_name::ProjectName;

/// The program that wrote a wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    /// Its project, normalised.
    pub project: String,
    /// Its version.
    pub version: Version,
}

/// A version that a build must use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The project, normalised.
    pub project: String,
    /// The specifier, such as `==1.2`.
    pub specifier: String,
}

impl Generator {
    /// Understands `flit 3.10.1` and `setuptools (75.6.0)`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        // The published file's word: what is no project's name must not become a line that pip reads.
        let (name, version) = (words.next()?.parse::<ProjectName>().ok()?.as_str().to_owned(), words.next()?);
        let version = version.trim_matches(['(', ')']).parse().ok()?;
        let project = match name.as_str() {
            "flit" => "flit-core".to_owned(),
            "bdist-wheel" => "wheel".to_owned(),
            "poetry" => "poetry-core".to_owned(),
            "uv" => "uv-build".to_owned(),
            _ => name,
        };
        Some(Self { project, version })
    }

    /// What the build must use so that it names the same generator, with what the metadata says of a setuptools that
    /// is not named.
    pub fn pins(&self, setuptools: Option<&str>) -> Vec<Pin> {
        let exactly = Pin { project: self.project.clone(), specifier: format!("=={}", self.version) };
        match self.project.as_str() {
            // Setuptools writes wheels by itself, and names itself, since 70.1.
            "wheel" => {
                let specifier = ["<70.1"].into_iter().chain(setuptools).collect::<Vec<_>>().join(",");
                vec![exactly, Pin { project: "setuptools".to_owned(), specifier }]
            }
            _ => vec![exactly],
        }
    }

    /// The backend object of generators that are backends by themselves.
    pub fn backend(&self) -> Option<&'static str> {
        match self.project.as_str() {
            "flit-core" => Some("flit_core.buildapi"),
            "hatchling" => Some("hatchling.build"),
            "poetry-core" => Some("poetry.core.masonry.api"),
            "pdm-backend" => Some("pdm.backend"),
            _ => None,
        }
    }

    /// The time that this generator gives all members when it is told none.
    pub fn default_time(&self) -> Option<i64> {
        match self.project.as_str() {
            // 2016-01-01
            "flit-core" | "poetry-core" => Some(1_451_606_400),
            // 2020-02-02
            "hatchling" => Some(1_580_601_600),
            _ => None,
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.project, self.specifier)
    }
}
