//! What a debugger needs of a program's vCPU: stops, steps, and what a step accessed. In both engines.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use trine_base::{Exit, HostClock, Mailbox, Trap, Vcpu};
use trine_engine::direct::{self, Pages, Touched};
use trine_engine::{Direct, Engine, Tier, Translations};
use trine_ir::Access;
use trine_isa_riscv::{Config, Rv64, Start};

const BREAKPOINT: u64 = 3;

/// One page of code below 2^47, and one stop.
#[derive(Default)]
struct Page {
    stop: AtomicU64,
    fetched: Mutex<Vec<u64>>,
    /// Written over code once, while it is decoded: address and instruction.
    meanwhile: Mutex<Option<(u64, u32)>>,
}

impl Pages for Page {
    fn fetch(&self, page: u64) -> bool {
        self.fetched.lock().expect("no panic").push(page);
        true
    }
    fn may_change(&self, _: u64) -> bool {
        true
    }
    fn stops(&self, page: u64) -> Vec<u64> {
        // Called when the decoder has begun, and has not read any instruction.
        if let Some((at, word)) = self.meanwhile.lock().expect("no panic").take() {
            direct::write(at, &word.to_le_bytes()).expect("written");
        }
        let stop = self.stop.load(Ordering::SeqCst);
        if stop & !0xfff == page { vec![stop] } else { Vec::new() }
    }
}

/// A vCPU at the start of `code`, with `a1` at the code page's second half.
fn vcpu(tier: Tier, code: &[u32]) -> (Engine<Rv64, Direct>, Arc<Page>, u64) {
    let at = common::pages(1);
    common::put(at, code);
    let pages = Arc::new(Page::default());
    let config = Config { hart: 0, start: Start::User };
    let (translations, _) = Translations::new(tier);
    let (clock, mailbox) = (Arc::new(HostClock::new()), Arc::new(Mailbox::new()));
    let mut vcpu = Engine::<Rv64, Direct>::program(config, pages.clone(), clock, mailbox, translations);
    vcpu.set_pc(at);
    vcpu.set(11, at + 2048);
    (vcpu, pages, at)
}

/// `addi a0, a0, 1`, `addi a2, a2, 1`, `j .-8`.
const LOOP: [u32; 3] = [0x0015_0513, 0x0016_0613, 0xff9f_f06f];

#[test]
fn stops_come_before_their_instruction_even_in_hot_code() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let (mut vcpu, pages, at) = vcpu(tier, &LOOP);
        assert_eq!(vcpu.run(3000), Exit::Budget);
        let (a0, a2) = (vcpu.get(10), vcpu.get(12));
        assert_eq!((a0, a2), (1000, 1000));
        pages.stop.store(at + 4, Ordering::SeqCst);
        vcpu.code_owner().code_written(at >> 12);
        let stopped = Exit::Firmware(Trap::fault(BREAKPOINT, at + 4));
        assert_eq!(vcpu.run(3000), stopped);
        assert_eq!((vcpu.pc(), vcpu.get(10), vcpu.get(12)), (at + 4, 1001, 1000));
        assert_eq!(vcpu.run(3000), stopped, "it stays there");
        assert_eq!(vcpu.step_past(), None);
        assert_eq!((vcpu.pc(), vcpu.get(12)), (at + 8, 1001));
        assert_eq!(vcpu.run(3000), stopped);
        pages.stop.store(0, Ordering::SeqCst);
        vcpu.code_owner().code_written(at >> 12);
        assert_eq!(vcpu.run(3000), Exit::Budget);
    }
}

#[test]
fn steps_say_what_they_accessed() {
    // `addi a0, a0, 1`, `sw a0, 4(a1)`, `lbu a2, 4(a1)`, `amoadd.d a3, a0, (a1)`, `ecall`.
    let code = [0x0015_0513, 0x00a5_a223, 0x0045_c603, 0x00a5_b6af, 0x0000_0073];
    for tier in [Tier::Interp, Tier::Baseline] {
        let (mut vcpu, _, at) = vcpu(tier, &code);
        let touched = |access, address, bytes| Touched { access, address, bytes };
        let wanted: [&[Touched]; 4] = [
            &[],
            &[touched(Access::Write, at + 2052, 4)],
            &[touched(Access::Read, at + 2052, 1)],
            &[touched(Access::Read, at + 2048, 8), touched(Access::Write, at + 2048, 8)],
        ];
        for (i, wanted) in wanted.into_iter().enumerate() {
            let mut got = Vec::new();
            assert_eq!(vcpu.step_one(&mut got), None);
            assert_eq!((&got[..], vcpu.pc()), (wanted, at + 4 * (i as u64 + 1)));
        }
        assert_eq!(vcpu.step_one(&mut Vec::new()), Some(Exit::Firmware(Trap::fault(8, 0))));
        assert_eq!(vcpu.get(12), 1);
    }
}

#[test]
fn a_pause_comes_before_a_step() {
    let (mut vcpu, _, at) = vcpu(Tier::Interp, &LOOP);
    vcpu.mailbox().request(Mailbox::PAUSE);
    assert_eq!(vcpu.step_one(&mut Vec::new()), Some(Exit::Paused));
    assert_eq!(vcpu.pc(), at);
    assert_eq!(vcpu.step_one(&mut Vec::new()), None);
    assert_eq!(vcpu.pc(), at + 4);
}

#[test]
fn code_changed_and_changed_back_while_it_is_decoded_is_what_it_was() {
    const ADD_2: u32 = 0x0025_0513;
    // `fence.i`, `addi a0, a0, 1`, `ecall`.
    let code = [0x0000_100f, 0x0015_0513, 0x0000_0073];
    for tier in [Tier::Interp, Tier::Baseline] {
        let (mut vcpu, pages, at) = vcpu(tier, &code);
        *pages.meanwhile.lock().expect("no panic") = Some((at + 4, ADD_2));
        vcpu.set_pc(at + 4);
        assert_eq!(vcpu.run(100), Exit::Firmware(Trap::fault(8, 0)));
        assert!(pages.meanwhile.lock().expect("no panic").is_none(), "nothing was decoded");
        // The written bytes are replaced again: after the fence no trace of them may be left.
        common::put(at + 4, &code[1..2]);
        vcpu.set_pc(at);
        vcpu.set(10, 0);
        assert_eq!(vcpu.run(100), Exit::Firmware(Trap::fault(8, 0)));
        assert_eq!(vcpu.get(10), 1);
    }
}

#[test]
fn a_probe_of_a_program_asks_the_host() {
    let (vcpu, pages, at) = vcpu(Tier::Interp, &LOOP);
    let hart: &dyn trine_ir::Hart = vcpu.core();
    for access in [Access::Read, Access::Write, Access::Execute] {
        assert_eq!(hart.probe(0, access, at + 3, 9), Ok(()), "{access:?}");
    }
    assert_eq!(pages.fetched.lock().expect("no panic").last(), Some(&at));
    let mut code = [0; 12];
    direct::read(at, &mut code).expect("read");
    assert_eq!(code[..4], LOOP[0].to_le_bytes(), "nothing was written");
    // No program has addresses above.
    for (access, cause) in [(Access::Read, 5), (Access::Write, 7)] {
        assert!(hart.probe(0, access, 1 << 40, 1).is_err());
        assert_eq!((vcpu.core().trap.get().cause, vcpu.core().trap.get().value), (cause, 1 << 40));
    }
}
