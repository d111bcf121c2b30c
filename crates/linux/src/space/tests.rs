//! Tests of the address space.

use super::*;

#[test]
fn addresses_of_the_monitor_are_nowhere() {
    assert_eq!([0, END - 1, END, u64::MAX].map(programs), [0, END - 1, NOWHERE, NOWHERE]);
    let numbers = [0, END, 0x7fff_ffff_f000, NOWHERE, -1i64 as u64].map(programs_or_number);
    assert_eq!(numbers, [0, NOWHERE, NOWHERE, NOWHERE, -1i64 as u64]);
    assert_eq!((programs_range(8, END - 8), programs_range(8, END - 7)), (8, NOWHERE));
    assert_eq!(programs_range(8, u64::MAX), NOWHERE);
}

#[test]
fn only_some_advice_drops() {
    let drops = |advice: i32| madvise_drops(&[0, 0, advice as u64, 0, 0, 0]);
    let kept = [libc::MADV_WILLNEED, libc::MADV_DONTFORK, libc::MADV_NOHUGEPAGE, libc::MADV_KEEPONFORK];
    assert!(!kept.into_iter().any(drops));
    let dropped = [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_REMOVE, libc::MADV_HWPOISON, 102, -1];
    assert!(dropped.into_iter().all(drops));
}

pub(crate) fn page(space: &Space, protection: i32) -> u64 {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32;
    let m = Mapping { at: 0, size: PAGE, protection: protection as u32, flags, fd: -1, offset: 0 };
    space.map(&m).expect("mapped")
}

fn byte(at: u64) -> u8 {
    let mut byte = [0];
    trine_engine::direct::read(at, &mut byte).expect("readable");
    byte[0]
}

/// Held by each test: a process has one address space, and two tests would map over each other.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn debuggers_write_where_programs_may_not() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let space = Space::default();
    let text = page(&space, libc::PROT_READ | libc::PROT_EXEC);
    let data = page(&space, libc::PROT_READ | libc::PROT_WRITE);
    assert!(space.poke(text + 4, &[7]) && space.poke(data, &[8]));
    assert_eq!((byte(text + 4), byte(data)), (7, 8));
    // Across the end of one mapping into the next, whichever comes first.
    let end = text.min(data) + PAGE - 1;
    assert_eq!(space.poke(end, &[9, 10]), text.abs_diff(data) == PAGE);
    // Ranges that are not mapped, mapped in part, or at the end of all addresses.
    assert!(!space.poke(text.min(data) - 1, &[1, 2]) && !space.poke(u64::MAX, &[1, 2]));
    [text, data].iter().for_each(|&at| space.unmap(at, PAGE).expect("unmapped"));
    assert!(!space.poke(text, &[1]));
}

#[test]
fn what_grows_is_known_and_has_room() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let space = Space::default();
    let (protection, flags) = (READ | WRITE, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32);
    let grows = flags | libc::MAP_GROWSDOWN as u32;
    let map = |at, size, flags| space.map(&Mapping { at, size, protection, flags, fd: -1, offset: 0 });
    let stack = map(0, 4 * PAGE, grows).expect("mapped");
    let other = map(0, PAGE, flags).expect("mapped");
    assert!(other + PAGE + GUARD <= stack, "{other:#x} is too close below {stack:#x}");
    // The host keeps the same gap.
    space.unmap(other, PAGE).expect("unmapped");
    trine_engine::direct::write(stack - 5 * PAGE, &[1]).expect("the host lets it grow");
    let view = space.view_at(stack - 5 * PAGE).expect("a mapping");
    assert_eq!((view.start, view.end), (stack - 5 * PAGE, stack + 4 * PAGE));
    assert_eq!((space.fault_code(stack - PAGE), space.fault_code(stack - 6 * PAGE)), (2, 1));
    let taken = map(stack - 2 * PAGE, PAGE, flags | NO_REPLACE);
    assert_eq!(taken, Err(Errno(libc::EEXIST)));
    let other = map(0, PAGE, flags).expect("mapped");
    // From any address in it, everything below is changed.
    let down = READ | libc::PROT_GROWSDOWN as u32;
    space.protect(stack, PAGE, down).expect("protected");
    assert_eq!(space.view_at(stack - 5 * PAGE).map(|v| (v.end, v.protection)), Some((stack + PAGE, READ)));
    assert_eq!(space.protect(other, PAGE, down), Err(Errno(libc::EINVAL)));
    space.unmap(stack - 5 * PAGE, 9 * PAGE).expect("unmapped");
    space.unmap(other, PAGE).expect("unmapped");
    assert!(space.views().is_empty());
}

#[test]
fn gaps_are_aligned() {
    let mut inner = Inner::default();
    let region = |end| Region {
        end,
        protection: READ,
        shared: false,
        file: None,
        offset: 0,
        name: String::new(),
        grows: false,
        align: PAGE,
    };
    let huge = 2 << 20;
    inner.put(inner.top - 5 * PAGE, region(inner.top));
    assert_eq!(inner.place(PAGE, PAGE), Ok(inner.top - 6 * PAGE));
    let below = (inner.top - 5 * PAGE - 1) & !(huge - 1);
    assert_eq!(inner.place(huge, huge), Ok(below - huge));
    let flags = |more: i32| (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | more) as u32;
    let of = |flags| alignment(&Mapping { at: 0, size: 1, protection: 0, flags, fd: -1, offset: 0 });
    assert_eq!(of(flags(0)), (PAGE, true));
    assert_eq!(of(flags(libc::MAP_HUGETLB | libc::MAP_HUGE_1GB)), (1 << 30, true));
}

#[test]
fn stops_are_listed_by_page() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let space = Space::default();
    let text = page(&space, libc::PROT_READ | libc::PROT_EXEC);
    assert!(!space.set_stop(text - 2, true), "nothing is mapped there");
    assert!(space.set_stop(text + 2, true) && space.set_stop(text + 4094, true));
    assert_eq!(Pages::stops(&space, text), [text + 2, text + 4094]);
    assert!(space.set_stop(text + 2, false) && space.is_stop(text + 4094) && !space.is_stop(text + 2));
    space.clear_stops();
    assert!(!space.is_stop(text + 4094) && Pages::stops(&space, text).is_empty());
    space.unmap(text, PAGE).expect("unmapped");
}
