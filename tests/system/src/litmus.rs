//! What harts see of each other's stores: litmus tests inside a machine of four harts (`guests/litmus.c`).

use trine_test_support::command::{check, tool};
use trine_test_support::machine::Machines;
use trine_test_support::{Checked, text, tools};

/// An initramfs with a program of `tests/system/guests` in it, as `/NAME`; returns its file.
fn initrd_with(machines: &Machines, name: &str) -> Result<String, String> {
    let (program, source) = (machines.dir.join(name), format!("tests/system/guests/{name}.c"));
    let mut gcc = tools::gcc(&tools::cross_gcc()?);
    tool(gcc.args(["-O2", "-static", "-pthread", "-o"]).arg(&program).arg(tools::root().join(source)))?;
    let bytes = std::fs::read(&program).map_err(text)?;
    let initrd = machines.dir.join(format!("{name}.cpio"));
    std::fs::write(&initrd, tools::initrd_with(name, &bytes)?).map_err(text)?;
    Ok(initrd.display().to_string())
}

/// Runs each of them so many times.
pub fn run(rounds: u32) -> Checked {
    let machines = Machines::new("litmus")?;
    let initrd = initrd_with(&machines, "litmus")?;
    let append = format!("console=ttyS0 quiet trine.exec=/litmus rounds={rounds}");
    let kernel = tools::guest()?.kernel.display().to_string();
    let words = ["--cpus", "4", "--kernel", &kernel, "--initrd", &initrd, "--append", &append];
    let said = machines.whole(&words, "")?;
    check(said.code == 0 && said.out.contains("litmus: ok"), "litmus tests on 4 harts", &said)?;
    said.out.lines().filter(|line| line.contains(':')).for_each(|line| println!("{}", line.trim_end()));
    Ok(())
}
