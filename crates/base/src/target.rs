//! How debuggers describe a CPU's registers.

/// Where a register's value is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The program counter.
    Pc,
    /// One slot of the vCPU.
    Slot(u16),
    /// A register of [`Vcpu::views`](crate::Vcpu::views), by its number.
    View(u16),
    /// A register that the CPU's own code computes: [`Vcpu::system_register`](crate::Vcpu::system_register).
    System(u16),
    /// Bit fields of the register in different slots: slot, lowest bit in the register, number of bits.
    Parts(Vec<(u16, u8, u8)>),
    /// A constant: reads give this value, writes are ignored.
    Fixed(u64),
}

/// A register as a debugger sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Its name.
    pub name: String,
    /// Its size in bits: whole bytes, at most 128 bits.
    pub bits: u8,
    /// Type in the description (gdb's manual, "Predefined Target Types").
    pub kind: &'static str,
    /// Where its value is.
    pub place: Place,
}

/// A named group of registers that a debugger knows.
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
