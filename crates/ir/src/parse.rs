//! Reads the IR's text form, for tests: what [`crate::text`] prints, or what people write by hand.
//!
//! Values have the names that the text gives them: `%sum = add.64 %a, %b`. A `;` starts a comment.

use crate::inst::{Block, Inst, Label, Val};
use crate::isa::Helper;
use crate::memop::{Hints, MemOp, Order};
use crate::names::Named;
use crate::op::{Flow, Signed};
use crate::vector::{Lane, Vop};
use std::collections::HashMap;
use std::fmt;
use trine_base::Width;

/// A text is not IR; lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for ParseError {}

/// Parses a block. `helpers` are those that the text may call. Whether the block keeps the IR's rules is for
/// [`crate::verify`] to check.
pub fn parse(text: &str, helpers: &[&'static Helper]) -> Result<Block, ParseError> {
    let mut block = Block::default();
    let mut values = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let rest = line.split(';').next().unwrap_or_default();
        let mut line = Line { rest, line: rest, values: &values, helpers };
        let fault = |line: &Line, what| ParseError { line: number + 1, column: line.column(), what };
        line.skip_space();
        if line.rest.is_empty() {
            continue;
        }
        let (name, inst) = line.whole().map_err(|what| fault(&line, what))?;
        let name = name.map(str::to_owned);
        match inst {
            Inst::Begin(..) => block.guest += 1,
            Inst::Label(Label(n)) => block.labels = block.labels.max(n.saturating_add(1)),
            _ => {}
        }
        if let Some(name) = name {
            let made = Val(block.insts.len() as u32);
            if values.insert(name, made).is_some() {
                let what = "this name is already defined".to_owned();
                return Err(ParseError { line: number + 1, column: 1, what });
            }
        }
        block.insts.push(inst);
    }
    Ok(block)
}

/// The rest of a line.
struct Line<'a> {
    rest: &'a str,
    line: &'a str,
    values: &'a HashMap<String, Val>,
    helpers: &'a [&'static Helper],
}

type Part<T> = Result<T, String>;

impl<'a> Line<'a> {
    fn column(&self) -> usize {
        self.line[..self.line.len() - self.rest.len()].chars().count() + 1
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `what` if it comes next.
    fn takes(&mut self, what: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, what: &str) -> Part<()> {
        if self.takes(what) { Ok(()) } else { Err(format!("expected `{what}`")) }
    }

    /// Letters, digits, `_`, `.` and `-`.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let (word, rest) = self.rest.split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A decimal number, or a hexadecimal one behind `0x`.
    fn number(&mut self) -> Part<u64> {
        self.skip_space();
        let digits = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(digits);
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        let number = number.map_err(|_| format!("`{text}` is not a number"))?;
        self.rest = rest;
        Ok(number)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Part<T> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| format!("{number} is too large"))
    }

    /// An offset with or without a sign.
    fn offset(&mut self) -> Part<i64> {
        let negative = self.takes("-");
        if !negative {
            self.takes("+");
        }
        let size = self.number()?;
        Ok(if negative { (size as i64).wrapping_neg() } else { size as i64 })
    }

    fn value(&mut self) -> Part<Val> {
        self.expect("%")?;
        let before = self.rest;
        let name = self.word();
        self.values.get(name).copied().ok_or_else(|| {
            self.rest = before;
            format!("undefined value %{name}")
        })
    }

    /// Values separated by commas.
    fn list<const N: usize>(&mut self) -> Part<[Val; N]> {
        let mut values = [Val(0); N];
        for (i, value) in values.iter_mut().enumerate() {
            if i > 0 {
                self.expect(",")?;
            }
            *value = self.value()?;
        }
        Ok(values)
    }

    /// `[address]`.
    fn address(&mut self) -> Part<Val> {
        self.expect("[")?;
        let value = self.value()?;
        self.expect("]")?;
        Ok(value)
    }

    /// `, value`.
    fn next_value(&mut self) -> Part<Val> {
        self.expect(",")?;
        self.value()
    }

    fn slot(&mut self) -> Part<u16> {
        self.expect("s")?;
        self.small()
    }

    fn label(&mut self) -> Part<Label> {
        self.expect("L")?;
        Ok(Label(self.small()?))
    }

    /// The whole line: the name of the value that it makes, and the instruction.
    fn whole(&mut self) -> Part<(Option<&'a str>, Inst)> {
        let name = if self.takes("%") {
            let name = self.word();
            self.expect("=")?;
            Some(name)
        } else {
            None
        };
        let before = self.rest;
        let inst = self.inst()?;
        self.skip_space();
        if !self.rest.is_empty() {
            return Err("expected the end of the line".into());
        }
        if name.is_some() != inst.result().is_some() {
            self.rest = before;
            let what =
                if name.is_some() { "this instruction makes no value" } else { "the value needs a name" };
            return Err(what.into());
        }
        Ok((name, inst))
    }

    fn inst(&mut self) -> Part<Inst> {
        if self.takes("@") {
            let offset = self.offset()?;
            self.expect("+")?;
            return Ok(Inst::Begin(offset, self.small()?));
        }
        if self.takes("L") {
            let label = Label(self.small()?);
            self.expect(":")?;
            return Ok(Inst::Label(label));
        }
        let before = self.rest;
        let word = self.word();
        let inst = match self.fixed(word)? {
            Some(inst) => Some(inst),
            None => self.operation(word)?,
        };
        inst.ok_or_else(|| {
            self.rest = before;
            format!("unknown instruction `{word}`")
        })
    }

    /// Instructions whose name is fixed.
    fn fixed(&mut self, word: &str) -> Part<Option<Inst>> {
        Ok(Some(match word {
            "const" => Inst::Const(self.number()?),
            "pc" => Inst::Pc(self.offset()?),
            "get" => Inst::Get(self.slot()?),
            "getf" => Inst::GetF(self.slot()?),
            "getv" => Inst::GetV(self.slot()?),
            "setv" => Inst::SetV(self.slot()?, self.next_value()?),
            "tovec" => Inst::ToVec(self.value()?),
            "set" => Inst::Set(self.slot()?, self.next_value()?),
            "setf" => Inst::SetF(self.slot()?, self.next_value()?),
            "fence" => Inst::Fence,
            "flags" => Inst::Flags,
            "setflags" => Inst::SetFlags(self.value()?),
            "raise" => {
                let cause = self.number()?;
                let code = if self.takes("/") { self.small()? } else { 0 };
                Inst::Raise(cause, code, self.next_value()?)
            }
            "call" => {
                let name = self.word();
                let helper = self.helpers.iter().find(|h| h.name == name);
                Inst::Call(helper.ok_or_else(|| format!("unknown helper `{name}`"))?, self.list()?)
            }
            "ifnot" => Inst::IfNot { c: self.value()?, to: self.label()?, exits: self.takes("exits") },
            "selectf" => {
                let [c, a, b] = self.list()?;
                Inst::SelectF(c, a, b)
            }
            "divwide_u" => Inst::DivWide(Signed::No, self.list()?),
            "divwide_s" => Inst::DivWide(Signed::Yes, self.list()?),
            "jump" => Inst::Jump(Flow::Plain, self.value()?),
            _ => return Ok(None),
        }))
    }

    /// Instructions named by an operation and the type that it works on.
    fn operation(&mut self, word: &str) -> Part<Option<Inst>> {
        if let Some(flow) = word.strip_prefix("jump_").and_then(Flow::from_name) {
            return Ok(Some(Inst::Jump(flow, self.value()?)));
        }
        if let Some(extra) = word.strip_suffix("_of").and_then(crate::op::Extra::from_name) {
            return Ok(Some(Inst::Extra(extra, self.value()?)));
        }
        if let Some(op) = crate::op::Fp::from_name(word) {
            return self.fp(op).map(Some);
        }
        if word.starts_with("vf")
            && let Some(op) = crate::vector_fp::VFp::from_name(word)
        {
            let rounding = self.rounding()?;
            let first = self.next_value()?;
            let second = if op.operands() == 2 { self.next_value()? } else { first };
            return Ok(Some(Inst::VFp(op, rounding, [first, second])));
        }
        if word.starts_with('v')
            && let Some(op) = Vop::from_name(word)
        {
            return self.vector(op).map(Some);
        }
        let (name, bits) = word.split_once('.').unwrap_or((word, ""));
        if let Some(inst) = self.lane(name, bits)? {
            return Ok(Some(inst));
        }
        if let Some(inst) = self.access(name, bits)? {
            return Ok(Some(inst));
        }
        if name == "insert" {
            let (at, len) = bits.split_once('.').ok_or("expected a first bit and a length")?;
            let (at, len, [old, value]) = (width(at)?, width(len)?, self.list()?);
            return Ok(Some(Inst::Insert(at, len, old, value)));
        }
        if matches!(name, "zext" | "sext") {
            let (from, to) = bits.split_once('.').ok_or("expected two widths")?;
            let (from, to, value) = (width(from)?, width(to)?, self.value()?);
            let inst = if name == "zext" { Inst::Zext } else { Inst::Sext };
            return Ok(Some(inst(from, to, value)));
        }
        self.sized(name, bits)
    }

    /// Operations of integers of one width.
    fn sized(&mut self, name: &str, bits: &str) -> Part<Option<Inst>> {
        use crate::op::{Bin, Carry, Cmp, Un};
        Ok(Some(if name == "select" {
            let (bits, [c, a, b]) = (width(bits)?, self.list()?);
            Inst::Select(bits, c, a, b)
        } else if let Some(op) = Bin::from_name(name) {
            let (bits, [a, b]) = (width(bits)?, self.list()?);
            Inst::Bin(op, bits, a, b)
        } else if let Some(op) = Cmp::from_name(name) {
            let (bits, [a, b]) = (width(bits)?, self.list()?);
            Inst::Cmp(op, bits, a, b)
        } else if let Some(op) = name.strip_prefix("carry_").and_then(Carry::from_name) {
            Inst::Carry(op, width(bits)?, self.list()?)
        } else if let Some(op) = Un::from_name(name) {
            Inst::Un(op, width(bits)?, self.value()?)
        } else {
            return Ok(None);
        }))
    }

    fn vector(&mut self, op: Vop) -> Part<Inst> {
        let first = self.value()?;
        let mut args = [first; 3];
        for i in 1..3 {
            args[i] = if i < op.operands() { self.next_value()? } else { args[i - 1] };
        }
        Ok(Inst::Vec(op, args))
    }

    /// Instructions between vectors and integers.
    fn lane(&mut self, name: &str, how: &str) -> Part<Option<Inst>> {
        if !matches!(name, "vinsert" | "vextract" | "vmask") {
            return Ok(None);
        }
        let (bits, n) = how.split_once('.').unwrap_or((how, ""));
        let lane = Lane::from_name(bits).ok_or_else(|| format!("`{bits}` is not a width of lanes"))?;
        Ok(Some(match name {
            "vmask" => Inst::VMask(lane, self.value()?),
            "vextract" => Inst::VExtract(lane, width(n)?, self.value()?),
            _ => {
                let (n, [v, x]) = (width(n)?, self.list()?);
                Inst::VInsert(lane, n, v, x)
            }
        }))
    }

    /// Accesses to memory.
    fn access(&mut self, name: &str, text: &str) -> Part<Option<Inst>> {
        let how = || memory_op(text);
        Ok(Some(match name {
            "loadv" => Inst::LoadV(hints(text)?, self.address()?),
            "storev" => Inst::StoreV(hints(text)?, self.address()?, self.next_value()?),
            "load" => Inst::Load(how()?, self.address()?),
            "store" => Inst::Store(how()?, self.address()?, self.next_value()?),
            "exchange" => Inst::Exchange(how()?, self.address()?, self.next_value()?, self.next_value()?),
            _ => match name.strip_prefix("rmw_").and_then(crate::op::Rmw::from_name) {
                Some(op) => Inst::Rmw(op, how()?, self.address()?, self.next_value()?),
                None => return Ok(None),
            },
        }))
    }

    fn rounding(&mut self) -> Part<crate::op::Rounding> {
        let name = self.word();
        let rounding = crate::op::Rounding::from_name(name);
        rounding.ok_or_else(|| format!("unknown rounding direction `{name}`"))
    }

    fn fp(&mut self, op: crate::op::Fp) -> Part<Inst> {
        let rounding = self.rounding()?;
        let mut args = [Val(0); 3];
        for i in 0..3 {
            // An operation with fewer operands repeats the last one.
            args[i] = if i < Inst::fp_operands(op) { self.next_value()? } else { args[i - 1] };
        }
        Ok(Inst::Fp(op, rounding, args))
    }
}

fn width(text: &str) -> Part<u8> {
    text.parse().map_err(|_| format!("`{text}` is not a width in bits"))
}

/// The width of an access in bits, `.be` where it is big-endian, and its hints.
fn memory_op(text: &str) -> Part<MemOp> {
    let mut words = text.split('.');
    let bits = width(words.next().unwrap_or_default())?;
    let width = Width::from_bytes(bits as u32 / 8).filter(|w| w.bits() == bits as u32);
    let mut op = MemOp::from(width.ok_or_else(|| format!("{bits} is not a width of accesses"))?);
    for word in words {
        match word {
            "be" => op.order = Order::Big,
            hint => add_hint(&mut op.hints, hint)?,
        }
    }
    Ok(op)
}

/// Hints separated by dots.
fn hints(text: &str) -> Part<Hints> {
    let mut hints = Hints::NONE;
    text.split('.').filter(|word| !word.is_empty()).try_for_each(|word| add_hint(&mut hints, word))?;
    Ok(hints)
}

fn add_hint(hints: &mut Hints, word: &str) -> Part<()> {
    match word {
        "aligned" => hints.aligned = true,
        "stack" => hints.stack = true,
        "supervisor" => hints.supervisor = true,
        _ => return Err(format!("unknown hint `{word}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
