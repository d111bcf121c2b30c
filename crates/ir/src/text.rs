//! The IR as text, one line an instruction, for tests and `--dump`.

use crate::inst::{Block, Inst, Val};
use crate::memop::{MemOp, Order};
use crate::names::Named;
use crate::op::Flow;
use std::fmt;

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for MemOp {
    /// The bits, and `.be` for the big-endian order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.width.bits(), if self.order == Order::Big { ".be" } else { "" })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, inst) in self.insts.iter().enumerate() {
            match inst {
                Inst::Begin(offset, bytes) => writeln!(f, "@{offset:#x}+{bytes}")?,
                Inst::Label(l) => writeln!(f, "L{}:", l.0)?,
                _ if inst.result().is_some() => writeln!(f, "  %{i} = {inst}")?,
                _ => writeln!(f, "  {inst}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Inst::Const(k) => write!(f, "const {k:#x}"),
            Inst::Pc(o) => write!(f, "pc {o:+#x}"),
            Inst::Get(s) => write!(f, "get s{s}"),
            Inst::GetF(s) => write!(f, "getf s{s}"),
            Inst::Set(s, v) => write!(f, "set s{s}, {v}"),
            Inst::SetF(s, v) => write!(f, "setf s{s}, {v}"),
            Inst::Bin(op, n, a, b) => write!(f, "{}.{n} {a}, {b}", op.name()),
            Inst::Cmp(op, n, a, b) => write!(f, "{}.{n} {a}, {b}", op.name()),
            Inst::Un(op, n, a) => write!(f, "{}.{n} {a}", op.name()),
            Inst::Zext(from, to, a) => write!(f, "zext.{from}.{to} {a}"),
            Inst::Sext(from, to, a) => write!(f, "sext.{from}.{to} {a}"),
            Inst::Select(n, c, a, b) => write!(f, "select.{n} {c}, {a}, {b}"),
            Inst::Load(w, a) => write!(f, "load.{w} [{a}]"),
            Inst::Store(w, a, v) => write!(f, "store.{w} [{a}], {v}"),
            Inst::Rmw(op, w, a, v) => write!(f, "rmw_{}.{w} [{a}], {v}", op.name()),
            Inst::Exchange(w, a, e, n) => write!(f, "exchange.{w} [{a}], {e}, {n}"),
            Inst::Fence => write!(f, "fence"),
            Inst::Fp(op, r, args) => {
                write!(f, "{} {}", op.name(), r.name())?;
                args[..Inst::fp_operands(op)].iter().try_for_each(|a| write!(f, ", {a}"))
            }
            Inst::Flags => write!(f, "flags"),
            Inst::SetFlags(v) => write!(f, "setflags {v}"),
            Inst::Call(h, [a, b, c]) => write!(f, "call {} {a}, {b}, {c}", h.name),
            Inst::Begin(o, n) => write!(f, "@{o:#x}+{n}"),
            Inst::IfNot { c, to, exits } => {
                write!(f, "ifnot {c} L{}{}", to.0, if exits { " exits" } else { "" })
            }
            Inst::Label(l) => write!(f, "L{}:", l.0),
            Inst::Jump(Flow::Plain, v) => write!(f, "jump {v}"),
            Inst::Jump(flow, v) => write!(f, "jump_{} {v}", flow.name()),
            Inst::Raise(cause, v) => write!(f, "raise {cause}, {v}"),
        }
    }
}
