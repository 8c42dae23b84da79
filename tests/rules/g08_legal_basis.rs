//! G08: every recipient names its legal basis.

use zeef_test_kit::config::{load_files, patron_kind_file, recipient_file};

#[test]
fn g08_recipient_without_legal_basis_is_refused() {
    let patron = patron_kind_file("");
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
         retention = { term = \"P1Y\", from = \"born_on\", after = \"retract\" }";
    let (path, text) = recipient_file("r", settings, "library = { from = \"library\" }");
    assert!(load_files(&[patron.clone(), (path.clone(), text.clone())]).is_ok());
    let basis = "legal_basis = \"contract\"\n";
    for without in [text.replace(basis, ""), text.replace("contract", "habit")] {
        let error = load_files(&[patron.clone(), (path.clone(), without)]).unwrap_err();
        assert!(error.contains("legal_basis"), "{error}");
    }
}
