//! The structure of a password hash: a PHC string of Argon2id (RFC 9106).
//!
//! `$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>`, salt and hash in base64 without padding.
//! Decides whether a text has that structure and whether its cost is bearable: every login pays
//! it, so a hash that asks for gigabytes would let a client stop the relay by logging in.
//! Never verifies a password, and never repeats any part of the text in a message, because messages
//! end up in logs and tickets.

/// Bytes of the whole text; a usual one has about 100.
const TEXT_BYTES_MAX: usize = 512;
/// Memory of one verification, KiB.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 32;
const LANES_MAX: u32 = 16;
/// Base64 characters: salts of 8..=48 bytes, hashes of 12..=64 bytes.
const SALT_CHARS: std::ops::RangeInclusive<usize> = 11..=64;
const HASH_CHARS: std::ops::RangeInclusive<usize> = 16..=86;

/// The text as it is, once its structure is known to be right.
pub fn password_hash(text: &str) -> Result<String, String> {
    if !text.starts_with("$argon2id$") {
        return Err("it does not begin with $argon2id$".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let parts: Vec<&str> = text.split('$').collect();
    let [_, _, version, costs, salt, hash] = parts[..] else {
        let found = parts.len() - 1;
        return Err(format!("it has {found} parts that begin with $, five are needed"));
    };
    if version != "v=19" {
        return Err("the version is not v=19".to_owned());
    }
    check_costs(costs)?;
    check_base64("salt", salt, SALT_CHARS)?;
    check_base64("hash", hash, HASH_CHARS)?;
    Ok(text.to_owned())
}

fn check_costs(costs: &str) -> Result<(), String> {
    let parts: Vec<&str> = costs.split(',').collect();
    let [memory, passes, lanes] = parts[..] else {
        return Err("the costs are not m=..,t=..,p=..".to_owned());
    };
    let memory = cost(memory, "m=", MEMORY_KIB_MAX)?;
    cost(passes, "t=", PASSES_MAX)?;
    let lanes = cost(lanes, "p=", LANES_MAX)?;
    // RFC 9106 3.1: at least 8 blocks of 1 KiB per lane.
    if memory < 8 * lanes {
        return Err("the memory m is less than 8 times the lanes p".to_owned());
    }
    Ok(())
}

fn cost(part: &str, name: &str, max: u32) -> Result<u32, String> {
    let digits = part.strip_prefix(name).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(value) if (1..=max).contains(&value) => Ok(value),
        _ => Err(format!("the cost {name} is not a number from 1 to {max}")),
    }
}

fn check_base64(
    name: &str,
    text: &str,
    chars: std::ops::RangeInclusive<usize>,
) -> Result<(), String> {
    if !chars.contains(&text.len()) {
        let (least, most) = (chars.start(), chars.end());
        return Err(format!("the {name} does not have {least} to {most} characters"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    // One character over a multiple of four holds no whole byte.
    if !text.bytes().all(plain) || text.len() % 4 == 1 {
        return Err(format!("the {name} is not base64 without padding"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures() {
        let salt = "c29tZXNhbHQxMjM0NTY3OA";
        let hash = "iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A";
        let rows = [
            ("$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH", ""),
            ("$argon2id$v=19$m=8,t=1,p=1$SALT$HASH", ""),
            // refused
            ("", "begin with"),
            ("secret", "begin with"),
            ("$argon2i$v=19$m=65536,t=3,p=4$SALT$HASH", "begin with"),
            ("$2b$12$abcdefghijklmnopqrstuv", "begin with"),
            ("$argon2id$..", "2 parts"),
            ("$argon2id$m=65536,t=3,p=4$SALT$HASH", "4 parts"),
            ("$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH$", "6 parts"),
            ("$argon2id$v=16$m=65536,t=3,p=4$SALT$HASH", "version"),
            ("$argon2id$v=19$m=65536,t=3$SALT$HASH", "costs"),
            ("$argon2id$v=19$t=3,m=65536,p=4$SALT$HASH", "cost m="),
            ("$argon2id$v=19$m=4194304,t=3,p=4$SALT$HASH", "cost m="),
            ("$argon2id$v=19$m=65536,t=0,p=4$SALT$HASH", "cost t="),
            ("$argon2id$v=19$m=65536,t=3,p=+4$SALT$HASH", "cost p="),
            ("$argon2id$v=19$m=8,t=1,p=2$SALT$HASH", "8 times"),
            ("$argon2id$v=19$m=65536,t=3,p=4$short$HASH", "salt does not have"),
            ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQxMjM0NTY3OA==$HASH", "salt is not"),
            ("$argon2id$v=19$m=65536,t=3,p=4$SALT$abc", "hash does not have"),
        ];
        for (text, expected) in rows {
            let text = text.replace("SALT", salt).replace("HASH", hash);
            match password_hash(&text) {
                Ok(kept) => assert!(expected.is_empty() && kept == text, "{text}"),
                Err(says) => {
                    assert!(!expected.is_empty() && says.contains(expected), "{text}: {says}");
                    assert!(!says.contains(salt) && !says.contains(hash), "repeats it: {says}");
                }
            }
        }
    }
}
