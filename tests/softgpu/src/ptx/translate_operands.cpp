// Operands: registers, constants, variables, addresses.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "translator.hpp"

namespace softgpu {
namespace {

constexpr std::pair<string_view, Special> specials_by_name[] = {
    {"%tid.x", Special::tid_x},       {"%tid.y", Special::tid_y},
    {"%tid.z", Special::tid_z},       {"%ntid.x", Special::ntid_x},
    {"%ntid.y", Special::ntid_y},     {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x},   {"%ctaid.y", Special::ctaid_y},
    {"%ctaid.z", Special::ctaid_z},   {"%nctaid.x", Special::nctaid_x},
    {"%nctaid.y", Special::nctaid_y}, {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::laneid},     {"%warpid", Special::warpid},
};

// %lanemask_lt and its like.
u32 lane_mask(string_view comparison, int lane) {
    const u32 own = 1u << lane, less = own - 1;
    if (comparison == "eq") return own;
    if (comparison == "lt") return less;
    if (comparison == "le") return less | own;
    if (comparison == "gt") return ~(less | own);
    if (comparison == "ge") return ~less;
    throw Unknown("no register %lanemask_" + std::string(comparison));
}

bool is_number(string_view word) {
    const size_t at = word.starts_with('-') || word.starts_with('+');
    return at < word.size() && word[at] >= '0' && word[at] <= '9';
}

// A name and what is added to it, as in var+8, %rd1+-8 and %r1-4.
struct Sum {
    string_view name;
    s64 offset;
};
Sum apart(string_view word) {
    const size_t at = word.find_first_of("+-", 1);
    if (at == string_view::npos) return {word, 0};
    const size_t number = word[at] == '+' ? at + 1 : at;
    return {trimmed(word.substr(0, at)), integer(trimmed(word.substr(number)))};
}

// 0f3F800000, 0d3FF0000000000000 and 1.5.
u64 bits_of_float(string_view word, char width) {
    u64 bits = 0;
    if (word[0] == '0' && word.size() > 1 && std::strchr("fFdD", word[1])) {
        const char wanted = word[1] == 'f' || word[1] == 'F' ? 'w' : 'd';
        const auto end = word.data() + word.size();
        const auto found = std::from_chars(word.data() + 2, end, bits, 16);
        if (wanted != width || found.ptr != end) throw Unknown("a constant " + std::string(word));
    } else {
        f64 value = 0;
        std::from_chars(word.data(), word.data() + word.size(), value);
        const f32 single = f32(value);
        if (width == 'd') {
            std::memcpy(&bits, &value, sizeof value);
        } else if (width == 'w') {
            std::memcpy(&bits, &single, sizeof single);
        } else {
            throw Unknown("a constant " + std::string(word));
        }
    }
    return bits;
}

bool is_float(string_view word) {
    if (word.size() > 1 && word[0] == '0' && std::strchr("fFdDxXbB", word[1]))
        return std::strchr("fFdD", word[1]) != nullptr;
    return word.find('.') != string_view::npos;
}

}  // namespace

s32 Translator::operand(string_view word, char width) {
    if (word.empty()) throw Unknown("an operand is missing");
    if (word == "_") return sink(width);
    if (width == 'p' && word[0] == '!') return negated(trimmed(word.substr(1)));
    if (is_number(word)) return literal(word, width);
    const Register r = named(word);
    if (r.place >= 0) {
        if (r.width != width)
            throw Unknown(softgpu::text("%.*s has %d bytes, where %d are taken", int(word.size()),
                                        word.data(), bytes_of_width(r.width),
                                        bytes_of_width(width)));
        return r.place;
    }
    const Sum sum = apart(word);
    return symbol(sum.name, sum.offset, width).place;
}

bool Translator::is_register(string_view word) {
    return word != "_" && !is_number(word) && named(word).place >= 0;
}

// A register of the program, or a special one; place -1: neither.
Register Translator::named(string_view word) {
    const Register r = scopes.find(word);
    if (r.place >= 0) return r;
    if (word.starts_with('%')) return special(word);
    if (word == "WARP_SZ") return file.constant(lanes, 'w');
    return {};
}

Register Translator::special(string_view name) {
    for (const auto& [known, held] : specials)
        if (known == name) return held;
    Register held;
    if (name.starts_with("%lanemask_")) {
        std::array<u32, lanes> masks;
        for (int i = 0; i < lanes; i++) masks[i] = lane_mask(name.substr(10), i);
        held = file.of_lanes(masks);
    } else {
        const auto is_it = [&](const auto& s) { return s.first == name; };
        const auto end = std::end(specials_by_name);
        const auto found = std::find_if(std::begin(specials_by_name), end, is_it);
        if (found == end) throw Unknown("no register " + std::string(name));
        return special(found->second, 'w');
    }
    specials.push_back({name, held});
    return held;
}

Register Translator::special(Special which, char width) {
    for (const auto& [place, special] : program.specials)
        if (special == which) return {place, width};
    const Register held = file.own_constant(width);
    program.specials.push_back({held.place, which});
    return held;
}

const VariableDeclaration* Translator::shared_variable(string_view name) const {
    for (const VariableDeclaration& v : shared_variables)
        if (v.name == name) return &v;
    return nullptr;
}

const Translator::LocalVariable* Translator::local_variable(string_view name) const {
    for (size_t i = local_variables.size(); i-- > 0;)
        if (local_variables[i].name == name) return &local_variables[i];
    return nullptr;
}

// The address of a variable in its space, plus an offset.
Register Translator::symbol(string_view name, s64 offset, char width) {
    if (const VariableDeclaration* v = shared_variable(name))
        return shared.address(*v, offset, width);
    if (width == 'd') {
        if (const LocalVariable* v = local_variable(name)) {
            const Register base = special(Special::local_base, 'd');
            const u64 all = v->offset + u64(offset);
            if (all == 0) return base;
            const Register sum = temporary('d');
            put("add.s64", {sum.place, base.place, file.constant(all, 'd').place});
            return sum;
        }
        const auto found = variables.find(std::string(name));
        if (found != variables.end()) return file.constant(found->second.at + u64(offset), 'd');
    }
    throw Unknown("no variable or register " + std::string(name));
}

s32 Translator::literal(string_view word, char width) {
    u64 value = is_float(word) ? bits_of_float(word, width) : u64(integer(word));
    if (width == 'p') {
        value = value != 0;
    } else if (width == 'h') {
        value &= 0xffff;
    } else if (width == 'w') {
        value &= 0xffffffff;
    }
    return file.constant(value, width).place;
}

s32 Translator::negated(string_view predicate) {
    const s32 straight = operand(predicate, 'p');
    const s32 result = temporary('p').place;
    put("not.pred", {result, straight});
    return result;
}

// A register for what one instruction of a statement hands to the next.
Register Translator::temporary(char width) {
    temporaries.push_back(file.allocate(width));
    return temporaries.back();
}

// The register of results that nobody reads.
s32 Translator::sink(char width) {
    s32& place = sinks[u8(width)];
    if (place < 0) place = file.allocate(width).place;
    return place;
}

Address Translator::address(string_view word, Space space) {
    if (!word.starts_with('[') || !word.ends_with(']'))
        throw Unknown("no address: " + std::string(word));
    const Sum sum = apart(trimmed(word.substr(1, word.size() - 2)));
    Address a;
    a.space = space;
    a.offset = sum.offset;
    const char width = space == Space::shared ? 'w' : 'd';
    Register base;
    if (is_number(sum.name)) {
        base = {literal(sum.name, width), width};
    } else {
        base = named(sum.name);
    }
    if (base.place < 0) {
        const bool is_shared = shared_variable(sum.name) != nullptr;
        const LocalVariable* local = local_variable(sum.name);
        if (is_shared != (space == Space::shared) || (local != nullptr) != (space == Space::local))
            throw Unknown(std::string(sum.name) + " is in another space");
        if (local) {
            base = special(Special::local_base, 'd');
            a.offset += s64(local->offset);
        } else {
            base = symbol(sum.name, 0, width);
        }
    }
    if (base.width != 'w' && base.width != 'd') throw Unknown("an address is no number");
    a.base = base.place;
    a.base_bytes = u8(bytes_of_width(base.width));
    return a;
}

}  // namespace softgpu
