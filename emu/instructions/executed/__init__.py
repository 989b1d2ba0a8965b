"""Instructions that the engine computes wrongly, executed on its registers and through its translations."""
