"""The commands of ``unimmu tlb``."""
