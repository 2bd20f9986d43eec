// Matrices in CSR form: the entries of a row, and those of all rows. Row pointers are data of the
// caller, so they are checked before they are followed.
#pragma once
#include "prelude.cuh"

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int long_row = 1024;  // a row of more entries is shared by all warps of a block

// The entries of a row. If its ends are out of range it has none, and its sum becomes NaN.
struct Row {
    int64 begin, end;
    bool is_whole;

    template <typename I>
    __device__ Row(const I* indptr, int row, int64 entries)
        : begin(indptr[row]), end(indptr[row + 1]) {
        is_whole = 0 <= begin && begin <= end && end <= entries;
        if (!is_whole) begin = end = 0;
    }
    __device__ Row(int64 begin, int64 end) : begin(begin), end(end), is_whole(true) {}
    __device__ bool is_long() const { return end - begin > long_row; }
};

// The entries of all rows. The arrays may hold more before and after them, which belong to other
// rows of a longer matrix.
struct Entries {
    int64 begin, count;

    template <typename I>
    __device__ Entries(const I* indptr, int rows, int64 entries) {
        begin = least(largest(int64(indptr[0]), int64(0)), entries);
        count = least(largest(int64(indptr[rows]), begin), entries) - begin;
    }
};
