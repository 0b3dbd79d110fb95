use super::*;

const ALL: Needs = Needs {
    postgres: true,
    mongodb: true,
    clickhouse: true,
};

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

fn complete() -> Observed {
    Observed {
        java: found("/usr/bin/java", "17.0.15"),
        java_home: None,
        maven: found("/usr/bin/mvn", "3.8.7"),
        clickhouse: None,
        python: python("3.11.2", &[]),
        mongod: found("/usr/bin/mongod", "8.0.4"),
        user: Ok(Some(105)),
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
    evaluate(ALL, seen, &debian())
        .into_iter()
        .find(|check| check.id == id)
        .expect(id)
}

#[test]
fn a_complete_machine_needs_nothing() {
    let checks = evaluate(ALL, &complete(), &debian());
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
        mongod: None,
        ..complete()
    };
    let checks = evaluate(ALL, &seen, &debian());
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
        clickhouse: found("/usr/bin/clickhouse", "25.8.1"),
        ..broken
    };
    assert_eq!(check(&seen, "clickhouse").status, Status::Ok);
    assert!(
        !evaluate(ALL, &seen, &debian())
            .iter()
            .any(|check| check.id == "python")
    );
}

#[test]
fn external_components_need_nothing() {
    let needs = Needs {
        postgres: false,
        mongodb: false,
        clickhouse: false,
    };
    let seen = Observed {
        python: None,
        mongod: None,
        user: Err("no user".into()),
        ..complete()
    };
    let checks = evaluate(needs, &seen, &debian());
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
        user: Err("there is no user `postgres` or `nobody`".into()),
        ..complete()
    };
    let checks = evaluate(ALL, &seen, &debian());
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
