// Instructions whose operands differ from those of plain ones.
#include "translator.hpp"

namespace softgpu {
namespace {

// The two results of d|p; the second is empty if there is none.
std::pair<string_view, string_view> two_results(string_view word) {
    const size_t bar = word.find('|');
    if (bar == string_view::npos) return {word, {}};
    return {trimmed(word.substr(0, bar)), trimmed(word.substr(bar + 1))};
}

}  // namespace

// setp.lt.and.f32 p|q, a, b, c: p = (a < b) and c, q = not (a < b) and c.
void Translator::compare() {
    const auto [p, q] = two_results(operands[0]);
    std::string name, combination;
    for (const string_view part : parts) {
        if (part == "and" || part == "or" || part == "xor") {
            combination = std::string(part) + ".pred";
        } else {
            name += (name.empty() ? "" : ".") + std::string(part);
        }
    }
    if (combination.empty() && q.empty()) return plain();
    const Operation& comparison = operation(name);
    const bool combines = !combination.empty();
    if (operands.count != 3 + combines) throw Unknown("a comparison of other operands");
    const s32 a = operand(operands[1], comparison.widths[1]);
    const s32 b = operand(operands[2], comparison.widths[2]);
    const s32 c = combines ? operand(operands[3], 'p') : -1;

    // A result may be the guard or c: both are found before one is written.
    Guard given = guard;
    guard = {};
    if (given.place >= 0) {
        const s32 kept = temporary('p').place;
        put("mov.pred", {kept, given.place});
        given.place = kept;
    }
    const s32 straight = temporary('p').place, opposite = temporary('p').place;
    put(comparison, {straight, a, b});
    if (!q.empty()) put("not.pred", {opposite, straight});
    if (combines) {
        put(combination, {straight, straight, c});
        if (!q.empty()) put(combination, {opposite, opposite, c});
    }
    guard = given;
    put("mov.pred", {operand(p, 'p'), straight});
    if (!q.empty()) put("mov.pred", {operand(q, 'p'), opposite});
}

// mov, also of the pieces of a register: mov.b64 {%r1, %r2}, %rd1 and back.
void Translator::move() {
    if (operands.count != 2 || operand_text.find('{') == string_view::npos) return plain();
    const int bytes = bytes_of(parts.last());
    if (operands[0].starts_with('{')) {
        const Words pieces = vector_of(operands[0]);
        take_apart(operand(operands[1], width_of_bytes(bytes)), pieces.begin(), pieces.count,
                   bytes);
    } else {
        const Words pieces = vector_of(operands[1]);
        const s32 result = operand(operands[0], width_of_bytes(bytes));
        put_together(result, pieces.begin(), pieces.count, bytes);
    }
}

void Translator::take_apart(s32 value, const string_view* pieces, int count, int bytes) {
    if (count != 2 && count != 4) throw Unknown("a register of so many pieces");
    const char width = width_of_bytes(bytes / 2);
    const std::string bits = std::to_string(8 * bytes);
    for (int half = 0; half < 2; half++) {
        const std::string name = (half ? "high" : "low") + bits;
        const string_view* own = pieces + half * (count / 2);
        if (count == 4) {
            const s32 both = temporary(width).place;
            put(name, {both, value});
            take_apart(both, own, 2, bytes / 2);
        } else if (*own != "_") {
            put(name, {operand(*own, width), value});
        }
    }
}

void Translator::put_together(s32 result, const string_view* pieces, int count, int bytes) {
    if (count != 2 && count != 4) throw Unknown("a register of so many pieces");
    const char width = width_of_bytes(bytes / 2);
    Arguments arguments{result};
    for (int half = 0; half < 2; half++) {
        const string_view* own = pieces + half * (count / 2);
        if (count == 4) {
            const s32 both = temporary(width).place;
            put_together(both, own, 2, bytes / 2);
            arguments.add(both);
        } else {
            arguments.add(operand(*own, width));
        }
    }
    put("join" + std::to_string(8 * bytes), arguments);
}

// The registers of a conversion may be wider than its types: of a source the low part counts, a
// result is extended.
void Translator::convert() {
    if (operands.count != 2) return plain();
    const Operation& o = operation(mnemonic);
    if (o.widths.size() != 2) throw Unknown("a conversion of other operands");
    s32 source;
    if (is_register(operands[1])) {
        Register held = named(operands[1]);
        while (held.width != 'p' && bytes_of_width(held.width) > bytes_of_width(o.widths[1])) {
            const int bytes = bytes_of_width(held.width);
            const Register low = temporary(width_of_bytes(bytes / 2));
            put("low" + std::to_string(8 * bytes), {low.place, held.place});
            held = low;
        }
        if (held.width != o.widths[1]) throw Unknown("a register that does not fit");
        source = held.place;
    } else {
        source = operand(operands[1], o.widths[1]);
    }
    const int bytes = bytes_of_width(o.widths[0]);
    const int held = is_register(operands[0]) ? bytes_of_width(named(operands[0]).width) : bytes;
    if (held <= bytes) {
        put(o, {operand(operands[0], o.widths[0]), source});
        return;
    }
    const s32 narrow = temporary(o.widths[0]).place;
    put(o, {narrow, source});
    const std::string kind = parts[parts.count - 2].starts_with('s') ? "s" : "u";
    const std::string to = kind + std::to_string(8 * held), from = kind + std::to_string(8 * bytes);
    put("cvt." + to + "." + from, {operand(operands[0], width_of_bytes(held)), narrow});
}

// shfl.sync.MODE.b32 d|p, a, b, c, mask
void Translator::shuffle() {
    if (operands.count != 5) throw Unknown("a shuffle of other operands");
    const auto [d, p] = two_results(operands[0]);
    Arguments arguments{operand(d, 'w'), p.empty() ? -1 : operand(p, 'p')};
    for (int i = 1; i < 5; i++) arguments.add(operand(operands[i], 'w'));
    put(mnemonic, arguments);
}

// vote.sync.MODE.TYPE d, {!}a, mask
void Translator::vote() {
    if (operands.count != 3) throw Unknown("a vote of other operands");
    const bool is_negated = operands[1].starts_with('!');
    const s32 result = operand(operands[0], width_of(parts.last()));
    const s32 predicate = operand(operands[1].substr(is_negated), 'p');
    put(mnemonic, {result, predicate, operand(operands[2], 'w')}).number = is_negated;
}

// match.any.sync.TYPE d, a, mask; match.all.sync.TYPE d|p, a, mask; redux.sync.OP.TYPE d, a, mask
void Translator::of_warp() {
    if (operands.count != 3) throw Unknown("an instruction of other operands");
    const auto [d, p] = two_results(operands[0]);
    Arguments arguments{operand(d, 'w')};
    if (parts.has("all")) arguments.add(p.empty() ? -1 : operand(p, 'p'));
    arguments.add(operand(operands[1], width_of(parts.last())));
    arguments.add(operand(operands[2], 'w'));
    put(mnemonic, arguments);
}

// mma: vectors of registers, D, A, B and C.
void Translator::multiply_matrices() {
    const char width = parts.has("f64") ? 'd' : 'w';
    Arguments arguments;
    for (const string_view matrix : operands)
        for (const string_view word : vector_of(matrix)) arguments.add(operand(word, width));
    put(mnemonic, arguments);
}

}  // namespace softgpu
