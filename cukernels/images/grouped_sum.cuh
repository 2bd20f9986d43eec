// A sum that very many blocks share, as in the gradient of filters: each has some of the places.
#pragma once
#include "gemm.cuh"

// As SplitSum of gemm.cuh, but for many more parts than one block could add up in a short time. So
// groups of `of_group` parts are added up first, and then the sums of the groups, both in their
// order, by the block that comes last. The rows of parts are padded to whole vectors.
template <typename T>
struct GroupedSum {
    static constexpr int V = vector_length<T>;

    T* parts;           // the tile's corner in the first part, aligned to 16 bytes
    int64 apart;        // elements from one part to the next
    unsigned* arrived;  // the tile's counters: one for each group, and one for the groups
    int index, count;   // the block's own part, and how many there are; of one, none is stored
    int of_group;
    int row;            // elements from one row of a part to the next
    int rows, columns;  // of the tile that lie in a part

    // Put the tile of all sums in the place of the block's own, c. Returns whether this block is
    // the last one; the others are done. Each thread reads and writes the same vectors in every
    // step, so no barriers are needed between these.
    template <typename Tile, typename Staged>
    __device__ bool join(T* c) const {
        if (count == 1) return true;
        each_vector<Tile>(
            [&](int m, int n) { ::store(at(index, m, n), load<V>(Staged::at(c, n, m))); });
        const int groups = divide_up(count, of_group), group = index / of_group;
        const int first = group * of_group, own = least(of_group, count - first);
        if (!is_last_block(arrived + group, own)) return false;
        each_vector<Tile>([&](int m, int n) {
            const Vector<T, V> x = sum(first, 1, own, m, n);
            ::store(groups == 1 ? Staged::at(c, n, m) : at(first, m, n), x);
        });
        if (groups == 1) return true;
        if (!is_last_block(arrived + groups, groups)) return false;
        each_vector<Tile>(
            [&](int m, int n) { ::store(Staged::at(c, n, m), sum(0, of_group, groups, m, n)); });
        return true;
    }

    __device__ T* at(int part, int m, int n) const {
        return parts + part * apart + int64(m) * row + n;
    }

    // The sum of a vector of the parts first, first + step, ...
    __device__ Vector<T, V> sum(int first, int step, int terms, int m, int n) const {
        const T* from = at(first, m, n);
        Vector<T, V> x = {};
#pragma unroll 8
        for (int i = 0; i < terms; i++) {
            const Vector<T, V> part = load<V>(from + i * (step * apart));
#pragma unroll
            for (int e = 0; e < V; e++) x[e] += part[e];
        }
        return x;
    }

    // Call body(m, n) for the vectors of the tile that this thread hands to the epilogue.
    template <typename Tile, typename Body>
    __device__ void each_vector(const Body& body) const {
        constexpr int vectors = Tile::N / V;
        const int n = int(threadIdx.x) % vectors * V;
        if (n >= columns) return;
        for (int m = int(threadIdx.x) / vectors; m < rows; m += Tile::threads / vectors) body(m, n);
    }
};
