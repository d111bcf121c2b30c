//! The option `--share`.

use super::target::Target;
use crate::Refusal;
use crate::args::RunArgs;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use trine_image::linux::{SHARE, is_plain};
use trine_machine::Share;
use trine_share::{Access, Folder, raise_limit_of_files};

/// The most folders of a machine.
const MOST: usize = 8;
/// Where a folder is mounted by default, below which it has its own name.
const USUAL_PLACE: &str = "/mnt/";
/// The most bytes of the kernel's command line for all folders: Linux cuts it after 1024 bytes on riscv64.
const MOST_WORDS: usize = 600;

/// A value of `--share`: `HOST[:GUEST][,ro]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareArg {
    host: PathBuf,
    guest: Option<String>,
    access: Access,
}

impl FromStr for ShareArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ShareArg, String> {
        let (rest, access) = match text.strip_suffix(",ro") {
            Some(rest) => (rest, Access::ReadOnly),
            None => (text, Access::Write),
        };
        if let Some((_, option)) = rest.rsplit_once(',') {
            return Err(format!(
                "'{option}' is not an option of shares (ro), and the paths of a share cannot have commas: \
                 share a folder above it, or a mount of it elsewhere"
            ));
        }
        let (host, guest) = match rest.rsplit_once(':') {
            Some((host, guest)) => (host, Some(place(guest)?)),
            None => (rest, None),
        };
        if host.is_empty() {
            return Err("a folder is missing: HOST[:GUEST][,ro]".into());
        }
        Ok(ShareArg { host: host.into(), guest, access })
    }
}

/// The path at which the guest mounts a folder, without a slash at its end.
fn place(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("'{path}' is not an absolute path in the guest: HOST[:GUEST][,ro]"));
    }
    let path = path.trim_end_matches('/');
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    match path.split('/').skip(1).all(is_name) && !path.is_empty() {
        true => Ok(path.into()),
        false => Err(format!(
            "'{path}/' is not a place for a folder: use a path with a name after each '/', without '.', '..' and control characters"
        )),
    }
}

impl ShareArg {
    /// Where the guest mounts it.
    fn place(&self) -> Result<String, Refusal> {
        if let Some(place) = &self.guest {
            return Ok(place.clone());
        }
        let refuse = |why: &str| {
            let host = self.host.display();
            Refusal::refused(format!("--share {host}: {why}: say where the guest has it: {host}:/mnt/NAME"))
        };
        let whole = self.host.canonicalize();
        let whole =
            whole.map_err(|e| Refusal::refused(format!("cannot share {}: {e}", self.host.display())))?;
        let name = whole.file_name().ok_or_else(|| refuse("it has no name"))?;
        let name = name.to_str().ok_or_else(|| refuse("its name is not UTF-8"))?;
        self::place(&format!("{USUAL_PLACE}{name}")).map_err(|_| refuse("its name has control characters"))
    }
}

/// What goes by this name: `share0` for the first one.
fn tag(number: usize) -> String {
    format!("share{number}")
}

/// Whether the guest mounts folders by itself.
fn is_mounted(args: &RunArgs, target: &Target) -> bool {
    match target {
        Target::Linux | Target::Debian(_) => args.initrd.is_none(),
        Target::ImageMachine(_) => true,
        _ => false,
    }
}

/// The tag of each folder and its place in the guest.
///
/// # Errors
/// Two have the same place, or one has none.
pub fn places(args: &RunArgs) -> Result<Vec<(String, String)>, Refusal> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (number, share) in args.share.iter().enumerate() {
        let place = share.place()?;
        if found.iter().any(|(_, other)| *other == place) {
            return Err(Refusal::refused(format!(
                "two shares have the place {place} in the guest: name another one with --share {}:GUEST",
                share.host.display()
            )));
        }
        found.push((tag(number), place));
    }
    Ok(found)
}

/// The words of the kernel's command line that have `linux` mount the folders.
///
/// # Errors
/// As [`places`], and they are too long for a kernel.
pub fn words(args: &RunArgs) -> Result<String, Refusal> {
    let mut words = String::new();
    for (tag, place) in places(args)? {
        let _ = write!(words, "{SHARE}{tag}:");
        for byte in Path::new(&place).as_os_str().as_bytes() {
            let _ = match is_plain(*byte) {
                true => write!(words, "{}", char::from(*byte)),
                false => write!(words, "%{byte:03o}"),
            };
        }
        words.push(' ');
    }
    match words.len() <= MOST_WORDS {
        true => Ok(words.trim_end().into()),
        false => Err(Refusal::refused(format!(
            "the places of the shares take {} bytes of the kernel's command line, which has {MOST_WORDS} for them: use shorter ones",
            words.len()
        ))),
    }
}

/// Opens the folders of a machine.
///
/// # Errors
/// One is not there, or the machine cannot have it.
pub fn open_all(args: &RunArgs, target: &Target) -> Result<Vec<Share>, Refusal> {
    let Some(first) = args.share.first() else { return Ok(Vec::new()) };
    if args.share.len() > MOST {
        return Err(Refusal::refused(format!("at most {MOST} folders can be shared with a machine")));
    }
    let counted = [("--lockstep", args.lockstep), ("--count-time", args.count_time.is_some())];
    if let Some((option, _)) = counted.iter().find(|(_, given)| *given) {
        let host = first.host.display();
        return Err(Refusal::refused(format!(
            "--share {host} is not possible with {option}, whose runs repeat: what is in a folder does not"
        )));
    }
    if is_mounted(args, target) {
        words(args)?;
    } else if let Some(place) = args.share.iter().find_map(|share| share.guest.as_ref()) {
        return Err(Refusal::refused(format!(
            "--share …:{place} would have no effect: this machine's software mounts folders itself, by their tags (`mount -t virtiofs share0 {place}`)"
        )));
    }
    raise_limit_of_files();
    let open = |(number, share): (usize, &ShareArg)| {
        let folder = Folder::open(&share.host, share.access).map_err(Refusal::refused)?;
        Ok(Share { tag: tag(number), folder: Arc::new(folder) })
    };
    args.share.iter().enumerate().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Run;
    use clap::Parser;

    fn args(words: &[&str]) -> RunArgs {
        Run::try_parse_from(["trine run"].iter().chain(words)).unwrap().args
    }

    #[test]
    fn what_a_share_option_means() {
        let cases = [
            ("a", "a", None, Access::Write),
            ("a,ro", "a", None, Access::ReadOnly),
            ("/x/b:/srv/c", "/x/b", Some("/srv/c"), Access::Write),
            ("/x:y:/srv/c d/,ro", "/x:y", Some("/srv/c d"), Access::ReadOnly),
            ("ro", "ro", None, Access::Write),
        ];
        for (text, host, guest, access) in cases {
            let guest = guest.map(str::to_owned);
            assert_eq!(text.parse(), Ok(ShareArg { host: host.into(), guest, access }), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("", "a folder is missing"),
            (",ro", "a folder is missing"),
            (":/x", "a folder is missing"),
            ("a,rw", "'rw' is not an option of shares"),
            ("a,ro,ro", "'ro' is not an option of shares"),
            ("a,b:/x", "cannot have commas"),
            ("a:b", "'b' is not an absolute path"),
            ("a:", "'' is not an absolute path"),
            ("a:/", "is not a place"),
            ("a:/x/../y", "is not a place"),
            ("a:/x//y", "is not a place"),
            ("a:/x\ny", "is not a place"),
        ];
        for (text, what) in cases {
            let error = text.parse::<ShareArg>().unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        let open =
            |words: &[&str], target: Target| open_all(&args(words), &target).map(|_| ()).unwrap_err().message;
        let linux = |words: &[&str]| open(&[words, &["linux"]].concat(), Target::Linux);
        assert!(linux(&["--share", "/nowhere/a"]).starts_with("cannot share /nowhere/a: No such file"));
        assert!(linux(&["--share", "/nowhere/a:/x"]).starts_with("cannot share /nowhere/a: No such file"));
        let file = std::env::current_exe().unwrap().display().to_string();
        assert!(linux(&["--share", &format!("{file}:/x")]).ends_with("it is not a directory"));
        assert!(linux(&["--share", "/"]).contains("it has no name: say where"));
        let two = linux(&["--share", "/usr:/x", "--share", "/tmp:/x/"]);
        assert_eq!(
            two,
            "two shares have the place /x in the guest: name another one with --share /tmp:GUEST"
        );
        assert!(linux(&["--share", "/usr:/x", "--count-time=1"]).contains("not possible with --count-time"));
        assert!(linux(&["--share", "/usr:/x", "--lockstep"]).contains("not possible with --lockstep"));
        let long = format!("/usr:/{}", "x".repeat(601));
        assert!(linux(&["--share", &long]).contains("use shorter ones"));
        let many: Vec<String> = (0..9).flat_map(|n| ["--share".into(), format!("/usr:/x{n}")]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(linux(&many), "at most 8 folders can be shared with a machine");
        let own = open(&["--share", "/usr:/x", "--kernel", "k"], Target::File("k".into()));
        assert!(own.contains("would have no effect"), "{own}");
    }

    #[test]
    fn the_kernels_words_are_plain() {
        let words =
            words(&args(&["--share", "/usr/lib", "--share", "/tmp:/srv/ä $(x);'\"*%,ro", "linux"])).unwrap();
        let wanted = "trine.share=share0:/mnt/lib trine.share=share1:/srv/%303%244%040%044%050x%051%073%047%042%052%045";
        assert_eq!(words, wanted);
        let shares = open_all(&args(&["--share", "/usr/lib,ro", "linux"]), &Target::Linux).unwrap();
        assert_eq!((shares[0].tag.as_str(), shares[0].folder.access()), ("share0", Access::ReadOnly));
    }
}
