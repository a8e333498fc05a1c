//! The cases of both micro-benches: what is measured, on which input, and what must come out.
//!
//! `micro.rs` measures their time, `counts.rs` the instructions that they take. Each is a [`Meter`]
//! and calls the same functions, so that the two never measure different things. A case prepares
//! its input outside of the measured part, and what came out is checked outside of it as well: a
//! case with a wrong answer panics, whoever runs it.
//!
//! Names are `part/what-variant` and stand in `counts.txt`; a case that changes its input gets a
//! new name. Nothing here reads a clock or a file, and all input is made from constants.
//!
//! | file | what |
//! |---|---|
//! | `mail` | messages, envelopes, entries: the input of the others |
//! | `wire` | commands, replies, content, both sessions |
//! | `stages` | from a transaction to records and changes; events; notices |
//! | `names` | DNS |
//! | `letters` | what a message says: its content as the filter reads it |
//! | `picks` | who is next: the schedule of queues, the senders of a lane |

mod letters;
mod mail;
mod names;
mod picks;
mod stages;
mod wire;

/// Measures one case.
pub trait Meter {
    /// Runs `run` on what `prepare` gives, as often as it takes. Each result that is kept goes
    /// through `check`.
    fn measure<I, O>(
        &mut self,
        prepare: impl FnMut() -> I,
        run: impl FnMut(I) -> O,
        check: impl Fn(&O),
    );
}

/// What one run of a case works through.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Bytes(u64),
    Elements(u64),
}

pub struct Case<M> {
    /// `part/what-variant`.
    pub name: &'static str,
    pub work: Work,
    /// Makes the input and hands it to the meter.
    pub run: fn(&mut M),
}

const KIB: usize = 1024;
/// The sizes of a usual and of a large message.
const USUAL: usize = 4 * KIB;
const LARGE: usize = 100 * KIB;

/// All cases, in the order of a message's journey.
#[rustfmt::skip]
pub fn all<M: Meter>() -> Vec<Case<M>> {
    let case = |name, work, run| Case { name, work, run };
    let (usual, large) = (Work::Bytes(USUAL as u64), Work::Bytes(LARGE as u64));
    let (one, hundred) = (Work::Elements(1), Work::Elements(100));
    vec![
        case("command/mail", one, wire::command_mail),
        case("command/rcpt", one, wire::command_rcpt),
        case("command/rcpt-dsn", one, wire::command_rcpt_dsn),
        case("command/refused", one, wire::command_refused),
        case("content/unstuff-text-4k", usual, |m| wire::unstuff(m, mail::text(USUAL))),
        case("content/unstuff-text-100k", large, |m| wire::unstuff(m, mail::text(LARGE))),
        case("content/unstuff-dots-100k", large, |m| wire::unstuff(m, mail::dots(LARGE))),
        case("content/unstuff-worst-100k", large, |m| wire::unstuff(m, mail::bare_ends(LARGE))),
        case("content/search-text-4k", usual, |m| wire::search(m, mail::text(USUAL))),
        case("content/search-text-100k", large, |m| wire::search(m, mail::text(LARGE))),
        case("content/search-worst-100k", large, |m| wire::search(m, mail::bare_ends(LARGE))),
        case("server/data-4k", one, |m| wire::serve_data(m, USUAL)),
        case("server/data-100k", one, |m| wire::serve_data(m, LARGE)),
        case("server/bdat-4k", one, |m| wire::serve_bdat(m, USUAL)),
        case("server/bdat-100k", one, |m| wire::serve_bdat(m, LARGE)),
        case("server/recipients-100", hundred, wire::serve_recipients),
        case("trace/received", one, stages::received),
        case("trace/hops-typical", Work::Bytes(mail::HEADER.len() as u64), stages::hops_typical),
        case("trace/hops-worst-100k", large, stages::hops_worst),
        case("letters/plain-4k", usual, |m| letters::read(m, letters::plain(USUAL))),
        case("letters/alternative-4k", usual, |m| letters::read(m, letters::alternative(USUAL))),
        case("letters/html-100k", large, |m| letters::read(m, letters::newsletter(LARGE))),
        case("letters/html-base64-100k", large, |m| letters::read(m, letters::encoded(LARGE))),
        case("letters/attachment-100k", large, |m| letters::read(m, letters::attachment(LARGE))),
        case("letters/tags-worst-100k", large, |m| letters::read(m, letters::tags(LARGE))),
        case("letters/words-4k", usual, |m| letters::words(m, letters::plain(USUAL))),
        case("accept/identify-screen-4k", one, |m| stages::identify_and_screen(m, USUAL)),
        case("accept/admit-recipient", one, |m| stages::admit_to(m, 1, 1)),
        case("accept/admit-recipients-100", hundred, |m| stages::admit_to(m, 100, 10)),
        case("record/envelope-encode", one, stages::envelope_encode),
        case("record/envelope-decode", one, stages::envelope_decode),
        case("record/due-encode", one, stages::due_encode),
        case("record/due-decode", one, stages::due_decode),
        case("record/key-decode", one, stages::key_decode),
        case("change/accept-and-finish", one, |m| stages::translate(m, 1)),
        case("change/accept-and-finish-10", one, |m| stages::translate(m, 10)),
        case("schedule/fresh-of-1", one, |m| picks::fresh(m, 1)),
        case("schedule/fresh-of-1000", one, |m| picks::fresh(m, 1_000)),
        case("schedule/fresh-of-100000", one, |m| picks::fresh(m, 100_000)),
        case("schedule/due-of-1", one, |m| picks::due(m, 1)),
        case("schedule/due-of-1000", one, |m| picks::due(m, 1_000)),
        case("schedule/due-of-100000", one, |m| picks::due(m, 100_000)),
        case("lane/turn-of-1", one, |m| picks::turn(m, 1)),
        case("lane/turn-of-1000", one, |m| picks::turn(m, 1_000)),
        case("lane/turn-of-100000", one, |m| picks::turn(m, 100_000)),
        case("lane/unpark-of-1000", one, |m| picks::unpark(m, 1_000)),
        case("dns/query", one, names::query),
        case("dns/answer-a", one, names::answer_a),
        case("dns/answer-mx", one, names::answer_mx),
        case("dns/answer-alias", one, names::answer_alias),
        case("dns/cache-hit", one, names::cache_hit),
        case("client/bdat-4k", one, |m| wire::deliver(m, wire::Remote::Chunking, USUAL)),
        case("client/data-4k", one, |m| wire::deliver(m, wire::Remote::Plain, USUAL)),
        case("client/bdat-100k", one, |m| wire::deliver(m, wire::Remote::Chunking, LARGE)),
        case("client/data-100k", one, |m| wire::deliver(m, wire::Remote::Plain, LARGE)),
        case("reply/read-line", one, wire::reply_line),
        case("reply/read-ehlo", one, wire::reply_ehlo),
        case("reply/write", one, wire::reply_write),
        case("event/accepted", one, stages::event_accepted),
        case("event/delivered", one, stages::event_delivered),
        case("notice/failed", one, stages::notice_failed),
    ]
}
