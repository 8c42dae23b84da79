//! The answer to a patron as a PDF.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::audit::run_in_directory;
use super::command_line::{CANARY, Deployment};

#[test]
fn answer_as_pdf_is_a_private_file_that_says_what_the_text_says() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let file = deployment.path("answer.pdf");
    let path = file.to_str().unwrap();
    let access = ["rights", "access", &id, "--identity", "paspoort"];
    for (language, page) in [("nl", "pagina 1 van 2"), ("en", "page 1 of 2")] {
        let words = [&access[..], &["--lang", language, "--as", "pdf", "--out", path]].concat();
        let ran = run_in_directory(&deployment, &words);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read(&file).unwrap().starts_with(b"%PDF-"));
        let text = run_in_directory(&deployment, &[&access[..], &["--lang", language]].concat());
        let text = String::from_utf8(text.stdout).unwrap();
        let Ok(shown) = Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output()
        else {
            assert!(std::env::var_os("CI").is_none(), "pdftotext is missing");
            return;
        };
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains(page) && !shown.contains(CANARY), "{shown}");
        // All of its words, but for the marks of Markdown.
        let is_mark = |word: &&str| word.chars().all(|c| matches!(c, '#' | '-' | '|'));
        let words = text.split_whitespace().filter(|word| !is_mark(word));
        for word in words.map(|word| word.replace('`', "")) {
            assert!(shown.contains(&word), "no {word} in {shown}");
        }
    }
    let json = [&access[..], &["--json", "--as", "pdf"]].concat();
    assert_eq!(run_in_directory(&deployment, &json).status.code(), Some(2));
}
