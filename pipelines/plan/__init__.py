"""What a run would do, and what it would take, before it runs: nothing is run, nothing is written."""
