// The minibatch of the next step: rows of the samples and targets, picked by a table, and the row
// of the step of other tables.
#include "division.cuh"
#include "elementwise.cuh"
#include "words.cuh"

// A sample as a thread copies it: words that stay what they are, or bytes that become numbers.
template <typename From, typename To>
__device__ inline void convert(const From& from, To& to) {
    if constexpr (sizeof(From) == sizeof(To))
        to = from;
    else
        to = To(from);
}

// Copy the row `step` of a table, in words of 4 bytes; a null table has none.
__device__ inline void take_row(const unsigned* table, unsigned* own, int words, int step,
                                int first, int stride) {
    if (!table) return;
    table += int64(step) * words;
    for (int i = first; i < words; i += stride) own[i] = table[i];
}

// rows, and places or null: (steps, groups, size); x: (rows_of_x, x_words) of From; batch: (groups
// * size, x_words) of To, n in all. y: (rows_of_y, y_words), targets: (models, size, y_words),
// `targets_words` in all; group: (models), or null where each model is one. settings, weight and
// changes are tables of
// `*_words` a step, or null. The last three rows of arguments are as `take_row` has them. All but x
// is copied in words of 4 bytes. The last block counts the step, after all have read its number.
template <typename From, typename To>
__global__ void __launch_bounds__(elementwise_threads)
    take_step(int* step, int steps, unsigned* arrived, const int* __restrict__ rows, int groups,
              int size, const int* __restrict__ places, int64 rows_of_x, const byte* __restrict__ x,
              byte* __restrict__ batch, int n, int x_words, uint64 by_x_words, int64 rows_of_y,
              const unsigned* __restrict__ y, unsigned* __restrict__ targets, int targets_words,
              int y_words, uint64 by_y_words, uint64 by_size, const int* __restrict__ group,
              const unsigned* __restrict__ settings, unsigned* __restrict__ own_settings,
              int settings_words, const unsigned* __restrict__ weight,
              unsigned* __restrict__ own_weight, int weight_words,
              const unsigned* __restrict__ changes, unsigned* __restrict__ own_changes,
              int changes_words) {
    const bool is_step = is_within(*step, steps);
    const int now = is_step ? *step : 0;
    if (!is_step) rows_of_x = rows_of_y = 0;  // so that there is no such row
    const int first = int(blockIdx.x) * elementwise_threads + int(threadIdx.x);
    const int stride = int(gridDim.x) * elementwise_threads;
    rows += int64(now) * groups * size;
    places = places ? places + int64(now) * groups * size : rows;

    const From* from = reinterpret_cast<const From*>(x);
    To* to = reinterpret_cast<To*>(batch);
#pragma unroll 4
    for (int i = first; i < n; i += stride) {
        const int place = quotient(i, by_x_words);
        const int64 row = places[place];
        if (is_within(row, rows_of_x))
            convert(from[row * x_words + (i - place * x_words)], to[i]);
        else
            set_bits(to[i]);
    }
    for (int i = first; i < targets_words; i += stride) {
        int place = quotient(i, by_y_words);
        const int word = i - place * y_words;
        if (group) {
            const int model = quotient(place, by_size), own = group[model];
            place = is_within(own, groups) ? place + (own - model) * size : -1;
        }
        const int64 row = place < 0 ? -1 : rows[place];
        targets[i] = is_within(row, rows_of_y) ? y[row * y_words + word] : ~0u;
    }
    take_row(settings, own_settings, settings_words, now, first, stride);
    take_row(weight, own_weight, weight_words, now, first, stride);
    take_row(changes, own_changes, changes_words, now, first, stride);
    if (is_last_block(arrived, gridDim.x) && threadIdx.x == 0)
        *step = now + 1 == steps ? 0 : now + 1;
}
