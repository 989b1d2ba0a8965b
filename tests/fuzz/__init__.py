"""Attacks: generators of hostile input, from seeds, and what must hold whatever they make (docs/robustness.md)."""
