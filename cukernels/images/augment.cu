// Shift and mirror images.
#include "division.cuh"

// y[n][i][j] = x[n][i'][j'], where i' = i - down, or h - 1 - i - down if the image is turned upside
// down, and j' likewise; y is 0 where (i', j') lies outside. x, y: (n, h, w, c); moves: (n, 4), in
// the order of the four constants below. A block has an image. Adjacent threads write adjacent
// values of y, and read adjacent pixels of x, forward or backward.
template <typename T>
__global__ void __launch_bounds__(256)
    shift_and_flip(const T* __restrict__ x_nhwc, const int* __restrict__ moves,
                   T* __restrict__ y_nhwc, int h, int w, int c, uint64 divisor_w,
                   uint64 divisor_c) {
    const int values = h * w * c;
    const int64 image = blockIdx.x;
    const int down = moves[4 * image], right = moves[4 * image + 1];
    const bool upside_down = moves[4 * image + 2], mirrored = moves[4 * image + 3];
    const T* x = x_nhwc + image * values;
    T* y = y_nhwc + image * values;
#pragma unroll 4
    for (int place = threadIdx.x; place < values; place += 256) {
        const int pixel = quotient(place, divisor_c), channel = place - pixel * c;
        const int row = quotient(pixel, divisor_w), column = pixel - row * w;
        const int i = (upside_down ? h - 1 - row : row) - down;
        const int j = (mirrored ? w - 1 - column : column) - right;
        const bool inside = i >= 0 && i < h && j >= 0 && j < w;
        y[place] = inside ? x[(i * w + j) * c + channel] : T(0);
    }
}
