// Convolution of NHWC images with KRSC filters, and its gradients: three products by the main loop
// of gemm.cuh, each with one factor whose rows or columns are windows (windows.cuh).
//
//     conv2d                  y[npq][k]   = windows(x)[npq][rsc]   w[k][rsc]
//     conv2d_input_gradient   dx[nhw][c]  = windows(dz)[nhw][rsk]  w[rsk][c]
//     conv2d_filter_gradient  dw[k][rsc]  = dz[npq][k]             windows(x)[npq][rsc]
//
// The last product has a long sum and a small result. So the sum is split among blocks; the last
// of these add up the splits (grouped_sum.cuh), and further blocks the gradients of the biases.
// `k_of_sum` is how many k one sum has (see gemm.cuh).
//
// Letters: N images of H x W pixels and C channels, K filters of R x S taps, P x Q places.
// `*_model` is the number of elements from one model of a stack to the next.
// `x_of` is null, or says which of several sets of images each model takes (ImagesOf).
#include "column_sums.cuh"
#include "grouped_sum.cuh"
#include "windows.cuh"

// One axis of the images under the windows of the filters; `before` is the padding.
__device__ inline Axis forward_axis(int size, int places, int taps, int stride, int before,
                                    int dilation) {
    return {size, -before, stride, dilation, places, taps};
}

// x: (N, H, W, C), w: (K, R, S, C), bias: (K) or null, y: (models, N, P, Q, K).
// Grid: (tiles of y, 1, models). Successive blocks have tiles of the same windows.
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    conv2d(int k_of_sum, const T* x, const int* x_of, int sets, int64 x_model, const T* w,
           const T* bias, T* y, int64 w_model, int64 bias_model, int activation, T parameter,
           int images, int height, int width, int channels, int filters, int row_places,
           int column_places, int row_taps, int column_taps, int row_stride, int column_stride,
           int rows_before, int columns_before, int row_dilation, int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, true>;
    constexpr int V = vector_length<T>;

    const int tiles_n = divide_up(filters, Tile::N);
    const int m0 = int(blockIdx.x) / tiles_n * Tile::M, n0 = int(blockIdx.x) % tiles_n * Tile::N;
    const int64 model = blockIdx.z;

    const ImagesOf taken(x_of, sets, model);
    const Windows<T> windows = {
        x + taken.number * x_model, images, channels,
        forward_axis(height, row_places, row_taps, row_stride, rows_before, row_dilation),
        forward_axis(width, column_places, column_taps, column_stride, columns_before,
                     column_dilation)};
    __shared__ Place places[Tile::M];
    find_places<Tile::M, Tile::threads>(places, windows, m0);
    WindowRows<T, LayoutA, Tile::threads> seen(windows, places);

    const int taps = windows.taps();
    const T* filter = w + model * w_model;
    MatrixLoader<T, LayoutB, Tile::threads> matrix(filter + int64(n0) * taps, taps, filters - n0,
                                                   taps, is_aligned(filter) && taps % V == 0);

    const int rows = windows.places();
    FinishRows<T, EquidistantRows<T>> epilogue{
        {{y + (model * rows + m0) * filters + n0, filters, rows - m0},
         filters - n0,
         is_aligned(y) && filters % V == 0},
        bias ? bias + model * bias_model + n0 : nullptr,
        activation,
        parameter};
    if (!taken.exist) return fill_with_nan<Tile>(epilogue.rows);
    gemm<T, Tile, Math>(seen, matrix, divide_up(taps, Tile::K), k_of_sum / Tile::K, epilogue);
}

// Rows of dx for the epilogue: the pixels of a phase, which are not adjacent.
template <typename T>
struct PhaseRows {
    T* dx;              // the tile's first channel of the phase's first pixel
    const int* pixels;  // the pixel of each row, counted from that first one; -1 past the end
    int channels;
    __device__ T* operator()(int m) const {
        return pixels[m] < 0 ? nullptr : dx + int64(pixels[m]) * channels;
    }
};

// dz: (models, N, P, Q, K), w: (K, R, S, C), dx: (models, N, H, W, C). x, of the shape of a model's
// dx, is read only if x_activation is not the identity: dx is the gradient before it.
// Grid: (tiles of the largest phase of dx, phases, models). The pixels that are a stride apart form
// a phase (windows.cuh). The same taps see all of them, so each phase is a product of its own.
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    conv2d_input_gradient(int k_of_sum, const T* dz, const T* w, T* dx, int64 w_model, const T* x,
                          int64 x_model, int x_activation, T x_parameter, int images, int height,
                          int width, int channels, int filters, int row_places, int column_places,
                          int row_taps, int column_taps, int row_stride, int column_stride,
                          int rows_before, int columns_before, int row_dilation,
                          int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;
    constexpr int V = vector_length<T>;

    const int tiles_n = divide_up(channels, Tile::N);
    const int m0 = int(blockIdx.x) / tiles_n * Tile::M, n0 = int(blockIdx.x) % tiles_n * Tile::N;
    const int64 model = blockIdx.z;

    const Phase down(int(blockIdx.y) / column_stride, height, row_taps, row_stride, rows_before,
                     row_dilation);
    const Phase right(int(blockIdx.y) % column_stride, width, column_taps, column_stride,
                      columns_before, column_dilation);
    const int64 image = int64(height) * width * channels;
    const Windows<T> windows = {dz + model * images * row_places * column_places * filters, images,
                                filters, down.axis(row_places), right.axis(column_places)};
    if (m0 >= windows.places()) return;  // this phase has fewer pixels than the largest

    __shared__ Place places[Tile::M];
    __shared__ int pixels[Tile::M];
    for (int i = threadIdx.x; i < Tile::M; i += Tile::threads) {
        const Odometer pixel(m0 + i, down.pixels, right.pixels);
        const int h = pixel.middle * row_stride, w = pixel.low * column_stride;
        pixels[i] = m0 + i < windows.places() ? (pixel.high * height + h) * width + w : -1;
    }
    find_places<Tile::M, Tile::threads>(places, windows, m0);
    WindowRows<T, LayoutA, Tile::threads> seen(windows, places);

    const int tap = channels, row = column_taps * channels;  // of a filter, in elements
    FilterColumns<T, LayoutB, Tile::threads> matrix(
        w + model * w_model + down.first_tap * row + right.first_tap * tap + n0, down.period * row,
        right.period * tap, row_taps * row, down.taps, right.taps, filters, channels - n0);

    T* const of_model = dx + model * images * image;
    T* const first =
        of_model + (int64(down.first_pixel) * width + right.first_pixel) * channels + n0;
    SlopeRows<T, PhaseRows<T>> epilogue{
        {{first, pixels, channels}, channels - n0, is_aligned(dx) && channels % V == 0},
        x + model * x_model,
        of_model,
        is_aligned(x) && channels % V == 0 && x_model % V == 0,
        x_activation,
        x_parameter};
    gemm<T, Tile, Math>(seen, matrix, divide_up(windows.taps(), Tile::K), k_of_sum / Tile::K,
                        epilogue);
}

// dz: (models, N, P, Q, K), x: (N, H, W, C), dw: (models, K, R, S, C), dbias: (models, K).
// Grid: (bias_blocks + tiles of dw, splits, models). The first blocks sum the columns of `summed`,
// (models, summed_rows, K): dz itself, or what has the same sums in fewer rows. If there are
// several splits, parts: (models, splits, K, R * S * C) with rows padded to whole vectors, and
// (models, splits, K); arrived: for each model the counters of the tiles, and of the bias_blocks.
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    conv2d_filter_gradient(int k_of_sum, const T* dz, const T* summed, const T* x, const int* x_of,
                           int sets, int64 x_model, T* dw, T* dbias, int64 dw_model,
                           int64 dbias_model, T* parts, unsigned* arrived, int summed_rows,
                           int summed_of_split, int bias_blocks, int bias_lanes,
                           int places_of_split, int splits_of_group, int images, int height,
                           int width, int channels, int filters, int row_places, int column_places,
                           int row_taps, int column_taps, int row_stride, int column_stride,
                           int rows_before, int columns_before, int row_dilation,
                           int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, false>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;
    constexpr int V = vector_length<T>;

    const int64 model = blockIdx.z, models = gridDim.z;
    const int split = blockIdx.y, splits = gridDim.y;
    const int taps = row_taps * column_taps * channels;
    const int depth = images * row_places * column_places;
    const int row = divide_up(taps, V) * V;
    const int64 part = int64(filters) * row;
    const int of_tile = divide_up(splits, splits_of_group) + 1;  // counters
    const int tiles = int(gridDim.x) - bias_blocks;

    if (int(blockIdx.x) < bias_blocks) {
        const ColumnSums<T> sums = {dbias,
                                    dbias_model,
                                    parts + models * splits * part,
                                    arrived + models * tiles * of_tile,
                                    summed_rows,
                                    filters,
                                    splits,
                                    summed_of_split,
                                    bias_lanes};
        const RowsToSum<T> slopes = {summed, is_aligned(summed) && filters % V == 0};
        sums.template add<Tile::threads>((int(model) * splits + split) * bias_blocks + blockIdx.x,
                                         dynamic_shared<T>(), slopes);
        return;
    }

    const int tile = int(blockIdx.x) - bias_blocks, tiles_m = divide_up(filters, Tile::M);
    const int m0 = tile % tiles_m * Tile::M, n0 = tile / tiles_m * Tile::N;
    const int first = split * places_of_split, own = least(places_of_split, depth - first);
    const T* slopes = dz + (model * depth + first) * filters + m0;
    MatrixLoader<T, LayoutA, Tile::threads> matrix(slopes, filters, filters - m0, own,
                                                   is_aligned(slopes) && filters % V == 0);
    const ImagesOf taken(x_of, sets, model);
    const Windows<T> windows = {
        x + taken.number * x_model, images, channels,
        forward_axis(height, row_places, row_taps, row_stride, rows_before, row_dilation),
        forward_axis(width, column_places, column_taps, column_stride, columns_before,
                     column_dilation)};
    WindowColumns<T, LayoutB, Tile::threads> seen(windows, n0, first);

    T* const gradient = dw + model * dw_model;
    StoreRows<T, EquidistantRows<T>> epilogue{
        {gradient + int64(m0) * taps + n0, taps, filters - m0},
        taps - n0,
        is_aligned(gradient) && taps % V == 0};
    if (!taken.exist) {
        if (split == 0) fill_with_nan<Tile>(epilogue);
        return;
    }
    const GroupedSum<T> sum = {parts + model * splits * part + int64(m0) * row + n0,
                               part,
                               arrived + (model * tiles + tile) * of_tile,
                               split,
                               splits,
                               splits_of_group,
                               row,
                               least(filters - m0, Tile::M),
                               row - n0};
    gemm<T, Tile, Math>(matrix, seen, divide_up(own, Tile::K), k_of_sum / Tile::K, epilogue, sum);
}
