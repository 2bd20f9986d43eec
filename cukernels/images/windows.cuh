// Loaders (see gemm.cuh) for operands that are not stored as matrices: the windows of images.
//
// A convolution is a product whose left factor has the windows of the images as its rows. Windows
// overlap, so this matrix is never stored: each thread walks along it while it copies tiles to
// shared memory. A thread splits its index k into digits (row tap, column tap, channel) by division
// once. From one k-step to the next it only adds, and carries as an odometer does.
//
// The contiguous axis is that of the channels (or of the filters, where windows lie over the
// gradient of the output). It is copied in vectors of 16 bytes if its length is a multiple of a
// vector and the array is aligned, and otherwise element by element, as for the few channels of a
// first layer.
#pragma once
#include "gemm.cuh"

// One axis of images under windows: at place i, tap t sees pixel start + i * step + t * tap.
struct Axis {
    int size, start, step, tap;
    int places, taps;

    // The axis of a single place.
    __device__ Axis at(int place) const { return {size, start + place * step, 0, tap, 1, taps}; }
};

// Images under windows. A place is (image, row, column), a tap is (row, column, channel).
template <typename T>
struct Windows {
    const T* images;  // (N, rows.size, columns.size, channels)
    int count, channels;
    Axis rows, columns;

    __device__ int image_size() const { return rows.size * columns.size * channels; }
    __device__ int places() const { return count * rows.places * columns.places; }
    __device__ int taps() const { return rows.taps * columns.taps * channels; }
};

// The images that a model of a stack takes: its own, or those of which `x_of` holds the number. It
// is checked here that there are such images, as the host does not read `x_of`.
struct ImagesOf {
    int64 number;
    bool exist;

    __device__ ImagesOf(const int* x_of, int sets, int64 model)
        : number(x_of ? x_of[model] : model), exist(!x_of || is_within(number, sets)) {}
};

// The tile of a model whose images do not exist.
template <typename Tile, typename T, typename Rows>
__device__ inline void fill_with_nan(StoreRows<T, Rows> rows) {
    constexpr int V = vector_length<T>, vectors = Tile::N / V;
    Vector<T, V> x;
#pragma unroll
    for (int e = 0; e < V; e++) x[e] = not_a_number<T>();
    rows.begin(int(threadIdx.x) % vectors * V);
    for (int m = int(threadIdx.x) / vectors; m < Tile::M; m += Tile::threads / vectors)
        rows.store(m, x);
}

// A number as three digits, of which `low` counts fastest. An empty axis counts as one of length 1.
struct Odometer {
    int high, middle, low;

    __device__ Odometer(int number, int middles, int lows) {
        middles = largest(middles, 1);
        lows = largest(lows, 1);
        high = number / lows / middles;
        middle = number / lows % middles;
        low = number % lows;
    }

    // Add another number; two carries suffice, as each digit of both is below its limit.
    __device__ void advance(const Odometer& by, int middles, int lows) {
        low += by.low;
        const int carry = low >= lows;
        low -= carry ? lows : 0;
        middle += by.middle + carry;
        const int next = middle >= middles;
        middle -= next ? middles : 0;
        high += by.high + next;
    }
};

// Whether rows of so many adjacent elements can be copied in vectors of 16 bytes.
template <typename T>
__device__ inline bool has_vectors(const T* first, int adjacent) {
    return is_aligned(first) && adjacent % vector_length<T> == 0;
}

// --- Left factors --------------------------------------------------------------------------------

// A row of the tile: the pixel that the first tap of its window sees, which may lie in the padding.
struct Place {
    int64 offset;  // elements from the beginning of the images
    int row, column;
};

// Write the places that are the rows of this block's tile, from number `first` on, to shared
// memory.
template <int Rows, int Threads, typename T>
__device__ inline void find_places(Place (&places)[Rows], const Windows<T>& windows, int first) {
    for (int i = threadIdx.x; i < Rows; i += Threads) {
        const Odometer digits(first + i, windows.rows.places, windows.columns.places);
        Place place;
        place.row = windows.rows.start + digits.middle * windows.rows.step;
        place.column = windows.columns.start + digits.low * windows.columns.step;
        place.offset = int64(digits.high) * windows.image_size() +
                       (int64(place.row) * windows.columns.size + place.column) * windows.channels;
        if (first + i >= windows.places())
            place.row = -(1 << 30);  // no tap leads from there to an image
        places[i] = place;
    }
    __syncthreads();
}

// The loader of windows as rows, contiguous along k = (row tap, column tap, channel). In the
// forward product these are windows of the images; in the gradient of the images they are windows
// of the output's gradient. A thread copies the same k of several rows, so it needs one odometer.
template <typename T, typename Layout_, int Threads>
struct WindowRows {
    using Layout = Layout_;
    static constexpr int V = Layout::V;
    static_assert(Layout::k_contiguous, "channels are contiguous");

    const Windows<T>& windows;
    const Place* places;  // of the tile's rows
    const bool wide;
    Odometer k;
    const Odometer step;

    __device__ WindowRows(const Windows<T>& windows, const Place* places)
        : windows(windows),
          places(places),
          wide(has_vectors(windows.images, windows.channels)),
          k(wide ? column<V>() : column<1>(), windows.columns.taps, windows.channels),
          step(Layout::depth, windows.columns.taps, windows.channels) {}

    __device__ void load(T* tile) {
        if (wide)
            copy<V>(tile);
        else
            copy<1>(tile);
        k.advance(step, windows.columns.taps, windows.channels);
    }

    template <int Width>
    static __device__ int column() {
        return int(threadIdx.x) % (Layout::depth / Width) * Width;
    }

    template <int Width>
    __device__ void copy(T* tile) const {
        constexpr int bytes = Width * int(sizeof(T));
        constexpr int row_threads = Layout::depth / Width, rows_at_once = Threads / row_threads;
        constexpr int passes = Layout::length / rows_at_once;
        static_assert(Threads % row_threads == 0, "a thread keeps to its column");
        static_assert(Layout::length % rows_at_once == 0, "every pass has work for all threads");
        const int down = k.high * windows.rows.tap, right = k.middle * windows.columns.tap;
        const T* seen =
            windows.images + ((down * windows.columns.size + right) * windows.channels + k.low);
        const bool is_tap = k.high < windows.rows.taps;
#pragma unroll(least(passes, 4))
        for (int pass = 0; pass < passes; pass++) {
            const int row = int(threadIdx.x) / row_threads + pass * rows_at_once;
            const Place place = places[row];
            const bool valid = is_tap && unsigned(place.row + down) < unsigned(windows.rows.size) &&
                               unsigned(place.column + right) < unsigned(windows.columns.size);
            cp_async<bytes>(Layout::at(tile, row, column<Width>()), seen + place.offset, valid);
        }
    }
};

// --- Right factors -------------------------------------------------------------------------------

// How the threads of a block divide a tile that is contiguous along its columns: each keeps to its
// columns (Width of them), and goes down along k by `rows_at_once` in each pass.
template <typename Layout, int Width, int Threads>
struct ColumnWise {
    static constexpr int row_threads = Layout::length / Width;
    static constexpr int rows_at_once = Threads / row_threads;
    static constexpr int passes = Layout::depth / rows_at_once;
    static_assert(!Layout::k_contiguous, "channels are contiguous");
    static_assert(Threads % row_threads == 0, "a thread keeps to its column");
    static_assert(Layout::depth % rows_at_once == 0, "every pass has work for all threads");

    static __device__ int column() { return int(threadIdx.x) % row_threads * Width; }
    static __device__ int row() { return int(threadIdx.x) / row_threads; }
};

// The loader of windows in the gradient of the filters: columns are (row tap, column tap, channel),
// and k runs over the places (image, row, column), for this block from `first_place` on.
template <typename T, typename Layout_, int Threads>
struct WindowColumns {
    using Layout = Layout_;
    using ByVector = ColumnWise<Layout, Layout::V, Threads>;
    using ByElement = ColumnWise<Layout, 1, Threads>;

    const Windows<T>& windows;
    const bool wide;
    Odometer place;
    const Odometer step;
    int row, column, channel;  // what this thread's tap sees at place (0, 0)
    bool is_tap;

    __device__ WindowColumns(const Windows<T>& windows, int first_column, int first_place)
        : windows(windows),
          wide(has_vectors(windows.images, windows.channels)),
          place(first_place + (wide ? ByVector::row() : ByElement::row()), windows.rows.places,
                windows.columns.places),
          step(wide ? ByVector::rows_at_once : ByElement::rows_at_once, windows.rows.places,
               windows.columns.places) {
        const Odometer tap(first_column + (wide ? ByVector::column() : ByElement::column()),
                           windows.columns.taps, windows.channels);
        row = windows.rows.start + tap.high * windows.rows.tap;
        column = windows.columns.start + tap.middle * windows.columns.tap;
        channel = tap.low;
        is_tap = tap.high < windows.rows.taps;
    }

    __device__ void load(T* tile) {
        if (wide)
            copy<ByVector, Layout::V>(tile);
        else
            copy<ByElement, 1>(tile);
    }

    template <typename Assignment, int Width>
    __device__ void copy(T* tile) {
        constexpr int bytes = Width * int(sizeof(T));
#pragma unroll(least(Assignment::passes, 4))
        for (int pass = 0; pass < Assignment::passes; pass++) {
            const int k = Assignment::row() + pass * Assignment::rows_at_once;
            const int down = row + place.middle * windows.rows.step;
            const int right = column + place.low * windows.columns.step;
            const bool valid = is_tap && place.high < windows.count &&
                               unsigned(down) < unsigned(windows.rows.size) &&
                               unsigned(right) < unsigned(windows.columns.size);
            const T* from = windows.images + int64(place.high) * windows.image_size() +
                            ((down * windows.columns.size + right) * windows.channels + channel);
            cp_async<bytes>(Layout::at(tile, Assignment::column(), k), from, valid);
            place.advance(step, windows.rows.places, windows.columns.places);
        }
    }
};

// The loader of filters in the gradient of the images: columns are channels, and k = (row tap,
// column tap, filter), where only those taps count that see the pixels in question.
template <typename T, typename Layout_, int Threads>
struct FilterColumns {
    using Layout = Layout_;
    using ByVector = ColumnWise<Layout, Layout::V, Threads>;
    using ByElement = ColumnWise<Layout, 1, Threads>;

    const T* from;              // this thread's channel of the first filter at the first tap
    int64 row_tap, column_tap;  // elements from one tap to the next
    int filter;                 // elements from one filter to the next
    int row_taps, column_taps, filters;
    const bool wide;
    Odometer k;
    const Odometer step;
    bool is_channel;

    __device__ FilterColumns(const T* w, int64 row_tap, int64 column_tap, int filter, int row_taps,
                             int column_taps, int filters, int channels)
        : from(w),
          row_tap(row_tap),
          column_tap(column_tap),
          filter(filter),
          row_taps(row_taps),
          column_taps(column_taps),
          filters(filters),
          wide(has_vectors(w, channels)),
          k(wide ? ByVector::row() : ByElement::row(), column_taps, filters),
          step(wide ? ByVector::rows_at_once : ByElement::rows_at_once, column_taps, filters) {
        const int channel = wide ? ByVector::column() : ByElement::column();
        from += channel;
        is_channel = channel < channels;
    }

    __device__ void load(T* tile) {
        if (wide)
            copy<ByVector, Layout::V>(tile);
        else
            copy<ByElement, 1>(tile);
    }

    template <typename Assignment, int Width>
    __device__ void copy(T* tile) {
        constexpr int bytes = Width * int(sizeof(T));
#pragma unroll(least(Assignment::passes, 4))
        for (int pass = 0; pass < Assignment::passes; pass++) {
            const int row = Assignment::row() + pass * Assignment::rows_at_once;
            const bool valid = is_channel && k.high < row_taps;
            const T* source =
                from + (k.high * row_tap + k.middle * column_tap + int64(k.low) * filter);
            cp_async<bytes>(Layout::at(tile, Assignment::column(), row), source, valid);
            k.advance(step, column_taps, filters);
        }
    }
};

// --- Strides, backwards --------------------------------------------------------------------------

// A phase: the pixels first, first + stride, ... along one axis. All of them are seen by the same
// taps, which are `period` apart. So the gradient of the pixels of a phase is a convolution with
// stride 1, in which no product has a zero factor from the stride.
//
// Pixel i is seen by tap t at the place (i + before - t * dilation) / stride, if that is an
// integer.
struct Phase {
    int first_pixel, pixels;
    int first_tap, period, taps;
    int first_place, tap;  // the place at which the first tap sees the first pixel; places to the
                           // one at which the next tap does

    __device__ Phase(int first_pixel, int size, int taps_of_all, int stride, int before,
                     int dilation)
        : first_pixel(first_pixel), pixels(divide_up(size - first_pixel, stride)) {
        period = 1;
        while (period * dilation % stride) period++;
        first_tap = 0;
        while (first_tap < period && (first_pixel + before - first_tap * dilation) % stride)
            first_tap++;
        taps = first_tap < period ? divide_up(largest(taps_of_all - first_tap, 0), period) : 0;
        first_place = (first_pixel + before - first_tap * dilation) / stride;
        tap = -(period * dilation / stride);
    }

    // The places as an axis under windows: the window of a pixel are the places that see it.
    __device__ Axis axis(int places) const { return {places, first_place, 1, tap, pixels, taps}; }
};
