//! Devices that belong to one vCPU.

use super::*;

fn two_vcpus() -> (Bus, [Arc<Mailbox>; 2]) {
    let mailboxes = [Mailbox::new(), Mailbox::new()].map(Arc::new);
    (Bus::new(Arc::new(CountClock::new(1, 0)), mailboxes.to_vec()), mailboxes)
}

#[test]
fn each_vcpu_sees_its_own_device_at_the_same_address() {
    let (mut bus, mailboxes) = two_vcpus();
    let seen = [0, 1].map(|vcpu: u32| {
        let (device, seen) = probe(move |call, out| {
            if let Call::Write(line) = call {
                out.push(Action::Cpu { vcpu: 1 - vcpu, line: line as u32, level: true });
            }
        });
        bus.add_local(vcpu as usize, 0x1000, 0x10, device).unwrap();
        seen
    });
    let (shared, all) = probe(|_, _| {});
    bus.add(0x1010, 8, shared).unwrap();
    assert_eq!(bus.write_as(0, 0x1000, Width::B4, 3), Some(()));
    assert_eq!(bus.write_as(1, 0x1000, Width::B4, 4), Some(()));
    assert_eq!(bus.write_as(0, 0x1010, Width::B2, 0x1_0005), Some(()));
    assert_eq!(seen.map(|seen| seen.try_iter().collect::<Vec<_>>()), [[Call::Write(3)], [Call::Write(4)]]);
    assert_eq!(all.try_iter().collect::<Vec<_>>(), [Call::Write(5)]);
    assert_eq!(mailboxes.each_ref().map(|m| m.lines.load(Ordering::SeqCst)), [1 << 4, 1 << 3]);
    assert_eq!(
        (bus.read_as(1, 0x1001, Width::B1), bus.read_as(1, 0x1011, Width::B1)),
        (Some(0xfe), Some(0xfe))
    );
    // Who is not a vCPU of this bus sees none of them.
    assert_eq!((bus.read(0x1000, Width::B1), bus.read_as(2, 0x1000, Width::B1)), (None, None));
    assert_eq!(bus.read_as(0, 0x100f, Width::B2), None);
    assert_eq!(mailboxes.each_ref().map(|m| bus.vcpu_of(m)), [Some(0), Some(1)]);
    assert_eq!(bus.vcpu_of(&Arc::new(Mailbox::new())), None);
}

#[test]
fn a_device_of_one_vcpu_hides_none_of_all() {
    let (mut bus, _) = two_vcpus();
    let text = |result: Result<DeviceId, WindowError>| result.map(drop).map_err(|e| e.to_string());
    let device = || probe(|_, _| {}).0;
    bus.add(0, 0x10, device()).unwrap();
    bus.reserve(0x1000, 0x1000, "RAM").unwrap();
    bus.add_local(1, 0x100, 0x10, device()).unwrap();
    let overlap = |at, size: u64, other, taken, end| {
        Err(format!(
            "'probe' at memory {at:#x}-{:#x} overlaps '{other}' at {taken:#x}-{end:#x}",
            at + size - 1
        ))
    };
    assert_eq!(text(bus.add_local(0, 8, 0x10, device())), overlap(8, 0x10, "probe", 0, 0xf));
    assert_eq!(text(bus.add_local(0, 0x1800, 1, device())), overlap(0x1800, 1, "RAM", 0x1000, 0x1fff));
    assert_eq!(text(bus.add_local(1, 0x10f, 2, device())), overlap(0x10f, 2, "probe", 0x100, 0x10f));
    assert_eq!(text(bus.add(0x10f, 2, device())), overlap(0x10f, 2, "probe", 0x100, 0x10f));
    assert_eq!(text(bus.add_local(0, 0x100, 0x10, device())), Ok(()));
    let nobody = "'probe' cannot belong to vCPU 2: the machine has no such vCPU";
    assert_eq!(text(bus.add_local(2, 0x100, 0x10, device())), Err(nobody.into()));
}

#[test]
fn a_vcpu_asks_its_own_controller_first() {
    let (mut bus, _) = two_vcpus();
    assert_eq!(bus.acknowledge(0), None);
    let mut controller = |base, pending: &[u32]| {
        let (mut device, seen) = probe(|_, _| {});
        device.pending = pending.to_vec();
        let id = if base == 0 { bus.add(0, 8, device) } else { bus.add_local(0, base, 8, device) };
        (id.unwrap(), seen)
    };
    let ((all, _), (own, seen)) = (controller(0, &[0x21, 0x20]), controller(0x1000, &[0x80]));
    bus.set_controller(all);
    bus.set_local_controller(0, own);
    assert_eq!([1, 0, 0, 0].map(|vcpu| bus.acknowledge(vcpu)), [Some(0x20), Some(0x80), Some(0x21), None]);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Acknowledge; 3], "vCPU 1 did not ask it");
}

/// Two vCPUs whose controllers interrupt each other by a write of 1, and by way of the board's controller by a
/// write of 2. A controller drives its vCPU's input as its own.
fn telling_each_other() -> (Bus, [Arc<Mailbox>; 2]) {
    let (mut bus, mailboxes) = two_vcpus();
    for vcpu in 0..2 {
        let (device, _) = probe(move |call, out| match call {
            Call::Write(1) => out.push(Action::Local { vcpu: 1 - vcpu, line: 7, level: true }),
            Call::Write(2) => out.irq(1 - vcpu, true),
            Call::Write(3) => out.push(Action::Local { vcpu, line: 7, level: true }),
            Call::Write(_) => out.push(Action::Cpu { vcpu, line: CPU_LINE, level: false }),
            Call::Input(7, level) => out.push(Action::Cpu { vcpu, line: CPU_LINE, level }),
            _ => {}
        });
        let id = bus.add_local(vcpu as usize, 0x1000, 8, device).unwrap();
        bus.set_local_controller(vcpu as usize, id);
    }
    let (board, _) = probe(|call, out| {
        if let Call::Input(vcpu, level) = call {
            out.push(Action::Local { vcpu, line: 7, level });
        }
    });
    let board = bus.add(0, 8, board).unwrap();
    bus.set_controller(board);
    (bus, mailboxes)
}

#[test]
fn controllers_of_vcpus_tell_each_other() {
    let (bus, mailboxes) = telling_each_other();
    let lines = || mailboxes.each_ref().map(|mailbox| line(mailbox));
    for (from, value, expected) in
        [(0, 1, [false, true]), (1, 1, [true, false]), (0, 2, [false, true]), (1, 3, [false, true])]
    {
        bus.write_as(from, 0x1000, Width::B1, value);
        assert_eq!(lines(), expected, "vCPU {from} wrote {value}");
        (0..2).for_each(|vcpu| assert_eq!(bus.write_as(vcpu, 0x1000, Width::B1, 0), Some(())));
        assert_eq!(lines(), [false; 2]);
    }
}

#[test]
fn controllers_that_tell_each_other_at_once_do_not_wait_for_each_other() {
    let (bus, mailboxes) = telling_each_other();
    let (bus, (done, end)) = (Arc::new(bus), channel());
    for vcpu in 0..2 {
        let (bus, done) = (bus.clone(), done.clone());
        std::thread::spawn(move || {
            for round in 0..40_000 {
                bus.write_as(vcpu, 0x1000, Width::B1, 1 + round % 2);
            }
            done.send(vcpu)
        });
    }
    for _ in 0..2 {
        end.recv_timeout(Duration::from_secs(60)).expect("both end");
    }
    assert_eq!(mailboxes.each_ref().map(|mailbox| line(mailbox)), [true; 2]);
}
