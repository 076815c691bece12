//! Base64 with one text for each byte string: RFC 4648, section 4, padded, and at the end only.
//!
//! `data-encoding` reads padded pieces one after the other, as in `QQ==QQ==`. A payload would then have many
//! texts, and whoever holds an envelope could make a second one with the same signature: two envelopes for
//! one place in a feed, which convict an honest node of two histories. It is also a third as fast.

/// What four characters say, in the lower three bytes. The upper one is only set by what is no character.
const NO_CHARACTER: u32 = 0xff00_0000;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// For each place in a block of four: a character's six bits where they belong.
static PLACES: [[u32; 256]; 4] = places();

const fn places() -> [[u32; 256]; 4] {
    let mut places = [[NO_CHARACTER; 256]; 4];
    let mut value = 0_u32;
    while value < 64 {
        let mut place = 0;
        while place < places.len() {
            places[place][ALPHABET[value as usize] as usize] = value << (18 - 6 * place);
            place += 1;
        }
        value += 1;
    }
    places
}

/// The bytes of a text; none if it is not what an encoder writes.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (blocks, []) = text.as_chunks::<4>() else { return None };
    let Some((last, whole)) = blocks.split_last() else { return Some(Vec::new()) };
    let mut bytes = Vec::with_capacity(blocks.len() * 3);
    bytes.resize(whole.len() * 3, 0);
    let mut seen = 0;
    let (eights, others) = whole.as_chunks::<8>();
    let (long, short) = bytes.split_at_mut(eights.len() * 24);
    for (eight, out) in eights.iter().zip(long.as_chunks_mut().0) {
        *out = bytes_of(eight, &mut seen);
    }
    for (block, out) in others.iter().zip(short.as_chunks_mut().0) {
        let word = word_of(*block);
        seen |= word;
        let [_, a, b, c] = word.to_be_bytes();
        *out = [a, b, c];
    }
    let (word, length) = last_word(*last);
    let [above, a, b, c] = word.to_be_bytes();
    let last = [a, b, c];
    let (kept, dropped) = last.split_at(length);
    bytes.extend_from_slice(kept);
    let is_strict = above == 0 && seen & NO_CHARACTER == 0 && dropped.iter().all(|byte| *byte == 0);
    is_strict.then_some(bytes)
}

/// Eight blocks at once, since storing three bytes takes as long as storing eight.
fn bytes_of(blocks: &[[u8; 4]; 8], seen: &mut u32) -> [u8; 24] {
    let words = blocks.map(word_of);
    *seen |= words.iter().fold(0, |seen, word| seen | word);
    let word = words.map(u64::from);
    let triple = [
        word[0] << 40 | word[1] << 16 | word[2] >> 8,
        word[2] << 56 | word[3] << 32 | word[4] << 8 | word[5] >> 16,
        word[5] << 48 | word[6] << 24 | word[7],
    ];
    let mut bytes = [0; 24];
    for (part, out) in triple.iter().zip(bytes.as_chunks_mut().0) {
        *out = part.to_be_bytes();
    }
    bytes
}

fn word_of(block: [u8; 4]) -> u32 {
    let [a, b, c, d] = block.map(usize::from);
    PLACES[0][a] | PLACES[1][b] | PLACES[2][c] | PLACES[3][d]
}

/// The last block and how many bytes it stands for.
fn last_word(block: [u8; 4]) -> (u32, usize) {
    match block {
        [a, b, b'=', b'='] => (word_of([a, b, b'A', b'A']), 1),
        [a, b, c, b'='] => (word_of([a, b, c, b'A']), 2),
        block => (word_of(block), 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;
    use proptest::prelude::*;

    #[test]
    fn only_the_one_text_of_some_bytes_is_read() {
        let table: [(&str, Option<&[u8]>); 13] = [
            ("", Some(b"")),
            ("QQ==", Some(b"A")),
            ("QUE=", Some(b"AA")),
            ("QUFB", Some(b"AAA")),
            ("QUFBQQ==", Some(b"AAAA")),
            ("QQ", None),
            ("QR==", None),
            ("QUF=", None),
            ("QQ==QQ==", None),
            ("QQ==QUFB", None),
            ("QQ==\n", None),
            ("====", None),
            ("Q_-B", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
    }

    /// What the library reads, if it would write it like that.
    fn by_the_library(text: &[u8]) -> Option<Vec<u8>> {
        BASE64.decode(text).ok().filter(|bytes| BASE64.encode(bytes).as_bytes() == text)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(BASE64.encode(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn one_strange_character_anywhere_is_noticed(bytes in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, byte: u8) {
            let mut text = BASE64.encode(&bytes).into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            prop_assert_eq!(decode(&text), by_the_library(&text));
        }

        #[test]
        fn what_is_read_would_be_written_like_that(text in "[A-Da-d0-3+/=]{0,24}", at: prop::sample::Index, byte: u8) {
            let mut text = text.into_bytes();
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
            prop_assert_eq!(decode(&text), by_the_library(&text));
        }

        #[test]
        fn texts_of_whole_blocks_are_read_alike(text in "([ABQR0-9+/]{4}){0,20}([AQ]{2}==|[AQ]{3}=)?") {
            prop_assert_eq!(decode(text.as_bytes()), by_the_library(text.as_bytes()));
        }
    }
}
