// The largest response of each window, and the way back to where it was.
//
// Windows lie side by side and without padding. A place is the number of a response in its window,
// in row-major order, in a byte: it is all that the way back reads of the responses.
//
//   largest_places      one thread per window: reads its responses once, writes y and the place
//   give_back           one thread per cell (a window, or the rest of one at the border, to which
//                       nothing is given): writes all responses of it once
//
// A thread takes V adjacent channels. `Taps` is the side of square windows known at compile time,
// for which all loads of a window are in flight together; 0 stands for any other window.
#include "fused.cuh"
#include "pooling_windows.cuh"

template <typename T, int V, int Taps>
__global__ void __launch_bounds__(256)
    largest_places(const T* z,    // [images, height, width, channels]
                   T* y,          // [images, rows, columns, channels]
                   byte* places,  // as y
                   int threads, int height, int width, int channels, int rows, int columns,
                   int row_taps, int column_taps, int row_stride, int column_stride, int above,
                   int left, uint64 by_rows, uint64 by_columns, uint64 by_vectors, int activation,
                   T parameter) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, rows, columns, channels, by_rows, by_columns, by_vectors);
    const Window<T, V> window(z, at, at.row * row_stride - above, at.column * column_stride - left,
                              height, width, channels);
    Vector<T, V> top;
    Vector<byte, V> winner = {};
    const auto compare = [&](int tap, const Vector<T, V>& response) {
#pragma unroll
        for (int v = 0; v < V; v++)
            if (tap == 0 || response[v] > top[v] || response[v] != response[v]) {  // NaN wins
                top[v] = response[v];
                winner[v] = byte(tap);
            }
    };
    if constexpr (Taps) {
        Vector<T, V> responses[Taps * Taps];
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) responses[i] = window.pixel(i / Taps, i % Taps, T(0));
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) compare(i, responses[i]);
    } else {
        for (int r = 0; r < row_taps; r++)
#pragma unroll 4
            for (int s = 0; s < column_taps; s++)
                compare(r * column_taps + s, window.pixel(r, s, T(0)));
    }
    fused_forward(activation, top, parameter);
    store(y + int64(number) * V, top);
    store(places + int64(number) * V, winner);
}

template <typename T, int V, int Taps>
__global__ void __launch_bounds__(256)
    give_back(const T* dy,         // [images, rows, columns, channels]
              const byte* places,  // as dy
              T* dz,               // [images, height, width, channels]
              int threads, int height, int width, int channels, int rows, int columns,
              int cell_rows, int cell_columns, int row_taps, int column_taps, int row_stride,
              int column_stride, int above, int left, uint64 by_rows, uint64 by_columns,
              uint64 by_vectors) {
    const int number = blockIdx.x * 256 + threadIdx.x;
    if (number >= threads) return;
    const Place at(number, V, cell_rows, cell_columns, channels, by_rows, by_columns, by_vectors);
    const Window<T, V> window(dz, at, at.row * row_stride - above, at.column * column_stride - left,
                              height, width, channels);
    dz += window.x - dz;
    Vector<T, V> gradient = {};
    Vector<byte, V> winner = {};
    if (at.row < rows && at.column < columns) {
        const int64 place = (int64(at.image) * rows + at.row) * columns + at.column;
        gradient = load<V>(dy + place * channels + at.channel, is_aligned(dy));
        winner = load<V>(places + place * channels + at.channel, is_aligned(places));
    }
    const auto write = [&](int tap, int r, int s) {
        if (!window.holds(r, s)) return;
        Vector<T, V> mine;
#pragma unroll
        for (int v = 0; v < V; v++) mine[v] = tap == winner[v] ? gradient[v] : T(0);
        store(dz + window.offset(r, s), mine);
    };
    if constexpr (Taps) {
#pragma unroll
        for (int i = 0; i < Taps * Taps; i++) write(i, i / Taps, i % Taps);
    } else {
        for (int r = 0; r < row_taps; r++)
            for (int s = 0; s < column_taps; s++) write(r * column_taps + s, r, s);
    }
}
