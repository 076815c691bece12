//! What all local registries have in common: something watches them, and something is published to them.

use crate::node::Builds;
use crate::origin::Content;

/// A registry that something can be published to.
pub(crate) trait Registry {
    /// Whether builds need more of the world than this registry.
    const REACHES_OUT: bool = false;
    /// The end of the name of what [`Content::OneFileMore`] ships.
    const ONE_FILE_MORE: &str;
    /// The lines of a node's configuration that watch the package `watched-demo` of it and, where builds run,
    /// say what they need.
    fn watch(&self, builds: Builds) -> String;
    /// Publishes a version of `watched-demo` with the ordinary client. Gives back its files, as jobs name them.
    fn release(&self, version: &str, content: Content) -> Vec<String>;
    /// The same where nothing is built.
    fn publish(&self, version: &str) -> Vec<String> {
        self.release(version, Content::AsTagged)
    }
}
