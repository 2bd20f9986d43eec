// Sums in a fixed order: over the splits of a product, of gradients over models, and of columns.
#include "fused.cuh"

// out[o][i] = activation(x[o][0][i] + x[o][1][i] + ... + bias[o][i % n]). The terms are added one
// after the other, just as a block of gemm.cuh adds up its own sums, so a split changes no bit.
// x: (outer, terms, inner), out: (outer, inner); bias: n numbers for each o, `bias_outer` elements
// apart, or null. Adjacent threads take adjacent vectors of 16 bytes; the loads of 8 terms are in
// flight at once. Grid: (blocks of 256 vectors, outer or fewer).
template <typename T>
__global__ void __launch_bounds__(256)
    ordered_sum(const T* x, const T* bias, T* out, int outer, int terms, int64 inner, int n,
                int64 bias_outer, int activation, T parameter) {
    constexpr int V = vector_length<T>;
    const int64 i = (int64(blockIdx.x) * 256 + threadIdx.x) * V;
    if (i >= inner) return;
    const bool wide = inner % V == 0 && is_aligned(x) && is_aligned(out);
    const int count = int(least(int64(V), inner - i));
    const int column = bias ? int(i % n) : 0;
    for (int o = blockIdx.y; o < outer; o += gridDim.y) {
        const T* from = x + int64(o) * terms * inner + i;
        Vector<T, V> sum = {};
        if (wide) {
#pragma unroll 8
            for (int t = 0; t < terms; t++) {
                const Vector<T, V> term = load<V>(from + t * inner);
#pragma unroll
                for (int e = 0; e < V; e++) sum[e] += term[e];
            }
        } else {
#pragma unroll 2
            for (int t = 0; t < terms; t++)
#pragma unroll
                for (int e = 0; e < V; e++)
                    if (e < count) sum[e] += from[t * inner + e];
        }
        if (bias)
#pragma unroll
            for (int e = 0; e < V; e++) sum[e] += bias[o * bias_outer + (column + e) % n];
        fused_forward(activation, sum, parameter);
        T* to = out + o * inner + i;
        if (wide)
            store(to, sum);
        else
#pragma unroll
            for (int e = 0; e < V; e++)
                if (e < count) to[e] = sum[e];
    }
}

// dz = dy * activation'(y), and the sums of its columns over chunks of the rows, in one pass.
// dy, y, dz: (models, rows, n), sums: (models, chunks, n); dz or sums may be null, and so may y for
// the identity. `Lanes` threads lie along a row, each with a vector of 16 bytes, so a block reads
// 256 / Lanes rows at a time. Grid: (models * chunks * blocks of Lanes vectors).
template <typename T, int Lanes>
__global__ void __launch_bounds__(256)
    column_sums(const T* dy, const T* y, T* dz, T* sums, int rows, int n, int chunks,
                int rows_of_chunk, int activation, T parameter) {
    constexpr int V = vector_length<T>, rows_at_once = 256 / Lanes;
    __shared__ T of_line[rows_at_once][Lanes * V];
    const int blocks = divide_up(n, Lanes * V), block = int(blockIdx.x) % blocks;
    const int chunk = int(blockIdx.x) / blocks % chunks;
    const int64 model = int(blockIdx.x) / blocks / chunks;
    const int lane = int(threadIdx.x) % Lanes, line = int(threadIdx.x) / Lanes;
    const int column = (block * Lanes + lane) * V;
    const bool wide = n % V == 0 && is_aligned(dy) && is_aligned(y) && is_aligned(dz);
    const int count = least(V, n - column);  // columns of this thread; none if not positive
    const int end = least(rows, (chunk + 1) * rows_of_chunk);

    Vector<T, V> sum = {};
    if (count > 0) {
        const int64 first = model * rows * n + column;
#pragma unroll 2
        for (int row = chunk * rows_of_chunk + line; row < end; row += rows_at_once) {
            const int64 at = first + int64(row) * n;
            Vector<T, V> slope = {}, value = {};
            if (wide) {
                slope = load<V>(dy + at);
                if (activation != fused_identity) value = load<V>(y + at);
            } else {
#pragma unroll
                for (int e = 0; e < V; e++)
                    if (e < count) {
                        slope[e] = dy[at + e];
                        if (activation != fused_identity) value[e] = y[at + e];
                    }
            }
            fused_backward(activation, slope, value, parameter);
            if (dz && wide)
                store(dz + at, slope);
            else if (dz)
#pragma unroll
                for (int e = 0; e < V; e++)
                    if (e < count) dz[at + e] = slope[e];
#pragma unroll
            for (int e = 0; e < V; e++) sum[e] += slope[e];
        }
    }
    if (!sums) return;

    // The lines of a block are added up in their order.
    store(&of_line[line][lane * V], sum);
    __syncthreads();
    const int own = int(threadIdx.x);
    if (own >= Lanes * V || block * Lanes * V + own >= n) return;
    T total = 0;
#pragma unroll 8
    for (int i = 0; i < rows_at_once; i++) total += of_line[i][own];
    sums[(model * chunks + chunk) * n + block * Lanes * V + own] = total;
}
