//! Compares passwords with argon2 hashes, on threads of their own.
//!
//! One comparison costs tens of milliseconds of a core by design. A shard would stand still
//! meanwhile, and its pool for disk reads would make deliveries wait. So a quarter of the
//! cores, one at least, does nothing else, and a flood of logins waits for them in line.
//! The line is bounded by the sessions: each waits for one answer at most. A question whose
//! session is gone is not worked on.
//! A thread's panic is an answer of "no": a login is refused, never granted, by a mistake of ours.

use super::balance::{Inbox, Message};
use argon2::Argon2;
use argon2::password_hash::{PasswordVerifier, phc::PasswordHash};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;

/// Takes questions; cheap to clone. The threads end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct PasswordDesk {
    questions: Sender<Question>,
}

#[derive(Debug)]
struct Question {
    hash: Box<str>,
    password: Vec<u8>,
    /// Whoever asked holds the other end as long as the answer matters.
    asker: Weak<()>,
    answer: Answer,
}

#[derive(Debug)]
struct Answer {
    inbox: Arc<Inbox>,
    ticket: u64,
}

impl PasswordDesk {
    pub fn start(cores: usize) -> io::Result<Self> {
        let (questions, receiver) = unbounded();
        for number in 0..(cores / 4).max(1) {
            let receiver: Receiver<Question> = receiver.clone();
            let thread = thread::Builder::new().name(format!("baton-auth-{number}"));
            thread.spawn(move || receiver.into_iter().for_each(Question::answer))?;
        }
        Ok(PasswordDesk { questions })
    }

    /// The answer comes to `inbox` under `ticket`. It is not worked on once the returned value is
    /// dropped.
    pub fn ask(&self, hash: &str, password: Vec<u8>, inbox: Arc<Inbox>, ticket: u64) -> Arc<()> {
        let interest = Arc::new(());
        let asker = Arc::downgrade(&interest);
        let answer = Answer { inbox, ticket };
        let question = Question { hash: hash.into(), password, asker, answer };
        self.questions.send(question).expect("the threads end after the last desk");
        interest
    }
}

impl Question {
    fn answer(self) {
        let wanted = self.asker.strong_count() > 0;
        let check = || wanted && matches(&self.hash, &self.password);
        let matches = catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
        let Answer { inbox, ticket } = self.answer;
        inbox.push(Message::Password { ticket, matches });
    }
}

/// Whether `password` has this hash; the costs are those that the hash names.
fn matches(hash: &str, password: &[u8]) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password, &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordHasher;
    use argon2::{Algorithm, Params, Version};
    use futures_lite::future::block_on;

    #[test]
    fn answers_come_by_ticket_and_only_the_right_password_matches() {
        let cheap = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let hash: PasswordHash = argon2.hash_password_with_salt(b"secret", b"saltsalt").unwrap();
        let hash = hash.to_string();
        let desk = PasswordDesk::start(1).unwrap();
        let inbox = Arc::new(Inbox::default());
        let rows: [(&str, &[u8], bool); 5] = [
            (&hash, b"secret", true),
            (&hash, b"Secret", false),
            (&hash, b"", false),
            (&hash, b"secret\0", false),
            ("no hash", b"secret", false),
        ];
        for (number, (hash, password, expected)) in (0_u64..).zip(rows) {
            let _interest = desk.ask(hash, password.to_vec(), Arc::clone(&inbox), number);
            let Message::Password { ticket, matches } = block_on(inbox.next()) else {
                panic!("not an answer");
            };
            assert_eq!((ticket, matches), (number, expected));
        }
    }
}
