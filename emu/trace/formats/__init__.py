"""How a trace is written: a module for each format."""
