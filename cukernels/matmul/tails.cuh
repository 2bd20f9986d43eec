// Vectors of 16 bytes along a row whose length need not be a multiple of theirs.
#pragma once
#include "prelude.cuh"

// Load the first `own` elements of a vector; the others are 0. `wide` says that it is aligned.
template <typename T>
__device__ inline Vector<T, vector_length<T>> load_some(const T* from, bool wide, int own) {
    constexpr int V = vector_length<T>;
    if (wide && own >= V) return load<V>(from);
    Vector<T, V> x = {};
#pragma unroll
    for (int e = 0; e < V; e++)
        if (e < own) x[e] = from[e];
    return x;
}

// Store the first `own` elements of a vector.
template <typename T>
__device__ inline void store_some(T* to, const Vector<T, vector_length<T>>& x, bool wide, int own) {
    constexpr int V = vector_length<T>;
    if (wide && own >= V) return store(to, x);
#pragma unroll
    for (int e = 0; e < V; e++)
        if (e < own) to[e] = x[e];
}
