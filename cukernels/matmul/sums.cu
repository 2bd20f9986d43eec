// Sums in a fixed order: of gradients over models, and of columns over rows.
#include "column_sums.cuh"
#include "fused.cuh"

// out[o][i] = x[o][0][i] + x[o][1][i] + ..., one term after the other. x: (outer, terms, inner),
// out: (outer, inner). Adjacent threads take adjacent vectors of 16 bytes; the loads of 8 terms are
// in flight at once. Grid: (blocks of 256 vectors, outer or fewer).
template <typename T>
__global__ void __launch_bounds__(256)
    ordered_sum(const T* x, T* out, int outer, int terms, int64 inner) {
    constexpr int V = vector_length<T>;
    const int64 i = (int64(blockIdx.x) * 256 + threadIdx.x) * V;
    if (i >= inner) return;
    const bool wide = inner % V == 0 && is_aligned(x) && is_aligned(out);
    const int own = int(least(int64(V), inner - i));
    for (int o = blockIdx.y; o < outer; o += gridDim.y) {
        const T* from = x + int64(o) * terms * inner + i;
        Vector<T, V> sum = {};
#pragma unroll 8
        for (int t = 0; t < terms; t++) {
            const Vector<T, V> term = load_some(from + t * inner, wide, own);
#pragma unroll
            for (int e = 0; e < V; e++) sum[e] += term[e];
        }
        store_some(out + o * inner + i, sum, wide, own);
    }
}

// out[g][i] = the sum of x[m][i] over the models m for which of[m] is g, in their order.
// x: (models, inner), out: (groups, inner). Grid: (blocks of 256 vectors, groups or fewer).
template <typename T>
__global__ void __launch_bounds__(256)
    group_sum(const T* x, const int* of, T* out, int groups, int models, int64 inner) {
    constexpr int V = vector_length<T>;
    const int64 i = (int64(blockIdx.x) * 256 + threadIdx.x) * V;
    if (i >= inner) return;
    const bool wide = inner % V == 0 && is_aligned(x) && is_aligned(out);
    const int own = int(least(int64(V), inner - i));
    for (int g = blockIdx.y; g < groups; g += gridDim.y) {
        Vector<T, V> sum = {};
        for (int m = 0; m < models; m++) {
            if (of[m] != g) continue;
            const Vector<T, V> term = load_some(x + m * inner + i, wide, own);
#pragma unroll
            for (int e = 0; e < V; e++) sum[e] += term[e];
        }
        store_some(out + g * inner + i, sum, wide, own);
    }
}

// dz = dy * activation'(y) as the rows to sum. They are also stored, if dz is not null.
template <typename T>
struct SlopesToSum {
    const T *dy, *y;
    T* dz;
    bool wide;
    int activation;
    T parameter;

    __device__ Vector<T, vector_length<T>> operator()(int64 at, int own) const {
        Vector<T, vector_length<T>> slope = load_some(dy + at, wide, own), value = {};
        if (activation != fused_identity) value = load_some(y + at, wide, own);
        fused_backward(activation, slope, value, parameter);
        if (dz) store_some(dz + at, slope, wide, own);
        return slope;
    }
};

// dz = dy * activation'(y), and the sums of its columns for each model, in one pass.
// dy, y, dz: (models, rows, n), sums: n for each model; dz or sums may be null, and so may y for
// the identity. Grid: (models * chunks * blocks of Lanes vectors). Dynamic shared memory:
// line_sums<T>.
template <typename T, int Lanes>
__global__ void __launch_bounds__(256)
    column_sums(const T* dy, const T* y, T* dz, T* sums, T* parts, unsigned* arrived,
                int64 sums_model, int rows, int n, int chunks, int rows_of_chunk, int activation,
                T parameter) {
    const bool wide =
        n % vector_length<T> == 0 && is_aligned(dy) && is_aligned(y) && is_aligned(dz);
    const SlopesToSum<T> slopes = {dy, y, dz, wide, activation, parameter};
    const ColumnSums<T> all = {sums, sums_model, parts,         arrived, rows,
                               n,    chunks,     rows_of_chunk, Lanes};
    all.template add<256>(blockIdx.x, dynamic_shared<T>(), slopes);
}
