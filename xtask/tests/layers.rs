//! Folders import downwards only, there is no cycle between them, and a type of component is named in its own
//! files only.
//!
//! What a file imports is read from its paths: `crate::...` and `super::...`, outside tests. Crates need
//! no such test among each other: cargo refuses a cycle.

#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use xtask::components::TYPES;
use xtask::profile::backbone::{CONNECT, KAFKA};

/// The folders of `src`, and of the crates below it, from top to bottom. One imports from its own layer, without a cycle, and from
/// the layers below; what stands alone is in the crates.
const LAYERS: [&[&str]; 5] = [
    &["cli", "commands"],
    &["diagnose", "observe", "operate", "reconcile", "up"],
    &["components", "connectors", "flows"],
    &["clients", "environment", "image"],
    &["profile", "render"],
];

/// A folder, what it imports, and a file that does.
type Graph = BTreeMap<String, BTreeMap<String, PathBuf>>;

#[test]
fn no_folder_imports_upwards() {
    let layer = |folder: &str| {
        let found = LAYERS.iter().position(|layer| layer.contains(&folder));
        found.unwrap_or_else(|| panic!("`{folder}` belongs to no layer"))
    };
    let mut upwards = Vec::new();
    let roots = ["src", "crates/cdc-observe/src", "crates/cdc-pipeline/src"];
    let folders = roots.map(|src| graph(&package().join(src)));
    for (folder, imports) in folders.into_iter().flatten() {
        for (import, file) in imports {
            if layer(&import) < layer(&folder) {
                let file = file.display();
                upwards.push(format!(
                    "{folder} imports {import}, which is above it: {file}"
                ));
            }
        }
    }
    assert!(upwards.is_empty(), "{}", upwards.join("\n"));
}

#[test]
fn no_folders_import_each_other() {
    let crates = std::fs::read_dir(package().join("crates")).expect("crates");
    let crates = crates.map(|entry| entry.expect("an entry").path());
    for root in crates.chain([package()]) {
        let graph = graph(&root.join("src"));
        assert_eq!(cycle(&graph), None, "{}", root.display());
    }
}

/// Where types are listed. Their names stand there in paths, never in texts.
const LISTS: [&str; 4] = [
    "crates/cdc-pipeline/src/clients/mod.rs",
    "crates/cdc-pipeline/src/components/mod.rs",
    "crates/cdc-observe/src/diagnose/facts/mod.rs",
    "crates/cdc-observe/src/diagnose/rules/mod.rs",
];

/// Where names are others: examples of help speak of the default profile, and operators have kinds of objects
/// that are called as what they run.
const OTHERS: [&str; 3] = [
    "src/cli",
    "crates/cdc-platform/src/kubernetes/preflight",
    "crates/cdc-platform/src/readiness",
];

/// Kafka and Connect are what every pipeline is made of: all others may ask for them.
#[test]
fn a_type_is_named_in_its_own_files_only() {
    let every_pipeline = [KAFKA.name, CONNECT.name];
    let kinds = TYPES
        .iter()
        .filter(|kind| !every_pipeline.contains(&kind.name));
    let words: BTreeSet<String> = kinds
        .flat_map(|kind| [kind.name, kind.short, kind.title])
        .map(str::to_lowercase)
        .collect();
    let mut files = Vec::new();
    collect(&package().join("src"), &mut files);
    collect(&package().join("crates"), &mut files);
    files.sort();
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).expect("a text");
            (file, text)
        })
        .collect();
    let tests: Vec<PathBuf> = texts
        .iter()
        .flat_map(|(file, text)| {
            let children = children(file);
            let names = test_items(&code(text)).1.into_iter();
            names.map(move |name| children.join(name))
        })
        .collect();
    let mut named = Vec::new();
    let mut read = 0;
    for (file, text) in &texts {
        let path = file.strip_prefix(package()).expect("below");
        let shown = path.display().to_string();
        let parts = path.iter().map(|part| part.to_string_lossy());
        let mut stems = parts.map(|part| part.trim_end_matches(".rs").to_owned());
        let is_own = stems.any(|stem| words.contains(&stem));
        let is_test = tests.iter().any(|test| children(file).starts_with(test));
        let is_other = OTHERS.iter().any(|other| shown.starts_with(other));
        if is_own || is_test || is_other {
            continue;
        }
        read += 1;
        let kept = without(&blanked(text, false), &test_items(&code(text)).0);
        let kept = match LISTS.contains(&shown.as_str()) {
            true => texts_of(&kept),
            false => kept,
        };
        for (number, line) in kept.lines().enumerate() {
            if words.iter().any(|word| line.to_lowercase().contains(word)) {
                named.push(format!("{shown}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(read > 150, "{read}");
    assert!(named.is_empty(), "{}", named.join("\n"));
}

/// The texts of code without comments, each on its line.
fn texts_of(code: &str) -> String {
    let outside = self::code(code);
    let mut outside = outside.chars();
    let texts = code.chars().map(|char| match (char, outside.next()) {
        ('\n', _) => '\n',
        (char, Some(' ')) => char,
        _ => ' ',
    });
    texts.collect()
}

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folders below a crate's `src`; files beside them belong to none, but for one of a folder's name.
fn graph(src: &Path) -> Graph {
    let mut files = Vec::new();
    collect(src, &mut files);
    let codes: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            let code = code(&std::fs::read_to_string(&file).expect("a text"));
            (file, code)
        })
        .collect();
    let tests: Vec<PathBuf> = codes
        .iter()
        .flat_map(|(file, code)| {
            let children = children(file);
            let names = without_tests(code).1.into_iter();
            names.map(move |name| children.join(name))
        })
        .collect();
    let is_folder = |name: &str| src.join(name).is_dir();
    let mut graph = Graph::new();
    for (file, code) in codes {
        let module = module(src, &file);
        let Some(folder) = module.first().filter(|name| is_folder(name)) else {
            continue;
        };
        if tests.iter().any(|test| children(&file).starts_with(test)) {
            continue;
        }
        let entry = graph.entry(folder.clone()).or_default();
        for import in imports(&without_tests(&code).0, module.len()) {
            if is_folder(&import) && import != *folder {
                entry.entry(import).or_insert_with(|| file.clone());
            }
        }
    }
    graph
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Where the modules are that a file declares.
fn children(file: &Path) -> PathBuf {
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => file.with_file_name(""),
        _ => file.with_extension(""),
    }
}

/// The path of a file's module from the crate's root.
fn module(src: &Path, file: &Path) -> Vec<String> {
    let path = children(file);
    let path = path.strip_prefix(src).expect("below the root");
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// A cycle, as the folders on the way.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    fn walk(graph: &Graph, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let last = way.last().cloned().unwrap_or_default();
        for next in graph.get(&last).into_iter().flat_map(BTreeMap::keys) {
            if done.contains(next) {
                continue;
            }
            let closed = way.contains(next);
            way.push(next.clone());
            if closed || walk(graph, way, done) {
                return true;
            }
            way.pop();
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|folder| {
        let mut way = vec![folder.clone()];
        let found = !done.contains(folder) && walk(graph, &mut way, &mut done);
        // What only leads to the cycle is no part of it.
        let begin = way.iter().position(|it| Some(it) == way.last())?;
        found.then(|| way.split_off(begin))
    })
}

/// The code with its comments and texts blanked.
fn code(text: &str) -> String {
    blanked(text, true)
}

/// The code with its comments blanked, and its texts if they are meant; every character keeps its place.
fn blanked(text: &str, texts: bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let word = code.chars().next_back().is_some_and(is_word);
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => quoted(rest, '"'),
            'r' if !word && rest[1..].trim_start_matches('#').starts_with('"') => {
                let hashes = rest[1..].find('"').unwrap_or_default();
                let end = format!("\"{}", "#".repeat(hashes));
                let from = hashes + 2;
                rest[from..]
                    .find(&end)
                    .map_or(rest.len(), |at| from + at + end.len())
            }
            // A lifetime has no quote behind it.
            '\'' if rest[1..].starts_with('\\') => quoted(rest, '\''),
            '\'' if rest.chars().nth(2) == Some('\'') => {
                2 + rest.chars().nth(1).map_or(0, char::len_utf8)
            }
            _ => 0,
        };
        let (part, after) = rest.split_at(length.max(next.len_utf8()));
        if length > 0 && (texts || next == '/') {
            code.extend(
                part.chars()
                    .map(|char| if char == '\n' { '\n' } else { ' ' }),
            );
        } else {
            code.push_str(part);
        }
        rest = after;
    }
    code
}

/// The length of a text in quotes, with both.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, char)| {
        let ends = *char == quote && !escaped;
        escaped = *char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The code without the items that only tests have, and the modules of other files among them.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (items, modules) = test_items(code);
    (without(code, &items), modules)
}

/// A text with parts of it blanked.
fn without(text: &str, parts: &[Range<usize>]) -> String {
    let chars = text.chars().enumerate();
    let is_kept = |at: usize| !parts.iter().any(|part| part.contains(&at));
    chars
        .map(|(at, char)| {
            if is_kept(at) || char == '\n' {
                char
            } else {
                ' '
            }
        })
        .collect()
}

/// Where the items are that only tests have, in characters, and the modules of other files among them.
fn test_items(code: &str) -> (Vec<Range<usize>>, Vec<String>) {
    let (mut items, mut modules, mut from) = (Vec::new(), Vec::new(), 0);
    let attributes = ["#[cfg(test)]", "#[cfg(all(test"];
    let next = |from: usize| {
        let found = attributes.iter().filter_map(|it| code[from..].find(it));
        found.min().map(|at| from + at)
    };
    while let Some(at) = next(from) {
        let item = &code[at..];
        let mut depth = 0;
        let end = item.char_indices().find(|(_, char)| {
            match char {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(char, ';' | '}')
        });
        let end = end.map_or(item.len(), |(at, _)| at + 1);
        let words: Vec<&str> = item[..end].split_whitespace().collect();
        let declared = words.iter().position(|word| *word == "mod");
        if let Some(name) = declared.and_then(|at| words.get(at + 1)?.strip_suffix(';')) {
            modules.push(name.to_owned());
        }
        let first = code[..at].chars().count();
        items.push(first..first + item[..end].chars().count());
        from = at + end;
    }
    (items, modules)
}

/// What the code takes from the crate's root: the first names of its paths. `depth` is how deep below
/// the root the code's module is.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, climbs) in [("crate::", 0), ("super::", 1)] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|char| is_word(char) || char == ':') {
                continue;
            }
            let mut path = &code[at + start.len()..];
            let mut climbed = climbs;
            while let (1.., Some(rest)) = (climbed, path.strip_prefix("super::")) {
                (path, climbed) = (rest, climbed + 1);
            }
            if climbed == 0 || climbed >= depth {
                found.extend(first_names(path));
            }
        }
    }
    found
}

/// The first name of a path, or those of a group.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| path.chars().take_while(|char| is_word(*char)).collect();
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut names, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group[from..at].trim_start()));
                from = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[test]
fn paths_are_found_and_texts_comments_and_tests_are_not() {
    let text = r##"
        use crate::{one::X, two::{Y, deep::Z}};
        use super::super::three;
        use super::near;
        // crate::comment and 'a quote
        fn f<'a>(x: &'a crate::four::T) -> char { "crate::text \" "; r#"crate::raw " "#; '"' }
        #[cfg(test)]
        mod own;
        #[cfg(test)]
        mod tests { use crate::test; fn g() { crate::test::h([0; 2]) } }
        #[cfg(all(test, unix))]
        use crate::test_too;
        macro_rules! m { () => { $crate::five::call() } }
    "##;
    let (code, modules) = without_tests(&code(text));
    let found: Vec<String> = imports(&code, 2).into_iter().collect();
    assert_eq!(found, ["five", "four", "one", "three", "two"]);
    assert_eq!(modules, ["own"]);
}

#[test]
fn a_cycle_is_found_with_its_way() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            let imports = graph.entry((*from).to_owned()).or_default();
            imports.insert((*to).to_owned(), PathBuf::new());
        }
        graph
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    let way = cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(way, Some(["b", "c", "b"].map(str::to_owned).to_vec()));
}
