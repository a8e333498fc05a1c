//! A table as text: for a terminal in columns that line up, for a README as markdown.
//!
//! Cells come as text; the first columns are words to the left, all others numbers to the right.
//! Two lines of heads, because columns that share a unit say it once. Never wraps: a terminal does.

use super::units;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Column {
    /// Shared with its neighbours; may be empty.
    pub over: &'static str,
    pub head: String,
    pub align: Align,
}

pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

pub enum Row {
    Cells(Vec<String>),
    /// Between two groups of rows.
    Gap,
}

impl Column {
    pub fn new(over: &'static str, head: &str, align: Align) -> Column {
        Column { over, head: head.to_owned(), align }
    }
}

impl Table {
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut out = self.overheads(&widths);
        out.push_str(&self.line(&widths, |place| &self.columns[place].head));
        for row in &self.rows {
            match row {
                Row::Cells(cells) => out.push_str(&self.line(&widths, |place| &cells[place])),
                Row::Gap => out.push('\n'),
            }
        }
        out
    }

    /// With the words that columns share in each of their heads.
    pub fn markdown(&self) -> String {
        let mut out = String::from("|");
        for column in &self.columns {
            let head = format!("{} {}", column.over, column.head);
            out.push_str(&format!(" {} |", markdown_cell(head.trim())));
        }
        out.push_str("\n|");
        for column in &self.columns {
            out.push_str(if column.align == Align::Left { "---|" } else { "---:|" });
        }
        out.push('\n');
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                out.push('|');
                cells.iter().for_each(|cell| out.push_str(&format!(" {} |", markdown_cell(cell))));
                out.push('\n');
            }
        }
        out
    }

    /// Where all rows have the same first word, and it is told above them.
    pub fn without_first_column(mut self) -> Table {
        self.columns.remove(0);
        for row in &mut self.rows {
            if let Row::Cells(cells) = row {
                cells.remove(0);
            }
        }
        self
    }

    /// Wide enough for every cell, and for what is above several columns.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| width(&column.head)).collect();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (widest, cell) in widths.iter_mut().zip(cells) {
                *widest = (*widest).max(width(cell));
            }
        }
        for (first, last) in self.spans() {
            let has: usize = widths[first..=last].iter().sum::<usize>() + 2 * (last - first);
            widths[last] += width(self.columns[first].over).saturating_sub(has);
        }
        widths
    }

    /// First and last of the neighbours that have the same words above them.
    pub fn spans(&self) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            match spans.last_mut() {
                Some((first, last)) if self.columns[*first].over == column.over => *last = place,
                _ => spans.push((place, place)),
            }
        }
        spans
    }

    fn overheads(&self, widths: &[usize]) -> String {
        if self.columns.iter().all(|column| column.over.is_empty()) {
            return String::new();
        }
        let mut line = String::new();
        for (first, last) in self.spans() {
            let room = widths[first..=last].iter().sum::<usize>() + 2 * (last - first) + 2;
            line.push_str(&aligned(self.columns[first].over, room - 2, Align::Right));
            line.push_str("  ");
        }
        format!("{}\n", line.trim_end())
    }

    fn line<'a>(&self, widths: &[usize], cell: impl Fn(usize) -> &'a String) -> String {
        let mut line = String::new();
        for (place, column) in self.columns.iter().enumerate() {
            line.push_str(&aligned(cell(place), widths[place], column.align));
            line.push_str("  ");
        }
        format!("{}\n", line.trim_end())
    }
}

fn aligned(text: &str, room: usize, align: Align) -> String {
    let text = units::printable(text);
    match align {
        Align::Left => format!("{text:<room$}"),
        Align::Right => format!("{text:>room$}"),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// What would end a cell or begin a tag is text here.
fn markdown_cell(text: &str) -> String {
    let text = units::printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let cells = |cells: [&str; 3]| Row::Cells(cells.map(str::to_owned).to_vec());
        Table {
            columns: vec![
                Column::new("", "name", Align::Left),
                Column::new("milliseconds", "p50", Align::Right),
                Column::new("milliseconds", "p99", Align::Right),
            ],
            rows: vec![cells(["a|<b>", "1.00", "12.5"]), Row::Gap, cells(["c", "2.00", "3.00"])],
        }
    }

    #[test]
    fn columns_line_up_under_what_they_share() {
        let text = [
            "       milliseconds",
            "name    p50     p99",
            "a|<b>  1.00    12.5",
            "",
            "c      2.00    3.00",
            "",
        ];
        assert_eq!(table().text(), text.join("\n"));
    }

    #[test]
    fn markdown_stays_a_table() {
        let text = [
            "| name | milliseconds p50 | milliseconds p99 |",
            "|---|---:|---:|",
            "| a\\|&lt;b> | 1.00 | 12.5 |",
            "| c | 2.00 | 3.00 |",
            "",
        ];
        assert_eq!(table().markdown(), text.join("\n"));
    }
}
