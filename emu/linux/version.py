"""The texts of uname(2) and /proc/version."""

from __future__ import annotations

RELEASE = "6.18.0-unimmu"
VERSION = "#1 SMP PREEMPT_DYNAMIC"
