"""Other ways to share page tables than msharefs: kernel modules to compare it with, and proof that one can be written
outside :mod:`emu`."""
