//! RAM at its ends, at addresses that wrap, and the write guard.

use super::*;

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 4 * PAGE;
const END: u64 = BASE + SIZE;

/// Records what it is told.
#[derive(Default)]
struct Owner(Mutex<Vec<u64>>);

impl CodeOwner for Owner {
    fn code_written(&self, page: u64) {
        self.0.lock().unwrap().push(page);
    }
}

fn ram() -> Ram {
    Ram::new(BASE, SIZE).unwrap()
}

/// Makes a page code.
fn mark(ram: &Ram, address: u64) {
    assert_eq!(ram.become_code(address), Becoming::Mine(0));
    ram.end_becoming(address);
}

/// RAM whose pages are all code, and the owner that is told of writes.
fn guarded() -> (Ram, Arc<Owner>) {
    let (ram, owner) = (ram(), Arc::new(Owner::default()));
    ram.add_code_owner(owner.clone());
    (BASE..END).step_by(PAGE as usize).for_each(|a| mark(&ram, a));
    (ram, owner)
}

/// The pages, counted from the first page of RAM, whose owner is told of a write.
fn told(write: impl FnOnce(&Ram)) -> Vec<u64> {
    let (ram, owner) = guarded();
    write(&ram);
    owner.0.lock().unwrap().iter().map(|page| page - (BASE >> PAGE_BITS)).collect()
}

#[test]
fn sizes_and_places_that_cannot_be_are_refused() {
    let why = |base, size| Ram::new(base, size).map(drop).unwrap_err().to_string();
    assert!(why(BASE, 0).contains("not zero"));
    assert!(why(BASE, PAGE + 1).contains("multiple of 4096"));
    assert!(why(BASE + 8, PAGE).contains("cannot begin at 0x80000008"));
    assert!(matches!(Ram::new(!0xfff, 2 * PAGE), Err(MemoryError::Size(_))));
    // Up to the last page but one of the address space it may lie; more than the host has it may not.
    assert!(Ram::new(u64::MAX - 2 * PAGE + 1, PAGE).is_ok());
    assert!(why(0, 1 << 60).contains("available") || why(0, 1 << 60).contains("refused"));
}

#[test]
fn discarded_pages_are_the_hosts_again() {
    let ram = ram();
    (BASE..END).step_by(8).for_each(|a| ram.store(a, Width::B8, !0).unwrap());
    // Whole pages only: the second one of four. That it contains zeros shows that the host has it, as nobody wrote any.
    ram.discard(BASE + 1, 2 * PAGE).unwrap();
    let bytes = [BASE + PAGE - 8, BASE + PAGE, BASE + 2 * PAGE - 8, BASE + 2 * PAGE];
    assert_eq!(bytes.map(|a| ram.load(a, Width::B8).unwrap()), [!0, 0, 0, !0]);
    ram.discard(BASE + 1, PAGE).unwrap();
    ram.discard(BASE, 0).unwrap();
    for (address, len) in [(BASE - PAGE, 2 * PAGE), (END - PAGE, 2 * PAGE), (u64::MAX, 1), (BASE, u64::MAX)] {
        assert_eq!(ram.discard(address, len), None, "{address:#x} {len:#x}");
    }
    assert_eq!(Ram::none().discard(0, 1), None);
    assert!(
        told(|ram| ram.discard(BASE + PAGE, 2 * PAGE).unwrap()).starts_with(&[1, 2]),
        "code is forgotten"
    );
}

#[test]
fn a_range_is_ram_when_all_of_it_is() {
    let ram = ram();
    let yes = [(BASE, 1), (BASE, SIZE), (END - 1, 1), (END - 8, 8), (BASE + 1, 0), (END - 1, 0)];
    assert!(yes.iter().all(|&(a, n)| ram.contains(a, n)));
    let no = [
        (BASE - 1, 1),
        (BASE - 1, 2),
        (END, 1),
        (END, 0),
        (END - 1, 2),
        (BASE, SIZE + 1),
        (BASE, u64::MAX),
        (BASE + 1, u64::MAX),
        (END - 1, u64::MAX - END + 2),
        (0, u64::MAX),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
    ];
    assert_eq!(no.iter().find(|&&(a, n)| ram.contains(a, n)), None);
    assert!(ram.host_address(BASE - 1).is_none() && ram.host_address(END).is_none());
    let (first, last) = (ram.host_address(BASE).unwrap(), ram.host_address(END - 1).unwrap());
    assert_eq!(last - first, SIZE as usize - 1);
}

#[test]
fn no_ram_is_nowhere() {
    let none = Ram::none();
    assert!([0, 1, BASE, u64::MAX].iter().all(|&a| !none.contains(a, 0) && !none.contains(a, 1)));
    assert_eq!((none.load(0, Width::B1), none.store(0, Width::B8, 1)), (None, None));
    assert_eq!((none.read(0, &mut []), none.write(0, &[])), (None, None));
    assert!(!none.is_code(0));
    none.guard(0, u64::MAX);
}

#[test]
fn values_at_the_ends() {
    let ram = ram();
    for (width, n) in [(Width::B1, 1), (Width::B2, 2), (Width::B4, 4), (Width::B8, 8)] {
        let mask = u64::MAX >> (64 - 8 * n);
        for address in [BASE, END - n, BASE + PAGE - n] {
            assert_eq!(ram.store(address, width, 0x8877_6655_4433_2211), Some(()));
            assert_eq!(ram.load(address, width), Some(0x8877_6655_4433_2211 & mask), "{address:#x}");
        }
        for address in [BASE - 1, END - n + 1, END, 0, u64::MAX, u64::MAX - n + 1] {
            assert_eq!(
                (ram.load(address, width), ram.store(address, width, 1)),
                (None, None),
                "{address:#x}"
            );
        }
    }
    // Over a page's end, not aligned: little-endian, and nothing beside it.
    ram.write(BASE, &[0xee; SIZE as usize]).unwrap();
    let at = BASE + PAGE - 3;
    ram.store(at, Width::B8, 0x0807_0605_0403_0201).unwrap();
    let mut bytes = [0; 10];
    ram.read(at - 1, &mut bytes).unwrap();
    assert_eq!(bytes, [0xee, 1, 2, 3, 4, 5, 6, 7, 8, 0xee]);
    assert_eq!(ram.load(at, Width::B8), Some(0x0807_0605_0403_0201));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let ram = ram();
    let mut buffer = [7; 16];
    for address in [END - 15, BASE - 1, END, u64::MAX - 3] {
        assert_eq!((ram.write(address, &[1; 16]), ram.read(address, &mut buffer)), (None, None));
    }
    assert_eq!(buffer, [7; 16]);
    let mut all = vec![1; SIZE as usize];
    ram.read(BASE, &mut all).unwrap();
    assert!(all.iter().all(|&b| b == 0));
    assert_eq!(ram.write(BASE, &vec![0; SIZE as usize + 1]), None);
}

#[test]
fn exchanges_are_of_aligned_words() {
    let ram = ram();
    ram.store(END - 8, Width::B8, 5).unwrap();
    assert_eq!(ram.compare_exchange(END - 8, Width::B8, 4, 9), Some(5));
    assert_eq!(ram.load(END - 8, Width::B8), Some(5));
    assert_eq!(ram.compare_exchange(END - 8, Width::B8, 5, u64::MAX), Some(5));
    assert_eq!(ram.compare_exchange(END - 4, Width::B4, 0xffff_ffff, 1), Some(0xffff_ffff));
    assert_eq!(ram.load(END - 8, Width::B8), Some(0x1_ffff_ffff));
    assert_eq!(ram.compare_exchange(END - 6, Width::B2, 0xffff, 0x1234), Some(0xffff));
    assert_eq!(ram.compare_exchange(END - 5, Width::B1, 0x12, 0xab), Some(0x12));
    assert_eq!(ram.compare_exchange(END - 5, Width::B1, 0x12, 0), Some(0xab), "it is another one");
    assert_eq!(ram.load(END - 8, Width::B8), Some(0x1_ab34_ffff));
    for (address, width) in [
        (END - 7, Width::B8),
        (END - 4, Width::B8),
        (BASE + 2, Width::B4),
        (END, Width::B4),
        (BASE - 4, Width::B4),
        (BASE + 1, Width::B2),
        (END, Width::B1),
    ] {
        assert_eq!(ram.compare_exchange(address, width, 0, 1), None, "{address:#x}");
    }
}

#[test]
fn every_way_to_write_passes_the_guard() {
    assert_eq!(told(|ram| ram.store(BASE + PAGE, Width::B8, 1).unwrap()), [1]);
    assert_eq!(told(|ram| ram.store(BASE + PAGE - 1, Width::B2, 1).unwrap()), [0, 1]);
    assert_eq!(told(|ram| ram.write(BASE + 5, &[0; PAGE as usize]).unwrap()), [0, 1]);
    assert_eq!(told(|ram| assert_eq!(ram.compare_exchange(END - 8, Width::B8, 1, 2), Some(0))), [3]);
    assert_eq!(told(|ram| assert_eq!(ram.load(BASE, Width::B8), Some(0))), []);
    // Told once: a page that is written is not code any more.
    assert_eq!(told(|ram| (0..9).for_each(|n| ram.store(BASE + n, Width::B1, 1).unwrap())), [0]);
    // What is refused is not written.
    assert_eq!(told(|ram| assert_eq!(ram.write(END - 4, &[0; 8]), None)), []);
    let (ram, _) = guarded();
    assert!(ram.is_code(BASE) && ram.is_code(END - 1) && !ram.is_code(END) && !ram.is_code(BASE - 1));
    ram.store(BASE + 9, Width::B1, 0).unwrap();
    assert!(!ram.is_code(BASE) && ram.is_code(BASE + PAGE));
}

/// Translates again, on a thread of its own, as soon as the page that was written is data.
struct Eager {
    ram: std::sync::Weak<Ram>,
    times: AtomicU64,
    again: Mutex<Option<std::thread::JoinHandle<u64>>>,
}

fn translate(ram: &Ram) -> u64 {
    mark(ram, BASE);
    assert!(ram.is_settled(BASE));
    ram.load(BASE, Width::B8).unwrap()
}

impl CodeOwner for Eager {
    fn code_written(&self, _: u64) {
        if self.times.fetch_add(1, Ordering::SeqCst) != 0 {
            return;
        }
        let ram = self.ram.upgrade().unwrap();
        let again = std::thread::spawn(move || {
            while ram.is_code(BASE) {
                std::hint::spin_loop();
            }
            translate(&ram)
        });
        *self.again.lock().unwrap() = Some(again);
    }
}

#[test]
fn a_page_translated_between_guard_and_write_is_told_of_again() {
    let writes: [fn(&Ram); 3] = [
        |ram| ram.store(BASE, Width::B8, 1).unwrap(),
        |ram| ram.write(BASE, &[1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap(),
        |ram| assert_eq!(ram.compare_exchange(BASE, Width::B8, 0, 1), Some(0)),
    ];
    for write in writes.into_iter().cycle().take(300) {
        let ram = Arc::new(ram());
        let (times, again) = (AtomicU64::new(0), Mutex::default());
        let owner = Arc::new(Eager { ram: Arc::downgrade(&ram), times, again });
        ram.add_code_owner(owner.clone());
        translate(&ram);
        write(&ram);
        let again = owner.again.lock().unwrap().take().expect("it was told once");
        let (seen, times) = (again.join().unwrap(), owner.times.load(Ordering::SeqCst));
        assert!(seen == 1 || times == 2, "old bytes were translated, and nobody was told of the new ones");
        assert!(ram.is_code(BASE) == (times == 1));
    }
}

#[test]
fn the_guard_takes_any_range() {
    assert_eq!(told(|ram| ram.guard(BASE, SIZE)), [0, 1, 2, 3]);
    assert_eq!(told(|ram| ram.guard(BASE + PAGE, 1)), [1]);
    assert_eq!(told(|ram| ram.guard(BASE + PAGE - 1, 2)), [0, 1]);
    assert_eq!(told(|ram| ram.guard(BASE + 1, 0)), []);
    // One that begins below RAM, ends behind it, or wraps: what of it is RAM.
    assert_eq!(told(|ram| ram.guard(BASE - 1, 2)), [0]);
    assert_eq!(told(|ram| ram.guard(0, BASE + PAGE + 1)), [0, 1]);
    assert_eq!(told(|ram| ram.guard(END - 1, u64::MAX)), [3]);
    assert_eq!(told(|ram| ram.guard(0, u64::MAX)), [0, 1, 2, 3]);
    assert_eq!(told(|ram| ram.guard(BASE - 1, 1)), []);
    assert_eq!(told(|ram| ram.guard(END, u64::MAX)), []);
    assert_eq!(told(|ram| ram.guard(u64::MAX, u64::MAX)), []);
}

#[test]
fn owners_are_told_of_a_write_before_the_page_is_data() {
    let ram = Arc::new(ram());
    struct Looks(std::sync::Weak<Ram>, Mutex<Vec<bool>>);
    impl CodeOwner for Looks {
        fn code_written(&self, _: u64) {
            let ram = self.0.upgrade().unwrap();
            self.1
                .lock()
                .unwrap()
                .push(ram.is_code(BASE) && !ram.is_settled(BASE) && !ram.may_write(BASE, 1));
            assert_eq!(ram.become_code(BASE), Becoming::Theirs);
        }
    }
    let owner = Arc::new(Looks(Arc::downgrade(&ram), Mutex::default()));
    ram.add_code_owner(owner.clone());
    mark(&ram, BASE);
    ram.store(BASE, Width::B1, 1).unwrap();
    assert_eq!(*owner.1.lock().unwrap(), [true]);
    assert!(!ram.is_code(BASE));
}

#[test]
fn a_page_becomes_code_once_and_those_that_may_write_there_are_named() {
    let ram = ram();
    assert!(ram.may_write(BASE + 8, 1) && ram.may_write(BASE + PAGE - 1, 4) && ram.may_write(BASE + PAGE, 2));
    assert_eq!(ram.become_code(BASE + 100), Becoming::Mine(5));
    assert!(!ram.is_settled(BASE) && !ram.may_write(BASE, 8), "not while it becomes code");
    assert_eq!(ram.become_code(BASE), Becoming::Theirs);
    ram.end_becoming(BASE);
    assert!(ram.is_settled(BASE) && !ram.may_write(BASE, 1));
    assert_eq!(ram.become_code(BASE), Becoming::Done);
    // Written, it is data again; who asked to write there meanwhile was noted.
    ram.store(BASE, Width::B1, 1).unwrap();
    assert!(ram.may_write(BASE, 2));
    assert_eq!(ram.become_code(BASE), Becoming::Mine(1 | 2 | 8));
    // A write does not take from a thread what it has begun: who reads the page afterwards sees what was written.
    ram.write(BASE, &[1]).unwrap();
    assert_eq!((ram.become_code(BASE), ram.is_settled(BASE)), (Becoming::Theirs, false));
    ram.end_becoming(BASE);
    assert!(ram.is_settled(BASE));
    assert_eq!((ram.become_code(END), Ram::none().become_code(0)), (Becoming::Done, Becoming::Done));
    assert!(ram.is_settled(END) && !ram.may_write(END, 1));
}

#[test]
fn buffers_of_all_lengths_are_copied_from_and_to_any_address() {
    let ram = ram();
    for len in (0..40).chain([127, 128, 129, 135, 136, 1000, 4096, 5000]) {
        for at in BASE + 4096 - 9..BASE + 4096 + 9 {
            let bytes: Vec<u8> = (0..len).map(|n| (n as u64 * 7 + at) as u8 | 1).collect();
            ram.write(at - 8, &vec![0; len + 16]).unwrap();
            ram.write(at, &bytes).unwrap();
            let mut around = vec![9; len + 16];
            ram.read(at - 8, &mut around).unwrap();
            assert_eq!(
                (&around[..8], &around[len + 8..]),
                (&[0; 8][..], &[0; 8][..]),
                "{len} bytes at {at:#x}"
            );
            assert_eq!(around[8..len + 8], bytes, "{len} bytes at {at:#x}");
        }
    }
    assert!(ram.write(END - 500, &[0; 501]).is_none() && ram.read(END - 500, &mut [0; 501]).is_none());
}
