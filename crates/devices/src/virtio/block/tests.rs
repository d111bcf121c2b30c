//! A disk and its driver.

use super::request::{
    PIECE, S_IOERR, S_OK, S_UNSUPP, T_DISCARD, T_FLUSH, T_GET_ID, T_IN, T_OUT, T_WRITE_ZEROES,
};
use super::*;
use crate::virtio::tests::{BASE, DATA, Driver, QUEUE, SIZE};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use trine_base::{Actions, BlockError, Bus, CountClock, Device, StateError, Width};

const SECTORS: u64 = 16;
const AT: u64 = DATA;
const BODY: u64 = DATA + 0x1000;
const STATUS: u64 = DATA + 0x800;

/// A disk that records its requests; behind its stored bytes it reads as zeros.
#[derive(Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    log: Arc<Mutex<Vec<String>>>,
    size: u64,
    read_only: bool,
    /// Whether each read adds 1 to the first byte.
    counts: bool,
}

impl Disk {
    fn new(size: u64) -> Disk {
        let bytes = (0..SECTORS * SECTOR).map(|i| (i / SECTOR) as u8).collect();
        let (bytes, log) = (Arc::new(Mutex::new(bytes)), Arc::default());
        Disk { bytes, log, size, read_only: false, counts: false }
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl BlockBackend for Disk {
    fn size(&self) -> u64 {
        self.size
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let mut log = self.log.lock().unwrap();
        log.push(format!("read {offset} {}", buf.len()));
        assert!(log.len() < 10_000, "without end");
        let mut bytes = self.bytes.lock().unwrap();
        buf.fill(0);
        if let Some(from) = bytes.get(offset as usize..) {
            let n = from.len().min(buf.len());
            buf[..n].copy_from_slice(&from[..n]);
        }
        bytes[0] = bytes[0].wrapping_add(self.counts as u8);
        Ok(())
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        self.log.lock().unwrap().push(format!("write {offset} {}", buf.len()));
        if let Some(to) = self.bytes.lock().unwrap().get_mut(offset as usize..) {
            let n = to.len().min(buf.len());
            to[..n].copy_from_slice(&buf[..n]);
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        self.log.lock().unwrap().push("flush".into());
        Ok(())
    }
    fn format(&self) -> &'static str {
        "test"
    }
    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.log.lock().unwrap().push(format!("discard {offset} {len}"));
        Ok(())
    }
    fn write_zeroes(&self, offset: u64, len: u64, may_unmap: bool) -> Result<(), BlockError> {
        self.log.lock().unwrap().push(format!("zero {offset} {len} {may_unmap}"));
        Ok(())
    }
}

fn test(disk: Disk) -> Driver {
    Driver::new(Block::new(Arc::new(disk), "serial-number-that-is-long"))
}

fn header(d: &Driver, kind: u32, sector: u64) {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    d.ram.write(AT, &header).unwrap();
    d.ram.write(STATUS, &[0xee]).unwrap();
}

/// Makes a request and returns its status.
fn request(d: &mut Driver, kind: u32, sector: u64, out: &[(u64, u32)], into: &[(u64, u32)]) -> u8 {
    header(d, kind, sector);
    let readable = [&[(AT, 16)], out].concat();
    let writable = [into, &[(STATUS, 1)]].concat();
    d.request(0, &readable, &writable);
    d.bytes(STATUS, 1)[0]
}

#[test]
fn sectors_are_read_and_written() {
    let disk = Disk::new(SECTORS * SECTOR);
    let mut d = test(disk.clone());
    assert_eq!(request(&mut d, T_IN, 3, &[], &[(BODY, 512), (BODY + 4096, 512)]), S_OK);
    assert_eq!((d.bytes(BODY, 1), d.bytes(BODY + 4096 + 511, 1)), (vec![3], vec![4]));
    assert_eq!(d.last_used(0), (0, 1025));
    assert_eq!(request(&mut d, T_OUT, 15, &[(BODY, 512)], &[]), S_OK);
    assert_eq!((disk.bytes.lock().unwrap()[15 * 512], d.last_used(0)), (3, (0, 1)));
    assert_eq!(request(&mut d, T_FLUSH, 0, &[], &[]), S_OK);
    assert_eq!(disk.log(), ["read 1536 1024", "write 7680 512", "flush", "flush"]);
    assert_eq!(request(&mut d, T_GET_ID, 0, &[], &[(BODY, 20)]), S_OK);
    assert_eq!(d.bytes(BODY, 20), b"serial-number-that-i");
    assert_eq!(request(&mut d, 99, 0, &[], &[]), S_UNSUPP);
}

#[test]
fn a_request_may_have_as_many_buffers_as_a_queue_has_room_for() {
    let mut d = test(Disk::new(1 << 20));
    d.write(0x14, 0);
    assert_eq!(d.read(0x10) & feature::SEG_MAX, feature::SEG_MAX);
    assert_eq!(d.read(0x100 + 12), 254);
    // As many buffers as the largest queue has; this driver's queue is smaller, so they lie in an
    // indirect table.
    header(&d, T_IN, 0);
    let (table, count) = (BASE + 0x8000, MAX_SIZE);
    d.describe(table, 0, (AT, 16), 1, 1);
    for i in 1..count - 1 {
        d.describe(table, i, (BODY + 512 * i as u64, 512), 3, i + 1);
    }
    d.describe(table, count - 1, (STATUS, 1), 2, 0);
    d.describe(Driver::rings(0)[0], 0, (table, count as u32 * 16), 4, 0);
    d.offer(0, 0, 1);
    d.notify(0);
    assert_eq!((d.bytes(STATUS, 1)[0], d.last_used(0)), (S_OK, (0, 254 * 512 + 1)));
    assert_eq!(d.bytes(BODY + 512 * 4, 1), [3], "the fourth buffer has the fourth sector");
}

#[test]
fn what_does_not_lie_on_the_disk_is_refused() {
    let disk = Disk::new(SECTORS * SECTOR);
    let mut d = test(disk.clone());
    for sector in [SECTORS, SECTORS - 1, 1 << 55, u64::MAX / 512, u64::MAX] {
        assert_eq!(request(&mut d, T_IN, sector, &[], &[(BODY, 1024)]), S_IOERR, "{sector}");
        assert_eq!(request(&mut d, T_OUT, sector, &[(BODY, 1024)], &[]), S_IOERR, "{sector}");
    }
    assert_eq!(request(&mut d, T_IN, 0, &[], &[(BODY, 511)]), S_IOERR, "part of a sector");
    assert_eq!(disk.log(), [""; 0]);
}

#[test]
fn a_read_only_disk_says_so_and_refuses() {
    let mut disk = Disk::new(SECTORS * SECTOR);
    disk.read_only = true;
    let mut d = test(disk);
    d.write(0x14, 0);
    assert_eq!(d.read(0x10) & feature::RO, feature::RO);
    assert_eq!(request(&mut d, T_OUT, 0, &[(BODY, 512)], &[]), S_IOERR);
}

#[test]
fn requests_without_a_header_or_a_status() {
    let disk = Disk::new(SECTORS * SECTOR);
    let mut d = test(disk.clone());
    header(&d, T_IN, 0);
    d.request(0, &[(AT, 15)], &[(BODY, 512), (STATUS, 1)]);
    assert_eq!(d.bytes(STATUS, 1), [S_IOERR]);
    d.request(0, &[(AT, 16), (BODY, 512)], &[]);
    assert!(d.needs_reset(), "nowhere to say how it went");
    assert_eq!(disk.log(), [""; 0]);
}

#[test]
fn a_large_request_takes_several_turns() {
    let len = 12u64 << 20;
    let disk = Disk::new(1 << 40);
    let mut d = test(disk.clone());
    assert_eq!(request(&mut d, T_IN, 1, &[], &[(BODY, len as u32)]), 0xee, "not finished yet");
    assert_eq!((disk.log().len() * PIECE, d.used(0)), (4 << 20, 0));
    // Other requests that came meanwhile wait until it is done.
    assert!(d.turn());
    assert_eq!((d.used(0), d.bytes(STATUS, 1)), (0, vec![0xee]));
    assert!(d.turn());
    assert_eq!((d.used(0), d.bytes(STATUS, 1), d.last_used(0)), (1, vec![S_OK], (0, len as u32 + 1)));
    assert_eq!(
        disk.log().last().map(String::as_str),
        Some(format!("read {} {PIECE}", len - PIECE as u64 + 512).as_str())
    );
    assert!(!d.turn(), "nothing is left to do");
    assert_eq!(d.bytes(BODY, 1), [1]);
    // The same to the disk, and a driver that changes its mind in the middle.
    assert_eq!(request(&mut d, T_OUT, 0, &[(BODY, len as u32)], &[]), 0xee);
    header(&d, T_OUT, u64::MAX);
    assert!(d.turn());
    assert_eq!(d.bytes(STATUS, 1), [S_IOERR]);
}

#[test]
fn a_chain_over_its_own_ring_ends_the_turn() {
    // The disk's first byte counts reads, and is read into the index of the available ring.
    let mut disk = Disk::new(SECTORS * SECTOR);
    disk.counts = true;
    disk.bytes.lock().unwrap().fill(0);
    disk.bytes.lock().unwrap()[0] = 2;
    let mut d = test(disk.clone());
    let [_, available, _] = Driver::rings(0);
    // The rest of the sector lies behind the ring; all entries name the first chain.
    request(&mut d, T_IN, 0, &[], &[(available + 2, 512)]);
    assert_eq!(disk.log().len(), QUEUE as usize);
    assert!(d.turn());
    assert_eq!(disk.log().len(), QUEUE as usize);
    assert!(!d.needs_reset());
}

#[test]
fn a_disk_larger_than_a_length_can_say() {
    // 17 buffers of nearly all memory are more than 2³² bytes only with an indirect table; one turn at a time.
    let disk = Disk::new(1 << 50);
    let mut d = test(disk.clone());
    header(&d, T_IN, 0);
    let table = BASE + 0x8000;
    let count = 600u16;
    d.describe(table, 0, (AT, 16), 1, 1);
    for i in 1..count {
        d.describe(table, i, (DATA + 0x2000, (8 << 20) as u32), 3, i + 1);
    }
    d.describe(table, count, (STATUS, 1), 2, 0);
    d.describe(Driver::rings(0)[0], 0, (table, (count as u32 + 1) * 16), 4, 0);
    d.offer(0, 0, 1);
    d.notify(0);
    assert_eq!(disk.log().len() * PIECE, 4 << 20);
    assert!(d.turn() && d.used(0) == 0);
    assert!(d.bytes(BASE + SIZE - 1, 1) == [0], "memory behind it is untouched");
}

/// A range of a request: sector, sectors, flags.
type Asked = (u64, u32, u32);

/// Stores ranges as data of a request.
fn ranges(d: &Driver, ranges: &[Asked]) -> [(u64, u32); 1] {
    for (&(sector, sectors, flags), at) in ranges.iter().zip((BODY..).step_by(16)) {
        d.ram.write(at, &sector.to_le_bytes()).unwrap();
        d.ram.write(at + 8, &(sectors as u64 | (flags as u64) << 32).to_le_bytes()).unwrap();
    }
    [(BODY, 16 * ranges.len() as u32)]
}

#[test]
fn ranges_are_discarded_and_become_zero() {
    let disk = Disk::new(4 << 30);
    let mut d = Driver::with_features(Block::new(Arc::new(disk.clone()), "x"), feature::FLUSH);
    let mut ask = |kind, list: &[Asked]| {
        let data = ranges(&d, list);
        let status = request(&mut d, kind, 0, &data, &[]);
        while d.turn() {}
        (status, disk.log())
    };
    let (mib, end) = (2048, (4u64 << 30) / SECTOR);
    assert_eq!(
        ask(T_DISCARD, &[(8, 16, 0), (end - 1, 1, 0)]).1,
        ["discard 4096 8192", "discard 4294966784 512"]
    );
    // A range is cut where large pieces begin, whatever it begins with.
    let (status, log) = ask(T_WRITE_ZEROES, &[(1, 70 * mib, 1)]);
    let pieces = [(512, (32 << 20) - 512), (32 << 20, 32 << 20), (64 << 20, (6 << 20) + 512)];
    assert_eq!((status, log), (0xee, pieces.map(|(at, len)| format!("zero {at} {len} true")).to_vec()));
    assert_eq!(ask(T_WRITE_ZEROES, &[(0, 8, 0)]), (S_OK, vec!["zero 0 4096 false".into()]));
    let refused: [(u32, &[Asked], u8); 8] = [
        (T_DISCARD, &[], S_IOERR),
        (T_DISCARD, &[(0, 8, 1)], S_UNSUPP),
        (T_WRITE_ZEROES, &[(0, 8, 2)], S_UNSUPP),
        (T_DISCARD, &[(0, 8, 0), (end, 1, 0)], S_IOERR),
        (T_WRITE_ZEROES, &[(u64::MAX, 1, 0)], S_IOERR),
        (T_WRITE_ZEROES, &[(u64::MAX / 512, u32::MAX, 0)], S_IOERR),
        (T_DISCARD, &[(0, MOST_SECTORS + 1, 0)], S_IOERR),
        (T_DISCARD, &[(0, 1, 0); MOST_RANGES as usize + 1], S_IOERR),
    ];
    for (kind, list, status) in refused {
        assert_eq!(ask(kind, list), (status, vec![]), "{kind} {list:?}");
    }
}

#[test]
fn a_driver_that_knows_no_flush_has_its_writes_flushed() {
    let disk = Disk::new(SECTORS * SECTOR);
    for (features, log) in [(0, vec!["write 0 512", "flush"]), (feature::FLUSH, vec!["write 0 512"])] {
        let mut d = Driver::with_features(Block::new(Arc::new(disk.clone()), "x"), features);
        assert_eq!(request(&mut d, T_OUT, 0, &[(BODY, 512)], &[]), S_OK);
        assert_eq!(disk.log(), log);
    }
}

#[test]
fn what_the_configuration_says() {
    let device = Block::new(Arc::new(Disk::new(1 << 30)), "x").with_queues(3);
    let mut d = Driver::new(device);
    d.write(0x14, 0);
    let wanted = feature::MQ | feature::DISCARD | feature::WRITE_ZEROES | feature::TOPOLOGY | feature::FLUSH;
    assert_eq!(d.read(0x10) & wanted, wanted);
    let fields = [0, 4, 20, 36, 40, 44, 48, 52, 60].map(|at| d.read(0x100 + at));
    assert_eq!(fields, [1 << 21, 0, 512, 1 << 21, 64, 1, 1 << 21, 64, 0]);
    assert_eq!((d.read(0x100 + 32) >> 16, d.read(0x100 + 56) & 0xff), (3, 1));
    assert_eq!(Block::new(Arc::new(Disk::new(512)), "x").with_queues(100).queues(), MOST_QUEUES);
}

/// A disk whose requests say that they have begun, and end when they are told how.
struct Slow {
    begun: Mutex<Sender<String>>,
    end: Mutex<Receiver<bool>>,
}

impl Slow {
    fn request(&self, what: String) -> Result<(), BlockError> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).send(what).unwrap();
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match end {
            Ok(true) => Ok(()),
            Ok(false) => Err(BlockError::ReadOnly),
            Err(_) => panic!("this panic is a part of the test"),
        }
    }
}

impl BlockBackend for Slow {
    fn size(&self) -> u64 {
        1 << 30
    }
    fn read_only(&self) -> bool {
        false
    }
    fn format(&self) -> &'static str {
        "test"
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        buf.fill(7);
        self.request(format!("read {offset}"))
    }
    fn write_at(&self, offset: u64, _: &[u8]) -> Result<(), BlockError> {
        self.request(format!("write {offset}"))
    }
    fn flush(&self) -> Result<(), BlockError> {
        self.request("flush".into())
    }
    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Ok(())
    }
}

/// A driver of a slow disk that has workers: what its requests say, and how they are told to end.
fn slow(queues: usize) -> (Driver, Receiver<String>, Sender<bool>) {
    let ((begun, seen), (tell, end)) = (channel(), channel());
    let (ram, workers) = (Driver::ram(), Arc::new(Workers::new("test", 4)));
    let disk = Slow { begun: Mutex::new(begun), end: Mutex::new(end) };
    let device = Block::new(Arc::new(disk), "x").with_queues(queues).with_workers(workers, ram.clone());
    (Driver::with_ram(ram, device, feature::FLUSH), seen, tell)
}

/// Offers a request of `len` bytes at its own place `n` of a queue, and notifies.
fn offer(d: &mut Driver, queue: u64, n: u16, kind: u32, sector: u64, len: u32) {
    let at = AT + 0x100 * n as u64;
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    d.ram.write(at, &header).unwrap();
    d.ram.write(at + 0x80, &[0xee]).unwrap();
    let (table, first) = (Driver::rings(queue)[0], 3 * n);
    let data = if kind == T_IN { 2 } else { 0 };
    d.describe(table, first, (at, 16), 1, first + 1);
    d.describe(table, first + 1, (BODY + 0x1_0000 * n as u64, len), 1 | data, first + 2);
    d.describe(table, first + 2, (at + 0x80, 1), 2, 0);
    d.offer(queue as usize, first, 1);
    d.notify(queue);
}

fn status(d: &Driver, n: u64) -> u8 {
    d.bytes(AT + 0x100 * n + 0x80, 1)[0]
}

/// Wakes the device until so many chains were returned.
fn wait(d: &mut Driver, queue: usize, used: u16) {
    let start = std::time::Instant::now();
    while d.used(queue) != used {
        assert!(start.elapsed().as_secs() < 20, "{} of {used}", d.used(queue));
        std::thread::sleep(std::time::Duration::from_millis(1));
        d.wake();
    }
}

#[test]
fn several_requests_at_once_are_returned_as_they_finish() {
    let (mut d, seen, tell) = slow(2);
    offer(&mut d, 0, 0, T_IN, 0, 512);
    offer(&mut d, 0, 1, T_IN, 1, 512);
    offer(&mut d, 1, 2 - 1, T_OUT, 2, 512);
    let mut begun: Vec<String> = seen.iter().take(3).collect();
    begun.sort();
    assert_eq!(begun, ["read 0", "read 512", "write 1024"]);
    d.wake();
    assert_eq!((d.used(0), d.used(1), d.line.len()), (0, 0, 0), "the vCPU went on, and nothing is finished");
    (0..3).for_each(|_| tell.send(true).unwrap());
    wait(&mut d, 0, 2);
    wait(&mut d, 1, 1);
    assert!(d.line.contains(&true));
    assert_eq!((status(&d, 0), status(&d, 1), d.bytes(BODY, 2)), (S_OK, S_OK, vec![7, 7]));
    offer(&mut d, 0, 0, T_IN, 5, 512);
    tell.send(false).unwrap();
    wait(&mut d, 0, 3);
    assert_eq!(status(&d, 0), S_IOERR);
}

/// Tells when it is woken.
struct Told(Sender<()>);

impl Device for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn read(&mut self, _: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        0
    }
    fn write(&mut self, _: u64, _: Width, _: u64, _: u64, _: &mut Actions) {}
    fn timer(&mut self, _: u64, _: &mut Actions) {
        self.0.send(()).unwrap();
    }
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

#[test]
fn a_backend_that_panics_fails_its_request() {
    let (ram, workers) = (Driver::ram(), Arc::new(Workers::new("test", 1)));
    // Nobody has the other end of its channels.
    let disk = Slow { begun: Mutex::new(channel().0), end: Mutex::new(channel().1) };
    let device = Block::new(Arc::new(disk), "x").with_queues(1).with_workers(workers, ram.clone());
    // Whatever is on the bus is told what the device's waker asks for.
    let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
    let (tell, woken) = channel();
    let id = bus.add(0, 8, Box::new(Told(tell))).unwrap();
    let bus = Arc::new(bus);
    device.waker().connect(&bus, id);
    bus.run_timers();
    woken.try_recv().expect("as it is connected");
    let mut d = Driver::with_ram(ram, device, feature::FLUSH);
    offer(&mut d, 0, 0, T_OUT, 0, 512);
    let start = std::time::Instant::now();
    while woken.try_recv().is_err() {
        assert!(start.elapsed().as_secs() < 20, "the device is woken");
        bus.run_timers();
    }
    d.wake();
    assert_eq!(d.used(0), 1);
    assert_eq!(status(&d, 0), S_IOERR);
    d.quiesce();
}

/// More requests than threads, of which one has several pieces.
#[test]
fn a_pause_returns_what_is_finished_and_the_rest_is_done_again() {
    let (mut d, seen, tell) = slow(1);
    offer(&mut d, 0, 0, T_IN, 0, 512);
    offer(&mut d, 0, 1, T_IN, 1000, 3 * PIECE as u32);
    assert_eq!(seen.iter().take(2).count(), 2);
    // Both go on only after the pause has begun to wait for them.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            (0..2).for_each(|_| tell.send(true).unwrap());
        });
        d.quiesce();
    });
    assert_eq!((d.used(0), d.last_used(0), status(&d, 0), status(&d, 1)), (1, (0, 513), S_OK, 0xee));
    assert!(seen.try_recv().is_err(), "nothing is begun in a pause");
    d.quiesce();
    // The state that is saved now has the second request in it, and so has another machine.
    let state = d.mmio.save();
    let mut bytes = vec![0; 2 << 20];
    d.ram.read(BASE, &mut bytes).unwrap();
    let (mut other, others, goes) = slow(1);
    other.ram.write(BASE, &bytes).unwrap();
    other.mmio.load(&state).unwrap();
    for (d, seen, tell) in [(&mut d, &seen, &tell), (&mut other, &others, &goes)] {
        (0..3).for_each(|_| tell.send(true).unwrap());
        wait(d, 0, 2);
        let pieces: Vec<String> = seen.try_iter().collect();
        assert_eq!(pieces, [0, 1, 2].map(|n| format!("read {}", 512_000 + n * PIECE)));
        assert_eq!((d.last_used(0), status(d, 1)), ((3, 3 * PIECE as u32 + 1), S_OK));
    }
}

/// A request that is under way when the rings turn out to be broken.
#[test]
fn a_broken_queue_is_quiet_in_a_pause() {
    let (mut d, seen, tell) = slow(1);
    offer(&mut d, 0, 0, T_OUT, 0, 512);
    assert_eq!(seen.recv().unwrap(), "write 0");
    // The chain that is in flight is offered once more.
    d.offer(0, 0, 1);
    d.notify(0);
    assert!(d.needs_reset());
    tell.send(true).unwrap();
    d.quiesce();
    d.wake();
    assert_eq!((d.used(0), status(&d, 0)), (0, 0xee));
    d.write(0x70, 0);
}

#[test]
fn a_reset_waits_for_what_is_under_way_and_forgets_it() {
    let (mut d, seen, tell) = slow(1);
    offer(&mut d, 0, 0, T_OUT, 0, 512);
    offer(&mut d, 0, 1, T_IN, 8, 512);
    assert_eq!(seen.iter().take(2).count(), 2);
    std::thread::scope(|scope| {
        let told = scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let told = std::time::Instant::now();
            tell.send(true).unwrap();
            tell.send(false).unwrap();
            told
        });
        d.write(0x70, 0);
        assert!(std::time::Instant::now() >= told.join().unwrap(), "a write may not come after the reset");
    });
    d.wake();
    assert_eq!((d.used(0), status(&d, 0), status(&d, 1)), (0, 0xee, 0xee));
}
