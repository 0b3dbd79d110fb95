use super::*;

/// What the types of components say that the default profile has.
fn all() -> Needed {
    let server = InPath {
        name: "mongod",
        why: "optional",
        without: Without::LeftOut {
            packages: &[(Manager::Brew, &["mongodb"])],
            page: "https://mongodb.example",
        },
    };
    let target = InPath {
        name: "clickhouse",
        why: "the target",
        without: Without::Python {
            why: "runs it",
            oldest: (3, 9),
        },
    };
    let refuses_root = Some(RefusesRoot {
        title: "PostgreSQL",
        user: "postgres",
    });
    let program = |program| Needs {
        program: Some(program),
        ..Needs::default()
    };
    let own = Needs {
        maven: &["Kafka", "PostgreSQL"],
        memory: Some("heap"),
        refuses_root,
        ..Needs::default()
    };
    let components = [
        ("own", own),
        ("documents", program(server)),
        ("more", program(server)),
        ("target", program(target)),
    ];
    Needed::of(components)
}

fn found(path: &str, version: &str) -> Option<Found> {
    Some(Found {
        path: path.into(),
        version: Some(version.into()),
    })
}

fn python(version: &str, lacks: &[&str]) -> Option<Python> {
    Some(Python {
        found: found("/usr/bin/python3", version)?,
        lacks: Some(Ok(lacks.iter().map(|&name| name.to_owned()).collect())),
    })
}

fn programs(there: &[(&'static str, &str)]) -> BTreeMap<&'static str, Found> {
    let at = |name: &str, version| found(&format!("/usr/bin/{name}"), version);
    let there = there.iter();
    there
        .filter_map(|(name, version)| Some((*name, at(name, version)?)))
        .collect()
}

fn complete() -> Observed {
    Observed {
        java: found("/usr/bin/java", "17.0.15"),
        java_home: None,
        maven: found("/usr/bin/mvn", "3.8.7"),
        programs: programs(&[("mongod", "8.0.4")]),
        python: python("3.11.2", &[]),
        users: BTreeMap::from([("postgres", Ok(Some(105)))]),
        directories: vec![Directory {
            id: "state",
            path: Some("/var/lib/cdc-xtask/x".into()),
            problem: None,
        }],
        disk: vec![("/var".into(), 9_000_000_000)],
        memory: Some(4_000_000_000),
        docker: Ok("27.1".into()),
        ports: vec![Port {
            key: "kafka.port".into(),
            number: 9092,
            holder: Holder::Nobody,
        }],
    }
}

fn debian() -> System {
    System::detect(
        "linux",
        "ID=debian\nVERSION_CODENAME=bookworm\n",
        false,
        |name| name == "sudo",
    )
}

fn check(seen: &Observed, id: &str) -> Check {
    evaluate(&all(), seen, &debian())
        .into_iter()
        .find(|check| check.id == id)
        .expect(id)
}

#[test]
fn a_complete_machine_needs_nothing() {
    let checks = evaluate(&all(), &complete(), &debian());
    for check in &checks {
        assert_eq!(check.status, Status::Ok, "{check:?}");
    }
    assert!(fixes(&checks, &debian()).is_empty());
}

#[test]
fn everything_that_is_missing_comes_with_one_call() {
    let seen = Observed {
        java: None,
        maven: None,
        python: python("3.11.2", &["ensurepip"]),
        programs: programs(&[]),
        ..complete()
    };
    let checks = evaluate(&all(), &seen, &debian());
    let blocking: Vec<&str> = checks
        .iter()
        .filter(|check| check.status.blocks())
        .map(|check| check.id.as_str())
        .collect();
    assert_eq!(blocking, ["java", "maven", "python"]);
    let commands: Vec<String> = fixes(&checks, &debian())
        .iter()
        .map(|command| command.join(" "))
        .collect();
    assert_eq!(
        commands,
        [
            "sudo apt-get update",
            "sudo apt-get install --yes default-jre-headless maven python3-venv"
        ]
    );
    let mongod = check(&seen, "mongod");
    assert_eq!(mongod.status, Status::OptionalMissing);
    assert!(mongod.install.is_none() && mongod.hint.is_some());
}

#[test]
fn old_versions_are_told_from_new_ones() {
    let with_java = |version: &str, home: Option<&str>| {
        check(
            &Observed {
                java: found("/usr/bin/java", version),
                java_home: home.map(str::to_owned),
                ..complete()
            },
            "java",
        )
    };
    assert_eq!(with_java("1.8.0_402", None).status, Status::TooOld);
    assert_eq!(with_java("21", None).status, Status::Ok);
    assert_eq!(with_java("strange", None).status, Status::Unknown);
    let chosen = with_java("11.0.2", Some("/opt/jdk11"));
    assert!(
        chosen
            .hint
            .expect("a hint")
            .contains("JAVA_HOME=/opt/jdk11")
    );
    for (version, status) in [
        ("3.8.19", Status::TooOld),
        ("3.9.0", Status::Ok),
        ("3.13.1", Status::Ok),
    ] {
        let seen = Observed {
            python: python(version, &[]),
            ..complete()
        };
        assert_eq!(check(&seen, "python").status, status, "{version}");
    }
}

#[test]
fn clickhouse_replaces_python_and_a_python_that_does_not_run_blocks() {
    let broken = Observed {
        python: Some(Python {
            found: Found::default(),
            lacks: Some(Err("pyenv: python3: command not found".into())),
        }),
        ..complete()
    };
    assert!(check(&broken, "python").status.blocks());
    let seen = Observed {
        programs: programs(&[("clickhouse", "25.8.1")]),
        ..broken
    };
    assert_eq!(check(&seen, "clickhouse").status, Status::Ok);
    assert!(
        !evaluate(&all(), &seen, &debian())
            .iter()
            .any(|check| check.id == "python")
    );
}

#[test]
fn external_components_need_nothing() {
    let seen = Observed {
        python: None,
        programs: programs(&[]),
        users: BTreeMap::from([("postgres", Err("no user".into()))]),
        ..complete()
    };
    let checks = evaluate(&Needed::default(), &seen, &debian());
    assert!(checks.iter().all(|check| !check.status.blocks()));
    assert!(
        !checks
            .iter()
            .any(|check| ["python", "mongod", "user"].contains(&check.id.as_str()))
    );
}

#[test]
fn little_room_warns_and_a_taken_port_blocks() {
    let seen = Observed {
        disk: vec![("/".into(), 1_000_000)],
        memory: Some(1_000_000_000),
        docker: Err("no engine".into()),
        ports: vec![Port {
            key: "kafka.port".into(),
            number: 9092,
            holder: Holder::Other("nginx (pid 7)".into()),
        }],
        ..complete()
    };
    assert_eq!(check(&seen, "disk").status, Status::Low);
    assert_eq!(check(&seen, "memory").status, Status::Low);
    assert_eq!(check(&seen, "docker").status, Status::OptionalMissing);
    let port = check(&seen, "port.kafka.port");
    assert_eq!(port.status, Status::Unusable);
    assert_eq!(port.message.as_deref(), Some("taken by nginx (pid 7)"));
    assert!(port.hint.expect("a hint").contains("--ports auto"));
}

#[test]
fn a_missing_user_is_created() {
    let seen = Observed {
        users: BTreeMap::from([(
            "postgres",
            Err("there is no user `postgres` or `nobody`".into()),
        )]),
        ..complete()
    };
    let checks = evaluate(&all(), &seen, &debian());
    assert_eq!(
        fixes(&checks, &debian()),
        [[
            "sudo",
            "useradd",
            "--system",
            "--no-create-home",
            "postgres"
        ]]
    );
}

#[test]
fn what_several_components_need_is_checked_once_and_named() {
    let seen = Observed {
        memory: Some(1),
        ..complete()
    };
    let checks = evaluate(&all(), &seen, &debian());
    let ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(
        ids[..5],
        ["java", "maven", "python", "mongod", "user"],
        "{ids:?}"
    );
    assert_eq!(checks[1].why, "fetches Kafka and PostgreSQL");
    let hint = check(&seen, "memory").hint.expect("a hint");
    assert_eq!(hint, "end something, or lower own.heap");
}

#[test]
fn a_program_is_installed_where_the_package_manager_has_it() {
    let mac = System::detect("macos", "", false, |_| false);
    let seen = Observed {
        programs: programs(&[]),
        ..complete()
    };
    let checks = evaluate(&all(), &seen, &mac);
    let found = checks.iter().find(|check| check.id == "mongod");
    let install = found.and_then(|check| check.install.as_deref());
    assert_eq!(install, Some("brew install mongodb"));
}
