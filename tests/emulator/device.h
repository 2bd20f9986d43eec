// CUDA's names for g++: included before a `.cu` file, so that its text compiles for the host.
//
// A kernel runs as one fiber for each CUDA thread, block after block. What a thread shares with
// others goes through `emulator::`, which runtime.cpp implements; every load and store of the
// kernel calls its access check, because the file is compiled with -fsanitize=thread and linked
// with our runtime instead of ThreadSanitizer's.
#pragma once

#include <math.h>
#include <string.h>

#include <limits>
#include <utility>

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define UNCHECKED __attribute__((no_sanitize("thread"), noinline))

struct dim3 {
    unsigned x, y, z;
};
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct uint3 { unsigned x, y, z; };

namespace emulator {

dim3 thread_index();
dim3 block_index();
dim3 block_size();
dim3 grid_size();
void* dynamic_shared();

void block_barrier(const char* file, int line);
void warp_barrier(unsigned mask, const char* file, int line);
// Show `mine` to the lanes of `mask`; returns what all 32 have shown, until the next call.
const void* exchange(const void* mine, int size, unsigned mask, const char* file, int line);
void fence();

void cp_async(void* shared, const void* global, int bytes, bool valid);
void cp_async_commit();
void cp_async_wait(int pending);
void atomic_access(void* address, int bytes);
void require_aligned(const void* address, int bytes);

template <typename T>
UNCHECKED const T* all_lanes(T mine, unsigned mask = 0xffffffffu,
                             const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    static_assert(sizeof(T) <= 64, "a lane shows at most 64 bytes");
    return static_cast<const T*>(exchange(&mine, sizeof(T), mask, file, line));
}

}  // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())

#define WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(WHERE) { emulator::block_barrier(file, line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, WHERE) {
    emulator::warp_barrier(mask, file, line);
}
inline void __threadfence() { emulator::fence(); }
inline void __threadfence_block() {}

namespace emulator {
inline int own_lane() { return thread_index().x % 32; }
}  // namespace emulator

template <typename T>
UNCHECKED T __shfl_sync(unsigned mask, T x, int source, int width = 32, WHERE) {
    const int lane = emulator::own_lane();
    return emulator::all_lanes(x, mask, file, line)[lane / width * width + (source & (width - 1))];
}
template <typename T>
UNCHECKED T __shfl_xor_sync(unsigned mask, T x, int distance, int width = 32, WHERE) {
    const int lane = emulator::own_lane(), other = lane ^ distance;
    const T* all = emulator::all_lanes(x, mask, file, line);
    return other / width > lane / width ? x : all[other];
}
template <typename T>
UNCHECKED T __shfl_down_sync(unsigned mask, T x, unsigned distance, int width = 32, WHERE) {
    const int lane = emulator::own_lane();
    const T* all = emulator::all_lanes(x, mask, file, line);
    return lane % width + int(distance) < width ? all[lane + distance] : x;
}
template <typename T>
UNCHECKED T __shfl_up_sync(unsigned mask, T x, unsigned distance, int width = 32, WHERE) {
    const int lane = emulator::own_lane();
    const T* all = emulator::all_lanes(x, mask, file, line);
    return lane % width >= int(distance) ? all[lane - distance] : x;
}
UNCHECKED inline unsigned __ballot_sync(unsigned mask, int predicate, WHERE) {
    const int* all = emulator::all_lanes(predicate, mask, file, line);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) bits |= (mask >> i & 1) && all[i] ? 1u << i : 0u;
    return bits;
}
inline int __any_sync(unsigned mask, int predicate, WHERE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, WHERE) {
    return __ballot_sync(mask, predicate, file, line) == mask;
}
inline int __syncthreads_or(int predicate, WHERE) {
    static int any;
    __syncthreads(file, line);
    if (threadIdx.x == 0) any = 0;
    __syncthreads(file, line);
    emulator::atomic_access(&any, sizeof any);
    if (predicate) *const_cast<volatile int*>(&any) = 1;
    __syncthreads(file, line);
    return any;
}

template <typename T>
UNCHECKED T atomicAdd(T* address, T x) {
    emulator::atomic_access(address, sizeof(T));
    const T before = *address;
    *address = before + x;
    return before;
}
template <typename T>
UNCHECKED T atomicMax(T* address, T x) {
    emulator::atomic_access(address, sizeof(T));
    const T before = *address;
    *address = before < x ? x : before;
    return before;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

template <typename To, typename From>
UNCHECKED To bits_as(From x) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return bits_as<double>(x); }

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
template <typename T>
inline T __ldg(const T* p) { return *p; }
template <typename T>
inline T __ldcs(const T* p) { return *p; }
template <typename T>
inline void __stcs(T* p, T x) { *p = x; }
template <typename T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <typename T>
constexpr T max(T a, T b) { return a < b ? b : a; }

// The entry that the launcher calls once for each thread.
template <auto kernel>
struct Entry;
template <typename... P, void (*kernel)(P...)>
struct Entry<kernel> {
    template <size_t... I>
    UNCHECKED static void call(void** arguments, std::index_sequence<I...>) {
        kernel(*static_cast<P*>(arguments[I])...);
    }
    UNCHECKED static void run(void** arguments) {
        call(arguments, std::index_sequence_for<P...>());
    }
};
