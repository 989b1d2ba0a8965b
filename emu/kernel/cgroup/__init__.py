"""Control groups, version 2 (kernel/cgroup, Documentation/admin-guide/cgroup-v2.rst)."""
