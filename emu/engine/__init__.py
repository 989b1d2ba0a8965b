"""What stands directly on the engine (Unicorn): native hooks, the records that they share, and the state of the FPU."""
