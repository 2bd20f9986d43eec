// Kernels over rows of k values, such as the scores of k classes. A group of lanes shares a row.
//
// Short rows have 4, 16 or 32 lanes of a warp; long rows have a block. The first pass over a row
// reads it from memory, and later passes read it from the cache.
#pragma once
#include "prelude.cuh"

constexpr int row_threads = 256;

// How many values of a row a lane works on at once. In float64 it is one: exp and log are function
// calls there, and registers that are live across a call spill.
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

// Join f(x[0]), ..., f(x[k - 1]). Lane i takes x[i], x[i + Lanes], ..., so the order is fixed.
template <typename Operation, int Lanes, typename T, typename F>
__device__ inline T row_reduce(const T* x, int k, int lane, const F& f) {
    T joined = Operation::template neutral<T>();
#pragma unroll unrolled < T>
    for (int i = lane; i < k; i += Lanes) joined = Operation::join(joined, T(f(x[i])));
    return group_reduce<Operation, Lanes>(joined);
}

// Call body(row, lane, inside) for this block's rows of n. Reductions need all lanes of a warp, so
// groups that have run out of rows come along with the last row and `inside` false.
template <int Lanes, typename Body>
__device__ inline void each_row(int64 n, const Body& body) {
    constexpr int rows = row_threads / Lanes;
    const int lane = int(threadIdx.x) % Lanes, group = int(threadIdx.x) / Lanes;
    for (int64 first = int64(blockIdx.x) * rows; first < n; first += int64(gridDim.x) * rows) {
        const int64 row = first + group;
        body(least(row, n - 1), lane, row < n);
    }
}
