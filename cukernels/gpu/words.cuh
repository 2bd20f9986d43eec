// What a thread copies at once: the longest word that the rows' length and alignment allow.
#pragma once
#include "prelude.cuh"

using Word16 = Vector<unsigned, 4>;
using Word8 = Vector<unsigned, 2>;
using Word4 = unsigned;
using Word2 = unsigned short;

// Set all bits of a word: NaN, or -1.
template <int N>
__device__ inline void set_bits(Vector<unsigned, N>& word) {
#pragma unroll
    for (int i = 0; i < N; i++) word[i] = ~0u;
}
template <typename Word>
__device__ inline void set_bits(Word& word) {
    word = Word(~Word(0));
}
__device__ inline void set_bits(float& x) {
    x = not_a_number<float>();
}
__device__ inline void set_bits(double& x) {
    x = not_a_number<double>();
}
