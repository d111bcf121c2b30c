//! The server against a folder of its own. [`client`] makes requests and reads replies.

mod attributes;
mod client;
mod escapes;
mod files;
mod names;
mod session;
