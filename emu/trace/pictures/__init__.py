"""Pictures of a whole trace: what was counted in it, drawn, and in one page."""
