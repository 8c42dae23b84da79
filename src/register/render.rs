//! The register as Markdown, CSV and HTML.

use std::fmt::Write as _;

use super::{Register, RegisterEntry};
use crate::contract::markdown_cell;

const TITLE: &str = "Register van verwerkingsactiviteiten";
const LAW: &str = "Artikel 30 van de Algemene verordening gegevensbescherming (AVG).";
const MISSING_TITLE: &str = "Wat ontbreekt";

/// A table of texts.
#[derive(Clone, Copy, Debug)]
pub struct RegisterTable<'a> {
    pub title: &'a str,
    pub columns: &'a [&'a str],
    pub rows: &'a [Vec<String>],
}

impl RegisterTable<'_> {
    /// Returns the table in Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        push_markdown_row(self.columns.iter().map(|one| (*one).to_owned()), &mut text);
        push_line(&mut text, &format!("|{}", "---|".repeat(self.columns.len())));
        for row in self.rows {
            push_markdown_row(row.iter().cloned(), &mut text);
        }
        text
    }

    /// Returns the table as a page that needs nothing beside it.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n<table>\n<tr>", escape(self.title));
        for column in self.columns {
            let _ = write!(body, "<th scope=\"col\">{}</th>", escape(column));
        }
        body.push_str("</tr>\n");
        for row in self.rows {
            body.push_str("<tr>");
            for cell in row {
                let _ = write!(body, "<td>{}</td>", escape(cell));
            }
            body.push_str("</tr>\n");
        }
        body.push_str("</table>\n");
        html_page(self.title, &body)
    }

    /// Returns the table as CSV (RFC 4180).
    ///
    /// # Errors
    ///
    /// Those of the writer, which do not occur in memory.
    pub fn to_csv(&self) -> csv::Result<String> {
        let columns = self.columns.iter().map(|one| (*one).to_owned()).collect();
        write_csv(std::iter::once(columns).chain(self.rows.iter().cloned()))
    }
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn push_markdown_row(cells: impl Iterator<Item = String>, text: &mut String) {
    let cells: Vec<String> = cells.map(|cell| markdown_cell(&cell)).collect();
    push_line(text, &format!("| {} |", cells.join(" | ")));
}

/// Returns the register in Markdown, with what is missing at its end.
#[must_use]
pub fn render_markdown(register: &Register) -> String {
    let mut text = format!("# {TITLE}\n\n{LAW}\n\n| | |\n|---|---|\n");
    for (label, value) in register.controller.cells() {
        push_markdown_row([label.to_owned(), value.to_owned()].into_iter(), &mut text);
    }
    for entry in &register.entries {
        push_line(&mut text, &format!("\n## {}\n\n| | |\n|---|---|", entry.title));
        push_markdown_row(["naam".to_owned(), format!("`{}`", entry.id)].into_iter(), &mut text);
        for cell in entry.cells.iter().filter(|cell| !cell.texts.is_empty()) {
            let texts = cell.texts.join("<br>");
            push_markdown_row([cell.label.to_owned(), texts].into_iter(), &mut text);
        }
    }
    let missing = register.missing();
    if !missing.is_empty() {
        push_line(&mut text, &format!("\n## {MISSING_TITLE}\n"));
        for one in &missing {
            push_line(&mut text, &format!("- {one}"));
        }
    }
    text
}

/// Returns the register as CSV (RFC 4180): a row for each processing.
///
/// # Errors
///
/// Those of the writer, which do not occur in memory.
pub fn render_csv(register: &Register) -> csv::Result<String> {
    let labels = register.entries.first().map(|entry| {
        let labels = entry.cells.iter().map(|cell| cell.label.to_owned());
        ["naam", "titel"].map(str::to_owned).into_iter().chain(labels).collect()
    });
    let row = |entry: &RegisterEntry| {
        let first = [entry.id.clone(), entry.title.clone()].into_iter();
        first.chain(entry.cells.iter().map(|cell| cell.texts.join("\n"))).collect()
    };
    write_csv(labels.into_iter().chain(register.entries.iter().map(row)))
}

fn write_csv(rows: impl Iterator<Item = Vec<String>>) -> csv::Result<String> {
    let mut bytes = Vec::new();
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut bytes);
    for row in rows {
        writer.write_record(row.iter().map(|cell| not_a_formula(cell)))?;
    }
    writer.flush()?;
    drop(writer);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Puts an apostrophe before text that a spreadsheet would run as a formula.
fn not_a_formula(cell: &str) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

/// Returns the register as a page that needs nothing beside it.
#[must_use]
pub fn render_html(register: &Register) -> String {
    let mut body = format!("<h1>{TITLE}</h1>\n<p>{LAW}</p>\n<table>\n");
    for (label, value) in register.controller.cells() {
        push_html_row(label, &escape(value), &mut body);
    }
    body.push_str("</table>\n");
    for entry in &register.entries {
        let _ = write!(
            body,
            "<section id=\"{}\">\n<h2>{}</h2>\n<table>\n",
            escape(&entry.id),
            escape(&entry.title)
        );
        push_html_row("naam", &format!("<code>{}</code>", escape(&entry.id)), &mut body);
        for cell in entry.cells.iter().filter(|cell| !cell.texts.is_empty()) {
            let texts: Vec<String> = cell.texts.iter().map(|text| escape(text)).collect();
            push_html_row(cell.label, &texts.join("<br>"), &mut body);
        }
        body.push_str("</table>\n</section>\n");
    }
    let missing = register.missing();
    if !missing.is_empty() {
        let _ = write!(body, "<h2>{MISSING_TITLE}</h2>\n<ul>\n");
        for one in &missing {
            let _ = writeln!(body, "<li>{}</li>", escape(one));
        }
        body.push_str("</ul>\n");
    }
    html_page(TITLE, &body)
}

fn push_html_row(label: &str, html: &str, body: &mut String) {
    let _ = writeln!(body, "<tr><th scope=\"row\">{}</th><td>{html}</td></tr>", escape(label));
}

const STYLE: &str = "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;\
border-bottom:1px solid #ccc;padding:.3rem .6rem}tr>th[scope=row]{width:14rem}";

fn html_page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"nl\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
