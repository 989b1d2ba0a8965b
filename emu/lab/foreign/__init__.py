"""Streams of other tools: accesses without page tables, which a policy makes (:mod:`emu.lab.page_policy`)."""
