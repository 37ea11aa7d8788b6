//! A setting is called honoured only if code outside of the catalogue reads its typed field.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_metadata::config::{Catalogue, Scope};

/// Where settings are put to use.
const READERS: [&str; 5] = [
    "node",
    "server",
    "cli",
    "coordinators",
    "metadata/src/controller",
];

fn sources(directory: PathBuf, into: &mut String) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_test = path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        if path.is_dir() {
            sources(path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            *into += &fs::read_to_string(path).unwrap();
        }
    }
}

/// `.field` as a whole word that is not a call.
fn is_read(sources: &str, field: &str) -> bool {
    let wanted = format!(".{field}");
    sources.match_indices(&wanted).any(|(at, _)| {
        let next = sources[at + wanted.len()..].chars().next().unwrap_or(' ');
        !(next.is_alphanumeric() || next == '_' || next == '(')
    })
}

#[test]
fn honoured_settings_are_read() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for reader in READERS {
        let before = text.len();
        sources(crates.join(reader), &mut text);
        assert!(text.len() > before, "there is no source in {reader}");
    }
    // Fields that are read through a function of their struct.
    let through = [
        ("max_per_ip_overrides", "per_ip_overrides()"),
        ("internal_segment_bytes", ".segment_bytes"),
        ("compression_kind", ".compression"),
        ("gzip_level", ".compression"),
        ("lz4_level", ".compression"),
        ("zstd_level", ".compression"),
    ];
    let unread: Vec<_> = Catalogue::typed_fields()
        .filter(|(scope, field, setting)| {
            let through = through.iter().find(|(name, _)| name == field);
            let is_read =
                is_read(&text, field) || through.is_some_and(|(_, call)| text.contains(call));
            let counts = *scope == Scope::Topic || *scope == Scope::Node;
            counts && Catalogue::is_honoured(*scope, setting) && !is_read
        })
        .map(|(_, _, setting)| setting)
        .collect();
    assert!(
        unread.is_empty(),
        "nothing reads these: put them into UNREAD of catalogue.rs, or read them: {unread:#?}"
    );
}
