"""Reports: what was measured, as pictures and pages for people."""
