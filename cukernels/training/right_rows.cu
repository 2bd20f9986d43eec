// Which rows are predicted right: a thread has a row.
#include "elementwise.cuh"

// p: (n, k) probabilities. y: (n) classes, or (n, k) labels if `has_labels`. right: (n) bytes, 1 if
// a row is right, 0 if it is wrong, 2 if it has a value that is not finite. The grid covers the
// rows.
template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    right_rows(const T* __restrict__ p, const int64* __restrict__ y, byte* __restrict__ right,
               int64 n, int k, bool has_labels) {
    const int64 row = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    if (row >= n) return;
    p += row * k;
    bool is_finite = true, all_right = true;
    int best = 0;
#pragma unroll 4
    for (int i = 0; i < k; i++) {
        const T own = p[i];
        is_finite = is_finite && fabs(own) < infinity<T>();
        if (own > p[best]) best = i;
        if (has_labels) all_right = all_right && (own > T(0.5)) == (y[row * k + i] != 0);
    }
    if (!has_labels) all_right = y[row] == (k == 1 ? int64(p[0] > T(0.5)) : int64(best));
    right[row] = is_finite ? byte(all_right) : byte(2);
}
