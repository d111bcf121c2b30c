//! Devices behind a router.

use super::*;

/// One device whose window begins at a place that moves.
struct Moving {
    device: DeviceId,
    base: Mutex<u64>,
}

impl Router for Moving {
    fn route(&self, offset: u64, width: Width) -> Option<(DeviceId, u64)> {
        let offset = offset.checked_sub(*lock(&self.base))?;
        (offset + width.bytes() <= 8).then_some((self.device, offset))
    }
}

#[test]
fn a_router_finds_the_device_for_each_access() {
    let (mut bus, ..) = counted();
    let (device, seen) = probe(|_, _| {});
    let device = bus.add_inner(device);
    let router = Arc::new(Moving { device, base: Mutex::new(0x10) });
    for space in [Space::Memory, Space::Ports] {
        bus.add_router(space, 0x1000, 0x100, "bridge", router.clone()).unwrap();
    }
    assert_eq!(bus.read(0x1013, Width::B1), Some(0xff - 3));
    assert_eq!((bus.read(0x1014, Width::B8), bus.read(0x1000, Width::B2)), (Some(!0), Some(0xffff)));
    *lock(&router.base) = 0x80;
    assert_eq!((bus.read(0x1013, Width::B1), bus.read_port(0x1081, Width::B1)), (Some(0xff), Some(0xfe)));
    for (address, value) in [(0x1080, 7), (0x1010, 8)] {
        assert_eq!(bus.write(address, Width::B4, value), Some(()));
    }
    bus.write_port(0x1084, Width::B2, 9).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Write(7), Call::Write(9)]);
    assert_eq!((bus.read(0x10fe, Width::B4), bus.read(0xfff, Width::B1)), (None, None), "outside");
    let error = bus.add(0x1080, 8, probe(|_, _| {}).0).unwrap_err();
    assert!(error.to_string().contains("'bridge'"), "{error}");
}

#[test]
fn a_shared_line_falls_when_the_last_device_lets_go() {
    const LINE: u32 = 3;
    let (mut bus, ..) = counted();
    let (controller, seen) = probe(|_, _| {});
    let controller = bus.add(0, 8, controller).unwrap();
    bus.set_controller(controller);
    let shared = Arc::new(SharedLine::default());
    bus.share_line(LINE, shared.clone());
    for member in 0..2u64 {
        let shared = shared.clone();
        let (device, _) = probe(move |call, out| {
            let level = call == Call::Write(1);
            shared.set(member as u32, level);
            out.irq(LINE, level);
        });
        bus.add(0x100 * (member + 1), 8, device).unwrap();
    }
    let drive = |member: u64, level: u64| {
        bus.write(0x100 * (member + 1), Width::B1, level).unwrap();
        seen.try_iter().map(|call| matches!(call, Call::Input(LINE, true))).collect::<Vec<_>>()
    };
    assert_eq!([drive(0, 1), drive(1, 1)], [[true], [true]], "each rise is an event");
    assert_eq!(drive(0, 0), [], "the other one still asserts it");
    assert_eq!(drive(1, 0), [false]);
    shared.set(64, true);
    assert!(!shared.level());
}

#[test]
fn messages_go_to_their_target() {
    let (mut bus, _, mailbox) = counted();
    let (device, _) = probe(|call, out| {
        if call == Call::Timer {
            out.push(Action::Message { address: 0x2800_0000, data: 5 });
        }
    });
    let device = bus.add(0, 8, device).unwrap();
    bus.request_timer(device);
    bus.run_timers();
    let (target, seen) = probe(|_, out| out.push(Action::Cpu { vcpu: 0, line: CPU_LINE, level: true }));
    let target = bus.add_inner(target);
    bus.set_message_target(target);
    bus.request_timer(device);
    bus.run_timers();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Message(0x2800_0000, 5)]);
    assert!(line(&mailbox));
}
