// Running means of batch statistics.
#include "prelude.cuh"

// mean[m][i] += share * (new[m][i] - mean[m][i]). mean: (models, channels), `stride` elements from
// one model to the next; new: (models, channels). Grid: (blocks of 256 channels, models).
template <typename T>
__global__ void __launch_bounds__(256)
    running_mean(T* __restrict__ mean, const T* __restrict__ newest, T share, int channels,
                 int64 stride) {
    const int channel = blockIdx.x * 256 + threadIdx.x;
    if (channel >= channels) return;
    T& own = mean[blockIdx.y * stride + channel];
    own += share * (newest[int64(blockIdx.y) * channels + channel] - own);
}
