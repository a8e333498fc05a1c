//! What several commands ask of the values of their arguments.

use hickory_proto::rr::Name;

/// A count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or("a whole number from 1 up".to_owned())
}

pub fn permille(text: &str) -> Result<u16, String> {
    let permille = text.parse().ok().filter(|permille| *permille <= 1000);
    permille.ok_or("a whole number from 0 to 1000".to_owned())
}

pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or("a number above 0".to_owned())
}

/// Text that is safe in an address, a header, a ledger line and JSON.
pub fn word(text: &str) -> Result<String, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(safe) {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 letters, digits, '.', '_' or '-'".to_owned())
    }
}

/// A domain name that leaves room below it.
pub fn suffix(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(word(text)?).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}
