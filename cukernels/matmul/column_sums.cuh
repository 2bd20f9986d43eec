// Sums of columns by one block, in an order that depends on neither its threads nor the grid.
//
// The rows go to 256 / lanes lines: line i adds up rows i, i + lines, i + 2 lines, ..., and then
// the lines are added up in their order. `lanes` threads lie along a row, each with a vector of 16
// bytes. A block of fewer than 256 threads takes the lines in turns.
#pragma once
#include "tails.cuh"

constexpr int lines_by_lanes = 256;
template <typename T>
constexpr int line_sums = lines_by_lanes * vector_length<T>;  // elements of shared memory needed

// total[c] = sum of the rows first .. end - 1 for the columns c < count. `row(i, column, own)` is
// the vector of row i that begins at `column`; only its first `own` elements are used, if there are
// less than V. `of_lines` is shared memory of `line_sums<T>` elements, which no thread may be
// using. If `total` is null, the rows are read, for what `row` does with them, and not summed.
template <typename T, int Threads, typename Row>
__device__ inline void sum_columns(T* of_lines, int lanes, int count, int first, int end,
                                   const Row& row, T* total) {
    constexpr int V = vector_length<T>;
    const int lines = lines_by_lanes / lanes, width = lanes * V;
    const int column = int(threadIdx.x) % lanes * V;
    const int own = least(V, count - column);
    for (int line = int(threadIdx.x) / lanes; line < lines; line += Threads / lanes) {
        Vector<T, V> sum = {};
        if (own > 0) {
#pragma unroll 2
            for (int i = first + line; i < end; i += lines) {
                const Vector<T, V> x = row(i, column, own);
#pragma unroll
                for (int e = 0; e < V; e++) sum[e] += x[e];
            }
        }
        if (total) store(of_lines + line * width + column, sum);
    }
    if (!total) return;
    __syncthreads();
    for (int c = threadIdx.x; c < least(width, count); c += Threads) {
        T sum = 0;
#pragma unroll 8
        for (int line = 0; line < lines; line++) sum += of_lines[line * width + c];
        total[c] = sum;
    }
}

// The rows of a matrix of n columns, from one of its columns on, as sum_columns reads them.
template <typename T>
struct RowsToSum {
    static constexpr int V = vector_length<T>;
    const T* first;
    int64 n;
    bool wide;  // whether all vectors are aligned to 16 bytes

    __device__ Vector<T, V> operator()(int i, int column, int own) const {
        return load_some(first + i * n + column, wide, own);
    }
};
