//! `trine run --gdb` for machines.

use crate::args::RunArgs;
use crate::front::Front;
use crate::{Refusal, monitor};
use trine_machine::Board;
use trine_machine::boot::Boot;
use trine_machine::debug::{self, GdbListener};

/// Has the machine wait for gdb before its first instruction, if the user wants that; prints what to type. After a reset,
/// the next machine waits for gdb again, as a program does that another one takes the place of.
///
/// # Errors
/// Nobody can listen at the address.
pub fn attach(args: &RunArgs, boot: &Boot, board: &mut Board, front: &Front) -> Result<(), Refusal> {
    let Some(address) = &args.gdb else { return Ok(()) };
    let listener = GdbListener::open(address);
    let listener = listener
        .map_err(|e| Refusal::host(format!("--gdb {address}: {e}; another port or path may be free")))?;
    // gdb takes symbols from ELF files only.
    let file = match boot {
        Boot::BareMetal(path) => format!(" {}", path.display()),
        _ => String::new(),
    };
    // The terminal may be raw.
    eprint!(
        "trine: waiting for gdb; type: gdb-multiarch -ex 'target remote {}'{file}\r\n",
        listener.address()
    );
    let of_gdb = front.clone();
    let commands = Box::new(move |line: &str| monitor::Monitor::new(of_gdb.clone()).execute(line));
    let say = |what: &str| eprint!("trine: {what}\r\n");
    debug::attach(board, listener, commands, say).map_err(Refusal::refused)
}
