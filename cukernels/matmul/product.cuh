// One tile of a product of matrices, for one model of a stack: what matmul.cu and gradients.cu
// share.
#pragma once
#include "gemm.cuh"

// Blocks that run at the same time should read the same rows of A and columns of B, from the L2
// cache. So successive numbers are the tiles of a band of 8 rows of tiles, column after column, and
// then those of the next band. The tiles of a model are followed by those of the next one.
constexpr int tile_rows_of_band = 8;

// Where a tile of a stack of (m, n) matrices lies.
template <typename Tile>
struct TilePlace {
    int number, model;
    int m0, n0;  // its first row and column

    __device__ TilePlace(int number, int m, int n) : number(number) {
        const int tiles_m = divide_up(m, Tile::M), tiles_n = divide_up(n, Tile::N);
        const int tile = number % (tiles_m * tiles_n);
        model = number / (tiles_m * tiles_n);
        const int band = tile / (tile_rows_of_band * tiles_n) * tile_rows_of_band;  // its first row
        const int band_rows = least(tile_rows_of_band, tiles_m - band);
        const int in_band = tile - band * tiles_n;
        m0 = (band + in_band % band_rows) * Tile::M;
        n0 = in_band / band_rows * Tile::N;
    }
};

// One of the matrices of a stack, which are contiguous and `stride` elements apart.
template <typename T>
struct Factor {
    const T* first;  // of this matrix
    bool aligned;    // whether it and its stride are, to 16 bytes

    __device__ Factor(const T* stack, int64 number, int64 stride)
        : first(stack + number * stride),
          aligned(is_aligned(stack) && stride % vector_length<T> == 0) {}
};

// The sum over k of a tile, of which there are `splits` parts; see SplitSum in gemm.cuh.
template <typename T>
struct Splits {
    int split, splits;
    T* parts;           // (tiles of all models, splits, Tile::M, Tile::N)
    unsigned* arrived;  // (tiles of all models)
};

// Compute a tile of A (m, k) times B (k, n), and hand it to the epilogue. a: (m, k) if a_k, else
// (k, m); b: (n, k) if b_k, else (k, n). If there are several splits, each one is a sum of k_of_sum
// products.
template <typename T, typename Tile, typename Math, bool a_k, bool b_k, typename Epilogue>
__device__ inline void product_tile(const TilePlace<Tile>& at, const Factor<T>& a,
                                    const Factor<T>& b, int m, int n, int k, int k_of_sum,
                                    const Splits<T>& s, const Epilogue& epilogue) {
    using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, a_k>;
    using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, b_k>;
    constexpr int V = vector_length<T>;

    const int k_of_block = s.splits == 1 ? k : k_of_sum;
    const int k0 = s.split * k_of_block, k_own = least(k_of_block, k - k0);
    const int a_row = a_k ? k : m, b_row = b_k ? k : n;
    MatrixLoader<T, LayoutA, Tile::threads> left(
        a.first + (a_k ? int64(at.m0) * k + k0 : int64(k0) * m + at.m0), a_row, m - at.m0, k_own,
        a.aligned && a_row % V == 0);
    MatrixLoader<T, LayoutB, Tile::threads> right(
        b.first + (b_k ? int64(at.n0) * k + k0 : int64(k0) * n + at.n0), b_row, n - at.n0, k_own,
        b.aligned && b_row % V == 0);

    const int64 part = int64(at.number) * s.splits * Tile::M * Tile::N;
    const SplitSum<T> sum = {s.parts + part, s.arrived + at.number,     s.split,
                             s.splits,       least(m - at.m0, Tile::M), least(n - at.n0, Tile::N)};
    gemm<T, Tile, Math>(left, right, divide_up(k_own, Tile::K), k_of_sum / Tile::K, epilogue, sum);
}

// The rows of a tile of y, one of the (m, n) matrices of a stack, which are `y_model` elements
// apart.
template <typename T, typename Tile>
__device__ inline StoreRows<T, EquidistantRows<T>> rows_of_tile(const TilePlace<Tile>& at, T* y,
                                                                int64 y_model, int m, int n) {
    y += at.model * y_model;
    return {{y + int64(at.m0) * n + at.n0, n, m - at.m0},
            n - at.n0,
            is_aligned(y) && n % vector_length<T> == 0};
}

// Store one value in all of a tile.
template <typename T, typename Tile, typename Rows>
__device__ inline void fill_tile(StoreRows<T, Rows> rows, T value) {
    constexpr int V = vector_length<T>, vectors = Tile::N / V;
    Vector<T, V> x;
#pragma unroll
    for (int e = 0; e < V; e++) x[e] = value;
    rows.begin(int(threadIdx.x) % vectors * V);
    for (int m = int(threadIdx.x) / vectors; m < Tile::M; m += Tile::threads / vectors)
        rows.store(m, x);
}
