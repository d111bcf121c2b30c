//! The log of errors, of which containerd and conmon read the last line.

use super::args::LogFormat;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// A log.
pub struct Log {
    /// Its file; `None` means standard error only.
    pub file: Option<PathBuf>,
    /// Its format.
    pub format: LogFormat,
}

impl Log {
    /// Writes an error to the log and to standard error.
    pub fn error(&self, message: &str) {
        eprintln!("trine: {}", trine_base::text::plain(message));
        self.write("error", message);
    }

    /// Writes remarks to the log only; nobody expects them on standard error.
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
        // A FIFO is accepted, too; opening it waits for its reader.
        let open = OpenOptions::new().append(true).create(true).open(path);
        if let Err(e) = open.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes())) {
            eprintln!("trine: cannot write to --log {}: {e}", path.display());
        }
    }
}
