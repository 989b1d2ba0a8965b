"""Other ways to share page tables between processes, each a kernel module of its own, to compare msharefs with.

Every module here is an ``init(kernel)`` in the entry-point group ``unimmu.modules``, and uses only interfaces that a
design outside of this repository could use too.
"""
