#include "operations.hpp"

#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

void Table::add(const std::string& name, Operation operation) {
    operation.name = name;
    if (!operations.emplace(name, std::move(operation)).second)
        throw std::logic_error("an operation is there twice: " + name);
}

const Operation* Table::find(const std::string& name) const {
    const auto found = operations.find(name);
    return found == operations.end() ? nullptr : &found->second;
}

namespace {

void add_control(Table& table) {
    table.add("bra", {"", nullptr, Kind::branch, ""});
    table.add("ret", {"", nullptr, Kind::leave, ""});
    table.add("exit", {"", nullptr, Kind::leave, ""});
    const auto nothing = [](Machine&, const Instruction&) {};
    table.add("nothing", {"", nothing, Kind::plain, ""});
    table.add("nanosleep.u32", {"", nothing, Kind::plain, "w"});
    table.add("trap", {"",
                       [](Machine& m, const Instruction&) {
                           fail(m, __builtin_ctz(m.mask), "trap: the kernel gives up");
                       },
                       Kind::plain, ""});
}

Table filled() {
    Table table;
    add_control(table);
    add_integers(table);
    add_bits(table);
    add_floating(table);
    add_approximate(table);
    add_conversions(table);
    add_memory(table);
    add_copies(table);
    add_atomics(table);
    add_warps(table);
    add_tensor_cores(table);
    return table;
}

}  // namespace

const Operation* find_operation(const std::string& name) {
    static const Table table = filled();
    return table.find(name);
}

}  // namespace softgpu
