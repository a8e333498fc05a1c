//! The threads that wait for the disk: reads that shards ask for, answered in batches.
//!
//! A shard must not wait for a read, so it leaves its question here and hears the answer like that of
//! a commit: all answers that are ready go with one wake. A thread takes what is waiting up to a
//! bound before it wakes anybody. So under load a read costs a push, and at rest a wake; a thread
//! pool that hands over each call by itself cost more than the reads (a third of the CPU time of a
//! backlog that drains).

use super::completions::{Done, Wakes};
use super::open::Store;
use crate::message::{Body, Envelope, MessageId};
use crate::shard::world::{Asked, LoadError, Page};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::thread;

/// Questions that one thread answers before it wakes those who asked.
const ANSWERS_AT_ONCE: usize = 16;

/// What a shard wants to read; see `World` for what each means.
#[derive(Debug)]
pub enum Question {
    Pages(Vec<Asked>),
    Message(MessageId),
    Envelopes(Vec<MessageId>),
}

/// The answer to the question of the same name.
#[derive(Debug)]
pub enum Answer {
    Pages(Vec<Result<Page, LoadError>>),
    Message(Result<Option<(Envelope, Body)>, LoadError>),
    Envelopes(Result<Vec<Option<Envelope>>, LoadError>),
}

/// Where questions go; clones share it.
#[derive(Clone, Debug)]
pub struct Readers {
    questions: Sender<(Question, Done<Answer>)>,
}

impl Readers {
    /// The threads end when nobody can ask any more.
    pub fn start(store: &Store, threads: usize) -> io::Result<Readers> {
        let (questions, asked) = unbounded();
        for number in 0..threads {
            let (store, asked) = (store.clone(), asked.clone());
            let thread = thread::Builder::new().name(format!("baton-read-{number}"));
            thread.spawn(move || {
                // The panic hook has printed why. Shards that wait for an answer would wait for ever.
                let read = || answer_for_ever(&store, &asked);
                catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| abort());
            })?;
        }
        Ok(Readers { questions })
    }

    /// The answer comes to `done`. Never blocks.
    pub fn ask(&self, question: Question, done: Done<Answer>) {
        self.questions
            .send((question, done))
            .expect("the threads live as long as somebody can ask");
    }
}

fn answer_for_ever(store: &Store, asked: &Receiver<(Question, Done<Answer>)>) {
    let mut wakes = Wakes::default();
    while let Ok(first) = asked.recv() {
        let more = asked.try_iter().take(ANSWERS_AT_ONCE - 1);
        for (question, done) in std::iter::once(first).chain(more) {
            wakes.push(done, answer(store, question));
        }
        wakes.wake();
    }
}

fn answer(store: &Store, question: Question) -> Answer {
    match question {
        Question::Pages(asked) => {
            Answer::Pages(asked.into_iter().map(|asked| store.page(asked)).collect())
        }
        Question::Message(id) => Answer::Message(store.load(id)),
        Question::Envelopes(ids) => {
            let one = |id| match store.envelope(id) {
                // One that is damaged must not hide the others.
                Err(LoadError::Record(_)) => Ok(None),
                found => found,
            };
            Answer::Envelopes(ids.into_iter().map(one).collect())
        }
    }
}
