//! The saved state of a session.

use crate::handles::SavedHandle;
use crate::nodes::SavedNode;
use crate::{Access, Server};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use trine_base::state::{self, StateError, Versioned};

/// The first version.
#[derive(Serialize, Deserialize)]
struct Session {
    begun: bool,
    read_only: bool,
    nodes: Vec<SavedNode>,
    last_node: u64,
    handles: Vec<SavedHandle>,
    last_handle: u64,
}

trine_base::versions!(Saved of "the shared folder" { V1(Session) });

impl Server {
    /// The session's state. What is open is saved by its name.
    pub fn save(&self) -> Vec<u8> {
        let (nodes, last_node) = self.nodes.save();
        let (handles, last_handle) = self.handles.save();
        let begun = self.begun.load(Ordering::Acquire);
        let read_only = self.folder.access() == Access::ReadOnly;
        state::save(&Saved::V1(Session { begun, read_only, nodes, last_node, handles, last_handle }))
    }

    /// Loads a state that was saved with the same folder. Files are looked for by their names once the guest asks for
    /// them: where another file is there, the guest is told that its own has gone (`ESTALE`, `EBADF`).
    ///
    /// # Errors
    /// The state is damaged, or of a folder that could be written where this one cannot, or the other way round.
    pub fn load(&self, bytes: &[u8]) -> Result<(), StateError> {
        let Saved::V1(session) = state::load(bytes)?;
        let Session { begun, read_only, nodes, last_node, handles, last_handle } = session;
        let here = self.folder.access() == Access::ReadOnly;
        if read_only != here {
            let what = |read_only| if read_only { "read-only" } else { "writable" };
            let (was, is) = (what(read_only), what(here));
            return Err(Saved::mismatch(format!("the folder was {was}, but this one is {is}")));
        }
        if last_node == 0 || [last_node, last_handle].contains(&u64::MAX) {
            return Err(Saved::damaged("its numbers are used up"));
        }
        self.nodes.load(nodes, last_node).map_err(Saved::damaged)?;
        self.handles.load(handles, last_handle).map_err(Saved::damaged)?;
        self.begun.store(begun, Ordering::Release);
        Ok(())
    }
}
