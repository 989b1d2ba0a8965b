"""Memory management: frames, page tables, VMAs, address spaces, page faults, the audit."""
