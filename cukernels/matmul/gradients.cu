// The gradients of y = a @ b + bias for a stack of models, in one launch:
//
//     da = dz b^T    and, if a is the output of an activation, on to the gradient in its input
//     db = a^T dz
//     sums = the sums of the columns of dz
//
// The first blocks of the grid have the tiles of da, the next ones those of db, and the last ones
// the sums. All have the same number of threads and one tiling, while the bits of da and db depend
// only on MathA and MathB (see gemm.cuh). Where one of the three is not wanted, it has no blocks.
#include "column_sums.cuh"
#include "product.cuh"

// dz: (models, rows, outputs), a: (rows, inputs), b: (inputs, outputs) for each model, with
// `*_model` elements from one to the next; a_of and models_a are as in matmul.cu. da: (models,
// rows, inputs), contiguous; db: (inputs, outputs), sums: (outputs) for each model. The tiles of da
// have `splits_a` parts of their sums, of `k_of_sum_a` products each, and so on. `parts` and
// `arrived` are for the parts and counters of da, then of db, then of the sums.
template <typename T, typename Tile, typename MathA, typename MathB>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks)
    matmul_gradients(const T* dz, const T* a, const T* b, T* da, T* db, T* sums, T* parts,
                     unsigned* arrived, const int* a_of, int rows, int inputs, int outputs,
                     int64 a_model, int64 b_model, int64 db_model, int64 sums_model, int models_a,
                     int tiles_a, int splits_a, int k_of_sum_a, int tiles_b, int splits_b,
                     int k_of_sum_b, int activation, T parameter, int chunks, int rows_of_chunk,
                     int lanes) {
    constexpr int V = vector_length<T>, size = Tile::M * Tile::N;
    const int64 dz_model = int64(rows) * outputs;
    int block = blockIdx.x;
    if (block < tiles_a * splits_a) {
        const TilePlace<Tile> at(block % tiles_a, rows, inputs);
        const int a_number = a_of ? a_of[at.model] : at.model;
        const StoreRows<T, EquidistantRows<T>> tile =
            rows_of_tile(at, da, int64(rows) * inputs, rows, inputs);
        const Factor<T> seen(a, a_number, a_model);
        if (a_of && !is_within(a_number, models_a)) {
            if (block < tiles_a) fill_tile<T, Tile>(tile, not_a_number<T>());
            return;
        }
        const SlopeRows<T, EquidistantRows<T>> epilogue{tile,
                                                        seen.first,
                                                        da + int64(at.model) * rows * inputs,
                                                        seen.aligned && inputs % V == 0,
                                                        activation,
                                                        parameter};
        product_tile<T, Tile, MathA, true, true>(
            at, Factor<T>(dz, at.model, dz_model), Factor<T>(b, at.model, b_model), rows, inputs,
            outputs, k_of_sum_a, {block / tiles_a, splits_a, parts, arrived}, epilogue);
        return;
    }
    block -= tiles_a * splits_a;
    arrived += tiles_a;
    if (splits_a > 1) parts += int64(tiles_a) * splits_a * size;
    if (block < tiles_b * splits_b) {
        const TilePlace<Tile> at(block % tiles_b, inputs, outputs);
        const int a_number = a_of ? a_of[at.model] : at.model;
        const StoreRows<T, EquidistantRows<T>> tile =
            rows_of_tile(at, db, db_model, inputs, outputs);
        if (a_of && !is_within(a_number, models_a)) {
            if (block < tiles_b) fill_tile<T, Tile>(tile, not_a_number<T>());
            return;
        }
        product_tile<T, Tile, MathB, false, false>(
            at, Factor<T>(a, a_number, a_model), Factor<T>(dz, at.model, dz_model), inputs, outputs,
            rows, k_of_sum_b, {block / tiles_b, splits_b, parts, arrived}, tile);
        return;
    }
    block -= tiles_b * splits_b;
    arrived += tiles_b;
    if (splits_b > 1) parts += int64(tiles_b) * splits_b * size;
    const RowsToSum<T> slopes = {dz, outputs % V == 0 && is_aligned(dz)};
    const ColumnSums<T> all = {sums,    sums_model, parts,         arrived, rows,
                               outputs, chunks,     rows_of_chunk, lanes};
    all.template add<Tile::threads>(block, dynamic_shared<T>(), slopes);
}
