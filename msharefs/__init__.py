"""msharefs: a kernel module that lets processes share page tables.

A *region* is a range whose page tables belong to a host mm that no CPU ever loads.  A process gets a *window* on it;
touching a *slot* of the window (one unit, the range that one linking entry covers) links the region's table into the
process's own tables.
"""
