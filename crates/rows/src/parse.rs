//! Parsing of rows.

use crate::pattern::{self, FieldKind, Pattern};
use std::collections::BTreeMap;

/// A token; groups are flattened to their delimiters.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Ident(String),
    Punct(char),
    Text(String),
    Number(i64),
}

/// An error, and the index of its token.
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
    /// The variants of the CPU that have it, one bit each, in the order of [`Cpu::variants`].
    pub variants: u32,
    /// Index of the token at which errors are reported.
    pub at: usize,
}

/// The head of a table, which describes the CPU.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    /// The trait that bodies are written against.
    pub bodies: String,
    /// Names of the variants that decode differently; empty if there is only one CPU.
    pub variants: Vec<String>,
    /// Fields that need no list of bits.
    pub fields: BTreeMap<String, FieldKind>,
}

impl Cpu {
    /// The value of [`Row::variants`] for a row that all variants have.
    fn all(&self) -> u32 {
        (1 << self.variants.len().max(1)) - 1
    }
}

/// A whole table.
#[derive(Debug)]
pub struct Table {
    pub cpu: Cpu,
    pub rows: Vec<Row>,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// Parses a table: its head and all rows.
pub fn table(tokens: &[Token]) -> Result<Table, Fault> {
    let mut p = Parser { tokens, at: 0 };
    let cpu = p.cpu()?;
    let mut rows = Vec::new();
    while p.at < tokens.len() {
        rows.push(p.row(&cpu)?);
    }
    Ok(Table { cpu, rows })
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
        if self.eat(c) { Ok(()) } else { self.fault(format!("expected '{c}'")) }
    }

    fn ident(&mut self, what: &str) -> Result<String, Fault> {
        match self.peek() {
            Some(Token::Ident(s)) => {
                let s = s.clone();
                self.at += 1;
                Ok(s)
            }
            _ => self.fault(format!("expected {what}")),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Fault> {
        match self.peek() {
            Some(Token::Text(s)) => {
                let s = s.clone();
                self.at += 1;
                Ok(s)
            }
            _ => self.fault(format!("expected {what} in quotes")),
        }
    }

    fn number(&mut self) -> Result<i64, Fault> {
        let sign = if self.eat('-') { -1 } else { 1 };
        match self.peek() {
            Some(&Token::Number(n)) => {
                self.at += 1;
                Ok(sign * n)
            }
            _ => self.fault("expected a number"),
        }
    }

    /// Parses `#[doc = "…"]`, the form of doc comments in macro input.
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

    /// `cpu Trait { variants a, b; fields rd: 5, rdp: 3 + 8; }`
    fn cpu(&mut self) -> Result<Cpu, Fault> {
        if self.ident("'cpu'")? != "cpu" {
            self.at -= 1;
            return self.fault("expected 'cpu': a table begins with its head");
        }
        let mut cpu = Cpu { bodies: self.ident("the trait of the bodies")?, ..Cpu::default() };
        self.expect('{')?;
        while !self.eat('}') {
            match &*self.ident("'variants' or 'fields'")? {
                "variants" => cpu.variants = self.list(|p| p.ident("a variant's name"))?,
                "fields" => cpu.fields = self.list(Self::field)?.into_iter().collect(),
                _ => {
                    self.at -= 1;
                    return self.fault("expected 'variants' or 'fields'");
                }
            }
        }
        if cpu.variants.len() > 8 {
            return self.fault("at most eight variants are possible");
        }
        Ok(cpu)
    }

    /// Parses items separated by commas and followed by a semicolon.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut items = vec![item(self)?];
        while self.eat(',') {
            items.push(item(self)?);
        }
        self.expect(';')?;
        Ok(items)
    }

    /// `name: width`, or `name: width + added`.
    fn field(&mut self) -> Result<(String, FieldKind), Fault> {
        let name = self.ident("a field's name")?;
        self.expect(':')?;
        let width = self.number()?;
        let plus = if self.eat('+') { self.number()? } else { 0 };
        if !(1..=31).contains(&width) || !(0..256).contains(&plus) {
            return self.fault("a field must have 1 to 31 bits, and less than 256 added to it");
        }
        Ok((name, FieldKind { width: width as u32, plus: plus as u32 }))
    }

    fn row(&mut self, cpu: &Cpu) -> Result<Row, Fault> {
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
        let mut pattern = pattern::parse(&text, &cpu.fields)
            .map_err(|e| Fault { at: pattern_at, message: format!("row '{name}': {e}") })?;
        let syntax = self.text("the syntax")?;
        if self.peek() == Some(&Token::Ident("where".into())) {
            self.at += 1;
            constraints.extend(self.constraints()?);
        }
        let extension = self.ident("the extension")?;
        let variants = self.variants(cpu)?;
        self.expect(';')?;
        constrain(&mut pattern, constraints)?;
        let args = args.into_iter().map(|a| a.resolve(&pattern)).collect::<Result<_, _>>()?;
        Ok(Row { name, doc, body, args, pattern, syntax, extension, variants, at })
    }

    /// Parses the variant that alone has the row; all have it if none is given.
    fn variants(&mut self, cpu: &Cpu) -> Result<u32, Fault> {
        let Some(Token::Ident(name)) = self.peek() else { return Ok(cpu.all()) };
        let Some(i) = cpu.variants.iter().position(|v| v == name) else {
            return self.fault(format!("expected {} or ';'", cpu.variants.join(", ")));
        };
        self.at += 1;
        Ok(1 << i)
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

    /// Parses type arguments up to the closing bracket; `_` stands for the engine.
    fn types(&mut self) -> Result<String, Fault> {
        let mut types = Vec::new();
        while !self.eat('>') {
            types.push(if self.eat('_') { "_".to_string() } else { self.ident("a type")? });
            if !self.eat(',') && self.peek() != Some(&Token::Punct('>')) {
                return self.fault("expected ',' or '>'");
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
                return self.fault("expected ',' or ')'");
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
                None => Err(Fault { at, message: format!("'{name}' is not a field of the pattern") }),
            },
        }
    }
}

fn constrain(pattern: &mut Pattern, constraints: Vec<Constraint>) -> Result<(), Fault> {
    for (name, not, at) in constraints {
        match pattern.fields.iter_mut().find(|f| f.name == name) {
            Some(f) => f.not.extend(not),
            None => return Err(Fault { at, message: format!("'{name}' is not a field of the pattern") }),
        }
    }
    Ok(())
}
