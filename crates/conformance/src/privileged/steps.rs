//! The steps of a program. Each step sets up what it needs, so that any of them can be left out.
//!
//! Nothing is done that the manual leaves undefined: a changed entry is fenced before it may be used, by a
//! form of `sfence.vma` that covers it (priv 12.2.1); global pages are the same everywhere; an address space
//! keeps its ASID.

use super::code::{Code, S_HANDLER};
use super::layout::*;
use crate::random::Random;
use std::fmt::Write;

/// Exceptions that may be delegated to S mode: not S mode's own calls, which end pieces.
const DELEGABLE: u64 = 0xb1ff;
/// Bits of `mstatus`.
mod status {
    pub const SUM: u64 = 1 << 18;
    pub const MXR: u64 = 1 << 19;
    pub const MPRV: u64 = 1 << 17;
    pub const ANY: u64 = 0xaa | 1 << 8 | 3 << 13 | SUM | MXR;
}

/// A program's windows, some of which are accessed more often: translations that stay in a TLB are those that
/// become stale.
pub struct World {
    windows: Vec<Window>,
    hot: Vec<usize>,
}

impl World {
    /// Creates the windows for a seed.
    pub fn new(random: &mut Random) -> World {
        let windows = Window::all();
        let hot = (0..6).map(|_| random.below(windows.len() as u64) as usize).collect();
        World { windows, hot }
    }

    /// The windows' entries at the start.
    pub fn entries(&self, random: &mut Random) -> Vec<(u64, u64)> {
        self.windows.iter().map(|w| (w.at, leaf(random, w))).collect()
    }
}

/// A random entry for a window.
fn leaf(random: &mut Random, window: &Window) -> u64 {
    use bit::*;
    if let Some(pointer) = window.pointer
        && random.once_in(2)
    {
        return entry(pointer, V);
    }
    let mut flags = 0;
    for (flag, seldom) in [(V, 16), (R, 8), (W, 4), (X, 3), (A, 6), (D, 4)] {
        flags |= if random.once_in(seldom) { 0 } else { flag };
    }
    flags |= if random.once_in(2) { U } else { 0 } | if window.global { G } else { 0 };
    let mut frame = match window.level {
        0 => random.pick(&FRAMES) + random.pick(&PAGES) * 0x1000,
        1 => random.pick(&FRAMES),
        2 => CODE + (random.below(2) << 30),
        _ => random.below(2) << 39,
    };
    if window.level > 0 && random.once_in(12) {
        frame |= 0x1000 << random.below(9 * u64::from(window.level));
    }
    let reserved = if random.once_in(24) { 1 << (54 + random.below(7)) } else { 0 };
    entry(frame, flags) | reserved
}

/// A step under construction.
struct Step<'a> {
    world: &'a World,
    random: Random,
    code: Code,
    text: String,
}

/// How a piece of S or U mode runs.
#[derive(Clone, Copy)]
struct Setup {
    user: bool,
    space: Option<Space>,
    status: u64,
    delegated: u64,
}

/// An atomic operation, which is skipped if a store would trap. QEMU performs it as a load and a store: if
/// only the load is allowed, it is done, and may set A or determine the exception; according to the manual,
/// the operation is a store from the start.
fn atomic(name: &str, result: &str) -> String {
    format!("addi t5, zero, 0\nsb t1, 0(t0)\nbne t5, zero, 8\n{name} {result}, t1, (t0)")
}

/// A step.
pub struct Made {
    /// Its code.
    pub code: Vec<u8>,
    /// A description of it.
    pub text: String,
    /// Whether it must begin at a page boundary: for a `wfi` that traps and is the last instruction of a
    /// page, QEMU reports an address one page further on.
    pub aligned: bool,
}

/// Creates the step of this number.
pub fn make(world: &World, seed: u64, number: u64) -> Made {
    let random = Random::new(seed << 20 ^ number ^ 0x5bd1_e995);
    let mut step = Step { world, random, code: Code::default(), text: String::new() };
    step.code.li("t0", MARK | number);
    step.code.record("t0", "zero");
    let kind = step.random.below(20);
    match kind {
        0..=7 => step.change(false),
        8..=9 => step.change(true),
        10..=12 => step.burst(),
        13 => step.machine_accesses(),
        14 => step.registers(),
        15 => step.registers_below(),
        16 => step.protection(),
        17 => step.hardware_updates(),
        18 => step.interrupt(),
        _ => step.forbidden(),
    }
    Made { code: step.code.bytes, text: step.text, aligned: kind == 19 }
}

/// Begins the first record of a step.
pub const MARK: u64 = 0x57e9 << 32;

impl Step<'_> {
    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.text.write_fmt(text);
    }

    fn window(&mut self) -> Window {
        let n = match self.random.once_in(4) {
            true => self.random.below(self.world.windows.len() as u64) as usize,
            false => self.random.pick(&self.world.hot),
        };
        self.world.windows[n]
    }

    /// An address in a window, with contents behind it in most frames; `low` is its offset in the page.
    fn address(&mut self, window: &Window, low: u64) -> u64 {
        let page = self.random.pick(&PAGES) * 0x1000;
        let frame = self.random.pick(&FRAMES);
        let inside = match window.level {
            0 => 0,
            1 => page,
            2 => (frame & 0x3fff_ffff) + page,
            _ => frame + page,
        };
        window.address + inside + low
    }

    fn csr(&mut self, name: &str, value: u64) {
        self.code.li("t0", value);
        self.code.lines(&format!("csrrw zero, {name}, t0"));
    }

    /// Fences that cover the change of a window's entry.
    fn fence(&mut self, code: &mut Code, window: &Window) {
        let address = self.address(window, 0) + self.random.below(0x1000);
        // Which address spaces: all, or, one after the other, those that contain the entry.
        let asids: Vec<Option<u64>> = match window.global || self.random.once_in(2) {
            true => vec![None],
            false => Space::ALL.iter().filter(|s| s.root == window.root).map(|s| Some(s.asid())).collect(),
        };
        // Fences of one address are for leaves.
        let by_address = window.pointer.is_none() && !self.random.once_in(3);
        for asid in asids {
            let (mut rs1, mut rs2) = ("zero", "zero");
            if by_address {
                code.li("t3", address);
                rs1 = "t3";
            }
            if let Some(asid) = asid {
                // The bits above an ASID are for later extensions: zero.
                code.li("t4", asid);
                rs2 = "t4";
            }
            code.lines(&format!("sfence.vma {rs1}, {rs2}"));
            let shown = if by_address { format!("{address:#x}") } else { "all".into() };
            self.say(format_args!("; sfence.vma {shown}, {asid:x?}"));
        }
        if self.random.once_in(4) {
            // Another fence, which covers nothing.
            code.li("t3", 0);
            code.lines("sfence.vma t3, t3");
        }
    }

    /// Changes an entry in M mode, and accesses what it maps: afterwards, and mostly before as well, so that
    /// the old entry may be cached. The fence is executed in M or S mode.
    fn change(&mut self, by_supervisor: bool) {
        let window = self.window();
        let setup = self.setup(Some(&window), by_supervisor);
        let mut look = Code::default();
        for n in 0..2 + self.random.below(3) {
            self.access(&mut look, &window, n);
        }
        if !self.random.once_in(3) {
            self.say(format_args!(", before and after:"));
            self.enter(setup, &look);
        }
        let value = leaf(&mut self.random, &window);
        self.say(format_args!("\n    entry of {:#x} (level {}) = {value:#x}", window.address, window.level));
        self.code.li("t0", window.at);
        self.code.li("t1", value);
        self.code.lines("sd t1, 0(t0)");
        let mut piece = Code::default();
        self.fence(&mut piece, &window);
        if by_supervisor {
            self.say(format_args!(" by S"));
        } else {
            self.code.bytes.append(&mut piece.bytes);
        }
        piece.bytes.extend(look.bytes);
        let other = self.window();
        self.access(&mut piece, &other, 5);
        self.enter(setup, &piece);
    }

    /// Enters a lower mode at `piece`; afterwards the code continues in M mode.
    fn enter(&mut self, setup: Setup, piece: &Code) {
        let Setup { user, space, status, delegated } = setup;
        self.csr("medeleg", delegated);
        self.csr("mstatus", status & !(3 << 11) | u64::from(!user) << 11);
        self.csr("satp", space.map_or(0, Space::satp));
        for n in 0..6 {
            self.code.lines(&format!("addi a{n}, zero, {}", -1 - n));
        }
        self.code.lines("addi a7, zero, 0");
        let aliased = user && space.is_some();
        if aliased {
            self.code.li("t1", USER_CODE.wrapping_sub(CODE));
        }
        let after = 4 * 7 + piece.bytes.len() as u64 + 8;
        assert!(after < 2048, "a piece is too long");
        self.code.lines(&format!(
            "auipc t0, 0
             addi s11, t0, {after}
             addi t0, t0, 28
             {}
             csrrw zero, mepc, t0
             addi t0, zero, 0
             mret",
            if aliased { "add t0, t0, t1" } else { "addi zero, zero, 0" }
        ));
        self.code.bytes.extend(&piece.bytes);
        self.code.lines("addi a7, zero, 1\necall");
        for pair in [["a0", "a1"], ["a2", "a3"], ["a4", "a5"]] {
            self.code.record(pair[0], pair[1]);
        }
    }

    /// The modes and settings for accessing a window, or any.
    fn setup(&mut self, window: Option<&Window>, supervisor: bool) -> Setup {
        let user = !supervisor && self.random.once_in(2);
        let bare = !supervisor && self.random.once_in(12);
        let mut space = self.random.pick(&Space::ALL);
        if let Some(window) = window.filter(|w| !w.global) {
            space.root = window.root;
            space.sv48 |= window.level == 3;
        }
        let status = self.random.word() & status::ANY;
        let delegated = self.random.word() & self.random.word() & DELEGABLE;
        let (from, space) = (if user { "U" } else { "S" }, (!bare).then_some(space));
        self.say(format_args!("{from}, {space:?}, mstatus {status:#x}, medeleg {delegated:#x}:"));
        Setup { user, space, status, delegated }
    }

    /// Accesses in S or U mode.
    fn burst(&mut self) {
        let setup = self.setup(None, false);
        let mut piece = Code::default();
        for n in 0..2 + self.random.below(5) {
            let window = self.window();
            self.access(&mut piece, &window, n);
        }
        if self.random.once_in(4) {
            piece.lines("ecall");
        }
        self.enter(setup, &piece);
    }

    /// One access, whose result is in `a0` to `a5`.
    fn access(&mut self, piece: &mut Code, window: &Window, n: u64) {
        let low = 0x100 + 8 * self.random.below(16);
        let result = format!("a{}", n % 6);
        let (kind, low) = match self.random.below(12) {
            0..=4 => (self.random.pick(&["ld", "lw", "lhu", "lb"]), low),
            5..=7 => (self.random.pick(&["sd", "sw", "sh", "sb"]), low),
            8..=9 => (self.random.pick(&["amoadd.d", "amoswap.w", "amomaxu.d"]), low),
            _ => ("jalr", FUNCTION),
        };
        let mut address = self.address(window, low);
        if self.random.once_in(30) {
            // Nothing is mapped there, or the address is not canonical.
            address ^= 1 << self.random.pick(&[38, 41, 45, 46, 47, 48, 55, 56, 62, 63]);
        }
        self.say(format_args!(" {kind} {address:#x}"));
        piece.li("t0", address);
        match kind.as_bytes()[0] {
            b'l' => piece.lines(&format!("{kind} {result}, 0(t0)")),
            b's' => {
                piece.li("t1", self.random.integer() & 0x7fff_ffff);
                piece.lines(&format!("{kind} t1, 0(t0)"));
            }
            b'a' => {
                piece.li("t1", self.random.below(1 << 20));
                piece.lines(&atomic(kind, &result));
            }
            _ => piece.lines(&format!("addi t2, zero, 0\njalr ra, 0(t0)\naddi {result}, t2, 0")),
        }
    }

    /// Accesses of M mode with the privileges of another mode.
    fn machine_accesses(&mut self) {
        let mut space = self.random.pick(&Space::ALL);
        let window = self.window();
        space.root = if window.global { space.root } else { window.root };
        let bare = self.random.once_in(8);
        self.csr("satp", if bare { 0 } else { space.satp() });
        self.say(format_args!("M, bare {bare}, {space:?}:"));
        for n in 0..3 {
            let status = self.random.word() & status::ANY & !8 | self.random.pick(&[0, 1, 3]) << 11;
            self.csr("mstatus", status);
            let mut piece = Code::default();
            let window = if self.random.once_in(3) { self.window() } else { window };
            self.say(format_args!(" mstatus {status:#x}"));
            let low = 0x100 + 8 * self.random.below(16);
            let address = self.address(&window, low);
            piece.li("t0", address);
            piece.li("t1", self.random.below(1 << 30));
            piece.li("t2", status::MPRV);
            piece.lines("addi a0, zero, -1\ncsrrs zero, mstatus, t2");
            let add = atomic("amoadd.d", "a0");
            let kind = self.random.pick(&["ld a0, 0(t0)", "lw a0, 0(t0)", "sd t1, 0(t0)", &add]);
            self.say(format_args!(" {} {address:#x}", kind.lines().last().unwrap_or_default()));
            piece.lines(kind);
            // Otherwise later accesses of M mode would not be its own.
            piece.lines("csrrc zero, mstatus, t2");
            piece.li("t0", n);
            piece.record("t0", "a0");
            self.code.bytes.extend(piece.bytes);
        }
    }

    /// Reads and writes registers in M mode.
    fn registers(&mut self) {
        const ALL: u64 = u64::MAX;
        // Name, bits that are written, bits that are compared.
        const REGISTERS: [(&str, u64, u64); 15] = [
            ("mscratch", ALL, ALL),
            ("sscratch", ALL, ALL),
            ("mepc", !1, ALL),
            ("sepc", !1, ALL),
            ("mcause", 0x8000_0000_0000_003f, ALL),
            ("scause", 0x8000_0000_0000_003f, ALL),
            ("mtval", ALL, ALL),
            ("stval", ALL, ALL),
            ("medeleg", DELEGABLE, ALL),
            ("mideleg", 0x222, 0x222),
            ("mie", 0xaaa, 0xaaa),
            ("sie", 0x222, 0x222),
            ("mcounteren", 7, 7),
            ("scounteren", 7, 7),
            ("stvec", !2, ALL),
        ];
        self.csr("mstatus", 0);
        for _ in 0..6 {
            let (name, written, compared) = self.random.pick(&REGISTERS);
            let op = self.random.pick(&["csrrw", "csrrs", "csrrc"]);
            let value = self.random.integer() & written;
            self.say(format_args!(" {op} {name} {value:#x}"));
            self.code.li("t0", value);
            self.code.li("t2", compared);
            self.code.lines(&format!(
                "{op} a0, {name}, t0\ncsrrs a1, {name}, zero\nand a0, a0, t2\nand a1, a1, t2"
            ));
            self.code.record("a0", "a1");
        }
        // `satp` accepts the supported modes, and is not changed by others.
        let mode = self.random.pick(&[0, 1, 5, 8, 9, 15]);
        let satp = mode << 60 | if mode == 0 { 0 } else { self.random.word() >> 4 & !(0xffff << 44) };
        self.code.li("t0", satp);
        self.code.lines(
            "csrrw zero, satp, zero\ncsrrw zero, satp, t0\ncsrrs a0, satp, zero\ncsrrw zero, satp, zero",
        );
        self.code.record("a0", "zero");
        self.say(format_args!(" satp {satp:#x}"));
        let fields = status::ANY | 7 << 20;
        for name in ["mstatus", "sstatus"] {
            let value = self.random.word() & fields | self.random.pick(&[0, 1, 3]) << 11;
            self.say(format_args!(" {name} {value:#x}"));
            // Interrupts are disabled by `mie`.
            self.csr("mie", 0);
            self.csr(name, value);
            self.code
                .lines("csrrs a0, mstatus, zero\ncsrrs a1, sstatus, zero\nand a0, a0, s10\nand a1, a1, s9");
            self.code.record("a0", "a1");
        }
        self.csr("mideleg", 0);
        self.csr("stvec", S_HANDLER);
    }

    /// Registers in S or U mode: some exist, some are not accessible, some need permission.
    fn registers_below(&mut self) {
        const READ: [&str; 12] = [
            "sscratch", "sepc", "scause", "stval", "stvec", "satp", "mstatus", "medeleg", "mscratch",
            "0x3a0", "0x5c0", "0x8ff",
        ];
        const UNREAD: [&str; 5] = ["cycle", "instret", "mcycle", "time", "0xf14"];
        let user = self.random.once_in(2);
        let (m, s) = (self.random.below(8), self.random.below(8));
        self.csr("mcounteren", m);
        self.csr("scounteren", s);
        let delegated = self.random.word() & DELEGABLE;
        self.say(format_args!("user {user}, counters {m} {s}, medeleg {delegated:#x}:"));
        let mut piece = Code::default();
        for n in 0..6 {
            let line = match self.random.below(5) {
                0 => format!("csrrs zero, {}, zero", self.random.pick(&UNREAD)),
                1 => format!("csrrw a{n}, sscratch, t0"),
                2 => format!("csrrw zero, {}, t0", self.random.pick(&["cycle", "mscratch", "0xf14", "mepc"])),
                3 => self.random.pick(&["csrrs zero, fflags, zero", "csrrw zero, fcsr, zero"]).to_string(),
                _ => format!("csrrs a{n}, {}, zero", self.random.pick(&READ)),
            };
            piece.li("t0", self.random.integer());
            piece.lines(&line);
            self.say(format_args!(" {line};"));
        }
        let status = self.random.word() & status::ANY;
        let space = Some(self.random.pick(&Space::ALL));
        self.enter(Setup { user, space, status, delegated }, &piece);
    }

    /// Physical memory protection of frames and of the windows' tables.
    fn protection(&mut self) {
        let mut config = 0u64;
        self.csr("0x3a0", 0);
        let mut entries = if self.random.once_in(2) { 0 } else { 1 + self.random.below(4) };
        let mut n = 0;
        while entries > 0 {
            let frame = self.random.pick(&FRAMES);
            let page = frame + self.random.pick(&PAGES) * 0x1000;
            let tables: Vec<u64> = window_tables().collect();
            let (base, size) = match self.random.below(3) {
                0 => (frame, 2 << 20),
                1 => (page, 0x1000),
                _ => (self.random.pick(&tables), 0x1000),
            };
            let mut rights = self.random.below(8);
            if rights & 3 == 2 {
                rights = 0;
            }
            self.say(format_args!(" {base:#x}+{size:#x}: {rights}"));
            if self.random.once_in(2) {
                self.csr(&format!("{:#x}", 0x3b0 + n), (base >> 2) | ((size >> 3) - 1));
                config |= (rights | 3 << 3) << (8 * n);
                n += 1;
            } else {
                self.csr(&format!("{:#x}", 0x3b0 + n), base >> 2);
                self.csr(&format!("{:#x}", 0x3b1 + n), (base + size) >> 2);
                config |= (rights | 1 << 3) << (8 * (n + 1));
                n += 2;
            }
            entries -= 1;
        }
        self.csr("0x3a0", config);
        self.code.lines("csrrs a0, 0x3a0, zero\nsfence.vma zero, zero");
        self.code.record("a0", "zero");
        self.burst();
    }

    /// Whether the hart sets A and D, or raises a fault for S mode.
    fn hardware_updates(&mut self) {
        let on = self.random.below(2);
        self.say(format_args!("ADUE {on}"));
        self.csr("menvcfg", on << 61);
        self.code.lines("sfence.vma zero, zero");
        self.burst();
    }

    /// S mode's software interrupt.
    fn interrupt(&mut self) {
        let (delegated, user) = (self.random.below(2), self.random.once_in(2));
        self.say(format_args!("SSIP, mideleg {}, user {user}", delegated * 2));
        self.csr("mideleg", delegated * 2);
        self.csr("mie", 2);
        self.csr("mip", 2);
        // It must not be taken in M mode but in a lower one.
        let status = self.random.word() & status::ANY & !8;
        self.say(format_args!(", mstatus {status:#x}"));
        let mut piece = Code::default();
        piece.lines("addi a0, zero, 5\naddi a1, zero, 6");
        if !user {
            piece.lines("csrrsi zero, sstatus, 2\naddi a2, zero, 7\ncsrrsi zero, sip, 2\naddi a3, zero, 8");
        }
        let space = Some(self.random.pick(&Space::ALL));
        self.enter(Setup { user, space, status, delegated: 0 }, &piece);
        self.code.lines("csrrw zero, mie, zero\ncsrrci zero, mip, 2\ncsrrw zero, mideleg, zero");
    }

    /// What M mode forbids to lower modes, and what they can never do.
    fn forbidden(&mut self) {
        let user = self.random.once_in(2);
        let bits = self.random.below(8);
        self.say(format_args!("user {user}, TVM TW TSR {bits:#b}:"));
        let mut lines = vec!["mret", "ecall"];
        if user {
            lines.extend(["sret", "wfi", "sfence.vma zero, zero", "csrrs a0, satp, zero"]);
        } else {
            lines.extend(["sfence.vma zero, zero", "csrrs a0, satp, zero"]);
            // Without the bits these would wait, and return.
            lines.extend((bits & 2 != 0).then_some("wfi"));
            lines.extend((bits & 4 != 0).then_some("sret"));
        }
        let mut piece = Code::default();
        for _ in 0..5 {
            let line = self.random.pick(&lines);
            self.say(format_args!(" {line};"));
            piece.lines(line);
        }
        let status = self.random.word() & status::ANY | bits << 20;
        let space = Some(self.random.pick(&Space::ALL));
        self.enter(Setup { user, space, status, delegated: 0 }, &piece);
    }
}
