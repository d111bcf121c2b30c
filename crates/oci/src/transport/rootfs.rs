//! Importing a plain root file system as an image of one layer.

use super::archive::Archive;
use super::docker::put_manifest;
use super::{Importing, Source};
use crate::digest::{self};
use crate::document;
use crate::error::{Error, Result};
use crate::layer::decompress::Compression;
use crate::platform::Platform;
use crate::store::Image;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, HistoryBuilder, ImageConfigurationBuilder, Os, RootFsBuilder,
};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::SystemTime;
use trine_base::rfc3339;

/// Settings of an image besides its files.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The entry point, which is always executed.
    pub entrypoint: Vec<String>,
    /// The default command, or the default arguments of the entry point.
    pub cmd: Vec<String>,
    /// Environment variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// The working directory.
    pub workdir: Option<String>,
    /// The user.
    pub user: Option<String>,
}

impl Settings {
    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Refused(what));
        for e in &self.env {
            if e.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
                return wrong(format!("'{e}' is not a variable: it should look like NAME=VALUE"));
            }
        }
        match &self.workdir {
            Some(dir) if !dir.starts_with('/') => {
                wrong(format!("the working directory '{dir}' is not an absolute path"))
            }
            _ => Ok(()),
        }
    }
}

pub fn import(archive: &Archive, importing: &Importing<'_>) -> Result<Image> {
    importing.settings.check()?;
    let Some(name) = &importing.name else {
        return Err(Error::Refused(format!(
            "{} contains no name of the image: give one as the last argument",
            archive.place()
        )));
    };
    let working = importing.store.working()?;
    let diff_id = digest::parse(&archive.verify()?.finish())?;
    let mut whole = archive.whole()?;
    let bad = |e: io::Error| Error::damaged(archive.place(), e.to_string());
    let mut start = Vec::new();
    (&mut whole).take(8).read_to_end(&mut start).map_err(bad)?;
    let kind = Compression::of(&start)?.media_type();
    whole.seek(SeekFrom::Start(0)).map_err(bad)?;
    let mut spool = importing.store.spool()?;
    io::copy(&mut whole, &mut spool).map_err(bad)?;
    let (blob, size) = spool.finish(&working)?;
    let config = config(importing, diff_id.as_ref())?;
    let id = importing.store.put(&config, &working)?;
    let config = Descriptor::new(document::CONFIG.into(), config.len() as u64, id);
    let layer = Descriptor::new(kind.into(), size, blob);
    let manifest = put_manifest(config, vec![layer], importing, &working)?;
    importing.finish(name, manifest, None, &working)
}

fn config(importing: &Importing<'_>, diff_id: &str) -> Result<Vec<u8>> {
    let platform = importing.platform.clone().unwrap_or_else(Platform::host);
    let settings = &importing.settings;
    let error = |e: oci_spec::OciSpecError| Error::Host(e.to_string());
    let mut run = ConfigBuilder::default().env(settings.env.clone());
    if !settings.entrypoint.is_empty() {
        run = run.entrypoint(settings.entrypoint.clone());
    }
    if !settings.cmd.is_empty() {
        run = run.cmd(settings.cmd.clone());
    }
    if let Some(dir) = &settings.workdir {
        run = run.working_dir(dir.clone());
    }
    if let Some(user) = &settings.user {
        run = run.user(user.clone());
    }
    let created = rfc3339::seconds(SystemTime::now());
    let history = HistoryBuilder::default().created(created.clone()).created_by("trine import").build();
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![diff_id.to_string()]).build();
    let mut config = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(Arch::from(&platform.architecture[..]))
        .os(Os::from(&platform.os[..]))
        .config(run.build().map_err(error)?)
        .rootfs(rootfs.map_err(error)?)
        .history(vec![history.map_err(error)?]);
    if !platform.variant.is_empty() {
        config = config.variant(platform.variant);
    }
    serde_json::to_vec(&config.build().map_err(error)?).map_err(|e| Error::Host(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let wrong = Settings { env: vec!["x".into()], ..Settings::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("NAME=VALUE"));
        let wrong = Settings { workdir: Some("x".into()), ..Settings::default() };
        assert!(wrong.check().is_err());
    }
}
