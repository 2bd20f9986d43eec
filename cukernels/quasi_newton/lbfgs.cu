// The vectors of L-BFGS: `lbfgs_step` moves them, `lbfgs_products` computes what the host asks.
//
// Sums are float64 whatever the vectors are. The host's small matrices belong to one quadratic
// model of the function, and rounding them differently would make that no model at all.
#include "prelude.cuh"

constexpr int lbfgs_threads = 256;
constexpr int lbfgs_warps = lbfgs_threads / warp_size;

// The columns of a plan and of a record, as columns.py has them.
enum {
    plan_model,
    plan_source,
    plan_slot,
    plan_count,
    plan_s,
    plan_y,
    plan_turns,
    plan_g,
    plan_step,
    plan_coefficients
};
enum {
    record_value,
    record_slope,
    record_largest,
    record_gg,
    record_yg,
    record_yy,
    record_products
};

// The integers in a row of a plan. `is_valid` says that they are places which there are.
struct Places {
    int64 model, source, slot;
    int count;
    bool is_valid;

    __device__ Places(const double* plan, int64 models, int64 points, int m) {
        model = int64(plan[plan_model]), source = int64(plan[plan_source]);
        slot = int64(plan[plan_slot]);
        const int64 pairs = int64(plan[plan_count]);
        is_valid = is_within(model, models) && is_within(source + 1, points + 1) &&
                   is_within(slot + 1, m + 1) && is_within(pairs, m + 1);
        count = is_valid ? int(pairs) : 0;
    }
};

// x, gradient, direction: (models, p), pairs: (models, 2 m, p), reached, slope: (points, p), plan:
// (rows, columns), point: (rows, p). A thread has the same element of all vectors, so that it reads
// what it has written itself. Grid: (blocks of a row, rows).
template <typename T>
__global__ void __launch_bounds__(lbfgs_threads)
    lbfgs_step(T* x, T* gradient, T* direction, T* pairs, const T* reached, const T* slope,
               const double* __restrict__ plan, T* point, int64 models, int64 points, int64 p,
               int m) {
    // A model that has come before is left to that row, as two would race.
    const int columns = plan_coefficients + 2 * m;
    const double own = plan[int64(blockIdx.y) * columns + plan_model];
    bool is_again = false;
    for (int row = threadIdx.x; row < int(blockIdx.y); row += lbfgs_threads)
        is_again |= int64(plan[int64(row) * columns + plan_model]) == int64(own);
    is_again = __syncthreads_or(is_again);
    plan += int64(blockIdx.y) * columns;
    point += int64(blockIdx.y) * p;
    Places at(plan, models, points, m);
    at.is_valid = at.is_valid && !is_again;
    const double* const s_of = plan + plan_coefficients;
    const double* const y_of = s_of + m;
    const int64 model = at.is_valid ? at.model : 0;
    x += model * p, gradient += model * p, direction += model * p;
    T* const s = pairs + model * 2 * m * p;
    T* const y = s + m * p;
    const int64 stride = int64(gridDim.x) * lbfgs_threads;
    for (int64 i = int64(blockIdx.x) * lbfgs_threads + threadIdx.x; i < p; i += stride) {
        if (!at.is_valid) {
            point[i] = not_a_number<T>();
            continue;
        }
        T x_i = x[i], g_i = gradient[i], d_i = direction[i];
        if (at.source >= 0) {
            const T g_new = slope[at.source * p + i];
            if (at.slot >= 0) {
                s[at.slot * p + i] = T(plan[plan_s] * double(d_i));
                y[at.slot * p + i] = T(plan[plan_y] * (double(g_new) - double(g_i)));
            }
            x[i] = x_i = reached[at.source * p + i];
            gradient[i] = g_i = g_new;
        }
        if (plan[plan_turns] != 0) {
            double sum = plan[plan_g] * double(g_i);
#pragma unroll 4
            for (int j = 0; j < at.count; j++)
                sum += s_of[j] * double(s[j * p + i]) + y_of[j] * double(y[j * p + i]);
            direction[i] = d_i = T(sum);
        }
        point[i] = T(double(x_i) + plan[plan_step] * double(d_i));
    }
}

// value: (rows), slope: (rows, p), the others as above; record, partial: (rows, width) and (rows,
// blocks, width) for a width of 6 + 4 m. A block sums over `length` elements of each vector, and
// the last block of a row adds up what the others wrote, in their order. `length` follows from p
// alone. Shared memory: a number for each column and warp. Grid: (blocks of a row, rows).
template <typename T>
__global__ void __launch_bounds__(lbfgs_threads)
    lbfgs_products(const T* __restrict__ value, const T* __restrict__ slope,
                   const T* __restrict__ gradient, const T* __restrict__ direction,
                   const T* __restrict__ pairs, const double* __restrict__ plan, double* record,
                   double* partial, unsigned* arrived, int64 models, int64 p, int64 length, int m) {
    constexpr int elements = 4;  // of a thread at a time
    const int64 row = blockIdx.y;
    const int width = record_products + 4 * m;
    double* const sums = dynamic_shared<double>();  // (width, warps)
    const Places at(plan + row * (plan_coefficients + 2 * m), models, models, m);
    const int64 model = at.is_valid ? at.model : 0;
    slope += row * p, gradient += model * p, direction += model * p, pairs += model * 2 * m * p;

    for (int i = threadIdx.x; i < width * lbfgs_warps; i += lbfgs_threads) sums[i] = 0;
    __syncthreads();
    const int lane = lane_id(), warp = warp_id();
    auto add = [&](int column, double own) {
        own = warp_reduce<Sum>(own);
        if (lane == 0) sums[column * lbfgs_warps + warp] += own;
    };
    const int64 begin = int64(blockIdx.x) * length, end = least(begin + length, p);
    for (int64 first = begin; first < end; first += elements * lbfgs_threads) {
        double g[elements], y[elements], gd = 0, gg = 0, yg = 0, yy = 0, top = 0;
#pragma unroll
        for (int e = 0; e < elements; e++) {
            const int64 i = first + e * lbfgs_threads + threadIdx.x;
            g[e] = y[e] = 0;
            if (i >= end) continue;
            g[e] = double(slope[i]), y[e] = g[e] - double(gradient[i]);
            gd += g[e] * double(direction[i]);
            gg += g[e] * g[e], yg += y[e] * g[e], yy += y[e] * y[e];
            top = Maximum::join(top, fabs(g[e]));
        }
        add(record_slope, gd), add(record_gg, gg), add(record_yg, yg), add(record_yy, yy);
        top = warp_reduce<Maximum>(top);
        double& own_top = sums[record_largest * lbfgs_warps + warp];
        if (lane == 0) own_top = Maximum::join(own_top, top);
        for (int k = 0; k < 2 * at.count; k++) {
            const int j = k < at.count ? k : m + k - at.count;
            double pg = 0, py = 0;
#pragma unroll
            for (int e = 0; e < elements; e++) {
                const int64 i = first + e * lbfgs_threads + threadIdx.x;
                const double own = i < end ? double(pairs[j * p + i]) : 0.0;
                pg += own * g[e], py += own * y[e];
            }
            add(record_products + j, pg), add(record_products + 2 * m + j, py);
        }
    }
    __syncthreads();
    const double own_value = blockIdx.x == 0 ? double(value[row]) : 0.0;
    double* const mine = partial + (row * gridDim.x + blockIdx.x) * width;
    for (int column = threadIdx.x; column < width; column += lbfgs_threads) {
        double sum = column == record_value ? own_value : sums[column * lbfgs_warps];
        for (int i = 1; i < lbfgs_warps; i++) {
            const double own = sums[column * lbfgs_warps + i];
            sum = column == record_largest ? Maximum::join(sum, own) : sum + own;
        }
        mine[column] = sum;
    }
    if (!is_last_block(arrived + row, gridDim.x)) return;
    partial += row * gridDim.x * width;
    for (int column = threadIdx.x; column < width; column += lbfgs_threads) {
        double sum = partial[column];
#pragma unroll 4
        for (int block = 1; block < int(gridDim.x); block++) {
            const double own = partial[int64(block) * width + column];
            sum = column == record_largest ? Maximum::join(sum, own) : sum + own;
        }
        record[row * width + column] = at.is_valid ? sum : not_a_number<double>();
    }
}
