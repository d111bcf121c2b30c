//! The protocol between commands and monitors, over a guest's socket: frames of a kind (one byte), a length
//! (four bytes, little-endian) and as many bytes.

use crate::record::Word;
use serde::{Deserialize, Serialize};

/// The longest frame in bytes.
pub const LONGEST: usize = 1 << 20;
/// The longest piece of input or output in a frame, in bytes.
pub const PIECE: usize = 1 << 16;

/// The size of a terminal: rows, columns.
pub type Size = (u16, u16);

/// A request of a client to a monitor. It is the first thing that a client sends, and is sent once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start the guest.
    Start,
    /// Attach: send me the guest's output from now on, and take my input.
    Attach {
        /// Whether the client will send input.
        stdin: bool,
        /// Whether the guest waits for this client as a program does for its pipe, and its input ends with
        /// the client.
        owner: bool,
        /// Whether the guest is to be started after attaching.
        start: bool,
        /// Size of the client's terminal.
        size: Option<Size>,
    },
    /// Execute this in the guest.
    Exec(Exec),
    /// Send the guest's first process a signal.
    Signal(i32),
    /// Ask the guest to end, and kill it if it does not.
    Stop {
        /// The signal that asks; `None` means the guest's own stop signal.
        signal: Option<i32>,
        /// Seconds until SIGKILL; `None` means the guest's own value.
        seconds: Option<u64>,
    },
    /// Pause the guest.
    Pause,
    /// Resume the guest.
    Resume,
    /// Report the guest's end.
    Wait,
    /// Save the machine in a file.
    Snapshot {
        /// The absolute path of the file.
        file: Word,
        /// Whether the file may exist.
        replace: bool,
    },
}

/// A command that is executed in a guest besides its first process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The command.
    pub command: Vec<Word>,
    /// Environment variables, as `NAME=VALUE`.
    pub env: Vec<Word>,
    /// Working directory; `None` means the guest's.
    pub cwd: Option<Word>,
    /// User, as `USER[:GROUP]`; `None` means the guest's.
    pub user: Option<String>,
    /// Whether it has all capabilities (containers only).
    pub privileged: bool,
    /// Whether it has a terminal of its own.
    pub tty: bool,
    /// Whether the client will send input.
    pub stdin: bool,
    /// Whether the client does not wait for it.
    pub detach: bool,
    /// Size of the client's terminal.
    pub size: Option<Size>,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it did not start, if it did not.
    pub error: Option<String>,
}

/// A frame of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// To the monitor: the request.
    Request(Request),
    /// From the monitor: the request is accepted, or refused for this reason.
    Reply(Result<(), String>),
    /// From the monitor: the command cannot be executed; its exit code, and the reason.
    NoCommand(u8, String),
    /// To the monitor: input.
    Input(Vec<u8>),
    /// To the monitor: the end of the input.
    EndOfInput,
    /// To the monitor: the terminal's size.
    Resize(Size),
    /// To the monitor: a signal that the client received.
    Signal(i32),
    /// From the monitor: standard output.
    Out(Vec<u8>),
    /// From the monitor: standard error.
    Err(Vec<u8>),
    /// From the monitor: the guest or command has ended.
    Ended(Ended),
    /// From the monitor: the client is disconnected for this reason.
    Away(String),
}

impl Frame {
    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Frame::Request(r) => (0, json(r)),
            Frame::Reply(r) => (1, json(r)),
            Frame::Input(bytes) => (2, bytes.clone()),
            Frame::EndOfInput => (3, Vec::new()),
            Frame::Resize((rows, columns)) => (4, [rows.to_le_bytes(), columns.to_le_bytes()].concat()),
            Frame::Signal(n) => (5, n.to_le_bytes().to_vec()),
            Frame::Out(bytes) => (6, bytes.clone()),
            Frame::Err(bytes) => (7, bytes.clone()),
            Frame::Ended(e) => (8, json(e)),
            Frame::Away(why) => (9, why.as_bytes().to_vec()),
            Frame::NoCommand(code, why) => (10, [&[*code][..], why.as_bytes()].concat()),
        }
    }

    /// Encodes a frame.
    pub fn bytes(&self) -> Vec<u8> {
        let (kind, body) = self.parts();
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn of(kind: u8, body: &[u8]) -> Option<Frame> {
        let pair = |n: usize| Some(u16::from_le_bytes([*body.get(n)?, *body.get(n + 1)?]));
        Some(match kind {
            0 => Frame::Request(serde_json::from_slice(body).ok()?),
            1 => Frame::Reply(serde_json::from_slice(body).ok()?),
            2 => Frame::Input(body.to_vec()),
            3 => Frame::EndOfInput,
            4 => Frame::Resize((pair(0)?, pair(2)?)),
            5 => Frame::Signal(i32::from_le_bytes(body.try_into().ok()?)),
            6 => Frame::Out(body.to_vec()),
            7 => Frame::Err(body.to_vec()),
            8 => Frame::Ended(serde_json::from_slice(body).ok()?),
            9 => Frame::Away(String::from_utf8_lossy(body).into_owned()),
            10 => Frame::NoCommand(*body.first()?, String::from_utf8_lossy(&body[1..]).into_owned()),
            _ => return None,
        })
    }

    /// Removes the first frame from these bytes; `None` where it is not complete yet.
    ///
    /// # Errors
    /// Fails where the bytes are not a valid frame.
    pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Frame>, NoFrame> {
        let Some((head, rest)) = bytes.split_at_checked(5) else { return Ok(None) };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(NoFrame);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::of(head[0], body).ok_or(NoFrame)?;
        bytes.drain(..5 + length);
        Ok(Some(frame))
    }
}

/// The received bytes are not a valid frame.
#[derive(Debug, PartialEq, Eq)]
pub struct NoFrame;

/// Requests and answers are plain data, whose conversion to JSON cannot fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_and_in_pieces() {
        let frames = [
            Frame::Request(Request::Attach { stdin: true, owner: false, start: true, size: Some((24, 80)) }),
            Frame::Reply(Err("no".into())),
            Frame::Reply(Ok(())),
            Frame::Input(vec![0, 255]),
            Frame::EndOfInput,
            Frame::Resize((50, 132)),
            Frame::Signal(15),
            Frame::Out(vec![1; 70]),
            Frame::Err(Vec::new()),
            Frame::Ended(Ended { code: 137, signal: Some(9), error: None }),
            Frame::Away("slow".into()),
            Frame::NoCommand(127, "no such file".into()),
        ];
        let mut waiting = Vec::new();
        let mut got = Vec::new();
        for byte in frames.iter().flat_map(Frame::bytes) {
            waiting.push(byte);
            got.extend(Frame::take(&mut waiting).unwrap());
        }
        assert_eq!(got, frames);
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            &[99, 0, 0, 0, 0][..],
            &[0, 1, 0, 0, 0, b'{'],
            &[2, 255, 255, 255, 255],
            &[4, 1, 0, 0, 0, 9],
            &[10, 0, 0, 0, 0],
        ] {
            assert_eq!(Frame::take(&mut bytes.to_vec()), Err(NoFrame), "{bytes:?}");
        }
        assert_eq!(Frame::take(&mut vec![2, 9, 0, 0, 0, 1]), Ok(None));
    }
}
