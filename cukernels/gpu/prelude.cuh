// Device functions that every kernel may use. Inline PTX stands in this file only.
#pragma once

typedef long long int64;
typedef unsigned long long uint64;
typedef unsigned char byte;

constexpr int warp_size = 32;
constexpr unsigned full_warp = 0xffffffffu;

template <typename T>
__device__ inline T infinity() {
    return T(__longlong_as_double(0x7ff0000000000000ll));
}

template <typename T>
__device__ inline T not_a_number() {
    return T(__longlong_as_double(0x7ff8000000000000ll));
}

// Whether i is one of 0 .. count - 1. Indices in arrays of a caller are checked in the kernel, as
// the host does not read them before the launch.
__device__ constexpr bool is_within(int64 i, int64 count) {
    return uint64(i) < uint64(count);
}

template <typename T>
__device__ constexpr T least(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
__device__ constexpr T largest(T a, T b) {
    return a < b ? b : a;
}
template <typename T>
__host__ __device__ constexpr T divide_up(T a, T b) {
    return (a + b - 1) / b;
}

__device__ inline int lane_id() {
    return threadIdx.x % warp_size;
}
__device__ inline int warp_id() {
    return threadIdx.x / warp_size;
}

// --- Memory ------------------------------------------------------------------------------------

// N adjacent elements that one instruction loads or stores; 16 bytes at most.
template <typename T, int N>
struct alignas(N * sizeof(T)) Vector {
    T value[N];
    __device__ T& operator[](int i) { return value[i]; }
    __device__ const T& operator[](int i) const { return value[i]; }
};

// How many elements of type T one 16-byte access holds.
template <typename T>
constexpr int vector_length = 16 / sizeof(T);

template <int N, typename T>
__device__ inline Vector<T, N> load(const T* from) {
    return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <typename T, int N>
__device__ inline void store(T* to, const Vector<T, N>& x) {
    *reinterpret_cast<Vector<T, N>*>(to) = x;
}

// Whether 16-byte accesses may begin at a pointer.
__device__ inline bool is_aligned(const void* p) {
    return reinterpret_cast<uint64>(p) % 16 == 0;
}

// Load and store a vector whose address may be misaligned: its elements one by one in that case.
template <int N, typename T>
__device__ inline Vector<T, N> load(const T* from, bool aligned) {
    if (N == 1 || aligned) return load<N>(from);
    Vector<T, N> x;
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = from[i];
    return x;
}

template <typename T, int N>
__device__ inline void store(T* to, const Vector<T, N>& x, bool aligned) {
    if (N == 1 || aligned) return store(to, x);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = x[i];
}

// The dynamic shared memory of the block, whose size is given at the launch; aligned to 128 bytes.
template <typename T>
__device__ inline T* dynamic_shared() {
    extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
    return reinterpret_cast<T*>(dynamic_shared_bytes);
}

__device__ inline unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Start an asynchronous copy of 4, 8 or 16 bytes from global to shared memory. If `valid` is false,
// zeros are written and the source is not read. The copy is complete after `cp_async_wait`. (.cg
// bypasses the L1 cache, but exists for 16 bytes only. Before 8.0 the copy is a plain one.)
template <int Bytes>
__device__ inline void cp_async(void* shared, const void* global, bool valid = true) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if __CUDA_ARCH__ >= 800
    const int taken = valid ? Bytes : 0;
    if constexpr (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                     "l"(global), "r"(taken)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                     "l"(global), "n"(Bytes), "r"(taken)
                     : "memory");
#else
    using Word = Vector<unsigned, Bytes / 4>;
    *static_cast<Word*>(shared) = valid ? *static_cast<const Word*>(global) : Word{};
#endif
}

// Make a group of this thread's copies since the last commit; `cp_async_wait` counts groups.
__device__ inline void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait for all but the last `Pending` groups of this thread. Other threads see the copies only
// after a barrier.
template <int Pending>
__device__ inline void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

// --- Warps and blocks --------------------------------------------------------------------------

struct Sum {
    template <typename T>
    static __device__ T join(T a, T b) {
        return a + b;
    }
    template <typename T>
    static __device__ T neutral() {
        return T(0);
    }
};

struct Maximum {
    template <typename T>
    static __device__ T join(T a, T b) {
        return a < b || b != b ? b : a;  // NaN wins
    }
    template <typename T>
    static __device__ T neutral() {
        return -infinity<T>();
    }
};

// Join one value of each lane of an aligned group of `Width` lanes; all of them get the result.
// Both sides of an exchange join the same two values, so all lanes have the same bits; the order is
// fixed.
template <typename Operation, int Width = warp_size, typename T>
__device__ inline T warp_reduce(T x) {
#pragma unroll
    for (int distance = Width / 2; distance > 0; distance /= 2)
        x = Operation::join(x, __shfl_xor_sync(full_warp, x, distance));
    return x;
}

// Join one value of each thread of a block of `Threads`; all of them get the result.
template <typename Operation, int Threads, typename T>
__device__ inline T block_reduce(T x) {
    static_assert(Threads % warp_size == 0, "whole warps");
    constexpr int warps = Threads / warp_size;
    __shared__ T of_warp[warps];
    x = warp_reduce<Operation>(x);
    __syncthreads();  // other warps may still be reading the results of the previous call
    if (lane_id() == 0) of_warp[warp_id()] = x;
    __syncthreads();
    x = of_warp[0];
#pragma unroll
    for (int i = 1; i < warps; i++) x = Operation::join(x, of_warp[i]);
    return x;
}

// Whether this block is the last of `blocks` to come here. The last one may read what the others
// wrote to global memory before (not through a `__restrict__` pointer, whose loads are not
// coherent), so it can add up their sums in a fixed order, whatever the order in which they came.
// `arrived` is 0 before the launch and after it. All threads of the block have to come.
__device__ inline bool is_last_block(unsigned* arrived, unsigned blocks) {
    __shared__ int is_last;
    __syncthreads();  // the writes of all threads of this block
    if (threadIdx.x == 0) {
        __threadfence();  // are visible before the block counts as arrived,
        is_last = atomicAdd(arrived, 1u) == blocks - 1;
        __threadfence();                       // and what the others wrote is read after it does
        if (is_last) atomicExch(arrived, 0u);  // for the next launch
    }
    __syncthreads();
    return is_last;
}

// --- Tensor cores ------------------------------------------------------------------------------
//
// mma.m16n8k8: a warp multiplies A (16 x 8) by B (8 x 8) and adds the product to D (16 x 8). Each
// lane holds a fragment of each matrix in its registers: with g = lane / 4 and t = lane % 4,
//   a[0] = A[g][t], a[1] = A[g + 8][t], a[2] = A[g][t + 4], a[3] = A[g + 8][t + 4]
//   b[0] = B[t][g], b[1] = B[t + 4][g]
//   d[0] = D[g][2 t], d[1] = D[g][2 t + 1], d[2] = D[g + 8][2 t], d[3] = D[g + 8][2 t + 1]
// (PTX ISA, "Matrix Fragments for mma.m16n8k8").

__device__ inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The nearest bfloat16 numbers (ties to even), the first in the low half.
__device__ inline unsigned pack_bf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return 0;
#endif
}

// The same product for bfloat16 numbers, two of which share a register: the pair of k and k + 4
// that mma_tf32 has in two registers. (PTX says that a pair is two adjacent k. But any order of k
// gives the same sum, as long as A and B agree.)
//   a[0] = A[g][t, t + 4], a[1] = A[g + 8][t, t + 4], b = B[t, t + 4][g].
__device__ inline void mma_bf16(float (&d)[4], const unsigned (&a)[2], unsigned b) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
#endif
}

// Load four matrices from shared memory, each of 8 rows of 16 bytes: 8 x 4 elements of 32 bits.
// Lanes 0-7 give the addresses of the rows of the first matrix, lanes 8-15 those of the second, and
// so on. Every lane gets word lane % 4 of row lane / 4 of each matrix, as `mma_tf32` wants them.
__device__ inline void load_matrices(unsigned (&words)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row))
                 : "memory");
}
