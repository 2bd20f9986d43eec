// Products of matrices: the main loop that matmul, conv2d and local2d share.
//
//     C[m][n] = sum over k of A[m][k] * B[n][k]        A: (M, K), B: (N, K), C: (M, N)
//
// A block computes one tile of C. It walks k in steps of Tile::K, with Tile::stages tiles of A and
// of B in shared memory: while the warps multiply one of them, 16-byte asynchronous copies fill the
// others. What differs between the users of the loop are the places where operands lie and where
// results go, and those are types of theirs:
//
// A loader brings the tiles of one operand. It is a struct in every thread's registers:
//
//     using Layout = KContiguous<...> or MnContiguous<...>;   // how its tile lies in shared memory
//     void load(T* tile);   // start the copies of this thread's part of the NEXT k-step
//
//   load() is called by all threads, once for each of the `steps` k-steps and in their order, so a
//   loader advances by differences that it knows beforehand. It must fill the whole tile: zeros
//   where the operand has ended, in either direction (cp_async does that where not `valid`).
//   `Layout::at(tile, mn, k)` is where element (mn, k) lies; the runs of `Layout::run` elements
//   (16 bytes) along the contiguous axis that begin at a multiple of `run` stay together and are
//   aligned to 16 bytes. MatrixLoader, below, is the loader of a plain matrix.
//
// An epilogue takes the tile of C, by rows, in pieces of `vector_length<T>` columns (16 bytes):
//
//     void begin(int n);                    // the columns of the tile that this thread will get
//     void store(int m, Vector<T, V> x);    // C[m][n .. n + V - 1], m and n from the tile's corner
//
//   It checks the bounds. It is a plain struct, the same in every thread, and waits in shared
//   memory while the main loop needs the registers. StoreRows, below, stores; FinishRows adds
//   a bias and applies an activation before.
//
// The user's kernel (matmul/gemm_plan.py knows how much dynamic shared memory it needs):
//
//     template <typename T, typename Tile, typename Math> __global__ void
//     __launch_bounds__(Tile::threads, Tile::blocks) product(...) {
//         using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;    // true: k-contiguous
//         using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;   // false: n-contiguous
//         ...
//         gemm<T, Tile, Math>(a, b, steps, steps_of_sum, epilogue);
//     }
//
// Every output is summed in the same order whatever the tile, the warps and the layouts: k
// ascending, in sums of `steps_of_sum` k-steps each, which are then added up one after the other.
// The error of a sum grows with the number of additions in a row: two levels keep it below that of
// a blocked product on a CPU. And it is all the same to the bit whether one block adds the sums up
// or each is a block of its own and ordered_sum adds them. So tile and split may be chosen freely,
// with the number of models in view; the length of the sums may depend on k alone.
#pragma once
#include "fused.cuh"
#include "prelude.cuh"

// A block's tile, the tile of each of its warps, how many k-steps are in shared memory at once, and
// how many blocks a multiprocessor shall have the registers for.
template <int M_, int N_, int K_, int WarpM_, int WarpN_, int Stages_, int Blocks_>
struct Tiling {
    static constexpr int M = M_, N = N_, K = K_, warp_m = WarpM_, warp_n = WarpN_;
    static constexpr int stages = Stages_, blocks = Blocks_;
    static constexpr int warps_n = N / warp_n;
    static constexpr int threads = M / warp_m * warps_n * warp_size;
    static_assert(M % warp_m == 0 && N % warp_n == 0, "whole warps");
    static_assert(stages >= 2, "one stage is read while another one is filled");
};

// --- Layouts of an operand's tile in shared memory ---------------------------------------------
//
// Both are plain arrays in which an exclusive or moves the 16-byte pieces of a row, so that neither
// the 16-byte stores nor the fragments' loads meet in a bank (32 banks of 4 bytes; 16-byte accesses
// are served 8 lanes at a time).

// tile[mn][k]. The rows read together are `Apart` rows apart: 1 by load_matrices, a run by lanes
// that own runs of neighbouring rows.
template <typename T, int Length, int K, int Apart>
struct KContiguous {
    static constexpr bool k_contiguous = true;
    static constexpr int length = Length, depth = K, size = Length * K;
    static constexpr int run = vector_length<T>;
    static constexpr int pieces = K / run;                                      // of a row
    static constexpr int rows_a_line = largest(1, 128 / (K * int(sizeof(T))));  // a line: all banks
    static_assert(pieces == 4 || pieces == 8, "a row is half a line or a line");

    static __device__ T* at(T* tile, unsigned mn, unsigned k) {
        const unsigned piece = k / run ^ (mn / unsigned(largest(Apart, rows_a_line)) % pieces);
        return tile + mn * K + piece * run + k % run;
    }
};

// tile[k][mn]. A fragment's load reads 8 neighbouring mn of 4 neighbouring k.
template <typename T, int Length, int K>
struct MnContiguous {
    static constexpr bool k_contiguous = false;
    static constexpr int length = Length, depth = K, size = Length * K;
    static constexpr int run = vector_length<T>;
    static constexpr int rows_a_line = largest(1, 32 / Length);
    static constexpr int groups = sizeof(T) == 4 ? least(Length, 32) / 8 : 1;  // of 8 mn, in a line

    static __device__ T* at(T* tile, unsigned mn, unsigned k) {
        return tile + k * Length + (mn ^ (k / rows_a_line % groups * 8));
    }
};

template <typename T, int Length, int K, typename Math, bool k_contiguous>
struct OperandLayoutOf {
    using Type = KContiguous<T, Length, K, Math::template rows_apart<T>>;
};
template <typename T, int Length, int K, typename Math>
struct OperandLayoutOf<T, Length, K, Math, false> {
    using Type = MnContiguous<T, Length, K>;
};
template <typename T, int Length, int K, typename Math, bool k_contiguous>
using OperandLayout = typename OperandLayoutOf<T, Length, K, Math, k_contiguous>::Type;

// --- The loader of a matrix --------------------------------------------------------------------
//
// An operand of (length, k) elements whose contiguous axis is that of the layout: element (mn, i)
// is first[mn * ld + i] where k is contiguous, else first[i * ld + mn]. `first` is the corner of
// the block's first tile; `length` and `k` count what there is from there.
//
// Whole 16-byte pieces need `wide`: the pointer and ld are multiples of 16 bytes. Else a piece is
// copied element by element.

template <typename T, typename Layout_, int Threads>
struct MatrixLoader {
    using Layout = Layout_;
    static constexpr int run = Layout::run;
    static constexpr int row_pieces = (Layout::k_contiguous ? Layout::depth : Layout::length) / run;
    static constexpr int rows = Layout::k_contiguous ? Layout::length : Layout::depth;
    static constexpr int rows_at_once = Threads / row_pieces;
    static constexpr int passes = divide_up(rows, rows_at_once);
    static_assert(Threads % row_pieces == 0, "a thread keeps to its column");

    const T* from;    // this thread's piece of the first pass, of the next k-step
    int64 ld;         // elements between two rows
    int length, k;    // what there is from `from` on
    int row, column;  // of the tile, where `from` points
    bool wide;

    __device__ MatrixLoader(const T* first, int64 ld, int length_, int k_, bool wide)
        : ld(ld), length(length_), k(k_), wide(wide) {
        row = int(threadIdx.x) / row_pieces;
        column = int(threadIdx.x) % row_pieces * run;
        from = first + row * ld + column;
        length -= Layout::k_contiguous ? row : column;
        k -= Layout::k_contiguous ? column : row;
    }

    __device__ void load(T* tile) {
        if (wide)
            copy<run>(tile);
        else
            copy<1>(tile);
        from += Layout::k_contiguous ? Layout::depth : Layout::depth * ld;
        k -= Layout::depth;
    }

    // One piece a pass, in parts of Width elements.
    template <int Width>
    __device__ void copy(T* tile) const {
        constexpr int bytes = Width * sizeof(T);
        const int below = Layout::k_contiguous ? length : k;   // what there is along the passes
        const int beside = Layout::k_contiguous ? k : length;  // and along the piece
#pragma unroll(Width == run ? passes : 1)
        for (int pass = 0; pass < passes; pass++) {
            const int down = pass * rows_at_once;
            if (rows % rows_at_once && row + down >= rows) break;
            T* to = Layout::k_contiguous ? Layout::at(tile, row + down, column)
                                         : Layout::at(tile, column, row + down);
#pragma unroll
            for (int e = 0; e < run; e += Width)
                cp_async<bytes>(to + e, from + down * ld + e, down < below && e < beside);
        }
    }
};

// --- The epilogues of plain rows ---------------------------------------------------------------
//
// `rows(m)` gives where row m of the tile begins (its first column), or null where there is none.
// `columns` counts those of the tile that exist. `wide`: rows begin at multiples of 16 bytes.

template <typename T, typename Rows>
struct StoreRows {
    static constexpr int run = vector_length<T>;
    Rows rows;
    int columns;
    bool wide;
    int n;

    __device__ void begin(int first) { n = first; }

    __device__ void store(int m, const Vector<T, run>& x) {
        T* y = rows(m);
        if (!y || n >= columns) return;
        if (wide && n + run <= columns) {
            ::store(y + n, x);
            return;
        }
#pragma unroll
        for (int e = 0; e < run; e++)
            if (n + e < columns) y[n + e] = x[e];
    }
};

// The same after a bias, which (or null) begins at the tile's first column, and an activation. A
// gradient needs neither, and all activations are as much code as a small main loop.
template <typename T, typename Rows>
struct FinishRows {
    static constexpr int run = vector_length<T>;
    StoreRows<T, Rows> rows;
    const T* bias;
    int activation;  // of Fused
    T parameter;
    T added[run];

    __device__ void begin(int n) {
        rows.begin(n);
#pragma unroll
        for (int e = 0; e < run; e++) added[e] = bias && n + e < rows.columns ? bias[n + e] : T(0);
    }

    __device__ void store(int m, Vector<T, run> x) {
#pragma unroll
        for (int e = 0; e < run; e++) x[e] += added[e];
        fused_forward(activation, x, parameter);
        rows.store(m, x);
    }
};

// Rows that are `ld` elements apart.
template <typename T>
struct EquidistantRows {
    T* first;
    int64 ld;
    int count;
    __device__ T* operator()(int m) const { return m < count ? first + m * ld : nullptr; }
};

// --- Arithmetic --------------------------------------------------------------------------------
//
// A Math has a template Warp, which holds the sums of a warp's tile and knows
//     read(a, b, k)       take its fragments of the tiles in shared memory, `depth` k from k on
//     multiply(a, b, k)   add their products to the sums, and read the next ones meanwhile
//     promote()           add the sums to the totals
//     write(c)            put the totals where the epilogue reads them

// Tensor cores. Terms = 3 is float32: x = big + small, both with the 10 bits after the point of
// TF32, is x but for its last bit or two, and small * big + big * small + big * big is the product
// but for small * small, 2^-22 of it (Ootomo and Yokota, IJHPCA 2022). The tensor cores cut off
// what does not fit when they add, which over a long sum is a drift towards 0; so here they add
// only 8 products, from the least to the greatest term, and the rest is rounded to nearest. An
// infinite factor gives NaN, from inf - inf. Terms = 1 is plain TF32, or bfloat16 (7 bits).
template <int Terms, bool bfloat16>
struct TensorCores {
    template <typename T>
    static constexpr int rows_apart = 1;

    template <typename T, typename Tile, typename LayoutA, typename LayoutB>
    struct Warp {
        static constexpr int depth = 8;
        static constexpr int rows = Tile::warp_m / 16, columns = Tile::warp_n / 8;
        // Larger tiles have no registers for several products at once, the largest not even for the
        // next fragments of B beside these.
        static constexpr int parts_unrolled = rows * columns < 8 ? 4 : 1;
        static constexpr bool large = rows * columns >= 16;
        static_assert(columns % 2 == 0, "load_matrices reads two fragments of B");

        float fragment_a[rows][4], fragment_b[columns][2];
        float sum[rows][columns][4] = {}, total[rows][columns][4] = {};
        int m, n;  // of the warp's tile in the block's

        __device__ Warp()
            : m(warp_id() / Tile::warps_n * Tile::warp_m),
              n(warp_id() % Tile::warps_n * Tile::warp_n) {}

        __device__ void read(float* a, float* b, int k) {
#pragma unroll
            for (int i = 0; i < rows; i++) read_a(a, i, k);
            read_b(b, k);
        }

        __device__ void read_a(float* a, int i, int k) {
            const int lane = lane_id();
            if constexpr (LayoutA::k_contiguous) {
                // matrices: rows 0-7 and 8-15 of k 0-3, then of k 4-7
                unsigned words[4];
                load_matrices(words, LayoutA::at(a, m + 16 * i + lane % 16, k + lane / 16 * 4));
#pragma unroll
                for (int e = 0; e < 4; e++) fragment_a[i][e] = __uint_as_float(words[e]);
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++)
                    fragment_a[i][e] = *LayoutA::at(a, m + 16 * i + e % 2 * 8 + lane / 4,
                                                    k + e / 2 * 4 + lane % 4);
            }
        }

        __device__ void read_b(float* b, int k) {
            const int lane = lane_id();
#pragma unroll
            for (int j = 0; j < columns; j += 2) {
                if constexpr (LayoutB::k_contiguous) {
                    // matrices: k 0-3 and k 4-7 of columns 0-7, then of columns 8-15
                    unsigned words[4];
                    load_matrices(words, LayoutB::at(b, n + 8 * j + lane / 16 * 8 + lane % 8,
                                                     k + lane / 8 % 2 * 4));
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        fragment_b[j + e / 2][e % 2] = __uint_as_float(words[e]);
                } else {
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        fragment_b[j + e / 2][e % 2] = *LayoutB::at(
                            b, n + 8 * (j + e / 2) + lane / 4, k + e % 2 * 4 + lane % 4);
                }
            }
        }

        // A fragment's registers are free for the next one as soon as it is split.
        __device__ void multiply(float* a, float* b, int k) {
            unsigned b_big[columns][2], b_small[columns][2];
#pragma unroll
            for (int j = 0; j < columns; j++) split(fragment_b[j], b_big[j], b_small[j]);
            if constexpr (!large) read_b(b, k);
#pragma unroll
            for (int i = 0; i < rows; i++) {
                unsigned a_big[4], a_small[4];
                split(fragment_a[i], a_big, a_small);
                read_a(a, i, k);
                if constexpr (bfloat16) {
                    const unsigned a_pairs[2] = {a_big[0], a_big[1]};
#pragma unroll
                    for (int j = 0; j < columns; j++) mma_bf16(sum[i][j], a_pairs, b_big[j][0]);
                } else if constexpr (Terms == 1) {
#pragma unroll
                    for (int j = 0; j < columns; j++) mma_tf32(sum[i][j], a_big, b_big[j]);
                } else {
                    float products[columns][4] = {};
#pragma unroll
                    for (int j = 0; j < columns; j++) mma_tf32(products[j], a_small, b_big[j]);
#pragma unroll
                    for (int j = 0; j < columns; j++) mma_tf32(products[j], a_big, b_small[j]);
#pragma unroll
                    for (int j = 0; j < columns; j++) mma_tf32(products[j], a_big, b_big[j]);
#pragma unroll
                    for (int j = 0; j < columns; j++)
#pragma unroll
                        for (int e = 0; e < 4; e++) sum[i][j][e] += products[j][e];
                }
            }
            if constexpr (large) read_b(b, k);
        }

        // Round to TF32 (ties away from zero); the rest is exact, and the tensor cores take as much
        // of it as TF32 holds. To bfloat16: k and k + 4 make a pair, in both factors.
        template <int N>
        static __device__ void split(const float (&x)[N], unsigned (&big)[N],
                                     unsigned (&small)[N]) {
            if constexpr (bfloat16) {
#pragma unroll
                for (int e = 0; e < N / 2; e++) big[e] = pack_bf16(x[e], x[e + N / 2]);
                return;
            }
#pragma unroll
            for (int e = 0; e < N; e++) {
                big[e] = (__float_as_uint(x[e]) + 0x1000u) & 0xffffe000u;
                small[e] = __float_as_uint(x[e] - __uint_as_float(big[e]));
            }
        }

        __device__ void promote() {
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < columns; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        total[i][j][e] += sum[i][j][e];
                        sum[i][j][e] = 0;
                    }
        }

        template <typename Staged>
        __device__ void write(float* c) const {
            const int lane = lane_id();
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < columns; j++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const Vector<float, 2> pair = {total[i][j][2 * half],
                                                       total[i][j][2 * half + 1]};
                        ::store(Staged::at(c, n + 8 * j + lane % 4 * 2,
                                           m + 16 * i + 8 * half + lane / 4),
                                pair);
                    }
        }
    };
};

template <int Terms>
struct Tf32 : TensorCores<Terms, false> {};
struct Bf16 : TensorCores<1, true> {};

// Multiplications and additions one by one: float64, float32 where there is no TF32, and sums too
// short for three terms of TF32 to be as exact as one rounded product.
//
// The lanes of a warp lie 4 x 8 over its tile; a lane owns runs of neighbouring rows and columns
// (a 16-byte access), 4 and 8 runs apart. Eight successive lanes, whose accesses are served
// together, are 2 x 4 of them: 4 runs of B at a time, at no more places than there are pieces in a
// row of a tile.
struct Fma {
    template <typename T>
    static constexpr int rows_apart = vector_length<T>;

    template <typename T, typename Tile, typename LayoutA, typename LayoutB>
    struct Warp {
        static constexpr int run = vector_length<T>, depth = run;
        static constexpr int parts_unrolled = 8;
        static constexpr int rows = Tile::warp_m / 4, columns = Tile::warp_n / 8;
        static_assert(rows % run == 0 && columns % run == 0, "whole runs");

        T fragment_a[rows][run], fragment_b[columns][run];
        T sum[rows][columns] = {}, total[rows][columns] = {};
        int m, n;  // of the lane's first run in the block's tile

        __device__ Warp() {
            const int lane = lane_id();
            m = warp_id() / Tile::warps_n * Tile::warp_m + (lane / 16 * 2 + lane / 4 % 2) * run;
            n = warp_id() % Tile::warps_n * Tile::warp_n + (lane / 8 % 2 * 4 + lane % 4) * run;
        }

        __device__ void read(T* a, T* b, int k) {
            read_runs<LayoutA, 4 * run>(fragment_a, a, m, k);
            read_runs<LayoutB, 8 * run>(fragment_b, b, n, k);
        }

        template <typename Layout, int Apart, int Length>
        static __device__ void read_runs(T (&x)[Length][run], T* tile, int mn, int k) {
#pragma unroll
            for (int i = 0; i < Length; i++) {
                const int first = mn + i / run * Apart;
                if constexpr (Layout::k_contiguous) {
                    const auto ks = ::load<run>(Layout::at(tile, first + i % run, k));
#pragma unroll
                    for (int e = 0; e < run; e++) x[i][e] = ks[e];
                } else {
                    const int e = i % run;  // each turn reads the whole run for one k
                    const auto mns = ::load<run>(Layout::at(tile, first, k + e));
#pragma unroll
                    for (int d = 0; d < run; d++) x[i / run * run + d][e] = mns[d];
                }
            }
        }

        __device__ void multiply(T* a, T* b, int k) {
#pragma unroll
            for (int e = 0; e < run; e++)
#pragma unroll
                for (int i = 0; i < rows; i++)
#pragma unroll
                    for (int j = 0; j < columns; j++)
                        sum[i][j] += fragment_a[i][e] * fragment_b[j][e];
            read(a, b, k);
        }

        __device__ void promote() {
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < columns; j++) {
                    total[i][j] += sum[i][j];
                    sum[i][j] = 0;
                }
        }

        template <typename Staged>
        __device__ void write(T* c) const {
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < columns; j += run) {
                    Vector<T, run> x;
#pragma unroll
                    for (int e = 0; e < run; e++) x[e] = total[i][j + e];
                    ::store(Staged::at(c, n + j * 8, m + i / run * 4 * run + i % run), x);
                }
        }
    };
};

// --- The main loop -----------------------------------------------------------------------------

template <typename T, typename Tile, typename Math, typename LoaderA, typename LoaderB,
          typename Epilogue>
__device__ inline void gemm(LoaderA& loader_a, LoaderB& loader_b, int steps, int steps_of_sum,
                            const Epilogue& epilogue) {
    using LayoutA = typename LoaderA::Layout;
    using LayoutB = typename LoaderB::Layout;
    using Warp = typename Math::template Warp<T, Tile, LayoutA, LayoutB>;
    static_assert(LayoutA::length == Tile::M && LayoutA::depth == Tile::K, "A fits the tile");
    static_assert(LayoutB::length == Tile::N && LayoutB::depth == Tile::K, "B fits the tile");
    constexpr int stages = Tile::stages, stage_size = LayoutA::size + LayoutB::size;
    constexpr int parts = Tile::K / Warp::depth;  // products of a k-step

    // The main loop has no registers for what only the epilogue needs.
    __shared__ Epilogue kept;
    if (threadIdx.x == 0) kept = epilogue;

    T* const shared = dynamic_shared<T>();
    const auto fill = [&](int stage, int step) {
        T* tile = shared + stage * stage_size;
        if (step < steps) {
            loader_a.load(tile);
            loader_b.load(tile + LayoutA::size);
        }
        cp_async_commit();
    };

    // A copy of the loaders' code is enough: they are most of what there is to compile.
#pragma unroll 1
    for (int stage = 0; stage < stages; stage++) fill(stage, stage);

    Warp warp;
    int stage = 0;
    if (steps > 0) {
        cp_async_wait<stages - 1>();
        __syncthreads();
        warp.read(shared, shared + LayoutA::size, 0);
    }
#pragma unroll 1
    for (int begin = 0; begin < steps; begin += steps_of_sum) {
        const int end = least(begin + steps_of_sum, steps);
#pragma unroll 1
        for (int step = begin; step < end; step++) {
#pragma unroll(Warp::parts_unrolled)
            for (int part = 1; part <= parts; part++) {
                if (part == parts && step + 1 < steps) {
                    // The next stage has landed, and all warps have read the last of this one.
                    cp_async_wait<stages - 2>();
                    __syncthreads();
                    const int done = stage;
                    stage = stage + 1 == stages ? 0 : stage + 1;
                    fill(done, step + stages);
                }
                T* tile = shared + stage * stage_size;
                warp.multiply(tile, tile + LayoutA::size, part % parts * Warp::depth);
            }
        }
        warp.promote();
    }

    // C goes through shared memory, so that the epilogue gets whole rows.
    using Staged = MnContiguous<T, Tile::N, Tile::M>;  // c[m][n]
    cp_async_wait<0>();
    __syncthreads();
    warp.template write<Staged>(shared);
    __syncthreads();
    constexpr int run = vector_length<T>, pieces = Tile::N / run;
    constexpr int rows_at_once = Tile::threads / pieces;
    static_assert(Tile::threads % pieces == 0, "a thread keeps to its columns");
    const int n = int(threadIdx.x) % pieces * run;
    Epilogue ending = kept;
    ending.begin(n);
#pragma unroll 1
    for (int m = int(threadIdx.x) / pieces; m < Tile::M; m += rows_at_once)
        ending.store(m, load<run>(Staged::at(shared, n, m)));
}
