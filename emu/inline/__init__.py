"""Blocks count themselves, inside the code that the engine generates (docs/engine.md)."""
