// Layer normalisation: each row by its own mean and variance.
//
//   layer_norm           y, row by row
//   layer_norm_backward  dx, row by row, and dy times the normalised row, whose sums over the rows
//                        of a model are the gradient of the scale (`column_sums` of sums.cu)
//
// A group of lanes has a row (rows.cuh). Statistics take three passes over it, from the cache but
// for the first: the mean, what rounding has left of it, and the squares of the distances. So no
// digits are lost where the mean is large, and a constant row becomes zeros. Nothing is kept from
// the forward pass: to read x again costs less than to write and read what it would save.
#include "rows.cuh"

// What a row is normalised by. The distance of a value from the mean is (x - mean) - rest.
template <typename T>
struct Moments {
    T mean, rest, inverse;

    __device__ T normal(T x) const { return ((x - mean) - rest) * inverse; }
};

template <int Lanes, typename T>
__device__ inline Moments<T> moments_of(const T* x, int k, int lane, T epsilon) {
    // Quotients, which no compiler contracts with a difference: all passes see the same mean.
    const T mean = row_reduce<Sum, Lanes>(x, k, lane, [](T v) { return v; }) / T(k);
    const T rest = row_reduce<Sum, Lanes>(x, k, lane, [&](T v) { return v - mean; }) / T(k);
    const T squares = row_reduce<Sum, Lanes>(x, k, lane, [&](T v) {
        const T distance = (v - mean) - rest;
        return distance * distance;
    });
    return {mean, rest, T(1) / sqrt(squares / T(k) + epsilon)};
}

// x: (models or 1, n, k), gamma and beta: (models or 1, k), y: (models, n, k); `*_model` elements
// lie between two models, 0 where they share. The grid is (blocks of a model, models).
template <typename T, int Lanes>
__global__ void __launch_bounds__(row_threads)
    layer_norm(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
               T* __restrict__ y, T epsilon, int64 n, int k, int64 x_model, int64 gamma_model,
               int64 beta_model) {
    const int64 model = blockIdx.y;
    x += model * x_model;
    gamma += model * gamma_model;
    beta += model * beta_model;
    y += model * n * k;
    each_row<Lanes>(n, [&](int64 row, int lane, bool inside) {
        const T* own = x + row * k;
        const Moments<T> moments = moments_of<Lanes>(own, k, lane, epsilon);
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes)
            y[row * k + i] = fma(gamma[i], moments.normal(own[i]), beta[i]);
    });
}

// dy, dx and by_scale, which gets dy times the normalised row: (models, n, k). Others as above.
template <typename T, int Lanes>
__global__ void __launch_bounds__(row_threads)
    layer_norm_backward(const T* __restrict__ dy, const T* __restrict__ x,
                        const T* __restrict__ gamma, T* __restrict__ dx, T* __restrict__ by_scale,
                        T epsilon, int64 n, int k, int64 x_model, int64 gamma_model) {
    const int64 model = blockIdx.y;
    dy += model * n * k;
    x += model * x_model;
    gamma += model * gamma_model;
    dx += model * n * k;
    by_scale += model * n * k;
    each_row<Lanes>(n, [&](int64 row, int lane, bool inside) {
        const T *own = x + row * k, *slope = dy + row * k;
        const Moments<T> moments = moments_of<Lanes>(own, k, lane, epsilon);
        T middle = 0, along = 0;  // the means of the slope, and of the slope times the row
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) {
            const T scaled = gamma[i] * slope[i];
            middle += scaled;
            along = fma(scaled, moments.normal(own[i]), along);
        }
        middle = group_reduce<Sum, Lanes>(middle) / T(k);
        along = group_reduce<Sum, Lanes>(along) / T(k);
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) {
            const T normal = moments.normal(own[i]);
            dx[row * k + i] = moments.inverse * ((gamma[i] * slope[i] - middle) - normal * along);
            by_scale[row * k + i] = slope[i] * normal;
        }
    });
}
