//! Interpreter, baseline compiler, code cache, software TLB, dispatch.
