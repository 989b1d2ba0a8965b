"""What instructions compute, for those that the engine computes wrongly: native functions (:mod:`mmu.native`) from
operands and control words to results and flags, which know nothing of an engine.

The x87 functions take an operand as its two words, sign with exponent and significand, and FCW.  The transcendental
ones know their value to better than 2^-90 of it and round once, as RC says: within 0.50000001 units in the last place,
which is the correctly rounded value but for about one operand in 2^25.  A CPU stays within 1 unit (SDM vol. 1, 8.3.10).
FSIN, FCOS, FSINCOS and FPTAN reduce their operand by the pi of 66 bits that CPUs have (8.3.8).
"""
