//! Any bytes: what decodes goes back to the same bytes, has a text, and its IR keeps the rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_ir::{Builder, Isa};
use trine_isa_riscv::table::{ROWS, decode32, decode64};
use trine_isa_riscv::{Rv64, asm};

fuzz_target!(|data: &[u8]| {
    let mut builder = Builder::<Rv64>::new(0b10_10_01);
    for chunk in data.chunks(4) {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_le_bytes(bytes);
        for (rv32, decoded) in [(true, decode32(word)), (false, decode64(word))] {
            let Some((row, operands)) = decoded else { continue };
            let info = &ROWS[row.0 as usize];
            let mask = if info.bytes == 2 { 0xffff } else { u32::MAX };
            assert_eq!(info.encode(&operands), Some(word & mask), "{}", info.name);
            assert!(asm::disassemble(word, rv32).is_some());
            if !rv32 {
                builder.begin(0, info.bytes, operands);
                if Rv64::body::<&Builder<Rv64>>(row)(&builder, &operands).is_err() {
                    let done = std::mem::replace(&mut builder, Builder::new(0b10_10_01)).finish();
                    assert_eq!(trine_ir::verify::verify(&done), Ok(()));
                }
            }
        }
    }
});
