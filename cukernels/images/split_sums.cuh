// What ends within the launch of a filter gradient: the sum over its splits, and the gradient of
// the biases, which is the sums of dz's columns. No other launch adds anything up.
//
// A sum over very many places is split, and the blocks of each split store their terms. Groups of
// splits are added up first, and then the sums of the groups, in both cases one after the other by
// the block that is the last to arrive. With groups of about the square root of all splits, a block
// never adds up many terms. The order follows from the number of splits alone.
#pragma once
#include "gemm.cuh"

// Add up the terms of all splits to which this block belongs. `add(first, apart, count, is_total)`
// adds up the `count` terms first, first + apart, ..., and stores their sum as the total, or else
// in place of the first of them. `arrived`: a counter for each group, and one for the groups.
template <typename Add>
__device__ inline void add_splits(unsigned* arrived, int split, int splits, int splits_of_group,
                                  const Add& add) {
    const int groups = divide_up(splits, splits_of_group), group = split / splits_of_group;
    const int first = group * splits_of_group, own = least(splits_of_group, splits - first);
    if (!is_last_block(arrived + group, own)) return;
    add(first, 1, own, groups == 1);
    if (groups == 1 || !is_last_block(arrived + groups, groups)) return;
    add(0, splits_of_group, groups, true);
}

// Where the terms of a tile lie, and where their sum goes. Like the epilogue of gemm.cuh it is a
// plain struct, which a block keeps in shared memory during the main loop.
template <typename T>
struct TileTerms {
    static constexpr int V = vector_length<T>;
    using Epilogue = StoreRows<T, EquidistantRows<T>>;

    Epilogue total;
    T* first;           // the corner of the tile in the term of the first split
    int64 apart;        // elements from one term to the next
    unsigned* arrived;  // see add_splits
    int row, columns;   // elements of a row of a term, and from the tile's corner to its end

    __device__ Epilogue term(int split) const {
        return {{first + split * apart, row, total.rows.count}, columns, true};
    }

    template <typename Tile>
    __device__ void add(int split, int splits_apart, int count, bool is_total) const {
        constexpr int vectors = Tile::N / V, rows_at_once = Tile::threads / vectors;
        const int n = int(threadIdx.x) % vectors * V;
        if (n >= columns) return;
        Epilogue to = is_total ? total : term(split);
        to.begin(n);
        const T* const corner = first + split * apart + n;
        for (int m = int(threadIdx.x) / vectors; m < least(Tile::M, total.rows.count);
             m += rows_at_once) {
            Vector<T, V> sum = {};
#pragma unroll 8
            for (int t = 0; t < count; t++) {
                const Vector<T, V> term =
                    load<V>(corner + int64(m) * row + int64(t) * splits_apart * apart);
#pragma unroll
                for (int e = 0; e < V; e++) sum[e] += term[e];
            }
            to.store(m, sum);
        }
    }
};

// Add up `count` rows of `columns` elements that lie `apart` elements apart.
template <int Threads, typename T>
__device__ inline void add_rows(const T* terms, int64 apart, int count, int columns, T* to) {
    for (int n = threadIdx.x; n < columns; n += Threads) {
        T sum = 0;
#pragma unroll 8
        for (int t = 0; t < count; t++) sum += terms[t * apart + n];
        to[n] = sum;
    }
}

constexpr int column_threads = 256;

// Sum the first lanes * V columns of a matrix, or those that there are. `lanes` threads lie along a
// row, each with a vector, and the lines of these are added up in their order. Lines are counted as
// if a block had 256 threads, as many as it may have, so that the tile decides about no bit.
template <int Threads, typename T>
__device__ inline void sum_columns(const T* x, int64 ld, int rows, int columns, int lanes,
                                   T* sums) {
    constexpr int V = vector_length<T>;
    T* const of_line = dynamic_shared<T>();
    const int lines = column_threads / lanes, width = lanes * V;
    const bool wide = is_aligned(x) && ld % V == 0;
    for (int thread = threadIdx.x; thread < column_threads; thread += Threads) {
        const int column = thread % lanes * V, line = thread / lanes;
        const T* from = x + column;
        Vector<T, V> sum = {};
        if (wide && column < columns) {
#pragma unroll 4
            for (int row = line; row < rows; row += lines) {
                const Vector<T, V> term = load<V>(from + row * ld);
#pragma unroll
                for (int e = 0; e < V; e++) sum[e] += term[e];
            }
        } else if (column < columns) {
            for (int row = line; row < rows; row += lines)
#pragma unroll
                for (int e = 0; e < V; e++)
                    if (column + e < columns) sum[e] += from[row * ld + e];
        }
        store(of_line + thread * V, sum);
    }
    __syncthreads();
    add_rows<Threads>(of_line, width, lines, least(width, columns), sums);
}
