//! MongoDB's commands in `shell`: JSON, one on a line.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::settings::MongodbSettings;
use crate::clients::mongodb::Mongodb;
use crate::components::console::{Form, Session, Talk};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};

/// How a command looks.
pub(super) const HOW: &str = "a command as JSON on a line, such as {\"ping\": 1}; `use DATABASE`";

/// Commands in a database, until another one is chosen.
struct Commands {
    client: Mongodb,
    database: String,
}

#[async_trait]
impl Talk for MongodbSettings {
    /// Begins in the database of the first collection that flows.
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        let flow = env.profile.flows_of(&self.name).next();
        let table = flow.map_or("admin", |(_, flow)| flow.table.as_str());
        let database = table.split('.').next().unwrap_or(table).to_owned();
        let client = self.client(env);
        Ok(Box::new(Commands { client, database }))
    }

    fn described(&self, collection: Option<&str>) -> String {
        let command = match collection {
            None => json!({"listCollections": 1, "nameOnly": true}),
            Some(collection) => json!({"find": collection, "limit": 5}),
        };
        command.to_string()
    }
}

#[async_trait]
impl Session for Commands {
    async fn run(&mut self, statement: &str, _: Form) -> Result<String> {
        let statement = statement.trim();
        if let Some(name) = statement.strip_prefix("use ") {
            name.trim()
                .trim_end_matches(';')
                .clone_into(&mut self.database);
            return Ok(format!("database {}\n", self.database));
        }
        let command: Value =
            serde_json::from_str(statement.trim_end_matches(';')).map_err(|error| {
                Error::new(Code::Usage, format!("no command as JSON: {error}"))
                    .hint("{\"find\": \"events\", \"limit\": 3}")
            })?;
        let answer = self.client.command(&self.database, &command).await;
        answer
            .map(|answer| format!("{answer}\n"))
            .map_err(|error| service(&error))
    }
}
