"""Recording what happens, and the formats it is written in."""
