// Activation functions as functors: template arguments of elementwise kernels, and of the epilogues
// of products. A `backward` reads what the op's backward reads, the output y or the input x. The
// last argument is the one option that an activation may have, such as a slope.
#pragma once
#include "prelude.cuh"

struct Identity {
    template <typename T>
    static __device__ T forward(T x, T) {
        return x;
    }
    template <typename T>
    static __device__ T backward(T dy, T, T) {
        return dy;
    }
};

struct Logistic {
    template <typename T>
    static __device__ T forward(T x, T) {
        const T e = exp(-fabs(x));  // never above 1, so neither branch can overflow
        return (x < 0 ? e : T(1)) / (T(1) + e);
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T) {
        return dy * y * (T(1) - y);
    }
};

struct Tanh {
    template <typename T>
    static __device__ T forward(T x, T) {
        return tanh(x);
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T) {
        return dy * (T(1) - y * y);
    }
};

struct Relu {
    template <typename T>
    static __device__ T forward(T x, T) {
        return x < 0 ? T(0) : x;  // NaN stays NaN
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T) {
        return y > 0 ? dy : T(0);
    }
};

struct LeakyRelu {
    template <typename T>
    static __device__ T forward(T x, T slope) {
        return x > 0 ? x : slope * x;
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T slope) {
        return y > 0 ? dy : slope * dy;
    }
};

struct Elu {
    template <typename T>
    static __device__ T forward(T x, T alpha) {
        return x > 0 ? x : alpha * expm1(x);
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T alpha) {
        return y > 0 ? dy : dy * (y + alpha);
    }
};

struct Softplus {
    template <typename T>
    static __device__ T forward(T x, T) {
        return largest(x, T(0)) + log1p(exp(-fabs(x)));
    }
    template <typename T>
    static __device__ T backward(T dy, T y, T) {
        return dy * -expm1(-y);
    }
};

struct Gelu {
    template <typename T>
    static __device__ T forward(T x, T) {
        return T(0.5) * x * erfc(x * T(-0.70710678118654752));
    }
    template <typename T>
    static __device__ T backward(T dy, T x, T) {
        const T distribution = T(0.5) * erfc(x * T(-0.70710678118654752));
        const T density = exp(T(-0.5) * x * x) * T(0.39894228040143268);
        return dy * (distribution + x * density);
    }
};

struct Silu {
    template <typename T>
    static __device__ T forward(T x, T) {
        return x * Logistic::forward(x, T(0));
    }
    template <typename T>
    static __device__ T backward(T dy, T x, T) {
        const T s = Logistic::forward(x, T(0));
        return dy * s * (T(1) + x * (T(1) - s));
    }
};

struct Mish {  // exp(x) = p / q, as in mish_backward of activations.py
    template <typename T>
    static __device__ T forward(T x, T) {
        const T e = exp(-fabs(x)), p = x < 0 ? e : T(1), q = x < 0 ? T(1) : e;
        const T numerator = p * (p + 2 * q);
        return x * (numerator / (numerator + 2 * q * q));
    }
    template <typename T>
    static __device__ T backward(T dy, T x, T) {
        const T e = exp(-fabs(x)), p = x < 0 ? e : T(1), q = x < 0 ? T(1) : e;
        const T numerator = p * (p + 2 * q), denominator = numerator + 2 * q * q;
        const T slope = 4 * p * (p + q) * q * q / (denominator * denominator);
        return dy * (numerator / denominator + x * slope);
    }
};

struct Hardswish {
    template <typename T>
    static __device__ T forward(T x, T) {
        // multiplied by 1 / 6: a division of doubles is a function call, and registers would spill
        return largest(x, T(-3)) * (least(largest(x + T(3), T(0)), T(6)) * (T(1) / T(6)));
    }
    template <typename T>
    static __device__ T backward(T dy, T x, T) {
        return dy * (x <= -3 ? T(0) : x >= 3 ? T(1) : (x + T(1.5)) * (T(1) / T(3)));
    }
};

template <typename... All>
struct Functors {};

// The activations whose backward reads y. An epilogue is given the index of one in this list.
using Fused = Functors<Identity, Logistic, Tanh, Relu, LeakyRelu, Elu, Softplus>;
