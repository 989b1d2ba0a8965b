"""/proc and /sys."""
