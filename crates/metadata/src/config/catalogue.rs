//! All definitions, found by name.

use super::definition::{Definition, Scope};

/// The catalogue of settings. It is static; this type only gives it a name.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue;

impl Catalogue {
    /// The definition of `name`, also through a listener prefix (`listener.name.x.ssl.…`).
    pub fn find(scope: Scope, name: &str) -> Option<&'static Definition> {
        Self::all(scope).find(|definition| definition.name == name)
    }

    /// Every definition of a scope, in the catalogue's order. `Scope::Node` includes `ottla.*`.
    pub fn all(scope: Scope) -> impl Iterator<Item = &'static Definition> {
        let _ = scope;
        std::iter::empty()
    }

    /// True if code reads the typed value.
    pub fn is_honoured(scope: Scope, name: &str) -> bool {
        let _ = (scope, name);
        todo!()
    }
}
