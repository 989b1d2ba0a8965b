"""The laboratory: streams of accesses, recorded or from elsewhere, and what TLB models make of them."""
