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

// dx[rows[i]] += dy[i] for i = 0, 1, ..., where dx is zeros before. A block has a pick and a tile
// of columns. If it is the first pick of its row, it adds up all picks of that row, in their order.
// So no two blocks write to the same element. It looks for them among the numbers of all rows:
// these are few beside the columns, and the loads of many are in flight at once.
template <typename T, typename Row>
__global__ void __launch_bounds__(elementwise_threads)
    gather_rows_backward(const T* __restrict__ dy, const Row* __restrict__ rows, T* __restrict__ dx,
                         int64 picks, int64 columns, int64 rows_of_x) {
    constexpr int warps = elementwise_threads / warp_size;
    __shared__ unsigned same[warps];  // a bit for each pick of this round
    const int64 pick = blockIdx.x;
    const int64 row = rows[pick];
    if (!is_within(row, rows_of_x)) return;
    bool is_first = true;
#pragma unroll 8
    for (int64 i = threadIdx.x; i < pick; i += elementwise_threads) is_first &= rows[i] != row;
    if (!__syncthreads_and(is_first)) return;
    for (int64 tile = blockIdx.y; tile * elementwise_threads < columns; tile += gridDim.y) {
        const int64 column = tile * elementwise_threads + threadIdx.x;
        T sum = 0;
        for (int64 first = pick; first < picks; first += elementwise_threads) {
            const int64 i = first + threadIdx.x;
            const unsigned found = __ballot_sync(full_warp, i < picks && rows[i] == row);
            if (!__syncthreads_or(found != 0)) continue;
            if (lane_id() == 0) same[warp_id()] = found;
            __syncthreads();
            if (column < columns)
                for (int w = 0; w < warps; w++)
                    for (unsigned left = same[w]; left; left &= left - 1)
                        sum += dy[(first + w * warp_size + __ffs(left) - 1) * columns + column];
        }
        if (column < columns) dx[row * columns + column] = sum;
    }
}
