//! The image's name as a function of what is put into it. Pure.
//!
//! A git checkout differs between systems where the image must not: line endings on Windows, and
//! modes where the file system has none. So both are decided by a file's content, once, here, and
//! the build uses the decided values: text (no NUL byte) has `\n` line ends, and what begins with
//! `#!` is executable.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::files::hex;

/// Everything that decides what is in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Begins the tag, for people.
    pub version: String,
    /// Reference of the base image.
    pub base: String,
    /// Files of the build context.
    pub files: Vec<File>,
    /// Plugins that are copied in.
    pub plugins: Vec<PluginInput>,
}

/// A file of the build context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Relative path with `/`.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// Content.
    pub content: Vec<u8>,
}

/// A plugin by its archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginInput {
    /// Directory in the image.
    pub name: String,
    /// Maven coordinates.
    pub coordinates: String,
    /// SHA-256 of the archive, in hex.
    pub sha256: String,
}

impl File {
    /// A file as it goes into the image, whatever the checkout made of it.
    pub fn normalized(path: String, content: Vec<u8>) -> Self {
        let content = unix_lines(&content).into_owned();
        File {
            mode: if content.starts_with(b"#!") {
                0o755
            } else {
                0o644
            },
            path,
            content,
        }
    }
}

fn unix_lines(content: &[u8]) -> Cow<'_, [u8]> {
    if content.contains(&0) || !content.windows(2).any(|pair| pair == b"\r\n") {
        return Cow::Borrowed(content);
    }
    let mut out = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if *byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    Cow::Owned(out)
}

impl Inputs {
    /// SHA-256 over all of it, in hex. The order of files and plugins does not matter.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        // Every field carries its length: no two different inputs are the same bytes.
        let mut field = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(b"cdc connect image 1");
        field(self.version.as_bytes());
        field(self.base.as_bytes());
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort();
        field(&(files.len() as u64).to_le_bytes());
        for file in files {
            field(file.path.as_bytes());
            field(&file.mode.to_le_bytes());
            field(&file.content);
        }
        let mut plugins: Vec<&PluginInput> = self.plugins.iter().collect();
        plugins.sort();
        field(&(plugins.len() as u64).to_le_bytes());
        for plugin in plugins {
            field(plugin.name.as_bytes());
            field(plugin.coordinates.as_bytes());
            field(plugin.sha256.as_bytes());
        }
        hex(&hasher.finalize())
    }

    /// The tag: the version and the digest's first twelve digits.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.version, &self.digest()[..12])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> impl Strategy<Value = File> {
        (
            "[a-c/]{1,4}",
            0_u32..4,
            prop::collection::vec(any::<u8>(), 0..4),
        )
            .prop_map(|(path, mode, content)| File {
                path,
                mode,
                content,
            })
    }

    fn plugin() -> impl Strategy<Value = PluginInput> {
        ("[a-c]{0,3}", "[a-c:]{0,4}", "[0-9a-f]{0,4}").prop_map(|(name, coordinates, sha256)| {
            PluginInput {
                name,
                coordinates,
                sha256,
            }
        })
    }

    fn inputs() -> impl Strategy<Value = Inputs> {
        (
            "[0-9.]{0,3}",
            "[a-c:/]{0,4}",
            prop::collection::vec(file(), 0..4),
            prop::collection::vec(plugin(), 0..4),
        )
            .prop_map(|(version, base, files, plugins)| Inputs {
                version,
                base,
                files,
                plugins,
            })
    }

    fn sorted(inputs: &Inputs) -> Inputs {
        let mut inputs = inputs.clone();
        inputs.files.sort();
        inputs.plugins.sort();
        inputs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn order_does_not_matter(inputs in inputs(), turn in 0_usize..4) {
            let mut other = inputs.clone();
            other.files.reverse();
            let len = other.plugins.len();
            if len > 0 {
                other.plugins.rotate_left(turn % len);
            }
            prop_assert_eq!(inputs.digest(), other.digest());
        }

        /// The generated values are short and alike, so that texts which only differ in where one
        /// field ends and the next begins do come up.
        #[test]
        fn equal_digests_mean_equal_inputs(one in inputs(), two in inputs()) {
            prop_assert_eq!(one.digest() == two.digest(), sorted(&one) == sorted(&two));
        }

        #[test]
        fn any_change_of_one_thing_changes_it(inputs in inputs(), added in file(), what in 0_usize..8) {
            let before = inputs.digest();
            let mut after = inputs.clone();
            let file = after.files.first_mut();
            match (what, file) {
                (0, _) => after.version.push('x'),
                (1, _) => after.base.push('x'),
                (2, _) => after.files.push(added),
                (3, Some(file)) => file.mode ^= 0o111,
                (4, Some(file)) => file.content.push(0),
                (5, Some(file)) => file.path.push('x'),
                (6, _) if !after.plugins.is_empty() => after.plugins[0].sha256.push('0'),
                (7, _) if !after.plugins.is_empty() => { after.plugins.remove(0); }
                _ => return Ok(()),
            }
            prop_assert_ne!(before, after.digest());
        }

        #[test]
        fn a_windows_checkout_is_the_same_file(text in "(#!)?[a-z \n]{0,40}") {
            let unix = File::normalized("x".into(), text.clone().into_bytes());
            let windows = File::normalized("x".into(), text.replace('\n', "\r\n").into_bytes());
            prop_assert_eq!(&unix.content, text.as_bytes());
            prop_assert_eq!(unix, windows);
        }
    }

    #[test]
    fn binary_files_and_lone_returns_stay_and_scripts_are_executable() {
        let binary = b"a\0\r\n".to_vec();
        assert_eq!(File::normalized("x".into(), binary.clone()).content, binary);
        let lone = b"a\rb\n".to_vec();
        assert_eq!(File::normalized("x".into(), lone.clone()).content, lone);
        assert_eq!(
            File::normalized("x".into(), b"#!/bin/sh".to_vec()).mode,
            0o755
        );
        assert_eq!(File::normalized("x".into(), b"FROM x".to_vec()).mode, 0o644);
    }

    #[test]
    fn the_tag_is_the_version_and_twelve_digits() {
        let inputs = Inputs {
            version: "3.4.0.Final".into(),
            base: "base".into(),
            files: Vec::new(),
            plugins: Vec::new(),
        };
        assert_eq!(
            inputs.tag(),
            format!("3.4.0.Final-{}", &inputs.digest()[..12])
        );
        assert_eq!(inputs.digest().len(), 64);
    }
}
