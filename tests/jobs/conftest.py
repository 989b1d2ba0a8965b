from tests.booted import machine

__all__ = ["machine"]
