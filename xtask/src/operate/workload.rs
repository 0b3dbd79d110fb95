//! A workload for an outbox: orders, each with its items and its event in one transaction.

use std::time::{Duration, Instant};

use crate::components::console::{Console, Form};
use crate::components::named;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::wait;

/// One statement, so one transaction, for the tables of `manifests/postgres/sql/outbox.sql`.
const ORDER: &str = "WITH lines AS MATERIALIZED (SELECT line_no, \
      (ARRAY['Kettle', 'Cup', 'Teapot', 'Spoon'])[1 + floor(random() * 4)::int] AS product, \
      1 + floor(random() * 5)::int AS quantity, round((random() * 50)::numeric, 2) AS price \
      FROM generate_series(1, 1 + floor(random() * 3)::int) AS line_no), \
    placed AS (INSERT INTO public.orders (customer_id, total) \
      SELECT 1 + floor(random() * 100)::bigint, sum(quantity * price) FROM lines RETURNING order_id, customer_id, total), \
    items AS (INSERT INTO public.order_items (order_id, line_no, product, quantity, price) \
      SELECT order_id, line_no, product, quantity, price FROM placed, lines) \
    INSERT INTO public.outbox_events (aggregatetype, aggregateid, type, payload) \
      SELECT 'order', order_id::text, 'OrderPlaced', \
        jsonb_build_object('order_id', order_id, 'customer_id', customer_id, 'total', total) FROM placed";

/// Places so many orders a second, for so long; gives how many were placed. Where the database is slower, so many as it takes.
///
/// # Errors
/// The profile has no outbox, or the database does not answer or refuses.
pub async fn orders(env: &Environment, rate: u32, duration: Duration) -> Result<u64> {
    let mut connectors = env.profile.connectors.values();
    let connector = connectors.find(|it| it.outbox.is_some()).ok_or_else(|| {
        let error = Error::new(Code::Usage, "the profile has no outbox");
        error.hint("profiles/outbox.yaml has one; choose it with --profile outbox")
    })?;
    let source = named(env, &connector.source)?;
    let mut session = Console::sql(source)?.open(env).await?;
    let begun = Instant::now();
    let mut placed = 0;
    loop {
        let due = Duration::from_secs_f64(placed as f64 / f64::from(rate));
        if due >= duration || begun.elapsed() >= duration {
            return Ok(placed);
        }
        wait::pause(due.saturating_sub(begun.elapsed())).await;
        session.run(ORDER, Form::PROGRAM).await?;
        placed += 1;
    }
}
