//! How debuggers describe a CPU's registers.

/// Where a register's value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// It is the program counter.
    Pc,
    /// A slot of the vCPU.
    Slot(u16),
    /// Several slots side by side: slot, lowest bit, bits.
    Parts(Vec<(u16, u8, u8)>),
    /// It always reads as this, and writes are lost.
    Fixed(u64),
}

/// A register as a debugger sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Its name.
    pub name: String,
    /// Its size, up to 64 bits.
    pub bits: u8,
    /// Type in the description (gdb's manual, "Predefined Target Types").
    pub kind: &'static str,
    /// Where its value is.
    pub place: Place,
}

/// Registers that a debugger knows as a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feature {
    /// The group's name (gdb's manual, "Standard Target Features").
    pub name: &'static str,
    /// The registers, in the debugger's order.
    pub registers: Vec<Register>,
}

/// A CPU's registers as a debugger knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The debugger's name of the CPU.
    pub architecture: &'static str,
    /// Its registers, in the order of the debugger's numbers.
    pub features: Vec<Feature>,
}
