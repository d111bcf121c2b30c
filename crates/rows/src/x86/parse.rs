//! Parsing of tables.

use super::pattern::{self, Encoding, Operand};
use crate::parse::{Fault, Token};

/// Instructions with one body.
#[derive(Debug)]
pub struct Group {
    pub doc: String,
    pub body: String,
    /// There is a body for each operand size.
    pub sized: bool,
    /// What is passed to the body behind the operands, as Rust code.
    pub arguments: String,
    pub rows: Vec<Row>,
}

/// An encoding of an instruction.
#[derive(Debug)]
pub struct Row {
    pub text: String,
    pub encoding: Encoding,
    pub syntax: String,
    pub operands: Vec<Operand>,
    /// The operand size, by its name in `crate::row`.
    pub size: &'static str,
    pub flags: Vec<&'static str>,
    pub feature: String,
}

/// Attributes that are flags of a row, with their names in `crate::row`.
const FLAGS: &[(&str, &str)] = &[
    ("lock", "LOCK"),
    ("rep", "REP"),
    ("d64", "D64"),
    ("f64", "F64"),
    ("ends", "ENDS"),
    ("cpl0", "CPL0"),
    ("nomod", "NOMOD"),
];

/// Attributes that are an operand size which no operand names.
const SIZES: &[(&str, &str)] =
    &[("b", "B"), ("w", "W"), ("d", "D"), ("q", "Q"), ("v", "V"), ("z", "Z"), ("y", "Y")];

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// Parses a table.
pub fn table(tokens: &[Token]) -> Result<Vec<Group>, Fault> {
    let mut p = Parser { tokens, at: 0 };
    let mut groups = Vec::new();
    while p.at < tokens.len() {
        groups.push(p.group()?);
    }
    Ok(groups)
}

impl Parser<'_> {
    fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at.min(self.tokens.len().saturating_sub(1)), message: message.into() })
    }

    fn next(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.at);
        self.at += token.is_some() as usize;
        token
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Punct(c));
        self.at += found as usize;
        found
    }

    fn expect(&mut self, c: char) -> Result<(), Fault> {
        if self.eat(c) { Ok(()) } else { self.fault(format!("expected '{c}'")) }
    }

    fn ident(&mut self) -> Option<String> {
        match self.tokens.get(self.at) {
            Some(Token::Ident(s)) => {
                self.at += 1;
                Some(s.clone())
            }
            _ => None,
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Fault> {
        match self.tokens.get(self.at) {
            Some(Token::Text(s)) => {
                let s = s.clone();
                self.at += 1;
                Ok(s)
            }
            _ => self.fault(format!("expected {what} in quotes")),
        }
    }

    fn doc(&mut self) -> Result<String, Fault> {
        let mut lines = Vec::new();
        while self.eat('#') {
            self.expect('[')?;
            if self.ident().as_deref() != Some("doc") {
                return self.fault("expected a doc comment");
            }
            self.expect('=')?;
            lines.push(self.text("a doc comment")?.trim().to_string());
            self.expect(']')?;
        }
        Ok(lines.join(" "))
    }

    fn group(&mut self) -> Result<Group, Fault> {
        let doc = self.doc()?;
        if doc.is_empty() {
            return self.fault("a group needs a doc comment");
        }
        let Some(mut body) = self.ident() else { return self.fault("expected a body") };
        while self.eat(':') {
            self.expect(':')?;
            match self.ident() {
                Some(name) => body = format!("{body}::{name}"),
                None => return self.fault("expected the rest of a path"),
            }
        }
        let sized = self.eat('<');
        if sized {
            if self.ident().as_deref() != Some("T") {
                return self.fault("expected T");
            }
            self.expect('>')?;
        }
        let arguments = if self.eat('(') { self.arguments()? } else { String::new() };
        self.expect('{')?;
        let mut rows = Vec::new();
        while !self.eat('}') {
            rows.push(self.row()?);
        }
        if sized && rows.iter().any(|r| r.size == "None") {
            return self.fault("a row of a body for each size names none");
        }
        Ok(Group { doc, body, sized, arguments, rows })
    }

    /// The tokens up to the closing parenthesis as Rust code.
    fn arguments(&mut self) -> Result<String, Fault> {
        let mut depth = 0;
        let mut code = String::new();
        loop {
            let token = self.next().cloned();
            match token {
                Some(Token::Punct(')')) if depth == 0 => return Ok(code),
                Some(Token::Punct(c)) => {
                    depth += (c == '(') as i32 - (c == ')') as i32;
                    code.push(c);
                }
                Some(Token::Ident(s)) => code.push_str(&s),
                Some(Token::Number(n)) => code.push_str(&n.to_string()),
                Some(Token::Text(s)) => code.push_str(&s),
                None => return self.fault("expected ')'"),
            }
        }
    }

    fn row(&mut self) -> Result<Row, Fault> {
        let at = self.at;
        let fault = |message| Fault { at, message };
        let text = self.text("an encoding")?;
        let mut encoding = pattern::encoding(&text).map_err(fault)?;
        let syntax = self.text("an instruction")?;
        let operands = syntax.split_once(' ').map_or("", |(_, operands)| operands);
        let operands = operands.split(", ").filter(|o| !o.is_empty()).map(pattern::operand);
        let operands = operands.collect::<Result<Vec<_>, _>>().map_err(fault)?;
        let (mut flags, mut feature, mut size) = (Vec::new(), "Base".to_string(), None);
        while !self.eat(';') {
            let Some(word) = self.ident() else { return self.fault("expected an attribute or ';'") };
            let named = |table: &[(&str, &'static str)]| table.iter().find(|f| f.0 == word).map(|f| f.1);
            match (&*word, named(FLAGS), named(SIZES)) {
                ("i64", ..) => encoding.in_long_mode(true),
                ("o64", ..) => encoding.in_long_mode(false),
                (_, Some(flag), _) => flags.push(flag),
                (_, _, Some(class)) => size = Some(class),
                _ if word.starts_with(|c: char| c.is_ascii_uppercase()) => feature = word,
                _ => return self.fault(format!("'{word}' is not an attribute")),
            }
        }
        let size = size.unwrap_or_else(|| size_of(&operands));
        Ok(Row { text, encoding, syntax, operands, size, flags, feature })
    }
}

/// The operand size that the operands name: the first of these that there is.
fn size_of(operands: &[Operand]) -> &'static str {
    let order = ["V", "Z", "Y", "Q", "D", "W", "B"];
    order.into_iter().find(|size| operands.iter().any(|o| o.size == *size)).unwrap_or("None")
}
