"""What instructions are, and which of them the engine is not left alone with."""
