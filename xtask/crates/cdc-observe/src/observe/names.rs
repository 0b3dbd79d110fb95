//! Names as people type them: exact, or with `*` and `?`. A name that nothing has is answered with
//! the nearest one.

pub use crate::error::is_pattern;
use crate::error::{Result, unknown};

/// Whether a name fits a pattern: `*` stands for any text, `?` for any character.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where the last star was, and where in the name what it stands for ends so far.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(char) if *char == '?' || *char == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, covered)) => {
                    star = Some((star_at, covered + 1));
                    at = star_at + 1;
                    from = covered + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|char| *char == '*')
}

/// The known names that are wanted, each once, in the order in which they are wanted.
///
/// # Errors
/// A name that nothing has, with the nearest one; a pattern that fits nothing.
pub fn choose(what: &str, wanted: &[String], known: &[&str]) -> Result<Vec<String>> {
    let mut chosen: Vec<String> = Vec::new();
    for text in wanted {
        let found: Vec<&str> = match known.iter().find(|name| *name == text) {
            Some(name) => vec![name],
            None if is_pattern(text) => known
                .iter()
                .copied()
                .filter(|name| fits(text, name))
                .collect(),
            None => Vec::new(),
        };
        if found.is_empty() {
            return Err(unknown(what, text, known));
        }
        for name in found {
            if !chosen.iter().any(|there| there == name) {
                chosen.push(name.to_owned());
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, fit) in [
            ("postgres.*", "postgres.public.users", true),
            ("postgres.*", "postgres", false),
            ("*users", "postgres.public.users", true),
            ("*.public.*", "postgres.public.users", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxb", false),
            ("user?", "users", true),
            ("user?", "user", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("ü?", "üß", true),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn each_name_once_in_the_order_wanted() {
        let known = ["a.users", "a.events", "b.users"];
        let wanted = ["b.users", "a.*", "*users"].map(str::to_owned);
        let chosen = choose("topic", &wanted, &known).unwrap();
        assert_eq!(chosen, ["b.users", "a.users", "a.events"]);
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let known = ["postgres.public.users"];
        let error = choose("topic", &["postgres.public.user".to_owned()], &known).unwrap_err();
        assert_eq!(error.code, crate::error::Code::Usage);
        assert!(error.hint.unwrap().contains("`postgres.public.users`"));
        let error = choose("topic", &["x*".to_owned()], &known).unwrap_err();
        assert_eq!(error.message, "no topic fits `x*`");
    }

    proptest::proptest! {
        #[test]
        fn a_name_fits_itself_and_any_pattern_made_of_it(name in "[a-z.]{0,12}", at in 0_usize..12) {
            proptest::prop_assert!(fits(&name, &name));
            let at = at.min(name.len());
            let starred = format!("{}*{}", &name[..at], &name[at..]);
            proptest::prop_assert!(fits(&starred, &name));
        }
    }
}
