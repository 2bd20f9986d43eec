// Sums in a fixed order: over the splits of a product, of gradients over models, and of columns.
#include "column_sums.cuh"
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

// dz = dy * activation'(y), as vectors of rows; each of them is stored to dz if dz is not null.
template <typename T>
struct SlopesToSum {
    static constexpr int V = vector_length<T>;
    const T *dy, *y;
    T* dz;
    int64 corner, n;  // the first element of the block's columns, and the length of a row
    bool wide;
    int activation;
    T parameter;

    __device__ Vector<T, V> operator()(int i, int column, int own) const {
        const int64 at = corner + i * n + column;
        Vector<T, V> slope = load_some(dy + at, wide, own), value = {};
        if (activation != fused_identity) value = load_some(y + at, wide, own);
        fused_backward(activation, slope, value, parameter);
        if (dz) store_some(dz + at, slope, wide, own);
        return slope;
    }
};

// dz = dy * activation'(y), and the sums of its columns for each model, in one pass.
// dy, y, dz: (models, rows, n), sums: (models, n); dz or sums may be null, and so may y for the
// identity. Each block has the rows of a chunk. If there are several chunks, it writes their sums to
// `parts`, (models, chunks, n), and the last block adds up those of all chunks; the counters
// `arrived` are (models, blocks). `Lanes` threads lie along a row, each with a vector of 16 bytes.
// Grid: (models * chunks * blocks of Lanes vectors).
template <typename T, int Lanes>
__global__ void __launch_bounds__(256)
    column_sums(const T* dy, const T* y, T* dz, T* sums, T* parts, unsigned* arrived, int rows,
                int n, int chunks, int rows_of_chunk, int activation, T parameter) {
    constexpr int width = Lanes * vector_length<T>;
    __shared__ __align__(16) T of_lines[line_sums<T>];
    const int blocks = divide_up(n, width), block = int(blockIdx.x) % blocks;
    const int chunk = int(blockIdx.x) / blocks % chunks;
    const int64 model = int(blockIdx.x) / blocks / chunks;
    const int column = block * width, count = n - column;
    const bool wide =
        n % vector_length<T> == 0 && is_aligned(dy) && is_aligned(y) && is_aligned(dz);

    const SlopesToSum<T> slopes = {dy, y,    dz,         model * rows * n + column,
                                   n,  wide, activation, parameter};
    T* const of_model = parts + model * chunks * n + column;
    T* const total = sums ? sums + model * n + column : nullptr;
    sum_columns<T, 256>(of_lines, Lanes, count, chunk * rows_of_chunk,
                        least(rows, (chunk + 1) * rows_of_chunk), slopes,
                        sums && chunks > 1 ? of_model + int64(chunk) * n : total);
    if (!sums || chunks == 1 || !is_last_block(arrived + model * blocks + block, chunks)) return;
    const RowsToSum<T> of_chunks = {of_model, n, n % vector_length<T> == 0 && is_aligned(parts)};
    sum_columns<T, 256>(of_lines, Lanes, count, 0, chunks, of_chunks, total);
}
