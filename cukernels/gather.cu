// Rows of an array by their numbers, and the gradient: sums of the rows that went to several
// places.
#include "division.cuh"
#include "elementwise.cuh"

// What a thread copies at once: the most that the rows' length and place allow.
using Word16 = Vector<unsigned, 4>;
using Word8 = Vector<unsigned, 2>;
using Word4 = unsigned;
using Word2 = unsigned short;

// y[i] = x[rows[i]], for rows of `words` words each; `first` and `n` are the words of y to copy.
// Row numbers and words are told apart by `divisor`, which division.cuh makes of `words`.
template <typename Word, typename Row>
__global__ void __launch_bounds__(elementwise_threads)
    gather_rows(const byte* __restrict__ x, const Row* __restrict__ rows, byte* __restrict__ y,
                int n, int words, uint64 divisor) {
    const Word* from = reinterpret_cast<const Word*>(x);
    Word* to = reinterpret_cast<Word*>(y);
    const int stride = int(gridDim.x) * elementwise_threads;
#pragma unroll 4
    for (int i = int(blockIdx.x) * elementwise_threads + int(threadIdx.x); i < n; i += stride) {
        const int row = quotient(i, divisor);
        to[i] = from[int64(rows[row]) * words + (i - row * words)];
    }
}

// dx[rows[i]] += dy[i], i after i, for zeros in dx. A thread has a column, so that no two threads
// meet in a row that was picked twice, and the order of its sum is that of the picks.
template <typename T, typename Row>
__global__ void __launch_bounds__(elementwise_threads)
    gather_rows_backward(const T* __restrict__ dy, const Row* __restrict__ rows, T* __restrict__ dx,
                         int64 picks, int64 columns) {
    const int64 column = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    if (column >= columns) return;
    for (int64 i = 0; i < picks; i++)
        dx[int64(rows[i]) * columns + column] += dy[i * columns + column];
}
