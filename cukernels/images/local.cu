// Locally connected layers: convolutions in which every place has filters of its own. So every
// place is a product of its own, whose rows are the images of the batch. The main loop is that of
// gemm.cuh.
//
//     local2d                  y[n][pq][k]   = window(x, pq)[n][rsc]      w[pq][k][rsc]
//     local2d_input_gradient   dx[n][hw][c]  = windows(dz, hw)[n][rsk]    w[pq(rs)][k][rs][c]
//     local2d_filter_gradient  dw[pq][k][rsc] = dz[n][pq][k]              window(x, pq)[n][rsc]
//
// There are far more weights than pixels. A block takes the weights of one place (in the gradient
// of the images, those that see one pixel), and uses them for a whole tile of images. The gradient
// of the images sums, for each pixel, over the places that see it.
//
// Letters and arguments are as in conv.cu.
#include "column_sums.cuh"
#include "windows.cuh"

// One axis of the images under the window at one place.
__device__ inline Axis one_place(int place, int size, int taps, int stride, int before,
                                 int dilation) {
    return Axis{size, -before, stride, dilation, 0, taps}.at(place);
}

// The places that see one pixel, along one axis: the t-th of them is `first_place + t * tap`.
struct Seers {
    int first_place, tap;
    int first_tap, period, taps;

    __device__ Seers(int pixel, int size, int places, int taps_of_all, int stride, int before,
                     int dilation) {
        const Phase phase(pixel % stride, size, taps_of_all, stride, before, dilation);
        tap = phase.tap;
        period = phase.period;
        // Of the taps of the phase, only those count whose place exists: `begin` to `end` - 1.
        const int place = phase.first_place + pixel / stride, last = places - 1;
        const int begin = place > last ? divide_up(place - last, -tap) : 0;
        const int end = place < 0 ? 0 : least(phase.taps, place / -tap + 1);
        taps = largest(end - begin, 0);
        first_place = place + begin * tap;
        first_tap = phase.first_tap + begin * period;
    }

    __device__ Axis axis(int places) const { return {places, first_place, 0, tap, 1, taps}; }
};

// x: (N, H, W, C), w: (P, Q, K, R, S, C), bias: (P, Q, K) or null, y: (models, N, P, Q, K).
// Grid: (tiles of all places, 1, models). Successive blocks have tiles of the same place.
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    local2d(int k_of_sum, const T* x, const int* x_of, int sets, int64 x_model, const T* w,
            const T* bias, T* y, int64 w_model, int64 bias_model, int activation, T parameter,
            int images, int height, int width, int channels, int filters, int row_places,
            int column_places, int row_taps, int column_taps, int row_stride, int column_stride,
            int rows_before, int columns_before, int row_dilation, int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, true>;
    constexpr int V = vector_length<T>;

    const int tiles_m = divide_up(images, Tile::M), tiles_n = divide_up(filters, Tile::N);
    const int tile = int(blockIdx.x) % (tiles_m * tiles_n);
    const int m0 = tile % tiles_m * Tile::M, n0 = tile / tiles_m * Tile::N;
    const int64 place = blockIdx.x / (tiles_m * tiles_n), model = blockIdx.z;
    const int64 all = int64(row_places) * column_places;

    const ImagesOf taken(x_of, sets, model);
    const Windows<T> windows = {x + taken.number * x_model, images, channels,
                                one_place(int(place) / column_places, height, row_taps, row_stride,
                                          rows_before, row_dilation),
                                one_place(int(place) % column_places, width, column_taps,
                                          column_stride, columns_before, column_dilation)};
    __shared__ Place places[Tile::M];
    find_places<Tile::M, Tile::threads>(places, windows, m0);
    WindowRows<T, LayoutA, Tile::threads> seen(windows, places);

    const int taps = windows.taps();
    const T* filter = w + model * w_model + place * filters * taps;
    MatrixLoader<T, LayoutB, Tile::threads> matrix(filter + int64(n0) * taps, taps, filters - n0,
                                                   taps, is_aligned(filter) && taps % V == 0);

    T* out = y + ((model * images + m0) * all + place) * filters + n0;
    FinishRows<T, EquidistantRows<T>> epilogue{
        {{out, all * filters, images - m0}, filters - n0, is_aligned(y) && filters % V == 0},
        bias ? bias + model * bias_model + place * filters + n0 : nullptr,
        activation,
        parameter};
    if (!taken.exist) return fill_with_nan<Tile>(epilogue.rows);
    gemm<T, Tile, Math>(seen, matrix, divide_up(taps, Tile::K), k_of_sum / Tile::K, epilogue);
}

// dz: (models, N, P, Q, K), w: (P, Q, K, R, S, C), dx: (models, N, H, W, C); x as in conv.cu.
// Grid: (tiles of all pixels, 1, models).
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    local2d_input_gradient(int k_of_sum, const T* dz, const T* w, T* dx, int64 w_model, const T* x,
                           int64 x_model, int x_activation, T x_parameter, int images, int height,
                           int width, int channels, int filters, int row_places, int column_places,
                           int row_taps, int column_taps, int row_stride, int column_stride,
                           int rows_before, int columns_before, int row_dilation,
                           int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;
    constexpr int V = vector_length<T>;

    const int tiles_m = divide_up(images, Tile::M), tiles_n = divide_up(channels, Tile::N);
    const int tile = int(blockIdx.x) % (tiles_m * tiles_n);
    const int m0 = tile % tiles_m * Tile::M, n0 = tile / tiles_m * Tile::N;
    const int pixel = int(blockIdx.x) / (tiles_m * tiles_n);
    const int64 model = blockIdx.z;

    const Seers down(pixel / width, height, row_places, row_taps, row_stride, rows_before,
                     row_dilation);
    const Seers right(pixel % width, width, column_places, column_taps, column_stride,
                      columns_before, column_dilation);
    const Windows<T> windows = {dz + model * images * row_places * column_places * filters, images,
                                filters, down.axis(row_places), right.axis(column_places)};
    __shared__ Place places[Tile::M];
    find_places<Tile::M, Tile::threads>(places, windows, m0);
    WindowRows<T, LayoutA, Tile::threads> seen(windows, places);

    // From one tap to the next, both the tap and the place, and with it the filters, change.
    const int tap = channels, row = column_taps * channels, filter = row_taps * row;
    const int64 own = int64(filters) * filter, own_row = column_places * own;
    const T* first = w + model * w_model + down.first_place * own_row + right.first_place * own +
                     down.first_tap * row + right.first_tap * tap + n0;
    FilterColumns<T, LayoutB, Tile::threads> matrix(first, down.period * row + down.tap * own_row,
                                                    right.period * tap + right.tap * own, filter,
                                                    down.taps, right.taps, filters, channels - n0);

    const int64 image = int64(height) * width * channels;
    T* const of_model = dx + model * images * image;
    T* const first_row = of_model + m0 * image + int64(pixel) * channels + n0;
    SlopeRows<T, EquidistantRows<T>> epilogue{
        {{first_row, image, images - m0}, channels - n0, is_aligned(dx) && channels % V == 0},
        x + model * x_model,
        of_model,
        is_aligned(x) && channels % V == 0 && x_model % V == 0,
        x_activation,
        x_parameter};
    gemm<T, Tile, Math>(seen, matrix, divide_up(windows.taps(), Tile::K), k_of_sum / Tile::K,
                        epilogue);
}

// dz: (models, N, P, Q, K), x: (N, H, W, C), dw: (P, Q, K, R, S, C) and
// dbias: (P, Q, K) for each model, `*_model` elements apart. Grid: (bias_blocks + tiles of all
// places, 1, models). The first blocks sum dz over the images.
template <typename T, typename Tile, typename Math>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    local2d_filter_gradient(int k_of_sum, const T* dz, const T* x, const int* x_of, int sets,
                            int64 x_model, T* dw, T* dbias, int64 dw_model, int64 dbias_model,
                            int bias_blocks, int bias_lanes, int images, int height, int width,
                            int channels, int filters, int row_places, int column_places,
                            int row_taps, int column_taps, int row_stride, int column_stride,
                            int rows_before, int columns_before, int row_dilation,
                            int column_dilation) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, false>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;
    constexpr int V = vector_length<T>;

    const int64 model = blockIdx.z, all = int64(row_places) * column_places;
    if (int(blockIdx.x) < bias_blocks) {
        const int values = int(all) * filters;
        const ColumnSums<T> sums = {dbias,  dbias_model, nullptr, nullptr,   images,
                                    values, 1,           images,  bias_lanes};
        const RowsToSum<T> slopes = {dz, is_aligned(dz) && values % V == 0};
        sums.template add<Tile::threads>(int(model) * bias_blocks + blockIdx.x, dynamic_shared<T>(),
                                         slopes);
        return;
    }

    const int taps = row_taps * column_taps * channels;
    const int tiles_m = divide_up(filters, Tile::M), tiles_n = divide_up(taps, Tile::N);
    const int block = int(blockIdx.x) - bias_blocks, tile = block % (tiles_m * tiles_n);
    const int m0 = tile % tiles_m * Tile::M, n0 = tile / tiles_m * Tile::N;
    const int64 place = block / (tiles_m * tiles_n);

    const T* slopes = dz + (model * images * all + place) * filters + m0;
    MatrixLoader<T, LayoutA, Tile::threads> matrix(slopes, all * filters, filters - m0, images,
                                                   is_aligned(slopes) && filters % V == 0);

    const ImagesOf taken(x_of, sets, model);
    const Windows<T> windows = {x + taken.number * x_model, images, channels,
                                one_place(int(place) / column_places, height, row_taps, row_stride,
                                          rows_before, row_dilation),
                                one_place(int(place) % column_places, width, column_taps,
                                          column_stride, columns_before, column_dilation)};
    WindowColumns<T, LayoutB, Tile::threads> seen(windows, n0, 0);

    T* own = dw + model * dw_model;
    T* out = own + (int64(place) * filters + m0) * taps + n0;
    StoreRows<T, EquidistantRows<T>> epilogue{
        {out, taps, filters - m0}, taps - n0, is_aligned(own) && taps % V == 0};
    if (!taken.exist) return fill_with_nan<Tile>(epilogue);
    gemm<T, Tile, Math>(matrix, seen, divide_up(images, Tile::K), k_of_sum / Tile::K, epilogue);
}
