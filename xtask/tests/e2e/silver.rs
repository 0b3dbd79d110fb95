//! Silver is right: order, deletes, precision, and messages that are none.

use bytes::Bytes;
use xtask::clients::kafka::Record;

use crate::sandbox::Sandbox;

#[tokio::test]
async fn changes_end_in_the_source_s_order() {
    let sandbox = Sandbox::up("order");
    let session = sandbox.postgres().await;
    // Many changes of one row within one millisecond and one transaction.
    let many: String = (0..200)
        .map(|n| format!("UPDATE users SET full_name = 'v{n}' WHERE user_id = 1;"))
        .collect();
    session
        .execute(&format!("BEGIN; {many} COMMIT"))
        .await
        .unwrap();
    session.execute(&many.replace("'v", "'w")).await.unwrap();
    // A transaction that begins first and commits last: its records lie before others that were
    // committed, and decoded, earlier.
    let late = sandbox.postgres().await;
    late.execute("BEGIN; UPDATE users SET full_name = 'late' WHERE user_id = 2")
        .await
        .unwrap();
    session
        .execute("UPDATE users SET full_name = 'early' WHERE user_id = 3")
        .await
        .unwrap();
    late.execute("UPDATE users SET full_name = 'late too' WHERE user_id = 3; COMMIT")
        .await
        .unwrap();
    // Insert, delete and insert again of one key; a key that changes; precision to the microsecond.
    session
        .execute(
            "INSERT INTO users (user_id, full_name, email) VALUES (50, 'a', 'a@x'); \
             DELETE FROM users WHERE user_id = 50; \
             INSERT INTO users (user_id, full_name, email) VALUES (50, 'b', 'b@x'); \
             UPDATE users SET user_id = 60 WHERE user_id = 4; \
             INSERT INTO users (user_id, full_name, email, created_at, updated_at) VALUES \
             (70, E'tab\\t quote '' \"double\" back\\\\slash \u{1F980} ümlaut', 'c@x', \
              '2001-02-03 04:05:06.789012', '1969-12-31 23:59:59.999999')",
        )
        .await
        .unwrap();
    let rows = sandbox.converged().await;
    assert!(
        rows.iter().any(|row| row.starts_with("1|w199|")),
        "{rows:?}"
    );
    assert!(
        rows.iter().any(|row| row.starts_with("3|late too|")),
        "{rows:?}"
    );
    assert!(rows.iter().any(|row| row.starts_with("50|b|")), "{rows:?}");
    assert!(
        rows.iter()
            .any(|row| row.contains("2001-02-03 04:05:06.789012"))
    );
    // A delete is a row that says so.
    let deleted = sandbox
        .clickhouse()
        .text("SELECT count() FROM users_silver WHERE user_id = 4 AND is_deleted = 1")
        .await
        .unwrap();
    assert_eq!(deleted.trim(), "1");
}

#[tokio::test]
async fn interleaved_writers_end_the_same_on_both_sides() {
    let sandbox = Sandbox::up("writers");
    let setup = sandbox.postgres().await;
    setup
        .execute("INSERT INTO users (user_id, full_name, email) SELECT n, 'x', 'u' || n FROM generate_series(100, 119) n")
        .await
        .unwrap();
    let mut writers = Vec::new();
    for writer in 0..4_u64 {
        let session = sandbox.postgres().await;
        writers.push(tokio::spawn(async move {
            // A small generator of its own: the same run every time.
            let mut random = writer + 1;
            let mut next = move |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            for round in 0..150 {
                // Rows in ascending order, so that writers wait for each other but never for ever.
                let low = 100 + next(10);
                let high = 110 + next(10);
                let change = match next(4) {
                    0 => format!("DELETE FROM users WHERE user_id = {low}"),
                    1 => format!("INSERT INTO users (user_id, full_name, email) VALUES ({low}, 'i{writer}-{round}', 'u{low}') ON CONFLICT DO NOTHING"),
                    _ => format!("UPDATE users SET full_name = 'w{writer}-{round}' WHERE user_id = {low}"),
                };
                session
                    .execute(&format!(
                        "BEGIN; {change}; UPDATE users SET full_name = 'h{writer}-{round}' WHERE user_id = {high}; COMMIT"
                    ))
                    .await
                    .unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    sandbox.converged().await;
}

#[tokio::test]
async fn a_message_that_is_no_change_goes_to_the_errors_and_blocks_nothing() {
    let sandbox = Sandbox::up("poison");
    let before = sandbox.converged().await;
    let kafka = sandbox.kafka().await;
    let envelope =
        |row: &str| format!(r#"{{"op":"u","after":{row},"source":{{"lsn":1,"ts_ms":1}}}}"#);
    let poison = [
        b"not json".to_vec(),
        b"\xff\xfe\x00\x01".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"17".to_vec(),
        b"{\"a\":1}{\"b\":2}".to_vec(),
        br#"{"op":"x","after":{"user_id":1}}"#.to_vec(),
        br#"{"op":"u","after":null}"#.to_vec(),
        br#"{"op":"u","after":"text"}"#.to_vec(),
        br#"{"op":"d","before":null}"#.to_vec(),
        envelope(r#"{"full_name":"no key"}"#).into_bytes(),
        envelope(r#"{"user_id":"abc"}"#).into_bytes(),
        envelope(r#"{"user_id":null}"#).into_bytes(),
        envelope(r#"{"user_id":{"nested":1}}"#).into_bytes(),
        envelope(r#"{"user_id":99999999999999999999999}"#).into_bytes(),
    ];
    let count = poison.len();
    // Odd values in otherwise good changes must not stop the consumer either, and become nothing else.
    let odd = [
        envelope(
            r#"{"user_id":900,"full_name":null,"email":{"a":[1]},"created_at":9223372036854775807,"updated_at":-9223372036854775808}"#,
        ),
        envelope(
            r#"{"user_id":901,"full_name":5,"created_at":"2024-01-01T00:00:00Z","updated_at":"nonsense"}"#,
        ),
    ];
    let count = count + odd.len();
    let records: Vec<Record> = poison
        .into_iter()
        .chain(odd.into_iter().map(String::into_bytes))
        .map(|value| Record::new(Some(Bytes::from_static(b"k")), Some(Bytes::from(value))))
        .collect();
    kafka
        .produce("postgres.public.users", 0, &records)
        .await
        .unwrap();
    let session = sandbox.postgres().await;
    session
        .execute("UPDATE users SET full_name = 'after the poison' WHERE user_id = 1")
        .await
        .unwrap();
    let begin = std::time::Instant::now();
    loop {
        let rows = sandbox.target_rows().await;
        if rows
            .iter()
            .any(|row| row.starts_with("1|after the poison|"))
        {
            break;
        }
        assert!(begin.elapsed().as_secs() < 60, "the consumer is stuck");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // A message's row is in silver a moment before what came with it is in the errors.
    let count_of = async |condition: &str| {
        let sql = format!("SELECT count() FROM users_errors FINAL WHERE {condition} FORMAT TSV");
        let text = sandbox.clickhouse().text(&sql).await.unwrap();
        text.trim().parse::<usize>().unwrap()
    };
    while count_of("1").await < count {
        assert!(begin.elapsed().as_secs() < 60, "errors are missing");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(count_of("1").await, count);
    assert!(count_of("reason = 'not JSON'").await >= 3);
    assert_eq!(sandbox.json(&["status"])["flows"][0]["errors"], count);
    assert_eq!(sandbox.converged().await.len(), before.len());
}

#[tokio::test]
async fn a_table_of_one_s_own_arrives_with_its_types() {
    let mut sandbox = Sandbox::new("orders");
    let profile = sandbox.dir().parent().unwrap().join("orders.yaml");
    std::fs::create_dir_all(profile.parent().unwrap()).unwrap();
    std::fs::write(
        &profile,
        "extends: clickhouse\n\
         postgres: {database: shop, schema: [users.sql]}\n\
         flows:\n  orders:\n    connector: postgres-connector\n    table: public.orders\n\
         \x20   keep: latest\n    key: [order_id]\n    group: ch_orders_consumer\n    columns:\n\
         \x20     order_id: Int64\n      customer: Nullable(String)\n      total: Decimal(18, 2)\n\
         \x20     rebate: Nullable(Decimal(9, 4))\n      paid: Bool\n      weight: Float64\n      day: Date32\n\
         \x20     placed: DateTime64(6)\n      packed: DateTime64(3)\n      shipped: Nullable(DateTime64(6))\n\
         \x20     op: String\n",
    )
    .unwrap();
    sandbox.profile = Some(profile);
    // The table is not there yet: said clearly, and everything else is up.
    let text = sandbox.fails(&["up"], 1);
    assert!(text.contains("there is no table public.orders"), "{text}");
    let session = sandbox.postgres_database("shop").await;
    let create = |packed: &str| {
        format!(
            "CREATE TABLE orders (order_id bigint PRIMARY KEY, customer text, total numeric(18,2) NOT NULL, \
             rebate numeric(9,4), paid boolean NOT NULL, weight double precision NOT NULL, day date NOT NULL, \
             placed timestamp NOT NULL, packed {packed} NOT NULL, shipped timestamptz, op text NOT NULL)"
        )
    };
    session.execute(&create("timestamp")).await.unwrap();
    let text = sandbox.fails(&["up"], 1);
    assert!(
        text.contains("`packed` is timestamp without time zone") && text.contains("DateTime64(6)"),
        "{text}"
    );
    session
        .execute(&format!("DROP TABLE orders; {}", create("timestamp(3)")))
        .await
        .unwrap();
    sandbox.ok(&["up"]);
    session
        .execute(
            "INSERT INTO orders VALUES \
             (1, 'Ann', 12345678901234.56, 0.1250, true, 1.5, '2024-02-29', '2024-02-29 12:34:56.789012', \
              '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012+02', 'x'), \
             (2, NULL, -0.01, NULL, false, -1e300, '1950-01-01', '1970-01-01 00:00:00', '1999-12-31 23:59:59.999', NULL, 'd')",
        )
        .await
        .unwrap();
    // A number that no column can hold must not stop the consumer.
    let odd = r#"{"op":"c","after":{"order_id":7,"total":1e400,"rebate":123456789012345678901234567890,"day":99999999999},"source":{"lsn":1,"ts_ms":1}}"#;
    let record = Record::new(Some(Bytes::from_static(b"k")), Some(Bytes::from(odd)));
    sandbox
        .kafka()
        .await
        .produce("postgres.public.orders", 0, &[record])
        .await
        .unwrap();
    session.execute("INSERT INTO orders VALUES (3, 'last', 1, 1, true, 1, '2024-01-01', now(), now(), now(), 'r')").await.unwrap();
    let query = "SELECT order_id, customer, total, rebate, paid, weight, day, placed, packed, shipped, op \
                 FROM orders_silver FINAL WHERE order_id < 3 ORDER BY order_id FORMAT TSV";
    let begin = std::time::Instant::now();
    while sandbox
        .clickhouse()
        .text("SELECT count() FROM orders_silver WHERE order_id = 3")
        .await
        .unwrap()
        .trim()
        == "0"
    {
        assert!(begin.elapsed().as_secs() < 60, "the consumer is stuck");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        sandbox.clickhouse().text(query).await.unwrap(),
        "1\tAnn\t12345678901234.56\t0.125\ttrue\t1.5\t2024-02-29\t2024-02-29 12:34:56.789012\t\
         2024-02-29 12:34:56.789\t2024-02-29 10:34:56.789012\tx\n\
         2\t\\N\t-0.01\t\\N\tfalse\t-1e300\t1950-01-01\t1970-01-01 00:00:00.000000\t\
         1999-12-31 23:59:59.999\t\\N\td\n"
    );
}
