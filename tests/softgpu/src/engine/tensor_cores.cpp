// mma.m16n8k8: D = A B + C, with factors of few bits and sums in single precision.
#include <cmath>

#include "plain.hpp"

namespace softgpu {

namespace {

constexpr int rows = 16, columns = 8, depth = 8;

struct Fragments {
    f32 a[rows][depth];
    f32 b[depth][columns];
    f32 c[rows][columns];
};

// The exponent of a number that is not 0. As a double no float is subnormal.
s64 exponent(f64 x) {
    return s64(bits<u64>(x) >> 52 & 0x7ff) - 1023;
}
f64 power_of_two(s64 e) {
    return bits<f64>(u64(e + 1023) << 52);
}

// Add products of row m to row m of C as tensor cores do: all are cut off below the last bit kept
// of the largest, and so is the sum. Cut off and scaled to integers, all are exact in a double.
void add_products(Fragments& f, int m, int first, int last, int kept_bits) {
    constexpr s64 none = -100000;
    f64 products[depth][columns], plain[columns];
    s64 largest[columns];
    for (int n = 0; n < columns; n++) {
        plain[n] = f.c[m][n];
        largest[n] = f.c[m][n] != 0 ? exponent(f.c[m][n]) : none;
    }
    for (int k = first; k < last; k++) {
        const f64 a = f.a[m][k];
        for (int n = 0; n < columns; n++) {
            const f64 b = f.b[k][n], product = a * b;
            const s64 e = exponent(a) + exponent(b);
            products[k][n] = product;
            plain[n] += product;
            largest[n] = product != 0 && e > largest[n] ? e : largest[n];
        }
    }
    f64 sums[columns], up[columns];
    for (int n = 0; n < columns; n++) {
        up[n] = power_of_two(largest[n] == none ? 0 : 23 + kept_bits - largest[n]);
        sums[n] = std::trunc(f.c[m][n] * up[n]);
    }
    for (int k = first; k < last; k++)
        for (int n = 0; n < columns; n++) sums[n] += std::trunc(products[k][n] * up[n]);
    for (int n = 0; n < columns; n++) {
        const f64 cut = bits<f64>(bits<u64>(sums[n]) & ~0ull << 29);  // 24 bits
        const bool special = !(std::fabs(plain[n]) <= 0x1p300) || largest[n] == none;
        const f32 sum = special ? f32(plain[n]) : f32(cut / up[n]);
        f.c[m][n] = sum != sum ? bits<f32>(0x7fffffffu) : sum;
    }
}

void multiply(const Machine& m, Fragments& f) {
    const int together = m.settings.mma_products;
    if (together)
        for (int first = 0; first < depth; first += together)
            for (int i = 0; i < rows; i++)
                add_products(f, i, first, std::min(depth, first + together), m.settings.mma_bits);
    else
        for (int i = 0; i < rows; i++)
            for (int n = 0; n < columns; n++) {
                f64 sum = f.c[i][n];
                for (int k = 0; k < depth; k++) sum += f64(f.a[i][k]) * f64(f.b[k][n]);
                f.c[i][n] = f32(sum);
            }
}

// C and D: element i of a lane.
int row_of(int lane, int i) {
    return lane / 4 + (i < 2 ? 0 : 8);
}
int column_of(int lane, int i) {
    return lane % 4 * 2 + i % 2;
}

// Take C from four registers, multiply and add, and give D to the first four.
void finish(Machine& m, const Instruction& s, Fragments& f, int c) {
    for (int i = 0; i < 4; i++)
        for (int lane = 0; lane < lanes; lane++)
            f.c[row_of(lane, i)][column_of(lane, i)] = reg<f32>(m, s.arg[c + i])[lane];
    multiply(m, f);
    for (int i = 0; i < 4; i++)
        for (int lane = 0; lane < lanes; lane++)
            reg<f32>(m, s.arg[i])[lane] = f.c[row_of(lane, i)][column_of(lane, i)];
}

// Four registers of A, two of B.
void run_tf32(Machine& m, const Instruction& s) {
    Fragments f;
    const auto element = [](u32 x) { return bits<f32>(x & 0xffffe000u); };
    for (int lane = 0; lane < lanes; lane++) {
        const int group = lane / 4, within = lane % 4;
        for (int i = 0; i < 4; i++)
            f.a[group + i % 2 * 8][within + i / 2 * 4] = element(reg<u32>(m, s.arg[4 + i])[lane]);
        for (int i = 0; i < 2; i++)
            f.b[within + 4 * i][group] = element(reg<u32>(m, s.arg[8 + i])[lane]);
    }
    finish(m, s, f, 10);
}

// Two registers of A and one of B, each with two elements.
void run_bf16(Machine& m, const Instruction& s) {
    Fragments f;
    const auto element = [](u32 pair, int i) {
        return bits<f32>(i ? pair & 0xffff0000u : pair << 16);
    };
    for (int lane = 0; lane < lanes; lane++) {
        for (int i = 0; i < 4; i++)
            f.a[row_of(lane, i)][column_of(lane, i)] =
                element(reg<u32>(m, s.arg[4 + i / 2])[lane], i % 2);
        for (int i = 0; i < 2; i++)
            f.b[lane % 4 * 2 + i][lane / 4] = element(reg<u32>(m, s.arg[6])[lane], i);
    }
    finish(m, s, f, 7);
}

}  // namespace

void add_tensor_cores(Table& table) {
    table.add("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
              {"", run_tf32, Kind::warp_sync, ""});
    table.add("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32",
              {"", run_bf16, Kind::warp_sync, ""});
}

}  // namespace softgpu
