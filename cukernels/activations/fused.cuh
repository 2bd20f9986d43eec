// Activations that an epilogue chooses at run time by a code. Outside the main loop a branch that
// all threads take alike costs next to nothing, while a template argument would multiply the number
// of instances. The two softmaxes are not here, as they need whole rows.
#pragma once
#include "activations.cuh"

constexpr int fused_identity = 0;  // its index in the list Fused

template <typename Activation, typename T, int N>
__device__ inline bool forward_all(Vector<T, N>& x, T parameter) {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = Activation::forward(x[i], parameter);
    return true;
}

template <typename Activation, typename T, int N>
__device__ inline bool backward_all(Vector<T, N>& dy, const Vector<T, N>& y, T parameter) {
#pragma unroll
    for (int i = 0; i < N; i++) dy[i] = Activation::backward(dy[i], y[i], parameter);
    return true;
}

// Apply the activation whose index in the list is `chosen`: the fold over || ends at the first
// index that matches, as forward_all returns true.
template <typename T, int N, typename... All>
__device__ inline void forward_chosen(Functors<All...>, int chosen, Vector<T, N>& x, T parameter) {
    int index = 0;
    (void)(... || (chosen == index++ && forward_all<All>(x, parameter)));
}

template <typename T, int N, typename... All>
__device__ inline void backward_chosen(Functors<All...>, int chosen, Vector<T, N>& dy,
                                       const Vector<T, N>& y, T parameter) {
    int index = 0;
    (void)(... || (chosen == index++ && backward_all<All>(dy, y, parameter)));
}

template <typename T, int N>
__device__ inline void fused_forward(int activation, Vector<T, N>& x, T parameter) {
    forward_chosen(Fused(), activation, x, parameter);
}

// Turn gradients in the output into gradients in the input.
template <typename T, int N>
__device__ inline void fused_backward(int activation, Vector<T, N>& dy, const Vector<T, N>& y,
                                      T parameter) {
    backward_chosen(Fused(), activation, dy, y, parameter);
}
