"""A program runs in the machine and on this Linux, and its system calls are held against each other
(docs/against-host.md).

:mod:`~emu.against.observer` turns what a program does into records that are free of accidents, the same code for both
sides: :mod:`~emu.against.guest` feeds it from the machine, :mod:`~emu.against.native` with ptrace(2), in
namespaces that :mod:`~emu.against.isolation` makes.  :mod:`~emu.against.compare` finds where the records part.
"""
