//! The directory of a zip archive: names, sizes and flags, nothing inflated.
//!
//! APPNOTE 4.3.12 (central directory) and 4.3.16 (its end). The directory stands right before its
//! end record, so the end of the archive is enough, and what precedes it may be cut. Numbers are
//! the archive's own claims: a bomb that states its size is told by it, and nothing here unpacks.

use super::limits::{Bound, ContentLimits};
use super::sign::Facts;
use memchr::memmem;

/// What the directory says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) names: Vec<String>,
    pub(super) encrypted: u32,
    /// Octets of all entries that were read, packed and unpacked.
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
/// The end record and the longest comment after it.
const END_BYTES_MAX: usize = 22 + 65_535;

/// `tail` is the end of an archive. None without a directory.
pub(super) fn read(tail: &[u8], limits: &ContentLimits, facts: &mut Facts) -> Option<Directory> {
    let window = tail.len().saturating_sub(END_BYTES_MAX);
    let end = window + memmem::rfind(&tail[window..], END)?;
    let size = number(tail, end + 12, 4)? as usize;
    // Where the directory is longer than what is here, its last entries are looked for.
    let start = end.saturating_sub(size);
    let mut rest = &tail[start..end];
    if !rest.starts_with(ENTRY) {
        rest = &rest[memmem::find(rest, ENTRY).unwrap_or(rest.len())..];
    }
    let mut directory = Directory::default();
    while rest.starts_with(ENTRY) {
        if directory.names.len() == limits.archive_names_max {
            facts.exceeded(Bound::ArchiveNames);
            break;
        }
        let (Some(flags), Some(packed), Some(unpacked)) =
            (number(rest, 8, 2), number(rest, 20, 4), number(rest, 24, 4))
        else {
            break;
        };
        let lengths = [28, 30, 32].map(|at| number(rest, at, 2).unwrap_or(0) as usize);
        let name = rest.get(46..46 + lengths[0]).unwrap_or_default();
        directory.names.push(String::from_utf8_lossy(&name[..name.len().min(256)]).into_owned());
        directory.encrypted += u32::from(flags & 1 != 0);
        directory.packed += packed;
        directory.unpacked += unpacked;
        rest = rest.get(46 + lengths.iter().sum::<usize>()..).unwrap_or_default();
    }
    (!directory.names.is_empty() || size == 0).then_some(directory)
}

/// A number of up to four octets, the least first.
fn number(octets: &[u8], at: usize, length: usize) -> Option<u64> {
    let octets = octets.get(at..at + length)?;
    Some(octets.iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

/// An archive of empty entries for tests: name, flags, packed and unpacked octets.
#[cfg(test)]
pub(super) fn archive(entries: &[(&str, u16, u32, u32)]) -> Vec<u8> {
    let mut octets = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
    let start = octets.len();
    for (name, flags, packed, unpacked) in entries {
        octets.extend_from_slice(ENTRY);
        octets.extend_from_slice(&[20, 0, 20, 0]);
        octets.extend_from_slice(&flags.to_le_bytes());
        octets.extend_from_slice(&[0; 10]);
        octets.extend_from_slice(&packed.to_le_bytes());
        octets.extend_from_slice(&unpacked.to_le_bytes());
        octets.extend_from_slice(&(name.len() as u16).to_le_bytes());
        octets.extend_from_slice(&[0; 16]);
        octets.extend_from_slice(name.as_bytes());
    }
    let size = (octets.len() - start) as u32;
    octets.extend_from_slice(END);
    octets.extend_from_slice(&[0; 4]);
    octets.extend_from_slice(&(entries.len() as u16).to_le_bytes().repeat(2));
    octets.extend_from_slice(&size.to_le_bytes());
    octets.extend_from_slice(&[0; 6]);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_from_the_end() {
        let octets = archive(&[("a.txt", 0, 10, 20), ("b/c.exe", 1, 5, 5)]);
        let limits = ContentLimits::STANDARD;
        for cut in [0, 4, 10] {
            let found = read(&octets[cut..], &limits, &mut Facts::default()).expect("a directory");
            assert_eq!(found.names, ["a.txt", "b/c.exe"]);
            assert_eq!((found.encrypted, found.packed, found.unpacked), (1, 15, 25));
        }
        for length in 0..octets.len() {
            let _ = read(&octets[..length], &limits, &mut Facts::default());
        }
        assert_eq!(read(b"PK\x03\x04", &limits, &mut Facts::default()), None);
    }
}
