// Optimizers: all parameters of all models in one launch, in place.
//
// params, grads and moments are (models, p). Hyper-parameters are float64 vectors, with one value
// for each model. The grid is (blocks of a model, models). The gradient l2 * w of the penalty is
// added to that of the first `n_decayed` parameters of each model.
#include "elementwise.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    sgd(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ velocity,
        const double* __restrict__ learning_rate, const double* __restrict__ momentum,
        const double* __restrict__ l2, int64 p, int64 n_decayed, bool nesterov) {
    const int64 model = blockIdx.y, first = model * p;
    const T rate = T(learning_rate[model]), keep = T(momentum[model]), decay = T(l2[model]);
    params += first, grads += first, velocity += first;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(velocity);
    each_vector<T>(p, wide, [&](int64 i, auto width) {
        constexpr int N = decltype(width)::value;
        auto w = load<N>(params + i), v = load<N>(velocity + i);
        const auto gradient = load<N>(grads + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const T g = rate * (i + j < n_decayed ? gradient[j] + decay * w[j] : gradient[j]);
            v[j] = keep * v[j] - g;
            w[j] += nesterov ? keep * v[j] - g : v[j];
        }
        store(velocity + i, v);
        store(params + i, w);
    });
}

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    adam(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ first_moment,
         T* __restrict__ second_moment, const int64* __restrict__ step,
         const double* __restrict__ learning_rate, const double* __restrict__ beta_1,
         const double* __restrict__ beta_2, const double* __restrict__ epsilon,
         const double* __restrict__ l2, int64 p, int64 n_decayed) {
    const int64 model = blockIdx.y, first = model * p;
    // One thread computes the powers for its block: they cost more than the whole step of a thread.
    __shared__ double corrected;
    if (threadIdx.x == 0) {
        const double steps = double(step[model]);
        corrected = learning_rate[model] * sqrt(1 - pow(beta_2[model], steps)) /
                    (1 - pow(beta_1[model], steps));
    }
    __syncthreads();
    constexpr double smallest =
        sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;  // normal number: not flushed to 0
    const T rate = T(corrected), tiny = T(largest(epsilon[model], smallest)), decay = T(l2[model]);
    const T b1 = T(beta_1[model]), b2 = T(beta_2[model]);
    params += first, grads += first, first_moment += first, second_moment += first;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(first_moment) &&
                      is_aligned(second_moment);
    each_vector<T>(p, wide, [&](int64 i, auto width) {
        constexpr int N = decltype(width)::value;
        auto w = load<N>(params + i), mean = load<N>(first_moment + i);
        auto square = load<N>(second_moment + i);
        const auto gradient = load<N>(grads + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const T g = i + j < n_decayed ? gradient[j] + decay * w[j] : gradient[j];
            mean[j] = b1 * mean[j] + (T(1) - b1) * g;
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * mean[j] / (sqrt(square[j]) + tiny);
        }
        store(first_moment + i, mean);
        store(second_moment + i, square);
        store(params + i, w);
    });
}
