//! Any text as a template, and any text as a value in one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use xtask::error::Exit;
use xtask::render::Templates;

fuzz_target!(|input: (&str, &str)| {
    let (template, value) = input;
    let templates = Templates::new("/nowhere");
    let context = json!({"a": {"b": value, "c": {"x.y": value}}, "off": false, "list": [{"d": 1}]});
    if let Err(error) = templates.render("x.hbs", template, &context) {
        assert_eq!(error.code.exit(), Exit::BadInput);
    }
    // A quoted value reads back as itself.
    let quoted = templates
        .render("x.hbs", "{{json a.b}}", &context)
        .expect("a right template");
    let read: serde_json::Value = serde_json::from_str(&quoted).expect("JSON");
    assert_eq!(read, json!(value));
    // A property is one line, whatever the value.
    let property = templates
        .render("x.hbs", "{{property a.b}}", &context)
        .expect("a right template");
    assert!(property.chars().all(|char| (' '..='~').contains(&char)));
});
