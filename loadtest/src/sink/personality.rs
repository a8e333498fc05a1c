//! How a server behaves, ready to be asked at each command: a `[[site]]` with its words filled in.
//!
//! | behaviour | counted when |
//! |---|---|
//! | `dead`, `session-refused`, `too-many-sessions`, `dropped-at-greeting` | a session meets it |
//! | `rate-limited`, `session-full`, `dropped-after-mail` | a `MAIL` does |
//! | `greylisted`, `unknown-user`, `recipient-rejected`, `recipient-deferred` | a `RCPT` does |
//! | `too-big`, `message-rejected`, `message-deferred` | a message does |
//! | `dropped-in-data`, `dropped-at-end`, `dropped-taken` | a message does |
//! | `broken-tls` | a `STARTTLS` does |
//! | `slowed` | something waits |
//!
//! Only data and dice. What a session does with it is `session.rs`; what several sessions have to
//! remember together is `memory.rs`; who is where is `sites.rs`.

use std::time::Duration;

use crate::profile::site::{self, Chance, Count, Death, Drops, Extension, Site, Slow, Tls};
use crate::profile::words::{Replies, Words};

/// The usual words of the widespread greylisting policy server of Postfix.
const GREYLISTED: &str = "450 4.2.0 <{recipient}>: Recipient address rejected: Greylisted, \
                          see http://postgrey.schweikert.ch/help/{domain}.html";

/// What this server offers and how it treats sessions, recipients and messages.
#[derive(Clone, Debug)]
pub struct Personality {
    pub name: Box<str>,
    pub life: Life,
    pub session_refusal: Odds,
    pub sessions_max: Option<Limit>,
    /// Messages of one connection; the `MAIL` after the last is told so.
    pub messages_max: Option<Limit>,
    pub messages_per_minute: Option<Limit>,
    pub tls: Tls,
    pub chunking: Offer,
    pub pipelining: Offer,
    pub size_max: usize,
    /// A given address always fares alike; the others throw dice anew each time.
    pub unknown_user: Odds,
    pub greylist: Option<Greylist>,
    pub recipient_rejection: Odds,
    pub recipient_deferral: Odds,
    pub message_rejection: Odds,
    pub message_deferral: Odds,
    pub slow: Slow,
    pub drops: Drops,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    /// Takes connections and says nothing. The driver's business, as is all waiting.
    Silent,
    Resets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Made,
    Withheld,
}

/// So many of 1000, and what they are told.
#[derive(Clone, Debug)]
pub struct Odds {
    pub share: u16,
    pub replies: Replies,
}

#[derive(Clone, Debug)]
pub struct Limit {
    pub count: u64,
    pub replies: Replies,
}

#[derive(Clone, Debug)]
pub struct Greylist {
    /// Both must be over: so many refusals, and so long since the first.
    pub attempts: u32,
    pub time: Duration,
    pub replies: Replies,
}

/// What a behaviour did to a session, a command or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Dead,
    DroppedAtGreeting,
    TooManySessions,
    SessionRefused,
    BrokenTls,
    SessionFull,
    RateLimited,
    DroppedAfterMail,
    UnknownUser,
    Greylisted,
    RecipientRejected,
    RecipientDeferred,
    TooBig,
    DroppedInData,
    DroppedAtEnd,
    DroppedTaken,
    MessageRejected,
    MessageDeferred,
    Slowed,
}

impl Behaviour {
    pub const ALL: [Behaviour; 19] = [
        Behaviour::Dead,
        Behaviour::DroppedAtGreeting,
        Behaviour::TooManySessions,
        Behaviour::SessionRefused,
        Behaviour::BrokenTls,
        Behaviour::SessionFull,
        Behaviour::RateLimited,
        Behaviour::DroppedAfterMail,
        Behaviour::UnknownUser,
        Behaviour::Greylisted,
        Behaviour::RecipientRejected,
        Behaviour::RecipientDeferred,
        Behaviour::TooBig,
        Behaviour::DroppedInData,
        Behaviour::DroppedAtEnd,
        Behaviour::DroppedTaken,
        Behaviour::MessageRejected,
        Behaviour::MessageDeferred,
        Behaviour::Slowed,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Behaviour::Dead => "dead",
            Behaviour::DroppedAtGreeting => "dropped-at-greeting",
            Behaviour::TooManySessions => "too-many-sessions",
            Behaviour::SessionRefused => "session-refused",
            Behaviour::BrokenTls => "broken-tls",
            Behaviour::SessionFull => "session-full",
            Behaviour::RateLimited => "rate-limited",
            Behaviour::DroppedAfterMail => "dropped-after-mail",
            Behaviour::UnknownUser => "unknown-user",
            Behaviour::Greylisted => "greylisted",
            Behaviour::RecipientRejected => "recipient-rejected",
            Behaviour::RecipientDeferred => "recipient-deferred",
            Behaviour::TooBig => "too-big",
            Behaviour::DroppedInData => "dropped-in-data",
            Behaviour::DroppedAtEnd => "dropped-at-end",
            Behaviour::DroppedTaken => "dropped-taken",
            Behaviour::MessageRejected => "message-rejected",
            Behaviour::MessageDeferred => "message-deferred",
            Behaviour::Slowed => "slowed",
        }
    }
}

/// Messages beyond this are answered 552 and not kept.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

impl Personality {
    /// A server that accepts everything.
    pub fn kind() -> Personality {
        Personality {
            name: site::ORDINARY.into(),
            life: Life::Alive,
            session_refusal: Odds::never("554 5.3.2 sink.test takes no mail"),
            sessions_max: None,
            messages_max: None,
            messages_per_minute: None,
            tls: Tls::None,
            chunking: Offer::Made,
            pipelining: Offer::Made,
            size_max: MESSAGE_BYTES_MAX,
            unknown_user: Odds::never("550 5.1.1 no such mailbox here"),
            greylist: None,
            recipient_rejection: Odds::never(
                "550 5.7.1 <{recipient}>: Recipient address rejected: Access denied",
            ),
            recipient_deferral: Odds::never("451 4.2.1 come back later"),
            message_rejection: Odds::never("554 5.7.1 Message rejected"),
            message_deferral: Odds::never("451 4.3.0 Temporary failure, try again later"),
            slow: Slow::default(),
            drops: Drops::default(),
        }
    }

    /// What a profile asks for; where it asks for nothing, kind. `tls` is for a site that does not
    /// say what it does of it.
    pub fn of(site: Site, tls: Tls) -> Personality {
        let kind = Personality::kind();
        let offer = |extension| match site.withhold.contains(&extension) {
            true => Offer::Withheld,
            false => Offer::Made,
        };
        Personality {
            name: site.name.into(),
            life: match site.dead {
                None => Life::Alive,
                Some(Death::Silent) => Life::Silent,
                Some(Death::Reset) => Life::Resets,
            },
            session_refusal: kind.session_refusal.or(site.refuse_sessions),
            sessions_max: Limit::of(
                site.sessions_max,
                "421 4.7.0 sink.test too many connections from {client}",
            ),
            messages_max: Limit::of(
                site.messages_per_session,
                "421 4.3.2 enough for one connection",
            ),
            messages_per_minute: Limit::of(
                site.messages_per_minute,
                "450 4.7.1 too many messages from {client}, try again later",
            ),
            tls: site.tls.unwrap_or(tls),
            chunking: offer(Extension::Chunking),
            pipelining: offer(Extension::Pipelining),
            size_max: site
                .size_max
                .map_or(MESSAGE_BYTES_MAX, |Count(bytes)| MESSAGE_BYTES_MAX.min(bytes as usize)),
            unknown_user: kind.unknown_user.or(site.unknown_users),
            greylist: site.greylist.map(|greylist| Greylist {
                attempts: greylist.attempts.0,
                time: Duration::from_secs(greylist.seconds.0.into()),
                replies: greylist.replies.given().unwrap_or_else(|| Replies::of(GREYLISTED)),
            }),
            recipient_rejection: kind.recipient_rejection.or(site.reject_recipients),
            recipient_deferral: kind.recipient_deferral.or(site.defer_recipients),
            message_rejection: kind.message_rejection.or(site.reject_messages),
            message_deferral: kind.message_deferral.or(site.defer_messages),
            slow: site.slow,
            drops: site.drops,
        }
    }

    /// `base` milliseconds, give or take the spread.
    pub fn wait(&self, base: site::Milliseconds, dice: &mut fastrand::Rng) -> Duration {
        let base = f64::from(base.0);
        let spread = f64::from(self.slow.spread_percent.0) / 100.0;
        Duration::from_micros((base * 1000.0 * (1.0 + spread * (2.0 * dice.f64() - 1.0))) as u64)
    }
}

impl Odds {
    pub fn never(text: &str) -> Odds {
        Odds { share: 0, replies: Replies::of(text) }
    }

    fn or<const LOW: u16, const HIGH: u16>(self, chance: Option<Chance<Words<LOW, HIGH>>>) -> Odds {
        match chance {
            None => self,
            Some(chance) => {
                let replies = chance.replies.given().unwrap_or(self.replies);
                Odds { share: chance.share.0, replies }
            }
        }
    }

    pub fn hit(&self, dice: &mut fastrand::Rng) -> bool {
        hit(self.share, dice)
    }
}

/// Throws the dice, but not for what never or always happens.
pub fn hit(share: u16, dice: &mut fastrand::Rng) -> bool {
    match share {
        0 => false,
        1000.. => true,
        _ => dice.u16(..1000) < share,
    }
}

impl Limit {
    fn of(limit: Option<site::Limit>, usual: &str) -> Option<Limit> {
        limit.map(|limit| Limit {
            count: limit.count.0.into(),
            replies: limit.replies.given().unwrap_or_else(|| Replies::of(usual)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn behaviours_have_a_place_and_a_word_of_their_own() {
        for (place, behaviour) in Behaviour::ALL.into_iter().enumerate() {
            assert_eq!(behaviour as usize, place, "{behaviour:?}");
        }
        let words: HashSet<&str> = Behaviour::ALL.into_iter().map(Behaviour::word).collect();
        assert_eq!(words.len(), Behaviour::ALL.len());
    }

    #[test]
    fn shares_are_of_a_thousand_and_the_ends_throw_no_dice() {
        let mut dice = fastrand::Rng::with_seed(5);
        let before = dice.clone();
        assert!(!hit(0, &mut dice) && hit(1000, &mut dice));
        assert_eq!(dice, before);
        let hits = (0..10_000).filter(|_| hit(300, &mut dice)).count();
        assert!((2800..3200).contains(&hits), "{hits}");
    }

    #[test]
    fn what_a_profile_leaves_out_is_kind() {
        let only = |lines: &str, tls| {
            let text = format!("[[site]]\nname = \"a\"\nshare = 1\n{lines}\n");
            Personality::of(site::read(&text).unwrap().remove(0), tls)
        };
        let kind = Personality { name: "a".into(), ..Personality::kind() };
        assert_eq!(format!("{:?}", only("", Tls::None)), format!("{kind:?}"));
        // TLS is as the arguments say, unless the site has a say in it.
        assert_eq!(only("", Tls::Works).tls, Tls::Works);
        assert_eq!(only("tls = \"none\"", Tls::Works).tls, Tls::None);
        assert_eq!(only("size-max = 4294967295", Tls::None).size_max, MESSAGE_BYTES_MAX);
    }
}
