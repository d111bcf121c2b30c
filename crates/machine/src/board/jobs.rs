//! Work on the board itself while none of its vCPUs runs: registers, translations, a single step. Whoever wants it done
//! posts a job, and the thread that called [`Board::run`] does it, since the board is that thread's.

use super::{Board, Remote, Stretch};
use std::sync::mpsc;
use std::time::Duration;
use trine_base::Exit;
use trine_base::bus::BusDevice;

/// The most requests to pause that a step passes over.
const REQUESTS: usize = 100;

impl Board {
    /// Does what was posted, and waits for more while the debugger holds the machine.
    pub(super) fn serve(&mut self) {
        let parts = self.parts.clone();
        if !parts.control.serve() {
            return;
        }
        parts.all_stand();
        while let Some(job) = parts.control.next_job() {
            job(self);
        }
    }

    /// Executes one instruction of vCPU `index`, without its interrupts. Only in a job. Returns false if the firmware
    /// has stopped the vCPU.
    pub fn step_vcpu(&mut self, index: usize) -> bool {
        let (parts, Some(vcpu)) = (self.parts.clone(), self.vcpus.get_mut(index)) else { return false };
        let runs = parts.firmware.enter(index, &mut **vcpu);
        let mut exit = Exit::Budget;
        // The request to stop for this job, or another one, may still be in its mailbox.
        for _ in 0..REQUESTS {
            exit = if runs { vcpu.debug_step().unwrap_or(Exit::Budget) } else { Exit::Budget };
            if exit != Exit::Paused {
                break;
            }
        }
        parts.firmware.leave(index);
        if let Stretch::End(end) = parts.handle(index, &mut **vcpu, exit, runs) {
            parts.control.finish(end);
        }
        runs
    }

    /// What is at which addresses besides memory: devices, by their names.
    pub fn devices(&self) -> Vec<BusDevice> {
        self.parts.bus.devices()
    }

    /// Reads memory at virtual addresses of vCPU `index`; returns how many bytes could be read. Devices are not read, as that
    /// has side effects.
    pub fn read_virtual(&self, index: usize, address: u64, to: &mut [u8]) -> usize {
        let mut done = 0;
        while done < to.len() {
            let Some((physical, most)) = self.piece(index, address, done, to.len()) else { break };
            if self.parts.ram.read_any(physical, &mut to[done..done + most]).is_none() {
                break;
            }
            done += most;
        }
        done
    }

    /// Writes memory at virtual addresses of vCPU `index`, read-only pages, too. Returns false, and has written nothing, if
    /// some of it is not mapped to memory.
    pub fn write_virtual(&self, index: usize, address: u64, bytes: &[u8]) -> bool {
        let (mut pieces, mut done) = (Vec::new(), 0);
        while done < bytes.len() {
            let Some((physical, most)) = self.piece(index, address, done, bytes.len()) else { return false };
            if !self.parts.ram.contains(physical, most as u64) {
                return false;
            }
            pieces.push((physical, &bytes[done..done + most]));
            done += most;
        }
        pieces.into_iter().all(|(physical, bytes)| self.parts.ram.write(physical, bytes).is_some())
    }

    /// The physical address of the byte that follows `done` bytes at `address`, and how many of `len` lie in its page.
    fn piece(&self, index: usize, address: u64, done: usize, len: usize) -> Option<(u64, usize)> {
        let at = address.checked_add(done as u64)?;
        let physical = self.vcpus.get(index)?.debug_translate(at)?;
        Some((physical, (len - done).min(0x1000 - (at & 0xfff) as usize)))
    }
}

impl Remote {
    /// Has the thread that runs the board call `f` between two instructions, and waits for the result. `None` if the
    /// machine has ended.
    pub fn ask<T: Send + 'static>(&self, f: impl FnOnce(&mut Board) -> T + Send + 'static) -> Option<T> {
        self.post(f)?.recv().ok()
    }

    /// The same, but `None` after `most`, too: a device may be waiting for the host, and so its vCPU. The call is made later
    /// then.
    pub fn ask_within<T: Send + 'static>(
        &self,
        most: Duration,
        f: impl FnOnce(&mut Board) -> T + Send + 'static,
    ) -> Option<T> {
        self.post(f)?.recv_timeout(most).ok()
    }

    fn post<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Board) -> T + Send + 'static,
    ) -> Option<mpsc::Receiver<T>> {
        let (answer, result) = mpsc::channel();
        let job = Box::new(move |board: &mut Board| {
            // Who asked may have gone.
            let _ = answer.send(f(board));
        });
        self.parts.control.post(job).then_some(result)
    }

    /// Whether a debugger has stopped the machine.
    pub fn is_held(&self) -> bool {
        self.parts.control.is_held()
    }

    /// Lets a machine go on that the debugger has stopped, without the debugger.
    pub(crate) fn release(&self) {
        self.parts.control.release();
    }
}
