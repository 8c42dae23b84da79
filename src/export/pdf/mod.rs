//! Outputs as a list on paper: A4, landscape, in Dutch. A heading, a table over as many pages
//! as it takes, the sums of its amounts. And texts as letters.

mod canvas;
mod cells;
mod fonts;
mod layout;
mod letter;
mod pages;

use super::dutch;
use super::profile::ExportProfile;
use super::record::{ExportError, ExportRecord};
use canvas::TableStyle;
use cells::Column;
use fonts::{FontSet, TextStyle};
use layout::{Cell, ColumnMeter, ColumnNeed, column_widths};
pub use letter::{LetterWords, render_letter};
use pages::{CONTENT_WIDTH, PageSetter};

/// What stands above the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PdfHeading {
    pub title: String,
    /// `None` for all libraries that the recipient serves.
    pub library: Option<String>,
    /// `YYYY-MM-DD`.
    pub date: String,
    pub legal_basis: String,
    pub purpose: String,
    pub controller: String,
}

impl PdfHeading {
    /// Returns the lines below the title, each a name and its text.
    fn lines(&self, count: usize) -> Vec<(&'static str, String)> {
        let library = self.library.clone().unwrap_or_else(|| "alle".to_owned());
        vec![
            ("Bibliotheek", library),
            ("Datum", dutch::format_date(&self.date)),
            ("Doel", self.purpose.clone()),
            ("Grondslag", self.legal_basis.clone()),
            ("Verantwoordelijke", self.controller.clone()),
            ("Aantal", dutch::format_count(count)),
        ]
    }
}

/// Font sizes in points, largest first: the first is taken in which columns get enough of what
/// they would like beyond their least.
const FONT_SIZES: [f32; 4] = [9.0, 8.0, 7.0, 6.5];
const ENOUGH: f32 = 0.6;

/// Returns the PDF. Calls `advance` after each record.
///
/// # Errors
///
/// An amount is beyond all measure, or a font is damaged.
pub fn render_pdf(
    profile: &ExportProfile,
    heading: &PdfHeading,
    records: &[&ExportRecord],
    advance: &mut dyn FnMut(),
) -> Result<Vec<u8>, ExportError> {
    let mut fonts = FontSet::new()?;
    let columns = cells::columns(profile);
    let sums = cells::sums(profile, &columns, records)?;
    let needs = measure(&mut fonts, &columns, (profile, records), &sums);
    let style = table_style(&needs, CONTENT_WIDTH);
    let headings: Vec<Cell> = columns.iter().map(Column::heading).collect();
    let mut setter = PageSetter::new(&mut fonts, heading, style, headings);
    setter.begin_document(&heading.lines(records.len()));
    for record in records {
        let row: Vec<Cell> = columns.iter().map(|column| column.cell(profile, record)).collect();
        setter.add_row(&row, TextStyle::Regular);
        advance();
    }
    if records.is_empty() {
        setter.add_note("Geen gegevens.");
    }
    if let Some(sums) = &sums {
        setter.add_row(sums, TextStyle::Bold);
    }
    setter.finish()
}

/// Returns how wide each column would like to be and must be.
fn measure(
    fonts: &mut FontSet,
    columns: &[Column],
    (profile, records): (&ExportProfile, &[&ExportRecord]),
    sums: &Option<Vec<Cell>>,
) -> Vec<ColumnNeed> {
    let measure = |(index, column): (usize, &Column)| {
        let mut meter = ColumnMeter::default();
        let bold = [Some(column.heading()), sums.as_ref().map(|sums| sums[index].clone())];
        for paragraph in bold.iter().flatten().flat_map(|cell| &cell.paragraphs) {
            meter.add_words(fonts, paragraph, TextStyle::Bold);
        }
        for record in records {
            meter.add_cell(fonts, &column.cell(profile, record));
        }
        meter.need()
    };
    columns.iter().enumerate().map(measure).collect()
}

/// Returns how a table of these columns fills a width, in points.
fn table_style(needs: &[ColumnNeed], content_width: f32) -> TableStyle {
    let wanted = |need: &ColumnNeed| need.minimal + (need.natural - need.minimal) * ENOUGH;
    let wanted: f32 = needs.iter().map(wanted).sum();
    let available = |size: f32| {
        let gaps = TableStyle::CELL_PADDING * 2.0 * needs.len() as f32;
        (content_width - gaps) / size
    };
    let mut sizes = FONT_SIZES.into_iter();
    let size = sizes.find(|size| wanted <= available(*size));
    let size = size.unwrap_or(FONT_SIZES[FONT_SIZES.len() - 1]);
    let widths = column_widths(needs, available(size).max(1.0));
    TableStyle { size, widths: widths.iter().map(|width| width * size).collect() }
}

/// Returns zlib data, as the filter FlateDecode reads it.
fn compress(data: &[u8]) -> Vec<u8> {
    /// Most of the gain at little cost.
    const LEVEL: u8 = 4;
    miniz_oxide::deflate::compress_to_vec_zlib(data, LEVEL)
}

#[cfg(test)]
mod tests;
