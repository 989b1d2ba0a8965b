"""Machines whose programs are in control groups."""

from tests.booted import machine

__all__ = ["machine"]
