// The perceptron's online rule, exactly: one launch sweeps over all samples, with a block for each
// problem.
//
// A problem is one class of a model against the rest, or a whole model, whose classes then compete
// (`multinomial`). The rule takes samples one after the other. What can be computed in parallel is
// computed for a group of 32 samples:
//
//   1. All warps compute the products of the group's samples with the weights at its beginning.
//   2. One warp goes from mistake to mistake, with a lane for each sample. An update of c at sample
//      j adds c * x_j . x_i to the product of the weights with a later sample i. These dot products
//      are in the group's Gram matrix. An earlier launch has computed it for all groups, once for
//      all problems that see the samples in the same order.
//   3. All warps add the samples of the mistakes to the weights.
//
// An L2 penalty multiplies all weights, and so all products, by the share that it leaves at each
// sample. An L1 penalty truncates each weight by itself, so with it, and for sparse samples, the
// sweep goes sample by sample.
//
// Biases are summed in double precision, and kept apart from the products until a score is judged:
// a product may be too small for T to add it to a bias, and still decide.
#include "prelude.cuh"

constexpr int sweep_threads = 256;
constexpr int group_size = 32;  // samples
constexpr int gram_size = group_size * group_size;

// The sample of a step. A number out of range stands for the nearest sample.
__device__ inline int64 visited(const int64* order, int64 step, int64 samples) {
    return order ? least(largest(order[step], int64(0)), samples - 1) : step;
}

// gram[r][g][i][j] = x_i . x_j for the samples of group g in the r-th order. The first group begins
// with step `begin`, and the last one ends before step `end`. Grid: (groups, orders).
template <typename T>
__global__ void __launch_bounds__(sweep_threads)
    gram(const T* __restrict__ x, const int64* __restrict__ order, int64 order_row,
         T* __restrict__ gram, int64 begin, int64 end, int64 samples, int d) {
    __shared__ T tile[group_size][group_size + 1];  // an odd row length avoids bank conflicts
    const int lane = lane_id(), warp = warp_id();
    constexpr int warps = sweep_threads / warp_size, passes = group_size / warps;
    const int64 first = begin + int64(blockIdx.x) * group_size;
    if (order) order += blockIdx.y * order_row;
    const T* row[passes];
#pragma unroll
    for (int p = 0; p < passes; p++) {
        const int64 step = first + warp + p * warps;
        row[p] = step < end ? x + visited(order, step, samples) * d : nullptr;
    }
    T sum[passes] = {};
    for (int column = lane; column - lane < d; column += group_size) {
        __syncthreads();
#pragma unroll
        for (int p = 0; p < passes; p++)
            tile[warp + p * warps][lane] = row[p] && column < d ? row[p][column] : T(0);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < group_size; k++) {
            const T right = tile[lane][k];
#pragma unroll
            for (int p = 0; p < passes; p++) sum[p] += tile[warp + p * warps][k] * right;
        }
    }
    gram += (int64(blockIdx.y) * gridDim.x + blockIdx.x) * gram_size;
#pragma unroll
    for (int p = 0; p < passes; p++) gram[(warp + p * warps) * group_size + lane] = sum[p];
}

// Numbers of the classes of a problem, each `of_class` elements after the one before; 0 if they
// share one. Null stands for zeros.
template <typename T>
struct OfClasses {
    const T* first;
    int64 of_class;

    // Those of this block's problem; two problems lie `of_problem` elements apart.
    __device__ OfClasses(const T* all, int64 of_problem, int64 of_class)
        : first(all ? all + blockIdx.x * of_problem : nullptr), of_class(of_class) {}
    __device__ T operator()(int c, int64 i = 0) const {
        return first ? first[c * of_class + i] : T(0);
    }
};

// The arguments of a sweep, besides the samples. A row is a class of a model.
template <typename T>
struct Sweep {
    const int64 *order, *y, *classes;  // (n) or null: 0, 1, ...; (N); (rows) or null: multinomial
    T* w;                              // (rows, d)
    double* b;                         // (rows)
    OfClasses<double> eta;             // n or 1 for each class
    int64 eta_step;
    OfClasses<T> weight;  // N for each class, or null, which here stands for ones
    OfClasses<T> alpha, l1_ratio;
    T *due, *paid, *norms;  // (rows), (rows, d), (rows, 2), or null
    T* objective;           // (problems)
    double* record;         // (problems, 2), or null
    double bias_rate;
    int64 samples, begin, end;  // N; the first step, and the one after the last
    int d, k;                   // features; classes of a problem

    __device__ int64 sample(int64 step) const { return visited(order, step, samples); }
    __device__ double rate(int c, int64 step) const { return eta(c, step * eta_step); }
    __device__ double size(int c, int64 step, int64 sample) const {
        const double own = rate(c, step);
        return weight.first ? own * double(weight(c, sample)) : own;
    }
    // Rounded before it is added, as on a CPU: its last bit decides where products are small.
    __device__ double bias_change(double change) const { return __dmul_rn(bias_rate, change); }
};

// The state of a class during a sweep, in shared memory.
template <typename T>
struct Class {
    double bias, change;
    double norms[2];    // squared L2 norm and L1 norm of the weights
    double counted[2];  // the norms at the last update, shrunk since: those in the objective
    double objective;
    T kept;    // the share of the weights that L2 leaves at the present sample
    T scale;   // the weights are this times what is stored, so that L2 need not touch each
    T l1, l2;  // strengths of the penalties
    T due;
    unsigned changed;  // bit i: sample i of the group has updated the class

    __device__ double penalty() const {
        return double(l1) * counted[1] + double(l2) / 2 * counted[0];
    }

    __device__ void shrink(double rate) {
        kept = T(largest(1.0 - double(l2) * rate, 0.0));
        const double share = double(kept);
        norms[0] *= share * share, norms[1] *= share;
        counted[0] *= share * share, counted[1] *= share;
    }
};

static_assert(sizeof(Class<float>) == 80 && sizeof(Class<double>) == 104,
              "as perceptron/perceptron_cuda.py has it");

// The sums of w^2 and |w| over all features, in all threads.
template <typename T>
__device__ inline void measure(const T* w, int d, double (&norms)[2]) {
    double squares = 0, sizes = 0;
    for (int i = threadIdx.x; i < d; i += sweep_threads) {
        const double value = double(w[i]);
        squares += value * value, sizes += fabs(value);
    }
    norms[0] = block_reduce<Sum, sweep_threads>(squares);
    norms[1] = block_reduce<Sum, sweep_threads>(sizes);
}

// Fill in the classes of a problem, whose first row is `first`. Return whether there is an L1
// penalty.
template <typename T>
__device__ inline bool begin_classes(const Sweep<T>& s, int64 first, Class<T>* classes) {
    bool has_l1 = false;
    for (int c = 0; c < s.k; c++) {
        const int64 row = first + c;
        const T alpha = s.alpha(c), ratio = s.l1_ratio(c);
        double norms[2] = {};
        const bool has_norms = alpha != 0 || s.norms;
        if (has_norms) measure(s.w + row * s.d, s.d, norms);
        has_l1 |= alpha * ratio != 0;
        if (threadIdx.x == 0) {
            Class<T>& own = classes[c];
            own.bias = s.b[row];
            own.l1 = alpha * ratio;
            own.l2 = alpha * (T(1) - ratio);
            own.scale = own.kept = 1;
            own.due = s.due ? s.due[row] : T(0);
            own.objective = 0;
            for (int i = 0; i < 2; i++) {
                own.norms[i] = norms[i];
                own.counted[i] = s.norms ? double(s.norms[row * 2 + i]) : norms[i];
            }
        }
    }
    __syncthreads();
    return has_l1;
}

// Write back what a sweep has changed besides the weights. The record says whether all weights and
// biases are finite, so that the host need not look at them.
template <typename T>
__device__ inline void end_classes(const Sweep<T>& s, int64 first, const Class<T>* classes) {
    __syncthreads();
    int strange = 0;
    if (s.record) {
        const T* const w = s.w + first * s.d;
        for (int64 i = threadIdx.x; i < int64(s.k) * s.d; i += sweep_threads)
            strange += !(fabs(w[i]) < infinity<T>());
        for (int c = threadIdx.x; c < s.k; c += sweep_threads)
            strange += !(fabs(classes[c].bias) < infinity<double>());
        strange = block_reduce<Sum, sweep_threads>(strange);
    }
    if (threadIdx.x != 0) return;
    double objective = 0;
    for (int c = 0; c < s.k; c++) {
        const int64 row = first + c;
        const Class<T>& own = classes[c];
        objective += own.objective;
        s.b[row] = own.bias;
        if (s.due) s.due[row] = own.due;
        if (s.norms)
            for (int i = 0; i < 2; i++) s.norms[row * 2 + i] = T(own.counted[i]);
    }
    const T sum = T(objective) + (s.begin ? s.objective[blockIdx.x] : T(0));
    s.objective[blockIdx.x] = sum;
    if (s.record) {
        s.record[2 * blockIdx.x] = double(sum);
        s.record[2 * blockIdx.x + 1] = strange ? 0.0 : 1.0;
    }
}

// --- Sample by sample --------------------------------------------------------------------------

template <typename T>
struct DenseSamples {
    const T* x;  // (N, d)
    int d;

    // Call f(column, value) for this thread's values of a sample: every `stride`-th from `first`
    // on.
    template <typename F>
    __device__ void each(int64 sample, int first, int stride, const F& f) const {
        for (int i = first; i < d; i += stride) f(i, x[sample * d + i]);
    }
};

template <typename T, typename Index>
struct SparseSamples {
    const T* data;
    const Index *indices, *indptr;
    int64 entries;
    int d;

    template <typename F>
    __device__ void each(int64 sample, int first, int stride, const F& f) const {
        const int64 begin = largest(int64(indptr[sample]), int64(0));
        const int64 end = least(int64(indptr[sample + 1]), entries);
        for (int64 i = begin + first; i < end; i += stride)
            if (is_within(indices[i], d)) f(int64(indices[i]), data[i]);
    }
};

// scores[c] = w_c . x, without the bias. Each class has a warp; a single class has all warps.
template <bool multinomial, typename T, typename Samples>
__device__ inline void score_sample(const Sweep<T>& s, const Samples& samples, int64 first,
                                    int64 sample, const Class<T>* classes, T* scores) {
    if constexpr (multinomial) {
        for (int c = warp_id(); c < s.k; c += sweep_threads / warp_size) {
            const T* w = s.w + (first + c) * s.d;
            T sum = 0;
            samples.each(sample, lane_id(), warp_size, [&](int64 i, T x) { sum += w[i] * x; });
            sum = warp_reduce<Sum>(sum);
            if (lane_id() == 0) scores[c] = classes[c].scale * sum;
        }
    } else {
        const T* w = s.w + first * s.d;
        T sum = 0;
        samples.each(sample, threadIdx.x, sweep_threads, [&](int64 i, T x) { sum += w[i] * x; });
        sum = block_reduce<Sum, sweep_threads>(sum);
        if (threadIdx.x == 0) scores[0] = classes[0].scale * sum;
    }
    __syncthreads();
}

// The direction in which a mistake moves the score of class c: 1, -1, or 0 for no mistake.
template <bool multinomial>
__device__ inline double correction(int c, int64 label, int winner, int64 own_label, double score) {
    if constexpr (multinomial) return double(int(c == label) - int(c == winner));
    const double target = label == own_label ? 1.0 : -1.0;
    return target * score <= 0 ? target : 0.0;
}

template <bool multinomial, typename T, typename Samples>
__device__ inline void sweep_samples(const Sweep<T>& s, const Samples& samples, int64 first,
                                     Class<T>* classes, T* scores) {
    __shared__ bool must_flush;  // whether the weights are to be multiplied by their scale
    for (int64 step = s.begin; step < s.end; step++) {
        const int64 sample = s.sample(step);
        score_sample<multinomial>(s, samples, first, sample, classes, scores);
        // One thread applies the rule; a barrier follows before the others read its results.
        if (threadIdx.x == 0) {
            int winner = 0;
            double best = double(scores[0]) + classes[0].bias;
            for (int c = 1; c < s.k; c++) {
                const double score = double(scores[c]) + classes[c].bias;
                if (score > best) best = score, winner = c;
            }
            must_flush = false;
            for (int c = 0; c < s.k; c++) {
                Class<T>& own = classes[c];
                const int64 row = first + c;
                const double score = double(scores[c]) + own.bias;
                const double error = correction<multinomial>(
                    c, s.y[sample], winner, multinomial ? 0 : s.classes[row], score);
                own.objective += own.penalty() - error * score;
                own.shrink(s.rate(c, step));
                own.scale *= own.kept;
                own.change = error * s.size(c, step, sample);
                own.bias += s.bias_change(own.change);
                own.due += T(double(own.l1) * s.rate(c, step));
                must_flush |= own.scale < T(1e-6);
            }
        }
        __syncthreads();
        if (must_flush) {
            for (int c = 0; c < s.k; c++)
                for (int i = threadIdx.x; i < s.d; i += sweep_threads)
                    s.w[(first + c) * s.d + i] *= classes[c].scale;
            __syncthreads();
            if (threadIdx.x == 0)
                for (int c = 0; c < s.k; c++) classes[c].scale = 1;
            __syncthreads();
        }
        for (int c = 0; c < s.k; c++) {
            const Class<T>& own = classes[c];
            if (own.change == 0 && own.l1 == 0) continue;
            T* w = s.w + (first + c) * s.d;
            T* paid = own.l1 != 0 ? s.paid + (first + c) * s.d : nullptr;
            double updated[2] = {}, truncated[2] = {};  // changes of the norms by each part
            samples.each(sample, threadIdx.x, sweep_threads, [&](int64 i, T x) {
                const T before = own.scale * w[i], after = before + T(own.change) * x;
                updated[0] += double(after) * double(after) - double(before) * double(before);
                updated[1] += fabs(double(after)) - fabs(double(before));
                T left = after;
                if (paid) {
                    const T sign = after > 0 ? T(1) : after < 0 ? T(-1) : T(0);
                    left = sign * largest(sign * (after - paid[i]) - own.due, T(0));
                    paid[i] += left - after;
                    truncated[0] += double(left) * double(left) - double(after) * double(after);
                    truncated[1] += fabs(double(left)) - fabs(double(after));
                }
                w[i] = left / own.scale;
            });
            if (own.l1 == 0 && own.l2 == 0 && !s.norms) continue;
            for (int i = 0; i < 2; i++) {
                updated[i] = block_reduce<Sum, sweep_threads>(updated[i]);
                truncated[i] = block_reduce<Sum, sweep_threads>(truncated[i]);
            }
            if (threadIdx.x == 0)
                for (int i = 0; i < 2; i++) {
                    classes[c].norms[i] += updated[i];
                    if (own.change != 0) classes[c].counted[i] = classes[c].norms[i];
                    classes[c].norms[i] += truncated[i];
                }
        }
        __syncthreads();
    }
    for (int c = 0; c < s.k; c++)
        for (int i = threadIdx.x; i < s.d; i += sweep_threads)
            s.w[(first + c) * s.d + i] *= classes[c].scale;
}

// --- Group by group ----------------------------------------------------------------------------

// products[c][i] = w_c . x_i for the samples of a group. A warp has 4 samples, so that it loads
// each weight once for all 4 of them.
template <typename T>
__device__ inline void score_group(const T* x, const T* w, const int64* rows, int count, int d,
                                   int k, T* products) {
    constexpr int together = group_size / (sweep_threads / warp_size);
    const int begin = warp_id() * together;
    const T* sample[together];
#pragma unroll
    for (int i = 0; i < together; i++) sample[i] = x + rows[least(begin + i, count - 1)] * d;
    for (int c = 0; c < k; c++) {
        T sum[together] = {};
#pragma unroll 4
        for (int column = lane_id(); column < d; column += warp_size) {
            const T weight = w[int64(c) * d + column];
#pragma unroll
            for (int i = 0; i < together; i++) sum[i] += weight * sample[i][column];
        }
#pragma unroll
        for (int i = 0; i < together; i++) {
            sum[i] = warp_reduce<Sum>(sum[i]);
            if (lane_id() == 0) products[c * group_size + begin + i] = sum[i];
        }
    }
}

// Go from mistake to mistake with one warp, whose lanes have a sample each. `changes` become the
// multiples of the group's samples that are added to each class, and `scale` of a class the share
// that is left of its weights. With an L2 penalty every sample counts as a mistake, as it shrinks
// the weights even if nothing is added.
template <bool multinomial, typename T>
__device__ inline void walk_group(const Sweep<T>& s, int64 first, int64 begin, const int64* rows,
                                  int count, const T* gram, Class<T>* classes, T* products,
                                  T* changes) {
    const int lane = lane_id();
    const bool inside = lane < count;
    const int64 label = inside ? s.y[rows[lane]] : 0;
    bool shrinks = false;
    for (int c = 0; c < s.k; c++) {
        changes[c * group_size + lane] = 0;
        shrinks |= classes[c].l2 != 0;
    }
    __syncwarp();
    for (int next = 0;;) {
        int winner = 0;
        bool wrong = false;
        if (inside) {
            double best = double(products[lane]) + classes[0].bias;
            if constexpr (multinomial) {
                for (int c = 1; c < s.k; c++) {
                    const double score = double(products[c * group_size + lane]) + classes[c].bias;
                    if (score > best) best = score, winner = c;
                }
                wrong = winner != label;
            } else {
                wrong = correction<false>(0, label, 0, s.classes[first], best) != 0;
            }
        }
        const unsigned waiting =
            __ballot_sync(full_warp, inside && lane >= next && (wrong || shrinks));
        if (!waiting) break;
        const int j = __ffs(int(waiting)) - 1;
        next = j + 1;
        const int64 label_j = __shfl_sync(full_warp, label, j);
        const int winner_j = __shfl_sync(full_warp, winner, j);
        for (int c = 0; c < s.k; c++) {
            if (multinomial && !shrinks && c != label_j && c != winner_j) continue;
            const int64 row = first + c;
            T* own = products + c * group_size;
            const double product = double(own[j]), score = product + classes[c].bias;
            const double error = correction<multinomial>(c, label_j, winner_j,
                                                         multinomial ? 0 : s.classes[row], score);
            const double change = error * s.size(c, begin + j, rows[j]);
            const double rate = s.rate(c, begin + j);
            __syncwarp();  // all lanes have read what lane 0 changes now
            if (lane == 0) {
                Class<T>& it = classes[c];
                it.objective += it.penalty() - error * score;
                it.shrink(rate);
                it.scale *= it.kept;
                it.bias += s.bias_change(change);
                if (change != 0) {
                    it.norms[0] += change * (2 * double(it.kept) * product +
                                             change * double(gram[j * group_size + j]));
                    it.counted[0] = it.norms[0];
                }
            }
            __syncwarp();
            const T kept = classes[c].kept;
            own[lane] = kept * own[lane] + T(change) * gram[j * group_size + lane];
            T& own_change = changes[c * group_size + lane];
            own_change = lane == j ? T(change) : kept * own_change;
            __syncwarp();
        }
    }
    for (int c = 0; c < s.k; c++) {
        const unsigned bits = __ballot_sync(full_warp, changes[c * group_size + lane] != 0);
        if (lane == 0) classes[c].changed = bits;
    }
}

// `room` is shared memory for the arrays below, and for the weights too if `w_is_shared`.
template <bool multinomial, typename T>
__device__ inline void sweep_groups(const Sweep<T>& s, const T* x, const T* gram, int64 first,
                                    Class<T>* classes, T* room, bool w_is_shared) {
    __shared__ int64 rows[group_size];
    T* const products = room;                        // (k, group_size)
    T* const changes = products + s.k * group_size;  // (k, group_size)
    T* const own_gram = changes + s.k * group_size;  // (group_size, group_size)
    T* const w = w_is_shared ? own_gram + gram_size : s.w + first * s.d;  // (k, d)
    const int64 size = int64(s.k) * s.d;
    if (w_is_shared)
        for (int64 i = threadIdx.x; i < size; i += sweep_threads) w[i] = s.w[first * s.d + i];
    for (int64 begin = s.begin; begin < s.end; begin += group_size) {
        const int count = int(least(s.end - begin, int64(group_size)));
        if (int(threadIdx.x) < count) rows[threadIdx.x] = s.sample(begin + threadIdx.x);
        for (int i = threadIdx.x; i < gram_size; i += sweep_threads)
            own_gram[i] = gram[(begin - s.begin) * group_size + i];
        __syncthreads();
        score_group(x, w, rows, count, s.d, s.k, products);
        __syncthreads();
        if (warp_id() == 0)
            walk_group<multinomial>(s, first, begin, rows, count, own_gram, classes, products,
                                    changes);
        __syncthreads();
        for (int c = 0; c < s.k; c++) {
            const T scale = classes[c].scale;
            const unsigned bits = classes[c].changed;
            if (!bits && scale == 1) continue;
            for (int i = threadIdx.x; i < s.d; i += sweep_threads) {
                T sum = scale * w[int64(c) * s.d + i];
                for (unsigned left = bits; left; left &= left - 1) {
                    const int j = __ffs(int(left)) - 1;
                    sum += changes[c * group_size + j] * x[rows[j] * s.d + i];
                }
                w[int64(c) * s.d + i] = sum;
            }
        }
        __syncthreads();
        for (int c = threadIdx.x; c < s.k; c += sweep_threads) classes[c].scale = 1;
    }
    __syncthreads();
    if (w_is_shared)
        for (int64 i = threadIdx.x; i < size; i += sweep_threads) s.w[first * s.d + i] = w[i];
    for (int c = 0; s.norms && c < s.k; c++) {
        double norms[2];
        measure(w + int64(c) * s.d, s.d, norms);
        if (threadIdx.x == 0) classes[c].counted[0] = norms[0], classes[c].counted[1] = norms[1];
    }
}

// Which of several orders a problem follows. A number out of range stands for the nearest one.
__device__ inline int64 followed(const int64* follows, int64 orders, int64 row) {
    return follows ? least(largest(follows[row], int64(0)), orders - 1) : 0;
}

// Two problems have their numbers `*_problem` elements apart, and two classes of a problem
// `*_class`. Grid: (problems). Without Gram matrices, for which there may be no room in shared
// memory, the sweep goes sample by sample.
template <typename T, bool multinomial>
__global__ void __launch_bounds__(sweep_threads, 1)
    perceptron_sweep(const T* x, const T* gram, int64 gram_row, const int64* order, int64 order_row,
                     int64 orders, const int64* follows, const int64* y, const int64* classes, T* w,
                     double* b, const double* eta, int64 eta_problem, int64 eta_class,
                     int64 eta_step, const T* weight, int64 weight_problem, int64 weight_class,
                     const T* alpha, int64 alpha_problem, int64 alpha_class, const T* l1_ratio,
                     int64 l1_ratio_problem, int64 l1_ratio_class, T* due, T* paid, T* norms,
                     T* objective, double* record, double bias_rate, int64 samples, int64 begin,
                     int64 end, int d, int k, bool w_is_shared) {
    const int64 first = int64(blockIdx.x) * k;
    const int64 mine = followed(follows, orders, first);
    const int64* const own = order ? order + mine * order_row : nullptr;
    const Sweep<T> s{own,
                     y,
                     classes,
                     w,
                     b,
                     {eta, eta_problem, eta_class},
                     eta_step,
                     {weight, weight_problem, weight_class},
                     {alpha, alpha_problem, alpha_class},
                     {l1_ratio, l1_ratio_problem, l1_ratio_class},
                     due,
                     paid,
                     norms,
                     objective,
                     record,
                     bias_rate,
                     samples,
                     begin,
                     end,
                     d,
                     k};
    if (gram) gram += mine * gram_row;
    Class<T>* const state = dynamic_shared<Class<T>>();
    T* const room = reinterpret_cast<T*>(state + k);
    if (begin_classes(s, first, state) || !gram)
        sweep_samples<multinomial>(s, DenseSamples<T>{x, d}, first, state, room);
    else
        sweep_groups<multinomial>(s, x, gram, first, state, room, w_is_shared);
    end_classes(s, first, state);
}

template <typename T, typename Index, bool multinomial>
__global__ void __launch_bounds__(sweep_threads, 1)
    csr_perceptron_sweep(const T* data, const Index* indices, const Index* indptr,
                         const int64* order, int64 order_row, int64 orders, const int64* follows,
                         const int64* y, const int64* classes, T* w, double* b, const double* eta,
                         int64 eta_problem, int64 eta_class, int64 eta_step, const T* weight,
                         int64 weight_problem, int64 weight_class, const T* alpha,
                         int64 alpha_problem, int64 alpha_class, const T* l1_ratio,
                         int64 l1_ratio_problem, int64 l1_ratio_class, T* due, T* paid, T* norms,
                         T* objective, double* record, double bias_rate, int64 samples, int64 begin,
                         int64 end, int d, int k, int64 entries) {
    const int64 first = int64(blockIdx.x) * k;
    const int64 mine = followed(follows, orders, first);
    const int64* const own = order ? order + mine * order_row : nullptr;
    const Sweep<T> s{own,
                     y,
                     classes,
                     w,
                     b,
                     {eta, eta_problem, eta_class},
                     eta_step,
                     {weight, weight_problem, weight_class},
                     {alpha, alpha_problem, alpha_class},
                     {l1_ratio, l1_ratio_problem, l1_ratio_class},
                     due,
                     paid,
                     norms,
                     objective,
                     record,
                     bias_rate,
                     samples,
                     begin,
                     end,
                     d,
                     k};
    Class<T>* const state = dynamic_shared<Class<T>>();
    begin_classes(s, first, state);
    sweep_samples<multinomial>(s, SparseSamples<T, Index>{data, indices, indptr, entries, s.d},
                               first, state, reinterpret_cast<T*>(state + k));
    end_classes(s, first, state);
}
