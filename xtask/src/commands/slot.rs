//! `slot`: the replication slots of the components that keep some.

use std::process::ExitCode;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::stdout;
use super::{confirm, context};
use crate::cli::{Global, SlotCommand, SlotDrop};
use crate::components;
use crate::components::slots::{Slot, Slots, keepers};
use crate::environment::Environment;
use crate::error::{Code, Error, Result, unknown};
use crate::profile::component::Instance;
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{Ink, Palette, bytes};

/// A slot, and the component that keeps it.
struct Kept<'a> {
    /// Its name where more than one component of the profile keeps slots, to tell them apart.
    of: Option<&'a str>,
    slots: &'a dyn Slots,
    slot: Slot,
}

impl Kept<'_> {
    fn object(&self) -> Value {
        let mut object = json!(self.slot);
        if let Some(of) = self.of {
            object["component"] = of.into();
        }
        object
    }
}

/// What completes a sentence about a slot.
fn of(component: Option<&str>) -> String {
    component.map_or_else(String::new, |name| format!(" of {name}"))
}

pub(super) async fn run(global: &Global, command: &SlotCommand) -> Result<ExitCode> {
    let env = &*context::existing(global).await?;
    let keepers = keepers(env);
    if keepers.is_empty() {
        let what = format!("no component of `{}` keeps replication slots", env.name);
        return Err(Error::new(Code::Usage, what));
    }
    let asked = match command {
        SlotCommand::List(keeper) => &keeper.component,
        SlotCommand::Drop(args) => &args.of.component,
    };
    let asked = match asked {
        Some(name) => vec![keeper(env, &keepers, name)?],
        None => keepers.clone(),
    };
    let is_named = keepers.len() > 1;
    let lists = asked.iter().map(|&(instance, slots)| async move {
        let found = slots.list(env).await.map_err(|error| match is_named {
            true => error.hint("cargo xtask status; --component NAME asks another one alone"),
            false => error,
        })?;
        let of = is_named.then_some(instance.name.as_str());
        let kept = found.into_iter().map(move |slot| Kept { of, slots, slot });
        Ok(kept.collect::<Vec<_>>())
    });
    let found: Vec<Kept<'_>> = try_join_all(lists).await?.into_iter().flatten().collect();
    match command {
        SlotCommand::List(_) => list(global.output, &asked, &found),
        SlotCommand::Drop(args) => remove(global.output, env, args, &found).await,
    }
}

/// The one of this name.
fn keeper<'a>(
    env: &'a Environment,
    keepers: &[(&'a Instance, &'a dyn Slots)],
    name: &str,
) -> Result<(&'a Instance, &'a dyn Slots)> {
    let found = keepers.iter().find(|(instance, _)| instance.name == name);
    if let Some(found) = found {
        return Ok(*found);
    }
    components::named(env, name)?;
    let names: Vec<&str> = keepers.iter().map(|(it, _)| it.name.as_str()).collect();
    let error = Error::new(Code::Usage, format!("{name} keeps no replication slots"));
    Err(error.hint(format!("these do: {}", names.join(", "))))
}

fn list(output: Output, asked: &[(&Instance, &dyn Slots)], found: &[Kept<'_>]) -> Result<ExitCode> {
    let slots: Vec<Value> = found.iter().map(Kept::object).collect();
    stdout::answer(output, json!({ "slots": slots }), || {
        listed(asked, found, stdout::palette())
    })
}

fn listed(asked: &[(&Instance, &dyn Slots)], found: &[Kept<'_>], palette: Palette) -> String {
    if found.is_empty() {
        return match asked {
            [(instance, _)] => format!("{} has no slot\n", instance.kind.title),
            several => {
                let names: Vec<&str> = several.iter().map(|(it, _)| it.name.as_str()).collect();
                format!("there is no slot: {}\n", names.join(", "))
            }
        };
    }
    let is_named = found.iter().any(|kept| kept.of.is_some());
    let component = if is_named { "COMPONENT  " } else { "" };
    let mut table = Table::titled(&format!(
        "{component}SLOT  CONNECTOR  READ BY  WAL  CONFIRMED  >UNCONFIRMED  >RETAINED"
    ));
    for Kept { of, slot, .. } in found {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let size = |value: Option<u64>| value.map_or("-".into(), bytes);
        let reader = match &slot.reader {
            Some(reader) => (reader.clone(), Some(Ink::Green)),
            None => ("nobody".into(), Some(Ink::Yellow)),
        };
        let lost = matches!(slot.wal_status.as_deref(), Some("lost" | "unreserved"));
        let component = of.map(|name| (name.to_owned(), None));
        table.inked(component.into_iter().chain([
            (slot.name.clone(), None),
            (text(&slot.connector), None),
            reader,
            (text(&slot.wal_status), lost.then_some(Ink::Red)),
            (text(&slot.confirmed_flush_lsn), None),
            (size(slot.unconfirmed), None),
            (size(slot.retained), None),
        ]));
    }
    table.text(palette)
}

/// The slot that is meant.
fn meant<'a>(found: &'a [Kept<'a>], name: &str) -> Result<&'a Kept<'a>> {
    let mut all = found.iter().filter(|kept| kept.slot.name == name);
    match (all.next(), all.next()) {
        (Some(kept), None) => Ok(kept),
        (None, _) => {
            let known: Vec<&str> = found.iter().map(|kept| kept.slot.name.as_str()).collect();
            Err(unknown("slot", name, &known))
        }
        (Some(one), Some(other)) => {
            let both = [one, other].map(|kept| kept.of.unwrap_or_default());
            let what = format!("slot `{name}` is at {} and at {}", both[0], both[1]);
            let ways = both.map(|of| format!("cargo xtask slot drop {name} --component={of}"));
            Err(Error::new(Code::Usage, what).hint(ways.join(", or: ")))
        }
    }
}

async fn remove(
    output: Output,
    env: &Environment,
    args: &SlotDrop,
    found: &[Kept<'_>],
) -> Result<ExitCode> {
    let kept = meant(found, &args.name)?;
    let slot = &kept.slot;
    let unknown = kept.slots.check_drop(env, slot).await?;
    let (name, of) = (&slot.name, of(kept.of));
    let mut what = match &slot.connector {
        Some(connector) => format!(
            "drop slot {name}{of}: connector {connector} loses what it had not read, and needs a new snapshot"
        ),
        None => format!("drop slot {name}{of}, which no connector of this profile reads"),
    };
    if let Some(unknown) = unknown {
        what = format!("{what}; {unknown}");
    }
    if args.dry_run {
        let object = json!({ "dry_run": what, "slot": kept.object() });
        return stdout::answer(output, object, || format!("would {what}\n"));
    }
    if !args.yes {
        let component = kept.of.map(|of| format!(" --component={of}"));
        let component = component.unwrap_or_default();
        let way =
            format!("if that is what you want: cargo xtask slot drop {name}{component} --yes");
        confirm::typed(name, &what, &way)?;
    }
    let outcome = kept.slots.drop_slot(env, name).await?;
    let mut dropped = json!({ "dropped": name });
    if let Some(of) = kept.of {
        dropped["component"] = of.into();
    }
    stdout::answer(output, dropped, || format!("{}{of}\n", outcome.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Profile, Selection};

    fn profile() -> Profile {
        let selection = Selection {
            profile: "warehouse".into(),
            set: Vec::new(),
        };
        let loaded = components::load(&context::root(), &selection);
        loaded.expect("a profile").profile
    }

    /// What the profile's components keep.
    fn of<'a>(profile: &'a Profile, name: &'a str) -> (&'a Instance, &'a dyn Slots) {
        let instance = profile.component(name).expect("a component");
        let slots = components::of(instance).slots();
        (instance, slots.expect("a type that keeps slots"))
    }

    fn slot(name: &str, connector: Option<&str>) -> Slot {
        Slot {
            name: name.into(),
            connector: connector.map(str::to_owned),
            plugin: None,
            database: None,
            active: false,
            reader: None,
            wal_status: Some("reserved".into()),
            restart_lsn: None,
            confirmed_flush_lsn: Some("0/15".into()),
            retained: Some(2_000),
            unconfirmed: Some(1),
            transactions: None,
            untouched: None,
            unread_s: None,
        }
    }

    #[test]
    fn with_several_keepers_each_slot_says_whose_it_is() {
        let (profile, plain) = (profile(), Palette { colour: false });
        let (source, target) = (of(&profile, "source"), of(&profile, "warehouse"));
        let alone = Kept {
            of: None,
            slots: source.1,
            slot: slot("s", Some("c")),
        };
        assert_eq!(
            listed(&[source], &[alone], plain),
            "SLOT  CONNECTOR  READ BY  WAL       CONFIRMED  UNCONFIRMED  RETAINED\n\
             s     c          nobody   reserved  0/15               1 B    2.0 kB\n"
        );
        let both = [
            ("source", source.1, Some("c")),
            ("warehouse", target.1, None),
        ];
        let both = both.map(|(of, slots, connector)| Kept {
            of: Some(of),
            slots,
            slot: slot("s", connector),
        });
        assert_eq!(
            listed(&[source, target], &both, plain),
            "COMPONENT  SLOT  CONNECTOR  READ BY  WAL       CONFIRMED  UNCONFIRMED  RETAINED\n\
             source     s     c          nobody   reserved  0/15               1 B    2.0 kB\n\
             warehouse  s     -          nobody   reserved  0/15               1 B    2.0 kB\n"
        );
        assert_eq!(both[1].object()["component"], "warehouse");
        assert_eq!(listed(&[source], &[], plain), "PostgreSQL has no slot\n");
        assert_eq!(
            listed(&[source, target], &[], plain),
            "there is no slot: source, warehouse\n"
        );
    }

    #[test]
    fn a_slot_is_found_by_its_name_and_asked_for_where_two_have_it() {
        let profile = profile();
        let kept = |of_name: &'static str, name: &str| Kept {
            of: Some(of_name),
            slots: of(&profile, of_name).1,
            slot: slot(name, None),
        };
        let found = [
            kept("source", "one"),
            kept("source", "both"),
            kept("warehouse", "both"),
        ];
        assert_eq!(
            meant(&found, "one").ok().and_then(|it| it.of),
            Some("source")
        );
        let error = meant(&found, "both").err().expect("two of them");
        assert_eq!(error.message, "slot `both` is at source and at warehouse");
        assert_eq!(
            error.hint.as_deref(),
            Some(
                "cargo xtask slot drop both --component=source, \
                 or: cargo xtask slot drop both --component=warehouse"
            )
        );
        let error = meant(&found, "ones").err().expect("none");
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("did you mean `one`?"))
        );
    }
}
