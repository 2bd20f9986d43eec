// Products with a sparse matrix in CSR form, and their gradients.
//
//   csr_product   y = activation(a b + bias): a warp for each row and tile of columns of b. The
//                 warp consists of groups of 2^lanes lanes, and each lane has V columns; the groups
//                 take turns at the entries of the row. All warps of a block share a long row
//   csr_gradient  the gradient in b is a^T dz, and that in the bias the sum of the rows of dz
//
// So that no sum depends on which thread comes first, the gradient is computed row by row of a^T,
// whose entries transpose.cu has sorted, and each row is added up in a fixed order.
#include "csr.cuh"
#include "fused.cuh"

// The V columns of b and y that a lane has. They are adjacent if they can be loaded as a vector,
// else 2^lanes apart, so that adjacent lanes read adjacent columns. A column's sum has the same
// bits either way.
template <typename T>
struct LaneColumns {
    static constexpr int V = vector_length<T>;
    int first, columns, lanes;
    bool wide;

    __device__ LaneColumns(const T* b, const T* y, int columns, int lanes)
        : columns(columns), lanes(lanes) {
        const int own = lane_id() & ((1 << lanes) - 1);
        wide = columns % V == 0 && is_aligned(b) && is_aligned(y);
        first = int(blockIdx.y) * (V << lanes) + own * (wide ? V : 1);
    }

    template <bool Wide>
    __device__ Vector<T, V> read(const T* row) const {
        Vector<T, V> x = {};
        if constexpr (Wide) {
            if (first < columns) x = load<V>(row + first);
        } else {
#pragma unroll
            for (int v = 0; v < V; v++)
                if (first + (v << lanes) < columns) x[v] = row[first + (v << lanes)];
        }
        return x;
    }

    __device__ int column(int v) const { return wide ? first + v : first + (v << lanes); }

    __device__ void write(T* row, const Vector<T, V>& x) const {
        if (wide) {
            if (first < columns) store(row + first, x);
        } else {
#pragma unroll
            for (int v = 0; v < V; v++)
                if (first + (v << lanes) < columns) row[first + (v << lanes)] = x[v];
        }
    }
};

// Sum over the entries j, j + step, ... before `end`. The loads of 8 entries are in flight
// together. The sum is NaN if an entry `strays`, which means that its row of b (of `depth` rows)
// does not exist.
template <bool Wide, typename T, typename I>
__device__ inline Vector<T, vector_length<T>> sum_entries(const T* data, const I* indices, int64 j,
                                                          int64 end, int step, const T* b, I depth,
                                                          const LaneColumns<T>& mine, int strays) {
    constexpr int V = vector_length<T>, batch = 8;
    Vector<T, V> sum = {};
    for (; j < end; j += batch * step) {
        T value[batch];
        I row[batch];
        Vector<T, V> x[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const bool inside = j + i * step < end;
            value[i] = inside ? data[j + i * step] : T(0);
            row[i] = inside ? indices[j + i * step] : I(-1);
            strays |= int(inside && !is_within(row[i], depth));
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            x[i] = {};
            if (is_within(row[i], depth))
                x[i] = mine.template read<Wide>(b + int64(row[i]) * mine.columns);
        }
#pragma unroll
        for (int i = 0; i < batch; i++)
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] = fma(value[i], x[i][v], sum[v]);
    }
    if (strays)
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] = not_a_number<T>();
    return sum;
}

// Add up the sums of the groups of a warp; all lanes of a column get the result.
template <typename T, int V>
__device__ inline void join_groups(Vector<T, V>& sum, int lanes) {
    for (int distance = warp_size / 2; distance >> lanes; distance /= 2)
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += __shfl_xor_sync(full_warp, sum[v], distance);
}

// The sum of a row over the entries of one of the `of_warps` warps that share it. The groups of the
// warp take turns at these, and their sums are joined at the end.
template <typename T, typename I>
__device__ inline Vector<T, vector_length<T>> sum_row(const T* data, const I* indices,
                                                      const Row& row, int warp, int of_warps,
                                                      const T* b, I depth,
                                                      const LaneColumns<T>& mine) {
    const int groups = warp_size >> mine.lanes;
    const int64 first = row.begin + warp * groups + (lane_id() >> mine.lanes);
    const int step = of_warps * groups;
    const int strays = !row.is_whole;
    auto sum =
        mine.wide ? sum_entries<true>(data, indices, first, row.end, step, b, depth, mine, strays)
                  : sum_entries<false>(data, indices, first, row.end, step, b, depth, mine, strays);
    join_groups(sum, mine.lanes);
    return sum;
}

// The sum of the sums that the warps of a block have, in order: the first lanes of warp 0 get it.
template <typename T, int V>
__device__ inline Vector<T, V> join_warps(const Vector<T, V>& sum) {
    __shared__ Vector<T, V> of_warp[warps][warp_size];
    of_warp[warp_id()][lane_id()] = sum;
    __syncthreads();
    Vector<T, V> joined = of_warp[0][lane_id()];
    if (warp_id() == 0)
        for (int i = 1; i < warps; i++)
#pragma unroll
            for (int v = 0; v < V; v++) joined[v] += of_warp[i][lane_id()][v];
    __syncthreads();
    return joined;
}

// Multiply the rows from `first` on, one for each warp of the block, by matrices. `range_of`,
// `factor_of` and `to` give the entries of a row, the matrix it is multiplied by, and where its
// product goes; `finish` may change that before.
template <typename T, typename I, typename Range, typename Factor, typename To, typename Finish>
__device__ inline void multiply_rows(int first, int rows, const T* data, const I* indices, I depth,
                                     int columns, int lanes, const Range& range_of,
                                     const Factor& factor_of, const To& to, const Finish& finish) {
    __shared__ int64 begins[warps], ends[warps];
    const int own = first + warp_id();
    const bool is_row = own < rows;
    const Row range = is_row ? range_of(own) : Row(0, 0);
    if (lane_id() == 0) begins[warp_id()] = range.begin, ends[warp_id()] = range.end;
    const auto multiply = [&](int row, const Row& range, int warp, int of_warps, bool is_shared) {
        const T* factor = factor_of(row);
        const LaneColumns<T> mine(factor, to(row), columns, lanes);
        auto sum = sum_row(data, indices, range, warp, of_warps, factor, depth, mine);
        if (is_shared) sum = join_warps(sum);
        if ((is_shared && warp_id() != 0) || lane_id() >> lanes) return;
        finish(row, mine, sum);
        mine.write(to(row), sum);
    };
    if (is_row && !range.is_long()) multiply(own, range, 0, 1, false);
    // Then all warps share the long rows among those of the block, one after the other.
    __syncthreads();
    for (int w = 0; w < warps; w++) {
        const Row shared(begins[w], ends[w]);
        if (shared.is_long()) multiply(first + w, shared, warp_id(), warps, true);
    }
}

template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    csr_product(const T* data,     // [entries]
                const I* indices,  // [entries]
                const I* indptr,   // [rows + 1]
                const T* b,        // [models, depth, columns]
                const T* bias,     // [models, columns], or null
                T* y,              // [rows, columns]
                int rows, int rows_of_model, int columns, int lanes, int64 b_model,
                int64 bias_model, int64 entries, I depth, int activation, T parameter) {
    constexpr int V = vector_length<T>;
    multiply_rows(
        int(blockIdx.x) * warps, rows, data, indices, depth, columns, lanes,
        [&](int row) { return Row(indptr, row, entries); },
        [&](int row) { return b + row / rows_of_model * b_model; },
        [&](int row) { return y + int64(row) * columns; },
        [&](int row, const LaneColumns<T>& mine, Vector<T, V>& sum) {
            const T* added = bias + row / rows_of_model * bias_model;
#pragma unroll
            for (int v = 0; v < V; v++)
                if (bias && mine.column(v) < columns) sum[v] += added[mine.column(v)];
            fused_forward(activation, sum, parameter);
        });
}

// The first of `count` ascending keys that is not below this one.
template <typename I>
__device__ inline int64 first_of(const I* keys, int64 count, I key) {
    int64 low = 0, high = count;
    while (low < high) {
        const int64 middle = (low + high) / 2;
        const bool is_before = keys[middle] < key;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    return low;
}

// The first `bias_blocks` blocks have a model each, and sum its rows of dz. They come first as they
// take longest. Each warp of the others has a row of the gradients in b.
template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    csr_gradient(const T* data,          // [entries of these rows], sorted by model and column
                 const int* entry_rows,  // the same: the row of dz by which an entry is multiplied
                 const I* keys,          // the same, ascending: model * width + column
                 const I* indptr,        // [rows + 1], of the matrix itself
                 const T* dz,            // [rows, columns]
                 T* db,                  // [models, width, columns]
                 T* dbias,               // [models, columns]
                 int rows, int rows_of_model, int models, int width, int columns, int lanes,
                 int64 db_model, int64 dbias_model, int64 entries, int bias_blocks) {
    constexpr int V = vector_length<T>;
    if (blockIdx.x < bias_blocks) {
        const int first = int(blockIdx.x) * rows_of_model, groups = warp_size >> lanes;
        T* to = dbias + blockIdx.x * dbias_model;
        const LaneColumns<T> mine(dz, to, columns, lanes);
        Vector<T, V> sum = {};
#pragma unroll 4
        for (int i = warp_id() * groups + (lane_id() >> lanes); i < rows_of_model;
             i += warps * groups) {
            const T* row = dz + int64(first + i) * columns;
            const auto slope =
                mine.wide ? mine.template read<true>(row) : mine.template read<false>(row);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += slope[v];
        }
        join_groups(sum, lanes);
        sum = join_warps(sum);
        if (warp_id() == 0 && !(lane_id() >> lanes)) mine.write(to, sum);
        return;
    }
    const int64 count = Entries(indptr, rows, entries).count;
    multiply_rows(
        (int(blockIdx.x) - bias_blocks) * warps, models * width, data, entry_rows, rows, columns,
        lanes,
        [&](int key) {  // odd lanes search for the end of the row
            const int64 found = first_of(keys, count, I(key + (lane_id() & 1)));
            return Row(__shfl_sync(full_warp, found, 0), __shfl_sync(full_warp, found, 1));
        },
        [&](int) { return dz; },
        [&](int key) { return db + key / width * db_model + int64(key % width) * columns; },
        [](int, const LaneColumns<T>&, Vector<T, V>&) {});
}
