// One thread for each few neighbours of an array: what elementwise kernels have in common.
#pragma once
#include "prelude.cuh"

constexpr int elementwise_threads = 256;

template <int N>
struct Width {
    static constexpr int value = N;
};

// Call body(i, Width<V>()) for every run of V = 16 bytes of n elements, and with Width<1> for the
// elements that are left over; for all of them where `wide` is false. The loop is unrolled so that
// several loads are under way before the first is needed.
template <typename T, typename Body>
__device__ inline void each_run(int64 n, bool wide, const Body& body) {
    constexpr int V = vector_length<T>;
    const int64 first = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    const int64 stride = int64(gridDim.x) * elementwise_threads;
    const int64 whole = wide ? n / V * V : 0;
    constexpr int in_flight = sizeof(T) == 4 ? 4 : 2;  // more of float64 spill
#pragma unroll in_flight
    for (int64 i = first * V; i < whole; i += stride * V) body(i, Width<V>());
    for (int64 i = whole + first; i < n; i += stride) body(i, Width<1>());
}
