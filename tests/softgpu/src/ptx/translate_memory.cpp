// Loads, stores, atomics and copies.
#include <algorithm>

#include "translator.hpp"

namespace softgpu {
namespace {

// Where an instruction accesses memory. Constant memory is a part of global memory here.
Space space_of(const Words& parts) {
    for (const string_view p : parts) {
        if (p == "shared" || p == "shared::cta") return Space::shared;
        if (p == "global" || p == "const") return Space::global;
        if (p == "local") return Space::local;
    }
    return Space::generic;
}

// Between the name and the type of an access stand its space, its order among others, which
// nothing changes here, and hints for the caches, which have colons.
void check_qualifiers(const Words& parts) {
    constexpr string_view known[] = {"shared",  "shared::cta", "global",  "const",   "local",
                                     "weak",    "volatile",    "relaxed", "acquire", "release",
                                     "acq_rel", "mmio",        "cta",     "cluster", "gpu",
                                     "sys",     "nc",          "v2",      "v4",      "v8"};
    for (int i = 1; i + 1 < parts.count; i++) {
        const bool is_hint = parts[i].starts_with("L1::") || parts[i].starts_with("L2::");
        if (!is_hint && std::find(std::begin(known), std::end(known), parts[i]) == std::end(known))
            throw Unknown("no qualifier ." + std::string(parts[i]));
    }
}

int elements_of(const Words& parts) {
    for (const int n : {2, 4, 8})
        if (parts.has(string_view(&"v2v4v8"[n == 2 ? 0 : n == 4 ? 2 : 4], 2))) return n;
    return 1;
}

bool is_signed(string_view type) {
    return type.starts_with('s');
}

}  // namespace

void Translator::load() {
    if (parts.has("param")) return load_parameter();
    if (operands.count < 2) throw Unknown("a load without an address");
    Instruction& i = access("ld", operands[1], operands[0], true);
    i.read_only = parts.has("nc");
    i.used_bytes = used_bytes;
    used_bytes = ~0u;
}

void Translator::store() {
    if (operands.count < 2) throw Unknown("a store without a value");
    if (parts.has("param")) return move_field(operands[0], operands[1], false);
    access("st", operands[0], operands[1], false);
}

// Registers may be wider than what they hold of memory, but are all of one width.
Instruction& Translator::access(string_view name, string_view place, string_view value,
                                bool loading) {
    check_qualifiers(parts);
    const int bytes = bytes_of(parts.last());
    const Words words = vector_of(value);
    if (words.count != elements_of(parts)) throw Unknown("a vector of another length");
    char width = 0;
    for (const string_view word : words) {
        if (!is_register(word)) continue;
        const char own = named(word).width;
        if (own == 'p' || bytes_of_width(own) < bytes || (width && own != width))
            throw Unknown("registers that do not fit");
        width = own;
    }
    if (!width) width = width_of_bytes(bytes);
    const Address where = address(place, space_of(parts));
    Arguments arguments;
    for (const string_view word : words)
        arguments.add(loading && word == "_" ? -1 : operand(word, width));
    Instruction& i = put(name, arguments);
    i.address = where;
    i.elements = u8(words.count);
    i.element_bytes = u8(bytes);
    i.register_bytes = u8(bytes_of_width(width));
    i.is_signed = is_signed(parts.last());
    return i;
}

void Translator::load_parameter() {
    if (operands.count != 2 || !operands[1].starts_with('[')) throw Unknown("no parameter");
    Cursor inside(operands[1].substr(1));
    const string_view name = inside.word();
    if (scopes.find_passed(name)) return move_field(operands[1], operands[0], true);
    const auto is_it = [&](const Parameter& p) { return p.name == name; };
    const auto& all = program.parameters;
    const auto found = std::find_if(all.begin(), all.end(), is_it);
    if (found == all.end()) throw Unknown("no parameter " + std::string(name));
    const s64 offset = inside.take('+') ? integer(trimmed(inside.until(']'))) : 0;

    const int bytes = bytes_of(parts.last());
    const Words words = vector_of(operands[0]);
    const char width = is_register(words[0]) ? named(words[0]).width : width_of_bytes(bytes);
    if (bytes_of_width(width) < bytes) throw Unknown("a register that does not fit");
    Arguments arguments;
    for (const string_view word : words) arguments.add(operand(word, width));
    Instruction& i = put("ld.param", arguments);
    i.elements = u8(words.count);
    i.element_bytes = u8(bytes);
    i.register_bytes = u8(bytes_of_width(width));
    i.is_signed = is_signed(parts.last());
    i.number = s32(found->offset + offset);
}

// Load or store what is passed to a function or returned: it lies in registers.
void Translator::move_field(string_view address, string_view value, bool loading) {
    Cursor inside(address.substr(1));
    const string_view name = inside.word();
    Passed* passed = scopes.find_passed(name);
    if (!passed) throw Unknown("no parameter " + std::string(name));
    s32 offset = s32(inside.take('+') ? integer(trimmed(inside.until(']'))) : 0);
    const int bytes = bytes_of(parts.last());
    const char width = width_of_bytes(bytes);
    std::string move = "mov.b" + std::to_string(8 * bytes_of_width(width));
    if (loading && bytes == 1) move = is_signed(parts.last()) ? "cvt.s16.s8" : "cvt.u16.u8";
    for (const string_view word : vector_of(value)) {
        const s32 held = scopes.field(*passed, offset, bytes).place;
        const s32 other = operand(word, width);
        if (loading) {
            put(move, {other, held});
        } else {
            put(move, {held, other});
        }
        offset += bytes;
    }
}

// atom and red, which is an atom whose result nobody reads.
void Translator::atomic() {
    constexpr string_view known[] = {"add", "min", "max", "inc",  "dec",
                                     "and", "or",  "xor", "exch", "cas"};
    string_view what;
    for (const string_view p : parts)
        if (std::find(std::begin(known), std::end(known), p) != std::end(known)) what = p;
    if (what.empty() || elements_of(parts) > 1) throw Unknown("no atomic operation");
    const string_view type = parts.last();
    const char width = width_of(type);
    const int results = parts[0] == "red" ? 0 : 1, values = what == "cas" ? 2 : 1;
    if (operands.count < results + 1 + values)
        throw Unknown("an atomic operation of less operands");
    Arguments arguments;
    const bool is_read = results && operands[0] != "_";
    arguments.add(is_read ? operand(operands[0], width) : -1);
    const Address where = address(operands[results], space_of(parts));
    for (int i = 0; i < values; i++) arguments.add(operand(operands[results + 1 + i], width));
    Instruction& i = put("atom." + std::string(what) + "." + std::string(type), arguments);
    i.address = where;
    i.element_bytes = i.register_bytes = u8(bytes_of(type));
}

// cp.async.CA.shared.global [to], [from], bytes[, bytes that are read][, a cache policy]
void Translator::copy() {
    if (mnemonic == "cp.async.wait_group") {
        const s32 groups = s32(integer(operands[0]));
        put(mnemonic, {}).number = groups;
        return;
    }
    if (mnemonic == "cp.async.commit_group" || mnemonic == "cp.async.wait_all") {
        put(mnemonic, {});
        return;
    }
    const bool is_known = (mnemonic.starts_with("cp.async.ca.shared") ||
                           mnemonic.starts_with("cp.async.cg.shared")) &&
                          parts.has("global");
    if (!is_known || operands.count < 3) throw Unknown("no instruction " + std::string(mnemonic));
    const s64 bytes = integer(operands[2]);
    if ((bytes != 4 && bytes != 8 && bytes != 16) || (parts.has("cg") && bytes != 16))
        throw Unknown(softgpu::text("cp.async of %lld bytes", static_cast<long long>(bytes)));
    const bool has_policy = parts.has("L2::cache_hint");
    const Address to = address(operands[0], Space::shared);
    const Address from = address(operands[1], Space::global);
    const bool says_taken = operands.count > 3 + has_policy;
    Instruction& i = put("cp.async", {operand(says_taken ? operands[3] : operands[2], 'w')});
    i.address = to;
    i.source = from;
    i.element_bytes = u8(bytes);
}

void Translator::load_matrix() {
    Arguments arguments;
    for (const string_view word : vector_of(operands[0])) arguments.add(operand(word, 'w'));
    const Address from = address(operands[1], Space::shared);
    std::string name(mnemonic);
    const size_t cta = name.find("::cta");
    if (cta != std::string::npos) name.erase(cta, 5);
    put(name, arguments).address = from;
}

}  // namespace softgpu
