// RMSprop: all parameters of all models in one launch, in place. Shapes and grid are those of
// optimizers.cu; the first `n_decayed` parameters of each model get the gradient l2 * w.
#include "elementwise.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    rmsprop(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ second_moment,
            const double* __restrict__ learning_rate, const double* __restrict__ beta_2,
            const double* __restrict__ epsilon, const double* __restrict__ l2, int64 p,
            int64 n_decayed) {
    const int64 model = blockIdx.y, first = model * p;
    constexpr double smallest =
        sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;  // normal number: not flushed to 0
    const T rate = T(learning_rate[model]), tiny = T(largest(epsilon[model], smallest));
    const T b2 = T(beta_2[model]), decay = T(l2[model]);
    params += first, grads += first, second_moment += first;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(second_moment);
    each_vector<T>(p, wide, [&](int64 i, auto width) {
        constexpr int N = decltype(width)::value;
        auto w = load<N>(params + i), square = load<N>(second_moment + i);
        const auto gradient = load<N>(grads + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const T g = i + j < n_decayed ? gradient[j] + decay * w[j] : gradient[j];
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * g / (sqrt(square[j]) + tiny);
        }
        store(second_moment + i, square);
        store(params + i, w);
    });
}
