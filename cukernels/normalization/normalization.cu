// Batch normalisation of each channel; channels are the last axis.
//
// A kernel sees each model's activations as a matrix of rows (samples and pixels) by channels. A
// block has a tile of channels, 128 bytes wide, and a chunk of the rows. 2^lanes of its threads lie
// along a row, each with V adjacent channels (a vector of 16 bytes if the number of channels is a
// multiple of it), and the other threads take further rows. So a thread keeps its channels, whose
// gamma, beta and statistics it reads once, and rows are read in whole cache lines. The only index
// that is divided is a row's, by the pixels of a sample, to find its weight.
//
//   batch_norm            statistics of a chunk; also y, if the chunk is the only one
//   merge_statistics      statistics of all chunks, in order
//   normalise             y from given statistics
//   batch_norm_backward   dgamma and dbeta of a chunk; also dx, if the chunk is the only one.
//                         With given statistics (`Inference`) dx is written in the same pass
//   merge_gradients       dgamma and dbeta of all chunks, in order
//   batch_norm_dx         dx from dgamma and dbeta
//
// Means and squares are those of x - pivot, where the pivot is one of the channel's values, so that
// no digits are lost if the mean is large. Each thread takes 8 rows at a time into registers. Of
// these it computes first the mean and then the squares of the distances to that mean, and merges
// both with what it has so far (Chan, Golub and LeVeque 1979). So memory is read only once, nothing
// cancels, and a constant channel has exactly its value as mean and 0 as variance. Chunks depend on
// the numbers of rows and channels alone, and every sum has a fixed order: a model's results are
// the same, to the bit, in any stack.
//
// The grid is (models, tiles of channels, chunks of rows).
#include "division.cuh"
#include "prelude.cuh"

constexpr int threads = 256;
constexpr int tile_bytes = 128;

// What a thread has of a model's matrix: V channels, and the rows first, first + step, ... below
// last.
struct Slice {
    int lane, channel, first, step, last;
    bool is_active;  // whether there are such channels

    __device__ Slice(int V, int lanes, int channels, int rows, int chunk) {
        lane = threadIdx.x & ((1 << lanes) - 1);
        channel = (int(blockIdx.y << lanes) + lane) * V;
        is_active = channel < channels;
        step = threads >> lanes;
        first = int(blockIdx.z) * chunk + int(threadIdx.x >> lanes);
        last = least(rows, (int(blockIdx.z) + 1) * chunk);
    }
};

// Shared memory for the sums of each warp: up to 3 numbers for each channel of the tile.
template <typename T>
struct WarpSums {
    T of[threads / warp_size][3 * tile_bytes / sizeof(T)];
};

template <typename T>
__device__ inline WarpSums<T>& warp_sums() {
    __shared__ WarpSums<T> sums;
    return sums;
}

// Sum N numbers over the threads of a block that have the same channels; all of them get the sums.
template <int N, typename T>
__device__ inline void sum_rows(T (&x)[N], int lanes) {
    auto& of_warp = warp_sums<T>().of;
    for (int distance = warp_size / 2; distance >> lanes; distance /= 2)
#pragma unroll
        for (int i = 0; i < N; i++) x[i] += __shfl_xor_sync(full_warp, x[i], distance);
    __syncthreads();  // other warps may still be reading the sums of the previous call
    const int lane = lane_id();
    if (!(lane >> lanes))
#pragma unroll
        for (int i = 0; i < N; i++) of_warp[warp_id()][(i << lanes) + lane] = x[i];
    __syncthreads();
    const int own = lane & ((1 << lanes) - 1);
#pragma unroll
    for (int i = 0; i < N; i++) {
        x[i] = of_warp[0][(i << lanes) + own];
#pragma unroll
        for (int w = 1; w < threads / warp_size; w++) x[i] += of_warp[w][(i << lanes) + own];
    }
}

// V adjacent elements from memory if they are wanted, else zeros.
template <int V, typename T>
__device__ inline Vector<T, V> load_if(bool wanted, const T* from, bool aligned) {
    Vector<T, V> zeros = {};
    return wanted ? load<V>(from, aligned) : zeros;
}

// Numbers of a thread's channels, read one by one because the array may be misaligned.
template <int V, typename T>
__device__ inline Vector<T, V> load_channels(const Slice& slice, const T* from) {
    return load_if<V>(slice.is_active, from + slice.channel, false);
}

template <typename T>
__device__ inline T row_weight(const T* weights, int row, uint64 by_pixels) {
    return weights ? weights[quotient(row, by_pixels)] : T(1);
}

// The pivot: the channels' values in the first of 8 samples whose weight is not 0, or zeros. It is
// the same for all blocks of a model, so that their statistics can be merged.
template <int V, typename T>
__device__ inline Vector<T, V> first_value(const Slice& slice, const T* x, const T* weights,
                                           int rows, int channels, int pixels, bool aligned) {
    constexpr int samples = 8;
    Vector<T, V> values[samples], first = {};
    bool counts[samples];
#pragma unroll
    for (int i = 0; i < samples; i++) {
        const int64 row = int64(i) * pixels;
        const bool wanted = row < rows && (weights || i == 0);
        counts[i] = wanted && (weights ? weights[i] : T(1)) != 0;
        values[i] =
            load_if<V>(wanted && slice.is_active, x + row * channels + slice.channel, aligned);
    }
#pragma unroll
    for (int i = samples - 1; i >= 0; i--)
        if (counts[i]) first = values[i];
    return first;
}

template <typename T>
__device__ inline T quotient_or_zero(T x, T total) {
    return total == 0 ? T(0) : x / total;
}

// `batch_norm` and `normalise` share this expression, so that both give the same bits.
template <typename T>
__device__ inline T normalised(T x, T mean, T slope, T shift) {
    return fma(x - mean, slope, shift);
}

template <typename T, int V>
__device__ inline void normalise_rows(const Slice& slice, const T* x, T* y,
                                      const Vector<T, V>& mean, const Vector<T, V>& slope,
                                      const Vector<T, V>& shift, int channels) {
    constexpr int batch = 4;
    const bool aligned = is_aligned(x);
    for (int row = slice.first; row < slice.last; row += batch * slice.step) {
        Vector<T, V> values[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
            const int64 at = int64(r) * channels + slice.channel;
            values[i] = load_if<V>(slice.is_active && r < slice.last, x + at, aligned);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
#pragma unroll
            for (int v = 0; v < V; v++)
                values[i][v] = normalised(values[i][v], mean[v], slope[v], shift[v]);
            if (slice.is_active && r < slice.last)
                store(y + int64(r) * channels + slice.channel, values[i]);
        }
    }
}

template <typename T, int V>
__device__ inline Vector<T, V> slope_of(const Vector<T, V>& gamma, const Vector<T, V>& variance,
                                        T epsilon) {
    Vector<T, V> slope;
#pragma unroll
    for (int v = 0; v < V; v++) slope[v] = gamma[v] / sqrt(variance[v] + epsilon);
    return slope;
}

template <typename T, int V>
__global__ void __launch_bounds__(threads)
    batch_norm(const T* x,        // [models, rows, channels], also one for all
               const T* weights,  // [models, samples], null: all are 1
               const T* gamma,    // [models, channels], as beta
               const T* beta,     //
               T* y,              // as x, null: not wanted
               T* mean,           // [models, channels], as variance
               T* variance,       //
               T* chunks,         // [models, chunks, 2, channels]: mean, sum of squares
               T* chunk_weights,  // [models, chunks]
               T epsilon, int rows, int channels, int pixels, int chunk, int lanes, int64 x_model,
               int64 weights_model, int64 gamma_model, int64 beta_model, uint64 by_pixels) {
    constexpr int batch = 8;
    const int64 model = blockIdx.x;
    const Slice slice(V, lanes, channels, rows, chunk);
    x += model * x_model;
    if (weights) weights += model * weights_model;
    const bool aligned = is_aligned(x);

    // Merge 8 rows at a time into the weight, the centre (mean) and the squares of this thread.
    const auto pivot = first_value<V>(slice, x, weights, rows, channels, pixels, aligned);
    T weight = 0;
    Vector<T, V> centre = {}, squares = {};
    for (int row = slice.first; row < slice.last; row += batch * slice.step) {
        Vector<T, V> values[batch];
        T w[batch], sum = 0;
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
            const bool wanted = slice.is_active && r < slice.last;
            values[i] = load_if<V>(wanted, x + int64(r) * channels + slice.channel, aligned);
            w[i] = wanted ? row_weight(weights, r, by_pixels) : T(0);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) sum += w[i];
        const T total = weight + sum;
        const T inverse = quotient_or_zero(T(1), sum), share = quotient_or_zero(sum, total);
#pragma unroll
        for (int v = 0; v < V; v++) {
            T middle = 0, spread = 0;
#pragma unroll
            for (int i = 0; i < batch; i++) {
                values[i][v] -= pivot[v];
                middle = fma(w[i], values[i][v], middle);
            }
            middle *= inverse;
#pragma unroll
            for (int i = 0; i < batch; i++) {
                const T distance = values[i][v] - middle;
                spread = fma(w[i] * distance, distance, spread);
            }
            const T distance = middle - centre[v];
            centre[v] = fma(distance, share, centre[v]);
            squares[v] += fma(distance * distance, weight * share, spread);
        }
        weight = total;
    }

    // Merge the threads of the block in the same way: first the mean, then the squares around it.
    T sums[V + 1];
#pragma unroll
    for (int v = 0; v < V; v++) sums[v] = weight * centre[v];
    sums[V] = weight;
    sum_rows(sums, lanes);
    Vector<T, V> middle;
#pragma unroll
    for (int v = 0; v < V; v++) {
        middle[v] = quotient_or_zero(sums[v], sums[V]);
        const T distance = centre[v] - middle[v];
        squares[v] = fma(weight * distance, distance, squares[v]);
    }
    sum_rows(squares.value, lanes);
    const bool writes = slice.is_active && int(threadIdx.x) >> lanes == 0;
    if (gridDim.z > 1) {
        const int64 number = model * gridDim.z + blockIdx.z;
        chunks += number * 2 * channels + slice.channel;
        if (writes) {
            store(chunks, middle);
            store(chunks + channels, squares);
            if (slice.channel == 0) chunk_weights[number] = sums[V];
            if (blockIdx.z == 0) store(mean + model * channels + slice.channel, pivot);
        }
        return;
    }
#pragma unroll
    for (int v = 0; v < V; v++) {
        middle[v] += pivot[v];
        squares[v] = quotient_or_zero(squares[v], sums[V]);
    }
    if (writes) {
        store(mean + model * channels + slice.channel, middle);
        store(variance + model * channels + slice.channel, squares);
    }
    if (!y) return;
    const auto slope =
        slope_of(load_channels<V>(slice, gamma + model * gamma_model), squares, epsilon);
    const auto shift = load_channels<V>(slice, beta + model * beta_model);
    normalise_rows(slice, x, y + model * rows * channels, middle, slope, shift, channels);
}

// The pivot is in `mean`. A block has 8 channels of a model.
template <typename T>
__global__ void __launch_bounds__(threads)
    merge_statistics(const T* chunks,         // [models, chunks, 2, channels]
                     const T* chunk_weights,  // [models, chunks]
                     T* mean,                 // [models, channels], as variance
                     T* variance,             //
                     int count, int channels) {
    constexpr int lanes = 3;
    const int64 model = blockIdx.x;
    const Slice slice(1, lanes, channels, count, count);
    chunks += model * count * 2 * channels + slice.channel;
    chunk_weights += model * count;
    T sums[2] = {};
#pragma unroll 4
    for (int i = slice.first; i < slice.last; i += slice.step) {
        const T weight = chunk_weights[i];
        const T middle = slice.is_active ? chunks[int64(i) * 2 * channels] : T(0);
        sums[0] = fma(weight, middle, sums[0]);
        sums[1] += weight;
    }
    sum_rows(sums, lanes);
    const T middle = quotient_or_zero(sums[0], sums[1]);
    T squares[1] = {};
#pragma unroll 4
    for (int i = slice.first; i < slice.last; i += slice.step) {
        const T* chunk = chunks + int64(i) * 2 * channels;
        const T distance = slice.is_active ? chunk[0] - middle : T(0);
        squares[0] +=
            fma(chunk_weights[i] * distance, distance, slice.is_active ? chunk[channels] : T(0));
    }
    sum_rows(squares, lanes);
    if (!slice.is_active || int(threadIdx.x) >> lanes) return;
    mean[model * channels + slice.channel] += middle;
    variance[model * channels + slice.channel] = quotient_or_zero(squares[0], sums[1]);
}

template <typename T, int V>
__global__ void __launch_bounds__(threads)
    normalise(const T* x,         // [models, rows, channels], also one for all
              const T* gamma,     // [models, channels], as beta, mean and variance
              const T* beta,      //
              const T* mean,      //
              const T* variance,  //
              T* y,               // [models, rows, channels]
              T epsilon, int rows, int channels, int chunk, int lanes, int64 x_model,
              int64 gamma_model, int64 beta_model, int64 mean_model, int64 variance_model) {
    const int64 model = blockIdx.x;
    const Slice slice(V, lanes, channels, rows, chunk);
    const auto spread = load_channels<V>(slice, variance + model * variance_model);
    const auto slope =
        slope_of(load_channels<V>(slice, gamma + model * gamma_model), spread, epsilon);
    const auto middle = load_channels<V>(slice, mean + model * mean_model);
    const auto shift = load_channels<V>(slice, beta + model * beta_model);
    normalise_rows(slice, x + model * x_model, y + model * rows * channels, middle, slope, shift,
                   channels);
}

// Write rows of dx, with the gradient through the statistics. `share` is the row's weight in these:
// dx = slope (dy - share (dbeta + (x - mean) / deviation dgamma)).
template <typename T, int V>
__device__ inline void write_dx(const Slice& slice, const T* dy, const T* x, const T* weights,
                                T* dx, const Vector<T, V>& mean, const Vector<T, V>& slope,
                                const Vector<T, V>& dgamma_by_deviation, const Vector<T, V>& dbeta,
                                T total, int channels, uint64 by_pixels) {
    constexpr int batch = 4;
    const bool aligned = is_aligned(x), aligned_dy = is_aligned(dy);
    for (int row = slice.first; row < slice.last; row += batch * slice.step) {
        Vector<T, V> values[batch], gradients[batch];
        T share[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
            const int64 at = int64(r) * channels + slice.channel;
            const bool wanted = slice.is_active && r < slice.last;
            values[i] = load_if<V>(wanted, x + at, aligned);
            gradients[i] = load_if<V>(wanted, dy + at, aligned_dy);
            share[i] = wanted ? row_weight(weights, r, by_pixels) : T(0);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
            const T own = quotient_or_zero(share[i], total);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const T distance = values[i][v] - mean[v];
                const T through = fma(distance, dgamma_by_deviation[v], dbeta[v]);
                gradients[i][v] = slope[v] * fma(-own, through, gradients[i][v]);
            }
            if (slice.is_active && r < slice.last)
                store(dx + int64(r) * channels + slice.channel, gradients[i]);
        }
    }
}

template <typename T, int V, bool Inference>
__global__ void __launch_bounds__(threads)
    batch_norm_backward(const T* dy,        // [models, rows, channels]
                        const T* x,         // as dy, also one for all
                        const T* weights,   // [models, samples], null: all are 1
                        const T* gamma,     // [models, channels], as mean and variance
                        const T* mean,      //
                        const T* variance,  //
                        T* dx,              // as dy, null: not wanted
                        T* dgamma,          // channels of each model, as dbeta
                        T* dbeta,           //
                        T* chunks,          // [models, chunks, 2, channels]: dgamma, dbeta
                        T* chunk_weights,   // [models, chunks]
                        T epsilon, int rows, int channels, int chunk, int lanes,
                        int64 gradient_model, int64 x_model, int64 weights_model, int64 gamma_model,
                        int64 mean_model, int64 variance_model, uint64 by_pixels) {
    constexpr int batch = 4;
    const int64 model = blockIdx.x;
    const Slice slice(V, lanes, channels, rows, chunk);
    x += model * x_model;
    dy += model * rows * channels;
    if (dx) dx += model * rows * channels;
    if (weights) weights += model * weights_model;
    const bool aligned = is_aligned(x), aligned_dy = is_aligned(dy);
    const auto middle = load_channels<V>(slice, mean + model * mean_model);
    Vector<T, V> ones;
#pragma unroll
    for (int v = 0; v < V; v++) ones[v] = T(1);
    const auto inverse =
        slope_of(ones, load_channels<V>(slice, variance + model * variance_model), epsilon);
    Vector<T, V> slope = load_channels<V>(slice, gamma + model * gamma_model);
#pragma unroll
    for (int v = 0; v < V; v++) slope[v] *= inverse[v];

    T sums[2 * V + 1] = {};
    for (int row = slice.first; row < slice.last; row += batch * slice.step) {
        Vector<T, V> values[batch], gradients[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
            const int64 at = int64(r) * channels + slice.channel;
            const bool wanted = slice.is_active && r < slice.last;
            values[i] = load_if<V>(wanted, x + at, aligned);
            gradients[i] = load_if<V>(wanted, dy + at, aligned_dy);
            if (!Inference && wanted) sums[2 * V] += row_weight(weights, r, by_pixels);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * slice.step;
#pragma unroll
            for (int v = 0; v < V; v++) {
                const T distance = values[i][v] - middle[v];
                sums[v] = fma(gradients[i][v], distance, sums[v]);
                sums[V + v] += gradients[i][v];
                gradients[i][v] *= slope[v];
            }
            if (Inference && slice.is_active && r < slice.last)
                store(dx + int64(r) * channels + slice.channel, gradients[i]);
        }
    }
    sum_rows(sums, lanes);
    Vector<T, V> scale_gradient, shift_gradient;
#pragma unroll
    for (int v = 0; v < V; v++) {
        scale_gradient[v] = sums[v] * inverse[v];
        shift_gradient[v] = sums[V + v];
    }
    const bool writes = slice.is_active && int(threadIdx.x) >> lanes == 0;
    if (gridDim.z > 1) {
        const int64 number = model * gridDim.z + blockIdx.z;
        chunks += number * 2 * channels + slice.channel;
        if (writes) {
            store(chunks, scale_gradient);
            store(chunks + channels, shift_gradient);
            if (!Inference && slice.channel == 0) chunk_weights[number] = sums[2 * V];
        }
        return;
    }
    if (writes) {
        store(dgamma + model * gradient_model + slice.channel, scale_gradient);
        store(dbeta + model * gradient_model + slice.channel, shift_gradient);
    }
    if (Inference || !dx) return;
#pragma unroll
    for (int v = 0; v < V; v++) scale_gradient[v] *= inverse[v];
    write_dx(slice, dy, x, weights, dx, middle, slope, scale_gradient, shift_gradient, sums[2 * V],
             channels, by_pixels);
}

// A block has 8 channels of a model.
template <typename T>
__global__ void __launch_bounds__(threads)
    merge_gradients(const T* chunks,         // [models, chunks, 2, channels]
                    const T* chunk_weights,  // [models, chunks], null: not wanted
                    T* dgamma,               // channels of each model, as dbeta
                    T* dbeta,                //
                    T* totals,               // [models]: sum of the weights of all rows
                    int count, int channels, int64 gradient_model) {
    constexpr int lanes = 3;
    const int64 model = blockIdx.x;
    const Slice slice(1, lanes, channels, count, count);
    chunks += model * count * 2 * channels + slice.channel;
    T sums[3] = {};
#pragma unroll 4
    for (int i = slice.first; i < slice.last; i += slice.step) {
        const T* chunk = chunks + int64(i) * 2 * channels;
        sums[0] += slice.is_active ? chunk[0] : T(0);
        sums[1] += slice.is_active ? chunk[channels] : T(0);
        sums[2] += chunk_weights ? chunk_weights[model * count + i] : T(0);
    }
    sum_rows(sums, lanes);
    if (!slice.is_active || int(threadIdx.x) >> lanes) return;
    dgamma[model * gradient_model + slice.channel] = sums[0];
    dbeta[model * gradient_model + slice.channel] = sums[1];
    if (chunk_weights && slice.channel == 0) totals[model] = sums[2];
}

template <typename T, int V>
__global__ void __launch_bounds__(threads)
    batch_norm_dx(const T* dy,        // [models, rows, channels]
                  const T* x,         // as dy, also one for all
                  const T* weights,   // [models, samples], null: all are 1
                  const T* gamma,     // [models, channels], as mean and variance
                  const T* mean,      //
                  const T* variance,  //
                  const T* dgamma,    // channels of each model, as dbeta
                  const T* dbeta,     //
                  const T* totals,    // [models]
                  T* dx,              // as dy
                  T epsilon, int rows, int channels, int chunk, int lanes, int64 gradient_model,
                  int64 x_model, int64 weights_model, int64 gamma_model, int64 mean_model,
                  int64 variance_model, uint64 by_pixels) {
    const int64 model = blockIdx.x;
    const Slice slice(V, lanes, channels, rows, chunk);
    Vector<T, V> ones;
#pragma unroll
    for (int v = 0; v < V; v++) ones[v] = T(1);
    const auto inverse =
        slope_of(ones, load_channels<V>(slice, variance + model * variance_model), epsilon);
    Vector<T, V> slope = load_channels<V>(slice, gamma + model * gamma_model);
    Vector<T, V> scale_gradient = load_channels<V>(slice, dgamma + model * gradient_model);
#pragma unroll
    for (int v = 0; v < V; v++) {
        slope[v] *= inverse[v];
        scale_gradient[v] *= inverse[v];
    }
    write_dx(slice, dy + model * rows * channels, x + model * x_model,
             weights ? weights + model * weights_model : weights, dx + model * rows * channels,
             load_channels<V>(slice, mean + model * mean_model), slope, scale_gradient,
             load_channels<V>(slice, dbeta + model * gradient_model), totals[model], channels,
             by_pixels);
}
