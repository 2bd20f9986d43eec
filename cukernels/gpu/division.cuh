// Integer division by a number known on the host: a multiplication and a shift.
#pragma once
#include "prelude.cuh"

// n / d for 0 <= n < 2^31, where `divisor` is what gpu/division.py makes of d: the low half is
// ceil(2^(31 + s) / d), the high half s = ceil(log2 d). Doubling n first makes the shift by 31 + s
// a shift by 32, which __umulhi does for nothing, and one by s.
__device__ inline int quotient(int n, uint64 divisor) {
    return __umulhi(unsigned(n) << 1, unsigned(divisor)) >> unsigned(divisor >> 32);
}
