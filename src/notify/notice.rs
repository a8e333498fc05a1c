//! What is to be told: the kind of news, the message it is about, the recipients it concerns.
//!
//! Decides who asked to hear of which kind of news (NOTIFY, RFC 3461 4.1) and which action and
//! status code a report gives for it (RFC 3464 2.3.3, 2.3.4; RFC 3463 2). Never decides whether a
//! delivery failed: a notice states what the queue has concluded.

use crate::message::{Body, Cause, Envelope, Notify, Recipient, StatusCode};
use crate::time::Stamp;

/// The kinds of news, one per notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Given up, by a final answer or by age.
    Failed,
    /// Not delivered yet, still being tried.
    Delayed,
    /// Success was asked for and the next hop has no DSN, so that nobody after us will tell
    /// (RFC 3461 5.2.2).
    Relayed,
    Delivered,
}

impl NoticeKind {
    /// Whether NOTIFY of a recipient asks for this news (RFC 3461 4.1).
    pub fn is_wanted(self, notify: Notify) -> bool {
        match self {
            NoticeKind::Failed => notify.wants_failure(),
            // Without the parameter delays are told at our choice; we do, once the caller asks.
            NoticeKind::Delayed => {
                matches!(notify, Notify::Unspecified | Notify::On { delay: true, .. })
            }
            NoticeKind::Relayed | NoticeKind::Delivered => notify.wants_success(),
        }
    }

    /// The Action field (RFC 3464 2.3.3).
    pub(super) fn action(self) -> &'static str {
        match self {
            NoticeKind::Failed => "failed",
            NoticeKind::Delayed => "delayed",
            NoticeKind::Relayed => "relayed",
            NoticeKind::Delivered => "delivered",
        }
    }

    /// The Status field (RFC 3464 2.3.4): the code of the cause, in a class that fits the action,
    /// because programs act on the class alone.
    ///
    /// A failure by age keeps its 4.x.x: the message as sent was valid, sending it again may work
    /// (RFC 3463 2). A delay over a 5.x.x which we chose to retry is reported as 4.x.x, else a list
    /// would drop the address; the Diagnostic-Code keeps what the remote said.
    pub(super) fn status(self, cause: &Cause) -> StatusCode {
        let said = cause.status();
        // A reply of a class that cannot explain the action is itself a protocol failure.
        let odd = |class| StatusCode::new(class, 5, 0);
        match (self, said.class) {
            (NoticeKind::Failed, 4 | 5) | (NoticeKind::Delayed, 4) => said,
            (NoticeKind::Relayed | NoticeKind::Delivered, 2) => said,
            (NoticeKind::Delayed, 5) => StatusCode { class: 4, ..said },
            (NoticeKind::Failed, _) => odd(5),
            (NoticeKind::Delayed, _) => odd(4),
            (NoticeKind::Relayed | NoticeKind::Delivered, _) => StatusCode::new(2, 0, 0),
        }
    }
}

/// What became of one recipient.
#[derive(Clone, Copy, Debug)]
pub struct NoticeRecipient<'a> {
    pub recipient: &'a Recipient,
    /// The evidence of the last attempt.
    pub cause: &'a Cause,
    /// Name or address of the server last talked to.
    pub remote: Option<&'a str>,
    /// Not read when `attempts` is 0.
    pub last_attempt: Stamp,
    pub attempts: u16,
    /// Told in notices of delay only (RFC 3464 2.3.9).
    pub will_retry_until: Option<Stamp>,
}

/// News about one message.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    pub kind: NoticeKind,
    /// Of the message that the news is about.
    pub envelope: &'a Envelope,
    pub original: &'a Body,
    pub recipients: &'a [NoticeRecipient<'a>],
    /// Whether a failure came of age and not of a final answer.
    pub expired: bool,
}

/// Who tells.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// Our EHLO name.
    pub hostname: &'a str,
    /// The address of the people in charge, without angle brackets.
    pub postmaster: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RemoteReply;

    #[test]
    fn each_kind_of_news_goes_to_those_who_asked_for_it() {
        let on = |success, failure, delay| Notify::On { success, failure, delay };
        // Failed, Delayed, Relayed, Delivered
        let cases = [
            (Notify::Unspecified, [true, true, false, false]),
            (Notify::Never, [false; 4]),
            (on(true, false, false), [false, false, true, true]),
            (on(false, true, false), [true, false, false, false]),
            (on(false, false, true), [false, true, false, false]),
        ];
        let kinds =
            [NoticeKind::Failed, NoticeKind::Delayed, NoticeKind::Relayed, NoticeKind::Delivered];
        for (notify, wanted) in cases {
            assert_eq!(kinds.map(|kind| kind.is_wanted(notify)), wanted, "{notify:?}");
        }
    }

    #[test]
    fn the_class_of_a_status_fits_its_action() {
        let status = |kind: NoticeKind, code, status: (u8, u16, u16)| {
            let status = Some(StatusCode::new(status.0, status.1, status.2));
            let cause = Cause::Reply(RemoteReply { code, status, text: "".into() });
            kind.status(&cause).to_string()
        };
        assert_eq!(status(NoticeKind::Failed, 550, (5, 1, 1)), "5.1.1");
        assert_eq!(status(NoticeKind::Failed, 452, (4, 2, 2)), "4.2.2");
        assert_eq!(status(NoticeKind::Failed, 354, (5, 1, 1)), "5.5.0");
        assert_eq!(status(NoticeKind::Delayed, 554, (5, 7, 1)), "4.7.1");
        assert_eq!(status(NoticeKind::Delayed, 250, (2, 0, 0)), "4.5.0");
        assert_eq!(status(NoticeKind::Relayed, 250, (2, 1, 5)), "2.1.5");
        assert_eq!(status(NoticeKind::Delivered, 354, (2, 0, 0)), "2.0.0");
    }
}
