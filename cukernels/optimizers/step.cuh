// What the optimizers share: the parameters of a block, the loss of the batch, bias corrections.
//
// params, grads and moments are (models, p). Hyper-parameters are float64 vectors, with one value
// for each model. The grid is (blocks of a model, models).
#pragma once
#include "elementwise.cuh"

// N adjacent elements, loaded at once where they are aligned.
template <int N, bool IsAligned>
struct Access {
    static constexpr int length = N;

    template <typename T>
    static __device__ Vector<T, N> read(const T* from) {
        return load<N>(from, IsAligned);
    }
    template <typename T>
    static __device__ void write(T* to, const Vector<T, N>& x) {
        store(to, x, IsAligned);
    }
};

// Call body(i, Access) for the elements from i on, for all of this block's chunk of n. The chunks
// are those of `chunk_length` in epoch_loss.py. Which thread has an element depends neither on the
// alignment nor on the other models of a stack, so the bits of a sum do not either.
template <typename T, typename Body>
__device__ inline void each_of_chunk(int64 n, bool wide, const Body& body) {
    constexpr int V = vector_length<T>;
    constexpr int in_flight = sizeof(T) == 4 ? 4 : 2;  // with more, float64 spills
    const int64 length = divide_up(n, int64(4) * gridDim.x) * 4;
    const int64 begin = least(blockIdx.x * length, n), end = least(begin + length, n);
    const int64 whole = begin + (end - begin) / V * V, first = begin + threadIdx.x * V;
    if (wide) {
#pragma unroll in_flight
        for (int64 i = first; i < whole; i += elementwise_threads * V) body(i, Access<V, true>());
    } else {
        for (int64 i = first; i < whole; i += elementwise_threads * V) body(i, Access<V, false>());
    }
    const int64 rest = whole + threadIdx.x;
    if (rest < end) body(rest, Access<1, true>());
}

// Add the loss of the batch, and the penalty of this block's weights, to the totals of an epoch
// (models, blocks); null: nobody wants them. A block has a number of its own to add to.
__device__ inline void add_to_total(double* total, int64 model, double loss, double penalty,
                                    const double* size) {
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) penalty += loss;
    total[model * gridDim.x + blockIdx.x] += penalty * size[model];
}

// The same for weights with an L2 penalty, whose squares the threads of the block have summed.
template <typename T>
__device__ inline void add_penalised(double* total, int64 model, const T* loss, double l2,
                                     T squares, const double* size) {
    if (!total) return;
    squares = block_reduce<Sum, elementwise_threads>(squares);
    add_to_total(total, model, double(loss[model]), 0.5 * l2 * double(squares), size);
}

// 1 - base^n, which corrects the bias of a running mean, by repeated squaring: two operations for
// each bit of n, where `pow` of doubles takes some hundred instructions while the block waits. With
// q = 1 - base^k, 1 - base^2k is 2 q - q^2: no number near 1 is subtracted from 1, so the result
// has almost all its digits, which 1 - pow(base, n) has not for a base near 1.
__device__ inline double one_minus_power(double base, int64 n) {
    double q = 1 - base, result = 0;
    for (; n > 0; n >>= 1) {
        if (n & 1) result = fma(1 - result, q, result);
        q = fma(-q, q, q + q);
    }
    return result;
}

// The bias corrections 1 - beta_1^step and 1 - beta_2^step. All lanes of a warp have to come: even
// lanes compute the first and odd ones the second, at the same time.
struct BiasCorrections {
    double first, second;

    __device__ BiasCorrections(double beta_1, double beta_2, int64 step) {
        const double own = one_minus_power(lane_id() % 2 ? beta_2 : beta_1, step);
        first = __shfl_sync(full_warp, own, 0);
        second = __shfl_sync(full_warp, own, 1);
    }
};
