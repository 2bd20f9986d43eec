// RMSprop: all parameters of all models in one launch, in place. The first `n_decayed` parameters
// of each model get the gradient l2 * w; `total` is that of optimizers.cu.
#include "step.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    rmsprop(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ second_moment,
            const double* __restrict__ learning_rate, const double* __restrict__ beta_2,
            const double* __restrict__ epsilon, const double* __restrict__ l2, int64 p,
            int64 n_decayed, double* __restrict__ total, const T* __restrict__ loss,
            const double* __restrict__ size) {
    const int64 model = blockIdx.y, first = model * p;
    constexpr double smallest =
        sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;  // normal number: not flushed to 0
    const T rate = T(learning_rate[model]), tiny = T(largest(epsilon[model], smallest));
    const T b2 = T(beta_2[model]), decay = T(l2[model]);
    params += first, grads += first, second_moment += first;
    T squares = 0;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(second_moment);
    each_of_chunk<T>(p, wide, [&](int64 i, auto access) {
        using At = decltype(access);
        auto w = At::read(params + i), square = At::read(second_moment + i);
        const auto gradient = At::read(grads + i);
#pragma unroll
        for (int j = 0; j < At::length; j++) {
            const T weight = i + j < n_decayed ? w[j] : T(0);
            squares += weight * weight;
            const T g = gradient[j] + decay * weight;
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * g / (sqrt(square[j]) + tiny);
        }
        At::write(second_moment + i, square);
        At::write(params + i, w);
    });
    add_penalised(total, model, loss, l2[model], squares, size);
}
