//! The proc-macro that turns an instruction table into a decoder, a disassembler and an assembler.
