// AdamW: all parameters of all models in one launch, in place. The first `n_decayed` parameters of
// each model shrink by rate * weight_decay; `total`, unless it is null, gets the loss of the batch.
#include "step.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    adamw(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ first_moment,
          T* __restrict__ second_moment, const int64* __restrict__ step,
          const double* __restrict__ learning_rate, const double* __restrict__ beta_1,
          const double* __restrict__ beta_2, const double* __restrict__ epsilon,
          const double* __restrict__ weight_decay, int64 p, int64 n_decayed,
          double* __restrict__ total, const T* __restrict__ loss, const double* __restrict__ size) {
    const int64 model = blockIdx.y, first = model * p;
    // One warp corrects the rate for its block: that costs more than the whole step of a thread.
    __shared__ double corrected[2];
    if (warp_id() == 0) {
        const BiasCorrections bias(beta_1[model], beta_2[model], step[model]);
        if (lane_id() == 0) corrected[0] = learning_rate[model] / bias.first;
        if (lane_id() == 0) corrected[1] = 1 / sqrt(bias.second);
    }
    __syncthreads();
    constexpr double smallest =
        sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;  // normal number: not flushed to 0
    const T rate = T(corrected[0]), root = T(corrected[1]);
    const T tiny = T(largest(epsilon[model], smallest));
    const T shrinkage = T(learning_rate[model] * weight_decay[model]);
    const T b1 = T(beta_1[model]), b2 = T(beta_2[model]);
    params += first, grads += first, first_moment += first, second_moment += first;
    const bool wide = is_aligned(params) && is_aligned(grads) && is_aligned(first_moment) &&
                      is_aligned(second_moment);
    each_of_chunk<T>(p, wide, [&](int64 i, auto access) {
        using At = decltype(access);
        auto w = At::read(params + i), mean = At::read(first_moment + i);
        auto square = At::read(second_moment + i);
        const auto gradient = At::read(grads + i);
#pragma unroll
        for (int j = 0; j < At::length; j++) {
            const T g = gradient[j], lost = i + j < n_decayed ? shrinkage * w[j] : T(0);
            mean[j] = b1 * mean[j] + (T(1) - b1) * g;
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * mean[j] / (sqrt(square[j]) * root + tiny) + lost;
        }
        At::write(first_moment + i, mean);
        At::write(second_moment + i, square);
        At::write(params + i, w);
    });
    if (total) add_to_total(total, model, double(loss[model]), 0, size);
}
