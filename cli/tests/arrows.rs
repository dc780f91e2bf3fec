//! The drawing of the house, held against its walls: which crate may know which, where a library may be used, and how
//! large a file may grow. It reads `Cargo.toml`s and sources, and needs nothing else.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crate folder, and the crates of ours that it may depend on. Nobody may depend on `operator`.
const ARROWS: [(&str, &[&str]); 6] = [
    ("crds", &[]),
    ("worker", &["crds"]),
    ("cli", &["crds", "worker"]),
    ("operator", &["crds"]),
    ("e2e", &["crds"]),
    ("bench", &["crds", "worker", "e2e"]),
];

/// A library, and the only places that may use it.
const ROOMS: [(&str, &[&str]); 4] = [
    ("rdkafka", &["worker/src/source", "worker/tests/", "e2e/", "bench/src/bin/", "cli/src/demo"]),
    ("datafusion", &["worker/src/transform", "worker/tests/", "cli/src/demo"]),
    ("parquet", &["worker/src/write", "worker/src/ledger", "worker/tests/", "e2e/", "bench/src/bin/", "cli/src/demo"]),
    ("object_store", &["worker/src/write", "worker/src/store", "worker/src/ledger", "worker/tests/", "e2e/"]),
];

/// Production lines of one file.
const MOST_LINES: usize = 500;
/// Folders below `src/`.
const MOST_FOLDERS: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace's folder").to_owned()
}

/// The crates of the workspace that exist by now.
fn crates() -> Vec<(&'static str, &'static [&'static str])> {
    ARROWS.into_iter().filter(|(name, _)| root().join(name).join("Cargo.toml").is_file()).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// All Rust files of all crates, by their path from the root.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (name, _) in crates() {
        for folder in ["src", "tests", "benches", "examples"] {
            collect(&root().join(name).join(folder), &mut files);
        }
    }
    assert!(files.len() > 10, "only {} files: this test looks in the wrong place", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder that can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("it is below the root").display().to_string();
            files.push((name, read(&path)));
        }
    }
}

/// The names in the dependency tables of a `Cargo.toml`; tests of a crate may depend on what they like, but not on a crate of ours.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            // `[dependencies.name]` is a dependency by itself.
            let (table, name) = section.rsplit_once("dependencies.").unwrap_or((section, ""));
            found.extend((!name.is_empty()).then(|| name.to_owned()));
            inside = table.ends_with("dependencies");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            found.insert(name.trim_matches('"').to_owned());
        }
    }
    found
}

/// A file without its `#[cfg(test)]` modules. A module ends where a line closes it in its first column, as rustfmt writes it.
fn production(source: &str) -> String {
    let mut lines = source.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        // Further attributes may stand between the two.
        let item = lines.by_ref().find(|line| !line.starts_with("#["));
        if item.is_some_and(|item| item.ends_with('{')) {
            lines.by_ref().find(|line| *line == "}");
        }
    }
    kept.join("\n")
}

/// Does the code name this crate in a path, `use` lines included? Comments do not count.
fn uses(source: &str, library: &str) -> bool {
    let path = format!("{library}::");
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|line| {
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            // `crate::parquet::` and `my_parquet::` are ours.
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    })
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.contains("/testing") || name.ends_with("/tests.rs")
}

#[test]
fn crates_depend_only_along_the_arrows() {
    for (name, allowed) in crates() {
        let found = dependencies(&read(&root().join(name).join("Cargo.toml")));
        for ours in found.iter().filter_map(|dependency| dependency.strip_prefix("sluice-")) {
            assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
        }
    }
}

#[test]
fn every_member_of_the_workspace_is_in_the_drawing() {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("the workspace has members");
    for member in members.trim_matches(['[', ']']).split(',').map(|member| member.trim().trim_matches('"')) {
        assert!(ARROWS.iter().any(|(name, _)| *name == member), "{member} is a new crate: draw its arrows");
    }
}

#[test]
fn libraries_live_in_their_rooms() {
    let mut strays = Vec::new();
    for (name, source) in sources() {
        // Unit tests may look at the result with any library; they link nothing into the program.
        let code = if is_test(&name) { source } else { production(&source) };
        for (library, rooms) in ROOMS {
            let allowed = rooms.iter().any(|room| name.starts_with(room)) || is_test(&name);
            if !allowed && uses(&code, library) {
                strays.push(format!("{name} uses {library}, which lives in {rooms:?}"));
            }
        }
    }
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

#[test]
fn the_operator_knows_no_data_plane() {
    let manifest = root().join("operator/Cargo.toml");
    if manifest.is_file() {
        let found = dependencies(&read(&manifest));
        for (library, _) in ROOMS {
            assert!(!found.contains(library), "operator must not depend on {library}");
        }
    }
}

#[test]
fn the_worker_knows_nothing_of_kubernetes() {
    let found = dependencies(&read(&root().join("worker/Cargo.toml")));
    for library in ["kube", "k8s-openapi"] {
        assert!(!found.contains(library), "worker must not depend on {library}");
    }
}

#[test]
fn no_file_is_too_long() {
    for (name, source) in sources().into_iter().filter(|(name, _)| !is_test(name)) {
        let lines = production(&source).lines().count();
        assert!(lines <= MOST_LINES, "{name} has {lines} production lines, more than {MOST_LINES}: split it");
    }
}

#[test]
fn a_folder_is_described_beside_it_and_none_is_deep() {
    for (name, _) in sources() {
        assert!(!name.ends_with("/mod.rs"), "{name}: write foo.rs beside foo/ instead");
        let Some((_, below)) = name.split_once("/src/") else { continue };
        let folders = below.matches('/').count();
        assert!(folders <= MOST_FOLDERS, "{name} is {folders} folders below src/, more than {MOST_FOLDERS}");
    }
}

#[test]
fn this_test_can_fail() {
    assert!(uses("use parquet::arrow::ArrowWriter;", "parquet"));
    assert!(uses("    let x = parquet::file::reader();", "parquet"));
    assert!(uses("fn f(x: Option<parquet::X>) {}", "parquet"));
    for ours in ["use crate::parquet::x;", "// parquet::x", "use my_parquet::x;", "use arrow::x;"] {
        assert!(!uses(ours, "parquet"), "{ours}");
    }
    let manifest = "[dependencies]\nsluice-worker.workspace = true\n# no = 1\nb = { path = \"b\" }\n\n[dev-dependencies.c]\nversion = \"1\"\n[lints]\nd = 1\n";
    assert_eq!(dependencies(manifest).into_iter().collect::<Vec<_>>(), ["b", "c", "sluice-worker"]);
    let source = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod more;\nd";
    assert_eq!(production(source), "a\nc\nd");
}
