#include "warp_scheduler.hpp"

#include <algorithm>

#include "faults.hpp"
#include "operations.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

// The lanes of a warp form groups, each at one instruction. The group at the least address runs,
// until it meets another or passes one: so those that parted at a branch meet where they can.
class WarpScheduler {
  public:
    WarpScheduler(Machine& machine, Warp& warp, s64 instructions)
        : m(machine),
          w(warp),
          groups(warp.groups),
          most(machine.settings.most_steps),
          last_step(std::min(most, instructions < most ? warp.steps + instructions : most)) {}

    void run() {
        w.interrupted = false;
        while (m.fault.empty() && !w.interrupted) {
            join_groups();
            const int chosen = choose_group();
            if (chosen < 0) {
                find_deadlock();
                return;
            }
            run_group(chosen);
        }
    }

  private:
    void join_groups() {
        for (size_t i = 0; i < groups.size(); i++)
            for (size_t j = groups.size() - 1; j > i; j--) {
                if (groups[i].pc != groups[j].pc) continue;
                groups[i].mask |= groups[j].mask;
                if (groups[i].state != groups[j].state || groups[i].state == Group::at_warp_sync)
                    groups[i].state = Group::ready;
                groups.erase(groups.begin() + j);
            }
    }

    int choose_group() const {
        int chosen = -1;
        for (size_t i = 0; i < groups.size(); i++)
            if (groups[i].state == Group::ready && (chosen < 0 || groups[i].pc < groups[chosen].pc))
                chosen = int(i);
        return chosen;
    }

    // No group can go on: that is right if all wait for the block, or have left.
    void find_deadlock() {
        const auto stuck = std::find_if(groups.begin(), groups.end(), [](const Group& g) {
            return g.state == Group::at_warp_sync;
        });
        if (stuck == groups.end()) return;
        m.now = &m.program->code[stuck->pc];
        std::string others;
        for (const Group& g : groups)
            if (&g != &*stuck) others += text(", lanes 0x%x at %s", g.mask, where(m, g.pc).c_str());
        if (w.exited) others += text(", lanes 0x%x have left", w.exited);
        fail(m, __builtin_ctz(stuck->mask),
             "divergent barrier: lanes 0x%x wait for others of their mask, which never come: they "
             "wait at %s%s",
             stuck->mask, where(m, stuck->pc).c_str(), others.c_str());
    }

    // Where the chosen group has to stop, for others that stand there.
    s32 next_meeting(int chosen) const {
        s32 stop = s32(m.program->code.size());
        for (size_t i = 0; i < groups.size(); i++)
            if (int(i) != chosen && groups[i].state != Group::at_block_barrier &&
                groups[i].pc > groups[chosen].pc)
                stop = std::min(stop, groups[i].pc);
        return stop;
    }

    // The lanes of a group that do an instruction.
    u32 guarded(const Instruction& s, u32 all) const {
        if (s.guard < 0) return all;
        const pred* p = reg<pred>(m, s.guard);
        u32 holds = 0;
        for (int i = 0; i < lanes; i++) holds |= (p[i].bit & 1) << i;
        return all & (s.guard_negated ? ~holds : holds);
    }

    void run_group(int chosen) {
        const Instruction* const code = m.program->code.data();
        const s32 stop = next_meeting(chosen), end = s32(m.program->code.size());
        const u32 all = groups[chosen].mask;
        s32 pc = groups[chosen].pc;
        for (; pc < stop; pc++) {
            const Instruction& s = code[pc];
            m.now = &s;
            if (++w.steps > last_step) {
                interrupt(all);
                break;
            }
            const u32 mask = guarded(s, all);
            if (!mask) continue;
            const Operation& o = *s.operation;
            if (o.kind == Kind::plain) {
                m.set_mask(mask);
                o.run(m, s);
                if (!m.fault.empty()) break;
                continue;
            }
            groups[chosen].pc = pc;
            if (o.kind == Kind::branch && mask == all) {
                const bool back = s.target <= pc;
                pc = s.target - 1;
                if (!back || groups.size() == 1) continue;
                pc++;
                break;
            }
            if (o.kind == Kind::warp_sync && mask == all && run_together(chosen, s)) {
                if (!m.fault.empty()) break;
                continue;
            }
            return part(chosen, s, mask);
        }
        groups[chosen].pc = pc;
        if (pc >= end) leave(chosen, all);
    }

    void interrupt(u32 mask) {
        w.steps--;
        if (last_step < most)
            w.interrupted = true;
        else
            fail(m, __builtin_ctz(mask), "too many instructions");
    }

    // An instruction after which not all lanes of the group go on together.
    void part(int chosen, const Instruction& s, u32 mask) {
        Group& g = groups[chosen];
        const Group others{g.pc + 1, g.mask & ~mask, Group::ready};
        switch (s.operation->kind) {
            case Kind::branch:
                g = others;
                groups.push_back({s.target, mask, Group::ready});
                return;
            case Kind::leave:
                g.pc++;
                return leave(chosen, mask);
            default:  // a barrier: of a guarded one, the lanes that do not wait go on
                g.mask = mask;
                if (s.operation->kind == Kind::block_barrier) g.state = Group::at_block_barrier;
                if (others.mask) groups.push_back(others);
        }
    }

    void leave(int chosen, u32 mask) {
        w.exited |= mask;
        groups[chosen].mask &= ~mask;
        if (!groups[chosen].mask) groups.erase(groups.begin() + chosen);
        for (Group& g : groups)  // who waited for these waits no more
            if (g.state == Group::at_warp_sync) g.state = Group::ready;
    }

    // Run an instruction for the lanes of its mask if all of them are in the group; if not, the
    // group waits for them. Several masks may part the group, which then come one after another.
    bool run_together(int chosen, const Instruction& s) {
        Group& g = groups[chosen];
        u32 subsets[lanes];
        int count = 0;
        for (u32 rest = g.mask; rest; rest &= ~subsets[count - 1]) {
            const int first = __builtin_ctz(rest);
            const u32 members = members_of(s, first);
            if (!(members >> first & 1)) {
                fail(m, first, "divergent barrier: lane %d is not in its mask 0x%x", first,
                     members);
                return false;
            }
            u32 subset = rest;
            if (s.operation->mask >= 0) {
                subset = 0;
                for (int i = 0; i < lanes; i++)
                    subset |= u32(reg<u32>(m, s.arg[s.operation->mask])[i] == members) << i;
                subset &= rest;
            }
            if (subset != (members & ~w.exited & w.present)) {
                g.state = Group::at_warp_sync;
                return false;
            }
            subsets[count++] = subset;
        }
        for (int i = 0; i < count && m.fault.empty(); i++) {
            m.set_mask(subsets[i]);
            s.operation->run(m, s);
        }
        return true;
    }

    // The lanes that an instruction is for.
    u32 members_of(const Instruction& s, int lane) {
        if (s.operation->mask >= 0) return reg<u32>(m, s.arg[s.operation->mask])[lane];
        const u32 gone = w.exited | ~w.present;
        if (gone)
            fail(m, lane, "divergent barrier: lanes 0x%x have left, and all 32 are wanted", gone);
        return all_lanes;
    }

    Machine& m;
    Warp& w;
    std::vector<Group>& groups;
    const s64 most, last_step;
};

}  // namespace

std::string where(const Machine& m, s32 pc) {
    const Instruction& s = m.program->code[pc];
    const std::string lines = source_lines(m, s);
    if (!lines.empty() || size_t(s.statement) >= m.program->statements.size()) return lines;
    return "`" + m.program->statements[s.statement].text + "`";
}

void run_warp(Machine& m, int number, s64 instructions) {
    m.warp_number = number;
    m.warp = &m.warps[number];
    m.registers = m.warp->registers.data();
    WarpScheduler(m, *m.warp, instructions).run();
}

}  // namespace softgpu
