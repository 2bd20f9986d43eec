// Products of matrices: the main loop that matmul, conv2d and local2d share.
//
//     C[m][n] = sum over k of A[m][k] * B[n][k]        A: (M, K), B: (N, K), C: (M, N)
//
// A block computes one tile of C. It walks along k in steps of Tile::K, with Tile::stages tiles of
// A and of B in shared memory: while the warps multiply one of them, 16-byte asynchronous copies
// fill the others. The kernels that use this loop differ in where their operands lie and where
// results go. Each of them says so by two kinds of types:
//
// A loader copies the tiles of one operand. It is a struct in the registers of every thread:
//
//     using Layout = KContiguous<...> or MnContiguous<...>;   // of its tile in shared memory
//     void load(T* tile);   // start this thread's copies of the NEXT k-step
//
//   All threads call load() once for each of the `steps` k-steps, in their order, so a loader can
//   advance its pointers by known differences. It must fill the whole tile, with zeros where the
//   operand has ended in either direction (which cp_async does if not `valid`).
//   `Layout::at(tile, mn, k)` is where element (mn, k) lies. Along the contiguous axis, every
//   `Layout::V` elements from a multiple of V on are a vector: they lie side by side, aligned to 16
//   bytes. MatrixLoader, below, is the loader of a plain matrix.
//
// An epilogue takes the tile of C row by row, in vectors of V = `vector_length<T>` columns:
//
//     void begin(int n);                    // the first column of all vectors of this thread
//     void store(int m, Vector<T, V> x);    // C[m][n .. n + V - 1], m and n from the tile's corner
//
//   It checks the bounds. It is a plain struct with the same values in every thread, which is kept
//   in shared memory while the main loop needs the registers. StoreRows, below, stores the tile;
//   FinishRows first adds a bias and applies an activation, SlopeRows goes back through one.
//
// A kernel looks like this (matmul/gemm_plan.py says how much dynamic shared memory it needs):
//
//     template <typename T, typename Tile, typename Math> __global__ void
//     __launch_bounds__(Tile::threads, Tile::blocks) product(...) {
//         using LayoutA = OperandLayout<T, Tile::M, Tile::K, Math, true>;    // true: k-contiguous
//         using LayoutB = OperandLayout<T, Tile::N, Tile::K, Math, false>;   // false: n-contiguous
//         ...
//         gemm<T, Tile, Math>(a, b, steps, steps_of_sum, epilogue);
//     }
//
// Every element of C is summed in the same order, whatever the tile, the warps and the layouts: k
// ascends, in sums of `steps_of_sum` k-steps each, which are then added up one after the other. The
// error of a sum grows with the number of additions in a row, and these two levels keep it below
// that of a blocked product on a CPU. Moreover, the bits are the same whether one block adds up all
// sums, or each sum has a block of its own and the last of these blocks adds them up (SplitSum,
// below). So tile and split may be chosen by the number of models, and only the length of the sums
// has to depend on k alone.
#pragma once
#include "fused.cuh"
#include "tails.cuh"

// The tile of a block, the tile of each of its warps, how many k-steps are in shared memory at once
// (stages), and how many blocks a multiprocessor should have registers for.
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
// Both are plain arrays, except that an exclusive or permutes the 16-byte vectors of each row
// (swizzling). So neither the 16-byte copies nor the loads of fragments have bank conflicts. (There
// are 32 banks of 4 bytes, and 16-byte accesses are served 8 lanes at a time.)

// tile[mn][k]. `Apart` is the distance of the rows that 8 lanes read together: 1 with
// load_matrices, V if each lane owns V adjacent rows.
template <typename T, int Length, int K, int Apart>
struct KContiguous {
    static constexpr bool k_contiguous = true;
    static constexpr int length = Length, depth = K, size = Length * K;
    static constexpr int V = vector_length<T>;
    static constexpr int vectors = K / V;  // of a row
    // A line is 128 bytes, once around all banks.
    static constexpr int rows_a_line = largest(1, 128 / (K * int(sizeof(T))));
    static_assert(vectors == 4 || vectors == 8, "a row is half a line or a line");

    static __device__ T* at(T* tile, unsigned mn, unsigned k) {
        const unsigned vector = k / V ^ (mn / unsigned(largest(Apart, rows_a_line)) % vectors);
        return tile + mn * K + vector * V + k % V;
    }
};

// tile[k][mn]. The load of a fragment reads 8 adjacent mn of 4 adjacent k, so the groups of 8 mn
// are permuted differently in rows of different k.
template <typename T, int Length, int K>
struct MnContiguous {
    static constexpr bool k_contiguous = false;
    static constexpr int length = Length, depth = K, size = Length * K;
    static constexpr int V = vector_length<T>;
    static constexpr int rows_a_line = largest(1, 32 / Length);
    static constexpr int groups = sizeof(T) == 4 ? least(Length, 32) / 8 : 1;  // of 8 mn in a line

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
// is first[mn * ld + i] if k is contiguous, else first[i * ld + mn]. `first` is the corner of the
// block's first tile, and `length` and `k` count the elements from there to the operand's end.
//
// `wide` says that the pointer and ld are multiples of 16 bytes, so that vectors can be copied as a
// whole. Otherwise they are copied element by element.

template <typename T, typename Layout_, int Threads>
struct MatrixLoader {
    using Layout = Layout_;
    static constexpr int V = Layout::V;
    static constexpr int row_vectors = (Layout::k_contiguous ? Layout::depth : Layout::length) / V;
    static constexpr int rows = Layout::k_contiguous ? Layout::length : Layout::depth;
    static constexpr int rows_at_once = Threads / row_vectors;
    static constexpr int passes = divide_up(rows, rows_at_once);
    static_assert(Threads % row_vectors == 0, "a thread keeps to its column");

    const T* from;    // what this thread copies in the first pass of the next k-step
    int64 ld;         // elements from one row to the next
    int length, k;    // elements from `from` to the operand's end
    int row, column;  // of `from` in the tile
    bool wide;

    __device__ MatrixLoader(const T* first, int64 ld, int length_, int k_, bool wide)
        : ld(ld), length(length_), k(k_), wide(wide) {
        row = int(threadIdx.x) / row_vectors;
        column = int(threadIdx.x) % row_vectors * V;
        from = first + row * ld + column;
        length -= Layout::k_contiguous ? row : column;
        k -= Layout::k_contiguous ? column : row;
    }

    __device__ void load(T* tile) {
        if (wide)
            copy<V>(tile);
        else
            copy<1>(tile);
        from += Layout::k_contiguous ? Layout::depth : Layout::depth * ld;
        k -= Layout::depth;
    }

    // Copy one vector in each pass, Width elements at a time.
    template <int Width>
    __device__ void copy(T* tile) const {
        constexpr int bytes = Width * sizeof(T);
        const int below = Layout::k_contiguous ? length : k;   // rows to the operand's end
        const int beside = Layout::k_contiguous ? k : length;  // columns to its end
#pragma unroll(Width == V ? passes : 1)
        for (int pass = 0; pass < passes; pass++) {
            const int down = pass * rows_at_once;
            if (rows % rows_at_once && row + down >= rows) break;
            T* to = Layout::k_contiguous ? Layout::at(tile, row + down, column)
                                         : Layout::at(tile, column, row + down);
#pragma unroll
            for (int e = 0; e < V; e += Width)
                cp_async<bytes>(to + e, from + down * ld + e, down < below && e < beside);
        }
    }
};

// --- The epilogues of plain rows ---------------------------------------------------------------
//
// `rows(m)` points to the first column of row m of the tile, or is null if C has no such row.
// `columns` counts the columns of the tile that C has. `wide` says that all rows are aligned to 16
// bytes.

template <typename T, typename Rows>
struct StoreRows {
    static constexpr int V = vector_length<T>;
    Rows rows;
    int columns;
    bool wide;
    int n;

    __device__ void begin(int first) { n = first; }

    __device__ void store(int m, const Vector<T, V>& x) {
        if (T* y = rows(m)) store_some(y + n, x, wide, columns - n);
    }
};

// The same after adding a bias and applying an activation. `bias` points to the tile's first
// column, or is null. This is a type of its own because gradients need neither, and because the
// code of all activations is as long as that of a small main loop.
template <typename T, typename Rows>
struct FinishRows {
    static constexpr int V = vector_length<T>;
    StoreRows<T, Rows> rows;
    const T* bias;
    int activation;  // its index in Fused
    T parameter;
    T added[V];

    __device__ void begin(int n) {
        rows.begin(n);
#pragma unroll
        for (int e = 0; e < V; e++) added[e] = bias && n + e < rows.columns ? bias[n + e] : T(0);
    }

    __device__ void store(int m, Vector<T, V> x) {
#pragma unroll
        for (int e = 0; e < V; e++) x[e] += added[e];
        fused_forward(activation, x, parameter);
        rows.store(m, x);
    }
};

// The gradient in the output of an activation, turned into that in its input. `seen` is that
// output; it lies as C does, whose first element of the same matrix is `origin`.
template <typename T, typename Rows>
struct SlopeRows {
    static constexpr int V = vector_length<T>;
    StoreRows<T, Rows> rows;
    const T *seen, *origin;
    bool wide;       // of `seen`
    int activation;  // its index in Fused
    T parameter;

    __device__ void begin(int n) { rows.begin(n); }

    __device__ void store(int m, Vector<T, V> x) {
        const T* y = rows.rows(m);
        if (y && activation != fused_identity) {
            const T* from = seen + (y - origin) + rows.n;
            fused_backward(activation, x, load_some(from, wide, rows.columns - rows.n), parameter);
        }
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

// --- Sums that several blocks share ------------------------------------------------------------

// The block has the whole sum over k.
struct WholeSum {
    template <typename Tile, typename Staged, typename T>
    __device__ bool join(T*) const {
        return true;
    }
};

// Each block has one of the `count` sums of its tile. They write them side by side, and the last
// block to come adds up all of them in their order, and goes on to the epilogue.
template <typename T>
struct SplitSum {
    T* parts;           // (count, Tile::M, Tile::N), aligned to 16 bytes; not read if count is 1
    unsigned* arrived;  // the tile's counter (is_last_block)
    int index, count;   // the block's own sum, and how many there are
    int rows, columns;  // of the tile that lie in C

    // Put the tile of all sums in the place of the block's own, c. Each thread reads and writes the
    // vectors that it then hands to the epilogue, so no barrier is needed after it. Returns whether
    // this block is the last one; the others are done.
    template <typename Tile, typename Staged>
    __device__ bool join(T* c) const {
        if (count == 1) return true;
        constexpr int V = vector_length<T>, size = Tile::M * Tile::N;
        const auto each_vector = [&](const auto& body) {
#pragma unroll 1
            for (int i = int(threadIdx.x) * V; i < rows * Tile::N; i += Tile::threads * V)
                if (i % Tile::N < columns) body(parts + i, Staged::at(c, i % Tile::N, i / Tile::N));
        };
        each_vector([&](T* part, T* own) { ::store(part + index * size, load<V>(own)); });
        if (!is_last_block(arrived, count)) return false;
        each_vector([&](const T* part, T* own) {
            Vector<T, V> sum = {};
#pragma unroll 8
            for (int s = 0; s < count; s++) {
                const Vector<T, V> x = load<V>(part + s * size);
#pragma unroll
                for (int e = 0; e < V; e++) sum[e] += x[e];
            }
            ::store(own, sum);
        });
        return true;
    }
};

// --- Arithmetic --------------------------------------------------------------------------------
//
// A Math has a member template Warp, which holds the sums of a warp's tile and has the functions
//     read(a, b, k)       read the fragments of `depth` k, from k on, out of the tiles a and b
//     multiply(a, b, k)   add the products of these fragments to the sums, and read the next ones
//     promote()           add the sums to the totals, and begin new sums
//     write(c)            write the totals to shared memory, where the epilogue reads them

// Tensor cores. Terms = 3 has the precision of float32: a factor x is split into big + small, two
// TF32 numbers of 10 bits after the point, which represent x but for its last bit or two. Then
// small * big + big * small + big * big is the product but for small * small, which is 2^-22 of it
// (Ootomo and Yokota, IJHPCA 2022). Tensor cores truncate when they add, and over a long sum this
// drifts towards 0. So they add only 8 products here, the smallest terms first, and further
// additions are ordinary ones, which round to nearest. An infinite factor gives NaN, from inf -
// inf. Terms = 1 is plain TF32, or bfloat16 (7 bits).
template <int Terms, bool bfloat16>
struct TensorCores {
    template <typename T>
    static constexpr int rows_apart = 1;

    template <typename T, typename Tile, typename LayoutA, typename LayoutB>
    struct Warp {
        static constexpr int depth = 8;
        static constexpr int rows = Tile::warp_m / 16, columns = Tile::warp_n / 8;
        // Larger tiles leave no registers to unroll the loop over slices, and the largest leave
        // none for the next fragments of B while the present ones are in use.
        static constexpr int slices_unrolled = rows * columns < 8 ? 4 : 1;
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

        // A fragment is split into other registers first, so the next one can be read into its own.
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

        // big is x rounded to TF32 (ties away from zero), by integer arithmetic on its bits; small
        // is the rest, which is exact, and of which the tensor cores read as many bits as TF32 has.
        // For bfloat16, x[e] and x[e + N / 2] (k and k + 4) share a register.
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

// Ordinary multiplications and additions: for float64, for float32 on GPUs without TF32, and for
// sums so short that three terms of TF32 are less exact than one rounded product.
//
// The lanes of a warp form a grid of 4 x 8 over its tile. A lane owns vectors of V adjacent rows,
// 4 V apart, and of V adjacent columns, 8 V apart, and reads each by 16-byte accesses. Eight
// successive lanes, whose accesses are served together, form a 2 x 4 part of that grid. So together
// they read at most 4 different vectors, no more than a row of a tile has.
struct Fma {
    template <typename T>
    static constexpr int rows_apart = vector_length<T>;

    template <typename T, typename Tile, typename LayoutA, typename LayoutB>
    struct Warp {
        static constexpr int V = vector_length<T>, depth = V;
        static constexpr int slices_unrolled = 8;
        static constexpr int rows = Tile::warp_m / 4, columns = Tile::warp_n / 8;
        static_assert(rows % V == 0 && columns % V == 0, "whole vectors");

        T fragment_a[rows][V], fragment_b[columns][V];
        T sum[rows][columns] = {}, total[rows][columns] = {};
        int m, n;  // the lane's first row and column in the block's tile

        __device__ Warp() {
            const int lane = lane_id();
            m = warp_id() / Tile::warps_n * Tile::warp_m + (lane / 16 * 2 + lane / 4 % 2) * V;
            n = warp_id() % Tile::warps_n * Tile::warp_n + (lane / 8 % 2 * 4 + lane % 4) * V;
        }

        __device__ void read(T* a, T* b, int k) {
            read_vectors<LayoutA, 4 * V>(fragment_a, a, m, k);
            read_vectors<LayoutB, 8 * V>(fragment_b, b, n, k);
        }

        template <typename Layout, int Apart, int Length>
        static __device__ void read_vectors(T (&x)[Length][V], T* tile, int mn, int k) {
#pragma unroll
            for (int i = 0; i < Length; i++) {
                const int first = mn + i / V * Apart;
                if constexpr (Layout::k_contiguous) {
                    const auto ks = ::load<V>(Layout::at(tile, first + i % V, k));
#pragma unroll
                    for (int e = 0; e < V; e++) x[i][e] = ks[e];
                } else {
                    const int e = i % V;  // turn i reads all rows of a vector for k + e
                    const auto mns = ::load<V>(Layout::at(tile, first, k + e));
#pragma unroll
                    for (int d = 0; d < V; d++) x[i / V * V + d][e] = mns[d];
                }
            }
        }

        __device__ void multiply(T* a, T* b, int k) {
#pragma unroll
            for (int e = 0; e < V; e++)
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
                for (int j = 0; j < columns; j += V) {
                    Vector<T, V> x;
#pragma unroll
                    for (int e = 0; e < V; e++) x[e] = total[i][j + e];
                    ::store(Staged::at(c, n + j * 8, m + i / V * 4 * V + i % V), x);
                }
        }
    };
};

// --- The main loop -----------------------------------------------------------------------------

// Where a block keeps what only its end needs. (A kernel with two products needs it once.)
constexpr int kept_bytes = 112;
__device__ inline void* kept_memory() {
    __shared__ __align__(16) byte kept[kept_bytes];
    return kept;
}

template <typename T, typename Tile, typename Math, typename LoaderA, typename LoaderB,
          typename Epilogue, typename Sum = WholeSum>
__device__ inline void gemm(LoaderA& loader_a, LoaderB& loader_b, int steps, int steps_of_sum,
                            const Epilogue& epilogue, const Sum& sum = {}) {
    using LayoutA = typename LoaderA::Layout;
    using LayoutB = typename LoaderB::Layout;
    using Warp = typename Math::template Warp<T, Tile, LayoutA, LayoutB>;
    static_assert(LayoutA::length == Tile::M && LayoutA::depth == Tile::K, "A fits the tile");
    static_assert(LayoutB::length == Tile::N && LayoutB::depth == Tile::K, "B fits the tile");
    constexpr int stages = Tile::stages, stage_size = LayoutA::size + LayoutB::size;
    constexpr int slices = Tile::K / Warp::depth;  // of a k-step, one set of fragments each

    // The main loop has no registers to spare for what only the epilogue needs. (A barrier follows
    // before it is read.)
    struct Kept {
        Epilogue epilogue;
        Sum sum;
    };
    static_assert(sizeof(Kept) <= kept_bytes, "what is kept has its place");
    Kept* const kept = static_cast<Kept*>(kept_memory());
    if (threadIdx.x == 0) *kept = {epilogue, sum};

    T* const shared = dynamic_shared<T>();
    const auto fill = [&](int stage, int step) {
        T* tile = shared + stage * stage_size;
        if (step < steps) {
            loader_a.load(tile);
            loader_b.load(tile + LayoutA::size);
        }
        cp_async_commit();  // a group also for steps past the end: the waits below count groups
    };

    // Not unrolled: the loaders' code is the longest of the kernel, and one copy of it is enough.
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
#pragma unroll(Warp::slices_unrolled)
            for (int slice = 1; slice <= slices; slice++) {  // the slice to read next
                if (slice == slices && step + 1 < steps) {
                    // The next slice lies in the next stage. After the barrier, its copies are
                    // complete for all threads, and all warps have read the last slice of this
                    // stage, which can then be filled again.
                    cp_async_wait<stages - 2>();
                    __syncthreads();
                    const int done = stage;
                    stage = stage + 1 == stages ? 0 : stage + 1;
                    fill(done, step + stages);
                }
                T* tile = shared + stage * stage_size;
                warp.multiply(tile, tile + LayoutA::size, slice % slices * Warp::depth);
            }
        }
        warp.promote();
    }

    // The tile of C goes through shared memory, so that a warp stores adjacent columns of a row. It
    // overwrites the stages: no copy may be under way, and no warp may still be reading them.
    using Staged = MnContiguous<T, Tile::N, Tile::M>;  // c[m][n]
    cp_async_wait<0>();
    __syncthreads();
    warp.template write<Staged>(shared);
    __syncthreads();
    if (!kept->sum.template join<Tile, Staged>(shared)) return;
    constexpr int V = vector_length<T>, vectors = Tile::N / V;
    constexpr int rows_at_once = Tile::threads / vectors;
    static_assert(Tile::threads % vectors == 0, "a thread keeps to its columns");
    const int n = int(threadIdx.x) % vectors * V;
    Epilogue ending = kept->epilogue;
    ending.begin(n);
#pragma unroll 1
    for (int m = int(threadIdx.x) / vectors; m < Tile::M; m += rows_at_once)
        ending.store(m, load<V>(Staged::at(shared, n, m)));
}
