//! `shell`: one statement after the other, through this tool's own clients: on `host` there is no
//! `psql`, and on a cluster nothing needs to be inside of a pod.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use super::shell_input::{Input, Typed};
use super::{context, group, stdout, topic};
use crate::cli::{Cli, Command, Global, ShellArgs};
use crate::components;
use crate::components::console::{Console, Form};
use crate::error::{Code, Error, Result};

pub(super) async fn run(global: &Global, args: &ShellArgs) -> Result<ExitCode> {
    let name = &args.component;
    let env = context::existing_for(global, |profile| {
        components::able(profile, name, |it| Console::of(it).map(drop))
    });
    let env = env.await?;
    let console = Console::of(components::named(&env, name)?)?;
    let mut session = match &console {
        Console::Sql(talk) | Console::Commands(_, talk) => Some(talk.open(&env).await?),
        Console::Subcommands => None,
    };
    let form = Form {
        output: global.output,
        palette: stdout::palette(),
    };
    let typed = std::io::stdin().is_terminal();
    let mut input = match typed {
        true => Input::terminal(&env.dirs.shell_history(name))?,
        false => Input::piped(),
    };
    if typed {
        eprintln!("{name}: {}; `help` says more", console.how());
    }
    let mut text = String::new();
    loop {
        let mark = if text.is_empty() { "> " } else { "… " };
        let line = match input.line(format!("{name}{mark}")).await {
            Typed::Line(line) => Some(line + "\n"),
            Typed::Dropped => {
                text.clear();
                continue;
            }
            Typed::End => None,
        };
        let ended = line.is_none();
        text.push_str(&line.unwrap_or_default());
        let word = text.trim().trim_end_matches(';').trim_end();
        match word {
            "exit" | "quit" | "\\q" => return Ok(ExitCode::SUCCESS),
            "" if ended => return Ok(ExitCode::SUCCESS),
            "help" | "\\?" | "\\h" => {
                stdout::print(&help(&console))?;
                text.clear();
                continue;
            }
            _ => {}
        }
        if let Some(name) = word
            .strip_prefix("\\d")
            .filter(|it| it.is_empty() || it.starts_with(' '))
        {
            let name = name.trim();
            text = console.described((!name.is_empty()).then_some(name)) + ";";
        }
        if !ended && !console.is_whole(&text) {
            continue;
        }
        let statement = std::mem::take(&mut text);
        if statement.trim().is_empty() {
            continue;
        }
        let answer = match &mut session {
            Some(session) => session.run(&statement, form).await,
            None => subcommand(global, &statement).await.map(|()| String::new()),
        };
        match answer {
            Ok(answer) => stdout::print(&answer)?,
            // Who types sees it and goes on; a script must not.
            Err(mut error) if typed && !ended => {
                context::print_error(global.output, &mut error, &[]);
            }
            Err(error) => return Err(error),
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// What can be typed.
fn help(console: &Console<'_>) -> String {
    format!(
        "{}\n\\d lists what there is, \\d NAME describes one; arrow keys bring back earlier lines; Ctrl-C drops a line; \
         exit, \\q or Ctrl-D ends\n",
        console.how()
    )
}

/// Runs a subcommand as if it stood on a command line of its own.
async fn subcommand(global: &Global, line: &str) -> Result<()> {
    let words = line.trim().trim_end_matches(';').split_whitespace();
    let words = words.map(|word| word.trim_matches(['\'', '"']));
    let usage = |text: String| {
        Error::new(Code::Usage, text).hint("topic list, topic tail NAME --cdc, group list, ...")
    };
    let cli = match Cli::try_parse_from(std::iter::once("xtask").chain(words)) {
        Ok(cli) => cli,
        // A page that was asked for is no error.
        Err(page) if !page.use_stderr() => return stdout::print(&page.to_string()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Err(usage(first.trim_start_matches("error: ").to_owned()));
        }
    };
    match cli.command {
        Command::Topic(command) => topic::run(global, &command).await.map(drop),
        Command::Group(command) => group::run(global, &command).await.map(drop),
        _ => Err(usage("only `topic` and `group` here".to_owned())),
    }
}
