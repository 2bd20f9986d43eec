// Sums in a fixed order: of the parts of a split product, of gradients over models, of columns.
#include "fused.cuh"

// out[o][i] = activation(x[o][0][i] + x[o][1][i] + ... + bias[i % n]): one after the other, as a
// block adds up its own sums. x: (outer, terms, inner), out: (outer, inner); bias: n numbers, and
// bias_outer elements on those of the next o, or null. Neighbouring threads take neighbouring
// pieces of 16 bytes; 8 terms are under way at once. Grid: (pieces, outer or fewer).
template <typename T>
__global__ void __launch_bounds__(256)
    ordered_sum(const T* x, const T* bias, T* out, int outer, int terms, int64 inner, int n,
                int64 bias_outer, int activation, T parameter) {
    constexpr int run = vector_length<T>;
    const int64 i = (int64(blockIdx.x) * 256 + threadIdx.x) * run;
    if (i >= inner) return;
    const bool wide = inner % run == 0 && is_aligned(x) && is_aligned(out);
    const int count = int(least(int64(run), inner - i));
    const int column = bias ? int(i % n) : 0;
    for (int o = blockIdx.y; o < outer; o += gridDim.y) {
        const T* from = x + int64(o) * terms * inner + i;
        Vector<T, run> sum = {};
        if (wide) {
#pragma unroll 8
            for (int t = 0; t < terms; t++) {
                const Vector<T, run> term = load<run>(from + t * inner);
#pragma unroll
                for (int e = 0; e < run; e++) sum[e] += term[e];
            }
        } else {
#pragma unroll 2
            for (int t = 0; t < terms; t++)
#pragma unroll
                for (int e = 0; e < run; e++)
                    if (e < count) sum[e] += from[t * inner + e];
        }
        if (bias)
#pragma unroll
            for (int e = 0; e < run; e++) sum[e] += bias[o * bias_outer + (column + e) % n];
        fused_forward(activation, sum, parameter);
        T* to = out + o * inner + i;
        if (wide)
            store(to, sum);
        else
#pragma unroll
            for (int e = 0; e < run; e++)
                if (e < count) to[e] = sum[e];
    }
}

// dz = dy * activation'(y), and the sums of its columns over parts of the rows, in one pass.
// dy, y, dz: (models, rows, n), sums: (models, parts, n); dz or sums may be null, and y for the
// identity. `Lanes` threads lie along a row, each with a piece of 16 bytes; a block has 256 / Lanes
// rows in hand at a time. Grid: (models * parts * blocks of Lanes pieces).
template <typename T, int Lanes>
__global__ void __launch_bounds__(256)
    column_sums(const T* dy, const T* y, T* dz, T* sums, int rows, int n, int parts,
                int rows_of_part, int activation, T parameter) {
    constexpr int run = vector_length<T>, rows_at_once = 256 / Lanes;
    __shared__ T joined[rows_at_once][Lanes * run];
    const int blocks = divide_up(n, Lanes * run), block = int(blockIdx.x) % blocks;
    const int part = int(blockIdx.x) / blocks % parts;
    const int64 model = int(blockIdx.x) / blocks / parts;
    const int lane = int(threadIdx.x) % Lanes, line = int(threadIdx.x) / Lanes;
    const int column = (block * Lanes + lane) * run;
    const bool wide = n % run == 0 && is_aligned(dy) && is_aligned(y) && is_aligned(dz);
    const int count = least(run, n - column);  // none, if not positive
    const int end = least(rows, (part + 1) * rows_of_part);

    Vector<T, run> sum = {};
    if (count > 0) {
        const int64 first = model * rows * n + column;
#pragma unroll 2
        for (int row = part * rows_of_part + line; row < end; row += rows_at_once) {
            const int64 at = first + int64(row) * n;
            Vector<T, run> slope = {}, value = {};
            if (wide) {
                slope = load<run>(dy + at);
                if (activation != fused_identity) value = load<run>(y + at);
            } else {
#pragma unroll
                for (int e = 0; e < run; e++)
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
                for (int e = 0; e < run; e++)
                    if (e < count) dz[at + e] = slope[e];
#pragma unroll
            for (int e = 0; e < run; e++) sum[e] += slope[e];
        }
    }
    if (!sums) return;

    store(&joined[line][lane * run], sum);
    __syncthreads();
    const int own = int(threadIdx.x);
    if (own >= Lanes * run || block * Lanes * run + own >= n) return;
    T total = 0;
#pragma unroll 8
    for (int i = 0; i < rows_at_once; i++) total += joined[i][own];
    sums[(model * parts + part) * n + block * Lanes * run + own] = total;
}
