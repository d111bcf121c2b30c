//! IEEE 754 arithmetic in integers, for what the host's FPU cannot do.
