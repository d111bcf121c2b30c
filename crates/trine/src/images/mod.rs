//! The verbs for images, one file each.

mod display;
mod export;
mod import;
pub mod inspect;
mod list;
#[cfg(feature = "registry")]
mod registry;
mod rmi;
mod tag;

pub use display::Display;

use crate::Refusal;
use clap::{Args, Subcommand};
use std::str::FromStr;
use trine_base::text::{line, plain};
use trine_oci::{Image, Name, Platform, Store};

/// The verbs of images.
#[derive(Subcommand)]
pub enum ImageVerb {
    /// Fetch an image from a registry.
    #[command(after_help = "Examples:
  trine pull alpine                                docker.io/library/alpine:latest
  trine pull --platform linux/riscv64 debian:trixie
  trine pull localhost:5000/team/app:1             this host's own may speak plain HTTP
  trine pull --insecure registry.lan/app           plain HTTP where there is no HTTPS
  trine pull oci:DIR:TAG                           as `trine import` does

Logins are those of `docker login` and `podman login`. Registries' mirrors are listed in
$XDG_CONFIG_HOME/trine/registries.toml or /etc/trine/registries.toml.")]
    Pull(PullArgs),
    /// Send an image to a registry.
    #[command(after_help = "Examples:
  trine push localhost:5000/team/app:1
  trine push app localhost:5000/team/app:1         under another name")]
    Push(PushArgs),
    /// List the images that are here.
    Images(ImagesArgs),
    /// Remove names of images, and the image with its last name.
    #[command(after_help = "Examples:
  trine rmi alpine                                 the name for every platform
  trine rmi --platform linux/riscv64 alpine
  trine rmi 3f1b9c                                 every name of the image of this ID
  trine rmi --garbage                              only what no name leads to")]
    Rmi(RmiArgs),
    /// Give an image another name.
    Tag(TagArgs),
    /// Import an image from an archive or a layout, or a root file system.
    #[command(after_help = "Examples:
  trine import saved.tar                           of `docker save` or `trine export`
  trine import oci:DIR:TAG app:1                   an OCI layout
  trine import --cmd /bin/sh rootfs.tar.gz mine    a plain root file system
  tar -C root -c . | trine import - mine

What is taken: FILE, -, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME].")]
    Import(ImportArgs),
    /// Write an image to an archive or a layout.
    #[command(after_help = "Examples:
  trine export alpine alpine.tar                   read by `docker load`, `podman load` and `trine import`
  trine export alpine oci:DIR:3.20                 an OCI layout, in which other images stay
  trine export alpine - | ssh host trine import -

What is written: FILE, -, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME].")]
    Export(ExportArgs),
}

impl ImageVerb {
    /// Executes the verb.
    pub fn run(self) -> Result<u8, Refusal> {
        match self {
            #[cfg(feature = "registry")]
            ImageVerb::Pull(args) => registry::pull(args),
            #[cfg(feature = "registry")]
            ImageVerb::Push(args) => registry::push(args),
            #[cfg(not(feature = "registry"))]
            ImageVerb::Pull(_) | ImageVerb::Push(_) => Err(Refusal::refused(
                "this Trine was built without its registry client (cargo feature `registry`): import an archive, as of \
                 `skopeo copy docker://NAME oci-archive:FILE`",
            )),
            ImageVerb::Images(args) => list::list(args),
            ImageVerb::Rmi(args) => rmi::rmi(args),
            ImageVerb::Tag(args) => tag::tag(args),
            ImageVerb::Import(args) => import::import(args),
            ImageVerb::Export(args) => export::export(args),
        }
    }
}

/// Options for the connection to a registry.
#[derive(Args)]
pub struct RegistryArgs {
    /// Accept certificates that cannot be verified, and plain HTTP
    #[arg(long)]
    pub insecure: bool,
}

/// Arguments of `trine pull`.
#[derive(Args)]
pub struct PullArgs {
    /// Names of images, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME]
    #[arg(required = true)]
    pub image: Vec<String>,
    /// Platform other than the host's, such as linux/riscv64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
    /// Ask this registry first
    #[arg(long, value_name = "HOST[:PORT][/PREFIX]")]
    pub mirror: Vec<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Print only the ID
    #[arg(long, short)]
    pub quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trine push`.
#[derive(Args)]
pub struct PushArgs {
    /// The image
    pub image: String,
    /// Name in the registry, if it is another one
    pub name: Option<String>,
    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Print only the digest
    #[arg(long, short)]
    pub quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trine images`.
#[derive(Args)]
pub struct ImagesArgs {
    /// Show only images whose name contains this text
    pub filter: Option<String>,
    /// Print only IDs
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// Do not shorten IDs and digests
    #[arg(long)]
    pub no_trunc: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trine rmi`.
#[derive(Args)]
pub struct RmiArgs {
    /// Names or IDs
    #[arg(required_unless_present = "garbage")]
    pub image: Vec<String>,
    /// Only for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
    /// Remove the name even if a guest uses the image, which stays until the guest is removed
    #[arg(long, short)]
    pub force: bool,
    /// Remove everything that no name refers to and nobody uses (rmi does so at its end anyway)
    #[arg(long)]
    pub garbage: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trine tag`.
#[derive(Args)]
pub struct TagArgs {
    /// The image: a name or an ID
    pub image: String,
    /// Its new names
    #[arg(required = true)]
    pub name: Vec<String>,
    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
}

/// Arguments of `trine import`.
#[derive(Args)]
pub struct ImportArgs {
    /// What to import
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Its name; an archive of images may contain it
    pub name: Option<String>,
    /// Platform to choose; for a root file system, the one that it is for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
    /// For a root file system: default command (JSON list, or words)
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// For a root file system: entry point, which is always executed (JSON list, or words)
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// For a root file system: environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// For a root file system: working directory
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// For a root file system: user
    #[arg(long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Print only the ID
    #[arg(long, short)]
    pub quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trine export`.
#[derive(Args)]
pub struct ExportArgs {
    /// The image: a name or an ID
    pub image: String,
    /// Where to write it
    #[arg(value_name = "TO")]
    pub to: String,
    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
}

impl From<trine_oci::Error> for Refusal {
    fn from(e: trine_oci::Error) -> Refusal {
        if e.is_refusal() { Refusal::refused(e) } else { Refusal::host(e) }
    }
}

/// The user's store.
fn store() -> Result<Store, Refusal> {
    Ok(Store::open()?)
}

/// The given platform, or the host's.
pub fn or_host(platform: Option<Platform>) -> Platform {
    platform.unwrap_or_else(Platform::host)
}

#[cfg(feature = "registry")]
pub use registry::fetch;

/// Without the feature `registry`, nothing can be fetched.
#[cfg(not(feature = "registry"))]
pub fn fetch(_: &Store, name: &str, _: Option<Platform>, _: bool) -> Result<Image, Refusal> {
    Err(Refusal::refused(format!(
        "image {name} is not here, and this trine was built without `registry`: import it"
    )))
}

/// Prints the result of a verb that brought an image.
fn said(image: &Image, quiet: bool, json: bool) {
    let name = image.name().map(ToString::to_string);
    match (json, quiet) {
        (true, _) => print(&format!(
            "{}\n",
            serde_json::json!({"name": name, "id": image.id().to_string(), "digest": image.digest().to_string(),
                "platform": image.platform().to_string()})
        )),
        (_, true) => print(&format!("{}\n", image.id())),
        _ => {
            let name = image.name().map_or_else(|| image.id().to_string(), Name::short);
            print(&plain(&format!("{name} ({}): {}\n", image.platform(), image.digest())));
        }
    }
}

/// Formats a table; each column is as wide as its contents. Text from images is made safe for the terminal.
fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(|c| line(c, 1000)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            shown.push_str(&format!("{cell:<width$}   "));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// Writes to standard output; it is not a failure if nobody reads it.
fn print(text: &str) {
    drop(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()));
}

/// A size for people, in powers of ten, as registries and Docker count.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.3}").chars().take(5).collect::<String>().trim_end_matches('.').to_string()
                    + " "
                    + unit
            };
        }
        value /= 1000.0;
    }
    format!("{value:.2} TB")
}

/// The first digits of a digest, which are unique enough for people.
fn short(digest: &trine_oci::Digest) -> String {
    digest.digest().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.500 kB"), (123_456_789, "123.4 MB"), (5 << 40, "5.50 TB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|c| c.to_string()).collect();
        assert_eq!(table(&[row(&["A", "B"]), row(&["long", "x"])]), "A      B\nlong   x\n");
        assert_eq!(table(&[row(&["a\x1b[2J", "b\nc"])]), "a?[2J   b c\n");
    }
}
