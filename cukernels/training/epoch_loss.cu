// The penalised loss of a batch, added to the totals of an epoch; and infinity for what overflowed.
#include "prelude.cuh"

// total[model][chunk] += size[model] * l2[model] / 2 * |weights of the chunk|^2, to which the first
// chunk adds size * loss. A block has a chunk of `length` parameters, and one number of its own to
// add to. So no second kernel is needed, and the order of the sums is fixed.
// params: (models, p), of which the first `n_decayed` are weights. Grid: (chunks, models).
template <typename T>
__global__ void __launch_bounds__(256)
    add_loss(double* __restrict__ total, const T* __restrict__ loss, const T* __restrict__ params,
             const double* __restrict__ l2, const double* __restrict__ size, int64 p, int n_decayed,
             int length) {
    constexpr int V = vector_length<T>;
    const int chunk = blockIdx.x, model = blockIdx.y;
    const int64 begin = int64(chunk) * length;
    const int n = int(largest(least(begin + length, int64(n_decayed)) - begin, int64(0)));
    const T* w = params + model * p + begin;
    const bool wide = is_aligned(w);

    T sums[V] = {};
#pragma unroll 4
    for (int i = threadIdx.x * V; i <= n - V; i += 256 * V) {
        const Vector<T, V> x = load<V>(w + i, wide);
#pragma unroll
        for (int e = 0; e < V; e++) sums[e] += x[e] * x[e];
    }
    const int rest = n / V * V + int(threadIdx.x);
    if (rest < n) sums[0] += w[rest] * w[rest];
    T sum = sums[0];
#pragma unroll
    for (int e = 1; e < V; e++) sum += sums[e];

    sum = block_reduce<Sum, 256>(sum);
    if (threadIdx.x == 0) {
        double penalised = 0.5 * l2[model] * double(sum);
        if (chunk == 0) penalised += double(loss[model]);
        total[int64(model) * gridDim.x + chunk] += penalised * size[model];
    }
}

// total[model][chunk] = infinity where a parameter of the chunk is not finite. The chunks are those
// of `add_loss`, over all p parameters of a model. Grid: (chunks, models).
template <typename T>
__global__ void __launch_bounds__(256)
    lose_overflowed(double* __restrict__ total, const T* __restrict__ params, int64 p, int length) {
    constexpr int V = vector_length<T>;
    const int chunk = blockIdx.x, model = blockIdx.y;
    const int64 begin = int64(chunk) * length;
    const int n = int(largest(least(begin + length, p) - begin, int64(0)));
    const T* w = params + model * p + begin;
    const bool wide = is_aligned(w);

    bool is_finite = true;
#pragma unroll 4
    for (int i = threadIdx.x * V; i <= n - V; i += 256 * V) {
        const Vector<T, V> x = load<V>(w + i, wide);
#pragma unroll
        for (int e = 0; e < V; e++) is_finite = is_finite && fabs(x[e]) < infinity<T>();
    }
    const int rest = n / V * V + int(threadIdx.x);
    if (rest < n) is_finite = is_finite && fabs(w[rest]) < infinity<T>();
    const float lost = block_reduce<Sum, 256>(is_finite ? 0.0f : 1.0f);
    if (lost > 0 && threadIdx.x == 0) total[int64(model) * gridDim.x + chunk] = infinity<double>();
}
