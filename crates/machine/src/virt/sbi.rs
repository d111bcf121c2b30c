//! The firmware of the board: the RISC-V Supervisor Binary Interface (SBI specification 2.0).

use super::harts::Harts;
use crate::End;
use crate::firmware::{self, Firmware, FirmwareKind, Outcome};
use crate::host::Console;
use std::sync::Arc;
use trine_base::{Fence, Mailbox, StateError, Trap, Vcpu};
use trine_isa_riscv::state::{STIMECMP, X};
use trine_memory::Ram;

const BASE: u64 = 0x10;
const TIME: u64 = 0x5449_4d45;
const IPI: u64 = 0x73_5049;
const RFENCE: u64 = 0x5246_4e43;
const HSM: u64 = 0x48_534d;
const SRST: u64 = 0x5352_5354;
const DBCN: u64 = 0x4442_434e;
/// The legacy extensions that are implemented: set timer, put and get a character, shut down.
const LEGACY: [u64; 4] = [0, 1, 2, 8];

/// Version 2.0.
const VERSION: u64 = 2 << 24;
/// Implementation ID: none of the registered ones ("TR").
const IMPLEMENTATION: u64 = 0x5452;

const NOT_SUPPORTED: i64 = -2;
const INVALID_PARAMETER: i64 = -3;
const DENIED: i64 = -4;
const ALREADY_AVAILABLE: i64 = -6;

/// Cause of an environment call from S mode.
const CALL_FROM_S: u64 = 9;
/// The most bytes of one debug-console call.
const PIECE: u64 = 4096;

type Answer = Result<u64, i64>;

/// The firmware of a board whose harts start in S mode.
pub struct Sbi {
    ram: Arc<Ram>,
    console: Console,
    harts: Harts,
}

impl Sbi {
    /// Creates the firmware for harts with these mailboxes: the first one runs, the others are stopped.
    pub fn new(ram: Arc<Ram>, console: Console, mailboxes: Vec<Arc<Mailbox>>) -> Sbi {
        Sbi { ram, console, harts: Harts::new(mailboxes) }
    }

    /// Serves one environment call of hart `own`.
    fn serve(&self, own: usize, vcpu: &mut dyn Vcpu) -> Outcome {
        let [a0, a1, a2, a3, fid, eid] = [10, 11, 12, 13, 16, 17].map(|r| vcpu.get(X + r));
        let mut outcome = Outcome::Go;
        let answer = match (eid, fid) {
            (BASE, _) => base(fid, a0),
            (TIME, 0) => {
                vcpu.set(STIMECMP, a0);
                Ok(0)
            }
            (IPI, 0) => self.named(a0, a1).map(|targets| {
                self.harts.interrupt(own, vcpu, &targets);
                0
            }),
            // Those of the hypervisor extension, which these harts do not have, are not supported.
            (RFENCE, 0..=2) => self.named(a0, a1).map(|targets| {
                self.harts.fence(own, vcpu, &targets, fence(fid, a2, a3));
                0
            }),
            (HSM, _) => self.hsm(own, fid, [a0, a1, a2], &mut outcome),
            (SRST, 0) => reset(a0, a1, &mut outcome),
            (DBCN, _) => debug_console(fid, a0, a1, a2, &self.ram, &self.console),
            (e, _) if LEGACY.contains(&e) => return legacy(vcpu, e, a0, &self.console),
            _ => Err(NOT_SUPPORTED),
        };
        let (error, value) = match answer {
            Ok(value) => (0, value),
            Err(error) => (error as u64, 0),
        };
        vcpu.set(X + 10, error);
        vcpu.set(X + 11, value);
        vcpu.set_pc(vcpu.pc().wrapping_add(4));
        outcome
    }

    fn named(&self, mask: u64, first: u64) -> Result<Vec<usize>, i64> {
        self.harts.named(mask, first).ok_or(INVALID_PARAMETER)
    }

    /// Hart state management (SBI 2.0, section 9).
    fn hsm(&self, own: usize, fid: u64, [a0, a1, a2]: [u64; 3], outcome: &mut Outcome) -> Answer {
        match fid {
            0 => {
                self.harts.status(a0).ok_or(INVALID_PARAMETER)?;
                self.harts.start(a0 as usize, a1, a2).then_some(0).ok_or(ALREADY_AVAILABLE)
            }
            // The next time it runs, `enter` finds it stopped.
            1 => self.harts.stop(own).then_some(0).ok_or(DENIED),
            2 => self.harts.status(a0).map(u64::from).ok_or(INVALID_PARAMETER),
            // Retentive suspension, until an interrupt.
            3 if a0 == 0 => {
                self.harts.suspend(own);
                *outcome = Outcome::Wait;
                Ok(0)
            }
            _ => Err(NOT_SUPPORTED),
        }
    }
}

impl Firmware for Sbi {
    fn kind(&self) -> FirmwareKind {
        FirmwareKind::Board
    }

    fn enter(&self, index: usize, vcpu: &mut dyn Vcpu) -> bool {
        self.harts.enter(index, vcpu)
    }

    fn leave(&self, index: usize) {
        self.harts.leave(index);
    }

    fn save(&self) -> Vec<u8> {
        self.harts.save()
    }

    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        self.harts.load(state)
    }

    fn call(&self, index: usize, vcpu: &mut dyn Vcpu, trap: Trap) -> Outcome {
        match trap.cause {
            CALL_FROM_S => self.serve(index, vcpu),
            _ => firmware::unserved(vcpu, trap),
        }
    }
}

fn base(fid: u64, a0: u64) -> Answer {
    match fid {
        0 => Ok(VERSION),
        1 => Ok(IMPLEMENTATION),
        2 => Ok(1),
        3 => {
            let known = [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN].contains(&a0) || LEGACY.contains(&a0);
            Ok(known as u64)
        }
        4..=6 => Ok(0),
        _ => Err(NOT_SUPPORTED),
    }
}

/// The fence that a call of the extension RFENCE means (SBI 2.0, section 8).
fn fence(fid: u64, start: u64, size: u64) -> Fence {
    match (fid, start, size) {
        (0, ..) => Fence::Code,
        (_, 0, 0) | (_, _, u64::MAX) => Fence::Translations,
        _ => Fence::Pages { start, size },
    }
}

fn reset(kind: u64, reason: u64, outcome: &mut Outcome) -> Answer {
    let end = match (kind, reason) {
        (0, 1) => End::Failure(1),
        (0, _) => End::PowerOff,
        (1 | 2, _) => End::Reset,
        _ => return Err(INVALID_PARAMETER),
    };
    *outcome = Outcome::End(end);
    Ok(0)
}

fn debug_console(fid: u64, a0: u64, a1: u64, a2: u64, ram: &Ram, console: &Console) -> Answer {
    let len = a0.min(PIECE) as usize;
    let mut buf = vec![0; len];
    match fid {
        0 => {
            // A constant of software that runs in place lies in flash.
            ram.read_any(a1, &mut buf).filter(|_| a2 == 0).ok_or(INVALID_PARAMETER)?;
            console.write(&buf);
            Ok(len as u64)
        }
        1 => {
            ram.contains(a1, a0).then_some(()).filter(|_| a2 == 0).ok_or(INVALID_PARAMETER)?;
            let bytes: Vec<u8> = (0..len).map_while(|_| console.input.pop()).collect();
            ram.write(a1, &bytes).ok_or(INVALID_PARAMETER)?;
            Ok(bytes.len() as u64)
        }
        2 => {
            console.write(&[a0 as u8]);
            Ok(0)
        }
        _ => Err(NOT_SUPPORTED),
    }
}

fn legacy(vcpu: &mut dyn Vcpu, eid: u64, a0: u64, console: &Console) -> Outcome {
    let answer = match eid {
        0 => {
            vcpu.set(STIMECMP, a0);
            0
        }
        1 => {
            console.write(&[a0 as u8]);
            0
        }
        2 => console.input.pop().map_or(-1, |b| b as i64),
        _ => return Outcome::End(End::PowerOff),
    };
    vcpu.set(X + 10, answer as u64);
    vcpu.set_pc(vcpu.pc().wrapping_add(4));
    Outcome::Go
}
