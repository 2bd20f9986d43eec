// Products with a sparse matrix in CSR form, and the transposition that its gradient needs.
//
//   csr_product      y = a b: a warp for each row and tile of columns of b. The warp consists of
//                    groups of 2^lanes lanes, and each lane has V columns; the groups take turns at
//                    the entries of the row. All warps of a block share a long row
//   number_entries   finds the row of every entry, and its sort key (model, column)
//   count_digits     counts how often each digit of the keys occurs in each block's entries
//   scan_counts      sums, for each digit, the counts of the blocks before
//   scatter_entries  moves entries to their places by this digit; equal digits keep their order
//   find_starts      finds where the entries of each key begin
//
// The gradient in b is a^T dy, computed row by row of a^T. So that no sum depends on which thread
// comes first, the entries are sorted by column. This is a stable radix sort from the lowest digit
// on, whose only atomic operations count integers. Then `csr_product` adds up each row in a fixed
// order. A sort takes 3 launches for each 10 bits of (model, column), with about 40 bytes of memory
// traffic for each entry.
#include "prelude.cuh"

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int most_bits = 10;  // of a digit of the keys
constexpr int most_digits = 1 << most_bits;
constexpr int long_row = 1024;  // a row of more entries is shared by all warps of a block

// The entries of a row. If its ends are out of range it has none, and its sum becomes NaN.
struct Row {
    int64 begin, end;
    bool is_whole;

    template <typename I>
    __device__ Row(const I* indptr, int row, int64 entries)
        : begin(indptr[row]), end(indptr[row + 1]) {
        is_whole = 0 <= begin && begin <= end && end <= entries;
        if (!is_whole) begin = end = 0;
    }
    __device__ Row() : begin(0), end(0), is_whole(true) {}
    __device__ bool is_long() const { return end - begin > long_row; }
};

// The V columns of b and y that a lane has. They are adjacent if they can be loaded as a vector,
// else 2^lanes apart, so that adjacent lanes read adjacent columns. A column's sum has the same
// bits either way.
template <typename T>
struct LaneColumns {
    static constexpr int V = vector_length<T>;
    int first, columns, lanes;
    bool wide;

    __device__ LaneColumns(const T* b, int columns, int lanes) : columns(columns), lanes(lanes) {
        const int own = lane_id() & ((1 << lanes) - 1);
        wide = columns % V == 0 && is_aligned(b);
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
    for (int distance = warp_size / 2; distance >> mine.lanes; distance /= 2)
#pragma unroll
        for (int v = 0; v < vector_length<T>; v++)
            sum[v] += __shfl_xor_sync(full_warp, sum[v], distance);
    return sum;
}

template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    csr_product(const T* data,     // [entries]
                const I* indices,  // [entries]
                const I* indptr,   // [rows + 1]
                const T* b,        // [models, depth, columns]
                T* y,              // [rows, columns]
                int rows, int rows_of_model, int columns, int lanes, int64 b_model, int64 entries,
                I depth) {
    constexpr int V = vector_length<T>;
    __shared__ bool is_long[warps];
    __shared__ Vector<T, V> of_warp[warps][warp_size];

    const int own = blockIdx.x * warps + warp_id();
    const bool is_row = own < rows;
    const Row range = is_row ? Row(indptr, own, entries) : Row();
    if (lane_id() == 0) is_long[warp_id()] = range.is_long();
    if (is_row && !range.is_long()) {
        const T* factor = b + own / rows_of_model * b_model;
        const LaneColumns<T> mine(factor, columns, lanes);
        const auto sum = sum_row(data, indices, range, 0, 1, factor, depth, mine);
        if (!(lane_id() >> lanes)) mine.write(y + int64(own) * columns, sum);
    }
    // Then all warps share the long rows among those of the block, one after the other.
    __syncthreads();
    for (int w = 0; w < warps; w++) {
        if (!is_long[w]) continue;
        const int row = blockIdx.x * warps + w;
        const T* factor = b + row / rows_of_model * b_model;
        const LaneColumns<T> mine(factor, columns, lanes);
        of_warp[warp_id()][lane_id()] = sum_row<T, I>(data, indices, Row(indptr, row, entries),
                                                      warp_id(), warps, factor, depth, mine);
        __syncthreads();
        if (warp_id() == 0 && !(lane_id() >> lanes)) {
            Vector<T, V> sum = of_warp[0][lane_id()];
            for (int i = 1; i < warps; i++)
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += of_warp[i][lane_id()][v];
            mine.write(y + int64(row) * columns, sum);
        }
        __syncthreads();
    }
}

template <typename I>
__global__ void __launch_bounds__(threads)
    number_entries(const I* indices,  // [entries]
                   const I* indptr,   // [rows + 1]
                   I* keys,           // [entries]
                   I* entry_rows,     // [entries], -1: not an entry of the matrix
                   int rows, int rows_of_model, int width, int64 entries) {
    const int row = blockIdx.x * warps + warp_id();
    if (row >= rows) return;
    const I offset = I(row / rows_of_model) * width;
    const Row range(indptr, row, entries);
    const auto number = [&](int64 begin, int64 end, bool is_known) {
        for (int64 j = begin + lane_id(); j < end; j += warp_size) {
            const I column = indices[j];
            entry_rows[j] = is_known && is_within(column, width) ? row : -1;
            keys[j] = offset + least(largest(column, I(0)), I(width - 1));
        }
    };
    number(range.begin, range.end, true);
    // Entries before the first row and after the last one belong to none; they have to sort too.
    if (row == 0 && range.is_whole) number(0, range.begin, false);
    if (row == rows - 1 && range.is_whole) number(range.end, entries, false);
}

template <typename I>
__global__ void __launch_bounds__(threads)
    count_digits(const I* keys,  // [entries]
                 I* counts,      // [digits, blocks]
                 int64 entries, int entries_of_block, int shift, int digits) {
    __shared__ int found[most_digits];
    for (int d = threadIdx.x; d < digits; d += threads) found[d] = 0;
    __syncthreads();
    const int64 begin = int64(blockIdx.x) * entries_of_block;
    const int64 end = least(begin + entries_of_block, entries);
    for (int64 j = begin + threadIdx.x; j < end; j += threads)
        atomicAdd(&found[int(keys[j] >> shift) & (digits - 1)], 1);
    __syncthreads();
    for (int d = threadIdx.x; d < digits; d += threads)
        counts[int64(d) * gridDim.x + blockIdx.x] = found[d];
}

// The sum of x over all threads of the block before this one; `total` becomes the sum over all.
template <typename I>
__device__ inline I scan_block(I x, I& total) {
    __shared__ I sums[warps];
    I running = x;
#pragma unroll
    for (int distance = 1; distance < warp_size; distance *= 2) {
        const I before = __shfl_up_sync(full_warp, running, distance);
        if (lane_id() >= distance) running += before;
    }
    __syncthreads();  // other warps may still be reading the sums of the previous call
    if (lane_id() == warp_size - 1) sums[warp_id()] = running;
    __syncthreads();
    I before = running - x;
    total = 0;
#pragma unroll
    for (int w = 0; w < warps; w++) {
        if (w < warp_id()) before += sums[w];
        total += sums[w];
    }
    return before;
}

// Replace the counts by the sums over the blocks before. A block of this kernel has a digit.
template <typename I>
__global__ void __launch_bounds__(threads)
    scan_counts(I* counts,  // [digits, blocks]: becomes the sum of those before
                I* totals,  // [digits]
                int blocks) {
    counts += int64(blockIdx.x) * blocks;
    I before = 0;
    for (int first = 0; first < blocks; first += threads) {
        const int i = first + threadIdx.x;
        const I count = i < blocks ? counts[i] : I(0);
        I total;
        const I sum = scan_block(count, total);
        if (i < blocks) counts[i] = before + sum;
        before += total;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// Move entries to their places. Each warp has consecutive entries of its block, and takes 32 of
// them in each round. An entry goes behind all entries with smaller digits, and behind those with
// its own digit in earlier blocks, earlier warps, earlier rounds and lower lanes. So the sort is
// stable.
template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    scatter_entries(const I* keys, const I* entry_rows, const T* data,  // [entries]
                    const I* counts,                                    // [digits, blocks]
                    const I* totals,                                    // [digits]
                    I* sorted_keys, I* sorted_rows, T* sorted_data,     // [entries]
                    int64 entries, int entries_of_block, int shift, int bits) {
    __shared__ I place[most_digits];
    __shared__ int found[warps][most_digits];
    const int digits = 1 << bits;

    // place[digit]: where this block's entries with a digit begin, if the digits are in order.
    constexpr int own = most_digits / threads;  // adjacent digits of a thread
    I count[own], sum = 0, total;
#pragma unroll
    for (int i = 0; i < own; i++) {
        const int d = threadIdx.x * own + i;
        count[i] = d < digits ? totals[d] : I(0);
        sum += count[i];
    }
    I before = scan_block(sum, total);
#pragma unroll
    for (int i = 0; i < own; i++) {
        const int d = threadIdx.x * own + i;
        if (d < digits) place[d] = before + counts[int64(d) * gridDim.x + blockIdx.x];
        before += count[i];
    }
    // found[warp][digit]: how many entries with a digit earlier warps of the block have.
    for (int d = lane_id(); d < digits; d += warp_size) found[warp_id()][d] = 0;
    __syncwarp();

    const int entries_of_warp = entries_of_block / warps;
    const int64 begin = int64(blockIdx.x) * entries_of_block + warp_id() * entries_of_warp;
    const int64 end = least(begin + entries_of_warp, entries);
    for (int64 j = begin + lane_id(); j < end; j += warp_size)
        atomicAdd(&found[warp_id()][int(keys[j] >> shift) & (digits - 1)], 1);
    __syncthreads();
    for (int d = threadIdx.x; d < digits; d += threads) {
        int running = 0;
#pragma unroll
        for (int w = 0; w < warps; w++) {
            const int of_warp = found[w][d];
            found[w][d] = running;
            running += of_warp;
        }
    }
    __syncthreads();

    for (int64 round = begin; round < end; round += warp_size) {
        const int64 j = round + lane_id();
        const bool inside = j < end;
        const I key = inside ? keys[j] : I(0);
        const int digit = int(key >> shift) & (digits - 1);
        unsigned peers = __ballot_sync(full_warp, inside);  // lanes with the same digit
        for (int bit = 0; bit < bits; bit++) {
            const bool is_set = digit >> bit & 1;
            const unsigned set = __ballot_sync(full_warp, is_set);
            peers &= is_set ? set : ~set;
        }
        const int rank = __popc(peers & ((1u << lane_id()) - 1));  // among these
        int64 to = 0;
        if (inside) to = place[digit] + found[warp_id()][digit] + rank;
        __syncwarp();  // all lanes have read `found`
        if (inside && rank == 0) found[warp_id()][digit] += __popc(peers);
        __syncwarp();
        if (inside) {
            sorted_keys[to] = key;
            sorted_rows[to] = entry_rows[j];
            sorted_data[to] = data[j];
        }
    }
}

// starts[key] is the first entry whose key is not smaller, by binary search.
template <typename I>
__global__ void __launch_bounds__(threads) find_starts(const I* keys,  // [entries], ascending
                                                       I* starts,      // [count]
                                                       int64 entries, int count) {
    const int key = blockIdx.x * threads + threadIdx.x;
    if (key >= count) return;
    int64 low = 0, high = entries;
    while (low < high) {
        const int64 middle = (low + high) / 2;
        const bool is_before = keys[middle] < key;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    starts[key] = low;
}
