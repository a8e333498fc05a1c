//! A panic in a task ends that task, not its shard.
//!
//! [`install`] sets a hook that writes down what happened and where, with the backtrace: it only
//! exists while the panic unwinds. [`Guarded`] catches the panic and hands the words to whoever
//! reports it. A panic outside of a guarded task (start-up, the committer, control) keeps the
//! behaviour it had: the previous hook prints it.
//!
//! A panic while a task is dropped, or a second one while the first unwinds, still aborts: glommio
//! and the language leave no choice.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

/// Octets of a panic's words and backtrace that are reported.
const WORDS_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sets the hook, once per process.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                WORDS.set(Some(describe(info)));
            } else {
                previous(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let mut words = payload_words(info.payload()).to_owned();
    if let Some(place) = info.location() {
        // Writing to a String cannot fail.
        let _ = write!(words, " at {place}");
    }
    let _ = write!(words, "\n{}", Backtrace::force_capture());
    let end = words.floor_char_boundary(WORDS_BYTES_MAX);
    words.truncate(end);
    words
}

fn payload_words(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// A task whose panic is reported and goes no further.
pub struct Guarded<T, R> {
    /// `None` once it has panicked: what is left of it is dropped at once.
    task: Option<T>,
    report: R,
}

impl<T, R> Guarded<T, R>
where
    T: Future<Output = ()>,
    R: Fn(Box<str>) + Unpin,
{
    pub fn new(task: T, report: R) -> Self {
        Guarded { task: Some(task), report }
    }
}

impl<T, R> Future for Guarded<T, R>
where
    T: Future<Output = ()>,
    R: Fn(Box<str>) + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `task` is pinned with its owner: it is never moved out, only polled in place or
        // dropped in place by `Pin::set`; `report` is `Unpin`, and there is no `Drop`.
        let (mut task, report) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.task), &this.report)
        };
        let Some(running) = task.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        GUARDED.set(true);
        let result = panic::catch_unwind(AssertUnwindSafe(|| running.poll(cx)));
        GUARDED.set(false);
        match result {
            Ok(progress) => progress,
            Err(payload) => {
                let words = WORDS.take().unwrap_or_else(|| payload_words(&*payload).to_owned());
                report(words.into());
                task.set(None);
                Poll::Ready(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::rc::Rc;

    #[test]
    fn a_panic_ends_its_task_with_words_and_a_backtrace() {
        install();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let held = Rc::new(());
        let (report, kept) = (Rc::clone(&heard), Rc::clone(&held));
        let task = async move {
            let _kept = kept;
            futures_lite::future::yield_now().await;
            panic!("the {} is gone", "baton");
        };
        block_on(Guarded::new(task, |words| report.borrow_mut().push(words)));
        let heard = heard.borrow();
        assert_eq!(heard.len(), 1);
        assert!(
            heard[0].starts_with("the baton is gone at src/runtime/panics.rs:"),
            "{}",
            heard[0]
        );
        assert!(heard[0].lines().count() > 1, "a backtrace follows");
        assert_eq!(Rc::strong_count(&held), 1, "what the task held is dropped");
    }

    #[test]
    fn a_task_that_ends_well_reports_nothing() {
        block_on(Guarded::new(async {}, |words| panic!("{words}")));
    }
}
