//! Boards, boot, vCPU threads.
