//! Tests of the protocol, packet by packet, with a debuggee of their own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trine_base::target::{Feature, Place, Register, Target};
use trine_gdb::address::Stream;
use trine_gdb::{Bell, Debuggee, Go, Layout, Stop, Watch, serve};

/// A debuggee with two threads that records all calls.
struct Two {
    layout: Layout,
    values: Mutex<Vec<u128>>,
    memory: Mutex<Vec<u8>>,
    said: Mutex<Vec<String>>,
    stop: Mutex<Option<Stop>>,
}

const BASE: u64 = 0x1000;

impl Two {
    fn say(&self, what: String) -> bool {
        self.said.lock().expect("no panic").push(what);
        true
    }
}

impl Debuggee for Two {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn threads(&self) -> Vec<usize> {
        vec![10, 11]
    }
    fn thread_name(&self, thread: usize) -> String {
        format!("thread {thread}")
    }
    fn registers(&self, thread: usize) -> Option<Vec<u128>> {
        (thread == 10 || thread == 11).then(|| self.values.lock().expect("no panic").clone())
    }
    fn set_register(&self, thread: usize, register: usize, value: u128) -> bool {
        let mut values = self.values.lock().expect("no panic");
        let there = thread == 10 && register < values.len();
        if there {
            values[register] = value;
        }
        there
    }
    fn read(&self, _: usize, address: u64, to: &mut [u8]) -> usize {
        let memory = self.memory.lock().expect("no panic");
        let Some(at) = address.checked_sub(BASE).filter(|&a| a < memory.len() as u64) else { return 0 };
        let n = to.len().min(memory.len() - at as usize);
        to[..n].copy_from_slice(&memory[at as usize..at as usize + n]);
        n
    }
    fn write(&self, _: usize, address: u64, bytes: &[u8]) -> bool {
        let mut memory = self.memory.lock().expect("no panic");
        let at = address.wrapping_sub(BASE) as usize;
        let place = at.checked_add(bytes.len()).and_then(|end| memory.get_mut(at..end));
        place.map(|p| p.copy_from_slice(bytes)).is_some()
    }
    fn set_breakpoint(&self, address: u64, wanted: bool) -> bool {
        address >= BASE && self.say(format!("breakpoint {address:#x} {wanted}"))
    }
    fn set_watchpoint(&self, address: u64, bytes: u64, kind: Watch, wanted: bool) -> bool {
        self.say(format!("watch {address:#x} {bytes} {kind:?} {wanted}"))
    }
    fn resume(&self, threads: &[(usize, Go, i32)], rest: Go) {
        self.say(format!("resume {threads:?} {rest:?}"));
    }
    fn interrupt(&self) {
        self.say("interrupt".into());
        *self.stop.lock().expect("no panic") = Some(Stop::Signal(11, 2));
    }
    fn stopped(&self) -> Option<Stop> {
        self.stop.lock().expect("no panic").take()
    }
    fn end_reported(&self) {
        self.say("end".into());
    }
    fn detached(&self) {
        self.say("detached".into());
    }
    fn kill(&self) {
        self.say("kill".into());
    }
    fn monitor(&self, line: &str) -> Option<String> {
        (line != "none").then(|| format!("<{line}>"))
    }
    fn auxv(&self) -> Vec<u8> {
        b"auxv".to_vec()
    }
    fn executable(&self) -> PathBuf {
        "/bin/prog".into()
    }
    fn open(&self, name: &[u8]) -> std::io::Result<File> {
        match name {
            b"/self" => File::open(file!().rsplit_once("crates/gdb/").map_or(file!(), |(_, f)| f)),
            b"/dev/zero" => File::open("/dev/zero"),
            _ => Err(std::io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
    fn read_link(&self, _: &[u8]) -> std::io::Result<PathBuf> {
        Ok("target".into())
    }
}

/// gdb's side.
/// A CPU with as many registers as RISC-V has.
fn target() -> Target {
    let register = |n| Register { name: format!("r{n}"), bits: 64, kind: "int", place: Place::Slot(n) };
    let registers = (0..68).map(register).collect();
    Target { architecture: "some:cpu", features: vec![Feature { name: "some.cpu", registers }] }
}

struct Gdb {
    stream: UnixStream,
    two: Arc<Two>,
    bell: Arc<Bell>,
    server: std::thread::JoinHandle<Result<(), String>>,
}

impl Gdb {
    fn new() -> Gdb {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let layout = Layout::new(target());
        let two = Arc::new(Two {
            values: Mutex::new((0..layout.len() as u128).collect()),
            layout,
            memory: Mutex::new((0..=255).collect()),
            said: Mutex::default(),
            stop: Mutex::default(),
        });
        let bell = Arc::new(Bell::new().expect("a bell"));
        let (debuggee, rings) = (two.clone(), bell.clone());
        let server = std::thread::spawn(move || serve(&Stream::Unix(theirs), &*debuggee, &rings));
        let mut gdb = Gdb { stream: ours, two, bell, server };
        assert!(gdb.ask("qSupported:multiprocess+;swbreak+;hwbreak+").contains("qXfer:features:read+"));
        assert_eq!(gdb.ask("QStartNoAckMode"), "OK");
        gdb
    }

    fn send(&mut self, text: &str) {
        self.try_send(text).expect("sent");
    }

    /// The other side may have closed the connection.
    fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        let sum = text.bytes().fold(0u8, u8::wrapping_add);
        self.stream.write_all(format!("${text}#{sum:02x}").as_bytes())
    }

    /// The next packet, with run-length encoding expanded.
    fn packet(&mut self) -> String {
        let mut next = || {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("an answer");
            byte[0]
        };
        while next() != b'$' {}
        let mut text: Vec<u8> = Vec::new();
        loop {
            match next() {
                b'#' => break,
                b'*' => {
                    let (count, last) = (next() - 29, *text.last().expect("something to repeat"));
                    text.extend(std::iter::repeat_n(last, count as usize));
                }
                byte => text.push(byte),
            }
        }
        next();
        next();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.packet()
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.two.said.lock().expect("no panic"))
    }

    fn stop(&self, stop: Stop) {
        *self.two.stop.lock().expect("no panic") = Some(stop);
        self.bell.ring();
    }

    /// The result of the server.
    fn end(self) -> (Result<(), String>, Vec<String>) {
        let (two, server) = (self.two, self.server);
        drop(self.stream);
        let result = server.join().expect("no panic");
        let said = std::mem::take(&mut *two.said.lock().expect("no panic"));
        (result, said)
    }
}

#[test]
fn registers_and_memory() {
    let mut gdb = Gdb::new();
    assert_eq!(gdb.ask("Hgp1.a"), "OK");
    let all = gdb.ask("g");
    assert_eq!(all.len(), 68 * 16);
    assert_eq!(&all[32 * 16..33 * 16], "2000000000000000", "the PC is the 32nd");
    assert_eq!(gdb.ask("P20=efcdab8967452301"), "OK");
    assert_eq!(gdb.ask("p20"), "efcdab8967452301");
    assert!(gdb.ask("p1000").starts_with('E') && gdb.ask("P1000=00").starts_with('E'));
    assert_eq!(gdb.ask("m1010,4"), "10111213");
    assert_eq!(gdb.ask("M1010,2:aabb"), "OK");
    assert_eq!(gdb.ask("m100f,3"), "0faabb");
    assert!(gdb.ask("m0,4").starts_with('E') && gdb.ask("Mffffffffffffffff,2:0000").starts_with('E'));
    assert_eq!(gdb.ask("Hgp1.b"), "OK");
    assert!(gdb.ask("P20=0000000000000000").starts_with('E'), "the debuggee refuses");
    assert_eq!(gdb.end().1, ["detached"]);
}

#[test]
fn threads_and_what_is_said_of_the_program() {
    let mut gdb = Gdb::new();
    assert!(gdb.ask("?").starts_with("T05thread:p01.0a"));
    assert_eq!(gdb.ask("qfThreadInfo"), "mp01.0a,p01.0b");
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(gdb.ask("qThreadExtraInfo,p1.b"), hex("thread 11"));
    assert_eq!(gdb.ask("qXfer:auxv:read::0,1000"), "lauxv".replace('l', "m"));
    assert_eq!(gdb.ask("qXfer:auxv:read::4,1000"), "l");
    assert_eq!(gdb.ask("qXfer:exec-file:read:1:5,1000"), "mprog");
    assert!(
        gdb.ask("qXfer:features:read:target.xml:0,ffff").contains("<architecture>some:cpu</architecture>")
    );
    assert!(gdb.ask("qXfer:features:read:other.xml:0,ffff").starts_with('E'));
    drop(gdb);
}

#[test]
fn monitor_commands_and_hardware_breakpoints_reach_the_debuggee() {
    let mut gdb = Gdb::new();
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    for (line, answer) in [("info x", "<info x>"), ("none", "a program has no monitor commands\n")] {
        assert_eq!(gdb.ask(&format!("qRcmd,{}", hex(line))), format!("O{}", hex(answer)));
        assert_eq!(gdb.packet(), "OK");
    }
    assert_eq!((gdb.ask("Z1,1004,4"), gdb.ask("z1,1004,4")), ("OK".into(), "OK".into()));
    assert_ne!(gdb.ask("Z1,4,2"), "OK");
    assert_eq!(gdb.said(), ["breakpoint 0x1004 true", "breakpoint 0x1004 false"]);
    drop(gdb);
}

#[test]
fn files_are_for_reading() {
    let mut gdb = Gdb::new();
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(gdb.ask(&format!("vFile:open:{},0,0", hex("/nothing"))), "F-1,02");
    assert_eq!(gdb.ask(&format!("vFile:open:{},1,0", hex("/self"))), "F-1,1e");
    assert_eq!(gdb.ask(&format!("vFile:open:{},0,0", hex("/dev/zero"))), "F-1,0d");
    assert_eq!(gdb.ask(&format!("vFile:open:{},0,0", hex("/self"))), "F00");
    assert!(gdb.ask("vFile:pread:0,8,4").ends_with("Tests of"));
    assert_eq!(gdb.ask("vFile:close:0"), "F0");
    assert_eq!(gdb.ask("vFile:close:0"), "F-1,09");
    assert_eq!(gdb.ask("vFile:pread:7,8,0"), "F-1,09");
}

#[test]
fn stops_and_going_on() {
    let mut gdb = Gdb::new();
    assert_eq!(gdb.ask("Z0,1004,2"), "OK");
    assert_ne!(gdb.ask("Z0,4,2"), "OK");
    assert_eq!((gdb.ask("Z2,1008,4"), gdb.ask("z2,1008,4")), ("OK".into(), "OK".into()));
    assert_eq!(
        gdb.said(),
        ["breakpoint 0x1004 true", "watch 0x1008 4 Write true", "watch 0x1008 4 Write false"]
    );
    gdb.stop(Stop::Breakpoint(11));
    assert_eq!(gdb.ask("vCont;c:p1.-1"), "T05thread:p01.0b;swbreak:;");
    gdb.stop(Stop::Step(10));
    assert_eq!(gdb.ask("vCont;s:p1.a"), "T05thread:p01.0a;");
    gdb.stop(Stop::Watch(10, Watch::Write, 0x1008));
    // SIGUSR1 is gdb's 30 and Linux's 10.
    assert_eq!(gdb.ask("vCont;S1e:p1.a;c:p1.-1"), "T05thread:p01.0a;watch:1008;");
    assert_eq!(
        gdb.said(),
        ["resume [] Continue", "resume [(10, Step, 0)] Hold", "resume [(10, Step, 10)] Continue",]
    );
    gdb.send("vCont;c");
    gdb.stream.write_all(b"\x03").expect("sent");
    assert_eq!(gdb.packet(), "T02thread:p01.0b;");
    gdb.send("vCont;c");
    gdb.stop(Stop::Exited(7));
    assert_eq!(gdb.packet(), "W07");
    assert_eq!(
        gdb.end(),
        (Ok(()), ["resume [] Continue", "interrupt", "resume [] Continue", "end"].map(String::from).to_vec())
    );
}

#[test]
fn gdb_leaves_kills_or_is_gone() {
    let mut gdb = Gdb::new();
    assert_eq!(gdb.ask("D;1"), "OK");
    assert_eq!(gdb.end(), (Ok(()), vec!["detached".into()]));
    let mut gdb = Gdb::new();
    assert_eq!(gdb.ask("vKill;1"), "OK");
    assert_eq!(gdb.end(), (Ok(()), vec!["kill".into()]));
    let mut gdb = Gdb::new();
    gdb.send("vCont;c");
    let (result, said) = gdb.end();
    assert!(result.is_err_and(|why| why.contains("closed")));
    assert_eq!(said, ["resume [] Continue", "detached"]);
    let mut gdb = Gdb::new();
    // Garbage with a correct checksum at worst ends the connection.
    for junk in ["vCont;x", "m", "Z9", "vFile:open:zz", "qXfer:auxv:read::", "\u{1}"] {
        drop(gdb.try_send(junk));
    }
    assert_eq!(gdb.end().1, ["detached"]);
}
