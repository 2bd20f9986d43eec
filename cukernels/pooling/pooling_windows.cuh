// Which pixels a thread of a pooling reads or writes.
#pragma once
#include "division.cuh"

// The image, row, column and first channel of a thread, if each takes V channels.
struct Place {
    int image, row, column, channel;

    __device__ Place(int number, int V, int rows, int columns, int channels, uint64 by_rows,
                     uint64 by_columns, uint64 by_vectors) {
        const int pixel = quotient(number, by_vectors);
        const int line = quotient(pixel, by_columns);
        image = quotient(line, by_rows);
        row = line - image * rows;
        column = pixel - line * columns;
        channel = number * V - pixel * channels;
    }
};

// A window or a cell of an image. Its first pixel may lie in the padding.
template <typename T, int V>
struct Window {
    const T* x;
    int top, left, height, width, channels;
    bool aligned;

    __device__ Window(const T* x, const Place& at, int top, int left, int height, int width,
                      int channels)
        : x(x + (int64(at.image) * height * width + top * width + left) * channels + at.channel),
          top(top),
          left(left),
          height(height),
          width(width),
          channels(channels),
          aligned(is_aligned(x)) {}

    __device__ bool holds(int r, int s) const {
        return unsigned(top + r) < unsigned(height) && unsigned(left + s) < unsigned(width);
    }
    __device__ int offset(int r, int s) const { return (r * width + s) * channels; }

    // A pixel, or `outside` in each channel if it lies in the padding.
    __device__ Vector<T, V> pixel(int r, int s, T outside) const {
        Vector<T, V> value;
#pragma unroll
        for (int v = 0; v < V; v++) value[v] = outside;
        return holds(r, s) ? load<V>(x + offset(r, s), aligned) : value;
    }
};
