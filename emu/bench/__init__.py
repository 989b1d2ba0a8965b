"""The benchmark suite: what the MMU and the machine cost, as ratios to something measured in the same run."""
