//! Folders of the host in a machine (`--share`): what one side writes the other reads, names and open files, a folder that is
//! read-only, and refusals.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use trine_test_support::command::check;
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text};

/// Time limit for what the guest does without a word.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes without a pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn is(what: &str, right: bool) -> Checked {
    if right { Ok(()) } else { Err(format!("{what} is not so")) }
}

/// Waits until a file has these contents.
fn has(path: &Path, wanted: &[u8]) -> Checked {
    let end = Instant::now() + PATIENCE;
    while fs::read(path).map_err(text).as_deref() != Ok(wanted) {
        if Instant::now() > end {
            return Err(format!("{} does not get its contents", path.display()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// All of it.
pub fn run() -> Checked {
    let machines = Machines::new("shares")?;
    let (work, fixed) = (machines.dir.join("work"), machines.dir.join("fixed"));
    let large = noise((3 << 20) + 123);
    [&work, &fixed].iter().try_for_each(fs::create_dir).map_err(text)?;
    fs::write(work.join("from-host"), "the host's words\n").map_err(text)?;
    fs::write(work.join("large"), &large).map_err(text)?;
    fs::write(fixed.join("kept"), "kept").map_err(text)?;
    let shares = [work.display().to_string(), format!("{}:/srv/odd name,ro", fixed.display())];
    let mut talk = Talk::start(machines.run(&["linux", "--share", &shares[0], "--share", &shares[1]]))?;
    talk.hear("# ")?;
    both_sides(&mut talk, &work, &large)?;
    read_only(&mut talk, &fixed)?;
    // Another machine after a reset has the same folders.
    talk.say("reboot\n")?;
    talk.hear("'poweroff' ends it").and_then(|()| talk.hear("# "))?;
    talk.say("cat /mnt/work/from-guest; poweroff\n")?;
    talk.hear("of the guest")?;
    talk.end()?;
    refusals(&machines, &work)?;
    println!("a folder is the same on both sides");
    Ok(())
}

fn both_sides(talk: &mut Talk, work: &Path, large: &[u8]) -> Checked {
    talk.say("cd /mnt/work; cat from-host; echo of the gu''est > from-guest; cp large copy; cmp large copy && echo sa''me\n")?;
    talk.hear("the host's words").and_then(|()| talk.hear("same"))?;
    has(&work.join("from-guest"), b"of the guest\n")?;
    is("a copy that the guest made", fs::read(work.join("copy")).map_err(text)? == large)?;
    let owner = fs::metadata(work).map_err(text)?.uid();
    let made = fs::metadata(work.join("from-guest")).map_err(text)?;
    is("the owner of what the guest's root made", made.uid() == owner)?;
    // What the host writes is there after the second for which the guest keeps attributes.
    fs::write(work.join("from-host"), "other words, and more\n").map_err(text)?;
    talk.say("sleep 2; cat from-host\n")?;
    talk.hear("other words, and more")?;
    talk.say("exec 3> open; echo one >&3; mkdir -p a/b; mv open a/b/moved; echo two >&3; exec 3>&-; echo mo''ved\n")?;
    talk.hear("moved")?;
    has(&work.join("a/b/moved"), b"one\ntwo\n")?;
    talk.say("ln -s a/b/moved link; cat link; ln a/b/moved hard; chmod 4755 hard || echo no set-us''er-ID; chmod 750 hard; echo do''ne\n")?;
    talk.hear("two").and_then(|()| talk.hear("no set-user-ID")).and_then(|()| talk.hear("done"))?;
    let target = fs::read_link(work.join("link")).map_err(text)?;
    is("the link", target == Path::new("a/b/moved"))?;
    let hard = fs::metadata(work.join("hard")).map_err(text)?;
    is("the second name", hard.nlink() == 2 && hard.permissions().mode() & 0o7777 == 0o750)?;
    // Many names, in both directions.
    (0..300).try_for_each(|n| fs::write(work.join(format!("a/host-{n}")), "")).map_err(text)?;
    let script = "i=0; while [ $i -lt 300 ]; do echo $i > a/guest-$i; i=$((i+1)); done; echo $(ls a | wc -l) na''mes; rm -r a/b\n";
    talk.say(script)?;
    talk.hear("601 names")?;
    talk.say("rm from-host; cd /; echo re''moved\n")?;
    talk.hear("removed")?;
    let left = fs::read_dir(work.join("a")).map_err(text)?.count();
    is("600 files", left == 600)?;
    is("what was removed", !work.join("from-host").exists() && !work.join("a/b").exists())
}

fn read_only(talk: &mut Talk, fixed: &Path) -> Checked {
    let script = "cd '/srv/odd name'; cat kept; for c in 'touch new' 'rm kept' 'mkdir d' 'mv kept k' 'chmod 0 kept'; do $c; done; \
                  echo x > kept; cd /; echo ref''used\n";
    talk.say(script)?;
    talk.hear("kept")?;
    for _ in 0..6 {
        talk.hear("Read-only file system")?;
    }
    talk.hear("refused")?;
    has(&fixed.join("kept"), b"kept")?;
    is("nothing new", fs::read_dir(fixed).map_err(text)?.count() == 1)
}

/// What cannot be shared is refused, before anything is started.
fn refusals(machines: &Machines, work: &Path) -> Checked {
    let (work, nothing) = (work.display().to_string(), work.join("nothing").display().to_string());
    let file = format!("{work}/large");
    let twice = format!("{work}:/mnt/work/");
    for (words, wanted) in [
        (&["--share", &nothing][..], "No such file"),
        (&["--share", &file], "it is not a directory"),
        (&["--share", &work, "--share", &twice], "two shares have the place /mnt/work"),
        (&["--share", &work, "--count-time=1"], "not possible with --count-time"),
        (&["--share", "a,b"], "cannot have commas"),
        (&["--share", "a:b"], "not an absolute path"),
    ] {
        let said = machines.whole(&[words, &["linux"]].concat(), "")?;
        check(said.code == 2 && said.err.contains(wanted), &format!("{words:?} should be refused"), &said)?;
    }
    Ok(())
}
