from tests.booted import machine
from tests.raising import no_garbage, nothing_is_left

__all__ = ["machine", "no_garbage", "nothing_is_left"]
