//! A text as a letter on paper: A4, upright. Headings, paragraphs, lists and tables as Markdown has
//! them; other marks of Markdown are text.

use unicode_normalization::UnicodeNormalization as _;

use super::super::characters::turns_direction;
use super::super::record::ExportError;
use super::canvas::{Canvas, DocumentTexts, LEADING, PageSize};
use super::fonts::{FontSet, TextStyle};
use super::layout::{Cell, ColumnMeter, ColumnNeed, wrap};
use super::table_style;

/// A4, upright.
const PAGE: PageSize = PageSize { width: 595.0, height: 842.0, margin: 56.0 };
const TEXT_SIZE: f32 = 10.0;
/// Of headings by their level; deeper ones are as the last.
const HEADING_SIZES: [f32; 3] = [18.0, 13.0, 11.0];
/// From one depth of a list to the next.
const INDENT: f32 = 14.0;
/// How many spaces begin an item of the next depth.
const SPACES_PER_DEPTH: usize = 2;
/// Below a heading there is room for so many lines, or it begins a page.
const LINES_BELOW_HEADING: f32 = 5.0;
/// As many for the start of a table: fewer, so that none begins a page without its heading.
const LINES_OF_TABLE_START: f32 = 3.0;
const BULLET: &str = "•";

/// What a letter says beside its text.
#[derive(Clone, Copy, Debug)]
pub struct LetterWords<'a> {
    /// As in BCP 47.
    pub language: &'a str,
    /// Stands at the foot of each page.
    pub foot: &'a str,
    /// Names a page by its number and how many there are.
    pub page_label: fn(usize, usize) -> String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LetterBlock {
    /// The level, from 1.
    Heading(usize, String),
    Paragraph(String),
    /// The depth, from 0.
    Item(usize, String),
    /// The header first.
    Table(Vec<Vec<String>>),
}

/// Returns the PDF of a text.
///
/// # Errors
///
/// A font is damaged.
pub fn render_letter(markdown: &str, words: &LetterWords<'_>) -> Result<Vec<u8>, ExportError> {
    let blocks = parse_blocks(markdown);
    let title = blocks.iter().find_map(|block| match block {
        LetterBlock::Heading(_, text) => Some(text.as_str()),
        _ => None,
    });
    let mut fonts = FontSet::new()?;
    let mut letter = Letter { canvas: Canvas::new(&mut fonts, PAGE), is_page_empty: true };
    for block in &blocks {
        letter.add_block(block);
    }
    letter.canvas.finish(&DocumentTexts {
        title: title.unwrap_or_default(),
        language: words.language,
        foot: words.foot,
        page_label: words.page_label,
    })
}

/// Reads the blocks of a text.
fn parse_blocks(markdown: &str) -> Vec<LetterBlock> {
    let mut blocks: Vec<LetterBlock> = Vec::new();
    // Whether the next line may go on with the last block.
    let mut is_open = false;
    for line in markdown.lines() {
        let inner = line.trim();
        let depth = (line.len() - line.trim_start().len()) / SPACES_PER_DEPTH;
        if inner.is_empty() {
            is_open = false;
            continue;
        }
        let hashes = inner.chars().take_while(|c| *c == '#').count();
        let heading = inner.get(hashes..).and_then(|rest| rest.strip_prefix(' '));
        let last = blocks.last_mut().filter(|_| is_open);
        match (heading.filter(|_| hashes > 0), inner.strip_prefix("- "), last) {
            (Some(text), ..) => blocks.push(LetterBlock::Heading(hashes, plain(text))),
            (None, Some(text), _) => blocks.push(LetterBlock::Item(depth, plain(text))),
            (None, None, Some(LetterBlock::Table(rows))) if inner.starts_with('|') => {
                rows.extend(table_row(inner));
            }
            (None, None, _) if inner.starts_with('|') => {
                blocks.push(LetterBlock::Table(table_row(inner).into_iter().collect()));
            }
            (None, None, Some(LetterBlock::Paragraph(text) | LetterBlock::Item(_, text))) => {
                text.push(' ');
                text.push_str(&plain(inner));
            }
            (None, None, _) => blocks.push(LetterBlock::Paragraph(plain(inner))),
        }
        is_open = !matches!(blocks.last(), Some(LetterBlock::Heading(..)));
    }
    blocks
}

/// Returns the cells of a row; `None` for the rule below a header.
fn table_row(line: &str) -> Option<Vec<String>> {
    let is_rule = line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
    if is_rule && line.contains('-') {
        return None;
    }
    let mut cells = vec![String::new()];
    let mut chars = line.trim_matches(' ').strip_prefix('|').unwrap_or(line).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'|') => {
                chars.next();
                push_to_last(&mut cells, '|');
            }
            // The last one ends the row.
            '|' if chars.peek().is_none() => {}
            '|' => cells.push(String::new()),
            other => push_to_last(&mut cells, other),
        }
    }
    Some(cells.iter().map(|cell| plain(cell.trim())).collect())
}

fn push_to_last(cells: &mut [String], c: char) {
    if let Some(last) = cells.last_mut() {
        last.push(c);
    }
}

/// Returns a text without the marks of code, and without controls, in composed letters.
fn plain(text: &str) -> String {
    let kept = text.nfc().filter(|c| *c != '`' && !turns_direction(*c));
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Puts blocks on pages.
struct Letter<'a> {
    canvas: Canvas<'a>,
    /// Nothing stands on the last page yet.
    is_page_empty: bool,
}

impl Letter<'_> {
    fn add_block(&mut self, block: &LetterBlock) {
        match block {
            LetterBlock::Heading(level, text) => self.add_heading(*level, text),
            LetterBlock::Paragraph(text) => {
                self.add_gap(TEXT_SIZE / 2.0);
                self.add_text(text, 0.0, (TEXT_SIZE, TextStyle::Regular));
            }
            LetterBlock::Item(depth, text) => self.add_item(*depth, text),
            LetterBlock::Table(rows) => self.add_table(rows),
        }
    }

    fn add_heading(&mut self, level: usize, text: &str) {
        let deepest = HEADING_SIZES.len();
        let size = HEADING_SIZES[level.clamp(1, deepest) - 1];
        self.add_gap(size);
        let needed = size * LEADING + LINES_BELOW_HEADING * TEXT_SIZE * LEADING;
        if self.canvas.space_left() < needed {
            self.begin_page();
        }
        self.add_text(text, 0.0, (size, TextStyle::Bold));
    }

    fn add_item(&mut self, depth: usize, text: &str) {
        self.add_gap(TEXT_SIZE / 4.0);
        self.make_room(TEXT_SIZE);
        // Deep lists still leave room for their text.
        let indent = INDENT * depth.min(6) as f32;
        self.canvas.draw_line(BULLET, PAGE.margin + indent, (TEXT_SIZE, TextStyle::Regular));
        self.add_text(text, indent + INDENT, (TEXT_SIZE, TextStyle::Regular));
    }

    fn add_table(&mut self, rows: &[Vec<String>]) {
        let Some((header, body)) = rows.split_first() else {
            return;
        };
        let count = header.len();
        let cells = |row: &[String]| -> Vec<Cell> {
            let texts = (0..count).map(|index| row.get(index).cloned().unwrap_or_default());
            texts.map(|text| Cell { paragraphs: vec![text], is_right_aligned: false }).collect()
        };
        let needs: Vec<ColumnNeed> =
            (0..count).map(|index| self.measure_column(rows, index)).collect();
        let style = table_style(&needs, PAGE.content_width());
        let header = cells(header);
        self.add_gap(TEXT_SIZE);
        self.make_room(LINES_OF_TABLE_START * TEXT_SIZE);
        self.canvas.add_header(&style, &header);
        for row in body {
            self.canvas.add_row(&style, (&cells(row), TextStyle::Regular), &|canvas| {
                canvas.add_page();
                canvas.add_header(&style, &header);
            });
        }
        self.is_page_empty = false;
    }

    fn measure_column(&mut self, rows: &[Vec<String>], index: usize) -> ColumnNeed {
        let mut meter = ColumnMeter::default();
        for (number, row) in rows.iter().enumerate() {
            let text = row.get(index).cloned().unwrap_or_default();
            match number {
                0 => drop(meter.add_words(self.canvas.fonts, &text, TextStyle::Bold)),
                _ => {
                    let cell = Cell { paragraphs: vec![text], is_right_aligned: false };
                    meter.add_cell(self.canvas.fonts, &cell);
                }
            }
        }
        meter.need()
    }

    /// Adds lines of text, over several pages if need be.
    fn add_text(&mut self, text: &str, indent: f32, (size, style): (f32, TextStyle)) {
        let width = (PAGE.content_width() - indent) / size;
        for line in wrap(self.canvas.fonts, text, style, width) {
            self.make_room(size);
            self.canvas.draw_line(&line, PAGE.margin + indent, (size, style));
            self.canvas.y -= size * LEADING;
            self.is_page_empty = false;
        }
    }

    /// Begins a page where a line of this size no longer fits.
    fn make_room(&mut self, size: f32) {
        if self.canvas.space_left() < size * LEADING {
            self.begin_page();
        }
    }

    fn begin_page(&mut self) {
        if !self.is_page_empty {
            self.canvas.add_page();
            self.is_page_empty = true;
        }
    }

    /// Leaves space, but at the top of a page.
    fn add_gap(&mut self, points: f32) {
        if !self.is_page_empty {
            self.canvas.y -= points;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_text() {
        let text = "# A `b`\n\nOne\ntwo.\n- x\n  y\n  - z\n\n| a | b\\|c |\n|---|---|\n| 1 | |\n## E\nlast";
        use LetterBlock::{Heading, Item, Paragraph, Table};
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let want = [
            Heading(1, "A b".to_owned()),
            Paragraph("One two.".to_owned()),
            Item(0, "x y".to_owned()),
            Item(1, "z".to_owned()),
            Table(vec![row(["a", "b|c"]), row(["1", ""])]),
            Heading(2, "E".to_owned()),
            Paragraph("last".to_owned()),
        ];
        assert_eq!(parse_blocks(text), want);
        // No mark without what it marks.
        assert_eq!(parse_blocks("#tag"), [Paragraph("#tag".to_owned())]);
        assert_eq!(parse_blocks("-5"), [Paragraph("-5".to_owned())]);
    }
}
