//! A unit of systemd for a schedule. Pure: what stands in it comes from outside.
//!
//! Quoting follows systemd.syntax(7) and systemd.service(5): `%` begins a specifier everywhere, `$` a variable in the
//! arguments of a command, and a list of paths has no escapes at all.

use std::fmt::Write;

use crate::error::{Code, Error, Result};
use crate::printed::quoted;

/// What a unit is made of.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The environment.
    pub profile: String,
    /// Whom it runs as.
    pub user: String,
    /// The program, by its full path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub directory: String,
    /// Variables that it needs to find what this command found.
    pub variables: Vec<(String, String)>,
    /// A file of further variables, which are secret.
    pub secrets: Option<Secrets>,
    /// Where it writes reports: the user makes these directories.
    pub directories: Vec<String>,
    /// What it may write to.
    pub writes: Vec<String>,
    /// Whether what it needs lies below a directory for temporary files, so that it cannot have one of its own.
    pub shares_tmp: bool,
}

/// A file of variables that the user makes.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Its path.
    pub file: String,
    /// The variables that are to stand in it.
    pub names: Vec<&'static str>,
}

impl Unit {
    /// The file's name in `/etc/systemd/system`.
    pub fn file(profile: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let profile: String = profile
            .chars()
            .map(|c| if is_plain(c) { c } else { '-' })
            .collect();
        format!("cdc-reconcile-{profile}.service")
    }

    /// The unit.
    ///
    /// # Errors
    /// A path cannot be written in a unit.
    pub fn text(&self) -> Result<String> {
        let file = Unit::file(&self.profile);
        let mut text = format!(
            "# Nothing was installed. As root:\n\
             #   save this as /etc/systemd/system/{file}\n"
        );
        // Writing to a text cannot fail.
        for directory in &self.directories {
            let (user, directory) = (quoted(&self.user), quoted(directory));
            let _ = writeln!(text, "#   install -d -o {user} {directory}");
        }
        if let Some(secrets) = &self.secrets {
            let names = secrets.names.join("=..., ");
            let path = &secrets.file;
            let _ = writeln!(text, "#   save {names}=... as {path}, mode 0600");
        }
        let _ = write!(
            text,
            "#   systemctl daemon-reload && systemctl enable --now {file}\n\n\
             [Unit]\n\
             Description=Compares source and target of the CDC pipeline {profile}\n\
             Wants=network-online.target\n\
             After=network-online.target\n\n\
             [Service]\n\
             Type=exec\n\
             User={user}\n\
             WorkingDirectory={directory}\n",
            profile = plain("the profile's name", &self.profile)?,
            user = plain("the user's name", &self.user)?,
            directory = plain("the directory", &self.directory)?,
        );
        for (name, value) in &self.variables {
            let _ = writeln!(
                text,
                "Environment={}",
                word(&format!("{name}={value}"), false)
            );
        }
        if let Some(secrets) = &self.secrets {
            let file = plain("the file of secrets", &secrets.file)?;
            let _ = writeln!(text, "EnvironmentFile={file}");
        }
        // Variables are replaced in arguments only.
        let _ = write!(text, "ExecStart={}", word(&self.program, false));
        for argument in &self.arguments {
            let _ = write!(text, " {}", word(argument, true));
        }
        // A stop within a run ends with 130, and is none of systemd's failures; bad input stays bad.
        text += "\n\
             SuccessExitStatus=130\n\
             Restart=on-failure\n\
             RestartPreventExitStatus=3\n\
             RestartSec=30\n\
             NoNewPrivileges=yes\n\
             ProtectSystem=strict\n\
             ProtectHome=read-only\n\
             ProtectKernelTunables=yes\n\
             ProtectKernelModules=yes\n\
             ProtectControlGroups=yes\n\
             RestrictSUIDSGID=yes\n\
             RestrictRealtime=yes\n\
             RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n\
             LockPersonality=yes\n\
             PrivateDevices=yes\n\
             UMask=0077\n";
        if !self.shares_tmp {
            text += "PrivateTmp=yes\n";
        }
        for path in &self.writes {
            let _ = writeln!(text, "ReadWritePaths={}", listed(path)?);
        }
        Ok(text + "\n[Install]\nWantedBy=multi-user.target\n")
    }
}

/// A word of a command or of `Environment`.
fn word(text: &str, has_variables: bool) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '%' => out += "%%",
            '$' if has_variables => out += "$$",
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// A value that goes to the end of its line as it is.
fn plain(what: &str, text: &str) -> Result<String> {
    let is_whole = text.trim() == text && !text.ends_with('\\') && !text.is_empty();
    match is_whole && !text.chars().any(char::is_control) {
        true => Ok(text.replace('%', "%%")),
        false => Err(cannot(what, text)),
    }
}

/// A path of a list.
fn listed(path: &str) -> Result<String> {
    let quote = match path {
        path if !path.contains('"') => '"',
        path if !path.contains('\'') => '\'',
        path => return Err(cannot("the path", path)),
    };
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err(cannot("the path", path));
    }
    let path = path.replace('%', "%%");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./%".contains(c);
    Ok(match path.chars().all(is_plain) {
        true => path,
        false => format!("{quote}{path}{quote}"),
    })
}

fn cannot(what: &str, text: &str) -> Error {
    Error::new(
        Code::Usage,
        format!("{what} {text:?} cannot stand in a unit of systemd"),
    )
    .hint("use one without control characters, backslashes and blanks at its ends")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn unit() -> Unit {
        Unit {
            profile: "shop".into(),
            user: "cdc".into(),
            program: "/opt/my tools/100%/$x/xtask".into(),
            arguments: vec![
                "reconcile".into(),
                "--where".into(),
                "name = 'a \"b\" $c %d' \\ \n;".into(),
                ";".into(),
                String::new(),
            ],
            directory: "/opt/my tools/100%".into(),
            variables: vec![("PATH".into(), "/usr/bin:/a b$c%d".into())],
            secrets: Some(Secrets {
                file: "/etc/cdc-xtask/reconcile-shop.env".into(),
                names: vec!["CDC_ALERT_WEBHOOK"],
            }),
            directories: vec!["/var/my reports/5%".into()],
            writes: vec![
                "/var/lib/cdc-xtask/shop".into(),
                "/var/my reports/5%".into(),
            ],
            shares_tmp: false,
        }
    }

    /// The value of a key, by lines.
    fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.filter(|it| it.0 == key).map(|it| it.1).collect()
    }

    #[test]
    fn what_is_special_to_systemd_is_escaped() {
        let text = unit().text().expect("a unit");
        assert_eq!(
            values(&text, "ExecStart"),
            [
                r#""/opt/my tools/100%%/$x/xtask" reconcile --where "name = 'a \"b\" $$c %%d' \\ \n;" ";" """#
            ]
        );
        assert_eq!(
            values(&text, "Environment"),
            [r#""PATH=/usr/bin:/a b$c%%d""#]
        );
        assert_eq!(values(&text, "WorkingDirectory"), ["/opt/my tools/100%%"]);
        assert_eq!(
            values(&text, "ReadWritePaths"),
            ["/var/lib/cdc-xtask/shop", "\"/var/my reports/5%%\""]
        );
        assert_eq!(values(&text, "PrivateTmp"), ["yes"]);
        assert_eq!(
            values(&text, "EnvironmentFile"),
            ["/etc/cdc-xtask/reconcile-shop.env"]
        );
        let mut shares = unit();
        shares.shares_tmp = true;
        let text = shares.text().expect("a unit");
        assert_eq!(values(&text, "PrivateTmp"), [""; 0]);
    }

    #[test]
    fn what_a_unit_cannot_hold_is_refused() {
        for path in ["/a\nUser=root", "/a\\", "/'\"", " "] {
            let mut odd = unit();
            odd.writes = vec![path.into()];
            let refused = odd.text().is_err();
            odd.writes.clear();
            odd.directory = path.into();
            assert!(refused || odd.text().is_err(), "{path:?}");
        }
        assert_eq!(Unit::file("a/b c"), "cdc-reconcile-a-b-c.service");
    }

    /// A command as systemd reads it, for arguments that it quoted itself.
    fn read(line: &str) -> Vec<String> {
        let (mut words, mut chars) = (Vec::new(), line.chars().peekable());
        while chars.peek().is_some() {
            let mut word = String::new();
            let is_quoted = chars.next_if_eq(&'"').is_some();
            while let Some(c) = chars.next() {
                match (is_quoted, c) {
                    (true, '"') | (false, ' ') => break,
                    (true, '\\') => match chars.next() {
                        Some('n') => word.push('\n'),
                        Some('t') => word.push('\t'),
                        Some('x') => {
                            let hex: String = chars.by_ref().take(2).collect();
                            let code = u8::from_str_radix(&hex, 16).expect("hex");
                            word.push(char::from(code));
                        }
                        other => word.extend(other),
                    },
                    (_, '%' | '$') => {
                        assert_eq!(chars.next(), Some(c), "{line}");
                        word.push(c);
                    }
                    (_, c) => word.push(c),
                }
            }
            if is_quoted {
                chars.next_if_eq(&' ');
            }
            words.push(word);
        }
        words
    }

    proptest::proptest! {
        #[test]
        fn arguments_are_read_as_they_were_given(words in proptest::collection::vec("\\PC{0,8}|[\\x01-\\x7f]{0,8}", 1..5)) {
            let mut unit = unit();
            unit.program = "/xtask".into();
            unit.arguments.clone_from(&words);
            let text = unit.text().expect("a unit");
            let line = values(&text, "ExecStart")[0];
            proptest::prop_assert_eq!(&read(line)[1..], words.as_slice());
        }
    }
}
