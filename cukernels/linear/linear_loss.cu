// The losses of linear classifiers: value, gradient, and the sums of it over the samples.
//
// The scores of all models lie side by side: z[sample][model][output]. A group of `Lanes` lanes has
// a sample. Blocks sum in float64, and the last one of a model adds up what the others wrote.
#include "rows.cuh"

// The scores of a sample with the bias.
template <typename T>
struct Scores {
    const T *z, *bias;

    __device__ T operator[](int i) const { return bias ? z[i] + bias[i] : z[i]; }
};

// The softmax of the scores of a sample, from what all of its lanes know.
template <int Lanes, typename T>
struct Softmax {
    T top, total;

    __device__ Softmax(const Scores<T>& z, int k, int lane) {
        top = -infinity<T>();
        for (int i = lane; i < k; i += Lanes) top = Maximum::join(top, z[i]);
        top = group_reduce<Maximum, Lanes>(top);
        total = 0;
        for (int i = lane; i < k; i += Lanes) total += exp(z[i] - top);
        total = group_reduce<Sum, Lanes>(total);
    }
    __device__ T operator()(T z) const { return exp(z - top) / total; }
};

// 1 / (1 + exp(-z)), without overflow.
template <typename T>
__device__ inline T logistic_of(T z) {
    const T e = exp(-fabs(z));
    return (z < 0 ? e : T(1)) / (T(1) + e);
}

// The label of a sample; one that is no class makes its share NaN.
template <typename T, typename Y>
__device__ inline int class_of(Y label, int classes, T& share) {
    if (is_within(label, classes)) return int(label);
    share = not_a_number<T>();
    return 0;
}

// Each functor writes share * dz for a sample, if that is `inside`, and returns this lane's part of
// the loss. `y` points to the label of the sample, or to its k probabilities.
struct LogLoss {
    static constexpr bool has_labels = true;

    template <int Lanes, typename T, typename Y>
    static __device__ T row(const Scores<T>& z, const Y* y, T* dz, int k, int lane, T& share,
                            bool inside) {
        const int label = class_of(*y, largest(k, 2), share);
        if constexpr (Lanes == 1) {
            const T score = z[0], target = T(label);
            if (inside) *dz = share * (logistic_of(score) - target);
            return largest(score, T(0)) + log1p(exp(-fabs(score))) - target * score;
        } else {
            const Softmax<Lanes, T> softmax(z, k, lane);
            for (int i = lane; inside && i < k; i += Lanes)
                dz[i] = share * (softmax(z[i]) - T(i == label));
            return lane == 0 ? log(softmax.total) - (z[label] - softmax.top) : T(0);
        }
    }
};

struct SquaredError {
    static constexpr bool has_labels = true;

    template <int Lanes, typename T, typename Y>
    static __device__ T row(const Scores<T>& z, const Y* y, T* dz, int k, int lane, T& share,
                            bool inside) {
        const int label = class_of(*y, largest(k, 2), share);
        if constexpr (Lanes == 1) {
            const T p = logistic_of(z[0]), error = p - T(label);
            if (inside) *dz = share * error * p * (T(1) - p);
            return T(0.5) * error * error;
        } else {
            const Softmax<Lanes, T> softmax(z, k, lane);
            T squares = 0, mean = 0;
            for (int i = lane; i < k; i += Lanes) {
                const T p = softmax(z[i]), error = p - T(i == label);
                squares += error * error, mean += p * error;
            }
            mean = group_reduce<Sum, Lanes>(mean);
            for (int i = lane; inside && i < k; i += Lanes) {
                const T p = softmax(z[i]);
                dz[i] = share * p * (p - T(i == label) - mean);
            }
            return T(0.5) * squares;
        }
    }
};

struct Curvature {
    static constexpr bool has_labels = false;

    template <int Lanes, typename T>
    static __device__ T row(const Scores<T>& z, const T* p, T* dz, int k, int lane, T& share,
                            bool inside) {
        T mean = 0, terms = 0;
        for (int i = lane; i < k; i += Lanes) mean += p[i] * z[i];
        mean = Lanes == 1 ? mean : group_reduce<Sum, Lanes>(mean);
        for (int i = lane; i < k; i += Lanes) {
            const T slope = Lanes == 1 ? p[i] * (T(1) - p[i]) * z[i] : p[i] * (z[i] - mean);
            if (inside) dz[i] = share * slope;
            terms += z[i] * slope;
        }
        return T(0.5) * terms;
    }
};

// Call body(column, sum) for the sums of `columns` columns, over `count` rows that lie `stride`
// elements apart, in the order of the rows. `width` threads, a power of 2, lie along a row.
template <typename T, typename Body>
__device__ inline void sum_columns(const T* x, int64 stride, int64 count, int columns, int width,
                                   const Body& body) {
    __shared__ double of_thread[row_threads];
    const int lines = row_threads / width, line = int(threadIdx.x) / width;
    for (int first = 0; first < columns; first += width) {
        const int column = first + int(threadIdx.x) % width;
        double sum = 0;
        if (column < columns) {
#pragma unroll 4
            for (int64 row = line; row < count; row += lines)
                sum += double(x[row * stride + column]);
        }
        __syncthreads();  // the threads that read before are done
        of_thread[threadIdx.x] = sum;
        __syncthreads();
        if (line == 0 && column < columns) {
            for (int i = 1; i < lines; i++) sum += of_thread[i * width + threadIdx.x];
            body(column, sum);
        }
    }
}

// z, dz: (n, models, k); y: (n) labels or (n, models, k) probabilities; bias, dbias: (models, k),
// or null; share: (n), for each model `share_model` elements further on, or null; value: (models),
// partial: (models, blocks, 1 + k), for the loss and the sums of each output. A block takes `rows`
// samples. `width` is as `sum_columns` has it. Grid: (blocks of a model, models).
template <typename T, typename Y, typename Loss, int Lanes>
__global__ void __launch_bounds__(row_threads, 2)
    linear_loss(const T* __restrict__ z, const Y* __restrict__ y, const T* __restrict__ bias,
                const T* __restrict__ share, T* dz, T* value, T* dbias, double* partial,
                unsigned* arrived, int64 n, int models, int k, int64 rows, int64 share_model,
                int width) {
    const int64 model = blockIdx.y, stride = int64(models) * k;
    const int64 begin = int64(blockIdx.x) * rows, end = least(begin + rows, n);
    const int lane = int(threadIdx.x) % Lanes, group = int(threadIdx.x) / Lanes;
    z += model * k, dz += model * k;
    if (bias) bias += model * k;
    if (share) share += model * share_model;
    double sum = 0;
    for (int64 first = begin; first < end; first += row_threads / Lanes) {
        const int64 row = least(first + group, end - 1);
        const bool inside = first + group < end;
        T own_share = share ? share[row] : T(1.0 / double(n));
        const Y* const target = y + (Loss::has_labels ? row : row * stride + model * k);
        const Scores<T> scores{z + row * stride, bias};
        const T loss = Loss::template row<Lanes>(scores, target, dz + row * stride, k, lane,
                                                 own_share, inside);
        if (inside) sum += double(own_share) * double(loss);
    }
    sum = block_reduce<Sum, row_threads>(sum);
    double* const own = partial + (model * gridDim.x + blockIdx.x) * (1 + k);
    if (threadIdx.x == 0) own[0] = sum;
    if (dbias)
        sum_columns(dz + begin * stride, stride, end - begin, k, width,
                    [&](int output, double total) { own[1 + output] = total; });
    if (!is_last_block(arrived + model, gridDim.x)) return;
    const double* const all = partial + model * gridDim.x * (1 + k);
    const auto finish = [&](int column, double total) {
        if (column == 0)
            value[model] = T(total);
        else
            dbias[model * k + column - 1] = T(total);
    };
    sum_columns(all, 1 + k, gridDim.x, dbias ? 1 + k : 1, width, finish);
}
