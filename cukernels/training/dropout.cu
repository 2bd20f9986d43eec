// Dropout by Philox4x64-10 (Salmon et al., SC 2011), a counter-based generator that NumPy has too.
//
// A thread makes one block of random bits, 4 words of 64 bits, for 8 elements of a model. Element i
// is dropped if the i-th 32-bit word of the model's stream is below rate * 2^32. The grid is
// (blocks of a model, models).
#include "elementwise.cuh"

struct Philox {
    uint64 word[4];

    __device__ Philox(uint64 seed, uint64 step, uint64 block) : word{block, step, 0, 0} {
        uint64 key0 = seed, key1 = 0;
#pragma unroll
        for (int round = 0; round < 10; round++) {
            const uint64 a = 0xD2E7470EE14C6C93ull, b = 0xCA5A826395121157ull;
            const uint64 high0 = __umul64hi(a, word[0]), low0 = a * word[0];
            const uint64 high1 = __umul64hi(b, word[2]), low1 = b * word[2];
            word[0] = high1 ^ word[1] ^ key0;
            word[1] = low1;
            word[2] = high0 ^ word[3] ^ key1;
            word[3] = low0;
            key0 += 0x9E3779B97F4A7C15ull;
            key1 += 0xBB67AE8584CAA73Bull;
        }
    }
    // The i-th of 8 words of 32 bits.
    __device__ uint64 operator[](int i) const { return word[i / 2] >> (i % 2 * 32) & 0xffffffffu; }
};

constexpr int elements_a_thread = 8;

template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    dropout(const T* __restrict__ x, T* __restrict__ y, bool* __restrict__ keep, int64 n,
            const double* __restrict__ rate, const uint64* __restrict__ seed,
            const int64* __restrict__ step) {
    constexpr int V = vector_length<T>, N = elements_a_thread;
    const int64 model = blockIdx.y;
    x += model * n, y += model * n, keep += model * n;
    const double dropped = rate[model];
    const uint64 threshold = uint64(dropped * 4294967296.0);
    const T scale = T(1 / (1 - dropped));
    const bool wide = is_aligned(x) && is_aligned(y) && is_aligned(keep);
    const int64 stride = int64(gridDim.x) * elementwise_threads;
    const int64 blocks = divide_up<int64>(n, N);
    for (int64 b = int64(blockIdx.x) * elementwise_threads + threadIdx.x; b < blocks; b += stride) {
        const Philox bits(seed[model], uint64(step[model]), uint64(b) + 1);  // counted from 1
        const int64 first = b * N;
        if (wide && first + N <= n) {
            Vector<bool, N> kept;
#pragma unroll
            for (int i = 0; i < N; i += V) {
                auto values = load<V>(x + first + i);
#pragma unroll
                for (int j = 0; j < V; j++) {
                    kept[i + j] = bits[i + j] >= threshold;
                    values[j] *= kept[i + j] ? scale : T(0);
                }
                store(y + first + i, values);
            }
            store(keep + first, kept);
        } else {
#pragma unroll
            for (int j = 0; j < N; j++)
                if (first + j < n) {
                    const bool kept = bits[j] >= threshold;
                    keep[first + j] = kept;
                    y[first + j] = x[first + j] * (kept ? scale : T(0));
                }
        }
    }
}

// dx = dy / (1 - rate) where kept, else 0.
template <typename T>
__global__ void __launch_bounds__(elementwise_threads)
    dropout_backward(const T* __restrict__ dy, const bool* __restrict__ keep, T* __restrict__ dx,
                     int64 n, const double* __restrict__ rate) {
    const int64 model = blockIdx.y;
    dy += model * n, dx += model * n, keep += model * n;
    const T scale = T(1 / (1 - rate[model]));
    const bool wide = is_aligned(dy) && is_aligned(dx) && is_aligned(keep);
    each_vector<T>(n, wide, [&](int64 i, auto width) {
        constexpr int N = decltype(width)::value;
        auto slopes = load<N>(dy + i);
        const auto kept = load<N>(keep + i);
#pragma unroll
        for (int j = 0; j < N; j++) slopes[j] *= kept[j] ? scale : T(0);
        store(dx + i, slopes);
    });
}
