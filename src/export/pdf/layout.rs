//! Cells as lines: how wide columns are, and where their text breaks.

use unicode_segmentation::UnicodeSegmentation as _;

use super::fonts::{FontSet, TextStyle};

/// A column would like to be so many times as wide as its lines are on average: one long name
/// must not squeeze the other columns.
const NATURAL_BY_MEAN: f32 = 1.4;
/// At most so much of a word decides how wide its column must be, in font sizes.
const MINIMAL_WIDTH_MAX: f32 = 11.0;
/// After these a long word breaks rather than elsewhere.
const BREAK_AFTER: [char; 6] = ['@', '.', '-', '/', '_', ','];

/// One cell: paragraphs of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) paragraphs: Vec<String>,
    pub(super) is_right_aligned: bool,
}

/// How wide a column would like to be and must be, in font sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ColumnNeed {
    pub(super) natural: f32,
    pub(super) minimal: f32,
}

/// Measures the paragraphs of a column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ColumnMeter {
    widest_word: f32,
    widest_line: f32,
    sum_of_lines: f32,
    count: f32,
}

impl ColumnMeter {
    /// Takes a cell of a row into account: its widest paragraph.
    pub(super) fn add_cell(&mut self, fonts: &mut FontSet, cell: &Cell) {
        let widths = cell.paragraphs.iter();
        let widths = widths.map(|text| self.add_words(fonts, text, TextStyle::Regular));
        let line = widths.fold(0.0, f32::max);
        self.widest_line = self.widest_line.max(line);
        self.sum_of_lines += line;
        self.count += 1.0;
    }

    /// Takes the words of a header or a sum into account. Returns the width of them all.
    pub(super) fn add_words(
        &mut self,
        fonts: &mut FontSet,
        paragraph: &str,
        style: TextStyle,
    ) -> f32 {
        let (mut line, mut word) = (0.0, 0.0);
        for c in paragraph.chars() {
            let width = fonts.char_width(c, style) / 1000.0;
            line += width;
            word = if c == ' ' { 0.0 } else { word + width };
            self.widest_word = self.widest_word.max(word);
        }
        line
    }

    pub(super) fn need(&self) -> ColumnNeed {
        let minimal = self.widest_word.min(MINIMAL_WIDTH_MAX);
        let mean = self.sum_of_lines / self.count.max(1.0);
        let natural = self.widest_line.min(mean * NATURAL_BY_MEAN).max(minimal);
        ColumnNeed { natural, minimal }
    }
}

/// Returns the widths of columns that fill `available`, in font sizes.
pub(super) fn column_widths(needs: &[ColumnNeed], available: f32) -> Vec<f32> {
    let natural: f32 = needs.iter().map(|need| need.natural).sum();
    let minimal: f32 = needs.iter().map(|need| need.minimal).sum();
    if natural <= available {
        let factor = available / natural.max(f32::MIN_POSITIVE);
        return needs.iter().map(|need| need.natural * factor).collect();
    }
    if minimal <= available {
        let share = (available - minimal) / (natural - minimal).max(f32::MIN_POSITIVE);
        let width = |need: &ColumnNeed| need.minimal + (need.natural - need.minimal) * share;
        return needs.iter().map(width).collect();
    }
    needs.iter().map(|need| need.minimal * available / minimal).collect()
}

/// Breaks a paragraph into lines of at most `width` font sizes: at spaces, and within words
/// that are longer.
pub(super) fn wrap(
    fonts: &mut FontSet,
    paragraph: &str,
    style: TextStyle,
    width: f32,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0.0;
    let space = fonts.char_width(' ', style) / 1000.0;
    for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
        let word_width = text_width(fonts, word, style);
        if !line.is_empty() && used + space + word_width > width {
            lines.push(std::mem::take(&mut line));
            used = 0.0;
        }
        if !line.is_empty() {
            line.push(' ');
            used += space;
        }
        if word_width <= width {
            line.push_str(word);
            used += word_width;
            continue;
        }
        for piece in break_word(fonts, word, style, width) {
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            used = text_width(fonts, &piece, style);
            line = piece;
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Returns the width of a text in font sizes.
pub(super) fn text_width(fonts: &mut FontSet, text: &str, style: TextStyle) -> f32 {
    text.chars().map(|c| fonts.char_width(c, style)).sum::<f32>() / 1000.0
}

/// Breaks a word that is too long, never within a letter and its marks.
fn break_word(fonts: &mut FontSet, word: &str, style: TextStyle, width: f32) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut used = 0.0;
    for letter in word.graphemes(true) {
        let letter_width = text_width(fonts, letter, style);
        if !piece.is_empty() && used + letter_width > width {
            let rest = match piece.rfind(BREAK_AFTER) {
                // In the second half only: a line with little on it reads badly.
                Some(at) if at + 1 > piece.len() / 2 => piece.split_off(at + 1),
                _ => String::new(),
            };
            used = text_width(fonts, &rest, style);
            pieces.push(std::mem::replace(&mut piece, rest));
        }
        piece.push_str(letter);
        used += letter_width;
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: f32) -> Vec<String> {
        let mut fonts = FontSet::new().unwrap();
        let lines = wrap(&mut fonts, text, TextStyle::Regular, width);
        for line in &lines {
            let wide = text_width(&mut fonts, line, TextStyle::Regular);
            assert!(wide <= width + 0.01, "{line:?} is {wide} wide");
        }
        lines
    }

    #[test]
    fn lines_break_at_spaces_and_within_long_words() {
        assert_eq!(wrapped("", 10.0), [""]);
        assert_eq!(wrapped("Dorpsstraat 12 bis", 30.0), ["Dorpsstraat 12 bis"]);
        assert_eq!(wrapped("Dorpsstraat 12 bis", 6.0), ["Dorpsstraat", "12 bis"]);
        assert_eq!(
            wrapped("ij.vanderberg@bibliotheek.example.org", 9.0),
            ["ij.vanderberg@", "bibliotheek.", "example.org"]
        );
        let text = "Donaudampfschifffahrtsgesellschaftskapitän".repeat(3);
        assert_eq!(wrapped(&text, 8.0).concat(), text);
        assert_eq!(wrapped("中文名字很长很长很长", 4.0).concat(), "中文名字很长很长很长");
        // A mark stays with its letter.
        assert!(
            wrapped(&"e\u{301}".repeat(20), 3.0).iter().all(|line| !line.starts_with('\u{301}'))
        );
    }

    #[test]
    fn columns_fill_the_width_and_none_is_below_its_minimum() {
        let need = |natural, minimal| ColumnNeed { natural, minimal };
        let needs = [need(20.0, 5.0), need(10.0, 4.0), need(4.0, 4.0)];
        for available in [60.0, 34.0, 20.0, 13.0] {
            let widths = column_widths(&needs, available);
            assert!((widths.iter().sum::<f32>() - available).abs() < 0.01, "{widths:?}");
            assert!(widths.iter().zip(&needs).all(|(width, need)| *width >= need.minimal));
        }
        assert!((column_widths(&needs, 6.5).iter().sum::<f32>() - 6.5).abs() < 0.01);
    }
}
