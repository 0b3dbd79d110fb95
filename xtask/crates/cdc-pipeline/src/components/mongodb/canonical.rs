//! The canonical texts of a document's values: what their columns have at the target, as comparisons write it.
//!
//! A value arrives as extended JSON of Debezium's (MongoDB's "strict" mode) and becomes the column's type there
//! (`clickhouse::changes`); texts that are no strings are JSON as ClickHouse writes it. A value that its column cannot hold
//! has a text that no column writes: its row is in the flow's errors, and missing.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson};

use crate::components::dialect::{Form, UNTIL_2000};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A value in a form; none is NULL.
pub(super) fn canonical(value: &Bson, form: Form) -> Option<String> {
    if matches!(value, Bson::Null | Bson::Undefined) {
        return None;
    }
    let text = scalar(value);
    let fits = match form {
        Form::Text | Form::JsonText | Form::Json => Some(text.clone()),
        Form::Bool => match text.as_str() {
            "true" | "1" => Some("1".to_owned()),
            "false" | "0" => Some("0".to_owned()),
            _ => None,
        },
        Form::Integer => match text.as_str() {
            "true" => Some("1".to_owned()),
            "false" => Some("0".to_owned()),
            digits => digits.parse::<i128>().ok().map(|it| it.to_string()),
        },
        Form::Decimal => decimal(&text),
        Form::Float { bits } => float(value, &text, bits),
        Form::Uuid => uuid(&text),
        Form::Date => millis(value)
            .filter(|it| it.rem_euclid(DAY) == 0)
            .map(|it| it.div_euclid(DAY).to_string()),
        Form::Time => time(value, &text),
        // A target that holds those has no documents.
        Form::Span { .. } | Form::Bytes => None,
    };
    Some(fits.unwrap_or_else(|| format!("{text} as {form:?}")))
}

/// What a column has for a field that a document lacks, where it cannot be NULL: its type's default.
pub(super) fn absent(form: Form, written: &str) -> String {
    match form {
        Form::Bool | Form::Integer | Form::Decimal | Form::Span { .. } => "0".into(),
        Form::Float { .. } => hexadecimal(0),
        Form::Uuid => "00000000-0000-0000-0000-000000000000".into(),
        // ClickHouse's first day of that type.
        Form::Date if written.contains("Date32") => "-25567".into(),
        Form::Date => "0".into(),
        Form::Time => hexadecimal((-UNTIL_2000).cast_unsigned()),
        Form::Text | Form::JsonText | Form::Json | Form::Bytes => String::new(),
    }
}

/// A value without what extended JSON wraps it in.
fn scalar(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        Bson::ObjectId(id) => id.to_hex(),
        Bson::Int64(number) => number.to_string(),
        Bson::Decimal128(number) => number.to_string(),
        other => json(other),
    }
}

/// JSON as ClickHouse writes what it was given as extended JSON.
fn json(value: &Bson) -> String {
    let object = |name: &str, value: String| format!("{{{}:{value}}}", string(name));
    let list = |parts: Vec<String>| parts.join(",");
    match value {
        Bson::Null | Bson::Undefined => "null".into(),
        Bson::Boolean(is) => is.to_string(),
        Bson::Int32(number) => number.to_string(),
        Bson::Double(number) => double(*number),
        Bson::String(text) => string(text),
        Bson::Int64(number) => object("$numberLong", string(&number.to_string())),
        Bson::Decimal128(number) => object("$numberDecimal", string(&number.to_string())),
        Bson::ObjectId(id) => object("$oid", string(&id.to_hex())),
        Bson::DateTime(time) => object("$date", time.timestamp_millis().to_string()),
        Bson::Timestamp(time) => object(
            "$timestamp",
            format!("{{\"t\":{},\"i\":{}}}", time.time, time.increment),
        ),
        Bson::Binary(binary) => bytes(binary),
        Bson::Array(values) => format!("[{}]", list(values.iter().map(json).collect())),
        Bson::Document(fields) => {
            let field =
                |(name, value): (&String, &Bson)| format!("{}:{}", string(name), json(value));
            format!("{{{}}}", list(fields.iter().map(field).collect()))
        }
        // Patterns, code and the like, which columns are not made of.
        other => other.to_string(),
    }
}

fn bytes(binary: &Binary) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(&binary.bytes);
    let subtype = u8::from(match binary.subtype {
        BinarySubtype::BinaryOld => BinarySubtype::Generic,
        other => other,
    });
    format!(
        "{{\"$binary\":{},\"$type\":\"{subtype:02x}\"}}",
        string(&text)
    )
}

/// A text in quotes. ClickHouse also escapes the two separators that JavaScript does not take.
fn string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The shortest digits that are this number, with an exponent from 10^21 on and below 10^-6.
fn double(number: f64) -> String {
    let scientific = format!("{number:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|it| it.1.parse::<i32>().ok());
    match exponent {
        Some(-6..21) => number.to_string(),
        Some(_) => scientific,
        None => match number.is_nan() {
            true => "nan".into(),
            false => number.to_string(),
        },
    }
}

fn float(value: &Bson, text: &str, bits: u32) -> Option<String> {
    let number = match value {
        Bson::Double(number) => *number,
        Bson::Boolean(_)
        | Bson::String(_)
        | Bson::Int32(_)
        | Bson::Int64(_)
        | Bson::Decimal128(_) => text.parse::<f64>().ok()?,
        _ => return None,
    };
    // An integer beyond a double's digits is none.
    if let Ok(whole) = text.parse::<i64>() {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "whether it loses something is what is asked"
        )]
        let is_exact = (whole as f64) as i128 == i128::from(whole);
        if !is_exact {
            return None;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "the column has 32 bits")]
    let number = match bits {
        32 => f64::from(number as f32),
        _ => number,
    };
    Some(match number.is_nan() {
        true => "NaN".into(),
        // There is one zero.
        false => hexadecimal((number + 0.0).to_bits()),
    })
}

/// A decimal's digits without an exponent and without zeros at either end.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, exponent) = match digits.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|it| it.is_ascii_digit()) || exponent.abs() > 6_200 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= all.len() => (format!("{all:0<point$}"), String::new()),
        Ok(point) => (all[..point].to_owned(), all[point..].to_owned()),
        Err(_) => {
            let zeros = "0".repeat(usize::try_from(-point).ok()?);
            (String::new(), zeros + &all)
        }
    };
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".into(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}

fn uuid(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit());
    (parts == [8, 4, 4, 4, 12] && is_hex).then_some(text)
}

/// Milliseconds of a date, or of a timestamp, which counts seconds.
fn millis(value: &Bson) -> Option<i64> {
    match value {
        Bson::DateTime(time) => Some(time.timestamp_millis()),
        Bson::Timestamp(time) => Some(i64::from(time.time) * 1000),
        _ => None,
    }
}

fn time(value: &Bson, text: &str) -> Option<String> {
    let micros = match millis(value) {
        Some(millis) => millis.checked_mul(1000)?,
        None => text.parse::<jiff::Timestamp>().ok()?.as_microsecond(),
    };
    let micros = micros.checked_sub(UNTIL_2000)?;
    Some(hexadecimal(micros.cast_unsigned()))
}

fn hexadecimal(bits: u64) -> String {
    format!("\\x{bits:016x}")
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, Decimal128, doc};

    use super::*;

    fn text(value: impl Into<Bson>, form: Form) -> String {
        canonical(&value.into(), form).expect("a value")
    }

    fn number(text: &str) -> Decimal128 {
        text.parse().expect("a decimal")
    }

    #[test]
    fn values_are_written_as_their_columns_are() {
        assert_eq!(canonical(&Bson::Null, Form::Text), None);
        assert_eq!(text(true, Form::Bool), "1");
        assert_eq!(text(-5_i64, Form::Integer), "-5");
        assert_eq!(text("007", Form::Integer), "7");
        assert_eq!(text(1.5, Form::Float { bits: 64 }), "\\x3ff8000000000000");
        assert_eq!(text(-0.0, Form::Float { bits: 64 }), "\\x0000000000000000");
        assert_eq!(text(0.1, Form::Float { bits: 32 }), "\\x3fb99999a0000000");
        assert_eq!(text(7, Form::Float { bits: 64 }), "\\x401c000000000000");
        assert_eq!(text(DateTime::from_millis(-86_400_000), Form::Date), "-1");
        assert_eq!(
            text(DateTime::from_millis(946_684_800_001), Form::Time),
            "\\x00000000000003e8"
        );
        assert_eq!(
            text("1999-12-31T23:59:59.999999Z", Form::Time),
            "\\xffffffffffffffff"
        );
        let id = ObjectId::parse_str("65a000000000000000000001").expect("an id");
        assert_eq!(text(id, Form::Text), "65a000000000000000000001");
    }

    #[test]
    fn decimals_have_no_exponent_and_no_zeros_at_their_ends() {
        for (written, wanted) in [
            ("1.50", "1.5"),
            ("100", "100"),
            ("1.2E+3", "1200"),
            ("1.2E-3", "0.0012"),
            ("-0.0", "0"),
            ("-12.340", "-12.34"),
        ] {
            assert_eq!(text(number(written), Form::Decimal), wanted);
        }
        assert_eq!(text(5.0, Form::Decimal), "5");
        assert!(text("many", Form::Decimal).contains("as Decimal"));
    }

    #[test]
    fn what_no_column_holds_is_like_nothing() {
        assert_eq!(text("x", Form::Integer), "x as Integer");
        assert_eq!(text(1.5, Form::Integer), "1.5 as Integer");
        let beyond = text((1_i64 << 53) + 1, Form::Float { bits: 64 });
        assert!(beyond.contains("as Float"), "{beyond}");
    }

    /// As ClickHouse 25.8 wrote them.
    #[test]
    fn documents_are_written_as_clickhouse_writes_json() {
        let written = text(
            doc! { "b": 1, "c": [1.0, DateTime::from_millis(5), 1.5e300, "x/äé\n\u{1}\u{2028}"] },
            Form::Text,
        );
        assert_eq!(
            written,
            r#"{"b":1,"c":[1,{"$date":5},1.5e300,"x/äé\n\u0001\u2028"]}"#
        );
        for (value, wanted) in [
            (5.0, "5"),
            (1.0e10, "10000000000"),
            (1.0e-7, "1e-7"),
            (123_456_789.123, "123456789.123"),
            (1.0e21, "1e21"),
            (-0.0, "-0"),
        ] {
            assert_eq!(text(value, Form::Text), wanted);
        }
    }
}
