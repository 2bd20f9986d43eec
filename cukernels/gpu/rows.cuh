// Rows of k values, such as the scores of k classes: a group of lanes for each.
//
// Short rows share a warp, 4, 16 or 32 lanes each; long ones have a block. A row is read from
// memory once and from the cache as often as its function asks for it.
#pragma once
#include "prelude.cuh"

constexpr int row_threads = 256;

// Values of a row that a lane works on at once. The functions of float64 are calls on newer GPUs,
// across which few registers are kept.
template <typename T>
constexpr int unrolled = sizeof(T) == 4 ? 4 : 1;

// Join one value of each lane of a row's group; all of them get the result.
template <typename Operation, int Lanes, typename T>
__device__ inline T group_reduce(T x) {
    if constexpr (Lanes <= warp_size)
        return warp_reduce<Operation, Lanes>(x);
    else
        return block_reduce<Operation, Lanes>(x);
}

// Join f(x[0]), ..., f(x[k - 1]); lane i takes every Lanes-th value from x[i] on.
template <typename Operation, int Lanes, typename T, typename F>
__device__ inline T row_reduce(const T* x, int k, int lane, const F& f) {
    T joined = Operation::template neutral<T>();
#pragma unroll unrolled < T>
    for (int i = lane; i < k; i += Lanes) joined = Operation::join(joined, T(f(x[i])));
    return group_reduce<Operation, Lanes>(joined);
}

// Call body(row, lane, inside) for rows this block's way through n rows. All lanes of a warp come
// along, as reductions need them: where rows have run out, with the last row and `inside` false.
template <int Lanes, typename Body>
__device__ inline void each_row(int64 n, const Body& body) {
    constexpr int rows = row_threads / Lanes;
    const int lane = int(threadIdx.x) % Lanes, group = int(threadIdx.x) / Lanes;
    for (int64 first = int64(blockIdx.x) * rows; first < n; first += int64(gridDim.x) * rows) {
        const int64 row = first + group;
        body(least(row, n - 1), lane, row < n);
    }
}
