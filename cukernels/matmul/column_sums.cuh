// Sums of columns by one block, in an order that depends on neither its threads nor the grid.
#pragma once
#include "tails.cuh"

constexpr int lines_by_lanes = 256;
template <typename T>
constexpr int line_sums = lines_by_lanes * vector_length<T>;  // elements of shared memory needed

// total[c] = sum of the rows first .. end - 1 for the columns c < count.
//
// The rows go to 256 / lanes lines: line i adds up rows i, i + lines, i + 2 lines, ..., and then
// the lines are added up in their order. `lanes` threads lie along a row, each with a vector of 16
// bytes. A block of fewer than 256 threads takes the lines in turns.
//
// `row(at, own)` is the vector of the rows that begins at the element `at`; only its first `own`
// elements are used, if there are less than V. Row 0 begins at the element `corner`, and rows are n
// elements apart. `of_lines` is shared memory of `line_sums<T>` elements, which no thread may be
// using. If `total` is null, the rows are read, for what `row` does with them, and not summed.
template <typename T, int Threads, typename Row>
__device__ inline void sum_columns(T* of_lines, int lanes, int count, int64 corner, int n,
                                   int first, int end, const Row& row, T* total) {
    constexpr int V = vector_length<T>;
    const int lines = lines_by_lanes / lanes, width = lanes * V;
    const int column = int(threadIdx.x) % lanes * V;
    const int own = least(V, count - column);
    for (int line = int(threadIdx.x) / lanes; line < lines; line += Threads / lanes) {
        Vector<T, V> sum = {};
        if (own > 0) {
#pragma unroll 2
            for (int i = first + line; i < end; i += lines) {
                const Vector<T, V> x = row(corner + int64(i) * n + column, own);
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

// The rows of a matrix, as sum_columns reads them. `wide`: all vectors are aligned to 16 bytes.
template <typename T>
struct RowsToSum {
    const T* x;
    bool wide;
    __device__ Vector<T, vector_length<T>> operator()(int64 at, int own) const {
        return load_some(x + at, wide, own);
    }
};

// Sums of the columns of (models, rows, n) by many blocks, each of which has the rows of a chunk
// and `lanes` vectors of columns.
template <typename T>
struct ColumnSums {
    T* sums;  // n for each model, `model_stride` elements apart; or null
    int64 model_stride;
    T* parts;           // the sums of each chunk, (models, chunks, n), if there are several
    unsigned* arrived;  // counters, (models, blocks along a row)
    int rows, n, chunks, rows_of_chunk, lanes;

    // What block `number` of models * chunks * blocks does. The last block of each model and its
    // columns adds up the chunks.
    template <int Threads, typename Row>
    __device__ void add(int number, T* of_lines, const Row& row) const {
        const int width = lanes * vector_length<T>, blocks = divide_up(n, width);
        const int block = number % blocks, chunk = number / blocks % chunks;
        const int64 model = number / blocks / chunks;
        const int column = block * width, count = n - column;
        const int64 corner = model * chunks * n + column;  // of the parts
        T* const total = sums ? sums + model * model_stride + column : nullptr;
        const bool is_part = sums && chunks > 1;
        sum_columns<T, Threads>(of_lines, lanes, count, model * rows * n + column, n,
                                chunk * rows_of_chunk, least(rows, (chunk + 1) * rows_of_chunk),
                                row, is_part ? parts + corner + int64(chunk) * n : total);
        if (!is_part || !is_last_block(arrived + model * blocks + block, chunks)) return;
        const RowsToSum<T> of_chunks = {parts, n % vector_length<T> == 0 && is_aligned(parts)};
        sum_columns<T, Threads>(of_lines, lanes, count, corner, n, 0, chunks, of_chunks, total);
    }
};
