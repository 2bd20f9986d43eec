// Activations chosen at run time, for epilogues: outside the main loop a branch that all threads
// take alike costs nothing, and a template argument would multiply the instances. The two softmaxes
// are not here, as they need whole rows.
#pragma once
#include "activations.cuh"

enum Fused {  // in the order of FUSED in activations/fused.py
    fused_identity,
    fused_logistic,
    fused_tanh,
    fused_relu,
    fused_leaky_relu,
    fused_elu,
    fused_softplus
};

template <typename Activation, typename T, int N>
__device__ inline void forward_all(Vector<T, N>& x, T parameter) {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = Activation::forward(x[i], parameter);
}

template <typename T, int N>
__device__ inline void fused_forward(int activation, Vector<T, N>& x, T parameter) {
    switch (activation) {
        case fused_logistic:
            return forward_all<Logistic>(x, parameter);
        case fused_tanh:
            return forward_all<Tanh>(x, parameter);
        case fused_relu:
            return forward_all<Relu>(x, parameter);
        case fused_leaky_relu:
            return forward_all<LeakyRelu>(x, parameter);
        case fused_elu:
            return forward_all<Elu>(x, parameter);
        case fused_softplus:
            return forward_all<Softplus>(x, parameter);
    }
}

template <typename Activation, typename T, int N>
__device__ inline void backward_all(Vector<T, N>& dy, const Vector<T, N>& y, T parameter) {
#pragma unroll
    for (int i = 0; i < N; i++) dy[i] = Activation::backward(dy[i], y[i], parameter);
}

// Turn gradients in the output into gradients in the input.
template <typename T, int N>
__device__ inline void fused_backward(int activation, Vector<T, N>& dy, const Vector<T, N>& y,
                                      T parameter) {
    switch (activation) {
        case fused_logistic:
            return backward_all<Logistic>(dy, y, parameter);
        case fused_tanh:
            return backward_all<Tanh>(dy, y, parameter);
        case fused_relu:
            return backward_all<Relu>(dy, y, parameter);
        case fused_leaky_relu:
            return backward_all<LeakyRelu>(dy, y, parameter);
        case fused_elu:
            return backward_all<Elu>(dy, y, parameter);
        case fused_softplus:
            return backward_all<Softplus>(dy, y, parameter);
    }
}
