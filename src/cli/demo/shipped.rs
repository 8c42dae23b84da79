//! The shipped config, in the binary: so that the demo needs nothing beside it.

use std::io::Write as _;
use std::path::Path;

use crate::transport::file::{Failure, Mode, create_file, create_folders};

macro_rules! shipped {
    ($file:literal) => {
        ($file, include_str!(concat!("../../../config/", $file)))
    };
}

/// Every file of the shipped config, by its path in the folder.
const FILES: &[(&str, &str)] = &[
    shipped!("zeef.toml"),
    shipped!("records/consent.toml"),
    shipped!("records/debt.toml"),
    shipped!("records/ill_request.toml"),
    shipped!("records/loan.toml"),
    shipped!("records/objection.toml"),
    shipped!("records/patron.toml"),
    shipped!("records/reservation.toml"),
    shipped!("recipients/deurwaarder.toml"),
    shipped!("recipients/ill-library-contact.toml"),
    shipped!("recipients/ill-library.toml"),
    shipped!("recipients/kb-membership.toml"),
    shipped!("recipients/kb-recognition.toml"),
    shipped!("recipients/reservation-slip.toml"),
    shipped!("recipients/service-message.toml"),
    shipped!("recipients/statistics.toml"),
];

/// Writes the shipped config into a folder.
///
/// # Errors
///
/// A file or folder cannot be written.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    for (file, text) in FILES {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            create_folders(parent, Mode::folder(false))?;
        }
        let mut file = create_file(&path, Mode::file(false))?.file;
        let written = file.write_all(text.as_bytes());
        written.map_err(Failure::to("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_config_is_in_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let mut found = vec!["zeef.toml".to_owned()];
        for below in ["records", "recipients"] {
            for entry in fs::read_dir(root.join(below)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                found.push(format!("{below}/{name}"));
            }
        }
        found.sort();
        let mut files: Vec<_> = FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        files.sort();
        assert_eq!(files, found);
    }
}
