//! Any packets of gdb: each line of the input is one, `^C` is an interrupt, and what follows `!` goes as it is. The first byte
//! chooses the debuggee: a machine of two harts that count, or a program with files. Both end when the connection does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use trine_base::target::{Feature, Place, Register, Target};
use trine_conformance::bare::{ProgramFile, counting_harts};
use trine_conformance::machine::{assemble, bare, config};
use trine_engine::Tier;
use trine_gdb::address::Stream;
use trine_gdb::{Bell, Debuggee, Go, Layout, Stop, Watch, serve};
use trine_machine::TimeSource;
use trine_machine::debug::{self, Address, GdbListener};
use trine_machine::virt::map;

/// How long an answer is waited for, in milliseconds. A program that runs gives none.
const PATIENCE: i32 = 1;
/// The most packets of an input.
const MOST: usize = 32;

/// Whether there is something to read before patience ends.
fn answers(gdb: &UnixStream) -> bool {
    let mut fd = libc::pollfd { fd: gdb.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor, which lives as long as the call.
    unsafe { libc::poll(&mut fd, 1, PATIENCE) == 1 }
}

/// Sends the packets, and reads what comes back.
fn talk(mut gdb: UnixStream, lines: &[u8]) {
    let mut answer = [0; 4096];
    for line in lines.split(|&byte| byte == b'\n').take(MOST) {
        let sent = match line {
            b"^C" => gdb.write_all(&[3]),
            [b'!', rest @ ..] => gdb.write_all(rest),
            _ => {
                let sum = line.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                gdb.write_all(&[b"$", line, format!("#{sum:02x}").as_bytes()].concat())
            }
        };
        // Up to the check sum of an answer, or in vain.
        while sent.is_ok() && answers(&gdb) {
            match gdb.read(&mut answer) {
                Ok(0) | Err(_) => break,
                Ok(n) if n > 3 && answer[n - 3] == b'#' => break,
                Ok(_) => {}
            }
        }
    }
    let _ = gdb.shutdown(std::net::Shutdown::Write);
    while gdb.read(&mut answer).is_ok_and(|n| n != 0) {}
}

/// A machine whose first instruction waits for gdb.
fn machine(lines: &[u8]) {
    static PROGRAM: Mutex<Option<ProgramFile>> = Mutex::new(None);
    let mut program = PROGRAM.lock().unwrap();
    let program = program.get_or_insert_with(|| counting_harts(map::RAM));
    let mut board = assemble(config(bare(program), 2, Tier::Interp, TimeSource::Count(1)));
    let path = std::env::temp_dir().join(format!("trine-fuzz-gdb-{}", std::process::id()));
    let listener = GdbListener::open(&Address::Unix(path.clone())).unwrap();
    debug::attach(&mut board, listener, Box::new(|line| format!("<{line}>")), |_| {}).unwrap();
    let gdb = UnixStream::connect(&path).unwrap();
    let remote = board.remote();
    let runs = std::thread::spawn(move || board.run());
    talk(gdb, lines);
    remote.quit();
    runs.join().unwrap();
}

/// A program of two threads with 256 bytes of memory, which never runs.
struct Program {
    layout: Layout,
    values: Mutex<Vec<u128>>,
    memory: Mutex<[u8; 256]>,
    /// Whether gdb was told why it stopped.
    told: Mutex<bool>,
}

const BASE: u64 = 0x1000;
const THREADS: [usize; 2] = [10, 11];

impl Program {
    fn new() -> Program {
        let register = |n| Register { name: format!("r{n}"), bits: 64, kind: "int", place: Place::Slot(n) };
        let registers = (0..40).map(register).collect();
        let features = vec![Feature { name: "some.cpu", registers }];
        let layout = Layout::new(Target { architecture: "some:cpu", features });
        let values = Mutex::new(vec![0; layout.len()]);
        Program { layout, values, memory: Mutex::new([7; 256]), told: Mutex::new(true) }
    }

    fn place(address: u64) -> Option<usize> {
        address.checked_sub(BASE).filter(|&at| at < 256).map(|at| at as usize)
    }
}

impl Debuggee for Program {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn threads(&self) -> Vec<usize> {
        THREADS.to_vec()
    }
    fn thread_name(&self, thread: usize) -> String {
        "x".repeat(thread % 5000)
    }
    fn registers(&self, thread: usize) -> Option<Vec<u128>> {
        THREADS.contains(&thread).then(|| self.values.lock().unwrap().clone())
    }
    fn set_register(&self, thread: usize, register: usize, value: u128) -> bool {
        assert!(value <= u128::from(u64::MAX), "wider than the register");
        let mut values = self.values.lock().unwrap();
        let there = THREADS.contains(&thread) && register < values.len();
        if there {
            values[register] = value;
        }
        there
    }
    fn read(&self, _: usize, address: u64, to: &mut [u8]) -> usize {
        let memory = self.memory.lock().unwrap();
        let Some(at) = Program::place(address) else { return 0 };
        let n = to.len().min(256 - at);
        to[..n].copy_from_slice(&memory[at..at + n]);
        n
    }
    fn write(&self, _: usize, address: u64, bytes: &[u8]) -> bool {
        let mut memory = self.memory.lock().unwrap();
        let place = Program::place(address).and_then(|at| memory.get_mut(at..)?.get_mut(..bytes.len()));
        place.map(|place| place.copy_from_slice(bytes)).is_some()
    }
    fn set_breakpoint(&self, address: u64, _: bool) -> bool {
        address >= BASE
    }
    fn set_watchpoint(&self, _: u64, bytes: u64, _: Watch, _: bool) -> bool {
        bytes != 0
    }
    fn resume(&self, _: &[(usize, Go, i32)], _: Go) {
        *self.told.lock().unwrap() = false;
    }
    fn interrupt(&self) {
        *self.told.lock().unwrap() = false;
    }
    fn stopped(&self) -> Option<Stop> {
        let told = std::mem::replace(&mut *self.told.lock().unwrap(), true);
        (!told).then_some(Stop::Signal(THREADS[1], libc::SIGINT))
    }
    fn end_reported(&self) {}
    fn detached(&self) {}
    fn kill(&self) {}
    fn auxv(&self) -> Vec<u8> {
        vec![1; 400]
    }
    fn executable(&self) -> PathBuf {
        "/bin/prog".into()
    }
    fn open(&self, name: &[u8]) -> std::io::Result<File> {
        match name {
            b"/proc" => File::open("/proc"),
            b"/zero" => File::open("/dev/zero"),
            [b'/', ..] => File::open("/proc/self/exe"),
            _ => Err(std::io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
    fn read_link(&self, name: &[u8]) -> std::io::Result<PathBuf> {
        Ok("x".repeat(name.len() * 1000).into())
    }
}

/// A program, served on this thread.
fn program(lines: &[u8]) {
    let (gdb, ours) = UnixStream::pair().unwrap();
    let program = Program::new();
    std::thread::scope(|scope| {
        scope.spawn(|| talk(gdb, lines));
        let _ = serve(&Stream::Unix(ours), &program, &Bell::new().unwrap());
    });
}

fuzz_target!(|data: &[u8]| {
    match data {
        [b'm', lines @ ..] => machine(lines),
        [_, lines @ ..] => program(lines),
        [] => {}
    }
});
