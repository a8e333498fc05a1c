//! The queue as text for a terminal, readable by a person at three in the morning.
//!
//! Times are told as distances ("in 4m", "2h ago"), because that is the question at that hour, and
//! the full date stands only where one message is shown. Columns are as wide as what they hold, and
//! the longest, the remote's words, comes last so that nothing hides behind it. Words of peers and
//! remotes are shown with control characters replaced: a terminal must not obey them.

use super::view::{QueueChanges, QueueDetail, QueueGroup, QueueList, QueueRow};
use crate::time::Stamp;
use std::fmt::Write;

/// Letters of one column but the last; what is longer is cut.
const COLUMN_LETTERS_MAX: usize = 40;
const HEADS: [&str; 7] = ["ID", "NEXT", "TRIES", "RCPTS", "SIZE", "DOMAIN", "FROM"];
const GAP: &str = "  ";

/// The table of `baton queue list`.
pub fn list(list: &QueueList, now: Stamp) -> String {
    if list.entries.is_empty() {
        return "Nothing that matches waits in the queue.\n".to_owned();
    }
    let rows: Vec<_> = list.entries.iter().map(|row| cells(row, now)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| letters(&row[column]));
        cells.chain([letters(HEADS[column])]).max().unwrap_or(0)
    };
    let widths: [usize; HEADS.len()] = std::array::from_fn(width);
    let mut out = String::new();
    line(&mut out, HEADS, &widths, "LAST ANSWER");
    for (cells, row) in rows.iter().zip(&list.entries) {
        let last = row.last.as_deref().unwrap_or("-");
        line(&mut out, cells.each_ref().map(String::as_str), &widths, &printable(last));
    }
    let count = list.entries.len();
    let _ = match list.more {
        true => {
            writeln!(out, "\n{count} entries shown, more match: narrow with --domain, --sender")
        }
        false => writeln!(out, "\n{count} {}", plural(count, "entry", "entries")),
    };
    out
}

/// The page of `baton queue show`.
pub fn show(detail: &QueueDetail, now: Stamp) -> String {
    let waiting: usize = detail.groups.iter().map(|group| group.waiting.len()).sum();
    let total = detail.recipients;
    let mut out = String::new();
    let lines = [
        ("Message", detail.id.to_string()),
        ("Received", format!("{} ({})", detail.received, distance(detail.received, now))),
        ("From", format!("<{}>", printable(&detail.sender))),
        ("Sender", printable(&detail.sender_id)),
        ("Account", printable(&detail.account)),
        (
            "Peer",
            format!(
                "{} ({}) with {}",
                printable(&detail.peer),
                printable(&detail.helo),
                printable(&detail.protocol)
            ),
        ),
        ("Size", size(detail.bytes)),
        ("Waiting", format!("{waiting} of {total} {}", plural(waiting, "recipient", "recipients"))),
    ];
    for (name, value) in lines {
        let _ = writeln!(out, "{name:<9} {value}");
    }
    for group in &detail.groups {
        show_group(&mut out, group, now);
    }
    out
}

/// What `baton queue retry` and the like did.
pub fn changes(changes: &QueueChanges) -> String {
    let QueueChanges { action, changed, under_way, damaged } = changes;
    let count =
        |count: u64| plural(usize::try_from(count).unwrap_or(usize::MAX), "entry", "entries");
    let did = match &**action {
        "retry" => "will be tried now",
        "hold" => "held",
        "release" => "released",
        "drop" => "dropped",
        other => other,
    };
    let mut out = format!("{changed} {} {did}\n", count(*changed));
    if *under_way > 0 {
        let _ = writeln!(out, "{under_way} left alone: an attempt on them was going on; ask again");
    }
    if *damaged > 0 {
        let _ = writeln!(out, "{damaged} left alone: they cannot be read, see the log");
    }
    out
}

fn show_group(out: &mut String, group: &QueueGroup, now: Stamp) {
    let tries = usize::from(group.attempts);
    let _ =
        write!(out, "\n{}: {} {}", printable(&group.domain), tries, plural(tries, "try", "tries"));
    let expires = distance(group.expires, now);
    let _ = match group.due {
        Some(due) => writeln!(out, ", next {} ({due}), given up {expires}", distance(due, now)),
        None => writeln!(out, ", held until it is released, given up {expires}"),
    };
    for waiting in &group.waiting {
        let _ = writeln!(out, "  <{}>", printable(&waiting.address));
        if let Some(last) = &waiting.last {
            let _ = writeln!(out, "      {}", printable(last));
        }
    }
}

fn cells(row: &QueueRow, now: Stamp) -> [String; HEADS.len()] {
    // What is due but not yet tried has its lane to wait for; how long it is overdue says little.
    let next = match row.due {
        None => "held".to_owned(),
        Some(due) if due <= now => "now".to_owned(),
        Some(due) => distance(due, now),
    };
    let from = if row.sender.is_empty() { "<>" } else { &row.sender };
    [
        row.id.to_string(),
        next,
        row.attempts.to_string(),
        row.recipients.to_string(),
        size(row.bytes),
        cut(&printable(&row.domain)),
        cut(&printable(from)),
    ]
}

fn line(out: &mut String, cells: [&str; HEADS.len()], widths: &[usize; HEADS.len()], last: &str) {
    for (cell, width) in cells.into_iter().zip(widths) {
        // `{:<width$}` counts letters, as `letters` does.
        let _ = write!(out, "{cell:<width$}{GAP}");
    }
    out.push_str(last);
    out.push('\n');
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(COLUMN_LETTERS_MAX) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(COLUMN_LETTERS_MAX - 1).collect();
            format!("{kept}\u{2026}")
        }
    }
}

/// On one line and without anything that a terminal would obey, or that would turn its text around.
fn printable(text: &str) -> String {
    let is_odd = |letter: char| {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
        letter.is_control()
            || turns
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|letter| if is_odd(letter) { '?' } else { letter }).collect()
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// Octets, as a person says them: three digits at most, powers of 1,024.
fn size(bytes: u64) -> String {
    let (mut whole, mut unit) = (bytes, "B");
    for next in ["K", "M", "G"] {
        if whole < 1_000 {
            break;
        }
        // Upwards: a message of 1,025 octets does not fit in 1K.
        (whole, unit) = (whole.div_ceil(1_024), next);
    }
    format!("{whole}{unit}")
}

/// How far `then` is from `now`, in the two largest units that matter.
fn distance(then: Stamp, now: Stamp) -> String {
    let ahead = then > now;
    let away = if ahead { then.since(now) } else { now.since(then) };
    let seconds = away.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, 1..=9) => format!("{minutes}m{:02}s", seconds % 60),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        (_, _, _) => format!("{days}d{:02}h", hours % 24),
    };
    if ahead { format!("in {text}") } else { format!("{text} ago") }
}

#[cfg(test)]
mod tests {
    use super::super::view::Waiting;
    use super::*;
    use crate::message::MessageId;

    const NOW: Stamp = Stamp::from_millis(1_763_900_000_000);

    fn at(seconds: i64) -> Stamp {
        Stamp::from_millis(NOW.millis().checked_add_signed(seconds * 1_000).unwrap())
    }

    fn row(id: u64, due: i64, from: &str, last: Option<&str>) -> QueueRow {
        QueueRow {
            id: MessageId::from_u64(id << 40),
            domain: "x.test".into(),
            sender: from.into(),
            sender_id: "acme|mailbox|a".into(),
            recipients: 1,
            bytes: 4_200,
            attempts: 2,
            received: at(-500),
            due: Some(at(due)),
            last: last.map(Into::into),
        }
    }

    #[test]
    fn a_list_is_a_table() {
        let long = format!("{}@a.test", "b".repeat(60));
        let entries = vec![
            row(1, 247, "joe@a.test", Some("451 4.7.1 later\x1b[31m\nplease")),
            row(2, -3, "", None),
            row(3, 90_000, &long, Some("4.4.1 no answer")),
            QueueRow { due: None, ..row(4, 0, "ann@a.test", None) },
        ];
        let text = list(&QueueList { entries: entries.clone(), more: false }, NOW);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        let column = lines[0].find("LAST ANSWER").unwrap();
        assert!(lines[1][column..].starts_with("451 4.7.1 later?[31m?please"), "{text}");
        assert!(lines[1].contains("in 4m07s") && lines[2].contains("now"), "{text}");
        assert!(lines[2].contains(" <> ") && lines[2].ends_with('-'), "{text}");
        assert!(lines[3].contains("in 1d01h") && lines[3].contains("bbb\u{2026}  4.4.1"), "{text}");
        assert!(lines[4].contains("  held  "), "{text}");
        assert_eq!(lines[6], "4 entries");
        let text = list(&QueueList { entries, more: true }, NOW);
        assert!(text.ends_with("4 entries shown, more match: narrow with --domain, --sender\n"));
        let nothing = list(&QueueList { entries: vec![], more: false }, NOW);
        assert_eq!(nothing, "Nothing that matches waits in the queue.\n");
    }

    #[test]
    fn one_message_is_a_page() {
        let waiting = |address: &str, last: Option<&str>| Waiting {
            address: address.into(),
            last: last.map(Into::into),
        };
        let detail = QueueDetail {
            id: MessageId::from_u64(77),
            received: at(-7_500),
            sender: String::new(),
            sender_id: "acme|notice|".into(),
            account: "acme".into(),
            peer: "192.0.2.1".into(),
            helo: "mx\u{202e}evil".into(),
            protocol: "ESMTPS".into(),
            bytes: 999,
            recipients: 3,
            groups: vec![QueueGroup {
                domain: "x.test".into(),
                attempts: 1,
                due: Some(at(59)),
                expires: at(5 * 86_400),
                waiting: vec![
                    waiting("a@x.test", Some("450 4.2.0 greylisted")),
                    waiting("b@x.test", None),
                ],
            }],
        };
        let expected = "\
Message   000000000002d
Received  2025-11-23T10:08:20.000Z (2h05m ago)
From      <>
Sender    acme|notice|
Account   acme
Peer      192.0.2.1 (mx?evil) with ESMTPS
Size      999B
Waiting   2 of 3 recipients

x.test: 1 try, next in 59s (2025-11-23T12:14:19.000Z), given up in 5d00h
  <a@x.test>
      450 4.2.0 greylisted
  <b@x.test>
";
        assert_eq!(show(&detail, NOW), expected);
        let held = QueueGroup { due: None, ..detail.groups[0].clone() };
        let text = show(&QueueDetail { groups: vec![held], ..detail }, NOW);
        assert!(text.contains("1 try, held until it is released, given up in 5d00h\n"), "{text}");
    }

    #[test]
    fn a_change_says_what_it_did_and_what_it_left() {
        let told = |changed, under_way, damaged| {
            changes(&QueueChanges { action: "drop".into(), changed, under_way, damaged })
        };
        assert_eq!(told(0, 0, 0), "0 entries dropped\n");
        assert_eq!(told(1, 0, 0), "1 entry dropped\n");
        let text = told(2, 3, 4);
        assert!(text.starts_with("2 entries dropped\n3 left alone: an attempt"), "{text}");
        assert!(text.contains("\n4 left alone: they cannot be read"), "{text}");
    }

    #[test]
    fn sizes_are_told_in_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1K"),
            (1_025, "2K"),
            (999 * 1_024, "999K"),
            (1_000 * 1_024, "1M"),
            (u64::MAX, "17179869184G"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
