"""Scripts that measure modelmill beside a peer, in one run on the same input and machine."""
