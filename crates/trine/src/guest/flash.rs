//! The option `--flash`.

use super::disk::has_no_unknown_option;
use crate::Refusal;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trine_image::disk;
use trine_machine::boards::BoardKind;
use trine_machine::{FlashAccess, FlashBank};

/// A value of `--flash`: `FILE[,ro|,rw]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashArg {
    path: PathBuf,
    access: FlashAccess,
}

impl FromStr for FlashArg {
    type Err = String;

    /// What comes before the option is the file's name, which may have commas itself.
    fn from_str(text: &str) -> Result<FlashArg, String> {
        let (path, access) = match text.rsplit_once(',') {
            Some((path, "ro")) => (path, FlashAccess::ReadOnly),
            Some((path, "rw")) => (path, FlashAccess::Write),
            _ => (text, FlashAccess::Private),
        };
        if path.is_empty() {
            return Err("a file is missing: FILE[,ro|,rw]".into());
        }
        Ok(FlashArg { path: path.into(), access })
    }
}

impl FlashArg {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the machine changes the file.
    pub fn writes(&self) -> bool {
        self.access == FlashAccess::Write
    }

    fn open(&self, size: u64) -> Result<FlashBank, Refusal> {
        let refused = |why: String| Refusal::refused(format!("--flash {}: {why}", self.path.display()));
        has_no_unknown_option(&self.path, "flash: ro, rw").map_err(refused)?;
        let file = disk::open_flash(&self.path, self.writes()).map_err(Refusal::refused)?;
        FlashBank::of_file(file, size, self.access).map_err(|e| refused(e.to_string()))
    }
}

/// Opens the files of a machine's banks of flash; a bank without a file is blank. No file at all: no flash.
///
/// # Errors
/// There are more files than banks, or one cannot be used.
pub fn open_all(args: &[FlashArg], kind: &BoardKind) -> Result<Vec<FlashBank>, Refusal> {
    let banks = kind.flash_banks;
    if args.is_empty() {
        return Ok(Vec::new());
    }
    if args.len() > banks.len() {
        return Err(Refusal::refused(format!(
            "--flash can be given {} times, once for each bank of flash: the board '{}' has no more",
            banks.len(),
            kind.name
        )));
    }
    let bank = |(n, size): (usize, &u64)| match args.get(n) {
        Some(file) => file.open(*size),
        None => Ok(FlashBank::blank(*size, false)),
    };
    banks.iter().enumerate().map(bank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flash_option_means() {
        let cases = [
            ("a", "a", FlashAccess::Private),
            ("a,ro", "a", FlashAccess::ReadOnly),
            ("/x/odd,name,rw", "/x/odd,name", FlashAccess::Write),
            ("a,size=3", "a,size=3", FlashAccess::Private),
            ("ro", "ro", FlashAccess::Private),
        ];
        for (text, path, access) in cases {
            assert_eq!(text.parse(), Ok(FlashArg { path: path.into(), access }), "{text}");
        }
        assert!(",rw".parse::<FlashArg>().unwrap_err().contains("a file is missing"));
        assert!("".parse::<FlashArg>().is_err());
    }

    #[test]
    fn what_is_refused() {
        let kind = &trine_machine::boards::BOARDS[0];
        let open = |texts: &[&str]| {
            let args: Vec<FlashArg> = texts.iter().map(|text| text.parse().unwrap()).collect();
            open_all(&args, kind).map(|banks| banks.len()).map_err(|refusal| refusal.message)
        };
        assert_eq!(open(&[]), Ok(0));
        let refused = |texts: &[&str]| open(texts).unwrap_err();
        assert!(refused(&["a", "b", "c"]).contains("--flash can be given 2 times"));
        assert!(refused(&["/nowhere/a,save"]).contains("'save' is not an option of flash"));
        assert!(refused(&["/nowhere/a"]).contains("cannot open the contents of flash /nowhere/a"));
        assert!(refused(&["/dev/null"]).contains("regular file"));
    }
}
