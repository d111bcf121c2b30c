//! What a network has done, for a monitor.

/// Counters since the network was made, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that the guest sent.
    pub frames_from_guest: u64,
    /// Their bytes.
    pub bytes_from_guest: u64,
    /// Frames made for the guest.
    pub frames_to_guest: u64,
    /// Their bytes.
    pub bytes_to_guest: u64,
    /// Frames from the guest that were dropped because too many waited.
    pub overrun_from_guest: u64,
    /// Frames for the guest that were dropped because too many waited.
    pub overrun_to_guest: u64,
    /// Frames from the guest that were malformed or of a protocol that is not supported.
    pub malformed: u64,
    /// Packets with a source address that is not the guest's.
    pub spoofed: u64,
    /// Connections and datagrams to what the guest may not reach.
    pub refused: u64,
    /// TCP connections made, by the guest or to it.
    pub tcp_opened: u64,
    /// TCP connections that are there now.
    pub tcp_now: usize,
    /// TCP segments for the guest that were sent again.
    pub tcp_retransmitted: u64,
    /// Bytes that wait in TCP connections now, in units of buffers.
    pub tcp_buffered: usize,
    /// UDP flows made, by the guest or to it.
    pub udp_opened: u64,
    /// UDP flows that are there now.
    pub udp_now: usize,
    /// Questions for names.
    pub dns_questions: u64,
    /// Questions that no name server answered.
    pub dns_failed: u64,
}
