// Losses: value and gradient of the weighted mean over the samples of each model, in one pass.
//
// A group of lanes has a sample (rows.cuh). The terms of the loss are summed in float64 by each
// block. If a model has several blocks, the last one to finish adds up their sums, in order.
#include "elementwise.cuh"
#include "rows.cuh"

// log(sum(exp(z))) - z[label], and softmax(z) - (k == label). `y` points to the label; if that is
// not a class, both are NaN.
struct SoftmaxCrossEntropy {
    static constexpr bool has_labels = true;

    template <int Lanes, typename T, typename Y>
    static __device__ T row(const T* z, const Y* y, T* dz, int k, int lane, T share, bool inside) {
        const T top = row_reduce<Maximum, Lanes>(z, k, lane, [](T v) { return v; });
        const T total = row_reduce<Sum, Lanes>(z, k, lane, [&](T v) { return exp(v - top); });
        const bool is_class = is_within(*y, k);
        const int label = is_class ? int(*y) : 0;
        if (!is_class) share = not_a_number<T>();
        if (inside) {
#pragma unroll unrolled < T>
            for (int i = lane; i < k; i += Lanes)
                dz[i] = share * (exp(z[i] - top) / total - T(i == label));
        }
        if (lane != 0) return T(0);
        return is_class ? log(total) - (z[label] - top) : share;
    }
};

struct First {  // the least of some indices
    template <typename T>
    static __device__ T join(T a, T b) {
        return least(a, b);
    }
    template <typename T>
    static __device__ T neutral() {
        return 0x7fffffff;
    }
};

// max(z) - z[label], and (k == winner) - (k == label); among equal scores the first class wins.
struct PerceptronLoss {
    static constexpr bool has_labels = true;

    template <int Lanes, typename T, typename Y>
    static __device__ T row(const T* z, const Y* y, T* dz, int k, int lane, T share, bool inside) {
        const T top = row_reduce<Maximum, Lanes>(z, k, lane, [](T v) { return v; });
        int winner = First::neutral<int>();
        for (int i = lane; i < k; i += Lanes)
            if (z[i] == top) winner = least(winner, i);
        winner = group_reduce<First, Lanes>(winner);
        const bool is_class = is_within(*y, k);
        const int label = is_class ? int(*y) : 0;
        if (!is_class) share = not_a_number<T>();
        if (inside)
            for (int i = lane; i < k; i += Lanes)
                dz[i] = share * T(int(i == winner) - int(i == label));
        if (lane != 0) return T(0);
        return is_class ? top - z[label] : share;
    }
};

// A loss that is a sum over k outputs, each with a target of its own; y points to the k targets.
template <typename Output>
struct ByOutput {
    static constexpr bool has_labels = false;

    template <int Lanes, typename T>
    static __device__ T row(const T* z, const T* y, T* dz, int k, int lane, T share, bool inside) {
        T loss = 0;
        if (inside) {
#pragma unroll unrolled < T>
            for (int i = lane; i < k; i += Lanes) {
                loss += Output::value(z[i], y[i]);
                dz[i] = share * Output::slope(z[i], y[i]);
            }
        }
        return loss;
    }
};

struct LogisticOutput {
    // log(1 + exp(z)) - y z
    template <typename T>
    static __device__ T value(T z, T y) {
        return largest(z, T(0)) + log1p(exp(-fabs(z))) - y * z;
    }
    template <typename T>
    static __device__ T slope(T z, T y) {
        const T e = exp(-fabs(z));
        return (z < 0 ? e : T(1)) / (T(1) + e) - y;
    }
};

struct SquaredOutput {
    template <typename T>
    static __device__ T value(T p, T y) {
        return T(0.5) * (p - y) * (p - y);
    }
    template <typename T>
    static __device__ T slope(T p, T y) {
        return p - y;
    }
};

using LogisticLoss = ByOutput<LogisticOutput>;
using SquaredLoss = ByOutput<SquaredOutput>;

// The sum of n weights; all threads of the block get it. Which of them has a weight does not depend
// on the alignment, so neither does the sum. Few additions are in float64, which some GPUs have few
// units for.
template <typename T>
__device__ inline double sum_weights(const T* weight, int64 n) {
    constexpr int V = vector_length<T>;
    const bool wide = is_aligned(weight);
    const int64 whole = n / V * V, rest = whole + threadIdx.x;
    double sum = rest < n ? double(weight[rest]) : 0.0;
#pragma unroll 4
    for (int64 i = threadIdx.x * V; i < whole; i += row_threads * V) {
        const Vector<T, V> own = load<V>(weight + i, wide);
        T part = own[0];
#pragma unroll
        for (int v = 1; v < V; v++) part += own[v];
        sum += double(part);
    }
    return block_reduce<Sum, row_threads>(sum);
}

// z, dz: (models, n, k); y: (models or 1, n) labels or (models or 1, n, k) targets; weight: (models
// or 1, n), or null. `*_model` elements lie between two models, 0 if they share one. The grid is
// (blocks of a model, models). `value` (models) is the result. If there are several blocks, they
// write their sums to `partial` (models, blocks), and count in `arrived` (models).
template <typename T, typename Y, typename Loss, int Lanes>
__global__ void __launch_bounds__(row_threads, 2)
    loss(const T* __restrict__ z, const Y* __restrict__ y, const T* __restrict__ weight,
         T* __restrict__ dz, T* __restrict__ value, double* partial, unsigned* arrived, int64 n,
         int k, int64 y_model, int64 weight_model) {
    const int64 model = blockIdx.y;
    z += model * n * k;
    dz += model * n * k;
    y += model * y_model;
    double mass = double(n);
    if (weight) {  // every block adds up all weights: that takes less time than a launch
        weight += model * weight_model;
        mass = sum_weights(weight, n);
    }
    const double share = 1 / (mass == 0 ? 1.0 : mass);
    double sum = 0;
    each_row<Lanes>(n, [&](int64 row, int lane, bool inside) {
        const double own_share = weight ? double(weight[row]) * share : share;
        const Y* target = y + (Loss::has_labels ? row : row * k);
        const T own = Loss::template row<Lanes>(z + row * k, target, dz + row * k, k, lane,
                                                T(own_share), inside);
        if (inside) sum += own_share * double(own);
    });
    sum = block_reduce<Sum, row_threads>(sum);
    const int blocks = gridDim.x;
    if (blocks > 1) {
        partial += model * blocks;
        if (threadIdx.x == 0) partial[blockIdx.x] = sum;
        if (!is_last_block(arrived + model, blocks)) return;
        sum = 0;
        for (int i = threadIdx.x; i < blocks; i += row_threads) sum += partial[i];
        sum = block_reduce<Sum, row_threads>(sum);
    }
    if (threadIdx.x == 0) value[model] = T(sum);
}
