// The loop of elementwise kernels: every thread takes vectors of 16 bytes, a grid apart.
#pragma once
#include "prelude.cuh"

constexpr int elementwise_threads = 256;

template <int N>
struct Width {
    static constexpr int value = N;
};

// Call body(i, Width<V>()) for every vector of V elements (16 bytes) of n elements, which begins at
// element i, and body(i, Width<1>()) for each element left over. If `wide` is false, because an
// array is not aligned, all are taken one by one. The loop is unrolled so that several loads are in
// flight before the first is needed.
template <typename T, typename Body>
__device__ inline void each_vector(int64 n, bool wide, const Body& body) {
    constexpr int V = vector_length<T>;
    const int64 first = int64(blockIdx.x) * elementwise_threads + threadIdx.x;
    const int64 stride = int64(gridDim.x) * elementwise_threads;
    const int64 whole = wide ? n / V * V : 0;
    constexpr int in_flight = sizeof(T) == 4 ? 4 : 2;  // with more, float64 spills
#pragma unroll in_flight
    for (int64 i = first * V; i < whole; i += stride * V) body(i, Width<V>());
    for (int64 i = whole + first; i < n; i += stride) body(i, Width<1>());
}
