// Rows of an array, picked by their numbers, and the gradient, which sums over the copies of a row.
#include "division.cuh"
#include "elementwise.cuh"
#include "words.cuh"

// y[i] = x[rows[i]], or all bits set if x has no such row. Rows have `words` words each, and y has
// n words in all. `divisor` divides the index of a word by `words` (see division.cuh).
template <typename Word, typename Row>
__global__ void __launch_bounds__(elementwise_threads)
    gather_rows(const byte* __restrict__ x, const Row* __restrict__ rows, byte* __restrict__ y,
                int n, int words, uint64 divisor, int64 rows_of_x) {
    const Word* from = reinterpret_cast<const Word*>(x);
    Word* to = reinterpret_cast<Word*>(y);
    const int stride = int(gridDim.x) * elementwise_threads;
#pragma unroll 4
    for (int i = int(blockIdx.x) * elementwise_threads + int(threadIdx.x); i < n; i += stride) {
        const int row = quotient(i, divisor);
        const int64 source = rows[row];
        if (is_within(source, rows_of_x))
            to[i] = from[source * words + (i - row * words)];
        else
            set_bits(to[i]);
    }
}

// dx[rows[i]] += dy[i] for i = 0, 1, ..., where dx is zeros before. A thread has a column of all
// rows. So no two threads add to the same element, and the order of each sum is that of the picks.
template <typename T, typename Row>
__global__ void __launch_bounds__(elementwise_threads)
    gather_rows_backward(const T* __restrict__ dy, const Row* __restrict__ rows, T* __restrict__ dx,
                         int64 picks, int64 columns, int64 rows_of_x) {
    const int64 column = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    if (column >= columns) return;
    for (int64 i = 0; i < picks; i++)
        if (is_within(rows[i], rows_of_x))
            dx[int64(rows[i]) * columns + column] += dy[i * columns + column];
}
