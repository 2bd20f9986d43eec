// Activations: the elementwise ones, with 16-byte accesses, and the two softmaxes, in which a group
// of lanes shares a row.
#include "activations.cuh"
#include "elementwise.cuh"
#include "rows.cuh"

// y = activation(x)
template <typename T, typename Activation>
__global__ void __launch_bounds__(elementwise_threads)
    activation(const T* __restrict__ x, T* __restrict__ y, int64 n, T parameter) {
    each_vector<T>(n, is_aligned(x) && is_aligned(y), [&](int64 i, auto width) {
        auto values = load<decltype(width)::value>(x + i);
#pragma unroll
        for (int j = 0; j < width.value; j++) values[j] = Activation::forward(values[j], parameter);
        store(y + i, values);
    });
}

// dx = dy * activation'(.), where `seen` is what the derivative is computed from: the output or the
// input.
template <typename T, typename Activation>
__global__ void __launch_bounds__(elementwise_threads)
    activation_backward(const T* __restrict__ dy, const T* __restrict__ seen, T* __restrict__ dx,
                        int64 n, T parameter) {
    const bool wide = is_aligned(dy) && is_aligned(seen) && is_aligned(dx);
    each_vector<T>(n, wide, [&](int64 i, auto width) {
        auto slopes = load<decltype(width)::value>(dy + i);
        const auto values = load<decltype(width)::value>(seen + i);
#pragma unroll
        for (int j = 0; j < width.value; j++)
            slopes[j] = Activation::backward(slopes[j], values[j], parameter);
        store(dx + i, slopes);
    });
}

struct Softmax {
    // y = exp(x - max x) / sum(exp(x - max x))
    template <int Lanes, typename T>
    static __device__ void forward(const T* x, T* y, int k, int lane, bool inside) {
        const T top = row_reduce<Maximum, Lanes>(x, k, lane, [](T v) { return v; });
        const T total = row_reduce<Sum, Lanes>(x, k, lane, [&](T v) { return exp(v - top); });
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) y[i] = exp(x[i] - top) / total;
    }
    // dx = y * (dy - sum(dy * y))
    template <int Lanes, typename T>
    static __device__ void backward(const T* dy, const T* y, T* dx, int k, int lane, bool inside) {
        T dot = 0;
        for (int i = lane; i < k; i += Lanes) dot += dy[i] * y[i];
        dot = group_reduce<Sum, Lanes>(dot);
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) dx[i] = y[i] * (dy[i] - dot);
    }
};

struct LogSoftmax {
    // y = x - max x - log(sum(exp(x - max x)))
    template <int Lanes, typename T>
    static __device__ void forward(const T* x, T* y, int k, int lane, bool inside) {
        const T top = row_reduce<Maximum, Lanes>(x, k, lane, [](T v) { return v; });
        const T total = row_reduce<Sum, Lanes>(x, k, lane, [&](T v) { return exp(v - top); });
        const T shift = log(total);
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) y[i] = x[i] - top - shift;
    }
    // dx = dy - exp(y) * sum(dy)
    template <int Lanes, typename T>
    static __device__ void backward(const T* dy, const T* y, T* dx, int k, int lane, bool inside) {
        const T total = row_reduce<Sum, Lanes>(dy, k, lane, [](T v) { return v; });
        if (!inside) return;
#pragma unroll unrolled < T>
        for (int i = lane; i < k; i += Lanes) dx[i] = dy[i] - exp(y[i]) * total;
    }
};

// A function of rows of k values, one of the structs above. x, y: (n, k).
template <typename T, typename Function, int Lanes>
__global__ void __launch_bounds__(row_threads)
    row_function(const T* __restrict__ x, T* __restrict__ y, int64 n, int k) {
    each_row<Lanes>(n, [&](int64 row, int lane, bool inside) {
        Function::template forward<Lanes>(x + row * k, y + row * k, k, lane, inside);
    });
}

template <typename T, typename Function, int Lanes>
__global__ void __launch_bounds__(row_threads)
    row_function_backward(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                          int64 n, int k) {
    each_row<Lanes>(n, [&](int64 row, int lane, bool inside) {
        Function::template backward<Lanes>(dy + row * k, y + row * k, dx + row * k, k, lane,
                                           inside);
    });
}
