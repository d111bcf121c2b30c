//! Decompression of layers: plain, gzip, zstd. The first bytes decide, as with Docker, because media types
//! can be wrong.

use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

/// The largest zstd window, which is what its own tool accepts by default. A frame may ask for up to 3.75
/// TiB, all of which would be kept in memory.
const WINDOW_MOST: u64 = 128 << 20;

/// How content is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Detects the compression from the first bytes.
    ///
    /// # Errors
    /// The compression is not allowed for images.
    pub fn of(start: &[u8]) -> Result<Compression> {
        let other = |name: &str| {
            Err(Error::damaged(
                "layer",
                format!("it is compressed with {name}: only gzip and zstd are supported"),
            ))
        };
        match start {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => other("xz"),
            _ => Ok(Compression::None),
        }
    }

    /// The media type of a layer with this compression.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::None => crate::document::LAYER,
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Returns a reader of the decompressed content.
///
/// # Errors
/// The first bytes cannot be read, or show another compression.
pub fn plain<'a>(reader: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = reader.fill_buf().map_err(|e| Error::damaged("layer", e.to_string()))?;
    Ok(match Compression::of(start)? {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(WINDOW_MOST);
            Box::new(Frames { reader, decoder, inside: false })
        }
    })
}

/// As [`plain`]; more than `most` bytes of content are an error.
///
/// # Errors
/// As [`plain`].
pub fn bounded<'a>(reader: impl Read + Send + 'a, most: u64) -> Result<AtMost<Box<dyn Read + Send + 'a>>> {
    Ok(AtMost::new(plain(reader)?, most))
}

/// A reader with a limit; exceeding it is an error, not the end.
pub struct AtMost<R> {
    inner: R,
    most: u64,
    left: u64,
}

impl<R: Read> AtMost<R> {
    /// Creates a reader of at most `most` bytes of `inner`.
    pub fn new(inner: R, most: u64) -> AtMost<R> {
        AtMost { inner, most, left: most }
    }
}

impl<R: Read> Read for AtMost<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                let what = format!("there are more than {} bytes in it", self.most);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(n)
    }
}

/// Reads consecutive zstd frames; skippable frames are skipped (zstd:chunked stores its index in them).
struct Frames<R: BufRead> {
    reader: R,
    decoder: FrameDecoder,
    inside: bool,
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {what}"))
}

impl<R: BufRead> Frames<R> {
    /// Goes to the next frame with content; returns whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.reader).take(length), &mut io::sink())? < length {
                        return Err(bad("it ends inside a frame"));
                    }
                }
                Err(
                    FrameDecoderError::WindowSizeTooBig { requested: needed, .. }
                    | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { got: needed }),
                ) => {
                    return Err(bad(format!(
                        "a frame needs {needed} bytes of memory, at most {WINDOW_MOST} are given: compress it anew, \
                         without --ultra and --long"
                    )));
                }
                Err(e) => return Err(bad(e)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if !self.begin()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let more = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.reader, more).map_err(bad)?;
            }
            match self.decoder.read(buffer)? {
                0 if self.decoder.is_finished() => self.inside = false,
                n => return Ok(n),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::within;
    use std::io::Write;

    /// The output of `printf hello | zstd`, as RFC 8878 describes it: a raw block of 5 bytes, no checksum.
    const FRAME: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0, b'h', b'e', b'l', b'l', b'o'];

    fn text(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        plain(bytes).map_err(io::Error::other)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn compressions_are_known_by_their_first_bytes() {
        assert_eq!(text(b"hello").unwrap(), "hello");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"hello").unwrap();
        let gz = gz.finish().unwrap();
        assert_eq!(text(&gz).unwrap(), "hello");
        assert_eq!(text(&[&gz[..], &gz[..]].concat()).unwrap(), "hellohello", "members in a row");
        assert_eq!(text(FRAME).unwrap(), "hello");
        let skip = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        assert_eq!(text(&[&skip[..], FRAME, &skip[..], FRAME].concat()).unwrap(), "hellohello");
        assert!(text(b"BZh91AY").unwrap_err().to_string().contains("bzip2"));
        assert_eq!(text(b"").unwrap(), "");
    }

    /// A frame with this window descriptor whose blocks repeat a byte 128 KiB long; it has no end.
    fn repeating(window: u8, blocks: usize) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, window];
        let header: u32 = (128 << 10) << 3 | 1 << 1;
        for _ in 0..blocks {
            frame.extend(&header.to_le_bytes()[..3]);
            frame.push(b'x');
        }
        frame
    }

    #[test]
    fn a_frame_takes_no_more_memory_than_a_window_may() {
        within("layer::decompress::tests::a_frame_takes_no_more_memory_than_a_window_may", 400 << 20, || {
            let all =
                |bytes: &[u8]| io::copy(&mut plain(bytes).unwrap(), &mut io::sink()).unwrap_err().to_string();
            // 2 GiB, then the largest possible window.
            for window in [21 << 3, 0xff] {
                let why = all(&repeating(window, 16_400));
                assert!(why.contains("bytes of memory"), "{why}");
                // The same behind a valid frame.
                let why = all(&[FRAME, &repeating(window, 16_400)].concat());
                assert!(why.contains("bytes of memory"), "{why}");
            }
            // 8 MiB are accepted, and the content may have any length.
            let mut fine = repeating(13 << 3, 16_400);
            fine.extend([1, 0, 0]);
            assert_eq!(io::copy(&mut plain(&fine[..]).unwrap(), &mut io::sink()).unwrap(), 16_400 << 17);
        });
    }

    #[test]
    fn a_block_takes_no_more_memory_than_a_block_may() {
        within("layer::decompress::tests::a_block_takes_no_more_memory_than_a_block_may", 400 << 20, || {
            // 40,000 matches of 65,539 bytes in a block of 90 kB: no literals; all codes use run-length mode.
            let mut block = vec![0x00, 0xff];
            block.extend((40_000u16 - 0x7f00).to_le_bytes());
            block.extend([0b0101_0100, 0, 2, 52]);
            // Of each match the offset has two bits and the length 16.
            block.resize(block.len() + 40_000 * 18 / 8, 0);
            block.push(1);
            let mut frame = repeating(13 << 3, 1);
            let header = (block.len() as u32) << 3 | 2 << 1;
            frame.extend(&header.to_le_bytes()[..3]);
            frame.extend(block);
            assert!(text(&frame).is_err());
        });
    }

    #[test]
    fn more_than_is_allowed_is_an_error() {
        let read = |most: u64| {
            let mut content = String::new();
            bounded(FRAME, most).unwrap().read_to_string(&mut content).map(|_| content)
        };
        assert_eq!(read(5).unwrap(), "hello");
        assert!(read(4).unwrap_err().to_string().contains("more than 4 bytes"));
    }

    #[test]
    fn truncated_content_is_an_error() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"hello").unwrap();
        let gz = gz.finish().unwrap();
        for cut in 3..gz.len() {
            assert!(text(&gz[..cut]).is_err(), "gzip, {cut} bytes");
        }
        for cut in 4..FRAME.len() {
            assert!(text(&FRAME[..cut]).is_err(), "zstd, {cut} bytes");
        }
        let skip = [0x51, 0x2a, 0x4d, 0x18, 200, 0, 0, 0, 9];
        assert!(text(&skip).is_err());
    }
}
