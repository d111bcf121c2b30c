//! Running a machine in host time: one thread for each vCPU, and one for the devices' timers.

use super::{Parts, Stretch};
use crate::End;
use std::thread::{Builder, Scope};
use std::time::Duration;
use trine_base::Vcpu;

/// The longest sleep of the thread that runs timers.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs all vCPUs until the machine ends or is interrupted.
pub(super) fn run(parts: &Parts, vcpus: &mut [Box<dyn Vcpu>]) {
    std::thread::scope(|scope| {
        start(scope, parts, "timers".into(), || run_timers(parts));
        for (index, vcpu) in vcpus.iter_mut().enumerate() {
            start(scope, parts, format!("vcpu{index}"), move || run_vcpu(parts, index, &mut **vcpu));
        }
    });
}

/// Starts a thread of the machine; ends the machine where the host cannot create one.
fn start<'a>(scope: &'a Scope<'a, '_>, parts: &Parts, name: String, work: impl FnOnce() + Send + 'a) {
    if let Err(e) = Builder::new().name(name).spawn_scoped(scope, work) {
        parts.control.finish(End::Dead(format!("the host cannot create a thread for the machine: {e}")));
    }
}

fn run_vcpu(parts: &Parts, index: usize, vcpu: &mut dyn Vcpu) {
    let _running = parts.control.enter();
    let budget = parts.firmware.budget();
    while parts.control.goes_on() {
        if parts.debug.holds(index) {
            parts.control.wait_while_going();
            continue;
        }
        match parts.stretch(index, vcpu, budget) {
            Stretch::Go => {}
            Stretch::Rest(deadline) => {
                // Others do not wait for it now, as they do while it runs.
                vcpu.rests();
                let left = deadline.map(|at| at.saturating_sub(parts.clock.now()));
                parts.sleep(index, left.map(Duration::from_nanos));
            }
            Stretch::End(end) => parts.control.finish(end),
        }
    }
}

fn run_timers(parts: &Parts) {
    let _running = parts.control.enter();
    while parts.control.goes_on() {
        parts.bus.run_timers();
        parts.bus.wait_timer(LONGEST, parts.control.attention());
    }
}
