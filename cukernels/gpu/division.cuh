// Division by a number that the host knows: a multiplication and a shift.
#pragma once
#include "prelude.cuh"

// n / d for 0 <= n < 2^31, where `divisor` is what gpu/division.py makes of d: ceil(2^(31 + s) / d)
// in the low half, and s = ceil(log2 d) in the high one.
__device__ inline int quotient(int n, uint64 divisor) {
    return __umulhi(unsigned(n) << 1, unsigned(divisor)) >> unsigned(divisor >> 32);
}
