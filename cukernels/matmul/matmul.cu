// y = activation(a @ b + bias) for a stack of models.
//
// A block computes a tile of y, for one model and one split of the sum over k, by the main loop of
// gemm.cuh. The grid is (tiles of all models, splits). Blocks that V at the same time should read
// the same rows of a and columns of b, from the L2 cache. So successive blocks take the tiles of a
// band of 8 rows of tiles, column after column, before those of the next band.
#include "gemm.cuh"

constexpr int tile_rows_of_band = 8;

// a: (M, K) if a_k, else (K, M); b: (N, K) if b_k, else (K, N). Both are contiguous for each model,
// with `*_model` elements from one model to the next. y: (models, splits, M, N). If there are
// several splits, each one is a sum of k_of_sum products; `ordered_sum` adds these up, and applies
// bias and activation.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k>
__device__ inline void product(const T* a, const T* b, const T* bias, T* y, int m, int n, int k,
                               int64 a_model, int64 b_model, int64 bias_model, int k_of_sum,
                               int activation, T parameter) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, a_k>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, b_k>;
    constexpr int V = vector_length<T>;

    const int tiles_m = divide_up(m, Tile::M), tiles_n = divide_up(n, Tile::N);
    const int tile = int(blockIdx.x) % (tiles_m * tiles_n);
    const int64 model = int(blockIdx.x) / (tiles_m * tiles_n);
    const int band = tile / (tile_rows_of_band * tiles_n) * tile_rows_of_band;  // its first row
    const int band_rows = least(tile_rows_of_band, tiles_m - band);
    const int in_band = tile - band * tiles_n;
    const int m0 = (band + in_band % band_rows) * Tile::M;
    const int n0 = in_band / band_rows * Tile::N;

    const int splits = int(gridDim.y), split = int(blockIdx.y);
    const int k_of_block = splits == 1 ? k : k_of_sum;
    const int k0 = split * k_of_block, k_own = least(k_of_block, k - k0);

    const T* const a_first = a + model * a_model + (a_k ? int64(m0) * k + k0 : int64(k0) * m + m0);
    const T* const b_first = b + model * b_model + (b_k ? int64(n0) * k + k0 : int64(k0) * n + n0);
    const int a_row = a_k ? k : m, b_row = b_k ? k : n;
    MatrixLoader<T, LayoutA, Tile::threads> left(
        a_first, a_row, m - m0, k_own, is_aligned(a) && a_row % V == 0 && a_model % V == 0);
    MatrixLoader<T, LayoutB, Tile::threads> right(
        b_first, b_row, n - n0, k_own, is_aligned(b) && b_row % V == 0 && b_model % V == 0);

    FinishRows<T, EquidistantRows<T>> epilogue{
        {{y + ((model * splits + split) * m + m0) * n + n0, n, m - m0},
         n - n0,
         is_aligned(y) && n % V == 0},
        bias ? bias + model * bias_model + n0 : nullptr,
        activation,
        parameter};
    gemm<T, Tile, Math>(left, right, divide_up(k_own, Tile::K), k_of_sum / Tile::K, epilogue);
}

// On tensor cores.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul(const T* a, const T* b, const T* bias, T* y, int m, int n, int k, int64 a_model,
           int64 b_model, int64 bias_model, int k_of_sum, int activation, T parameter) {
    product<T, Tile, Math, a_k, b_k>(a, b, bias, y, m, n, k, a_model, b_model, bias_model, k_of_sum,
                                     activation, parameter);
}

// Without tensor cores.
template <typename T, typename Tile, bool a_k, bool b_k>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul_fma(const T* a, const T* b, const T* bias, T* y, int m, int n, int k, int64 a_model,
               int64 b_model, int64 bias_model, int k_of_sum, int activation, T parameter) {
    product<T, Tile, Fma, a_k, b_k>(a, b, bias, y, m, n, k, a_model, b_model, bias_model, k_of_sum,
                                    activation, parameter);
}
