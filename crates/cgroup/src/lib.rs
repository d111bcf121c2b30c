//! Control groups (cgroups(7)) of the host: processes that are counted and limited together, in the first version, the
//! second, and where a host has both (hybrid).
