//! The decoder of x86 against another one (`iced-x86`): validity, length and text of random bytes.

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, MemorySizeOptions};
use std::collections::BTreeMap;
use trine_conformance::random::Random;
use trine_isa_x86::cpu::Features;
use trine_isa_x86::row::Kind;
use trine_isa_x86::state::code;
use trine_isa_x86::{decode, disasm, table};

#[test]
fn lengths_and_texts_are_those_of_another_decoder() {
    let mut random = Random::new(7);
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_memory_size_options(MemorySizeOptions::Always);
    options.set_branch_leading_zeros(false);
    options.set_show_branch_size(false);
    options.set_rip_relative_addresses(false);
    options.set_small_hex_numbers_in_decimal(true);
    options.set_use_pseudo_ops(false);
    let mut wrong: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for round in 0..400_000u32 {
        let long = round % 2 == 0;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random.word().to_le_bytes());
        bytes[8..].copy_from_slice(&random.word().to_le_bytes());
        if round % 3 == 0 {
            bytes[1] = bytes[0];
            bytes[0] = 0x0f;
        }
        let mode = if long { code::LONG } else { code::D32 | code::FLAT } as u32;
        let ours = decode::decode(Features::ALL, mode, &bytes, 16);
        let bits = if long { 64 } else { 32 };
        let theirs: Instruction = Decoder::with_ip(bits, &bytes, 0x1000, DecoderOptions::NONE).decode();
        let Ok(ours) = ours else { continue };
        let row = table::info(ours.row);
        let mut text = String::new();
        formatter.format(&theirs, &mut text);
        // The segment of a string's rDI is always ES; the other one says so if there is a prefix.
        if row.operands.iter().any(|o| o.kind == Kind::Y) {
            for di in ["rdi", "edi", "di"] {
                text = text.replace(&format!("es:[{di}]"), &format!("[{di}]"));
            }
        }
        let mut note = |kind: &str| {
            let at = wrong.entry(format!("{kind}: {}: {}", row.encoding, row.syntax)).or_default();
            at.0 += 1;
            if at.0 == 1 {
                at.1 = format!("{bits} {bytes:02x?}: {} / {text}", disasm::text(mode, &ours, 0x1000));
            }
        };
        if theirs.is_invalid() {
            note("only ours");
        } else if theirs.len() != ours.bytes as usize {
            note("length");
        } else if !is_spelled_otherwise(row.mnemonic())
            && disasm::text(mode, &ours, 0x1000) != without_hints(&text)
        {
            note("text");
        }
    }
    let all: Vec<String> =
        wrong.iter().map(|(what, (count, example))| format!("{count:6} {what}: {example}")).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Prefixes without an effect in programs, which the other decoder names.
fn without_hints(text: &str) -> &str {
    const HINTS: &[&str] = &[
        "data16",
        "addr16",
        "addr32",
        "bnd",
        "notrack",
        "xacquire",
        "xrelease",
        "hint-taken",
        "hint-not-taken",
    ];
    match text.split_once(' ') {
        Some((word, rest)) if HINTS.contains(&word) => without_hints(rest),
        Some(("rep", "ret")) => "ret",
        _ => text,
    }
}

/// Whether the two differ in what they show of an instruction: implied operands, two names of one encoding.
fn is_spelled_otherwise(mnemonic: &str) -> bool {
    ["nop", "imul", "prefetchw", "pinsrw", "stos", "lods", "scas", "bound", "ud1", "ud0"].contains(&mnemonic)
}
