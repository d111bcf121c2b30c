//! The IR as text, one line an instruction, for tests and `--dump`.

use crate::inst::{Block, Inst, Val};
use crate::memop::{Hints, MemOp, Order};
use crate::names::Named;
use crate::op::{Flow, Signed};
use std::fmt;

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hints { aligned, stack, supervisor } = *self;
        let all = [(aligned, ".aligned"), (stack, ".stack"), (supervisor, ".supervisor")];
        all.into_iter().filter(|hint| hint.0).try_for_each(|hint| f.write_str(hint.1))
    }
}

impl fmt::Display for MemOp {
    /// The bits, `.be` for the big-endian order, and the hints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.width.bits(), if self.order == Order::Big { ".be" } else { "" })?;
        self.hints.fmt(f)
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
            Inst::SelectF(c, a, b) => write!(f, "selectf {c}, {a}, {b}"),
            Inst::GetV(s) => write!(f, "getv s{s}"),
            Inst::SetV(s, v) => write!(f, "setv s{s}, {v}"),
            Inst::Vec(op, args) => {
                let [first, rest @ ..] = &args[..op.operands()] else { return Err(fmt::Error) };
                write!(f, "{} {first}", op.name())?;
                rest.iter().try_for_each(|a| write!(f, ", {a}"))
            }
            Inst::VFp(op, r, args) => {
                write!(f, "{} {}", op.name(), r.name())?;
                args[..op.operands()].iter().try_for_each(|a| write!(f, ", {a}"))
            }
            Inst::ToVec(a) => write!(f, "tovec {a}"),
            Inst::VInsert(lane, n, v, x) => write!(f, "vinsert.{}.{n} {v}, {x}", lane.name()),
            Inst::VExtract(lane, n, v) => write!(f, "vextract.{}.{n} {v}", lane.name()),
            Inst::VMask(lane, v) => write!(f, "vmask.{} {v}", lane.name()),
            Inst::LoadV(hints, a) => write!(f, "loadv{hints} [{a}]"),
            Inst::StoreV(hints, a, v) => write!(f, "storev{hints} [{a}], {v}"),
            Inst::Carry(op, n, [a, b, c]) => write!(f, "carry_{}.{n} {a}, {b}, {c}", op.name()),
            Inst::DivWide(Signed::No, [a, b, c]) => write!(f, "divwide_u {a}, {b}, {c}"),
            Inst::DivWide(Signed::Yes, [a, b, c]) => write!(f, "divwide_s {a}, {b}, {c}"),
            Inst::Extra(extra, a) => write!(f, "{}_of {a}", extra.name()),
            Inst::Insert(at, len, a, b) => write!(f, "insert.{at}.{len} {a}, {b}"),
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
            Inst::Raise(cause, 0, v) => write!(f, "raise {cause}, {v}"),
            Inst::Raise(cause, code, v) => write!(f, "raise {cause}/{code:#x}, {v}"),
        }
    }
}
