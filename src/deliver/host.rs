//! The addresses of a mail host, in the order in which they are tried.
//!
//! Decides which addresses are worth a connection: those of the families in use, no more than
//! [`ADDRESSES_MAX`], and none that leads to this machine or to nobody in particular. A record of
//! somebody else's must not send our mail into services of this machine, or back to ourselves.
//!
//! The order is at random inside a family, and the families take turns from one that is drawn too.
//! RFC 6724 would put IPv6 first wherever it works; but it orders by reachability, which for mail
//! says nothing of whether that address of ours is welcome there. In turns, a family that fails
//! costs one attempt at most before the other has its chance.
//!
//! RFC 5321 5.1, RFC 6890 (special addresses), RFC 3463 3.5.

use super::mx::{UNROUTABLE, recipient_fault, shuffle, unanswered};
use crate::dns::{Answer, Finding, Kind};
use crate::message::Outcome;
use std::net::IpAddr;

/// Addresses tried of one host.
pub const ADDRESSES_MAX: usize = 16;

/// Whether names may lead to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    Refused,
    Allowed,
}

/// The addresses to try. `findings` are those of each family that is in use: an answer of one is
/// enough.
///
/// # Errors
/// When the host has none: for good (5.4.4, which speaks of this host, not of the others of its
/// domain), or until DNS answers (4.4.3).
pub fn addresses(
    host: &str,
    findings: &[(Kind, Finding)],
    loopback: Loopback,
    mut random: u64,
) -> Result<Vec<IpAddr>, Outcome> {
    let mut families = Vec::with_capacity(findings.len());
    let (mut refused, mut missing, mut unknown) = (None, false, None);
    for (kind, finding) in findings {
        let answer = match finding {
            Ok(answer) => answer,
            Err(failure) => {
                unknown = Some((*kind, *failure));
                continue;
            }
        };
        missing |= matches!(**answer, Answer::NoName { .. });
        let (mut good, bad): (Vec<IpAddr>, Vec<IpAddr>) =
            answer.addresses().partition(|address| leads_somewhere(*address, loopback));
        refused = refused.or(bad.first().copied());
        shuffle(&mut good, &mut random);
        families.push(good);
    }
    shuffle(&mut families, &mut random);
    let most = families.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..most).flat_map(|turn| families.iter().filter_map(move |one| one.get(turn)));
    let found: Vec<IpAddr> = turns.take(ADDRESSES_MAX).copied().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some((kind, failure)) = unknown {
        return Err(unanswered(host, kind, failure));
    }
    Err(match (refused, missing) {
        (Some(address), _) => unreachable(host, address),
        (None, true) => recipient_fault(UNROUTABLE, format!("the mail host {host} does not exist")),
        (None, false) => {
            recipient_fault(UNROUTABLE, format!("the mail host {host} has no address"))
        }
    })
}

/// The address of a host that is called by its address.
///
/// # Errors
/// 5.4.4 when it leads nowhere.
pub fn literal(address: IpAddr, loopback: Loopback) -> Result<IpAddr, Outcome> {
    match leads_somewhere(address, loopback) {
        true => Ok(address),
        false => Err(unreachable(&address.to_string(), address)),
    }
}

/// Of a host that cannot be looked up.
pub fn no_name(host: &str) -> Outcome {
    recipient_fault(UNROUTABLE, format!("the mail host {host} has no valid name"))
}

fn unreachable(host: &str, address: IpAddr) -> Outcome {
    let words = format!("the mail host {host} has the address {address}, which is no other host's");
    recipient_fault(UNROUTABLE, words)
}

fn leads_somewhere(address: IpAddr, loopback: Loopback) -> bool {
    // ::ffff:127.0.0.1 is 127.0.0.1 to the kernel.
    let address = address.to_canonical();
    let nobody = match address {
        // All of 0.0.0.0/8 is "this host" (RFC 6890).
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    let here = address.is_loopback() && loopback == Loopback::Refused;
    !nobody && !here && !address.is_multicast()
}
