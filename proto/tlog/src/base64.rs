//! The one base64 form that every C2SP text format uses: RFC 4648, section 4, padded, with one text
//! for each byte string.

use data_encoding::BASE64;

/// Reads canonical base64; `None` for anything else.
///
/// The library's decoder checks trailing bits but reads padded pieces one after the other
/// (`QQ==QQ==`), so padding is accepted here at the end only.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let unpadded = text.trim_end_matches('=');
    if unpadded.contains('=') {
        return None;
    }
    BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn only_the_canonical_base64_is_read() {
        let table: [(&str, Option<&[u8]>); 12] = [
            ("", Some(b"")),
            ("QQ==", Some(b"A")),
            ("QUE=", Some(b"AA")),
            ("QUFB", Some(b"AAA")),
            ("QQ", None),
            ("QR==", None),
            ("QQ==QQ==", None),
            ("QQ==QUFB", None),
            ("QQ==\n", None),
            (" QUFB", None),
            ("====", None),
            ("Q_-B", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text).as_deref(), expected, "{text:?}");
        }
    }
}
