// The L2 penalty of models, added to their losses and gradients.
#include "prelude.cuh"

// gradient += l2 w, value = loss + l2 / 2 |w|^2. gradient, params: (models, p), of which the first
// `n_decayed` are w; loss, l2, value: (models); partial: (models, blocks). A block takes `length`
// weights, and the last one of a model adds up their squares. Grid: (blocks, models).
template <typename T>
__global__ void __launch_bounds__(256)
    l2_penalty(const T* __restrict__ loss, T* __restrict__ gradient, const T* __restrict__ params,
               const T* __restrict__ l2, T* __restrict__ value, double* partial, unsigned* arrived,
               int64 p, int64 n_decayed, int64 length) {
    const int64 model = blockIdx.y, begin = int64(blockIdx.x) * length;
    const int64 end = least(begin + length, n_decayed);
    const T strength = l2[model];
    gradient += model * p, params += model * p, partial += model * gridDim.x;
    double squares = 0;
#pragma unroll 4
    for (int64 i = begin + threadIdx.x; i < end; i += 256) {
        const T w = params[i];
        gradient[i] += strength * w;
        squares += double(w) * double(w);
    }
    squares = block_reduce<Sum, 256>(squares);
    if (threadIdx.x == 0) partial[blockIdx.x] = squares;
    if (!is_last_block(arrived + model, gridDim.x) || warp_id() != 0) return;
    double sum = 0;
    for (int i = lane_id(); i < int(gridDim.x); i += warp_size) sum += partial[i];
    sum = warp_reduce<Sum>(sum);
    if (lane_id() == 0) value[model] = T(double(loss[model]) + 0.5 * double(strength) * sum);
}
