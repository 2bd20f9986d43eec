// Rows of an array, put back to where they were picked from.
#include "elementwise.cuh"
#include "words.cuh"

// x[rows[i]] = y[i]; a row that x does not have is ignored. Rows have `words` words each. Grid:
// (blocks of a row, picks or fewer).
template <typename Word>
__global__ void __launch_bounds__(elementwise_threads)
    scatter_rows(byte* __restrict__ x, const byte* __restrict__ y, const int64* __restrict__ rows,
                 int64 rows_of_x, int picks, int64 words) {
    const Word* from = reinterpret_cast<const Word*>(y);
    Word* to = reinterpret_cast<Word*>(x);
    const int64 first = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    const int64 stride = int64(gridDim.x) * elementwise_threads;
    for (int pick = blockIdx.y; pick < picks; pick += gridDim.y) {
        const int64 row = rows[pick];
        if (!is_within(row, rows_of_x)) continue;
#pragma unroll 4
        for (int64 i = first; i < words; i += stride) to[row * words + i] = from[pick * words + i];
    }
}
