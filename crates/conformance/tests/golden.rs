//! Golden listings: guest instructions, their IR, and the generated host code. A change of either shows as a
//! diff; `BLESS=1 cargo test -p trine-conformance --test golden` accepts it.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use std::fmt::Write;
use std::path::Path;
use trine_base::Vcpu;
use trine_conformance::bare::{BASE, Bare};
use trine_engine::Tier;
use trine_isa_riscv::state::{MSTATUS, X};

/// The name of the file, and the block, which ends where control leaves it.
const BLOCKS: &[(&str, &str)] = &[
    ("add", "add a0, a1, a2\njal zero, 64"),
    ("load-store", "lw a0, 4(sp)\nsd a0, 8(a1)\njal zero, 64"),
    ("loop", "addi a0, a0, -1\nadd a1, a1, a0\nbne a0, zero, -8\njal zero, 64"),
    ("call", "jal ra, 64"),
    ("return", "jalr zero, 0(ra)"),
    ("far-jump", "jalr zero, 0(a0)"),
    ("amo", "amoadd.d a0, a1, (a2)\njal zero, 64"),
    ("divide", "div a0, a1, a2\njal zero, 64"),
    ("fadd", "fadd.s fa0, fa1, fa2, rne\njal zero, 64"),
    ("csr", "csrrs a0, time, zero"),
    ("quiet-compare", "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\ncsrrw zero, fflags, a1\njal zero, 64"),
    ("fclass", "fclass.d a0, fa0\njal zero, 64"),
    ("ecall", "ecall"),
];

/// The listing of one block.
fn listing(program: &str) -> String {
    let mut h: Bare = Bare::new(Tier::Baseline, program);
    h.vcpu.set(MSTATUS, 0x6000);
    h.vcpu.set(X + 2, BASE + 0x1000);
    h.vcpu.set(X + 12, BASE + 0x1000);
    h.vcpu.run(program.lines().count() as u64);
    let mut text = String::new();
    let listed = h.vcpu.listing(BASE, |block, code| (block.ir(&mut Default::default()), code));
    let Some((ir, code)) = listed else { return "no block".into() };
    program.lines().for_each(|l| writeln!(text, "{l}").unwrap());
    write!(text, "\n{ir}\n").unwrap();
    let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
    let mut format = IntelFormatter::new();
    let mut lines = Vec::new();
    while decoder.can_decode() {
        let inst = decoder.decode();
        let mut line = String::new();
        format.format(&inst, &mut line);
        lines.push((inst.ip(), line));
    }
    // The space behind the last block is filled with zeros.
    while lines.pop_if(|(_, l)| l == "add [rax],al" || l == "(bad)").is_some() {}
    lines.iter().for_each(|(ip, line)| writeln!(text, "{ip:4x}  {line}").unwrap());
    text
}

#[test]
fn listings_are_as_before() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut changed = Vec::new();
    for (name, program) in BLOCKS {
        let (now, path) = (listing(program), dir.join(format!("{name}.txt")));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != now {
            changed.push(format!("{}\n{now}", path.display()));
        }
    }
    assert!(changed.is_empty(), "listings changed (BLESS=1 accepts):\n{}", changed.join("\n"));
}
