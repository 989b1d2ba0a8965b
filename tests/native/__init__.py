"""The same program on the host and in a machine."""
