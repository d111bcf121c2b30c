//! Prints `docs/system-calls.md`; `cargo xtask docs` writes it to the file.

fn main() {
    print!("{}", trine_linux::page::system_calls());
}
