// y = activation(a @ b + bias) for a stack of models.
//
// A block computes a tile of y, for one model and one split of the sum over k, by the main loop of
// gemm.cuh. The grid is (tiles of all models, splits).
#include "product.cuh"

// a: (M, K) if a_k, else (K, M); b: (N, K) if b_k, else (K, N). Both are contiguous for each model,
// with `*_model` elements from one model to the next. If a_of is not null, model i has number
// a_of[i] of the `models_a` matrices of a; if there is no such number, its results are NaN.
// y: (M, N) for each model.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k>
__device__ inline void product(const T* a, const T* b, const T* bias, T* y, T* parts,
                               unsigned* arrived, const int* a_of, int m, int n, int k,
                               int64 a_model, int64 b_model, int64 bias_model, int64 y_model,
                               int models_a, int k_of_sum, int activation, T parameter) {
    const TilePlace<Tile> at(blockIdx.x, m, n);
    const int a_number = a_of ? a_of[at.model] : at.model;
    const StoreRows<T, EquidistantRows<T>> rows = rows_of_tile(at, y, y_model, m, n);
    if (a_of && !is_within(a_number, models_a)) {
        if (blockIdx.y == 0) fill_tile<T, Tile>(rows, not_a_number<T>());
        return;
    }
    const FinishRows<T, EquidistantRows<T>> epilogue{
        rows, bias ? bias + at.model * bias_model + at.n0 : nullptr, activation, parameter};
    product_tile<T, Tile, Math, a_k, b_k>(
        at, Factor<T>(a, a_number, a_model), Factor<T>(b, at.model, b_model), m, n, k, k_of_sum,
        {int(blockIdx.y), int(gridDim.y), parts, arrived}, epilogue);
}

// On tensor cores.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul(const T* a, const T* b, const T* bias, T* y, T* parts, unsigned* arrived,
           const int* a_of, int m, int n, int k, int64 a_model, int64 b_model, int64 bias_model,
           int64 y_model, int models_a, int k_of_sum, int activation, T parameter) {
    product<T, Tile, Math, a_k, b_k>(a, b, bias, y, parts, arrived, a_of, m, n, k, a_model, b_model,
                                     bias_model, y_model, models_a, k_of_sum, activation,
                                     parameter);
}

// Without tensor cores.
template <typename T, typename Tile, bool a_k, bool b_k>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul_fma(const T* a, const T* b, const T* bias, T* y, T* parts, unsigned* arrived,
               const int* a_of, int m, int n, int k, int64 a_model, int64 b_model, int64 bias_model,
               int64 y_model, int models_a, int k_of_sum, int activation, T parameter) {
    product<T, Tile, Fma, a_k, b_k>(a, b, bias, y, parts, arrived, a_of, m, n, k, a_model, b_model,
                                    bias_model, y_model, models_a, k_of_sum, activation, parameter);
}
