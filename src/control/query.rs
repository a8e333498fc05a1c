//! What the parameters of a request for the queue ask for.
//!
//! Each parameter stands once and is not empty; what is unknown is refused with what is known,
//! because a mistyped filter that matches everything would be the worst of answers, and for a drop
//! the last one. So a change names a message, a domain or a sender, or says `all=true`.
//!
//! Pure: a query string comes in, percent-encoded as `application/x-www-form-urlencoded`.

use super::view::{QueueFilter, ROWS_DEFAULT, ROWS_MAX};
use crate::shard::operate::{Filter, SenderFilter};

const LISTS_BY: &[&str] = &["domain", "sender", "held", "limit"];
const CHANGES_BY: &[&str] = &["domain", "sender", "id", "all"];
const CHANGE_WHAT: &[&str] = &["at least one of domain, sender, id", "all=true alone"];

/// Parameters that make no question, and what would.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadQuery {
    pub error: String,
    pub allowed: &'static [&'static str],
}

fn bad(error: impl Into<String>, allowed: &'static [&'static str]) -> BadQuery {
    BadQuery { error: error.into(), allowed }
}

/// Which entries to list.
pub(super) fn filter(query: &str) -> Result<QueueFilter, BadQuery> {
    let [domain, sender, held, limit] = parameters(query, LISTS_BY)?;
    let limit = match limit {
        None => ROWS_DEFAULT,
        Some(text) => match text.parse() {
            Ok(limit) if (1..=ROWS_MAX).contains(&limit) => limit,
            Ok(_) | Err(_) => return Err(bad(format!("limit={text}"), &["limit=1 to 10000"])),
        },
    };
    let domain = domain.map(|domain| domain.to_lowercase().into());
    let held = is_true("held", held, &["held=true"])?;
    Ok(QueueFilter { domain, sender: sender.map(Into::into), held, limit })
}

const _: () = assert!(ROWS_MAX == 10_000, "the text above names it");

/// Which entries to change.
pub(super) fn target(query: &str) -> Result<Filter, BadQuery> {
    let [domain, sender, id, all] = parameters(query, CHANGES_BY)?;
    let id = match id {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| {
            bad(format!("id={text}: {error}"), &["id=ID, as `baton queue list` prints it"])
        })?),
    };
    let filter = Filter {
        domain: domain.map(|domain| domain.to_lowercase().into()),
        sender: sender.as_deref().map(SenderFilter::new),
        id,
    };
    let everything = filter == Filter::default();
    if is_true("all", all, &["all=true"])? == everything {
        return Ok(filter);
    }
    let error = if everything { "nothing says which entries" } else { "all and a part of it" };
    Err(bad(error, CHANGE_WHAT))
}

/// The values of `names`, in their order.
fn parameters<const N: usize>(
    query: &str,
    names: &'static [&'static str],
) -> Result<[Option<String>; N], BadQuery> {
    assert_eq!(names.len(), N, "a place for each name");
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(place) = names.iter().position(|known| *known == name) else {
            return Err(bad(format!("unknown parameter {name}"), names));
        };
        if value.is_empty() || values[place].is_some() {
            return Err(bad(format!("{name} is empty or there twice"), names));
        }
        values[place] = Some(value.into_owned());
    }
    Ok(values)
}

fn is_true(
    name: &str,
    value: Option<String>,
    allowed: &'static [&'static str],
) -> Result<bool, BadQuery> {
    match value.as_deref() {
        None => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(bad(format!("{name}={other}"), allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;

    #[test]
    fn a_question_is_read_or_refused_with_what_is_allowed() {
        let wanted = |domain: Option<&str>, sender: Option<&str>, limit| QueueFilter {
            domain: domain.map(Into::into),
            sender: sender.map(Into::into),
            held: false,
            limit,
        };
        let good = [
            ("", wanted(None, None, 100)),
            ("domain=X.Test", wanted(Some("x.test"), None, 100)),
            (
                "sender=acme%7Cx-authuser%7Cjoe%2Bme&limit=7",
                wanted(None, Some("acme|x-authuser|joe+me"), 7),
            ),
            ("limit=10000", wanted(None, None, 10_000)),
            ("held=true", QueueFilter { held: true, ..wanted(None, None, 100) }),
        ];
        for (query, expected) in good {
            assert_eq!(filter(query).unwrap(), expected, "{query}");
        }
        let bad = [
            "limit=0",
            "limit=10001",
            "limit=x",
            "limit=-1",
            "domain=",
            "who=me",
            "limit=1&limit=2",
            "held=yes",
            "id=0000000000001",
        ];
        for query in bad {
            assert!(!filter(query).unwrap_err().allowed.is_empty(), "{query}");
        }
    }

    #[test]
    fn a_change_says_what_it_is_about() {
        let id = MessageId::from_u64(77);
        let sender = |text: &str| Some(SenderFilter::new(text));
        let good = [
            ("all=true", Filter::default()),
            ("domain=X.test", Filter { domain: Some("x.test".into()), ..Filter::default() }),
            ("id=000000000002d", Filter { id: Some(id), ..Filter::default() }),
            (
                "sender=Joe%40a.test&domain=x.test",
                Filter { domain: Some("x.test".into()), sender: sender("Joe@a.test"), id: None },
            ),
            ("sender=a%7Cb%7Cc", Filter { sender: sender("a|b|c"), ..Filter::default() }),
        ];
        for (query, expected) in good {
            assert_eq!(target(query).unwrap(), expected, "{query}");
        }
        let bad = [
            "",
            "all=false",
            "all=",
            "all=true&domain=x.test",
            "domain=",
            "domain=x&domain=y",
            "id=nonsense",
            "sender=&all=true",
            "limit=1&all=true",
            "Domain=x.test",
        ];
        for query in bad {
            assert!(!target(query).unwrap_err().allowed.is_empty(), "{query}");
        }
    }
}
