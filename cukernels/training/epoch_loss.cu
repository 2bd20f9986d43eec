// The penalised loss of a batch, added to the totals of an epoch.
#include "prelude.cuh"

// total[model][part] += size[model] * l2[model] / 2 * |piece `part` of the model's weights|^2, and
// the first part gets size * loss too. A block has a piece of `length` weights and the one number
// that it adds to: so an epoch needs no second pass, and its order of sums is fixed.
// params: (models, p), of which the first `n_decayed` are weights. Grid: (parts, models).
template <typename T>
__global__ void __launch_bounds__(256)
    add_loss(double* __restrict__ total, const T* __restrict__ loss, const T* __restrict__ params,
             const double* __restrict__ l2, const double* __restrict__ size, int64 p, int n_decayed,
             int length) {
    constexpr int run = vector_length<T>;
    const int part = blockIdx.x, model = blockIdx.y;
    const int64 begin = int64(part) * length;
    const int n = int(largest(least(begin + length, int64(n_decayed)) - begin, int64(0)));
    const T* w = params + model * p + begin;
    const bool wide = is_aligned(w);

    T sums[run] = {};
#pragma unroll 4
    for (int i = threadIdx.x * run; i <= n - run; i += 256 * run) {
        const Vector<T, run> x = load<run>(w + i, wide);
#pragma unroll
        for (int e = 0; e < run; e++) sums[e] += x[e] * x[e];
    }
    const int rest = n / run * run + int(threadIdx.x);
    if (rest < n) sums[0] += w[rest] * w[rest];
    T sum = sums[0];
#pragma unroll
    for (int e = 1; e < run; e++) sum += sums[e];

    sum = block_reduce<Sum, 256>(sum);
    if (threadIdx.x == 0) {
        double penalised = 0.5 * l2[model] * double(sum);
        if (part == 0) penalised += double(loss[model]);
        total[int64(model) * gridDim.x + part] += penalised * size[model];
    }
}
