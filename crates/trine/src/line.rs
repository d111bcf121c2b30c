//! Splitting the command line of `trine run`: options, then THING, then its arguments, for all kinds of
//! guests.
//!
//! The words that follow a program, an image or a bundle are the guest's, whatever they look like. A machine
//! has no arguments, so all words that follow it are parsed as options.

use crate::args::Run;
use crate::guest::target::Before;
use clap::CommandFactory;
use std::ffi::OsString;
use std::path::Path;
use trine_program::Address;

/// Where to wait for gdb if no address is given.
const DEFAULT_GDB: &str = ":1234";

/// A command line, prepared for the option parser.
pub struct Line {
    /// The words, with a `--` before the guest's own.
    pub words: Vec<OsString>,
    /// Whether it runs a container: then failures have the exit codes of other engines.
    pub container: bool,
}

/// Prepares a whole command line; those of other verbs are unchanged.
pub fn read(mut line: Vec<OsString>) -> Line {
    if line.get(1).is_none_or(|verb| verb != "run") {
        return Line { words: line, container: false };
    }
    let run = Run::command();
    let (mut at, mut said) = (2, Before::default());
    while let Some(word) = line.get(at).and_then(|w| w.to_str()).filter(|w| w.starts_with('-') && w.len() > 1)
    {
        if word == "--" {
            // After a `--` there are no more options.
            let container = line.get(at + 1).is_some_and(|thing| said.is_container(thing, &line[at + 2..]));
            return Line { words: line, container };
        }
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        said.add(name);
        if word == "--gdb" {
            // The next word is an address, or the thing to run.
            let is_address = line.get(at + 2).is_some() && line.get(at + 1).is_some_and(is_gdb_address);
            let address = if is_address { line.remove(at + 1) } else { DEFAULT_GDB.into() };
            line[at] = [OsString::from("--gdb="), address].into_iter().collect();
            at += 1;
            continue;
        }
        at += 1 + usize::from(takes_next(&run, word));
    }
    let Some(thing) = line.get(at) else { return Line { words: line, container: false } };
    let container = said.is_container(thing, &line[at + 1..]);
    if said.has_arguments(thing, &line[at + 1..]) {
        line.insert(at + 1, "--".into());
    }
    Line { words: line, container }
}

/// Whether the word that follows an option is its value. `-itv` is three options, the last of which may take
/// one.
fn takes_next(run: &clap::Command, word: &str) -> bool {
    let takes = |is_it: &dyn Fn(&clap::Arg) -> bool| {
        run.get_arguments().find(|a| is_it(a)).is_some_and(|a| a.get_action().takes_values())
    };
    if let Some(name) = word.strip_prefix("--") {
        let aliases = |a: &clap::Arg| a.get_all_aliases().is_some_and(|all| all.contains(&name));
        return !name.contains('=') && takes(&|a| a.get_long() == Some(name) || aliases(a));
    }
    let letters = &word[1..];
    let first = letters.char_indices().find(|(_, letter)| takes(&|a| a.get_short() == Some(*letter)));
    first.is_some_and(|(at, letter)| at + letter.len_utf8() == letters.len())
}

/// Whether a word can only be an address: a program may be named like a socket's path, but an existing file
/// that is not a socket is a program.
fn is_gdb_address(word: &OsString) -> bool {
    let text = word.to_str().unwrap_or_default();
    let is_file = Path::new(word).metadata().is_ok_and(|m| m.is_file());
    text.parse::<Address>().is_ok() && (text.starts_with("unix:") || !is_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn line(words: &str) -> Line {
        read(["trine", "run"].into_iter().chain(words.split(' ')).map(OsString::from).collect())
    }

    /// The thing and its arguments.
    fn parts(words: &str) -> (String, String) {
        let args =
            Run::try_parse_from(&line(words).words[1..]).unwrap_or_else(|e| panic!("{words}: {e}")).args;
        let rest: Vec<_> = args.args.iter().map(|a| a.to_string_lossy()).collect();
        (args.thing.unwrap_or_default(), rest.join(" "))
    }

    #[test]
    fn what_stands_behind_an_image_is_its_own() {
        for (words, thing, rest) in [
            ("--entrypoint /bin/ls img -l /etc", "img", "-l /etc"),
            ("img --name x", "img", "--name x"),
            ("-it --rm img sh -c -e", "img", "sh -c -e"),
            ("-itv /a:/b img -v /c", "img", "-v /c"),
            ("-v/a:/b img -v", "img", "-v"),
            ("--workdir /x img --workdir", "img", "--workdir"),
            ("-m 1G -e A=-1 --memory-swap=-1 img -- -x", "img", "-- -x"),
            ("--as machine img sh --engine", "img", "sh --engine"),
            ("--as machine --disk d img --help", "img", "--help"),
            ("-- img --name x", "img", "--name x"),
            ("--sysroot debian /bin/sh -c x", "/bin/sh", "-c x"),
            ("debian sh -c x", "debian", "sh -c x"),
            ("--pull never debian -c", "debian", "-c"),
        ] {
            assert_eq!(parts(words), (thing.into(), rest.into()), "{words}");
        }
    }

    #[test]
    fn what_stands_behind_a_machine_are_options() {
        let kernel = std::env::temp_dir().join(format!("trine-line-{}", std::process::id()));
        std::fs::write(&kernel, "no ELF file").unwrap();
        let file = kernel.to_str().unwrap();
        for words in [
            "linux --engine interp",
            "debian --engine interp",
            "-it --rm debian:sid/riscv64 --engine interp",
            &format!("{file} --engine interp"),
            "./not-there --engine interp",
        ] {
            let args = Run::try_parse_from(&line(words).words[1..]).unwrap().args;
            assert!(args.engine == crate::args::EngineArg::Interp && args.args.is_empty(), "{words}");
        }
        std::fs::remove_file(kernel).unwrap();
    }

    #[test]
    fn containers_are_known_before_their_options_are_read() {
        for (words, want) in [
            ("--no-such-option img", true),
            ("-- img", true),
            ("--no-such-option linux", false),
            ("--no-such-option debian", false),
            ("-it debian bash", true),
            ("--volume /a:/b debian", true),
            ("--as machine img", false),
            ("--sysroot / img", false),
            ("--name", false),
        ] {
            assert_eq!(line(words).container, want, "{words}");
        }
    }
}
