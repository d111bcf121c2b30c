//! Instruction semantics (Sem), the Isa trait and the intermediate representation.
