//! The commit that `git archive` writes into the tars it makes: what `git get-tar-commit-id` prints.
//!
//! It stands as `comment=<hex>` in a pax global header, the very first entry.

use std::io::Read;

const BLOCK: usize = 512;
/// A global header has some fifty bytes; longer ones are not of `git archive`.
const RECORDS_BYTES_MAX: usize = 4096;

/// The commit in an uncompressed tar, if its first entry names one.
pub fn commit_id(mut tar: impl Read) -> Option<String> {
    let mut header = [0; BLOCK];
    tar.read_exact(&mut header).ok()?;
    if header[156] != b'g' {
        return None;
    }
    let size = std::str::from_utf8(&header[124..135]).ok()?.trim_matches(['\0', ' ']);
    let size = usize::from_str_radix(size, 8).ok().filter(|size| *size <= RECORDS_BYTES_MAX)?;
    let mut records = vec![0; size];
    tar.read_exact(&mut records).ok()?;
    comment(&records).filter(|text| is_commit(text))
}

/// Whether a text is a whole SHA-1 or SHA-256 object name.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Pax records are `<length> <key>=<value>\n`, the length counting all of it.
fn comment(mut records: &[u8]) -> Option<String> {
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(b"comment=") {
            return String::from_utf8(value.to_vec()).ok();
        }
        records = records.get(length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(records: &[u8], kind: u8) -> Vec<u8> {
        let mut header = [0_u8; BLOCK];
        header[124..135].copy_from_slice(format!("{:011o}", records.len()).as_bytes());
        header[156] = kind;
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(records);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    #[test]
    fn a_git_archive_names_its_commit() {
        let commit = "934813e4d421071a1b3db3973c02fe2721359a6e";
        let record = format!("52 comment={commit}\n");
        assert_eq!(commit_id(tar(record.as_bytes(), b'g').as_slice()).as_deref(), Some(commit));
        assert_eq!(commit_id(tar(record.as_bytes(), b'x').as_slice()), None);
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for records in [&b"99999 comment=aa\n"[..], b"0 comment=aa\n", b"1 ", b"x comment=aa\n", b"", b"17 comment=main\n"] {
            assert_eq!(commit_id(tar(records, b'g').as_slice()), None);
        }
        assert_eq!(commit_id(&[0; 100][..]), None);
        assert_eq!(comment(b"13 path=abcd\n11 comment\n").as_deref(), None);
    }
}
