// Pooling of NHWC images: the maximum or the mean of each window, and the gradients.
//
// Channels are adjacent in memory. So a thread takes V adjacent channels (a vector of 16 bytes if
// the number of channels is a multiple of it), and the threads of a warp read whole cache lines.
// Each thread splits its number into image, row, column and channel once, by multiplications
// (division.cuh).
//
//   pool                  one thread per window: reads its pixels once, writes y once
//   max_pool_apart        gradient for windows that share no pixel: one thread per window, which
//                         finds the first largest pixel again, and writes all pixels of dx
//   max_pool_overlapping  gradient for windows that may share pixels: one thread per pixel, which
//                         visits the windows that hold it
//   mean_pool_gradient    one thread per pixel, which adds up the gradients of the windows that
//                         hold it
//
// All three gradients go through the activation whose output the images are, if there is one. So
// each element is written once, by one thread, and sums have a fixed order. `Taps` is the side of
// square windows known at compile time, for which all loads of a window are in flight together; 0
// stands for any other window.
#include "fused.cuh"
#include "pooling_windows.cuh"

// What is computed of a window. The padding has a value that changes nothing, but the mean counts
// its pixels.
struct Largest {
    template <typename T>
    static __device__ T outside() {
        return -infinity<T>();
    }
    template <typename T>
    static __device__ T join(T a, T b) {
        return Maximum::join(a, b);
    }
    template <typename T>
    static __device__ T finish(T x, int) {
        return x;
    }
};

struct Mean {
    template <typename T>
    static __device__ T outside() {
        return T(0);
    }
    template <typename T>
    static __device__ T join(T a, T b) {
        return a + b;
    }
    template <typename T>
    static __device__ T finish(T x, int taps) {
        return x / T(taps);
    }
};

template <typename T, int V, int Taps, typename Operation>
__global__ void __launch_bounds__(256)
    pool(const T* x,  // [images, height, width, channels]
         T* y,        // [images, rows, columns, channels]
         int threads, int height, int width, int channels, int rows, int columns, int row_taps,
         int column_taps, int row_stride, int column_stride, int above, int left, uint64 by_rows,
         uint64 by_columns, uint64 by_vectors) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, rows, columns, channels, by_rows, by_columns, by_vectors);
    const Window<T, V> window(x, at, at.row * row_stride - above, at.column * column_stride - left,
                              height, width, channels);
    const T outside = Operation::template outside<T>();
    Vector<T, V> result;
#pragma unroll
    for (int v = 0; v < V; v++) result[v] = outside;
    const auto join = [&](const Vector<T, V>& pixel) {
#pragma unroll
        for (int v = 0; v < V; v++) result[v] = Operation::join(result[v], pixel[v]);
    };
    if constexpr (Taps) {
        Vector<T, V> pixels[Taps * Taps];
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) pixels[i] = window.pixel(i / Taps, i % Taps, outside);
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) join(pixels[i]);
    } else {
        for (int r = 0; r < row_taps; r++)
#pragma unroll 4
            for (int s = 0; s < column_taps; s++) join(window.pixel(r, s, outside));
    }
#pragma unroll
    for (int v = 0; v < V; v++)
        result[v] = Operation::finish(result[v], Taps ? Taps * Taps : row_taps * column_taps);
    store(y + int64(number) * V, result);
}

// Each thread takes one cell of row_stride x column_stride pixels. The cells cover the whole image,
// also where there is no window. If `Taps` is not 0, it is the stride as well.
template <typename T, int V, int Taps>
__global__ void __launch_bounds__(256)
    max_pool_apart(const T* dy,  // [images, rows, columns, channels]
                   const T* x,   // [images, height, width, channels]
                   T* dx,        // as x
                   int threads, int height, int width, int channels, int rows, int columns,
                   int cell_rows, int cell_columns, int row_taps, int column_taps, int row_stride,
                   int column_stride, int above, int left, uint64 by_rows, uint64 by_columns,
                   uint64 by_vectors, int x_activation, T x_parameter) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, cell_rows, cell_columns, channels, by_rows, by_columns, by_vectors);
    const Window<T, V> window(x, at, at.row * row_stride - above, at.column * column_stride - left,
                              height, width, channels);
    dx += window.x - x;
    const bool is_window = at.row < rows && at.column < columns;
    Vector<T, V> gradient = {};
    if (is_window) {
        const int64 place = (int64(at.image) * rows + at.row) * columns + at.column;
        gradient = load<V>(dy + place * channels + at.channel, is_aligned(dy));
    }

    Vector<T, V> largest;
    int winner[V];  // the tap that sees the first largest pixel, -1 if there is none
#pragma unroll
    for (int v = 0; v < V; v++) winner[v] = -1;
    const auto compare = [&](int tap, bool inside, const Vector<T, V>& pixel) {
#pragma unroll
        for (int v = 0; v < V; v++)
            if (inside && (winner[v] < 0 || pixel[v] > largest[v] || pixel[v] != pixel[v])) {
                largest[v] = pixel[v];
                winner[v] = tap;
            }
    };
    const auto write = [&](int tap, int r, int s, const Vector<T, V>& pixel) {
        if (!window.holds(r, s)) return;
        Vector<T, V> mine;
#pragma unroll
        for (int v = 0; v < V; v++) mine[v] = tap == winner[v] ? gradient[v] : T(0);
        fused_backward(x_activation, mine, pixel, x_parameter);
        store(dx + window.offset(r, s), mine);
    };
    // As in the definition, where no pixel equals a y that is NaN: such a window has no winner.
    const auto drop_nan = [&] {
#pragma unroll
        for (int v = 0; v < V; v++)
            if (largest[v] != largest[v]) winner[v] = -1;
    };

    if constexpr (Taps) {
        Vector<T, V> pixels[Taps * Taps];
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) pixels[i] = window.pixel(i / Taps, i % Taps, T(0));
        if (is_window) {
#pragma unroll
            for (int i = 0; i < Taps * Taps; i++)
                compare(i, window.holds(i / Taps, i % Taps), pixels[i]);
            drop_nan();
        }
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) write(i, i / Taps, i % Taps, pixels[i]);
    } else {
        if (is_window) {
            for (int r = 0; r < row_taps; r++)
#pragma unroll 4
                for (int s = 0; s < column_taps; s++)
                    compare(r * column_taps + s, window.holds(r, s), window.pixel(r, s, T(0)));
            drop_nan();
        }
        for (int r = 0; r < row_stride; r++)
            for (int s = 0; s < column_stride; s++) {
                const bool is_tap = r < row_taps && s < column_taps;
                Vector<T, V> pixel = {};
                if (x_activation != fused_identity) pixel = window.pixel(r, s, T(0));
                write(is_tap ? r * column_taps + s : -2, r, s, pixel);
            }
    }
}

// A pixel gets the gradient of a window if it equals y, and no pixel before it in the window does.
// Most pixels do not equal y, and read nothing more of that window. (The bound of two blocks per
// multiprocessor leaves the compiler enough registers to avoid spills.)
template <typename T, int V, int Taps>
__global__ void __launch_bounds__(256, 2)
    max_pool_overlapping(const T* dy,  // [images, rows, columns, channels]
                         const T* x,   // [images, height, width, channels]
                         const T* y,   // as dy
                         T* dx,        // as x
                         int threads, int height, int width, int channels, int rows, int columns,
                         int row_taps, int column_taps, int row_stride, int column_stride,
                         int above, int left, uint64 by_height, uint64 by_width, uint64 by_vectors,
                         uint64 by_row_stride, uint64 by_column_stride, int x_activation,
                         T x_parameter) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, height, width, channels, by_height, by_width, by_vectors);
    const int taps_down = Taps ? Taps : row_taps, taps_right = Taps ? Taps : column_taps;
    const Vector<T, V> mine = load<V>(x + int64(number) * V, is_aligned(x));
    const bool aligned = is_aligned(y), aligned_dy = is_aligned(dy);
    const int64 image = int64(at.image) * rows * columns * channels + at.channel;
    Vector<T, V> sum = {};

    // From the last window that holds the pixel to the first: in the order of the taps that see it,
    // in which the definition adds as well.
    const int row = at.row + above, column = at.column + left;
    const int last_row = least(quotient(row, by_row_stride), rows - 1);
    const int last_column = least(quotient(column, by_column_stride), columns - 1);
    for (int p = last_row; p >= 0 && row - p * row_stride < taps_down; p--)
        for (int q = last_column; q >= 0 && column - q * column_stride < taps_right; q--) {
            const int64 place = image + int64(p * columns + q) * channels;
            const Vector<T, V> top = load<V>(y + place, aligned);
            bool wins[V], any = false;
#pragma unroll
            for (int v = 0; v < V; v++) any |= wins[v] = mine[v] == top[v];
            if (!any) continue;

            const Vector<T, V> gradient = load<V>(dy + place, aligned_dy);
            const Window<T, V> window(x, at, p * row_stride - above, q * column_stride - left,
                                      height, width, channels);
            const int before = (row - p * row_stride) * taps_right + column - q * column_stride;
            const auto compare = [&](bool inside, const Vector<T, V>& pixel) {
#pragma unroll
                for (int v = 0; v < V; v++) wins[v] &= !inside || pixel[v] != top[v];
            };
            if constexpr (Taps) {
                Vector<T, V> pixels[Taps * Taps - 1];
#pragma unroll
                for (int i = 0; i < Taps * Taps - 1; i++)
                    if (i < before) pixels[i] = window.pixel(i / Taps, i % Taps, T(0));
#pragma unroll
                for (int i = 0; i < Taps * Taps - 1; i++)
                    compare(i < before && window.holds(i / Taps, i % Taps), pixels[i]);
            } else {
                int r = 0, s = 0;
                for (int tap = 0; tap < before; tap++) {
                    compare(window.holds(r, s), window.pixel(r, s, T(0)));
                    const bool next = ++s == taps_right;
                    r += next;
                    s = next ? 0 : s;
                }
            }
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += wins[v] ? gradient[v] : T(0);
        }
    fused_backward(x_activation, sum, mine, x_parameter);
    store(dx + int64(number) * V, sum);
}

template <typename T, int V>
__global__ void __launch_bounds__(256)
    mean_pool_gradient(const T* dy,  // [images, rows, columns, channels]
                       const T* x,   // [images, height, width, channels], read for its activation
                       T* dx,        // as x
                       int threads, int height, int width, int channels, int rows, int columns,
                       int row_taps, int column_taps, int row_stride, int column_stride, int above,
                       int left, uint64 by_height, uint64 by_width, uint64 by_vectors,
                       uint64 by_row_stride, uint64 by_column_stride, int x_activation,
                       T x_parameter) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, height, width, channels, by_height, by_width, by_vectors);
    const bool aligned = is_aligned(dy);
    dy += int64(at.image) * rows * columns * channels + at.channel;
    Vector<T, V> sum = {};
    const int row = at.row + above, column = at.column + left;
    const int last_row = least(quotient(row, by_row_stride), rows - 1);
    const int last_column = least(quotient(column, by_column_stride), columns - 1);
    for (int p = last_row; p >= 0 && row - p * row_stride < row_taps; p--)
#pragma unroll 4
        for (int q = last_column; q >= 0 && column - q * column_stride < column_taps; q--) {
            const Vector<T, V> slope = load<V>(dy + int64(p * columns + q) * channels, aligned);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += slope[v];
        }
#pragma unroll
    for (int v = 0; v < V; v++) sum[v] /= T(row_taps * column_taps);
    if (x_activation != fused_identity)
        fused_backward(x_activation, sum, load<V>(x + int64(number) * V, is_aligned(x)),
                       x_parameter);
    store(dx + int64(number) * V, sum);
}
