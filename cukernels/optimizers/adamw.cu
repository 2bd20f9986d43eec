// AdamW: all parameters of all models in one launch, in place. Shapes and grid are those of
// optimizers.cu; the first `n_decayed` parameters of each model shrink by rate * weight_decay.
#include "elementwise.cuh"

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    adamw(T* __restrict__ params, const T* __restrict__ grads, T* __restrict__ first_moment,
          T* __restrict__ second_moment, const int64* __restrict__ step,
          const double* __restrict__ learning_rate, const double* __restrict__ beta_1,
          const double* __restrict__ beta_2, const double* __restrict__ epsilon,
          const double* __restrict__ weight_decay, int64 p, int64 n_decayed) {
    const int64 model = blockIdx.y, first = model * p;
    // One thread computes the powers for its block: they cost more than the whole step of a thread.
    __shared__ double corrected[2];
    if (threadIdx.x == 0) {
        const double steps = double(step[model]);
        corrected[0] = learning_rate[model] / (1 - pow(beta_1[model], steps));
        corrected[1] = 1 / sqrt(1 - pow(beta_2[model], steps));
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
    each_vector<T>(p, wide, [&](int64 i, auto width) {
        constexpr int N = decltype(width)::value;
        auto w = load<N>(params + i), mean = load<N>(first_moment + i);
        auto square = load<N>(second_moment + i);
        const auto gradient = load<N>(grads + i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const T g = gradient[j], lost = i + j < n_decayed ? shrinkage * w[j] : T(0);
            mean[j] = b1 * mean[j] + (T(1) - b1) * g;
            square[j] = b2 * square[j] + (T(1) - b2) * (g * g);
            w[j] -= rate * mean[j] / (sqrt(square[j]) * root + tiny) + lost;
        }
        store(first_moment + i, mean);
        store(second_moment + i, square);
        store(params + i, w);
    });
}
