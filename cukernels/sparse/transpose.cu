// The transposes of sparse matrices in CSR form: their entries, sorted by column.
//
//   number_entries   finds the row of every entry and its sort key (model, column), and counts how
//                    often each lowest digit of the keys occurs in each block's entries
//   count_digits     counts another digit
//   scatter_entries  moves entries to their places by this digit; equal digits keep their order
//
// This is a stable radix sort from the lowest digit on: so the order of the entries of a column is
// that of the rows, whatever the blocks are. The only atomic operations count integers. A pass
// takes 2 launches for each 10 bits of (model, column), with about 40 bytes of memory traffic for
// each entry. The last block that has counted replaces the counts by the sums over the blocks
// before, which is why no third launch does it.
#include "csr.cuh"
#include "elementwise.cuh"
#include "fused.cuh"

constexpr int most_bits = 10;  // of a digit of the keys
constexpr int most_digits = 1 << most_bits;
constexpr int most_blocks = 512;
constexpr int least_entries = 2048;  // of a block

// The entries that a block sorts: a multiple of its threads, so that all its warps have the same
// number of whole rounds. As many `blocks` as are needed have entries. The host does not know how
// many entries the rows have, only how many the arrays hold; so some blocks of the grid have none.
struct Share {
    int64 length, begin, end;
    int blocks;

    __device__ explicit Share(int64 count) {
        length = divide_up(divide_up(count, int64(most_blocks)), int64(threads)) * threads;
        length = largest(length, int64(least_entries));
        blocks = int(divide_up(count, length));
        begin = blockIdx.x * length;
        end = least(begin + length, count);
    }
};

// The last row that begins at entry j or before it.
template <typename I>
__device__ inline int row_of(const I* indptr, int rows, int64 j) {
    int low = 0, high = rows - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        const bool is_after = indptr[middle] > j;
        low = is_after ? low : middle;
        high = is_after ? middle - 1 : high;
    }
    return low;
}

// Write what this block has `found`. The last block to do so replaces the counts of each digit by
// their sums over the blocks before, and writes the `totals` over all blocks.
template <typename I>
__device__ inline void finish_counts(const int* found, I* counts, I* totals, unsigned* arrived,
                                     int blocks, int digits) {
    __syncthreads();
    for (int d = threadIdx.x; d < digits; d += threads)
        counts[int64(blockIdx.x) * digits + d] = found[d];
    if (!is_last_block(arrived, blocks)) return;
    constexpr int batch = 16;  // loads in flight
    for (int d = threadIdx.x; d < digits; d += threads) {
        I before = 0;
        for (int first = 0; first < blocks; first += batch) {
            I count[batch];
#pragma unroll
            for (int i = 0; i < batch; i++)
                count[i] = first + i < blocks ? counts[int64(first + i) * digits + d] : I(0);
#pragma unroll
            for (int i = 0; i < batch; i++) {
                if (first + i < blocks) counts[int64(first + i) * digits + d] = before;
                before += count[i];
            }
        }
        totals[d] = before;
    }
}

// The blocks with blockIdx.y = 0 number and count. If there are others, they compute dz = dy *
// activation'(y), which the product with the transposes needs too: that saves a launch.
template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    number_entries(const I* indices,  // [entries]
                   const I* indptr,   // [rows + 1]
                   I* keys,           // [entries of these rows]
                   int* entry_rows,   // the same; -1: not an entry of the matrix
                   I* counts,         // [blocks, digits]
                   I* totals,         // [digits]
                   unsigned* arrived, int rows, int rows_of_model, int width, int64 entries,
                   int bits, const T* dy, const T* y, T* dz, int64 n, int activation, T parameter) {
    if (blockIdx.y == 1) {
        const bool wide = is_aligned(dy) && is_aligned(y) && is_aligned(dz);
        each_vector<T>(n, wide, [&](int64 i, auto size) {
            auto slope = load<decltype(size)::value>(dy + i);
            fused_backward(activation, slope, load<decltype(size)::value>(y + i), parameter);
            store(dz + i, slope);
        });
        return;
    }
    const Entries all(indptr, rows, entries);
    const Share own(all.count);
    if (blockIdx.x >= own.blocks) return;
    __shared__ int found[most_digits];
    const int digits = 1 << bits;
    for (int d = threadIdx.x; d < digits; d += threads) found[d] = 0;
    __syncthreads();
    for (int64 j = own.begin + threadIdx.x; j < own.end; j += threads) {
        const I column = indices[all.begin + j];
        const int row = row_of(indptr, rows, all.begin + j);
        const I key = I(row / rows_of_model) * width + least(largest(column, I(0)), I(width - 1));
        keys[j] = key;
        entry_rows[j] = is_within(column, width) ? row : -1;
        atomicAdd(&found[int(key) & (digits - 1)], 1);
    }
    finish_counts(found, counts, totals, arrived, own.blocks, digits);
}

template <typename I>
__global__ void __launch_bounds__(threads)
    count_digits(const I* keys,    // [entries of these rows]
                 const I* indptr,  // [rows + 1]
                 I* counts,        // [blocks, digits]
                 I* totals,        // [digits]
                 unsigned* arrived, int rows, int64 entries, int shift, int bits) {
    const Share own(Entries(indptr, rows, entries).count);
    if (blockIdx.x >= own.blocks) return;
    __shared__ int found[most_digits];
    const int digits = 1 << bits;
    for (int d = threadIdx.x; d < digits; d += threads) found[d] = 0;
    __syncthreads();
    for (int64 j = own.begin + threadIdx.x; j < own.end; j += threads)
        atomicAdd(&found[int(keys[j] >> shift) & (digits - 1)], 1);
    finish_counts(found, counts, totals, arrived, own.blocks, digits);
}

// The sum of x over all threads of the block before this one.
template <typename I>
__device__ inline I sum_before(I x) {
    __shared__ I sums[warps];
    I running = x;
#pragma unroll
    for (int distance = 1; distance < warp_size; distance *= 2) {
        const I before = __shfl_up_sync(full_warp, running, distance);
        if (lane_id() >= distance) running += before;
    }
    if (lane_id() == warp_size - 1) sums[warp_id()] = running;
    __syncthreads();
    I before = running - x;
#pragma unroll
    for (int w = 0; w < warps; w++)
        if (w < warp_id()) before += sums[w];
    return before;
}

// Move entries to their places. Each warp has consecutive entries of its block, and takes 32 of
// them in each round. An entry goes behind all entries with smaller digits, and behind those with
// its own digit in earlier blocks, earlier warps, earlier rounds and lower lanes. So the sort is
// stable. In the first pass (shift 0) `data` is that of the matrix.
template <typename T, typename I>
__global__ void __launch_bounds__(threads)
    scatter_entries(const I* keys, const int* entry_rows,              // [entries of these rows]
                    const T* data,                                     // the same, or [entries]
                    const I* indptr,                                   // [rows + 1]
                    const I* counts,                                   // [blocks, digits]
                    const I* totals,                                   // [digits]
                    I* sorted_keys, int* sorted_rows, T* sorted_data,  // [entries of these rows]
                    int rows, int64 entries, int shift, int bits) {
    const Entries all(indptr, rows, entries);
    const Share share(all.count);
    if (blockIdx.x >= share.blocks) return;
    if (shift == 0) data += all.begin;
    __shared__ I place[most_digits];
    __shared__ int found[warps][most_digits];
    const int digits = 1 << bits;

    // place[digit]: where this block's entries with a digit begin, if the digits are in order.
    constexpr int own = most_digits / threads;  // adjacent digits of a thread
    I count[own], sum = 0;
#pragma unroll
    for (int i = 0; i < own; i++) {
        const int d = threadIdx.x * own + i;
        count[i] = d < digits ? totals[d] : I(0);
        sum += count[i];
    }
    I before = sum_before(sum);
#pragma unroll
    for (int i = 0; i < own; i++) {
        const int d = threadIdx.x * own + i;
        if (d < digits) place[d] = before + counts[int64(blockIdx.x) * digits + d];
        before += count[i];
    }
    // found[warp][digit]: how many entries with a digit earlier warps of the block have.
    for (int d = lane_id(); d < digits; d += warp_size) found[warp_id()][d] = 0;
    __syncwarp();

    const int64 length = share.length / warps;
    const int64 begin = share.begin + warp_id() * length;
    const int64 end = least(begin + length, share.end);
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
