// y = activation(a @ b + bias) for a stack of models.
//
// A block computes a tile of y, of one model and of one split of the sum over k, by the main loop
// of gemm.cuh. The grid is (tiles of all models, splits). Successive blocks take the tiles of 8
// rows of tiles, column after column, so that what blocks read at the same time stays in the L2
// cache.
#include "gemm.cuh"

constexpr int tile_rows_together = 8;

// a: (M, K) where a_k, else (K, M); b: (N, K) where b_k, else (K, N): contiguous, and `*_model`
// elements from one model to the next. y: (models, splits, M, N). With several splits, each is one
// sum of k_of_sum k, to be added up by ordered_sum, and bias and activation are still to come.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k>
__device__ inline void product(const T* a, const T* b, const T* bias, T* y, int m, int n, int k,
                               int64 a_model, int64 b_model, int64 bias_model, int k_of_sum,
                               int activation, T parameter) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, a_k>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, b_k>;
    constexpr int run = vector_length<T>;

    const int tiles_m = divide_up(m, Tile::M), tiles_n = divide_up(n, Tile::N);
    const int tile = int(blockIdx.x) % (tiles_m * tiles_n);
    const int64 model = int(blockIdx.x) / (tiles_m * tiles_n);
    const int group = tile / (tile_rows_together * tiles_n) * tile_rows_together;
    const int group_rows = least(tile_rows_together, tiles_m - group);
    const int in_group = tile - group * tiles_n;
    const int m0 = (group + in_group % group_rows) * Tile::M;
    const int n0 = in_group / group_rows * Tile::N;

    const int splits = int(gridDim.y), split = int(blockIdx.y);
    const int k_of_block = splits == 1 ? k : k_of_sum;
    const int k0 = split * k_of_block, k_own = least(k_of_block, k - k0);

    const T* const a_first = a + model * a_model + (a_k ? int64(m0) * k + k0 : int64(k0) * m + m0);
    const T* const b_first = b + model * b_model + (b_k ? int64(n0) * k + k0 : int64(k0) * n + n0);
    const int a_row = a_k ? k : m, b_row = b_k ? k : n;
    MatrixLoader<T, LayoutA, Tile::threads> left(
        a_first, a_row, m - m0, k_own, is_aligned(a) && a_row % run == 0 && a_model % run == 0);
    MatrixLoader<T, LayoutB, Tile::threads> right(
        b_first, b_row, n - n0, k_own, is_aligned(b) && b_row % run == 0 && b_model % run == 0);

    FinishRows<T, EquidistantRows<T>> epilogue{
        {{y + ((model * splits + split) * m + m0) * n + n0, n, m - m0},
         n - n0,
         is_aligned(y) && n % run == 0},
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

// By multiplications and additions.
template <typename T, typename Tile, bool a_k, bool b_k>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul_fma(const T* a, const T* b, const T* bias, T* y, int m, int n, int k, int64 a_model,
               int64 b_model, int64 bias_model, int k_of_sum, int activation, T parameter) {
    product<T, Tile, Fma, a_k, b_k>(a, b, bias, y, m, n, k, a_model, b_model, bias_model, k_of_sum,
                                    activation, parameter);
}
