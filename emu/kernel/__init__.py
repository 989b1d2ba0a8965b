"""Tasks, scheduling, signals, exec and modules."""
