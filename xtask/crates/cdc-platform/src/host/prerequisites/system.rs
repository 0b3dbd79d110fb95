//! Which system this is, and how its package manager is asked for a tool.

use serde::Serialize;

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// Debian, Ubuntu and what is made of them.
    Apt,
    /// Fedora, RHEL and what is made of them.
    Dnf,
    /// The same, before `dnf`.
    Yum,
    /// Alpine.
    Apk,
    /// Arch.
    Pacman,
    /// openSUSE and SLES.
    Zypper,
    /// macOS.
    Brew,
}

impl Manager {
    /// In the order in which a system that says nothing of itself is searched for them.
    const ALL: [Manager; 7] = [
        Manager::Apt,
        Manager::Dnf,
        Manager::Yum,
        Manager::Apk,
        Manager::Pacman,
        Manager::Zypper,
        Manager::Brew,
    ];

    fn program(self) -> &'static str {
        self.install()[0]
    }

    fn install(self) -> &'static [&'static str] {
        match self {
            Manager::Apt => &["apt-get", "install", "--yes"],
            Manager::Dnf => &["dnf", "install", "--assumeyes"],
            Manager::Yum => &["yum", "install", "--assumeyes"],
            Manager::Apk => &["apk", "add", "--no-cache"],
            Manager::Pacman => &["pacman", "-S", "--needed", "--noconfirm"],
            Manager::Zypper => &["zypper", "--non-interactive", "install"],
            Manager::Brew => &["brew", "install"],
        }
    }
}

/// What a package manager may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Java 17 or newer, without a graphical part.
    Java,
    /// Maven.
    Maven,
    /// Python 3 with `venv` and `ensurepip`.
    Python,
    /// What a Python that is there lacks to make virtual environments.
    PythonVenv,
}

/// How a command gets the rights to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It has them.
    Root,
    /// Through `sudo`.
    Sudo,
    /// Not at all: the user must find a way.
    None,
}

/// A system as far as installing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Its name for people.
    pub name: String,
    /// Its package manager, if it is one that is known here.
    pub manager: Option<Manager>,
    /// How to get the rights to use it.
    pub rights: Rights,
    id: String,
    /// Its `default-jre` is older than what Kafka needs.
    old_default_java: bool,
}

impl System {
    /// Knows the system by its name as Rust gives it (`linux`, `macos`), the text of its
    /// os-release(5) file, and which programs are there.
    pub fn detect(
        os: &str,
        os_release: &str,
        root: bool,
        in_path: impl Fn(&str) -> bool,
    ) -> System {
        let field = |key: &str| -> String {
            os_release
                .lines()
                .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']).to_owned())
                .unwrap_or_default()
        };
        let id = field("ID");
        let like = field("ID_LIKE");
        let named = std::iter::once(id.as_str())
            .chain(like.split_whitespace())
            .find_map(|name| family(name, &in_path));
        let manager = match os {
            "macos" => Some(Manager::Brew),
            _ => named.or_else(|| {
                Manager::ALL
                    .into_iter()
                    .find(|manager| in_path(manager.program()))
            }),
        };
        // Mint and others keep Ubuntu's name beside their own.
        let codenames = [field("UBUNTU_CODENAME"), field("VERSION_CODENAME")];
        let old = ["bullseye", "focal", "jammy"];
        let pretty = field("PRETTY_NAME");
        System {
            name: match pretty.is_empty() {
                true => os.to_owned(),
                false => pretty,
            },
            manager,
            rights: match root {
                true => Rights::Root,
                false if in_path("sudo") => Rights::Sudo,
                false => Rights::None,
            },
            id,
            old_default_java: codenames.iter().any(|name| old.contains(&name.as_str())),
        }
    }

    /// The packages that bring a tool; none where the system's repositories do not have it.
    pub fn packages(&self, tool: Tool) -> &'static [&'static str] {
        let Some(manager) = self.manager else {
            return &[];
        };
        match (tool, manager) {
            (Tool::Java, Manager::Apt) if self.old_default_java => &["openjdk-17-jre-headless"],
            (Tool::Java, Manager::Apt) => &["default-jre-headless"],
            (Tool::Java, Manager::Dnf | Manager::Yum) if self.id == "amzn" => {
                &["java-21-amazon-corretto-headless"]
            }
            (Tool::Java, Manager::Dnf | Manager::Yum | Manager::Zypper) => {
                &["java-21-openjdk-headless"]
            }
            (Tool::Java, Manager::Apk) => &["openjdk17-jre-headless"],
            (Tool::Java, Manager::Pacman) => &["jre21-openjdk-headless"],
            (Tool::Java, Manager::Brew) => &["openjdk@21"],
            (Tool::Maven, _) => &["maven"],
            (Tool::Python, Manager::Apt) => &["python3", "python3-venv"],
            (Tool::Python | Tool::PythonVenv, Manager::Pacman | Manager::Brew) => &["python"],
            (Tool::PythonVenv, Manager::Apt) => &["python3-venv"],
            (Tool::Python | Tool::PythonVenv, _) => &["python3"],
        }
    }

    /// What installing alone does not do.
    pub fn after_install(&self, tool: Tool) -> Option<&'static str> {
        match (tool, self.manager) {
            (Tool::Java, Some(Manager::Brew)) => {
                Some("afterwards: export JAVA_HOME=\"$(brew --prefix openjdk@21)\"")
            }
            _ => None,
        }
    }

    /// The one command that installs packages; none for no packages or an unknown system.
    pub fn install(&self, packages: &[&str]) -> Option<Vec<String>> {
        let manager = self.manager.filter(|_| !packages.is_empty())?;
        let words = manager.install().iter().chain(packages);
        let command = words.map(|&word| word.to_owned()).collect();
        Some(match manager {
            Manager::Brew => command,
            _ => self.with_rights(command),
        })
    }

    /// What must run before [`System::install`] on a fresh machine.
    pub fn refresh(&self) -> Option<Vec<String>> {
        match self.manager? {
            Manager::Apt => Some(self.with_rights(vec!["apt-get".into(), "update".into()])),
            _ => None,
        }
    }

    /// The command that creates a system user.
    pub fn create_user(&self, name: &str) -> Vec<String> {
        let words: &[&str] = match self.manager {
            Some(Manager::Apk) => &["adduser", "-S", "-D", "-H"],
            _ => &["useradd", "--system", "--no-create-home"],
        };
        let words = words.iter().copied().chain([name]);
        self.with_rights(words.map(str::to_owned).collect())
    }

    fn with_rights(&self, mut command: Vec<String>) -> Vec<String> {
        if self.rights == Rights::Sudo {
            command.insert(0, "sudo".into());
        }
        command
    }
}

/// The package manager of a distribution by its os-release id.
fn family(id: &str, in_path: &impl Fn(&str) -> bool) -> Option<Manager> {
    Some(match id {
        "debian" | "ubuntu" => Manager::Apt,
        "fedora" | "rhel" | "centos" | "amzn" if !in_path("dnf") && in_path("yum") => Manager::Yum,
        "fedora" | "rhel" | "centos" | "amzn" => Manager::Dnf,
        "alpine" => Manager::Apk,
        "arch" => Manager::Pacman,
        "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" => Manager::Zypper,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(os_release: &str, programs: &[&str]) -> System {
        System::detect("linux", os_release, true, |name| programs.contains(&name))
    }

    fn java(system: &System) -> String {
        let command = system.install(system.packages(Tool::Java));
        command.unwrap_or_default().join(" ")
    }

    #[test]
    fn distributions_are_known_by_their_os_release() {
        for (text, expected) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                "apt-get install --yes default-jre-headless",
            ),
            (
                "ID=debian\nVERSION_CODENAME=bullseye\n",
                "apt-get install --yes openjdk-17-jre-headless",
            ),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\n",
                "apt-get install --yes openjdk-17-jre-headless",
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=virginia\nUBUNTU_CODENAME=jammy\n",
                "apt-get install --yes openjdk-17-jre-headless",
            ),
            (
                "ID=fedora\nVERSION_ID=42\n",
                "dnf install --assumeyes java-21-openjdk-headless",
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                "dnf install --assumeyes java-21-openjdk-headless",
            ),
            (
                "ID=\"amzn\"\nID_LIKE=\"fedora\"\n",
                "dnf install --assumeyes java-21-amazon-corretto-headless",
            ),
            ("ID=alpine\n", "apk add --no-cache openjdk17-jre-headless"),
            (
                "ID=arch\n",
                "pacman -S --needed --noconfirm jre21-openjdk-headless",
            ),
            (
                "ID=manjaro\nID_LIKE=arch\n",
                "pacman -S --needed --noconfirm jre21-openjdk-headless",
            ),
            (
                "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
                "zypper --non-interactive install java-21-openjdk-headless",
            ),
        ] {
            assert_eq!(java(&linux(text, &[])), expected, "{text}");
        }
    }

    #[test]
    fn a_stranger_is_known_by_its_package_manager_or_not_at_all() {
        assert_eq!(
            linux("ID=novelty\n", &["zypper"]).manager,
            Some(Manager::Zypper)
        );
        assert_eq!(linux("", &["yum"]).manager, Some(Manager::Yum));
        assert_eq!(
            linux("ID=\"centos\"\n", &["yum"]).manager,
            Some(Manager::Yum)
        );
        let nixos = linux("ID=nixos\nPRETTY_NAME=NixOS\n", &[]);
        assert_eq!((nixos.manager, java(&nixos)), (None, String::new()));
        assert_eq!(nixos.name, "NixOS");
    }

    #[test]
    fn sudo_is_used_where_it_is_needed_and_there() {
        let debian = "ID=debian\n";
        let user = |programs: &'static [&'static str]| {
            System::detect("linux", debian, false, |name| programs.contains(&name))
        };
        assert!(java(&user(&["sudo"])).starts_with("sudo apt-get "));
        assert!(java(&user(&[])).starts_with("apt-get "));
        assert_eq!(user(&[]).rights, Rights::None);
        assert_eq!(
            user(&["sudo"]).create_user("postgres").join(" "),
            "sudo useradd --system --no-create-home postgres"
        );
        let mac = System::detect("macos", "", false, |name| name == "sudo" || name == "brew");
        assert_eq!(java(&mac), "brew install openjdk@21");
        assert!(mac.after_install(Tool::Java).is_some());
    }

    #[test]
    fn packages_by_tool() {
        let debian = linux("ID=debian\n", &[]);
        assert_eq!(debian.packages(Tool::Python), ["python3", "python3-venv"]);
        assert_eq!(debian.packages(Tool::PythonVenv), ["python3-venv"]);
        assert_eq!(debian.install(&[]), None);
    }
}
