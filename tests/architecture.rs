//! The listing of `src/` is the architecture: a room imports only from rooms below it.

use std::fs;
use std::path::{Path, PathBuf};

/// Low to high. Rooms on one line never import each other.
const ORDER: [&[&str]; 14] = [
    &["error"],
    &["sys"],
    &["record"],
    &["repo"],
    &["config"],
    &["lock"],
    &["spool"],
    &["ledger", "index", "legacy"],
    &["store"],
    &["install"],
    &["doctor"],
    &["torture"],
    &["cli"],
    // The programs; `mcp` is a second one, with rooms of its own.
    &["main", "mcp"],
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn level(room: &str) -> usize {
    ORDER
        .iter()
        .position(|level| level.contains(&room))
        .unwrap_or_else(|| panic!("src/{room} has no place in the order"))
}

/// Finds `crate::room` and `git_elf::room` outside comments.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for prefix in ["crate::", "git_elf::"] {
            for (at, _) in line.match_indices(prefix) {
                let rest = &line[at + prefix.len()..];
                let names = match rest.strip_prefix('{') {
                    Some(group) => group.split('}').next().unwrap().split(',').map(str::trim).collect(),
                    None => vec![rest],
                };
                for name in names {
                    let room: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !room.is_empty() {
                        found.push(room);
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_room_imports_a_higher_one_or_its_neighbour() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.retain(|path| !path.ends_with("lib.rs"));
    assert!(files.len() > 30, "the walk found only {} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let room = room_of(&path);
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            // `fault!` is a macro of the crate's root that expands to `sys`.
            let import = if import == "fault" { "sys".to_owned() } else { import };
            if import != room && level(&import) >= level(&room) {
                wrong.push(format!("{}: {room} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_lib_rs_with_its_reason() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let lines: Vec<_> = lib.lines().collect();
    let listed = lines.iter().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let levels: Vec<_> = listed.map(level).collect();
    assert!(levels.is_sorted(), "lib.rs lists the rooms from low to high");
    for level in ORDER.iter().take(ORDER.len() - 1) {
        for room in *level {
            let at = lines.iter().position(|line| *line == format!("pub mod {room};"));
            let at = at.unwrap_or_else(|| panic!("lib.rs has no line for {room}"));
            assert!(lines[at - 1].starts_with("///"), "{room} has no one-line reason in lib.rs");
        }
    }
}

#[test]
fn rooms_are_small_and_main_is_tiny() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let limit = if path.ends_with("src/main.rs") { 40 } else { 500 };
        assert!(lines <= limit, "{} has {lines} lines (limit: {limit})", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "helpers", "common", "manager", "misc"].contains(&name.as_str()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn unsafe_lives_in_sys_alone() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files.into_iter().filter(|path| room_of(path) != "sys") {
        let text = fs::read_to_string(&path).unwrap();
        let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"));
        assert!(!used, "{} uses unsafe", path.display());
    }
}

/// Whatever is printed elsewhere is not escaped, and may command the reader's terminal.
#[test]
fn one_file_prints() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for path in files.into_iter().filter(|path| !path.ends_with("src/cli/output.rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let code =
            text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for way in ["print!(", "println!(", "stdout()", "io::stderr()", "dbg!("] {
                assert!(!line.contains(way), "{} prints by itself: {line}", path.display());
            }
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.extension().is_some_and(|extension| extension == "rs") || path.join("mod.rs").exists();
        if is_module && name != "main" {
            assert!(main.contains(&format!("mod {name};")), "tests/{name} is not in tests/main.rs");
        }
    }
}
