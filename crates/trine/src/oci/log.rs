//! Where errors go: containerd and conmon read the last line of the log.

use super::args::LogFormat;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// A log.
pub struct Log {
    /// Its file; none is standard error only.
    pub file: Option<PathBuf>,
    /// How it is written.
    pub format: LogFormat,
}

impl Log {
    /// Writes an error there and on standard error.
    pub fn error(&self, message: &str) {
        eprintln!("trine: {}", trine_base::text::plain(message));
        self.write("error", message);
    }

    /// Writes what was left out; nobody waits for it on standard error.
    pub fn notes(&self, notes: &[String]) {
        notes.iter().for_each(|note| self.write("warning", note));
    }

    fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        let time = trine_base::rfc3339::nanoseconds(std::time::SystemTime::now());
        let line = match self.format {
            LogFormat::Json => {
                serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
            }
            LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}"),
        };
        // A FIFO is one, too; it has a reader or is of no use.
        let open = OpenOptions::new().append(true).create(true).open(path);
        if let Err(e) = open.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes())) {
            eprintln!("trine: cannot write to --log {}: {e}", path.display());
        }
    }
}
