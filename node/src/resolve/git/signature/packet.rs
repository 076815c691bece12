//! Which key a signature names: OpenPGP packets (RFC 4880, RFC 9580) and OpenSSH's signature format. Pure.

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};

const SIGNATURE_TAG: u8 = 2;
const ISSUER: u8 = 16;
const ISSUER_FINGERPRINT: u8 = 33;

/// The fingerprint of the issuer of an OpenPGP signature, else its key id; lower-case hex.
pub(super) fn issuer(bytes: &[u8]) -> Option<String> {
    let body = signature_body(bytes)?;
    match body.first()? {
        // Version, kind, three more, then the issuer's key id in the middle.
        3 => body.get(7..15).map(|id| HEXLOWER.encode(id)),
        4 => {
            let (hashed, rest) = counted(body.get(4..)?)?;
            let (unhashed, _) = counted(rest)?;
            let named =
                |kind: u8, skip: usize| [hashed, unhashed].into_iter().find_map(|area| subpacket(area, kind)).and_then(|b| b.get(skip..));
            named(ISSUER_FINGERPRINT, 1)
                .or_else(|| named(ISSUER, 0))
                .filter(|id| (8..=32).contains(&id.len()))
                .map(|id| HEXLOWER.encode(id))
        }
        _ => None,
    }
}

/// The content of the first packet, if it is a signature.
fn signature_body(bytes: &[u8]) -> Option<&[u8]> {
    let head = *bytes.first()?;
    if head & 0x80 == 0 {
        return None;
    }
    let (tag, length, at) = if head & 0x40 != 0 {
        let (length, used) = new_length(bytes.get(1..)?)?;
        (head & 0x3f, length, 1 + used)
    } else {
        let width = 1_usize << (head & 3).min(2);
        let length = bytes.get(1..1 + width)?.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        (head >> 2 & 0x0f, length, 1 + width)
    };
    (tag == SIGNATURE_TAG).then(|| bytes.get(at..at.checked_add(length)?)).flatten()
}

/// A length in the form that packets and subpackets share, and how many bytes it took.
fn new_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.first()?);
    match first {
        0..192 => Some((first, 1)),
        192..255 => Some((((first - 192) << 8) + usize::from(*bytes.get(1)?) + 192, 2)),
        _ => Some((usize::try_from(u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?)).ok()?, 5)),
    }
}

/// An area that begins with its length in two bytes, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    bytes.get(2..)?.split_at_checked(length)
}

fn subpacket(mut area: &[u8], kind: u8) -> Option<&[u8]> {
    while !area.is_empty() {
        let (length, used) = new_length(area)?;
        let body = area.get(used..used.checked_add(length)?)?;
        // The highest bit says only that the subpacket is critical.
        if *body.first()? & 0x7f == kind {
            return body.get(1..);
        }
        area = area.get(used + length..)?;
    }
    None
}

/// The fingerprint of the key in an OpenSSH signature, as ssh-keygen prints it.
pub(super) fn ssh_fingerprint(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(b"SSHSIG")?.get(4..)?;
    let length = usize::try_from(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
    let key = rest.get(4..4_usize.checked_add(length)?)?;
    Some(format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_read_and_lies_about_lengths_are_not_followed() {
        let subpackets = [&[9, ISSUER][..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let body = [&[4, 0, 1, 8, 0, 0, 0, 10][..], &subpackets].concat();
        let packet = [&[0xc2, u8::try_from(body.len()).unwrap_or(0)][..], &body].concat();
        assert_eq!(issuer(&packet).as_deref(), Some("0102030405060708"));
        for end in 0..packet.len() {
            assert_eq!(issuer(&packet[..end]), None);
        }
        assert_eq!(issuer(&[0xc2, 0xff, 0xff, 0xff, 0xff, 0xff, 4]), None);
        assert_eq!(ssh_fingerprint(b"SSHSIG\0\0\0\x01\xff\xff\xff\xffab"), None);
    }
}
