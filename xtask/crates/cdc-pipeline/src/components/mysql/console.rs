//! MySQL's SQL in `query` and `shell`: one session, so that transactions work. Its errors quote the statement
//! from where it was not understood.

use async_trait::async_trait;

use super::settings::MysqlSettings;
use crate::clients::mysql::{Mysql, table};
use crate::components::console::{Form, Session, Talk, answered};
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;

#[async_trait]
impl Talk for MysqlSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        let session = self.session(env).await;
        Ok(Box::new(session.map_err(|error| service(&error))?))
    }

    fn described(&self, name: Option<&str>) -> String {
        match name {
            None => "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN \
                     ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1, 2"
                .to_owned(),
            Some(name) => format!("SHOW COLUMNS FROM {}", table(name)),
        }
    }
}

#[async_trait]
impl Session for Mysql {
    async fn run(&mut self, sql: &str, form: Form) -> Result<String> {
        let answers = self.answers(sql).await;
        let answers = answers.map_err(|error| service(&error))?;
        Ok(answered(&answers, form))
    }
}
