// Optimizers: all parameters of all models in one launch, in place.
//
// The gradient l2 * w of the penalty is added to that of the first `n_decayed` parameters of each
// model. `total`, unless it is null, gets the penalised loss of the batch before the step.
#include "step.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    sgd(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ velocity,
        const double* __restrict__ learning_rate, const double* __restrict__ momentum,
        const double* __restrict__ l2, int64 p, int64 n_decayed, bool nesterov,
        double* __restrict__ total, const T* __restrict__ loss, const double* __restrict__ size) {
    const int64 model = blockIdx.y, first = model * p;
    const T rate = T(learning_rate[model]), keep = T(momentum[model]), decay = T(l2[model]);
    params += first, grads += first, velocity += first;
    T squares = 0;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(velocity);
    each_of_chunk<T>(p, wide, [&](int64 i, auto access) {
        using At = decltype(access);
        auto w = At::read(params + i), v = At::read(velocity + i);
        const auto gradient = At::read(grads + i);
#pragma unroll
        for (int j = 0; j < At::length; j++) {
            const T weight = i + j < n_decayed ? w[j] : T(0);
            squares += weight * weight;
            const T g = rate * (gradient[j] + decay * weight);
            v[j] = keep * v[j] - g;
            w[j] += nesterov ? keep * v[j] - g : v[j];
        }
        At::write(velocity + i, v);
        At::write(params + i, w);
    });
    add_penalised(total, model, loss, l2[model], squares, size);
}

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    adam(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ first_moment,
         T* __restrict__ second_moment, const int64* __restrict__ step,
         const double* __restrict__ learning_rate, const double* __restrict__ beta_1,
         const double* __restrict__ beta_2, const double* __restrict__ epsilon,
         const double* __restrict__ l2, int64 p, int64 n_decayed, double* __restrict__ total,
         const T* __restrict__ loss, const double* __restrict__ size) {
    const int64 model = blockIdx.y, first = model * p;
    // One warp corrects the rate for its block: that costs more than the whole step of a thread.
    __shared__ double corrected;
    if (warp_id() == 0) {
        const BiasCorrections bias(beta_1[model], beta_2[model], step[model]);
        if (lane_id() == 0) corrected = learning_rate[model] * sqrt(bias.second) / bias.first;
    }
    __syncthreads();
    constexpr double smallest =
        sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;  // normal number: not flushed to 0
    const T rate = T(corrected), tiny = T(largest(epsilon[model], smallest)), decay = T(l2[model]);
    const T b1 = T(beta_1[model]), b2 = T(beta_2[model]);
    params += first, grads += first, first_moment += first, second_moment += first;
    T squares = 0;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(first_moment) &&
                      is_aligned(second_moment);
    each_of_chunk<T>(p, wide, [&](int64 i, auto access) {
        using At = decltype(access);
        auto w = At::read(params + i), mean = At::read(first_moment + i);
        auto square = At::read(second_moment + i);
        const auto gradient = At::read(grads + i);
#pragma unroll
        for (int j = 0; j < At::length; j++) {
            const T weight = i + j < n_decayed ? w[j] : T(0);
            squares += weight * weight;
            const T g = gradient[j] + decay * weight;
            mean[j] = b1 * mean[j] + (T(1) - b1) * g;
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * mean[j] / (sqrt(square[j]) + tiny);
        }
        At::write(first_moment + i, mean);
        At::write(second_moment + i, square);
        At::write(params + i, w);
    });
    add_penalised(total, model, loss, l2[model], squares, size);
}
