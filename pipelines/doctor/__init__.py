"""Whether all that a run needs is there: each need is tried for real, and told in one line with what mends it."""
