//! The list on its pages: heading, rows, repeated headers.

use super::super::dutch;
use super::super::record::ExportError;
use super::PdfHeading;
use super::canvas::{Canvas, DocumentTexts, FOOT_SIZE, LEADING, PageSize, TableStyle};
use super::fonts::{FontSet, TextStyle};
use super::layout::{Cell, wrap};

/// A4, landscape.
const PAGE: PageSize = PageSize { width: 842.0, height: 595.0, margin: 36.0 };
pub(super) const CONTENT_WIDTH: f32 = PAGE.content_width();
const TITLE_SIZE: f32 = 16.0;
const TEXT_SIZE: f32 = 9.0;
/// Where the texts of the heading begin.
const HEADING_INDENT: f32 = 100.0;

/// Puts rows on pages.
pub(super) struct PageSetter<'a> {
    canvas: Canvas<'a>,
    heading: &'a PdfHeading,
    style: TableStyle,
    headers: Vec<Cell>,
}

impl<'a> PageSetter<'a> {
    pub(super) fn new(
        fonts: &'a mut FontSet,
        heading: &'a PdfHeading,
        style: TableStyle,
        headers: Vec<Cell>,
    ) -> PageSetter<'a> {
        PageSetter { canvas: Canvas::new(fonts, PAGE), heading, style, headers }
    }

    /// Begins the first page: title, `lines` of the heading, the table's header.
    pub(super) fn begin_document(&mut self, lines: &[(&str, String)]) {
        let canvas = &mut self.canvas;
        let title = clean_line(&self.heading.title);
        let width = CONTENT_WIDTH / TITLE_SIZE;
        for line in wrap(canvas.fonts, &title, TextStyle::Bold, width) {
            canvas.draw_line(&line, PAGE.margin, (TITLE_SIZE, TextStyle::Bold));
            canvas.y -= TITLE_SIZE * LEADING;
        }
        canvas.y -= TEXT_SIZE / 2.0;
        for (name, text) in lines {
            canvas.draw_line(name, PAGE.margin, (TEXT_SIZE, TextStyle::Bold));
            let width = (CONTENT_WIDTH - HEADING_INDENT) / TEXT_SIZE;
            for line in wrap(canvas.fonts, &clean_line(text), TextStyle::Regular, width) {
                let x = PAGE.margin + HEADING_INDENT;
                canvas.draw_line(&line, x, (TEXT_SIZE, TextStyle::Regular));
                canvas.y -= TEXT_SIZE * LEADING;
            }
        }
        canvas.y -= TEXT_SIZE;
        canvas.add_header(&self.style, &self.headers);
    }

    /// Adds a row of the table.
    pub(super) fn add_row(&mut self, cells: &[Cell], text: TextStyle) {
        let PageSetter { canvas, heading, style, headers } = self;
        canvas.add_row(style, (cells, text), &|canvas| {
            begin_page(canvas, heading);
            canvas.add_header(style, headers);
        });
    }

    /// Adds a line below the table.
    pub(super) fn add_note(&mut self, text: &str) {
        self.canvas.y -= TEXT_SIZE;
        self.canvas.draw_line(text, PAGE.margin, (TEXT_SIZE, TextStyle::Regular));
        self.canvas.y -= TEXT_SIZE * LEADING;
    }

    /// Numbers the pages and returns the file.
    ///
    /// # Errors
    ///
    /// A font cannot be embedded.
    pub(super) fn finish(self) -> Result<Vec<u8>, ExportError> {
        self.canvas.finish(&DocumentTexts {
            title: &self.heading.title,
            language: "nl-NL",
            foot: "Vertrouwelijk: bevat persoonsgegevens",
            page_label: dutch::page_label,
        })
    }
}

/// Begins another page with a short title.
fn begin_page(canvas: &mut Canvas<'_>, heading: &PdfHeading) {
    canvas.add_page();
    let title = clean_line(&heading.title);
    let library = heading.library.as_deref().unwrap_or_default();
    let date = dutch::format_date(&heading.date);
    let parts = [title.as_str(), library, date.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let text = parts.join(" · ");
    let lines = wrap(canvas.fonts, &text, TextStyle::Regular, CONTENT_WIDTH / FOOT_SIZE);
    if let Some(line) = lines.first() {
        canvas.draw_line(line, PAGE.margin, (FOOT_SIZE, TextStyle::Regular));
    }
    canvas.y -= FOOT_SIZE * LEADING * 1.5;
}

/// Returns text of the config as one line.
fn clean_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
