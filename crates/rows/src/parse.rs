//! Tokens to rows.

use crate::pattern::{self, Pattern};

/// A token; groups are flattened to their delimiters.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Ident(String),
    Punct(char),
    Text(String),
    Number(i64),
}

/// What is wrong, and at which token.
#[derive(Debug)]
pub struct Fault {
    pub at: usize,
    pub message: String,
}

/// An argument of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A field, by its index in the pattern.
    Field(usize),
    Literal(i64),
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub doc: String,
    pub body: String,
    pub args: Vec<Arg>,
    pub pattern: Pattern,
    pub syntax: String,
    pub extension: String,
    pub rv32: bool,
    pub rv64: bool,
    /// Token to blame.
    pub at: usize,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// Reads all rows.
pub fn rows(tokens: &[Token]) -> Result<Vec<Row>, Fault> {
    let mut p = Parser { tokens, at: 0 };
    let mut rows = Vec::new();
    while p.at < tokens.len() {
        rows.push(p.row()?);
    }
    Ok(rows)
}

type Constraint = (String, Vec<i64>, usize);

impl Parser<'_> {
    fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at.min(self.tokens.len().saturating_sub(1)), message: message.into() })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(&Token::Punct(c));
        self.at += found as usize;
        found
    }

    fn expect(&mut self, c: char) -> Result<(), Fault> {
        if self.eat(c) { Ok(()) } else { self.fault(format!("a '{c}' belongs here")) }
    }

    fn ident(&mut self, what: &str) -> Result<String, Fault> {
        match self.peek() {
            Some(Token::Ident(s)) => {
                let s = s.clone();
                self.at += 1;
                Ok(s)
            }
            _ => self.fault(format!("{what} belongs here")),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Fault> {
        match self.peek() {
            Some(Token::Text(s)) => {
                let s = s.clone();
                self.at += 1;
                Ok(s)
            }
            _ => self.fault(format!("{what} in quotes belongs here")),
        }
    }

    fn number(&mut self) -> Result<i64, Fault> {
        let sign = if self.eat('-') { -1 } else { 1 };
        match self.peek() {
            Some(&Token::Number(n)) => {
                self.at += 1;
                Ok(sign * n)
            }
            _ => self.fault("a number belongs here"),
        }
    }

    /// `#[doc = "…"]`, as doc comments arrive.
    fn doc(&mut self) -> Result<String, Fault> {
        let mut lines = Vec::new();
        while self.eat('#') {
            self.expect('[')?;
            self.ident("doc")?;
            self.expect('=')?;
            lines.push(self.text("a doc comment")?.trim().to_string());
            self.expect(']')?;
        }
        Ok(lines.join(" "))
    }

    fn row(&mut self) -> Result<Row, Fault> {
        let doc = self.doc()?;
        let at = self.at;
        let name = self.ident("a row's name")?;
        if doc.is_empty() {
            return Err(Fault { at, message: format!("row '{name}' needs a doc comment") });
        }
        self.expect('=')?;
        let body = self.path()?;
        let (args, mut constraints) = self.args()?;
        let pattern_at = self.at;
        let text = self.text("the pattern")?;
        let mut pattern = pattern::parse(&text)
            .map_err(|e| Fault { at: pattern_at, message: format!("row '{name}': {e}") })?;
        let syntax = self.text("the syntax")?;
        if self.peek() == Some(&Token::Ident("where".into())) {
            self.at += 1;
            constraints.extend(self.constraints()?);
        }
        let extension = self.ident("the extension")?;
        let (mut rv32, mut rv64) = (true, true);
        if let Some(Token::Ident(width)) = self.peek() {
            match &**width {
                "rv32" => rv64 = false,
                "rv64" => rv32 = false,
                _ => return self.fault("rv32, rv64 or ';' belongs here"),
            }
            self.at += 1;
        }
        self.expect(';')?;
        constrain(&mut pattern, constraints)?;
        let args = args.into_iter().map(|a| a.resolve(&pattern)).collect::<Result<_, _>>()?;
        Ok(Row { name, doc, body, args, pattern, syntax, extension, rv32, rv64, at })
    }

    fn path(&mut self) -> Result<String, Fault> {
        let mut path = self.ident("a body")?;
        while self.eat(':') {
            self.expect(':')?;
            if self.eat('<') {
                let types = self.types()?;
                path = format!("{path}::<{types}>");
            } else {
                path = format!("{path}::{}", self.ident("the rest of a path")?);
            }
        }
        Ok(path)
    }

    /// Type arguments up to the closing bracket; `_` is the engine.
    fn types(&mut self) -> Result<String, Fault> {
        let mut types = Vec::new();
        while !self.eat('>') {
            types.push(if self.eat('_') { "_".to_string() } else { self.ident("a type")? });
            if !self.eat(',') && self.peek() != Some(&Token::Punct('>')) {
                return self.fault("',' or '>' belongs here");
            }
        }
        Ok(types.join(", "))
    }

    fn args(&mut self) -> Result<(Vec<Named>, Vec<Constraint>), Fault> {
        let (mut args, mut constraints) = (Vec::new(), Vec::new());
        self.expect('(')?;
        while !self.eat(')') {
            let at = self.at;
            if let Some(Token::Ident(_)) = self.peek() {
                let name = self.ident("a field")?;
                let not = self.not()?;
                if !not.is_empty() {
                    constraints.push((name.clone(), not, at));
                }
                args.push(Named::Field(name, at));
            } else {
                args.push(Named::Literal(self.number()?));
            }
            if !self.eat(',') && self.peek() != Some(&Token::Punct(')')) {
                return self.fault("',' or ')' belongs here");
            }
        }
        Ok((args, constraints))
    }

    fn not(&mut self) -> Result<Vec<i64>, Fault> {
        let mut not = Vec::new();
        while self.eat('!') {
            self.expect('=')?;
            not.push(self.number()?);
        }
        Ok(not)
    }

    fn constraints(&mut self) -> Result<Vec<Constraint>, Fault> {
        let mut all = Vec::new();
        loop {
            let at = self.at;
            let name = self.ident("a field")?;
            all.push((name, self.not()?, at));
            if !self.eat(',') {
                return Ok(all);
            }
        }
    }
}

enum Named {
    Field(String, usize),
    Literal(i64),
}

impl Named {
    fn resolve(self, pattern: &Pattern) -> Result<Arg, Fault> {
        match self {
            Named::Literal(n) => Ok(Arg::Literal(n)),
            Named::Field(name, at) => match pattern.fields.iter().position(|f| f.name == name) {
                Some(i) => Ok(Arg::Field(i)),
                None => Err(Fault { at, message: format!("'{name}' is no field of the pattern") }),
            },
        }
    }
}

fn constrain(pattern: &mut Pattern, constraints: Vec<Constraint>) -> Result<(), Fault> {
    for (name, not, at) in constraints {
        match pattern.fields.iter_mut().find(|f| f.name == name) {
            Some(f) => f.not.extend(not),
            None => return Err(Fault { at, message: format!("'{name}' is no field of the pattern") }),
        }
    }
    Ok(())
}
