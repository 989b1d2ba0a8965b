"""The plugin's fixtures, with every design whether or not it is installed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import msharefs.module
import sharing.hugetlb_pmd
import sharing.ptshare
from emu.kernel.modules import Init


@pytest.fixture
def unimmu_modules() -> Mapping[str, Init]:
    return {
        "hugetlb_pmd": sharing.hugetlb_pmd.init,
        "msharefs": msharefs.module.init,
        "ptshare": sharing.ptshare.init,
    }
