// The parameters of linear models: as factors of products, and their gradients.
#include "prelude.cuh"

// coef: (models, k, d), or (d, models, k) if `transpose`; bias: (models, k), or null; params:
// (models, p), where p counts k d weights and, with a bias, k intercepts. Grid: (blocks of a model,
// models). T is that of the samples, and V that of the parameters.
template <typename T, typename V>
__global__ void __launch_bounds__(256)
    linear_weights(const V* __restrict__ params, T* __restrict__ coef, T* __restrict__ bias,
                   double intercept_scaling, int models, int k, int64 d, int64 p, bool transpose) {
    const int64 model = blockIdx.y, weights = k * d;
    params += model * p;
    for (int64 i = int64(blockIdx.x) * 256 + threadIdx.x; i < p; i += int64(gridDim.x) * 256) {
        if (i >= weights) {
            bias[model * k + i - weights] = T(intercept_scaling * double(params[i]));
        } else if (transpose) {
            const int64 output = i / d;
            coef[((i - output * d) * models + model) * k + output] = T(params[i]);
        } else {
            coef[model * weights + i] = T(params[i]);
        }
    }
}

// dcoef: (d, models, k), loss: (models), dbias: (models, k), or null; the others are as above, l2
// and value (models), partial (models, blocks). The first `penalized` parameters have a penalty.
// The last block of a model adds up the squares of all. Grid: (blocks of a model, models).
template <typename T>
__global__ void __launch_bounds__(256)
    linear_gradient(const T* __restrict__ dcoef, const T* __restrict__ loss,
                    const T* __restrict__ dbias, const double* __restrict__ params,
                    const double* __restrict__ l2, double* __restrict__ value,
                    double* __restrict__ gradient, double* partial, unsigned* arrived,
                    double intercept_scaling, int models, int k, int64 d, int64 p, int64 penalized,
                    int64 length) {
    const int64 model = blockIdx.y, weights = k * d;
    const int64 begin = int64(blockIdx.x) * length, end = least(begin + length, p);
    const double strength = l2[model];
    params += model * p, gradient += model * p, partial += model * gridDim.x;
    double squares = 0;
    for (int64 i = begin + threadIdx.x; i < end; i += 256) {
        double slope;
        if (i < weights) {
            const int64 output = i / d;
            slope = double(dcoef[((i - output * d) * models + model) * k + output]);
        } else {
            slope = intercept_scaling * double(dbias[model * k + i - weights]);
        }
        if (i < penalized) {
            const double w = params[i];
            slope += strength * w;
            squares += w * w;
        }
        gradient[i] = slope;
    }
    squares = block_reduce<Sum, 256>(squares);
    if (threadIdx.x == 0) partial[blockIdx.x] = squares;
    if (!is_last_block(arrived + model, gridDim.x) || warp_id() != 0) return;
    double sum = 0;
    for (int i = lane_id(); i < int(gridDim.x); i += warp_size) sum += partial[i];
    sum = warp_reduce<Sum>(sum);
    if (lane_id() == 0) value[model] = double(loss[model]) + 0.5 * strength * sum;
}
