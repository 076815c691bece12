//! The little XML that changelogs and RSS feeds are made of, read strictly and within bounds. Pure.
//!
//! Elements, attributes that are passed over, text with the five named and with numeric references, CDATA,
//! comments and the XML declaration. Document types are refused: entities are how XML is attacked.

/// Deepest nesting.
const DEPTH_MAX: usize = 32;
/// Longest name of an element.
const NAME_BYTES_MAX: usize = 100;

/// A piece of a document, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// An element begins.
    Open(&'a str),
    /// It ends.
    Close(&'a str),
    /// Text between, with references resolved.
    Text(String),
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("XML at byte {offset}: {reason}")]
pub struct XmlError {
    /// Where.
    pub offset: usize,
    /// What.
    pub reason: &'static str,
}

/// Reads a document piece by piece.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    /// The end of an element without content.
    closing: Option<&'a str>,
    is_begun: bool,
}

impl<'a> Reader<'a> {
    /// A reader of a whole document.
    pub fn new(bytes: &'a [u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(bytes).map_err(|error| XmlError { offset: error.valid_up_to(), reason: "not UTF-8" })?;
        Ok(Self { text: text.trim_start_matches('\u{feff}'), at: 0, open: Vec::new(), closing: None, is_begun: false })
    }

    /// The names of the elements that are open now, outermost first.
    pub fn path(&self) -> &[&'a str] {
        &self.open
    }

    /// The next piece; `None` at the end of a document that is whole.
    pub fn piece(&mut self) -> Result<Option<Piece<'a>>, XmlError> {
        if let Some(name) = self.closing.take() {
            self.open.pop();
            return Ok(Some(Piece::Close(name)));
        }
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return if self.open.is_empty() && self.is_begun { Ok(None) } else { Err(self.wrong("the document ends too early")) };
            }
            if rest.starts_with("<?") {
                self.pass("?>")?;
            } else if rest.starts_with("<!--") {
                self.pass("-->")?;
            } else if let Some(data) = rest.strip_prefix("<![CDATA[") {
                let end = data.find("]]>").ok_or_else(|| self.wrong("CDATA without an end"))?;
                self.at += "<![CDATA[".len() + end + "]]>".len();
                self.inside()?;
                return Ok(Some(Piece::Text(data[..end].to_owned())));
            } else if rest.starts_with("<!") {
                return Err(self.wrong("a document type"));
            } else if rest.starts_with("</") {
                return self.close().map(Some);
            } else if rest.starts_with('<') {
                return self.open().map(Some);
            } else if let Some(text) = self.text()? {
                return Ok(Some(text));
            }
        }
    }

    /// Text up to the next mark. Space around the root says nothing.
    fn text(&mut self) -> Result<Option<Piece<'a>>, XmlError> {
        let rest = &self.text[self.at..];
        let end = rest.find('<').unwrap_or(rest.len());
        let raw = &rest[..end];
        let text = if self.open.is_empty() && raw.trim().is_empty() {
            None
        } else {
            self.inside()?;
            Some(Piece::Text(resolve(raw).ok_or_else(|| self.wrong("a malformed reference"))?))
        };
        self.at += end;
        Ok(text)
    }

    fn open(&mut self) -> Result<Piece<'a>, XmlError> {
        let rest = &self.text[self.at + 1..];
        let end = end_of_tag(rest).ok_or_else(|| self.wrong("an element without an end"))?;
        let inside = &rest[..end];
        let (inside, is_empty) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
        let name = inside.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        if !is_name(name) {
            return Err(self.wrong("a malformed name"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(self.wrong("too many elements in each other"));
        }
        if self.open.is_empty() && self.is_begun {
            return Err(self.wrong("a second root"));
        }
        self.is_begun = true;
        self.at += 1 + end + 1;
        self.open.push(name);
        self.closing = is_empty.then_some(name);
        Ok(Piece::Open(name))
    }

    fn close(&mut self) -> Result<Piece<'a>, XmlError> {
        let rest = &self.text[self.at + 2..];
        let end = rest.find('>').ok_or_else(|| self.wrong("an element without an end"))?;
        let name = rest[..end].trim_end();
        if self.open.last() != Some(&name) {
            return Err(self.wrong("the end of an element that is not open"));
        }
        self.open.pop();
        self.at += 2 + end + 1;
        Ok(Piece::Close(name))
    }

    fn pass(&mut self, end: &str) -> Result<(), XmlError> {
        let length = self.text[self.at..].find(end).ok_or_else(|| self.wrong("a comment or declaration without an end"))?;
        self.at += length + end.len();
        Ok(())
    }

    fn inside(&self) -> Result<(), XmlError> {
        if self.open.is_empty() { Err(self.wrong("text outside of the root")) } else { Ok(()) }
    }

    fn wrong(&self, reason: &'static str) -> XmlError {
        XmlError { offset: self.at, reason }
    }
}

/// The `>` that ends a tag: one in an attribute's value does not.
fn end_of_tag(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'<') => return None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    name.len() <= NAME_BYTES_MAX && name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(is_part)
}

fn resolve(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let (name, tail) = after.split_once(';').filter(|(name, _)| name.len() <= 8)?;
        text.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => numeric(name)?,
        });
        rest = tail;
    }
    text.push_str(rest);
    Some(text)
}

fn numeric(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code).filter(|c| *c != '\0')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Result<String, XmlError> {
        let mut reader = Reader::new(text.as_bytes())?;
        let mut all = String::new();
        while let Some(piece) = reader.piece()? {
            all = match piece {
                Piece::Open(name) => format!("{all}<{name}"),
                Piece::Close(name) => format!("{all}>{name}"),
                Piece::Text(text) => format!("{all}'{text}'"),
            };
        }
        Ok(all)
    }

    #[test]
    fn what_feeds_are_made_of_is_read() {
        for (text, expected) in [
            ("<?xml version='1.0'?>\n<a/>\n", "<a>a"),
            ("<a><!-- x --><b k='1>2'>t</b ></a>", "<a<b't'>b>a"),
            ("<a>1 &lt; &#50; &#x26; &amp;</a>", "<a'1 < 2 & &'>a"),
            ("<a><![CDATA[<raw>&]]></a>", "<a'<raw>&'>a"),
        ] {
            assert_eq!(pieces(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_attackers_send_is_refused() {
        let deep = "<a>".repeat(40);
        for text in [
            "",
            " ",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&unknown;</a>",
            "<a>&#0;</a>",
            "<a>&",
            "<!DOCTYPE a><a/>",
            "<a b='",
            "<1/>",
            "<a><![CDATA[x</a>",
            "<a/>x",
            &deep,
        ] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_loop(text in "[<>/a-c&;!?\\[\\]#x0-9 '\"-]{0,80}") {
            let _ = pieces(&text);
        }
    }
}
