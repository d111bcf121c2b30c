//! Integer instructions of all modes that programs run in.

use crate::insn::{alu, bits, control, divide, flag_ops, mov, multiply, shift, stack, string, system};

trine_rows::x86_rows! {
    /// Add.
    alu::add<T> {
        "00 /r" "add Eb, Gb" lock;
        "01 /r" "add Ev, Gv" lock;
        "02 /r" "add Gb, Eb";
        "03 /r" "add Gv, Ev";
        "04" "add al, Ib";
        "05" "add rAX, Iz";
        "80 /0" "add Eb, Ib" lock;
        "81 /0" "add Ev, Iz" lock;
        "82 /0" "add Eb, Ib" o64 lock;
        "83 /0" "add Ev, Ib" lock;
    }
    /// Bitwise or.
    alu::or<T> {
        "08 /r" "or Eb, Gb" lock;
        "09 /r" "or Ev, Gv" lock;
        "0A /r" "or Gb, Eb";
        "0B /r" "or Gv, Ev";
        "0C" "or al, Ib";
        "0D" "or rAX, Iz";
        "80 /1" "or Eb, Ib" lock;
        "81 /1" "or Ev, Iz" lock;
        "82 /1" "or Eb, Ib" o64 lock;
        "83 /1" "or Ev, Ib" lock;
    }
    /// Add with carry.
    alu::adc<T> {
        "10 /r" "adc Eb, Gb" lock;
        "11 /r" "adc Ev, Gv" lock;
        "12 /r" "adc Gb, Eb";
        "13 /r" "adc Gv, Ev";
        "14" "adc al, Ib";
        "15" "adc rAX, Iz";
        "80 /2" "adc Eb, Ib" lock;
        "81 /2" "adc Ev, Iz" lock;
        "82 /2" "adc Eb, Ib" o64 lock;
        "83 /2" "adc Ev, Ib" lock;
    }
    /// Subtract with borrow.
    alu::sbb<T> {
        "18 /r" "sbb Eb, Gb" lock;
        "19 /r" "sbb Ev, Gv" lock;
        "1A /r" "sbb Gb, Eb";
        "1B /r" "sbb Gv, Ev";
        "1C" "sbb al, Ib";
        "1D" "sbb rAX, Iz";
        "80 /3" "sbb Eb, Ib" lock;
        "81 /3" "sbb Ev, Iz" lock;
        "82 /3" "sbb Eb, Ib" o64 lock;
        "83 /3" "sbb Ev, Ib" lock;
    }
    /// Bitwise and.
    alu::and<T> {
        "20 /r" "and Eb, Gb" lock;
        "21 /r" "and Ev, Gv" lock;
        "22 /r" "and Gb, Eb";
        "23 /r" "and Gv, Ev";
        "24" "and al, Ib";
        "25" "and rAX, Iz";
        "80 /4" "and Eb, Ib" lock;
        "81 /4" "and Ev, Iz" lock;
        "82 /4" "and Eb, Ib" o64 lock;
        "83 /4" "and Ev, Ib" lock;
    }
    /// Subtract.
    alu::sub<T> {
        "28 /r" "sub Eb, Gb" lock;
        "29 /r" "sub Ev, Gv" lock;
        "2A /r" "sub Gb, Eb";
        "2B /r" "sub Gv, Ev";
        "2C" "sub al, Ib";
        "2D" "sub rAX, Iz";
        "80 /5" "sub Eb, Ib" lock;
        "81 /5" "sub Ev, Iz" lock;
        "82 /5" "sub Eb, Ib" o64 lock;
        "83 /5" "sub Ev, Ib" lock;
    }
    /// Bitwise exclusive or.
    alu::xor<T> {
        "30 /r" "xor Eb, Gb" lock;
        "31 /r" "xor Ev, Gv" lock;
        "32 /r" "xor Gb, Eb";
        "33 /r" "xor Gv, Ev";
        "34" "xor al, Ib";
        "35" "xor rAX, Iz";
        "80 /6" "xor Eb, Ib" lock;
        "81 /6" "xor Ev, Iz" lock;
        "82 /6" "xor Eb, Ib" o64 lock;
        "83 /6" "xor Ev, Ib" lock;
    }
    /// Compare.
    alu::cmp<T> {
        "38 /r" "cmp Eb, Gb";
        "39 /r" "cmp Ev, Gv";
        "3A /r" "cmp Gb, Eb";
        "3B /r" "cmp Gv, Ev";
        "3C" "cmp al, Ib";
        "3D" "cmp rAX, Iz";
        "80 /7" "cmp Eb, Ib";
        "81 /7" "cmp Ev, Iz";
        "82 /7" "cmp Eb, Ib" o64;
        "83 /7" "cmp Ev, Ib";
    }
    /// Bitwise and of which only the flags are kept.
    alu::test<T> {
        "84 /r" "test Eb, Gb";
        "85 /r" "test Ev, Gv";
        "A8" "test al, Ib";
        "A9" "test rAX, Iz";
        "F6 /0" "test Eb, Ib";
        "F6 /1" "test Eb, Ib";
        "F7 /0" "test Ev, Iz";
        "F7 /1" "test Ev, Iz";
    }
    /// Add 1.
    alu::inc<T> {
        "FE /0" "inc Eb" lock;
        "FF /0" "inc Ev" lock;
        "40+r" "inc Zv" o64;
    }
    /// Subtract 1.
    alu::dec<T> {
        "FE /1" "dec Eb" lock;
        "FF /1" "dec Ev" lock;
        "48+r" "dec Zv" o64;
    }
    /// Complement.
    alu::not<T> {
        "F6 /2" "not Eb" lock;
        "F7 /2" "not Ev" lock;
    }
    /// Negate.
    alu::neg<T> {
        "F6 /3" "neg Eb" lock;
        "F7 /3" "neg Ev" lock;
    }
    /// Exchange and add.
    alu::xadd<T> {
        "0F C0 /r" "xadd Eb, Gb" lock I486;
        "0F C1 /r" "xadd Ev, Gv" lock I486;
    }
    /// Compare the accumulator and exchange.
    alu::cmpxchg<T> {
        "0F B0 /r" "cmpxchg Eb, Gb" lock I486;
        "0F B1 /r" "cmpxchg Ev, Gv" lock I486;
    }
    /// Compare EDX:EAX and exchange.
    alu::cmpxchg8b {
        "0F C7 /1 mem W0" "cmpxchg8b Mq" lock CX8;
    }

    /// Multiply unsigned numbers.
    multiply::mul<T> {
        "F6 /4" "mul Eb";
        "F7 /4" "mul Ev";
    }
    /// Multiply signed numbers.
    multiply::imul<T> {
        "F6 /5" "imul Eb";
        "F7 /5" "imul Ev";
    }
    /// Multiply signed numbers in a register.
    multiply::imul2<T> {
        "0F AF /r" "imul Gv, Ev";
    }
    /// Multiply by a constant.
    multiply::imul3<T> {
        "69 /r" "imul Gv, Ev, Iz";
        "6B /r" "imul Gv, Ev, Ib";
    }
    /// Multiply without flags.
    multiply::mulx<T> {
        "VEX.LZ.F2.0F38.WIG F6 /r" "mulx Gy, By, Ey" BMI2;
    }
    /// Divide unsigned numbers.
    divide::div<T> {
        "F6 /6" "div Eb";
        "F7 /6" "div Ev";
    }
    /// Divide signed numbers.
    divide::idiv<T> {
        "F6 /7" "idiv Eb";
        "F7 /7" "idiv Ev";
    }

    /// Rotate left.
    shift::rol<T> {
        "C0 /0" "rol Eb, Ib";
        "C1 /0" "rol Ev, Ib";
        "D0 /0" "rol Eb, 1";
        "D1 /0" "rol Ev, 1";
        "D2 /0" "rol Eb, cl";
        "D3 /0" "rol Ev, cl";
    }
    /// Rotate right.
    shift::ror<T> {
        "C0 /1" "ror Eb, Ib";
        "C1 /1" "ror Ev, Ib";
        "D0 /1" "ror Eb, 1";
        "D1 /1" "ror Ev, 1";
        "D2 /1" "ror Eb, cl";
        "D3 /1" "ror Ev, cl";
    }
    /// Rotate left through carry.
    shift::rcl<T> {
        "C0 /2" "rcl Eb, Ib";
        "C1 /2" "rcl Ev, Ib";
        "D0 /2" "rcl Eb, 1";
        "D1 /2" "rcl Ev, 1";
        "D2 /2" "rcl Eb, cl";
        "D3 /2" "rcl Ev, cl";
    }
    /// Rotate right through carry.
    shift::rcr<T> {
        "C0 /3" "rcr Eb, Ib";
        "C1 /3" "rcr Ev, Ib";
        "D0 /3" "rcr Eb, 1";
        "D1 /3" "rcr Ev, 1";
        "D2 /3" "rcr Eb, cl";
        "D3 /3" "rcr Ev, cl";
    }
    /// Shift left.
    shift::shl<T> {
        "C0 /4" "shl Eb, Ib";
        "C1 /4" "shl Ev, Ib";
        "D0 /4" "shl Eb, 1";
        "D1 /4" "shl Ev, 1";
        "D2 /4" "shl Eb, cl";
        "D3 /4" "shl Ev, cl";
        "C0 /6" "shl Eb, Ib";
        "C1 /6" "shl Ev, Ib";
        "D0 /6" "shl Eb, 1";
        "D1 /6" "shl Ev, 1";
        "D2 /6" "shl Eb, cl";
        "D3 /6" "shl Ev, cl";
    }
    /// Shift right.
    shift::shr<T> {
        "C0 /5" "shr Eb, Ib";
        "C1 /5" "shr Ev, Ib";
        "D0 /5" "shr Eb, 1";
        "D1 /5" "shr Ev, 1";
        "D2 /5" "shr Eb, cl";
        "D3 /5" "shr Ev, cl";
    }
    /// Shift right, filled with copies of the sign.
    shift::sar<T> {
        "C0 /7" "sar Eb, Ib";
        "C1 /7" "sar Ev, Ib";
        "D0 /7" "sar Eb, 1";
        "D1 /7" "sar Ev, 1";
        "D2 /7" "sar Eb, cl";
        "D3 /7" "sar Ev, cl";
    }
    /// Shift left, filled from another register.
    shift::shld<T> {
        "0F A4 /r" "shld Ev, Gv, Ib";
        "0F A5 /r" "shld Ev, Gv, cl";
    }
    /// Shift right, filled from another register.
    shift::shrd<T> {
        "0F AC /r" "shrd Ev, Gv, Ib";
        "0F AD /r" "shrd Ev, Gv, cl";
    }
    /// Shift left without flags.
    shift::shlx<T> {
        "VEX.LZ.66.0F38.WIG F7 /r" "shlx Gy, Ey, By" BMI2;
    }
    /// Shift right with copies of the sign, without flags.
    shift::sarx<T> {
        "VEX.LZ.F3.0F38.WIG F7 /r" "sarx Gy, Ey, By" BMI2;
    }
    /// Shift right without flags.
    shift::shrx<T> {
        "VEX.LZ.F2.0F38.WIG F7 /r" "shrx Gy, Ey, By" BMI2;
    }
    /// Rotate right without flags.
    shift::rorx<T> {
        "VEX.LZ.F2.0F3A.WIG F0 /r" "rorx Gy, Ey, Ib" BMI2;
    }

    /// Move.
    mov::mov<T> {
        "88 /r" "mov Eb, Gb";
        "89 /r" "mov Ev, Gv";
        "8A /r" "mov Gb, Eb";
        "8B /r" "mov Gv, Ev";
        "A0" "mov al, Ob";
        "A1" "mov rAX, Ov";
        "A2" "mov Ob, al";
        "A3" "mov Ov, rAX";
        "B0+r" "mov Zb, Ib";
        "B8+r" "mov Zv, Iv";
        "C6 /0" "mov Eb, Ib";
        "C7 /0" "mov Ev, Iz";
        "NP 0F C3 /r mem" "movnti My, Gy" SSE2;
    }
    /// Move a selector.
    mov::mov_from_segment<T> {
        "8C /r" "mov Ev, Sw";
    }
    /// Load a segment register.
    system::mov_to_segment {
        "8E /r" "mov Sw, Ew" w ends;
    }
    /// Move with zero-extension from 8 bits.
    mov::movzx8<T> {
        "0F B6 /r" "movzx Gv, Eb";
    }
    /// Move with zero-extension from 16 bits.
    mov::movzx16<T> {
        "0F B7 /r" "movzx Gv, Ew";
    }
    /// Move with sign-extension from 8 bits.
    mov::movsx8<T> {
        "0F BE /r" "movsx Gv, Eb";
    }
    /// Move with sign-extension from 16 bits.
    mov::movsx16<T> {
        "0F BF /r" "movsx Gv, Ew";
    }
    /// Move with sign-extension from 32 bits.
    mov::movsxd<T> {
        "63 /r" "movsxd Gv, Ez" i64;
    }
    /// Move with the bytes reversed.
    mov::movbe<T> {
        "NP 0F 38 F0 /r mem" "movbe Gv, Mv" MOVBE;
        "66 0F 38 F0 /r mem" "movbe Gv, Mv" MOVBE;
        "NP 0F 38 F1 /r mem" "movbe Mv, Gv" MOVBE;
        "66 0F 38 F1 /r mem" "movbe Mv, Gv" MOVBE;
    }
    /// Load effective address.
    mov::lea<T> {
        "8D /r mem" "lea Gv, M";
    }
    /// Exchange.
    mov::xchg<T> {
        "86 /r" "xchg Eb, Gb" lock;
        "87 /r" "xchg Ev, Gv" lock;
    }
    /// Exchange with the accumulator.
    mov::xchg_accumulator<T> {
        "90+r" "xchg Zv, rAX";
    }
    /// Move if a condition holds.
    mov::cmov<T> {
        "0F 40+cc /r" "cmovcc Gv, Ev" CMOV;
    }
    /// Set a byte by a condition.
    mov::setcc {
        "0F 90+cc /r" "setcc Eb";
    }
    /// Reverse the order of bytes.
    mov::bswap<T> {
        "0F C8+r" "bswap Zv" I486;
    }
    /// Sign-extend the lower half of the accumulator.
    mov::cbw<T> {
        "98" "cbw/cwde/cdqe" v;
    }
    /// Sign-extend the accumulator.
    mov::cwd<T> {
        "99" "cwd/cdq/cqo" v;
    }
    /// Look up a byte in a table.
    mov::xlat {
        "D7" "xlat Xb";
    }
    /// Nothing.
    mov::nop {
        "0F 1F /r" "nop Ev";
        "0F 18 /0 mem" "prefetchnta Mb" SSE;
        "0F 18 /1 mem" "prefetcht0 Mb" SSE;
        "0F 18 /2 mem" "prefetcht1 Mb" SSE;
        "0F 18 /3 mem" "prefetcht2 Mb" SSE;
        "0F 18 /r" "nop Ev";
        "0F 19 /r" "nop Ev";
        "0F 1A /r" "nop Ev";
        "0F 1B /r" "nop Ev";
        "0F 1C /r" "nop Ev";
        "0F 1D /r" "nop Ev";
        "0F 1E /r" "nop Ev";
        "0F 0D /r mem" "prefetchw Mb" PREFETCHW;
        "9B" "fwait" FPU;
    }

    /// Push.
    stack::push<T> {
        "50+r" "push Zv" d64;
        "68" "push Iz" v d64;
        "6A" "push Ib" v d64;
        "FF /6" "push Ev" d64;
    }
    /// Push a selector.
    stack::push_segment<T> {
        "06" "push es" v o64;
        "0E" "push cs" v o64;
        "16" "push ss" v o64;
        "1E" "push ds" v o64;
        "0F A0" "push fs" v d64;
        "0F A8" "push gs" v d64;
    }
    /// Pop.
    stack::pop<T> {
        "58+r" "pop Zv" d64;
    }
    /// Pop into a register or memory.
    stack::pop_rm<T> {
        "8F /0" "pop Ev" d64;
    }
    /// Push all general registers.
    stack::pusha<T> {
        "60" "pusha/pushad" v o64;
    }
    /// Pop all general registers.
    stack::popa<T> {
        "61" "popa/popad" v o64;
    }
    /// Push EFLAGS.
    stack::pushf<T> {
        "9C" "pushf/pushfd/pushfq" v d64;
    }
    /// Pop EFLAGS.
    stack::popf<T> {
        "9D" "popf/popfd/popfq" v d64;
    }
    /// Make a stack frame.
    stack::enter<T> {
        "C8" "enter Iw, Ib" v d64;
    }
    /// Leave a procedure.
    stack::leave<T> {
        "C9" "leave" v d64;
    }
    /// Clear the direction flag.
    stack::cld {
        "FC" "cld";
    }
    /// Set the direction flag.
    stack::std {
        "FD" "std";
    }

    /// Jump if a condition holds.
    control::jcc<T> {
        "70+cc" "jcc Jb" v f64;
        "0F 80+cc" "jcc Jz" v f64;
    }
    /// Jump.
    control::jmp<T> {
        "E9" "jmp Jz" v f64 ends;
        "EB" "jmp Jb" v f64 ends;
    }
    /// Jump to an address.
    control::jmp_rm<T> {
        "FF /4" "jmp Ev" f64 ends;
    }
    /// Call.
    control::call<T> {
        "E8" "call Jz" v f64 ends;
    }
    /// Call an address.
    control::call_rm<T> {
        "FF /2" "call Ev" f64 ends;
    }
    /// Return.
    control::ret<T> {
        "C2" "ret Iw" v f64 ends;
        "C3" "ret" v f64 ends;
    }
    /// Loop.
    control::loop_<T> {
        "E2" "loop Jb" v f64;
    }
    /// Loop while equal.
    control::loope<T> {
        "E1" "loope Jb" v f64;
    }
    /// Loop while not equal.
    control::loopne<T> {
        "E0" "loopne Jb" v f64;
    }
    /// Jump if the count is 0.
    control::jcxz<T> {
        "E3" "jcxz/jecxz/jrcxz Jb" v f64;
    }
    /// A software interrupt.
    control::int {
        "CD" "int Ib" ends;
    }
    /// A breakpoint.
    control::int3 {
        "CC" "int3" ends;
    }
    /// A debug trap.
    control::int1 {
        "F1" "int1" ends;
    }
    /// A trap if O is set.
    control::into {
        "CE" "into" o64 ends;
    }
    /// A range exception if an index is outside two bounds.
    control::bound<T> {
        "62 /r mem" "bound Gv, Ma" o64;
    }
    /// An invalid opcode.
    control::ud {
        "0F 0B" "ud2" ends;
        "0F B9 /r" "ud1 Gv, Ev" ends;
        "0F FF /r" "ud0 Gv, Ev" ends;
    }
    /// A privileged instruction: user mode has no right to it.
    control::privileged {
        "F4" "hlt" cpl0 ends;
        "FA" "cli" cpl0 ends;
        "FB" "sti" cpl0 ends;
        "E4" "in al, Ib" cpl0 ends;
        "E5" "in rAX, Ib" z cpl0 ends;
        "E6" "out Ib, al" cpl0 ends;
        "E7" "out Ib, rAX" z cpl0 ends;
        "EC" "in al, dx" cpl0 ends;
        "ED" "in rAX, dx" z cpl0 ends;
        "EE" "out dx, al" cpl0 ends;
        "EF" "out dx, rAX" z cpl0 ends;
        "6C" "ins Yb, dx" b rep cpl0 ends;
        "6D" "ins Yz, dx" rep cpl0 ends;
        "6E" "outs dx, Xb" b rep cpl0 ends;
        "6F" "outs dx, Xz" rep cpl0 ends;
        "0F 06" "clts" cpl0 ends;
        "0F 08" "invd" cpl0 ends;
        "0F 09" "wbinvd" cpl0 ends;
        "0F 30" "wrmsr" cpl0 ends;
        "0F 32" "rdmsr" cpl0 ends;
        "0F 20 /r" "mov Rv, Cv" f64 cpl0 nomod ends;
        "0F 21 /r" "mov Rv, Dv" f64 cpl0 nomod ends;
        "0F 22 /r" "mov Cv, Rv" f64 cpl0 nomod ends;
        "0F 23 /r" "mov Dv, Rv" f64 cpl0 nomod ends;
    }

    /// Copy an element.
    string::movs<T> {
        "A4" "movs Yb, Xb" rep;
        "A5" "movs Yv, Xv" rep;
    }
    /// Compare two elements.
    string::cmps<T> {
        "A6" "cmps Xb, Yb" rep;
        "A7" "cmps Xv, Yv" rep;
    }
    /// Store the accumulator.
    string::stos<T> {
        "AA" "stos Yb, al" rep;
        "AB" "stos Yv, rAX" rep;
    }
    /// Load the accumulator.
    string::lods<T> {
        "AC" "lods al, Xb" rep;
        "AD" "lods rAX, Xv" rep;
    }
    /// Compare the accumulator with an element.
    string::scas<T> {
        "AE" "scas al, Yb" rep;
        "AF" "scas rAX, Yv" rep;
    }

    /// Test a bit.
    bits::bit<T>(bits::Then::Nothing) {
        "0F A3 /r" "bt Ev, Gv";
        "0F BA /4" "bt Ev, Ib";
    }
    /// Test and set a bit.
    bits::bit<T>(bits::Then::Set) {
        "0F AB /r" "bts Ev, Gv" lock;
        "0F BA /5" "bts Ev, Ib" lock;
    }
    /// Test and reset a bit.
    bits::bit<T>(bits::Then::Reset) {
        "0F B3 /r" "btr Ev, Gv" lock;
        "0F BA /6" "btr Ev, Ib" lock;
    }
    /// Test and complement a bit.
    bits::bit<T>(bits::Then::Complement) {
        "0F BB /r" "btc Ev, Gv" lock;
        "0F BA /7" "btc Ev, Ib" lock;
    }
    /// Bit scan forward.
    bits::bsf<T> {
        "0F BC /r" "bsf Gv, Ev";
    }
    /// Bit scan reverse.
    bits::bsr<T> {
        "0F BD /r" "bsr Gv, Ev";
    }
    /// Count trailing zeros.
    bits::tzcnt<T> {
        "F3 0F BC /r" "tzcnt Gv, Ev" BMI1;
    }
    /// Count leading zeros.
    bits::lzcnt<T> {
        "F3 0F BD /r" "lzcnt Gv, Ev" LZCNT;
    }
    /// Count ones.
    bits::popcnt<T> {
        "F3 0F B8 /r" "popcnt Gv, Ev" POPCNT;
    }
    /// Bitwise and with a complement.
    bits::andn<T> {
        "VEX.LZ.NP.0F38.WIG F2 /r" "andn Gy, By, Ey" BMI1;
    }
    /// Reset the lowest set bit.
    bits::blsr<T> {
        "VEX.LZ.NP.0F38.WIG F3 /1" "blsr By, Ey" BMI1;
    }
    /// Mask up to the lowest set bit.
    bits::blsmsk<T> {
        "VEX.LZ.NP.0F38.WIG F3 /2" "blsmsk By, Ey" BMI1;
    }
    /// Isolate the lowest set bit.
    bits::blsi<T> {
        "VEX.LZ.NP.0F38.WIG F3 /3" "blsi By, Ey" BMI1;
    }
    /// Extract bits.
    bits::bextr<T> {
        "VEX.LZ.NP.0F38.WIG F7 /r" "bextr Gy, Ey, By" BMI1;
    }
    /// Clear bits from a number on.
    bits::bzhi<T> {
        "VEX.LZ.NP.0F38.WIG F5 /r" "bzhi Gy, Ey, By" BMI2;
    }
    /// Gather bits.
    bits::pext<T> {
        "VEX.LZ.F3.0F38.WIG F5 /r" "pext Gy, By, Ey" BMI2;
    }
    /// Scatter bits.
    bits::pdep<T> {
        "VEX.LZ.F2.0F38.WIG F5 /r" "pdep Gy, By, Ey" BMI2;
    }
    /// Add with C as the only flag.
    bits::add_with<T>(crate::state::eflags::CF) {
        "66 0F 38 F6 /r" "adcx Gy, Ey" ADX;
    }
    /// Add with O as the only flag.
    bits::add_with<T>(crate::state::eflags::OF) {
        "F3 0F 38 F6 /r" "adox Gy, Ey" ADX;
    }
    /// CRC-32C.
    bits::crc32<T> {
        "F2 0F 38 F0 /r" "crc32 Gd, Eb" b SSE42;
        "F2 0F 38 F1 /r" "crc32 Gd, Ev" SSE42;
    }

    /// Clear C.
    flag_ops::clc {
        "F8" "clc";
    }
    /// Set C.
    flag_ops::stc {
        "F9" "stc";
    }
    /// Complement C.
    flag_ops::cmc {
        "F5" "cmc";
    }
    /// All bits of AL by C.
    flag_ops::salc {
        "D6" "salc" o64;
    }
    /// Decimal adjust after addition.
    flag_ops::daa {
        "27" "daa" o64;
    }
    /// Decimal adjust after subtraction.
    flag_ops::das {
        "2F" "das" o64;
    }
    /// ASCII adjust after addition.
    flag_ops::aaa {
        "37" "aaa" o64;
    }
    /// ASCII adjust after subtraction.
    flag_ops::aas {
        "3F" "aas" o64;
    }
    /// ASCII adjust after multiplication.
    flag_ops::aam {
        "D4" "aam Ib" o64;
    }
    /// ASCII adjust before division.
    flag_ops::aad {
        "D5" "aad Ib" o64;
    }
    /// Load flags into AH.
    system::lahf {
        "9F" "lahf";
    }
    /// Store AH into flags.
    system::sahf {
        "9E" "sahf";
    }

    /// System call.
    system::syscall {
        "0F 05" "syscall" i64 ends SYSCALL;
    }
    /// Fast system call.
    system::sysenter {
        "0F 34" "sysenter" ends SYSENTER;
    }
    /// What the CPU is.
    system::cpuid {
        "0F A2" "cpuid" I486;
    }
    /// Read the time-stamp counter.
    system::rdtsc {
        "0F 31" "rdtsc" I586;
    }
    /// Read the time-stamp counter and the CPU's number.
    system::rdtscp {
        "0F 01 F9" "rdtscp" RDTSCP;
    }
    /// Read the CPU's number.
    system::rdpid {
        "F3 0F C7 /7 reg" "rdpid Rq" RDPID;
    }
    /// Read an extended control register.
    system::xgetbv {
        "0F 01 D0" "xgetbv" XSAVE;
    }
    /// A fence.
    system::fence {
        "NP 0F AE /5 reg" "lfence" SSE2;
        "NP 0F AE /6 reg" "mfence" SSE2;
        "NP 0F AE /7 reg" "sfence" SSE;
    }
    /// Write back a cache line.
    system::flush_line {
        "NP 0F AE /7 mem" "clflush Mb" SSE2;
        "66 0F AE /7 mem" "clflushopt Mb" CLFLUSHOPT;
        "66 0F AE /6 mem" "clwb Mb" CLWB;
    }
    /// Read the base of FS.
    system::read_base<T>(crate::state::segment::FS) {
        "F3 0F AE /0 reg" "rdfsbase Ry" i64 FSGSBASE;
    }
    /// Read the base of GS.
    system::read_base<T>(crate::state::segment::GS) {
        "F3 0F AE /1 reg" "rdgsbase Ry" i64 FSGSBASE;
    }
    /// Write the base of FS.
    system::write_base<T>(crate::state::segment::FS) {
        "F3 0F AE /2 reg" "wrfsbase Ry" i64 FSGSBASE;
    }
    /// Write the base of GS.
    system::write_base<T>(crate::state::segment::GS) {
        "F3 0F AE /3 reg" "wrgsbase Ry" i64 FSGSBASE;
    }
    /// A random number.
    system::random<T> {
        "NP 0F C7 /6 reg" "rdrand Rv" RDRAND;
        "66 0F C7 /6 reg" "rdrand Rv" RDRAND;
        "NP 0F C7 /7 reg" "rdseed Rv" RDSEED;
        "66 0F C7 /7 reg" "rdseed Rv" RDSEED;
    }
}
