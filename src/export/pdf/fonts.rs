//! The embedded fonts, and text as glyphs of them.
//!
//! Latin, Greek, Cyrillic, Hebrew and Arabic are set in DejaVu Sans Condensed; Chinese,
//! Japanese and Korean in WenQuanYi Micro Hei. A character that none of them has is shown as
//! U+FFFD.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use harfrust::{Buffer, Direction, Feature, Font, ShapeOptions, ShaperFont, Tag};
use pdf_writer::{Chunk, Filter, Finish as _, Name, Rect, Ref, Str, types};
use subsetter::GlyphRemapper;
use unicode_bidi::{BidiClass, BidiInfo, Level, bidi_class};

use super::super::record::ExportError;
use crate::policy::text::is_format_char;

const REGULAR: &[u8] = include_bytes!("../fonts/DejaVuSansCondensed.ttf");
const BOLD: &[u8] = include_bytes!("../fonts/DejaVuSansCondensed-Bold.ttf");
const EAST_ASIAN: &[u8] = include_bytes!("../fonts/wqy-microhei.ttc");

/// Begins text from left to right, and is not shown.
pub(super) const LEFT_TO_RIGHT_MARK: char = '\u{200e}';

/// Returns whether a character is read from right to left, or its place depends on that.
pub(super) fn is_right_to_left(c: char) -> bool {
    matches!(bidi_class(c), BidiClass::R | BidiClass::AL | BidiClass::AN)
}

/// What stands for a character that no font has.
const MISSING: char = '\u{fffd}';
/// PDF counts widths in thousandths of the font size.
const UNITS: f32 = 1000.0;

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TextStyle {
    Regular,
    Bold,
}

/// A font of [`FontSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FontIndex(usize);

const REGULAR_FONT: FontIndex = FontIndex(0);
const BOLD_FONT: FontIndex = FontIndex(1);
const EAST_ASIAN_FONT: FontIndex = FontIndex(2);

/// The names of fonts in a page's resources, and in the file.
const FONT_NAMES: [(&[u8], &str); 3] = [
    (b"F0", "DejaVuSansCondensed"),
    (b"F1", "DejaVuSansCondensed-Bold"),
    (b"F2", "WenQuanYiMicroHei"),
];

struct FontFace {
    data: &'static [u8],
    font: Font,
    used: GlyphRemapper,
    /// The text of each used glyph, by its number in the file.
    text_of_glyph: BTreeMap<u16, String>,
    /// The advance of each used glyph, by its number in the file.
    widths: BTreeMap<u16, f32>,
}

/// One glyph of a line, in thousandths of the font size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlacedGlyph {
    /// Its number in the file.
    pub(super) id: u16,
    /// The width that the file states for it.
    pub(super) width: f32,
    pub(super) advance: f32,
    pub(super) x_offset: f32,
    pub(super) y_offset: f32,
}

/// Glyphs of one font.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GlyphRun {
    pub(super) font: FontIndex,
    pub(super) glyphs: Vec<PlacedGlyph>,
}

/// All fonts, and which glyphs of them were used.
pub(super) struct FontSet {
    faces: Vec<FontFace>,
    /// The font and the advance of a character, by style.
    known: HashMap<(char, TextStyle), (FontIndex, f32)>,
    buffer: Buffer,
}

impl FontSet {
    /// Reads the embedded fonts.
    ///
    /// # Errors
    ///
    /// One of them is damaged.
    pub(super) fn new() -> Result<FontSet, ExportError> {
        let face = |data: &'static [u8]| {
            let font = Font::new(data, 0);
            let font =
                font.ok_or_else(|| ExportError::NotPossible("a font is damaged".to_owned()))?;
            Ok(FontFace {
                data,
                font,
                used: GlyphRemapper::new(),
                text_of_glyph: BTreeMap::new(),
                widths: BTreeMap::new(),
            })
        };
        let faces = [REGULAR, BOLD, EAST_ASIAN].into_iter().map(face);
        let faces = faces.collect::<Result<_, ExportError>>()?;
        Ok(FontSet { faces, known: HashMap::new(), buffer: Buffer::new() })
    }

    /// Returns the width of a character in thousandths of the font size. In a joined script it
    /// may be less beside others.
    pub(super) fn char_width(&mut self, c: char, style: TextStyle) -> f32 {
        self.lookup(c, style).1
    }

    /// Returns the font that has a character, and its advance.
    fn lookup(&mut self, c: char, style: TextStyle) -> (FontIndex, f32) {
        if let Some(known) = self.known.get(&(c, style)) {
            return *known;
        }
        let own = match style {
            TextStyle::Regular => REGULAR_FONT,
            TextStyle::Bold => BOLD_FONT,
        };
        let advance = |font: FontIndex, c: char| self.faces[font.0].advance_of(c);
        if self.replaced(c).is_none() {
            return (own, 0.0);
        }
        let found = [own, EAST_ASIAN_FONT]
            .into_iter()
            .find_map(|font| Some((font, advance(font, c)?)))
            .or_else(|| Some((own, advance(own, MISSING)?)))
            .unwrap_or((own, 0.0));
        self.known.insert((c, style), found);
        found
    }

    /// Returns the character that is shown: U+FFFD for one that no font has; `None` for a mark that
    /// is never shown.
    fn replaced(&self, c: char) -> Option<char> {
        let has_glyph = || self.faces.iter().any(|face| face.glyph_of(c).is_some());
        match c {
            LEFT_TO_RIGHT_MARK => None,
            _ if has_glyph() => Some(c),
            '\u{fe00}'..='\u{fe0f}' => None,
            _ if is_format_char(c) => None,
            _ => Some(MISSING),
        }
    }

    /// Returns a line as glyphs from left to right.
    pub(super) fn shape_line(&mut self, line: &str, style: TextStyle) -> Vec<GlyphRun> {
        let mut runs = Vec::new();
        if line.chars().all(is_simple) {
            for (font, range) in self.font_ranges(line, style) {
                runs.push(self.map_plainly(font, &line[range]));
            }
            return runs;
        }
        let info = BidiInfo::new(line, Some(Level::ltr()));
        for paragraph in &info.paragraphs {
            let (levels, ranges) = info.visual_runs(paragraph, paragraph.range.clone());
            for range in ranges {
                let is_rtl = levels[range.start].is_rtl();
                let part: String = line[range].chars().filter_map(|c| self.replaced(c)).collect();
                let mut fonts = self.font_ranges(&part, style);
                if is_rtl {
                    fonts.reverse();
                }
                for (font, range) in fonts {
                    runs.push(self.shape_run(font, &part[range], is_rtl));
                }
            }
        }
        runs
    }

    /// Splits text where another font has the characters.
    fn font_ranges(&mut self, text: &str, style: TextStyle) -> Vec<(FontIndex, Range<usize>)> {
        let mut ranges: Vec<(FontIndex, Range<usize>)> = Vec::new();
        for (start, c) in text.char_indices() {
            let font = self.lookup(c, style).0;
            let end = start + c.len_utf8();
            match ranges.last_mut() {
                Some((last, range)) if *last == font => range.end = end,
                _ => ranges.push((font, start..end)),
            }
        }
        ranges
    }

    /// One glyph per character, side by side.
    fn map_plainly(&mut self, font: FontIndex, text: &str) -> GlyphRun {
        let face = &mut self.faces[font.0];
        let mut glyphs = Vec::with_capacity(text.len());
        for c in text.chars() {
            let glyph = face.glyph_of(c).or_else(|| face.glyph_of(MISSING)).unwrap_or_default();
            let id = face.note_used(glyph, c.encode_utf8(&mut [0; 4]));
            let width = face.widths.get(&id).copied().unwrap_or_default();
            glyphs.push(PlacedGlyph { id, width, advance: width, x_offset: 0.0, y_offset: 0.0 });
        }
        GlyphRun { font, glyphs }
    }

    /// Joins and places letters as their script wants it.
    fn shape_run(&mut self, font: FontIndex, text: &str, is_rtl: bool) -> GlyphRun {
        let face = &mut self.faces[font.0];
        self.buffer.clear();
        self.buffer.push_str(text);
        let direction = if is_rtl { Direction::RightToLeft } else { Direction::LeftToRight };
        self.buffer.set_direction(direction);
        self.buffer.guess_segment_properties();
        // A ligature would be one glyph for two letters that a reader may copy apart.
        let features = [Feature::new(Tag::new(b"liga"), 0, ..)];
        let shaper = ShaperFont::new(&face.font);
        let options = ShapeOptions::new().features(&features);
        if harfrust::shape(&shaper, &mut self.buffer, options).is_err() {
            return self.map_plainly(font, text);
        }
        let scale = UNITS / f32::from(face.font.units_per_em());
        let infos = self.buffer.glyph_infos();
        let clusters: Vec<usize> = infos.iter().map(|info| info.cluster as usize).collect();
        let mut glyphs = Vec::with_capacity(infos.len());
        for (index, (info, place)) in infos.iter().zip(self.buffer.glyph_positions()).enumerate() {
            let cluster = cluster_text(text, &clusters, index);
            let glyph = u16::try_from(info.glyph_id).unwrap_or_default();
            let id = face.note_used(glyph, cluster);
            glyphs.push(PlacedGlyph {
                id,
                width: face.widths.get(&id).copied().unwrap_or_default(),
                advance: place.x_advance as f32 * scale,
                x_offset: place.x_offset as f32 * scale,
                y_offset: place.y_offset as f32 * scale,
            });
        }
        GlyphRun { font, glyphs }
    }

    /// Returns the fonts of which glyphs were used.
    fn used_fonts(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.faces.len()).filter(|index| !self.faces[*index].text_of_glyph.is_empty())
    }

    /// Writes the used glyphs of each used font to the file. Returns the fonts by their names
    /// in the resources.
    ///
    /// # Errors
    ///
    /// A font cannot be cut down to its used glyphs.
    pub(super) fn write_fonts(
        &self,
        chunk: &mut Chunk,
        next: &mut Ref,
    ) -> Result<Vec<(Name<'static>, Ref)>, ExportError> {
        let mut fonts = Vec::new();
        for index in self.used_fonts() {
            let (resource, name) = FONT_NAMES[index];
            let font = self.faces[index].write_font(name, chunk, next)?;
            fonts.push((Name(resource), font));
        }
        Ok(fonts)
    }
}

impl FontIndex {
    pub(super) fn resource_name(self) -> Name<'static> {
        Name(FONT_NAMES[self.0].0)
    }
}

/// Returns the text behind the glyph at `index`, empty for all but the first of a cluster.
fn cluster_text<'t>(text: &'t str, clusters: &[usize], index: usize) -> &'t str {
    let start = clusters[index];
    if clusters[..index].contains(&start) {
        return "";
    }
    let end = clusters.iter().copied().filter(|other| *other > start).min();
    text.get(start..end.unwrap_or(text.len())).unwrap_or_default()
}

/// Returns whether a character stands for itself, whatever is beside it.
fn is_simple(c: char) -> bool {
    matches!(c,
        ' '..='\u{24f}'
        | '\u{370}'..='\u{482}'
        | '\u{48a}'..='\u{52f}'
        | '\u{1e00}'..='\u{1fff}'
        | '\u{2010}'..='\u{2027}'
        | '\u{2030}'..='\u{205e}'
        | '\u{20a0}'..='\u{20bf}'
        | '\u{2100}'..='\u{214f}'
        | '\u{3000}'..='\u{3029}'
        | '\u{3030}'..='\u{3098}'
        | '\u{309b}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff01}'..='\u{ffee}'
        | MISSING)
}

impl FontFace {
    fn glyph_of(&self, c: char) -> Option<u16> {
        let glyph = self.font.charmap().map_unicode(c)?;
        u16::try_from(glyph.to_u32()).ok().filter(|glyph| *glyph != 0)
    }

    fn advance_of(&self, c: char) -> Option<f32> {
        self.glyph_of(c).map(|glyph| self.glyph_advance(glyph))
    }

    /// In thousandths of the font size.
    fn glyph_advance(&self, glyph: u16) -> f32 {
        let advance = ShaperFont::new(&self.font).glyph_h_advance(u32::from(glyph).into());
        advance as f32 * UNITS / f32::from(self.font.units_per_em())
    }

    /// Notes that a glyph with this text is used. Returns its number in the file.
    fn note_used(&mut self, glyph: u16, text: &str) -> u16 {
        let id = self.used.remap(glyph);
        if !self.widths.contains_key(&id) {
            let advance = self.glyph_advance(glyph);
            self.widths.insert(id, advance);
        }
        let known = self.text_of_glyph.entry(id).or_default();
        if known.is_empty() {
            known.push_str(text);
        }
        id
    }

    fn write_font(
        &self,
        name: &str,
        chunk: &mut Chunk,
        next: &mut Ref,
    ) -> Result<Ref, ExportError> {
        let [font, descendant, descriptor, file, to_unicode] = std::array::from_fn(|_| next.bump());
        let subset = subsetter::subset(self.data, 0, &self.used);
        let subset =
            subset.map_err(|_| ExportError::NotPossible("a font cannot be embedded".to_owned()))?;
        let base_font = format!("{}+{name}", subset_tag(&subset));
        let base_font = Name(base_font.as_bytes());
        chunk
            .type0_font(font)
            .base_font(base_font)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(descendant)
            .to_unicode(to_unicode);
        let mut cid = chunk.cid_font(descendant);
        cid.subtype(types::CidFontType::Type2).base_font(base_font).system_info(SYSTEM_INFO);
        cid.font_descriptor(descriptor).default_width(0.0);
        cid.cid_to_gid_map_predefined(Name(b"Identity"));
        let mut widths = cid.widths();
        for (id, width) in &self.widths {
            widths.consecutive(*id, [*width]);
        }
        widths.finish();
        cid.finish();
        chunk
            .font_descriptor(descriptor)
            .name(base_font)
            .flags(types::FontFlags::SYMBOLIC)
            .bbox(Rect::new(-1000.0, -400.0, 2000.0, 1200.0))
            .italic_angle(0.0)
            .ascent(928.0)
            .descent(-236.0)
            .cap_height(729.0)
            .stem_v(80.0)
            .font_file2(file);
        let data = super::compress(&subset);
        let mut stream = chunk.stream(file, &data);
        stream.filter(Filter::FlateDecode);
        stream.pair(Name(b"Length1"), i32::try_from(subset.len()).unwrap_or(i32::MAX));
        stream.finish();
        self.write_unicode_map(chunk, to_unicode);
        Ok(font)
    }

    /// Writes which text each glyph stands for, so that a reader can search and copy.
    fn write_unicode_map(&self, chunk: &mut Chunk, id: Ref) {
        let mut map = types::UnicodeCmap::<u16>::new(Name(b"zeef"), SYSTEM_INFO);
        for (glyph, text) in self.text_of_glyph.iter().filter(|(_, text)| !text.is_empty()) {
            map.pair_with_multiple(*glyph, text.chars());
        }
        let map = map.finish();
        let data = super::compress(map.as_slice());
        chunk.stream(id, &data).filter(Filter::FlateDecode);
    }
}

const SYSTEM_INFO: types::SystemInfo<'static> =
    types::SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// Returns the six letters that tell one subset of a font from another.
fn subset_tag(subset: &[u8]) -> String {
    let mut hash = crc32fast::hash(subset);
    let mut letters = String::new();
    for _ in 0..6 {
        letters.push(char::from(b'A' + u8::try_from(hash % 26).unwrap_or_default()));
        hash /= 26;
    }
    letters
}
