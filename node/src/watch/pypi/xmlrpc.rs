//! XML-RPC as far as a changelog needs it: a call with at most one number, and answers of numbers, texts
//! and lists. Pure.

use crate::watch::xml::{Piece, Reader, XmlError};

/// Most values of an answer.
const VALUES_MAX: usize = 2_000_000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// Nothing.
    Nil,
    /// A list.
    List(Vec<Value>),
    /// Named values, in order.
    Struct(Vec<(String, Value)>),
}

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// XML, but no answer to a call.
    #[error("not an answer to a call: {0}")]
    Shape(&'static str),
    /// The server refuses.
    #[error("the server refuses: {0}")]
    Fault(String),
}

/// The text of a call.
pub fn call(method: &str, number: Option<u64>) -> String {
    let param = number.map_or_else(String::new, |number| format!("<param><value><int>{number}</int></value></param>"));
    format!("<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{param}</params></methodCall>")
}

/// Reads an answer: its one value.
pub fn answer(bytes: &[u8]) -> Result<Value, CallError> {
    let mut parser = Parser { reader: Reader::new(bytes)?, values: 0 };
    parser.open("methodResponse")?;
    let value = match parser.mark()? {
        Piece::Open("params") => {
            parser.open("param")?;
            parser.open("value")?;
            let value = parser.value()?;
            parser.close("param")?;
            parser.close("params")?;
            value
        }
        Piece::Open("fault") => {
            parser.open("value")?;
            return Err(CallError::Fault(fault(&parser.value()?)));
        }
        _ => return Err(CallError::Shape("neither a result nor a fault")),
    };
    parser.close("methodResponse")?;
    match parser.reader.piece()? {
        None => Ok(value),
        Some(_) => Err(CallError::Shape("something behind the end")),
    }
}

fn fault(value: &Value) -> String {
    let Value::Struct(members) = value else { return "without a reason".to_owned() };
    let text = members.iter().find(|(name, _)| name == "faultString").map(|(_, value)| value);
    match text {
        Some(Value::Text(text)) => text.chars().take(200).collect(),
        _ => "without a reason".to_owned(),
    }
}

struct Parser<'a> {
    reader: Reader<'a>,
    values: usize,
}

impl<'a> Parser<'a> {
    /// The next piece that is more than space between elements.
    fn mark(&mut self) -> Result<Piece<'a>, CallError> {
        loop {
            match self.reader.piece()?.ok_or(CallError::Shape("it ends too early"))? {
                Piece::Text(text) if text.trim().is_empty() => {}
                piece => return Ok(piece),
            }
        }
    }

    fn open(&mut self, name: &'static str) -> Result<(), CallError> {
        if self.mark()? == Piece::Open(name) { Ok(()) } else { Err(CallError::Shape(name)) }
    }

    fn close(&mut self, name: &'static str) -> Result<(), CallError> {
        if self.mark()? == Piece::Close(name) { Ok(()) } else { Err(CallError::Shape(name)) }
    }

    /// What stands in an open `value`, and its end.
    fn value(&mut self) -> Result<Value, CallError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(CallError::Shape("too many values"));
        }
        // Text directly in a value is a text, and so is nothing at all.
        let mut direct = String::new();
        let name = loop {
            match self.reader.piece()?.ok_or(CallError::Shape("it ends too early"))? {
                Piece::Text(text) => direct.push_str(&text),
                Piece::Close(_) => return Ok(Value::Text(direct)),
                Piece::Open(name) => break name,
            }
        };
        let value = match name {
            "array" => self.list()?,
            "struct" => self.members()?,
            "nil" => {
                self.text("nil")?;
                Value::Nil
            }
            "string" => Value::Text(self.text("string")?),
            "int" | "i4" | "i8" => {
                let text = self.text(name)?;
                Value::Int(text.trim().parse().map_err(|_| CallError::Shape("a malformed number"))?)
            }
            other => Value::Text(self.text(other)?),
        };
        self.close("value")?;
        Ok(value)
    }

    fn text(&mut self, name: &str) -> Result<String, CallError> {
        let mut all = String::new();
        loop {
            match self.reader.piece()?.ok_or(CallError::Shape("it ends too early"))? {
                Piece::Text(text) => all.push_str(&text),
                Piece::Close(closed) if closed == name => return Ok(all),
                _ => return Err(CallError::Shape("an element in a plain value")),
            }
        }
    }

    fn list(&mut self) -> Result<Value, CallError> {
        self.open("data")?;
        let mut values = Vec::new();
        loop {
            match self.mark()? {
                Piece::Open("value") => values.push(self.value()?),
                Piece::Close("data") => break,
                _ => return Err(CallError::Shape("a list of something else than values")),
            }
        }
        self.close("array")?;
        Ok(Value::List(values))
    }

    fn members(&mut self) -> Result<Value, CallError> {
        let mut members = Vec::new();
        loop {
            match self.mark()? {
                Piece::Open("member") => {
                    self.open("name")?;
                    let name = self.text("name")?;
                    self.open("value")?;
                    members.push((name, self.value()?));
                    self.close("member")?;
                }
                Piece::Close("struct") => return Ok(Value::Struct(members)),
                _ => return Err(CallError::Shape("a structure of something else than members")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_texts_lists_and_refusals_are_read() {
        let response = |value: &str| {
            format!("<?xml version='1.0'?>\n<methodResponse>\n<params><param><value>{value}</value></param></params>\n</methodResponse>\n")
        };
        assert_eq!(answer(response("<int>7</int>").as_bytes()).unwrap(), Value::Int(7));
        let list = response("<array><data>\n<value>a</value><value><nil/></value><value><string>b</string></value>\n</data></array>");
        assert_eq!(answer(list.as_bytes()).unwrap(), Value::List(vec![Value::Text("a".into()), Value::Nil, Value::Text("b".into())]));
        let fault = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-32500</int></value></member><member><name>faultString</name><value><string>HTTPTooManyRequests</string></value></member></struct></value></fault></methodResponse>";
        assert_eq!(answer(fault.as_bytes()), Err(CallError::Fault("HTTPTooManyRequests".to_owned())));
        for text in
            ["", "<html/>", "<methodResponse/>", &response("<int>x</int>"), &response("<int>1</int><int>2</int>"), &response("<array/>")]
        {
            assert!(matches!(answer(text.as_bytes()), Err(CallError::Xml(_) | CallError::Shape(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(parts in prop::collection::vec(prop::sample::select(vec![
            "<methodResponse>", "<params>", "<param>", "<value>", "<array>", "<data>", "<int>", "7", "</int>", "</data>", "</array>",
            "</value>", "</param>", "</params>", "</methodResponse>", "<nil/>", "<struct>", "<member>", "<name>", "</name>",
        ]), 0..30)) {
            let _ = answer(parts.concat().as_bytes());
        }
    }
}
