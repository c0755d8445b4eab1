use super::*;

#[test]
fn a_fingerprint_is_read_as_it_is_printed_here_and_elsewhere() {
    let fingerprint = Fingerprint::of(b"a certificate");
    let text = fingerprint.to_string();
    assert_eq!(text.len(), "sha256:".len() + 64);
    assert_eq!(text.parse(), Ok(fingerprint));
    assert_eq!(fingerprint.hex().parse(), Ok(fingerprint));
    let pairs: Vec<String> = fingerprint.0.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(pairs.join(":").parse(), Ok(fingerprint));
    for bad in ["", "sha256:", &text[..70], "zz", &"é".repeat(32)] {
        let error = bad.parse::<Fingerprint>().expect_err(bad).to_string();
        assert!(error.contains("64 hex digits"), "{error}");
    }
}
