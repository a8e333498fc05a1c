//! What the outside saw: every submission with its answer, every delivery with its circumstances.
//!
//! The senders and the remote servers write, the oracle reads. Nothing in it comes from the relay's
//! own account of itself.
//! A delivery keeps the place behind its final reply: whether the relay ever read that far decides
//! whether it may deliver again.

use super::executor::Group;
use super::mail::{Identity, Notify, field, fields};
use super::pipe::Mark;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// What the relay said to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The last octet was never sent: the relay cannot have the message.
    Cut,
    /// It was sent, and no answer came: the relay may have the message.
    Unknown,
    Refused,
    /// 250: the relay answers for it.
    Accepted,
}

/// One try to hand one message to the relay.
#[derive(Clone, Debug)]
pub struct Submission {
    /// `None` is the null path.
    pub sender: Option<String>,
    pub notify: Notify,
    /// Those whose RCPT was answered 250.
    pub recipients: Vec<String>,
    pub content: Vec<u8>,
    pub answer: Answer,
    /// The id in the answer.
    pub id: Option<String>,
}

/// A message that a remote server kept.
#[derive(Clone)]
pub struct Delivery {
    pub identity: Identity,
    pub sender: String,
    pub recipients: Vec<String>,
    pub message: Vec<u8>,
    /// The server tells of success itself.
    pub offers_dsn: bool,
    /// The life of the relay that opened the connection.
    pub life: Group,
    /// Behind the final reply; `None` when none was sent.
    pub reply: RefCell<Option<Mark>>,
    /// Recipients that a crash brought back to the queue after this.
    pub forgotten: RefCell<Vec<String>>,
}

impl Delivery {
    /// Whether the relay may deliver to `recipient` once more: it cannot know that it did, or its
    /// note of it was lost in a crash, which the design allows.
    pub fn is_excused(&self, recipient: &str) -> bool {
        let heard = self.reply.borrow().as_ref().is_some_and(Mark::was_read);
        !heard || self.forgotten.borrow().iter().any(|forgotten| forgotten == recipient)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    Failed,
    /// Delivered to a server that does not tell of success.
    Relayed,
    /// Still in the queue.
    Delayed,
}

/// A notice that a sender's server kept, read.
#[derive(Debug)]
pub struct NoticeRead {
    pub news: News,
    /// The submission that it is about.
    pub token: String,
    pub recipients: Vec<String>,
}

impl NoticeRead {
    /// # Panics
    /// When it does not return the header of a submission.
    pub fn new(notice: &[u8]) -> Self {
        let text = String::from_utf8_lossy(notice);
        let token = field(&text, "X-Token");
        let token = token.unwrap_or_else(|| panic!("a notice about nothing:\n{text}")).to_owned();
        let recipients = fields(&text, "Final-Recipient").filter_map(|value| value.split_once(';'));
        let recipients = recipients.map(|(_, address)| address.trim().to_owned()).collect();
        let news = match field(&text, "Action") {
            Some("failed") => News::Failed,
            Some("relayed") => News::Relayed,
            Some("delayed") => News::Delayed,
            other => panic!("news of {other:?}:\n{text}"),
        };
        NoticeRead { news, token, recipients }
    }

    pub fn tells(&self, news: News, token: &str, recipient: &str) -> bool {
        self.news == news
            && self.token == token
            && self.recipients.iter().any(|told| told == recipient)
    }
}

#[derive(Default)]
pub struct Ledger {
    submissions: RefCell<BTreeMap<String, Submission>>,
    deliveries: RefCell<Vec<Delivery>>,
    /// Breaches of protocol that a remote server saw.
    breaches: RefCell<Vec<String>>,
    /// Mails that their sender is not done with.
    unsettled: Cell<u32>,
}

impl Ledger {
    pub fn submit(&self, token: &str, submission: Submission) {
        let before = self.submissions.borrow_mut().insert(token.to_owned(), submission);
        assert!(before.is_none(), "token {token} is used twice");
    }

    pub fn update(&self, token: &str, change: impl FnOnce(&mut Submission)) {
        change(self.submissions.borrow_mut().get_mut(token).expect("a known token"));
    }

    pub fn submissions(&self) -> BTreeMap<String, Submission> {
        self.submissions.borrow().clone()
    }

    /// Keeps a delivery and gives the place where its final reply is noted.
    pub fn keep(&self, delivery: Delivery) -> usize {
        let mut deliveries = self.deliveries.borrow_mut();
        deliveries.push(delivery);
        deliveries.len() - 1
    }

    /// Keeps a delivery once more, changed: for trying the oracle.
    pub fn keep_again(&self, place: usize, change: impl FnOnce(&mut Delivery)) {
        let mut again = self.deliveries.borrow()[place].clone();
        change(&mut again);
        self.keep(again);
    }

    /// The final reply of a delivery was sent; it ends at `mark`.
    pub fn replied(&self, place: usize, mark: Mark) {
        *self.deliveries.borrow()[place].reply.borrow_mut() = Some(mark);
    }

    pub fn with_deliveries<T>(&self, look: impl FnOnce(&[Delivery]) -> T) -> T {
        look(&self.deliveries.borrow())
    }

    pub fn breach(&self, words: String) {
        self.breaches.borrow_mut().push(words);
    }

    pub fn breaches(&self) -> Vec<String> {
        self.breaches.borrow().clone()
    }

    pub fn begun(&self, mails: u32) {
        self.unsettled.set(self.unsettled.get() + mails);
    }

    pub fn settled(&self) {
        self.unsettled.set(self.unsettled.get() - 1);
    }

    pub fn unsettled(&self) -> u32 {
        self.unsettled.get()
    }

    /// The notices among the deliveries, each once.
    pub fn notices(&self) -> BTreeMap<String, NoticeRead> {
        let deliveries = self.deliveries.borrow();
        let notices = deliveries.iter().filter_map(|delivery| match &delivery.identity {
            Identity::Notice(id) => Some((id.clone(), NoticeRead::new(&delivery.message))),
            Identity::Message(_) => None,
        });
        notices.collect()
    }

    /// After a crash: deliveries whose recipients wait on disk again. `waiting` is told by the
    /// disk.
    pub fn forget(&self, waiting: &BTreeSet<(Identity, String)>) {
        for delivery in &*self.deliveries.borrow() {
            let again =
                |to: &&String| waiting.contains(&(delivery.identity.clone(), (*to).clone()));
            let again: Vec<_> = delivery.recipients.iter().filter(again).cloned().collect();
            delivery.forgotten.borrow_mut().extend(again);
        }
    }
}
