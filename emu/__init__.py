"""A small Linux-like machine whose processes run under Unicorn with the page tables of :mod:`mmu`."""
