//! Guest memory accesses: a pair of the last pages is probed inline, or the TLB where there is none; the rest is out of line.

use super::Lower;
use super::allocator::Allocator;
use crate::tlb::{self, Entry, PAIRS, Pair, Tlb};
use crate::x64::asm::{Alu, Cc, Hole, Mem, Place, Reg, Shift, mem, mem2, reg::*};
use crate::x64::side::Kind;
use crate::x64::thunks;
use std::mem::offset_of;
use trine_ir::inst::{Inst, Val};
use trine_ir::{Access, Bin, Hints, Isa, MemOp};

/// How an access goes on that was not reached by what was emitted in line.
pub enum Miss {
    /// It is always reached.
    Never,
    /// This jump is taken if the TLB misses.
    Table(Hole),
    /// This jump is taken if the pair does not match.
    Pair(Hole, Reach),
}

/// What is done if a pair does not match.
pub struct Reach {
    /// The thunk's address.
    thunk: Mem,
    /// Its argument.
    packed: u32,
    /// The access.
    back: Place,
}

/// A guest address: register plus displacement.
#[derive(Clone, Copy)]
pub struct Address {
    pub base: Reg,
    pub disp: i32,
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    pub fn address(&mut self, a: Val) -> Address {
        if let Inst::Bin(Bin::Add, 64, base, k) = self.insts[a.0 as usize]
            && self.facts.of(a.0).deferred
            && let Inst::Const(k) = self.insts[k.0 as usize]
        {
            return Address { base: self.gpr(base), disp: k as i32 };
        }
        Address { base: self.gpr(a), disp: 0 }
    }

    /// Records that the next instruction accesses a program's memory, which the host may refuse.
    pub fn may_be_refused(&mut self) {
        let row = self.add_row(Kind::Direct);
        self.accesses.push((self.a.here(), row));
    }

    /// The pair that an access checks first: that of its base's slot, or one by its place in the code. None for
    /// the stack frame: where it lies in two pages, the accesses would miss in turn, and as its base changes seldom,
    /// nothing waits for the table's addend.
    pub fn pair_of(&self, a: Val, hints: Hints, write: bool) -> Option<usize> {
        let base = match self.insts[a.0 as usize] {
            Inst::Bin(Bin::Add, 64, base, _) if self.facts.of(a.0).deferred => base,
            _ => a,
        };
        let by = match self.insts[self.resolve(base) as usize] {
            Inst::Get(slot) if I::FRAME_BASES.contains(&slot) => return None,
            Inst::Get(slot) if (slot as usize) < PAIRS / 2 => slot as usize,
            _ => PAIRS / 2 + (self.offset as usize >> 1) % (PAIRS / 2),
        };
        Some(Tlb::<I>::pair(I::access_regime(self.mode, hints), by, write))
    }

    /// The host operand of an access, for the next instruction, and what leads out of line.
    pub fn reach(
        &mut self,
        pair: Option<usize>,
        at: Address,
        hints: Hints,
        bytes: u64,
        write: bool,
    ) -> (Mem, Miss) {
        let Some(tlb) = self.l.tlb else {
            self.may_be_refused();
            return (mem(at.base, at.disp), Miss::Never);
        };
        self.clobber(RCX);
        let miss = match pair {
            Some(n) => self.probe_pair(tlb, n, at, hints, bytes, write),
            None => Miss::Table(self.probe(tlb, at, hints, bytes, write)),
        };
        (mem2(at.base, RCX, at.disp), miss)
    }

    /// Emits the out-of-line part of an access by [`Lower::reach`]: `pass` passes arguments after the address, `take` takes
    /// the result of the slow path.
    pub fn on_miss(
        &mut self,
        miss: Miss,
        at: Address,
        kind: Kind,
        pass: impl FnOnce(&mut Self),
        take: impl FnOnce(&mut Self),
    ) {
        let (from, reach) = match miss {
            Miss::Never => return,
            Miss::Table(from) => (from, None),
            Miss::Pair(from, reach) => (from, Some(reach)),
        };
        self.aside(&[from], |e| {
            pass(e);
            match reach {
                None => e.call_access(at, &[], kind),
                Some(reach) => e.call_reach(reach, at, kind),
            }
            take(e);
        });
    }

    /// Checks the pair; the TLB is checked out of line. On a hit `rcx` holds the difference between host and guest address.
    /// Unlike the table's, the pair's addend is loaded from a place that does not depend on the address: nothing waits
    /// for it.
    fn probe_pair(&mut self, tlb: i32, n: usize, at: Address, hints: Hints, bytes: u64, write: bool) -> Miss {
        let pair = tlb + (offset_of!(Tlb<I>, pairs) + n * size_of::<Pair>()) as i32;
        self.aligned_page(at, bytes);
        self.a.alu_mem(Alu::Cmp, true, RAX, mem(RBP, pair + offset_of!(Pair, page) as i32));
        let other = self.a.jcc(Cc::NotEqual);
        self.a.load(8, RCX, mem(RBP, pair + offset_of!(Pair, addend) as i32));
        let thunk = self.l.reach(I::access_regime(self.mode, hints), write);
        Miss::Pair(other, Reach { thunk, packed: thunks::packed(n, bytes), back: self.a.here() })
    }

    /// Calls the thunk that looks the pair's page up in the TLB: it returns to a jump back to the access, with the
    /// difference in `rcx`. If the TLB has no such page either, it calls the slow path, which returns behind that jump.
    fn call_reach(&mut self, reach: Reach, at: Address, kind: Kind) {
        [RCX, RDX].into_iter().for_each(|r| self.clobber(r));
        let row = self.add_row(kind);
        self.a.mov_imm(RAX, reach.packed as u64);
        self.put_address(RCX, at);
        self.a.call_mem(reach.thunk);
        let jump = self.a.jmp();
        self.a.fix(jump, reach.back);
        self.a.mark(row);
    }

    fn put_address(&mut self, r: Reg, at: Address) {
        if at.disp == 0 {
            self.a.mov(true, r, at.base);
        } else {
            self.a.lea(true, r, mem(at.base, at.disp));
        }
    }

    /// Puts the page of an aligned access into `rax`; for one that is not aligned, what is no page. (The page of the last
    /// byte will not do: the pair may be of the page that an access crosses into.)
    fn aligned_page(&mut self, at: Address, bytes: u64) {
        self.put_address(RAX, at);
        self.a.alu_imm(Alu::And, true, RAX, -0x1000 | (bytes as i32 - 1));
    }

    /// Puts the page of the access's last byte into `rax`: if the access crosses into that page, the tag of the
    /// entry for the first byte does not equal it.
    fn last_page(&mut self, at: Address, bytes: u64) {
        self.put_address(RAX, Address { disp: at.disp + bytes as i32 - 1, ..at });
        self.a.alu_imm(Alu::And, true, RAX, -0x1000);
    }

    /// Probes the TLB. On a hit `rcx` holds the difference between host and guest address; the hole is the jump taken on a
    /// miss.
    fn probe(&mut self, tlb: i32, at: Address, hints: Hints, bytes: u64, write: bool) -> Hole {
        let entries = tlb + Tlb::<I>::regime_offset(I::access_regime(self.mode, hints)) as i32;
        let tag = if write { offset_of!(Entry, write) } else { offset_of!(Entry, read) } as i32;
        if at.disp == 0 {
            self.a.mov(false, RCX, at.base);
        } else {
            self.a.lea(false, RCX, mem(at.base, at.disp));
        }
        self.a.shift_imm(Shift::Shr, false, RCX, (12 - tlb::ENTRY_BITS) as u8);
        self.a.alu_imm(Alu::And, false, RCX, ((tlb::ENTRIES - 1) << tlb::ENTRY_BITS) as i32);
        self.last_page(at, bytes);
        self.a.alu_mem(Alu::Cmp, true, RAX, mem2(RBP, RCX, entries + tag));
        let miss = self.a.jcc(Cc::NotEqual);
        self.a.load(8, RCX, mem2(RBP, RCX, entries + offset_of!(Entry, addend) as i32));
        miss
    }

    /// Passes the guest address as the slow path's first argument.
    fn pass_address(&mut self, at: Address) {
        if at.disp == 0 {
            self.a.store(8, self.l.arg(0), at.base);
        } else {
            self.a.lea(true, RAX, mem(at.base, at.disp));
            self.a.store(8, self.l.arg(0), RAX);
        }
    }

    /// Calls the slow path of an access; the result is in `rax`.
    pub fn call_access(&mut self, at: Address, args: &[Reg], kind: Kind) {
        self.pass_address(at);
        for (n, &r) in args.iter().enumerate() {
            self.a.store(8, self.l.arg(n + 1), r);
        }
        self.call_slow(kind);
    }

    /// A load.
    pub fn load(&mut self, how: MemOp, a: Val) {
        let pair = self.pair_of(a, how.hints, false);
        let at = self.address(a);
        self.check_aligned(at, how.hints, how.width.bytes(), Access::Read);
        let d = self.def_apart();
        let (m, miss) = self.reach(pair, at, how.hints, how.width.bytes(), false);
        self.load_to(how, d, m);
        let signed = self.facts.of(self.at).signed;
        let take = |e: &mut Self| {
            if signed { e.a.movsx(how.width.bytes(), true, d, RAX) } else { e.a.mov(true, d, RAX) }
        };
        self.on_miss(miss, at, Kind::Load(how), |_| {}, take);
        self.own(d);
    }

    fn load_to(&mut self, how: MemOp, d: Reg, m: Mem) {
        let bytes = how.width.bytes();
        match (how.swaps(), self.facts.of(self.at).signed) {
            (false, false) => self.a.load(bytes, d, m),
            (false, true) => self.a.load_signed(bytes, d, m),
            (true, signed) => {
                self.a.movbe_load(bytes, d, m);
                match bytes {
                    _ if signed => self.a.movsx(bytes, true, d, d),
                    2 => self.a.movzx(2, d, d),
                    _ => {}
                }
            }
        }
    }

    fn store_from(&mut self, how: MemOp, m: Mem, s: Reg) {
        let bytes = how.width.bytes();
        if how.swaps() { self.a.movbe_store(bytes, m, s) } else { self.a.store(bytes, m, s) }
    }

    /// A store.
    pub fn store(&mut self, how: MemOp, a: Val, v: Val) {
        let pair = self.pair_of(a, how.hints, true);
        let at = self.address(a);
        let s = self.gpr(v);
        self.check_aligned(at, how.hints, how.width.bytes(), Access::Write);
        let (m, miss) = self.reach(pair, at, how.hints, how.width.bytes(), true);
        self.store_from(how, m, s);
        self.on_miss(miss, at, Kind::Store(how), |e| e.a.store(8, e.l.arg(1), s), |_| {});
    }

    /// Raises the exception for a misaligned access, if the access must be aligned.
    pub fn check_aligned(&mut self, at: Address, hints: Hints, bytes: u64, access: Access) {
        if !hints.aligned || bytes == 1 {
            return;
        }
        self.a.lea(false, RAX, mem(at.base, at.disp));
        self.a.test_eax_imm(bytes as i32 - 1);
        let misaligned = self.a.jcc(Cc::NotEqual);
        self.cold_with(&[misaligned], |e| e.call_access(at, &[], Kind::Misaligned(access)));
    }

    /// Probes for an atomic access and leaves the host address in `rcx`.
    pub fn probe_atomic(&mut self, at: Address, how: MemOp) -> Option<Hole> {
        self.clobber(RCX);
        self.check_aligned(at, how.hints, how.width.bytes(), Access::Write);
        let Some(tlb) = self.l.tlb else {
            self.a.lea(true, RCX, mem(at.base, at.disp));
            return None;
        };
        let miss = self.probe(tlb, at, how.hints, how.width.bytes(), true);
        self.a.lea(true, RCX, mem2(at.base, RCX, at.disp));
        Some(miss)
    }

    /// Records that the next instruction accesses memory at an address from [`Lower::probe_atomic`].
    pub fn atomic(&mut self) {
        if self.l.tlb.is_none() {
            self.may_be_refused();
        }
    }
}
