//! Pages of lines and table rows: breaks, page numbers, and the file itself.

use std::ops::Range;

use pdf_writer::{Content, Filter, Finish as _, Pdf, Rect, Ref, Str, TextStr};

use super::super::record::ExportError;
use super::compress;
use super::fonts::{FontSet, GlyphRun, PlacedGlyph, TextStyle};
use super::layout::{Cell, text_width, wrap};

/// The foot of a page is so high, in points.
const FOOT_HEIGHT: f32 = 18.0;
pub(super) const FOOT_SIZE: f32 = 8.0;
/// From one line to the next, in font sizes.
pub(super) const LEADING: f32 = 1.25;
/// From the top of a line to its base, in font sizes.
const ASCENT: f32 = 0.95;
const RULE_GRAY: f32 = 0.75;
const HEADER_GRAY: f32 = 0.92;
const RULE_WIDTH: f32 = 0.5;

/// A page, in points.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) margin: f32,
}

impl PageSize {
    pub(super) const fn content_width(self) -> f32 {
        self.width - 2.0 * self.margin
    }
}

/// What a document says beside its content.
pub(super) struct DocumentTexts<'a> {
    pub(super) title: &'a str,
    /// As in BCP 47.
    pub(super) language: &'a str,
    /// Stands at the foot of each page.
    pub(super) foot: &'a str,
    /// Names a page by its number and how many there are.
    pub(super) page_label: fn(usize, usize) -> String,
}

/// The font size of a table, and the widths of its columns without padding, in points.
pub(super) struct TableStyle {
    pub(super) size: f32,
    pub(super) widths: Vec<f32>,
}

impl TableStyle {
    /// Left and right of each cell, in points.
    pub(super) const CELL_PADDING: f32 = 3.0;

    fn leading(&self) -> f32 {
        self.size * LEADING
    }

    fn row_height(&self, lines: usize) -> f32 {
        lines as f32 * self.leading() + 2.0 * TableStyle::CELL_PADDING
    }
}

/// The wrapped lines of a row's cells.
struct RowLines<'a> {
    cells: Vec<(Vec<String>, &'a Cell)>,
    style: TextStyle,
}

impl RowLines<'_> {
    fn height_in_lines(&self) -> usize {
        self.cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or_default().max(1)
    }
}

/// The pages of a document.
pub(super) struct Canvas<'a> {
    pub(super) fonts: &'a mut FontSet,
    size: PageSize,
    pages: Vec<Content>,
    /// The top of what comes next on the last page.
    pub(super) y: f32,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(fonts: &'a mut FontSet, size: PageSize) -> Canvas<'a> {
        let mut canvas = Canvas { fonts, size, pages: Vec::new(), y: 0.0 };
        canvas.add_page();
        canvas
    }

    pub(super) fn add_page(&mut self) {
        self.pages.push(Content::new());
        self.y = self.size.height - self.size.margin;
    }

    /// Returns how much space is left on the page, above its foot.
    pub(super) fn space_left(&self) -> f32 {
        self.y - self.size.margin - FOOT_HEIGHT
    }

    /// Adds a row of a table. One that does not fit begins a page; one that fits on no page goes on
    /// over several.
    pub(super) fn add_row(
        &mut self,
        style: &TableStyle,
        (cells, text): (&[Cell], TextStyle),
        begin_page: &dyn Fn(&mut Canvas<'a>),
    ) {
        let row = self.wrap_row(style, cells, text);
        let total = row.height_in_lines();
        if self.lines_left(style) < total {
            begin_page(self);
        }
        let mut drawn = 0;
        while drawn < total {
            let count = self.lines_left(style).clamp(1, total - drawn);
            self.draw_row_lines(style, &row, drawn..drawn + count);
            drawn += count;
            if drawn < total {
                begin_page(self);
            }
        }
    }

    /// Adds a table's header.
    pub(super) fn add_header(&mut self, style: &TableStyle, headers: &[Cell]) {
        let row = self.wrap_row(style, headers, TextStyle::Bold);
        let count = row.height_in_lines();
        let height = style.row_height(count);
        let (x, y, width) = (self.size.margin, self.y, self.size.content_width());
        let page = self.page();
        page.set_fill_gray(HEADER_GRAY);
        page.rect(x, y - height, width, height).fill_nonzero();
        page.set_fill_gray(0.0);
        self.draw_row_lines(style, &row, 0..count);
    }

    fn wrap_row<'c>(
        &mut self,
        style: &TableStyle,
        cells: &'c [Cell],
        text: TextStyle,
    ) -> RowLines<'c> {
        let mut wrapped = Vec::with_capacity(cells.len());
        for (cell, width) in cells.iter().zip(&style.widths) {
            // A hair more than measured, against rounding.
            let width = width / style.size + 0.01;
            let mut lines = Vec::new();
            for paragraph in &cell.paragraphs {
                lines.extend(wrap(self.fonts, paragraph, text, width));
            }
            wrapped.push((lines, cell));
        }
        RowLines { cells: wrapped, style: text }
    }

    /// Returns how many lines of a row still fit on the page.
    fn lines_left(&self, style: &TableStyle) -> usize {
        let space = self.space_left() - 2.0 * TableStyle::CELL_PADDING;
        // A negative number of lines becomes 0.
        (space / style.leading()).floor().max(0.0) as usize
    }

    /// Draws some lines of a row, and a rule below them.
    fn draw_row_lines(&mut self, style: &TableStyle, row: &RowLines<'_>, range: Range<usize>) {
        let top = self.y;
        let margin = self.size.margin;
        let mut x = margin;
        for ((lines, cell), width) in row.cells.iter().zip(&style.widths) {
            self.y = top - TableStyle::CELL_PADDING;
            for line in lines.iter().take(range.end).skip(range.start) {
                let indent = match cell.is_right_aligned {
                    true => width - text_width(self.fonts, line, row.style) * style.size,
                    false => 0.0,
                };
                let at = x + TableStyle::CELL_PADDING + indent;
                self.draw_line(line, at, (style.size, row.style));
                self.y -= style.leading();
            }
            x += width + 2.0 * TableStyle::CELL_PADDING;
        }
        self.y = top - style.row_height(range.len());
        let (y, end) = (self.y, margin + self.size.content_width());
        let page = self.page();
        page.set_stroke_gray(RULE_GRAY).set_line_width(RULE_WIDTH);
        page.move_to(margin, y).line_to(end, y).stroke();
    }

    fn page(&mut self) -> &mut Content {
        if self.pages.is_empty() {
            self.pages.push(Content::new());
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    /// Draws a line of text whose top is at `y`, from `x`.
    pub(super) fn draw_line(&mut self, text: &str, x: f32, (size, style): (f32, TextStyle)) {
        if text.is_empty() {
            return;
        }
        let runs = self.fonts.shape_line(text, style);
        let base = self.y - size * ASCENT;
        draw_runs(self.page(), &runs, (x, base), size);
    }

    /// Numbers the pages and returns the file.
    ///
    /// # Errors
    ///
    /// A font cannot be embedded.
    pub(super) fn finish(mut self, texts: &DocumentTexts<'_>) -> Result<Vec<u8>, ExportError> {
        let total = self.pages.len();
        let PageSize { width, margin, .. } = self.size;
        for index in 0..total {
            let number = (texts.page_label)(index + 1, total);
            let of_number = text_width(self.fonts, &number, TextStyle::Regular) * FOOT_SIZE;
            let parts = [(margin, texts.foot), (width - margin - of_number, number.as_str())];
            for (x, text) in parts {
                let runs = self.fonts.shape_line(text, TextStyle::Regular);
                draw_runs(&mut self.pages[index], &runs, (x, margin), FOOT_SIZE);
            }
        }
        self.write_file(texts)
    }

    fn write_file(self, texts: &DocumentTexts<'_>) -> Result<Vec<u8>, ExportError> {
        let mut pdf = Pdf::new();
        let mut next = Ref::new(1);
        let [catalog, tree, info] = std::array::from_fn(|_| next.bump());
        let fonts = self.fonts.write_fonts(&mut pdf, &mut next)?;
        let pages: Vec<(Ref, Ref)> =
            self.pages.iter().map(|_| (next.bump(), next.bump())).collect();
        let mut root = pdf.catalog(catalog);
        root.pages(tree).lang(TextStr(texts.language));
        root.finish();
        let kids = pages.iter().map(|(page, _)| *page);
        pdf.pages(tree).kids(kids).count(i32::try_from(pages.len()).unwrap_or(i32::MAX));
        pdf.document_info(info).title(TextStr(texts.title)).producer(TextStr("zeef"));
        for ((page, content), drawn) in pages.iter().zip(self.pages) {
            let mut written = pdf.page(*page);
            written.media_box(Rect::new(0.0, 0.0, self.size.width, self.size.height));
            written.parent(tree).contents(*content);
            let mut resources = written.resources();
            resources.fonts().pairs(fonts.iter().copied());
            resources.finish();
            written.finish();
            let data = compress(drawn.finish().as_slice());
            pdf.stream(*content, &data).filter(Filter::FlateDecode);
        }
        Ok(pdf.finish())
    }
}

/// Draws glyphs from the left, from `(x, base)`.
fn draw_runs(page: &mut Content, runs: &[GlyphRun], (x, base): (f32, f32), size: f32) {
    page.begin_text();
    page.set_text_matrix([1.0, 0.0, 0.0, 1.0, x, base]);
    for run in runs {
        page.set_font(run.font.resource_name(), size);
        draw_run(page, run, size);
    }
    page.end_text();
}

/// Draws one run: glyphs that lie as their widths say together, others moved into place.
fn draw_run(page: &mut Content, run: &GlyphRun, size: f32) {
    let bytes = |id: u16| id.to_be_bytes();
    let is_plain = |glyph: &PlacedGlyph| {
        (glyph.advance - glyph.width).abs() < 0.01 && glyph.x_offset == 0.0 && glyph.y_offset == 0.0
    };
    if run.glyphs.iter().all(is_plain) {
        let text: Vec<u8> = run.glyphs.iter().flat_map(|glyph| bytes(glyph.id)).collect();
        page.show(Str(&text));
        return;
    }
    for glyph in &run.glyphs {
        page.set_rise(glyph.y_offset * size / 1000.0);
        let mut show = page.show_positioned();
        let mut items = show.items();
        items.adjust(-glyph.x_offset).show(Str(&bytes(glyph.id)));
        items.adjust(glyph.x_offset + glyph.width - glyph.advance);
    }
    page.set_rise(0.0);
}
