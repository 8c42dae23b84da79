//! Builds the crate again when a file is added to an embedded folder: the compiler itself
//! notices only changes of files that were there.

fn main() {
    for folder in ["config/detectors", "config/records", "config/recipients"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
