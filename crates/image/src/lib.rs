//! Disks, Debian packages, initramfs archives.
