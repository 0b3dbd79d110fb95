//! `reconcile --print-systemd-unit` and `--print-cronjob`: what runs a schedule where this tool is not started by hand.
//! Nothing is installed, and no password is printed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{context, naming, reconcile, stdout};
use crate::cli::{Format, Global, Monitoring, Reconcile, Repeat};
use crate::environment::{AUTHORITY, Environment, KAFKA_USER, Secrets as EnvironmentSecrets};
use crate::error::{Code, Error, Result};
use crate::operate::pushgateway::Pushgateway;
use crate::operate::webhook::Webhook;
use crate::platform::host::{Dirs, secrets as host_secrets, user};
use crate::platform::{Platform, kind};
use crate::printed::quoted;
use crate::profile::{is_secret, names_secret};
use crate::reconcile::cronjob::{self, CronJob};
use crate::reconcile::systemd::{Secrets, Unit};
use crate::report::Output;
use crate::units::Span;
use crate::up::cluster::kind_name;

/// What of the user's session decides what this tool finds.
const VARIABLES: [&str; 8] = [
    "PATH",
    "KUBECONFIG",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DOCKER_HOST",
    "TZ",
];
/// Directories of temporary files, of which a unit may have its own.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Prints the unit.
///
/// # Errors
/// What was given does not fit, or cannot stand in a unit.
pub(super) fn systemd(global: &Global, args: &Reconcile) -> Result<ExitCode> {
    reconcile::tables(global, args)?;
    let profile = context::profile_name(global)?;
    let secrets = secrets(&args.monitoring)?;
    let program =
        std::env::current_exe().map_err(|source| Error::io("find", "this program", &source))?;
    let root = context::root();
    let state = Dirs::of(&profile)?.state;
    let made = directories(args)?;
    let variables: Vec<(String, String)> = VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let needed = [&program, &root, &state].into_iter().chain(&made);
    let is_temporary = |path: &Path| TEMPORARY.iter().any(|it| path.starts_with(it));
    let shares_tmp = needed.into_iter().any(|it| is_temporary(it))
        || variables.iter().any(|it| is_temporary(Path::new(&it.1)))
        || is_temporary(&naming::path(&root, &global.profile)?);
    let text = |path: &Path| path.display().to_string();
    let mut arguments = words(global, args, &secrets)?;
    arguments.extend(times(&args.repeat));
    let file = text(&Monitoring::secrets_file(&profile));
    let unit = Unit {
        user: user::name(),
        program: text(&program),
        arguments,
        directory: text(&root),
        variables,
        secrets: (!secrets.is_empty()).then_some(Secrets {
            file,
            names: secrets,
        }),
        directories: made.iter().map(|it| text(it)).collect(),
        writes: [&state]
            .into_iter()
            .chain(&made)
            .map(|it| text(it))
            .collect(),
        shares_tmp,
        profile,
    };
    stdout::print(&unit.text()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the objects, and before them the commands that make their Secrets.
///
/// # Errors
/// What was given does not fit, nothing is up, or it is on this machine.
pub(super) fn cronjob(global: &Global, args: &Reconcile) -> Result<ExitCode> {
    reconcile::tables(global, args)?;
    if args.output_dir.is_some() || args.output_file.is_some() {
        let what = "a pod keeps no files: its log has the report";
        return Err(Error::new(Code::Usage, what)
            .hint("leave out --output-dir and --output-file; --format json has the log hold all"));
    }
    let own = context::profile_name(global)?;
    let dirs = Dirs::of(&own)?;
    let Some(platform) = context::remembered_platform(&dirs)? else {
        let what = format!("nothing is up for profile `{own}`");
        return Err(Error::new(Code::NotUp, what).hint("cargo xtask up"));
    };
    let loaded = context::remembered_profile(global)?;
    let root = context::root();
    let env = Environment::new(&root, loaded, platform, EnvironmentSecrets::Existing)?;
    let context = match platform {
        Platform::Host => {
            let what =
                format!("`{own}` runs on this machine, where no pod of a cluster reaches it");
            return Err(Error::new(Code::Usage, what)
                .hint("cargo xtask reconcile --schedule --interval 6h --print-systemd-unit"));
        }
        Platform::Kind => kind::context(&kind_name(&env)),
        Platform::Kubernetes => env.profile.kubernetes.context.clone().unwrap_or_default(),
    };
    let path = naming::path(&root, &global.profile)?;
    let profile = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let variables = secrets(&args.monitoring)?;
    let mut arguments = words(global, args, &variables)?;
    // Its file in the image, and the cluster, whose name may follow from where the file lies here.
    arguments.retain(|it| !it.starts_with("--profile="));
    arguments.push(format!("--profile={profile}"));
    if platform == Platform::Kind {
        arguments.push(format!("--set=kind.name={}", kind_name(&env)));
    }
    let namespaces = env.running().map(|it| {
        env.profile
            .namespace(it.spec.service(&env.profile).1)
            .to_owned()
    });
    let files = state_files(&env);
    let job = CronJob {
        namespace: env.profile.kubernetes.kafka_namespace.clone(),
        namespaces: namespaces
            .chain([env.profile.kubernetes.kafka_namespace.clone()])
            .collect(),
        reads: match env.kafka_asks_for_login() {
            true => vec![AUTHORITY.to_owned(), KAFKA_USER.to_owned()],
            false => Vec::new(),
        },
        context,
        image: args.repeat.image.clone().unwrap_or_default(),
        arguments,
        schedule: args.repeat.when().ok_or_else(|| {
            Error::new(Code::Usage, "when is missing").hint("give --interval or --cron")
        })?,
        files,
        variables,
        profile,
    };
    stdout::print(&cronjob_text(&job, &dirs.state, &own)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What of this machine's state a run needs: what `up` was given, and passwords.
fn state_files(env: &Environment) -> Vec<String> {
    let state = &env.dirs.state;
    let below = |path: PathBuf| {
        let below = path.strip_prefix(state).ok()?;
        path.is_file().then(|| below.display().to_string())
    };
    let passwords = env.profile.components.values();
    let passwords = passwords.map(|it| host_secrets::file(&env.dirs, &it.name));
    std::iter::once(env.dirs.selection())
        .chain(passwords)
        .filter_map(below)
        .collect()
}

fn cronjob_text(job: &CronJob, state: &Path, own: &str) -> Result<String> {
    let kubectl = format!(
        "kubectl --context {} -n {} create secret generic",
        quoted(&job.context),
        job.namespace
    );
    let files: Vec<String> = job
        .files
        .iter()
        .map(|file| {
            let path = state.join(file).display().to_string();
            quoted(&format!("--from-file={}={path}", cronjob::key(file)))
        })
        .collect();
    let mut text = format!(
        "# Nothing was applied. Before this is, on the machine of the environment:\n#   {kubectl} {} {}\n",
        cronjob::name(&job.profile),
        files.join(" ")
    );
    if !job.variables.is_empty() {
        let file = Monitoring::secrets_file(own).display().to_string();
        text += &format!(
            "#   {kubectl} {} {}\n# whose lines are: {}=...\n",
            cronjob::variables_name(&job.profile),
            quoted(&format!("--from-env-file={file}")),
            job.variables.join("=..., ")
        );
    }
    text += &format!(
        "# The image has {} and, below {}, the repository's profiles/, manifests/ and images/.\n",
        cronjob::PROGRAM,
        cronjob::ROOT
    );
    for object in job.objects()? {
        let yaml = serde_yaml::to_string(&object)
            .map_err(|error| Error::new(Code::Io, format!("cannot write YAML: {error}")))?;
        text += &format!("---\n{yaml}");
    }
    Ok(text)
}

/// The variables that hold what must not be printed: a webhook's address, and a Pushgateway's with a password.
fn secrets(monitoring: &Monitoring) -> Result<Vec<&'static str>> {
    let mut names = Vec::new();
    let given = |address: &Option<String>| address.clone().filter(|it| !it.is_empty());
    if let Some(address) = given(&monitoring.alert_webhook) {
        Webhook::new(&address)?;
        names.push("CDC_ALERT_WEBHOOK");
    }
    if let Some(address) = given(&monitoring.pushgateway)
        && Pushgateway::new(&address)?.has_login()
    {
        names.push("CDC_PUSHGATEWAY");
    }
    Ok(names)
}

/// The directories that reports are written to.
fn directories(args: &Reconcile) -> Result<Vec<PathBuf>> {
    let file = args.output_file.as_deref().map(absolute).transpose()?;
    let dir = args.output_dir.as_deref().map(absolute).transpose()?;
    let parent = file.and_then(|it| it.parent().map(Path::to_owned));
    Ok(dir.into_iter().chain(parent).collect())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::io("find", path, &source))
}

/// The command, without what says when. Every option is named here, so that none is forgotten.
fn words(global: &Global, args: &Reconcile, secrets: &[&str]) -> Result<Vec<String>> {
    let Global {
        profile,
        set,
        platform,
        context,
        output,
    } = global;
    let Reconcile {
        flows,
        source,
        target,
        key,
        columns,
        checksums,
        counts,
        rows,
        sample,
        condition,
        settle,
        repair,
        yes: _,
        format,
        output_file,
        output_dir,
        repeat: _,
        monitoring,
    } = args;
    let mut words = Words(vec!["reconcile".to_owned()]);
    words.0.extend(flows.iter().cloned());
    words.option("--profile", Some(self::profile(profile)?));
    words.option("--platform", platform.as_ref().and_then(value_name));
    words.option("--context", context.clone());
    for set in set {
        refuse_password(set)?;
        words.option("--set", Some(set.clone()));
    }
    words.option(
        "--output",
        (*output == Output::Json).then(|| "json".to_owned()),
    );
    words.option("--source", source.clone());
    words.option("--target", target.clone());
    words.option("--key", listed(key));
    words.option("--columns", listed(columns));
    words.flag("--checksums", *checksums);
    words.flag("--counts", *counts);
    words.option("--rows", (*rows > 0).then(|| rows.to_string()));
    words.option("--sample", sample.map(|it| it.to_string()));
    words.option("--where", condition.clone());
    words.option("--settle", Some(settle.to_string()));
    words.flag("--repair", *repair);
    words.option("--format", format.as_ref().and_then(value_name::<Format>));
    let path = |path: &Option<PathBuf>| match path {
        Some(path) => absolute(path).map(|it| Some(it.display().to_string())),
        None => Ok(None),
    };
    words.option("--output-file", path(output_file)?);
    words.option("--output-dir", path(output_dir)?);
    let gateway = monitoring.pushgateway.clone();
    let gateway = gateway.filter(|it| !it.is_empty() && !secrets.contains(&"CDC_PUSHGATEWAY"));
    words.option("--pushgateway", gateway);
    Ok(words.0)
}

/// The words that say when.
fn times(repeat: &Repeat) -> Vec<String> {
    let Repeat {
        schedule: _,
        interval,
        cron,
        time_zone,
        print_systemd_unit: _,
        print_cronjob: _,
        image: _,
    } = repeat;
    let mut words = Words(vec!["--schedule".to_owned()]);
    words.option("--interval", interval.map(written));
    words.option("--cron", cron.as_ref().map(ToString::to_string));
    let zone = cron.as_ref().map(|_| time_zone.to_string());
    words.option("--time-zone", zone);
    words.0
}

/// A length of time as the command line takes it.
fn written(span: Duration) -> String {
    let ms = Span(span).ms();
    match ms % 1000 {
        0 => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// A command's words, a value in one word with its option.
struct Words(Vec<String>);

impl Words {
    fn option(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| format!("{name}={value}")));
    }

    fn flag(&mut self, name: &str, given: bool) {
        self.0.extend(given.then(|| name.to_owned()));
    }
}

fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(","))
}

fn value_name<T: clap::ValueEnum>(value: &T) -> Option<String> {
    let value = value.to_possible_value()?;
    Some(value.get_name().to_owned())
}

/// The profile from everywhere: its name among the tool's own, else its full path.
fn profile(given: &str) -> Result<String> {
    let root = context::root();
    let path = naming::path(&root, given)?;
    let named = root.join("profiles").join(format!("{given}.yaml"));
    Ok(match named.canonicalize().is_ok_and(|it| it == path) {
        true => given.to_owned(),
        false => path.display().to_string(),
    })
}

/// Refuses an override that is a password.
fn refuse_password(set: &str) -> Result<()> {
    let (key, value) = set.split_once('=').unwrap_or((set, ""));
    let is_deep = value.starts_with(['{', '[']) && names_secret(value);
    if !is_secret(key) && !is_deep {
        return Ok(());
    }
    let what = format!("`--set {key}` has a password, which is not printed");
    Err(Error::new(Code::Usage, what).hint(format!(
        "give it to `cargo xtask up --set {key}=@-`, which remembers it"
    )))
}
