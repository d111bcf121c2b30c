//! Prints `docs/system-calls.md`: what `cargo xtask docs` writes.

fn main() {
    print!("{}", trine_linux::page::system_calls());
}
