// Batch normalisation over the channels, which are the last axis.
//
// To a kernel, each model's activations are a matrix of rows (samples and pixels) by channels. A
// block has a tile of channels, 128 bytes wide, and a chunk of the rows: its threads stand 2^lanes
// side by side, each at a run of V channels (16 bytes where their number allows), and the others
// below them. So a thread keeps its channels, whose gamma, beta and statistics it reads once, a
// row is read in whole lines, and no index is divided but a row's by the pixels of a sample.
//
//   batch_norm            statistics of a chunk; where it is the only one, also y
//   merge_statistics      those of all chunks, in order
//   normalise             y from statistics
//   batch_norm_backward   dgamma and dbeta of a chunk; where it is the only one, also dx.
//                         With given statistics (`Inference`) dx is written on the way
//   merge_gradients       those of all chunks, in order
//   batch_norm_dx         dx from dgamma and dbeta
//
// Means and squares are of distances to a pivot, which is one of the channel's values, so that no
// digits are lost where the mean is large. In 8 rows, which are in registers, and whenever parts
// are merged, the mean is taken first and then the squares of the distances to it: memory is passed
// over once, nothing cancels, and a constant channel has its value as mean and 0 as variance.
// Chunks depend on the rows and channels alone, and every sum has a fixed order: a model's numbers
// are the same in any stack.
//
// The blocks of a grid are (model, tile of channels, chunk of rows).
#include "division.cuh"
#include "prelude.cuh"

constexpr int threads = 256;
constexpr int tile_bytes = 128;

// The part of a model's matrix that a thread has: rows first, first + step ... below last.
struct Part {
    int lane, channel, first, step, last;
    bool is_active;  // false beyond the last channel

    __device__ Part(int V, int lanes, int channels, int rows, int chunk) {
        lane = threadIdx.x & ((1 << lanes) - 1);
        channel = (int(blockIdx.y << lanes) + lane) * V;
        is_active = channel < channels;
        step = threads >> lanes;
        first = int(blockIdx.z) * chunk + int(threadIdx.x >> lanes);
        last = least(rows, (int(blockIdx.z) + 1) * chunk);
    }
};

// Room for the sums of each warp: up to 3 numbers of each channel of the tile.
template <typename T>
struct WarpSums {
    T of[threads / warp_size][3 * tile_bytes / sizeof(T)];
};

template <typename T>
__device__ inline WarpSums<T>& warp_sums() {
    __shared__ WarpSums<T> sums;
    return sums;
}

// Sum N numbers over the threads of a block that stand below each other; all get the sums.
template <int N, typename T>
__device__ inline void sum_rows(T (&x)[N], int lanes) {
    auto& parts = warp_sums<T>().of;
    for (int distance = warp_size / 2; distance >> lanes; distance /= 2)
#pragma unroll
        for (int i = 0; i < N; i++) x[i] += __shfl_xor_sync(full_warp, x[i], distance);
    __syncthreads();  // a call before this one may still be reading
    const int lane = lane_id();
    if (!(lane >> lanes))
#pragma unroll
        for (int i = 0; i < N; i++) parts[warp_id()][(i << lanes) + lane] = x[i];
    __syncthreads();
    const int own = lane & ((1 << lanes) - 1);
#pragma unroll
    for (int i = 0; i < N; i++) {
        x[i] = parts[0][(i << lanes) + own];
#pragma unroll
        for (int w = 1; w < threads / warp_size; w++) x[i] += parts[w][(i << lanes) + own];
    }
}

// V neighbours from memory where they are wanted, else zeros.
template <int V, typename T>
__device__ inline Vector<T, V> load_if(bool wanted, const T* from, bool aligned) {
    Vector<T, V> zeros = {};
    return wanted ? load<V>(from, aligned) : zeros;
}

// Numbers of a thread's channels, one by one: they may begin anywhere.
template <int V, typename T>
__device__ inline Vector<T, V> load_channels(const Part& part, const T* from) {
    return load_if<V>(part.is_active, from + part.channel, false);
}

template <typename T>
__device__ inline T row_weight(const T* weights, int row, uint64 by_places) {
    return weights ? weights[quotient(row, by_places)] : T(1);
}

// The channels' values in the first of 8 samples that counts: the same for all blocks of a model.
template <int V, typename T>
__device__ inline Vector<T, V> first_value(const Part& part, const T* x, const T* weights, int rows,
                                           int channels, int places, bool aligned) {
    constexpr int samples = 8;
    Vector<T, V> values[samples], first = {};
    bool counts[samples];
#pragma unroll
    for (int i = 0; i < samples; i++) {
        const int64 row = int64(i) * places;
        const bool wanted = row < rows && (weights || i == 0);
        counts[i] = wanted && (weights ? weights[i] : T(1)) != 0;
        values[i] =
            load_if<V>(wanted && part.is_active, x + row * channels + part.channel, aligned);
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

// Both `batch_norm` and `normalise` end in this, to the bit.
template <typename T>
__device__ inline T normalised(T x, T mean, T slope, T shift) {
    return fma(x - mean, slope, shift);
}

template <typename T, int V>
__device__ inline void normalise_rows(const Part& part, const T* x, T* y, const Vector<T, V>& mean,
                                      const Vector<T, V>& slope, const Vector<T, V>& shift,
                                      int channels) {
    constexpr int batch = 4;
    const bool aligned = is_aligned(x);
    for (int row = part.first; row < part.last; row += batch * part.step) {
        Vector<T, V> values[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
            const int64 at = int64(r) * channels + part.channel;
            values[i] = load_if<V>(part.is_active && r < part.last, x + at, aligned);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
#pragma unroll
            for (int v = 0; v < V; v++)
                values[i][v] = normalised(values[i][v], mean[v], slope[v], shift[v]);
            if (part.is_active && r < part.last)
                store(y + int64(r) * channels + part.channel, values[i]);
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
               T epsilon, int rows, int channels, int places, int chunk, int lanes, int64 x_model,
               int64 weights_model, int64 gamma_model, int64 beta_model, uint64 by_places) {
    constexpr int batch = 8;
    const int64 model = blockIdx.x;
    const Part part(V, lanes, channels, rows, chunk);
    x += model * x_model;
    if (weights) weights += model * weights_model;
    const bool aligned = is_aligned(x);

    const auto pivot = first_value<V>(part, x, weights, rows, channels, places, aligned);
    T weight = 0;
    Vector<T, V> centre = {}, squares = {};
    for (int row = part.first; row < part.last; row += batch * part.step) {
        Vector<T, V> values[batch];
        T w[batch], sum = 0;
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
            const bool wanted = part.is_active && r < part.last;
            values[i] = load_if<V>(wanted, x + int64(r) * channels + part.channel, aligned);
            w[i] = wanted ? row_weight(weights, r, by_places) : T(0);
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
    const bool writes = part.is_active && int(threadIdx.x) >> lanes == 0;
    if (gridDim.z > 1) {
        const int64 number = model * gridDim.z + blockIdx.z;
        chunks += number * 2 * channels + part.channel;
        if (writes) {
            store(chunks, middle);
            store(chunks + channels, squares);
            if (part.channel == 0) chunk_weights[number] = sums[V];
            if (blockIdx.z == 0) store(mean + model * channels + part.channel, pivot);
        }
        return;
    }
#pragma unroll
    for (int v = 0; v < V; v++) {
        middle[v] += pivot[v];
        squares[v] = quotient_or_zero(squares[v], sums[V]);
    }
    if (writes) {
        store(mean + model * channels + part.channel, middle);
        store(variance + model * channels + part.channel, squares);
    }
    if (!y) return;
    const auto slope =
        slope_of(load_channels<V>(part, gamma + model * gamma_model), squares, epsilon);
    const auto shift = load_channels<V>(part, beta + model * beta_model);
    normalise_rows(part, x, y + model * rows * channels, middle, slope, shift, channels);
}

// A block has 8 channels of a model.
template <typename T>
__global__ void __launch_bounds__(threads)
    merge_statistics(const T* chunks,         // [models, chunks, 2, channels]
                     const T* chunk_weights,  // [models, chunks]
                     T* mean,                 // [models, channels], as variance; has the pivot
                     T* variance,             //
                     int count, int channels) {
    constexpr int lanes = 3;
    const int64 model = blockIdx.x;
    const Part part(1, lanes, channels, count, count);
    chunks += model * count * 2 * channels + part.channel;
    chunk_weights += model * count;
    T sums[2] = {};
#pragma unroll 4
    for (int i = part.first; i < part.last; i += part.step) {
        const T weight = chunk_weights[i];
        const T middle = part.is_active ? chunks[int64(i) * 2 * channels] : T(0);
        sums[0] = fma(weight, middle, sums[0]);
        sums[1] += weight;
    }
    sum_rows(sums, lanes);
    const T middle = quotient_or_zero(sums[0], sums[1]);
    T squares[1] = {};
#pragma unroll 4
    for (int i = part.first; i < part.last; i += part.step) {
        const T* chunk = chunks + int64(i) * 2 * channels;
        const T distance = part.is_active ? chunk[0] - middle : T(0);
        squares[0] +=
            fma(chunk_weights[i] * distance, distance, part.is_active ? chunk[channels] : T(0));
    }
    sum_rows(squares, lanes);
    if (!part.is_active || int(threadIdx.x) >> lanes) return;
    mean[model * channels + part.channel] += middle;
    variance[model * channels + part.channel] = quotient_or_zero(squares[0], sums[1]);
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
    const Part part(V, lanes, channels, rows, chunk);
    const auto spread = load_channels<V>(part, variance + model * variance_model);
    const auto slope =
        slope_of(load_channels<V>(part, gamma + model * gamma_model), spread, epsilon);
    const auto middle = load_channels<V>(part, mean + model * mean_model);
    const auto shift = load_channels<V>(part, beta + model * beta_model);
    normalise_rows(part, x + model * x_model, y + model * rows * channels, middle, slope, shift,
                   channels);
}

// Rows of dx through the statistics, of which every row has a share:
// dx = slope (dy - share (dbeta + (x - mean) / deviation dgamma)).
template <typename T, int V>
__device__ inline void write_dx(const Part& part, const T* dy, const T* x, const T* weights, T* dx,
                                const Vector<T, V>& mean, const Vector<T, V>& slope,
                                const Vector<T, V>& dgamma_by_deviation, const Vector<T, V>& dbeta,
                                T total, int channels, uint64 by_places) {
    constexpr int batch = 4;
    const bool aligned = is_aligned(x), aligned_dy = is_aligned(dy);
    for (int row = part.first; row < part.last; row += batch * part.step) {
        Vector<T, V> values[batch], gradients[batch];
        T share[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
            const int64 at = int64(r) * channels + part.channel;
            const bool wanted = part.is_active && r < part.last;
            values[i] = load_if<V>(wanted, x + at, aligned);
            gradients[i] = load_if<V>(wanted, dy + at, aligned_dy);
            share[i] = wanted ? row_weight(weights, r, by_places) : T(0);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
            const T own = quotient_or_zero(share[i], total);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const T distance = values[i][v] - mean[v];
                const T through = fma(distance, dgamma_by_deviation[v], dbeta[v]);
                gradients[i][v] = slope[v] * fma(-own, through, gradients[i][v]);
            }
            if (part.is_active && r < part.last)
                store(dx + int64(r) * channels + part.channel, gradients[i]);
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
                        T* dgamma,          // [models, channels], as dbeta
                        T* dbeta,           //
                        T* chunks,          // [models, chunks, 2, channels]: dgamma, dbeta
                        T* chunk_weights,   // [models, chunks]
                        T epsilon, int rows, int channels, int chunk, int lanes, int64 x_model,
                        int64 weights_model, int64 gamma_model, int64 mean_model,
                        int64 variance_model, uint64 by_places) {
    constexpr int batch = 4;
    const int64 model = blockIdx.x;
    const Part part(V, lanes, channels, rows, chunk);
    x += model * x_model;
    dy += model * rows * channels;
    if (dx) dx += model * rows * channels;
    if (weights) weights += model * weights_model;
    const bool aligned = is_aligned(x), aligned_dy = is_aligned(dy);
    const auto middle = load_channels<V>(part, mean + model * mean_model);
    Vector<T, V> ones;
#pragma unroll
    for (int v = 0; v < V; v++) ones[v] = T(1);
    const auto inverse =
        slope_of(ones, load_channels<V>(part, variance + model * variance_model), epsilon);
    Vector<T, V> slope = load_channels<V>(part, gamma + model * gamma_model);
#pragma unroll
    for (int v = 0; v < V; v++) slope[v] *= inverse[v];

    T sums[2 * V + 1] = {};
    for (int row = part.first; row < part.last; row += batch * part.step) {
        Vector<T, V> values[batch], gradients[batch];
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
            const int64 at = int64(r) * channels + part.channel;
            const bool wanted = part.is_active && r < part.last;
            values[i] = load_if<V>(wanted, x + at, aligned);
            gradients[i] = load_if<V>(wanted, dy + at, aligned_dy);
            if (!Inference && wanted) sums[2 * V] += row_weight(weights, r, by_places);
        }
#pragma unroll
        for (int i = 0; i < batch; i++) {
            const int r = row + i * part.step;
#pragma unroll
            for (int v = 0; v < V; v++) {
                const T distance = values[i][v] - middle[v];
                sums[v] = fma(gradients[i][v], distance, sums[v]);
                sums[V + v] += gradients[i][v];
                gradients[i][v] *= slope[v];
            }
            if (Inference && part.is_active && r < part.last)
                store(dx + int64(r) * channels + part.channel, gradients[i]);
        }
    }
    sum_rows(sums, lanes);
    Vector<T, V> scale_gradient, shift_gradient;
#pragma unroll
    for (int v = 0; v < V; v++) {
        scale_gradient[v] = sums[v] * inverse[v];
        shift_gradient[v] = sums[V + v];
    }
    const bool writes = part.is_active && int(threadIdx.x) >> lanes == 0;
    if (gridDim.z > 1) {
        const int64 number = model * gridDim.z + blockIdx.z;
        chunks += number * 2 * channels + part.channel;
        if (writes) {
            store(chunks, scale_gradient);
            store(chunks + channels, shift_gradient);
            if (!Inference && part.channel == 0) chunk_weights[number] = sums[2 * V];
        }
        return;
    }
    if (writes) {
        store(dgamma + model * channels + part.channel, scale_gradient);
        store(dbeta + model * channels + part.channel, shift_gradient);
    }
    if (Inference || !dx) return;
#pragma unroll
    for (int v = 0; v < V; v++) scale_gradient[v] *= inverse[v];
    write_dx(part, dy, x, weights, dx, middle, slope, scale_gradient, shift_gradient, sums[2 * V],
             channels, by_places);
}

// A block has 8 channels of a model.
template <typename T>
__global__ void __launch_bounds__(threads)
    merge_gradients(const T* chunks,         // [models, chunks, 2, channels]
                    const T* chunk_weights,  // [models, chunks], null: not wanted
                    T* dgamma,               // [models, channels], as dbeta
                    T* dbeta,                //
                    T* totals,               // [models]: sum of the weights of all rows
                    int count, int channels) {
    constexpr int lanes = 3;
    const int64 model = blockIdx.x;
    const Part part(1, lanes, channels, count, count);
    chunks += model * count * 2 * channels + part.channel;
    T sums[3] = {};
#pragma unroll 4
    for (int i = part.first; i < part.last; i += part.step) {
        const T* chunk = chunks + int64(i) * 2 * channels;
        sums[0] += part.is_active ? chunk[0] : T(0);
        sums[1] += part.is_active ? chunk[channels] : T(0);
        sums[2] += chunk_weights ? chunk_weights[model * count + i] : T(0);
    }
    sum_rows(sums, lanes);
    if (!part.is_active || int(threadIdx.x) >> lanes) return;
    dgamma[model * channels + part.channel] = sums[0];
    dbeta[model * channels + part.channel] = sums[1];
    if (chunk_weights && part.channel == 0) totals[model] = sums[2];
}

template <typename T, int V>
__global__ void __launch_bounds__(threads)
    batch_norm_dx(const T* dy,        // [models, rows, channels]
                  const T* x,         // as dy, also one for all
                  const T* weights,   // [models, samples], null: all are 1
                  const T* gamma,     // [models, channels], as mean and variance
                  const T* mean,      //
                  const T* variance,  //
                  const T* dgamma,    // [models, channels], as dbeta
                  const T* dbeta,     //
                  const T* totals,    // [models]
                  T* dx,              // as dy
                  T epsilon, int rows, int channels, int chunk, int lanes, int64 x_model,
                  int64 weights_model, int64 gamma_model, int64 mean_model, int64 variance_model,
                  uint64 by_places) {
    const int64 model = blockIdx.x;
    const Part part(V, lanes, channels, rows, chunk);
    Vector<T, V> ones;
#pragma unroll
    for (int v = 0; v < V; v++) ones[v] = T(1);
    const auto inverse =
        slope_of(ones, load_channels<V>(part, variance + model * variance_model), epsilon);
    Vector<T, V> slope = load_channels<V>(part, gamma + model * gamma_model);
    Vector<T, V> scale_gradient = load_channels<V>(part, dgamma + model * channels);
#pragma unroll
    for (int v = 0; v < V; v++) {
        slope[v] *= inverse[v];
        scale_gradient[v] *= inverse[v];
    }
    write_dx(part, dy + model * rows * channels, x + model * x_model,
             weights ? weights + model * weights_model : weights, dx + model * rows * channels,
             load_channels<V>(part, mean + model * mean_model), slope, scale_gradient,
             load_channels<V>(part, dbeta + model * channels), totals[model], channels, by_places);
}
